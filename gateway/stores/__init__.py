"""Stores: keep what flows hand over, all of it or nothing. A store never judges and never sees a clear personal value."""
