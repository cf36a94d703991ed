"""Destinations: how one event becomes what one vendor takes (pure).

A destination is one data file with a `Destination`, one line in `registry.py` and a golden folder of examples. Nothing
here sees a secret, a clock or an event that was not permitted.
"""
