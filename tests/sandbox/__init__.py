"""The stand-ins, asked by hand over the wire."""
