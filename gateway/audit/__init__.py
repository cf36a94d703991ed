"""Audit: the consent log as pure functions. Holds no personal data."""
