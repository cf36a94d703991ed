"""Protocols: one adapter per dialect that arrives. Bytes in, `event.Received` out, or a Refusal with a field path (pure)."""
