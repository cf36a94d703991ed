"""The guard of the one outgoing socket: no address inside a network, however it is written, and no name that leads to one."""

import base64
import socket
from datetime import UTC, datetime
from typing import Final

import pytest
import standardwebhooks
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import OutboundRefused
from gateway.outbound import GuardedResolver, Network, Outbound, is_public, webhook_keys, webhook_signature
from tests.support.properties import tried

quick = tried(300)

# ------------------------------------------------------------------ addresses (row 30 of the attack list)

ADDRESSES: Final = {
    "8.8.8.8": True,
    "1.1.1.1": True,
    "203.0.114.1": True,
    "2606:4700::1111": True,
    "2001:4860:4860::8888": True,
    "2a00:1450:4001:80b::200e": True,
    "::ffff:8.8.8.8": True,
    "64:ff9b::8.8.8.8": True,
    "2002:808:808::1": True,
    # this machine and the networks around it
    "127.0.0.1": False,
    "127.255.255.254": False,
    "0.0.0.0": False,
    "0.1.2.3": False,
    "10.0.0.1": False,
    "172.16.0.1": False,
    "172.31.255.255": False,
    "192.168.1.1": False,
    "100.64.0.1": False,
    "169.254.169.254": False,
    "169.254.0.1": False,
    "192.0.0.1": False,
    "192.0.2.1": False,
    "198.18.0.1": False,
    "198.51.100.1": False,
    "203.0.113.1": False,
    "224.0.0.1": False,
    "239.255.255.250": False,
    "240.0.0.1": False,
    "255.255.255.255": False,
    "::": False,
    "::1": False,
    "fe80::1": False,
    "fe80::1%eth0": False,
    "fec0::1": False,
    "fc00::1": False,
    "fd00:ec2::254": False,
    "ff02::1": False,
    "ff0e::1": False,
    "100::1": False,
    "2001:db8::1": False,
    "5f00::1": False,
    "4000::1": False,
    # IPv4 hidden in IPv6
    "::ffff:127.0.0.1": False,
    "::ffff:7f00:1": False,
    "::ffff:169.254.169.254": False,
    "::ffff:0:127.0.0.1": False,
    "::127.0.0.1": False,
    "::8.8.8.8": False,
    "::a9fe:a9fe": False,
    "64:ff9b::7f00:1": False,
    "64:ff9b::10.0.0.1": False,
    "64:ff9b:1::7f00:1": False,
    "64:ff9b:1::8.8.8.8": False,
    "2002:7f00:1::": False,
    "2002:a9fe:a9fe::1": False,
    "2001:0:4136:e378:8000:63bf:f5ff:fffe": False,
    # other spellings
    "2130706433": False,
    "017700000001": False,
    "0x7f000001": False,
    "0177.0.0.1": False,
    "0x7f.0.0.1": False,
    "127.1": False,
    "127.0.0.1:80": False,
    "[::1]": False,
    "[2606:4700::1111]": False,
    " 8.8.8.8": False,
    "8.8.8.8\n": False,
    "\u0668.8.8.8": False,
    "localhost": False,
    "localhost.": False,
    "": False,
}


@pytest.mark.parametrize(("address", "public"), ADDRESSES.items(), ids=ADDRESSES.keys())
def test_an_address_of_the_open_internet(address: str, public: bool) -> None:
    assert is_public(address) is public


@quick
@given(address=st.ip_addresses(v=4))
def test_ipv4_in_ipv6_is_public_only_if_it_is_public_itself(address: object) -> None:
    public = is_public(str(address))
    assert is_public(f"::ffff:{address}") is public
    assert is_public(f"64:ff9b::{address}") is public
    assert not is_public(f"::{address}")


@quick
@given(text=st.text(st.characters(exclude_categories=())))
def test_no_text_raises(text: str) -> None:
    assert is_public(text) in (True, False)


# ------------------------------------------------------------------ names


