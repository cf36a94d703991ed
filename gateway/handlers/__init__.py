"""Handlers: HTTP in and out, one file per audience. They read requests into values, call one flow, and write its answer.

They decide nothing about consent and write no SQL; `edge.py` alone turns refusals into status codes.
"""
