"""Real names, our ports, our authority; and stand-ins that live in another process."""

import asyncio
import signal
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import msgspec
import pytest

from gateway.clock import SystemClock
from gateway.entropy import SeededEntropy, SystemEntropy
from gateway.sandbox.authority import Authority, client_context, load_ca
from gateway.sandbox.call import Answer
from gateway.sandbox.config import SandboxConfig, default_config
from gateway.sandbox.control import Control
from gateway.sandbox.faults import Fault
from gateway.sandbox.resolver import SandboxResolver
from gateway.sandbox.stand_ins import ConnectInfo, StandIns, main, network_from

Send = Callable[..., Awaitable[Answer]]


async def test_the_resolver_knows_the_played_hosts_and_no_other() -> None:
    resolver = SandboxResolver({"graph.facebook.com": 4711})
    [found] = await resolver.resolve("Graph.Facebook.com", 443)
    assert (found["host"], found["port"], found["family"]) == ("127.0.0.1", 4711, socket.AF_INET)
    with pytest.raises(OSError, match="no stand-in plays"):
        await resolver.resolve("example.com", 443)
    await resolver.close()


async def test_every_vendor_name_is_reached_under_tls(send: Send, stand_ins: StandIns) -> None:
    info = stand_ins.connect_info()
    hosts = msgspec.convert(info["hosts"], dict[str, int])
    assert set(hosts) == {
        "graph.facebook.com",
        "www.google-analytics.com",
        "region1.google-analytics.com",
        "datamanager.googleapis.com",
        "oauth2.googleapis.com",
        "hooks.crm.example",
    }
    for host in hosts:
        assert (await send("GET", f"https://{host}/nothing")).status in {400, 404}
    assert msgspec.json.decode(msgspec.json.encode(info)) == info
    with pytest.raises(aiohttp.ClientConnectorError):
        await send("GET", "https://example.com/")


async def test_the_default_trust_does_not_accept_the_authority(stand_ins: StandIns) -> None:
    resolver, _ = network_from(stand_ins.connect_info())
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver)) as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get("https://graph.facebook.com/")


async def test_an_expired_certificate_is_not_trusted(config: SandboxConfig) -> None:
    async with StandIns(config, certificate_ms=-1000) as running:
        resolver, trust = network_from(running.connect_info())
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver, ssl=trust)) as session:
            with pytest.raises(aiohttp.ClientConnectorCertificateError, match="expired"):
                await session.get("https://graph.facebook.com/")


async def test_a_connection_without_a_known_name_is_refused(stand_ins: StandIns) -> None:
    info = msgspec.convert(stand_ins.connect_info(), ConnectInfo)
    port = info.hosts["graph.facebook.com"]
    trust = client_context(info.ca_pem)
    resolver = SandboxResolver({"example.com": port})
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver, ssl=trust)) as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get("https://example.com/")
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"https://127.0.0.1:{port}/")
    real = SandboxResolver({"graph.facebook.com": port})
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=real, ssl=trust)) as session,
        session.get("https://graph.facebook.com/", headers={"Host": "example.com"}) as response,
    ):
        assert response.status == 421


