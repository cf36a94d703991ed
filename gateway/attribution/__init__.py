"""Attribution: which touches earn a conversion, and why (pure)."""
