"""Signals: decode what a request says about consent, one module per kind of signal (pure).

Each module answers statements (`purposes.Statement`); `SIGNALS` in `registry.py` names them all. Input that cannot be
read is absent and counted, never an error and never a yes.
"""