def test_an_authority_is_written_and_loaded_back(tmp_path: Path) -> None:
    now_ms = SystemClock().now_ms()
    authority = Authority(now_ms=now_ms, entropy=SeededEntropy())
    authority.write_ca(tmp_path / "ca.pem")
    trust = load_ca(tmp_path / "ca.pem")
    assert trust.verify_mode is ssl.CERT_REQUIRED
    assert trust.check_hostname
    assert len(trust.get_ca_certs()) == 1
    strict = authority.client_context()
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    server = authority.server_context(["hooks.crm.example"], now_ms=now_ms)
    for context in (trust, strict):
        assert _handshake(server, context, "hooks.crm.example")
        with pytest.raises(ssl.SSLCertVerificationError):
            _handshake(server, context, "other.example")
    stranger = Authority(now_ms=now_ms, entropy=SystemEntropy()).client_context()
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(server, stranger, "hooks.crm.example")


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> bool:
    """Shake hands in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(5):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends[0].version() is not None


async def test_a_restarted_server_is_still_trusted_with_the_same_authority(config: SandboxConfig) -> None:
    authority = Authority(now_ms=SystemClock().now_ms(), entropy=SystemEntropy())
    async with StandIns(config, authority=authority) as first:
        info = msgspec.convert(first.connect_info(), ConnectInfo)
    port = info.hosts["graph.facebook.com"]
    async with StandIns(config, authority=authority, port=port) as second:
        assert second.connect_info()["hosts"] == info.hosts
        resolver, trust = network_from(msgspec.to_builtins(info))
        connector = aiohttp.TCPConnector(resolver=resolver, ssl=trust)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get("https://graph.facebook.com/") as one,
        ):
            assert one.status == 400


async def test_the_control_port_reads_ledgers_and_injects_faults(send: Send, stand_ins: StandIns) -> None:
    control = Control(str(stand_ins.connect_info()["control"]))
    await control.next_fault("ga4", Fault.status(503), times=2)
    await control.always_fault("meta", Fault.status(500))
    url = "https://www.google-analytics.com/mp/collect"
    assert [(await send("POST", url, json={"a": 1})).status for _ in range(3)] == [503, 503, 204]
    assert (await send("POST", "https://graph.facebook.com/", json={})).status == 500
    report = await control.ledger("ga4")
    assert [one.fault for one in report.requests] == ["answer", "answer", None]
    assert len(report.invalid) == 1
    assert set(await control.ledgers()) == {"meta", "ga4", "google_ads", "google_token", "webhook"}
    assert '{"a":1}' in await control.everything_text()
    await control.clear_faults()
    assert (await send("POST", "https://graph.facebook.com/", json={})).status == 400
    await control.clear("ga4")
    assert (await control.ledger("ga4")).requests == []
    assert (await control.ledger("meta")).requests != []
    await control.clear()
    assert stand_ins.everything_text().strip() == ""
    with pytest.raises(aiohttp.ClientResponseError, match="404"):
        await control.ledger("tiktok")
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{stand_ins.connect_info()['control']}/faults", data=b'{"stand_in": 1}') as response,
    ):
        assert response.status == 400


async def test_stand_ins_run_in_another_process_until_sigterm(config: SandboxConfig, tmp_path: Path) -> None:
    settings, info = tmp_path / "config.json", tmp_path / "info.json"
    settings.write_bytes(msgspec.json.encode(config))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.sandbox.stand_ins", "--config", str(settings), "--info", str(info)),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        for _ in range(200):
            if info.exists():
                break
            assert process.returncode is None
            await asyncio.sleep(0.05)
        known = msgspec.json.decode(info.read_bytes())
        resolver, trust = network_from(known)
        connector = aiohttp.TCPConnector(resolver=resolver, ssl=trust)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.post("https://www.google-analytics.com/mp/collect", json={}) as response,
        ):
            assert response.status == 204
        assert len((await Control(known["control"]).ledger("ga4")).invalid) == 1
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = await asyncio.wait_for(process.communicate(), 10)
    assert (process.returncode, errors) == (0, b"")


def test_a_configuration_that_cannot_be_read_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(SystemExit) as left:
        main(["--config", str(tmp_path / "config.json"), "--info", str(tmp_path / "info.json")])
    assert left.value.code == 2
    assert "cannot be read" in capsys.readouterr().err


def test_the_sample_configuration_is_complete_and_survives_json(config: SandboxConfig) -> None:
    assert msgspec.json.decode(msgspec.json.encode(config), type=SandboxConfig) == config
    assert all(msgspec.structs.asdict(config.gateway).values())
    assert default_config().gateway.meta_access_token != config.gateway.meta_access_token
    key = msgspec.json.decode(config.gateway.google_service_account_json)
    assert key["private_key_id"] in config.google.service_accounts[0].public_keys
