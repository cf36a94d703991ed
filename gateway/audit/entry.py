"""Entries of the consent log: canonical bytes and leaf hashes (pure).

An entry says that a choice was made, never by whom in words that could be searched: the subject is a random tag, the
details are a commitment to bytes kept elsewhere with a random salt. Deleting salt and bytes erases the person; the entry
stays and proves nothing about anybody. Entries are stored in order with their leaf hashes, so that a Merkle tree can be
built over them at any time.

    leaf = SHA-256(0x00 || entry)                       RFC 6962 section 2.1
    commitment = SHA-256("gateway/consent/1" || salt || payload)

Source: RFC 8785 (canonical JSON), RFC 6962 section 2.1, C2SP tlog-tiles (entries below 64 KiB).
"""

import hashlib
from typing import Final

import rfc8785

__all__ = ["ENTRY_MAX_BYTES", "commitment", "consent_entry", "leaf_hash"]

ENTRY_MAX_BYTES: Final = 65_535
_COMMITMENT: Final = b"gateway/consent/1"


def leaf_hash(entry: bytes) -> bytes:
    """RFC 6962 leaf hash, 32 bytes."""
    return hashlib.sha256(b"\x00" + entry).digest()


def commitment(salt: bytes, payload: bytes) -> bytes:
    """Commit to a payload with a 32-byte random salt: 32 bytes that say nothing without the salt."""
    if len(salt) != 32:
        raise ValueError("a commitment takes a salt of 32 bytes")
    return hashlib.sha256(_COMMITMENT + salt + payload).digest()


def consent_entry(
    *,
    record_id: str,
    kind: str,
    site: str,
    subject_tag: bytes | None,
    occurred_at_ms: int,
    received_at_ms: int,
    granted: tuple[str, ...],
    denied: tuple[str, ...],
    method: str,
    notice: str,
    regime: str,
    rules: str,
    payload_commitment: bytes,
    previous_record_id: str | None,
) -> bytes:
    """Canonical bytes of one consent change. Raises ValueError when they would not fit in 64 KiB."""
    entry: dict[str, str | int | list[str] | None] = {
        "type": "consent",
        "version": 1,
        "record_id": record_id,
        "event_type": kind,
        "site": site,
        "subject_tag": subject_tag.hex() if subject_tag is not None else None,
        "occurred_at_ms": occurred_at_ms,
        "received_at_ms": received_at_ms,
        "granted": [*granted],
        "denied": [*denied],
        "method": method,
        "notice": notice,
        "regime": regime,
        "rules": rules,
        "payload_commitment": payload_commitment.hex(),
        "previous_record_id": previous_record_id,
    }
    encoded = rfc8785.dumps(entry)
    if len(encoded) > ENTRY_MAX_BYTES:
        raise ValueError("a consent entry must stay below 64 KiB")
    return encoded
