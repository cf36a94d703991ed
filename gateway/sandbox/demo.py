"""The demo: gateway, stand-ins of the ad platforms, a shop and a page that shows what arrived, in one process on loopback.

    t.shop.localhost:PORT      the gateway, as browsers reach it
    localhost:PORT+1           the gateway's admin listener, with its token
    shop.localhost:PORT+2      the shop
    localhost:PORT+3           what arrived at each platform; switches that make a platform fail

The stand-ins are reached by the gateway's own client under the platforms' real names: a resolver and a test authority are
handed in here, in code. There is no setting that could do that.
"""

import asyncio
from pathlib import Path
from typing import Final, Self

import click
from aiohttp import web

from gateway import app, telemetry
from gateway.clock import SystemClock
from gateway.entropy import Entropy, SystemEntropy
from gateway.errors import SettingsError
from gateway.outbound import Network
from gateway.sandbox.arrived import arrived_app
from gateway.sandbox.config import GatewayValues, SandboxConfig, default_config
from gateway.sandbox.shop import shop_app
from gateway.sandbox.stand_ins import StandIns, network_from
from gateway.settings import Settings, parse
from gateway.vault import new_key_file, write_key_file

__all__ = ["GATEWAY_HOST", "SHOP_HOST", "Demo", "demo_destinations", "demo_settings", "prepare", "run"]

GATEWAY_HOST: Final = "t.shop.localhost"
SHOP_HOST: Final = "shop.localhost"
SECOND_GATEWAY_HOST: Final = "t.other.localhost"
SECOND_HOST: Final = "other.localhost"


def demo_destinations(values: GatewayValues) -> list[dict[str, object]]:
    """The four destinations of the demo, as a settings file would have them."""
    return [
        {"platform": "meta", "dataset_id": values.meta_dataset_id, "access_token": values.meta_access_token},
        {"platform": "ga4", "measurement_id": values.ga4_measurement_id, "api_secret": values.ga4_api_secret},
        {
            "platform": "google_ads",
            "customer_id": values.google_account_id,
            "login_customer_id": values.google_manager_id,
            "conversion_actions": {
                "purchase": values.google_action_purchase,
                "generate_lead": values.google_action_lead,
            },
            "service_account": values.google_service_account_json,
        },
        {
            "platform": "webhook",
            "name": "crm",
            "url": values.webhook_url,
            "signing_secret": values.webhook_secret,
            "purposes": ["analytics"],
            "contact": "sha256",
        },
    ]


def demo_settings(
    directory: Path, values: GatewayValues, *, port: int, admin_port: int, second_site: bool = False, **changes: object
) -> Settings:
    """Settings of the demo's gateway. `second_site` adds another domain of the owner; `changes` replace whole sections."""
    sites: list[dict[str, object]] = [
        {
            "id": "shop",
            "hosts": [GATEWAY_HOST],
            "domains": [SHOP_HOST],
            "linked_domains": [SECOND_HOST] if second_site else [],
            "currency": "EUR",
            "calling_code": "49",
            "destination": demo_destinations(values),
        }
    ]
    if second_site:
        sites.append(
            {
                "id": "other",
                "hosts": [SECOND_GATEWAY_HOST],
                "domains": [SECOND_HOST],
                "linked_domains": [SHOP_HOST],
                "currency": "EUR",
            }
        )
    raw: dict[str, object] = {
        "listen": {"port": port, "admin_port": admin_port},
        "data": {"dir": str(directory)},
        "delivery": {"retry_base_s": 1.0, "retry_cap_s": 30.0, "pause_s": 5.0},
        "site": sites,
    }
    return parse({**raw, **changes}, {}, directory)


def prepare(directory: Path, entropy: Entropy | None = None) -> None:
    """Make the data directory and its keys, if they are not there."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    keys = directory / app.KEY_FILE
    if not keys.exists():
        write_key_file(keys, new_key_file(SystemClock().now_ms(), entropy or SystemEntropy()))


class Demo:
    """Everything of the demo, started with `async with`. Ports of 0 take free ones."""

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        config: SandboxConfig | None = None,
        second_site: bool = False,
        **changes: object,
    ) -> None:
        self._directory = directory
        self._ports = [port + step if port else 0 for step in range(4)]
        self._second_site = second_site
        self._changes = changes
        self.stand_ins = StandIns(config or default_config())
        self._runners: list[web.AppRunner] = []
        self._lock = app.Lock(directory)
        self.gateway: app.Gateway | None = None
        self.urls: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        prepare(self._directory)
        if not self._lock.take():
            raise SettingsError([f"Another demo is running on {self._directory}"])
        await self.stand_ins.start()
        resolver, tls = network_from(self.stand_ins.connect_info())
        settings = demo_settings(
            self._directory,
            self.stand_ins.config.gateway,
            port=self._ports[0],
            admin_port=self._ports[1],
            second_site=self._second_site,
            **self._changes,
        )
        self.gateway = await app.start(settings, network=Network(resolver, tls))
        origin = f"http://{GATEWAY_HOST}:{self.gateway.port}"
        shop = await self._serve(shop_app(gateway=origin, entropy=SystemEntropy()), self._ports[2])
        arrived = await self._serve(
            arrived_app(self.stand_ins, self.gateway.house, shop=f"http://{SHOP_HOST}:{shop}"), self._ports[3]
        )
        self.urls = {
            "shop": f"http://{SHOP_HOST}:{shop}/",
            "arrived": f"http://localhost:{arrived}/",
            "gateway": origin,
            "privacy": f"{origin}/privacy",
            "admin": f"http://localhost:{self.gateway.admin_port}/",
        }
        if self._second_site:
            second_origin = f"http://{SECOND_GATEWAY_HOST}:{self.gateway.port}"
            second = await self._serve(shop_app(gateway=second_origin, entropy=SystemEntropy(), name="Other shop"), 0)
            self.urls["second"] = f"http://{SECOND_HOST}:{second}/"
        return self

    async def _serve(self, application: web.Application, port: int) -> int:
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return int(runner.addresses[0][1])

    async def __aexit__(self, *_error: object) -> None:
        for runner in self._runners:
            await runner.cleanup()
        if self.gateway is not None:
            await self.gateway.stop()
        await self.stand_ins.stop()
        self._lock.release()


async def run(directory: Path, port: int, stop: asyncio.Event) -> None:
    """Run the demo until `stop` is set."""
    telemetry.configure("warning")
    try:
        async with Demo(directory, port=port) as demo:
            click.echo("The demo is running. Open these in a browser on this machine:")
            click.echo(f"  the shop                      {demo.urls['shop']}")
            click.echo(f"  status: what arrived where    {demo.urls['arrived']}")
            click.echo(f"  the gateway's own status      {demo.urls['admin']}  (token: {directory / app.TOKEN_FILE})")
            click.echo(f"  the visitor's own page        {demo.urls['privacy']}")
            click.echo("Stop it with Ctrl-C.")
            await stop.wait()
    except OSError as error:
        raise SettingsError(
            [f"cannot listen on ports {port} to {port + 3}: {error.strerror}; choose with --port"]
        ) from None
