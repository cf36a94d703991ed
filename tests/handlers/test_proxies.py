"""Row 33: whose address it is, when anybody can write a forwarding header.

Seen through the cookieless id of a site that counts by day: it is a keyed hash of the client's network, so the stored
visitor says which address was believed.
"""

import ipaddress
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway import identity
from gateway.handlers.edge import _packed_ipv4
from tests.support.running import AGENT, NOW_MS, PAGE, Running, running

PEER: Final = "127.0.0.1"
CLIENT: Final = "203.0.113.9"
SPOOFED: Final = "198.51.100.1"
DAILY: Final = {"cookieless": "daily"}


def visitor_at(shop: Running, address: str) -> bytes:
    """What the store would know a client of this address by, today."""
    vault = shop.gateway.house.vault
    found = identity.daily_id(vault.daily_key(NOW_MS // 86_400_000), "shop", address, AGENT)
    return vault.digest("daily", "shop", found)


async def believed(shop: Running, headers: list[tuple[str, str | bytes]]) -> bytes:
    """The visitor stored for one event with these headers."""
    event_id = f"proxy-{shop.count():06d}"
    sent = [("Origin", PAGE), ("User-Agent", AGENT), *headers]
    said = await shop.send("POST", "/collect", headers=sent, body={"name": "a", "id": event_id})
    assert said.status == 204
    return bytes(shop.rows("select visitor_key from event where event_id = ?", event_id)[0][0])


@pytest.fixture(params=[True, False], ids=["fast", "plain"])
async def trusting(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Running]:
    trusted = ["127.0.0.1", "10.0.0.0/8", "2001:db8:ffff::/48"]
    async with running(tmp_path, fast=request.param, proxy={"trusted": trusted}, shop=DAILY) as shop:
        yield shop


FORWARDED_FOR: Final[dict[str, tuple[list[str], str]]] = {
    "nothing": ([], PEER),
    "one address": ([CLIENT], CLIENT),
    "a spoofed address before the client's": ([f"{SPOOFED}, {CLIENT}"], CLIENT),
    "the client behind the proxy itself": ([f"{SPOOFED}, {CLIENT}, 127.0.0.1"], CLIENT),
    "the client behind two proxies": ([f"{SPOOFED}, {CLIENT}, 10.1.2.3, 127.0.0.1"], CLIENT),
    "two headers": ([SPOOFED, CLIENT], CLIENT),
    "two headers, a proxy last": ([f"{SPOOFED}, {CLIENT}", "10.1.2.3"], CLIENT),
    "only proxies": (["10.9.9.9, 10.1.2.3"], "10.9.9.9"),
    "nothing but spaces": (["  "], PEER),
    "nothing but commas": ([",,,"], PEER),
    "a word": (["unknown"], PEER),
    "a word after the address": ([f"{CLIENT}, unknown"], PEER),
    "a word before the address": ([f"unknown, {CLIENT}"], CLIENT),
    "a name": (["localhost"], PEER),
    "an address with a port": ([f"{CLIENT}:4711"], CLIENT),
    "an address of three parts": (["203.0.113"], PEER),
    "an address with leading zeros": (["203.0.113.010"], PEER),
    "a decimal address": (["3405803785"], PEER),
    "a network": ([f"{CLIENT}/24"], PEER),
    "strange bytes": ([f"{CLIENT}, \u00ff"], PEER),
    "full-width digits": ([CLIENT.replace("2", "２")], PEER),
    "IPv6": (["2001:db8:1:2::1"], "2001:db8:1:2::1"),
    "IPv6 in brackets": (["[2001:db8:1:2::1]"], "2001:db8:1:2::1"),
    "IPv6 with a port": (["[2001:db8:1:2::1]:4711"], "2001:db8:1:2::1"),
    "IPv6 with a zone": (["fe80::1%eth0"], "fe80::1"),
    "IPv6 through a trusted IPv6 proxy": (["2001:db8:1:2::1, 2001:db8:ffff::7"], "2001:db8:1:2::1"),
    "IPv4 written as IPv6": ([f"::ffff:{CLIENT}"], CLIENT),
    "a trusted proxy written as IPv6": ([f"{CLIENT}, ::ffff:10.1.2.3"], CLIENT),
    "100 spoofed addresses": ([", ".join([SPOOFED] * 99 + [CLIENT])], CLIENT),
    "100 proxies": ([", ".join([SPOOFED] + ["10.1.2.3"] * 99)], "10.1.2.3"),
}  # fmt: skip


@pytest.mark.parametrize("case", FORWARDED_FOR)
async def test_row_33_behind_trusted_proxies_the_last_untrusted_address_counts(trusting: Running, case: str) -> None:
    values, address = FORWARDED_FOR[case]
    headers: list[tuple[str, str | bytes]] = [("X-Forwarded-For", value) for value in values]
    assert await believed(trusting, headers) == visitor_at(trusting, address)


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])
@pytest.mark.parametrize(
    "trusted", [[], ["192.0.2.0/24"], ["::1"]], ids=["nobody", "somebody else", "the other loopback"]
)
async def test_row_33_an_untrusted_peer_is_the_client_whatever_it_says(
    tmp_path: Path, fast: bool, trusted: list[str]
) -> None:
    async with running(tmp_path, fast=fast, proxy={"trusted": trusted}, shop=DAILY) as shop:
        for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP", "X-Client-IP"):
            value = f"for={SPOOFED}" if name == "Forwarded" else SPOOFED
            assert await believed(shop, [(name, value)]) == visitor_at(shop, PEER), name


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])
async def test_row_33_the_header_that_is_not_configured_is_ignored(tmp_path: Path, fast: bool) -> None:
    async with running(
        tmp_path, fast=fast, proxy={"trusted": ["127.0.0.1"], "header": "forwarded"}, shop=DAILY
    ) as shop:
        assert await believed(shop, [("X-Forwarded-For", SPOOFED)]) == visitor_at(shop, PEER)
        both = [("X-Forwarded-For", SPOOFED), ("Forwarded", f"for={CLIENT}")]
        assert await believed(shop, [*both]) == visitor_at(shop, CLIENT)
    async with running(tmp_path, fast=fast, proxy={"trusted": ["127.0.0.1"]}, shop=DAILY) as shop:
        assert await believed(shop, [("Forwarded", f"for={SPOOFED}")]) == visitor_at(shop, PEER)
        assert await believed(shop, [("X-Real-IP", SPOOFED)]) == visitor_at(shop, PEER)


