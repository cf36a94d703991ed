"""The tag: its source, and every published version."""
