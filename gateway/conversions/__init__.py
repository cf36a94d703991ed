"""Conversions: what counts as one (`claims`), what it is worth and under which rules (`goals`), and what changes it (`adjustments`).

Pure: nothing here knows the time, the store or the network.
"""

from gateway.conversions.claims import (
    ORDER_ID_MAX_CHARACTERS,
    VALUE_SOURCES,
    Counted,
    claim,
    claim_key,
    is_conversion,
    same_content,
)

__all__ = [
    "ORDER_ID_MAX_CHARACTERS",
    "VALUE_SOURCES",
    "Counted",
    "claim",
    "claim_key",
    "is_conversion",
    "same_content",
]
