"""Entries of the consent log: the hashes are those of RFC 6962, the bytes those of RFC 8785, and nobody is named."""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.entry import ENTRY_MAX_BYTES, commitment, consent_entry, leaf_hash
from tests.support.properties import tried

VECTORS: Final = Path(__file__).parents[1] / "vectors" / "merkle-leaves.json"
NOW: Final = 1_795_176_000_000
SALT: Final = hashlib.sha256(b"salt").digest()
quick = tried(100)


class Leaf(msgspec.Struct, forbid_unknown_fields=True):
    index: int
    data_hex: str
    leaf_hash: str


class Leaves(msgspec.Struct, forbid_unknown_fields=True):
    about: dict[str, str]
    leaves: list[Leaf]


LEAVES: Final = msgspec.json.decode(VECTORS.read_bytes(), type=Leaves).leaves


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: f"leaf {leaf.index}")
def test_a_leaf_has_the_hash_that_other_implementations_give_it(leaf: Leaf) -> None:
    assert leaf_hash(bytes.fromhex(leaf.data_hex)).hex() == leaf.leaf_hash


def test_all_vectors_were_read() -> None:
    assert [leaf.index for leaf in LEAVES] == list(range(20))


def entry(**changes: Any) -> bytes:
    facts: dict[str, Any] = {
        "record_id": "r" * 22,
        "kind": "withdrawn",
        "site": "shop",
        "subject_tag": b"\x01" * 16,
        "occurred_at_ms": NOW,
        "received_at_ms": NOW + 1,
        "granted": ("necessary",),
        "denied": ("analytics", "advertising"),
        "method": "banner",
        "notice": "2026-11",
        "regime": "opt_in",
        "rules": "2026-11",
        "payload_commitment": b"\x02" * 32,
        "previous_record_id": None,
    }
    return consent_entry(**{**facts, **changes})


def test_an_entry_is_canonical_json_with_every_fact() -> None:
    """For ASCII keys and whole numbers RFC 8785 is sorted keys without spaces."""
    made = entry()
    read = json.loads(made)
    assert json.dumps(read, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == made
    assert read == {
        "type": "consent",
        "version": 1,
        "record_id": "r" * 22,
        "event_type": "withdrawn",
        "site": "shop",
        "subject_tag": "01" * 16,
        "occurred_at_ms": NOW,
        "received_at_ms": NOW + 1,
        "granted": ["necessary"],
        "denied": ["analytics", "advertising"],
        "method": "banner",
        "notice": "2026-11",
        "regime": "opt_in",
        "rules": "2026-11",
        "payload_commitment": "02" * 32,
        "previous_record_id": None,
    }


def test_an_entry_without_a_subject_names_none() -> None:
    assert json.loads(entry(subject_tag=None))["subject_tag"] is None


@quick
@given(
    notice=st.text(max_size=40),
    at_ms=st.integers(-(2**53) + 1, 2**53 - 1),
    granted=st.lists(st.sampled_from(["analytics", "advertising"]), unique=True),
)
def test_every_choice_makes_the_same_canonical_bytes_again(notice: str, at_ms: int, granted: list[str]) -> None:
    made = entry(notice=notice, occurred_at_ms=at_ms, granted=tuple(granted))
    assert made == entry(notice=notice, occurred_at_ms=at_ms, granted=tuple(granted))
    read = json.loads(made)
    assert (read["notice"], read["occurred_at_ms"], read["granted"]) == (notice, at_ms, granted)
    assert json.dumps(read, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == made


CHANGES: Final = {
    "record_id": "s" * 22, "kind": "given", "site": "blog", "subject_tag": b"\x03" * 16, "occurred_at_ms": NOW - 1,
    "received_at_ms": NOW, "granted": (), "denied": ("analytics",), "method": "api", "notice": "2", "regime": "none",
    "rules": "2", "payload_commitment": b"\x04" * 32, "previous_record_id": "p" * 22,
}  # fmt: skip


@pytest.mark.parametrize("fact", CHANGES)
def test_every_fact_changes_the_hash(fact: str) -> None:
    assert leaf_hash(entry(**{fact: CHANGES[fact]})) != leaf_hash(entry())


def test_an_entry_stays_below_64_kib() -> None:
    room = ENTRY_MAX_BYTES - len(entry(notice=""))
    assert len(entry(notice="x" * room)) == ENTRY_MAX_BYTES
    with pytest.raises(ValueError, match="64 KiB"):
        entry(notice="x" * (room + 1))


def test_a_commitment_is_the_hash_of_label_salt_and_payload() -> None:
    assert commitment(SALT, b"payload") == hashlib.sha256(b"gateway/consent/1" + SALT + b"payload").digest()


@quick
@given(first=st.binary(max_size=60), second=st.binary(max_size=60))
def test_payloads_have_the_same_commitment_exactly_when_they_are_the_same(first: bytes, second: bytes) -> None:
    assert (commitment(SALT, first) == commitment(SALT, second)) is (first == second)


def test_without_its_salt_a_commitment_tells_nothing() -> None:
    other = hashlib.sha256(b"other salt").digest()
    assert commitment(SALT, b"payload") != commitment(other, b"payload")


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_salt_has_32_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        commitment(bytes(length), b"payload")