class Names(AbstractResolver):
    """A resolver that answers from a list, one answer a call, and remembers what it was asked."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []
        self.closed = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append((host, port))
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self.answers.pop(0)
        ]

    async def close(self) -> None:
        self.closed = True


async def test_only_public_addresses_are_left() -> None:
    names = Names(["10.0.0.1", "8.8.8.8", "::1", "2606:4700::1111", "169.254.169.254"])
    found = await GuardedResolver(names).resolve("hooks.example", 443)
    assert [result["host"] for result in found] == ["8.8.8.8", "2606:4700::1111"]
    assert names.asked == [("hooks.example", 443)], "looked up once: the same answer is connected to"


@pytest.mark.parametrize("answer", [[], ["127.0.0.1"], ["10.0.0.1", "::ffff:127.0.0.1"]], ids=["none", "one", "two"])
async def test_a_name_without_a_public_address_cannot_be_connected_to(answer: list[str]) -> None:
    with pytest.raises(OSError, match="no public address"):
        await GuardedResolver(Names(answer)).resolve("hooks.example", 443)


async def test_a_name_that_turns_inwards_a_moment_later_is_refused_then() -> None:
    guarded = GuardedResolver(Names(["8.8.8.8"], ["127.0.0.1"]))
    assert await guarded.resolve("rebind.example", 443)
    with pytest.raises(OSError, match="no public address"):
        await guarded.resolve("rebind.example", 443)


async def test_closing_closes_the_resolver_underneath() -> None:
    names = Names()
    await GuardedResolver(names).close()
    assert names.closed


# ------------------------------------------------------------------ addresses of receivers

HOST: Final = "hooks.example"
LITERALS: Final = (
    "127.0.0.1",
    "8.8.8.8",
    "::1",
    "2130706433",
    "0177.0.0.1",
    "localhost",
    "localhost.",
    "hooks.example.",
)
URLS: Final[dict[str, tuple[str, str | None]]] = {
    "a plain one": (f"https://{HOST}/in", None),
    "with the port of TLS": (f"https://{HOST}:443/in?x=1", None),
    "in capitals": (f"https://{HOST.upper()}/in", None),
    "without TLS": (f"http://{HOST}/in", "not_https"),
    "of a file": ("file:///etc/passwd", "not_https"),
    "of another scheme": (f"gopher://{HOST}/", "not_https"),
    "without a scheme": (f"{HOST}/in", "not_https"),
    "empty": ("", "not_https"),
    "to another port": (f"https://{HOST}:22/in", "port"),
    "to port 0": (f"https://{HOST}:0/in", "port"),
    "to an impossible port": (f"https://{HOST}:99999/in", "malformed"),
    "with a port in words": (f"https://{HOST}:https/in", "malformed"),
    "with a user": (f"https://user@{HOST}/in", "malformed"),
    "with our host as the user of another": (f"https://{HOST}@evil.example/in", "malformed"),
    "with a password": (f"https://:pw@{HOST}/in", "malformed"),
    "with a backslash": (f"https://{HOST}\\@evil.example/in", "malformed"),
    "without a host": ("https:///in", "malformed"),
    "with half an IPv6 address": ("https://[::1/in", "malformed"),
    "to a host nobody named": ("https://evil.example/in", "host_unknown"),
    "to a subdomain": (f"https://a.{HOST}/in", "host_unknown"),
    "to a look-alike": (f"https://{HOST}.evil.example/in", "host_unknown"),
    "to IPv4": ("https://127.0.0.1/in", "address_literal"),
    "to public IPv4": ("https://8.8.8.8/in", "address_literal"),
    "to IPv6": ("https://[::1]/in", "address_literal"),
    "to a decimal address": ("https://2130706433/in", "address_literal"),
    "to an octal address": ("https://0177.0.0.1/in", "address_literal"),
    "to this machine": ("https://localhost/in", "address_literal"),
    "to this machine with a dot": ("https://localhost./in", "address_literal"),
    "to a name with a final dot": (f"https://{HOST}./in", "address_literal"),
}


@pytest.mark.parametrize(("url", "reason"), URLS.values(), ids=URLS.keys())
def test_an_address_of_a_receiver(url: str, reason: str | None) -> None:
    out = Outbound(Network(), frozenset({HOST, *LITERALS}))
    if reason is None:
        out.check(url)
    else:
        with pytest.raises(OutboundRefused) as caught:
            out.check(url)
        assert caught.value.reason == reason
        assert str(caught.value) == reason, "the address is not repeated"


# ------------------------------------------------------------------ signatures of webhooks

SECRET: Final = "whsec_" + base64.b64encode(bytes(range(24))).decode()
SECOND: Final = "whsec_" + base64.b64encode(bytes(range(64))).decode()
AT_S: Final = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp())


@quick
@given(body=st.binary(max_size=80))
def test_a_signature_is_the_one_of_the_standard(body: bytes) -> None:
    text = body.hex()
    ours = webhook_signature(webhook_keys(SECRET), "msg_1", AT_S, text.encode())
    theirs = standardwebhooks.Webhook(SECRET).sign("msg_1", datetime.fromtimestamp(AT_S, UTC), text)
    assert ours == theirs


def test_two_secrets_make_two_signatures_so_that_either_may_be_checked() -> None:
    both = webhook_signature(webhook_keys(f"{SECRET} {SECOND}"), "msg_1", AT_S, b"{}")
    single = [webhook_signature(webhook_keys(secret), "msg_1", AT_S, b"{}") for secret in (SECRET, SECOND)]
    assert both.split(" ") == single


def test_a_signature_depends_on_message_time_and_body() -> None:
    keys = webhook_keys(SECRET)
    made = {
        webhook_signature(keys, message, at_s, body)
        for message in ("msg_1", "msg_2")
        for at_s in (AT_S, AT_S + 1)
        for body in (b"{}", b"{} ")
    }
    assert len(made) == 8


BAD_SECRETS: Final = {
    "nothing": "",
    "spaces": "  ",
    "23 bytes": "whsec_" + base64.b64encode(bytes(23)).decode(),
    "65 bytes": "whsec_" + base64.b64encode(bytes(65)).decode(),
    "no base64": "whsec_not-base64!",
    "base64 without its padding": "whsec_" + base64.b64encode(bytes(25)).decode().rstrip("="),
    "letters beyond ASCII": "whsec_" + "é" * 40,
    "a good one and a bad one": SECRET + " whsec_x",
    "only the prefix": "whsec_",
}


@pytest.mark.parametrize("secret", BAD_SECRETS.values(), ids=BAD_SECRETS.keys())
def test_a_weak_or_broken_secret_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        webhook_keys(secret)
    for part in secret.split():
        assert part.removeprefix("whsec_")[:20] not in str(caught.value) or part == "whsec_"


def test_secrets_of_24_to_64_bytes_are_taken_with_and_without_their_prefix() -> None:
    assert webhook_keys(SECRET) == webhook_keys(SECRET.removeprefix("whsec_")) == [bytes(range(24))]
    assert webhook_keys(SECOND) == [bytes(range(64))]