@pytest.mark.parametrize(
    ("value", "address"),
    [
        (f"for={CLIENT}", CLIENT),
        (f"For={CLIENT};proto=https;by=10.0.0.1", CLIENT),
        (f"proto=https;for={CLIENT}", CLIENT),
        (f"for={SPOOFED}, for={CLIENT}", CLIENT),
        (f'for={SPOOFED}, for="{CLIENT}:4711"', CLIENT),
        ('for="[2001:db8:1:2::1]:4711"', "2001:db8:1:2::1"),
        (f"for={CLIENT}, for=127.0.0.1", CLIENT),
        ("for=unknown", PEER),
        ("for=_hidden", PEER),
        ("for=", PEER),
        ("proto=https", PEER),
        (CLIENT, PEER),
        (f"for={CLIENT}, for=_hidden", PEER),
        (f'for="{SPOOFED},{CLIENT}"', PEER),
    ],
)
async def test_row_33_the_standard_header_is_read_from_its_right_end_too(
    tmp_path: Path, value: str, address: str
) -> None:
    async with running(tmp_path, proxy={"trusted": ["127.0.0.1"], "header": "forwarded"}, shop=DAILY) as shop:
        assert await believed(shop, [("Forwarded", value)]) == visitor_at(shop, address)


async def test_row_33_clients_behind_one_proxy_have_limits_of_their_own(tmp_path: Path) -> None:
    """Ten at once is the smallest burst. IPv4 written as IPv6 is still a network of its own."""
    limits = {"browser_per_minute": 1}
    async with running(tmp_path, proxy={"trusted": ["127.0.0.1"]}, limits=limits) as shop:
        for address in ("203.0.113.9", "198.51.100.9", "::ffff:192.0.2.9", "::ffff:192.0.3.9", "2001:db8:1:2::1"):
            said = [await shop.collect({"name": "a"}, X_Forwarded_For=address) for _ in range(11)]
            assert [one.status for one in said] == [204] * 10 + [429], address


@given(
    st.from_regex(r"[0-9a-fA-Fx]{1,4}(?:\.[0-9]{1,4}){0,4}", fullmatch=True) | st.ip_addresses(v=4).map(str) | st.text()
)
@example("1.2.3.4")
@example("010.2.3.4")
@example("1.2.3")
@example("1.2.3.4\x00")
@example("\udcff")
def test_addresses_are_read_in_the_short_way_only_where_the_long_way_says_the_same(text: str) -> None:
    packed = _packed_ipv4(text)
    if packed is None:
        with pytest.raises(ValueError, match=r".*"):
            ipaddress.IPv4Address(text)
    else:
        assert ipaddress.IPv4Address(text) == ipaddress.IPv4Address(packed)
        assert str(ipaddress.IPv4Address(packed)) == text
