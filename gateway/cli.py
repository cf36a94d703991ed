"""The command line. Every command has an example in its help and `--json`; exit 0 is fine, 1 a problem found, 2 wrong use."""

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click
import msgspec

from gateway import VERSION, app, control
from gateway.attribution_commands import attribution_group
from gateway.caller import RIGHTS
from gateway.catalogue_commands import GROUPS as CATALOGUE_GROUPS
from gateway.clock import SystemClock
from gateway.consent_commands import consent_group
from gateway.entropy import SystemEntropy
from gateway.errors import CODES, GatewayError, Refusal, SettingsError
from gateway.flows import keys as keys_flow
from gateway.flows import setup
from gateway.flows.explain import text_of
from gateway.flows.house import problems_of
from gateway.flows.normalizing import no_rule, normalize_line, normalize_one
from gateway.report_commands import report_command
from gateway.settings import Settings
from gateway.terminal import example, fail, json_option, load_settings, settings_option, show
from gateway.upload_commands import spend_command, upload_command

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="gateway")
def main() -> None:
    """A privacy-first, self-hosted, server-side tagging gateway."""


# ------------------------------------------------------------------ set-up and service


@main.command(
    short_help="Make settings, keys and an admin token.",
    epilog=example("gateway init --host t.shop.example --domain shop.example"),
)
@click.option("--host", required=True, help="Host name the gateway answers to, such as t.shop.example.")
@click.option("--domain", help="Domain whose pages may send events. Default: the host's registrable domain.")
@click.option("--site", default="main", show_default=True, help="Id of the site.")
@click.option("--currency", default="", help="Currency of amounts that come without one, such as EUR.")
@click.option("--directory", default=".", show_default=True, help="Where gateway.toml is made.")
@click.option(
    "--data", help="Directory of the database, the keys and the admin token. Default: data beside gateway.toml."
)
@json_option
def init(
    host: str, domain: str | None, site: str, currency: str, directory: str, data: str | None, as_json: bool
) -> None:
    """Make a settings file, a data directory, keys and an admin token. Changes nothing that exists."""
    try:
        made = setup.initialise(
            Path(directory),
            host=host,
            domain=domain,
            site=site,
            currency=currency,
            clock=SystemClock(),
            entropy=SystemEntropy(),
            data=Path(data) if data is not None else None,
        )
        app.admin_token(Path(str(made["data"])), SystemEntropy())
    except (GatewayError, OSError) as error:
        fail(error, as_json=as_json)
        return
    lines = [
        f"settings     {made['settings']}",
        f"data         {made['data']}",
        f"admin token  {made['data']}/{app.TOKEN_FILE}",
        "",
        "Next:",
        f"  gateway serve --settings {made['settings']}",
    ]
    lines.append(f'  <script defer src="https://{host}/gw.js"></script> in your pages')
    show(made, as_json=as_json, text="\n".join(lines))


@main.command(epilog=example("gateway serve --settings /etc/gateway/gateway.toml"))
@settings_option
def serve(settings_file: str | None) -> None:
    """Run the gateway until it is told to stop."""
    try:
        app.refuse_unsafe()
        settings = load_settings(settings_file)
        app.prepare_process(settings)
        _run(lambda stop: app.run(settings, stop))
    except (GatewayError, OSError) as error:
        fail(error, as_json=False)


def _run(serve_until: Callable[[asyncio.Event], Any]) -> None:
    """Run on the fastest event loop there is, until SIGTERM or SIGINT."""

    async def until_told() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await serve_until(stop)

    with asyncio.Runner(loop_factory=app.new_event_loop) as runner:
        runner.run(until_told())


@main.command(short_help="Run a demo shop and stand-ins of the platforms.", epilog=example("gateway demo"))
@click.option("--port", default=8080, show_default=True, help="First of the ports that are used, all on loopback.")
@click.option("--directory", default="demo-data", show_default=True, help="Where the demo keeps its data.")
def demo(port: int, directory: str) -> None:
    """Run a demo shop, the gateway, and strict stand-ins of the ad platforms, all on this machine."""
    from gateway.sandbox import demo as sandbox_demo  # imported here: service needs none of it

    try:
        app.refuse_unsafe()
        _run(lambda stop: sandbox_demo.run(Path(directory), port, stop))
    except GatewayError as error:
        fail(error, as_json=False)


@main.command(short_help="Check settings, keys and the database.", epilog=example("gateway check --json"))
@settings_option
@json_option
def check(settings_file: str | None, as_json: bool) -> None:
    """Check settings, keys and the database, and add up what became of everything."""
    try:
        app.refuse_unsafe()
        settings = load_settings(settings_file)
        problems = problems_of(settings)
        if problems:
            raise SettingsError(problems)
        found = control.operate(settings, "GET", "/api/admin/v1/check")
    except GatewayError as error:
        fail(error, as_json=as_json)
        return
    listed = found["problems"]
    lines = [f"events: {found['events']}"]
    for kind in ("conversions", "deliveries", "consent_entries"):
        lines += _tally_lines(kind.replace("_", " "), found[kind])
    lines += [f"problem: {problem}" for problem in listed] if isinstance(listed, list) and listed else ["no problems"]
    show(found, as_json=as_json, text="\n".join(lines))
    sys.exit(1 if listed else 0)


def _tally_lines(kind: str, tally: object, *above: str) -> list[str]:
    """Nested counts as a line for each innermost group, such as `conversions: shop: purchase counted 3`."""
    if not isinstance(tally, dict) or not tally:
        return [": ".join([kind, *above, "none"])]
    counts = [f"{name} {count}" for name, count in tally.items() if not isinstance(count, dict)]
    lines = [": ".join([kind, *above, ", ".join(counts)])] if counts else []
    for name, below in tally.items():
        if isinstance(below, dict):
            lines += _tally_lines(kind, below, *above, str(name))
    return lines


# ------------------------------------------------------------------ looking and mending


@main.command(
    short_help="Print one event's way, with every reason.", epilog=example("gateway explain 01M7W82T9JQQ7H1KTTX2BFVESK")
)
@click.argument("event_id")
@click.option("--site", help="Only look on this site.")
@settings_option
@json_option
def explain(event_id: str, site: str | None, settings_file: str | None, as_json: bool) -> None:
    """Print one event's way through the gateway, with every reason; or what came of one consent record, by its id."""
    try:
        query = f"?site={site}" if site else ""
        found = control.operate(load_settings(settings_file), "GET", f"/api/admin/v1/events/{event_id}{query}")
    except GatewayError as error:
        fail(error, as_json=as_json)
        return
    show(found, as_json=as_json, text=text_of(found))


@main.command(epilog=example("gateway replay --destination meta"))
@click.option("--site", help="Only deliveries of this site.")
@click.option("--destination", help="Only deliveries to this destination.")
@click.option("--delivery", "delivery_id", type=int, help="Only this delivery.")
@click.option("--limit", default=10_000, show_default=True, help="At most so many.")
@click.option("--list", "listing", is_flag=True, help="Only list the dead deliveries.")
@settings_option
@json_option
def replay(
    site: str | None,
    destination: str | None,
    delivery_id: int | None,
    limit: int,
    listing: bool,
    settings_file: str | None,
    as_json: bool,
) -> None:
    """Send dead deliveries again, as far as their payload is held. Consent is asked again before each."""
    try:
        settings = load_settings(settings_file)
        if listing:
            query = "&".join(
                f"{name}={value}" for name, value in (("site", site), ("destination", destination)) if value
            )
            found = control.operate(settings, "GET", f"/api/admin/v1/dead?limit={min(limit, 1000)}&{query}")
            rows = found["dead"]
            lines = [
                f"{row['delivery_id']}  {row['site']}  {row['destination']}  {row['event_id']}  {row['reason']}"
                f"{'' if row['replayable'] else '  (payload deleted)'}"
                for row in (rows if isinstance(rows, list) else [])
            ]
            show(found, as_json=as_json, text="\n".join(lines) or "no dead deliveries")
            return
        body = {"site": site, "destination": destination, "delivery_id": delivery_id, "limit": limit}
        found = control.operate(settings, "POST", "/api/admin/v1/replay", body)
    except GatewayError as error:
        fail(error, as_json=as_json)
        return
    show(found, as_json=as_json, text=f"{found['replayed']} deliveries wait again")


@main.command(
    "normalize",
    short_help="Show what a platform would be sent for a value.",
    epilog=example("gateway normalize meta ph '0171 1234567' --country de --calling-code 49"),
)
@click.argument("platform", required=False)
@click.argument("field", required=False)
@click.argument("value", required=False)
@click.option("--country", help="Country of the person, two letters.")
@click.option("--calling-code", help="Calling code of numbers without one, digits.")
@click.option("--jsonl", is_flag=True, help="Read JSON lines on standard input, answer one for each.")
@json_option
def normalize_command(
    platform: str | None,
    field: str | None,
    value: str | None,
    country: str | None,
    calling_code: str | None,
    jsonl: bool,
    as_json: bool,
) -> None:
    """Show what a platform would be sent for a value: normalised and hashed as that platform wants it.

    FIELD is a name of the platform (em) or of the gateway (email). A line for --jsonl:

    \b
    {"platform":"meta","field":"email","input":"A@b.example","context":{"country":"de","default_calling_code":"49"}}
    """
    now_ms = SystemClock().now_ms()
    if jsonl:
        for line in sys.stdin.buffer:
            if line.strip():
                click.echo(msgspec.json.encode(normalize_line(line, now_ms)).decode())
        return
    if platform is None or field is None or value is None:
        raise click.UsageError("give PLATFORM FIELD VALUE, or --jsonl")
    context = {"country": country, "default_calling_code": calling_code}
    try:
        found = normalize_one(platform, field, value, {k: v for k, v in context.items() if v is not None}, now_ms)
    except Refusal as error:
        raise click.UsageError(
            no_rule(platform, field) if error.code == "field_unknown" else f"VALUE: {CODES[error.code].message}"
        ) from None
    lines = [f"{key:<16} {shown}" for key, shown in found.items()]
    show(found, as_json=as_json, text="\n".join(lines))


main.add_command(consent_group)
main.add_command(attribution_group)
main.add_command(report_command)
main.add_command(upload_command)
main.add_command(spend_command)
for catalogue_group in CATALOGUE_GROUPS:
    main.add_command(catalogue_group)


# ------------------------------------------------------------------ keys


@main.group(short_help="API keys of backends, and root keys.")
def keys() -> None:
    """API keys for backends, and the root keys of this installation."""


def _shown_key(key: dict[str, object]) -> str:
    state = f"revoked {key['revoked_at']}" if key["revoked_at"] else "valid"
    sites, rights = (
        ", ".join(map(str, names)) if isinstance(names, list) else "" for names in (key["sites"], key["rights"])
    )
    signs = "must sign" if key["must_sign"] else "need not sign"
    return f"{key['id']}  {state}  sites: {sites}  rights: {rights}  {signs}  {key['title']}".rstrip()


@keys.command("list", epilog=example("gateway keys list"))
@settings_option
@json_option
def keys_list(settings_file: str | None, as_json: bool) -> None:
    """List API keys, without their secrets."""
    try:
        found = control.operate(load_settings(settings_file), "GET", "/api/admin/v1/keys")
    except GatewayError as error:
        fail(error, as_json=as_json)
        return
    rows = found["keys"]
    text = "\n".join(_shown_key(row) for row in (rows if isinstance(rows, list) else []))
    show(found, as_json=as_json, text=text or "no API keys; make one with: gateway keys create")


def _show_new(found: dict[str, object], *, as_json: bool) -> None:
    lines = [
        f"key             {found['key']}",
        f"signing secret  {found['signing_secret']}",
        "",
        "Both are shown once.",
    ]
    show(found, as_json=as_json, text="\n".join(lines))


@keys.command("create", epilog=example("gateway keys create --title 'shop backend' --site main --right conversions"))
@click.option("--title", default="", help="What the key is for.")
@click.option("--site", "sites", multiple=True, help="Site it may be used for; default: all.")
@click.option(
    "--right",
    "rights",
    multiple=True,
    type=click.Choice(RIGHTS),
    help="What it may do; default: send, not read or manage.",
)
@click.option("--must-sign", is_flag=True, help="Refuse calls that are not signed.")
@settings_option
@json_option
def keys_create(
    title: str,
    sites: tuple[str, ...],
    rights: tuple[str, ...],
    must_sign: bool,
    settings_file: str | None,
    as_json: bool,
) -> None:
    """Make an API key. Its secrets are shown once."""
    body = {"title": title, "sites": list(sites), "rights": list(rights), "must_sign": must_sign}
    try:
        found = control.operate(load_settings(settings_file), "POST", "/api/admin/v1/keys", body)
    except GatewayError as error:
        if isinstance(error, control.OperationRefused) and error.field == "sites":
            error = GatewayError("--site: no site of the settings has this id")
        fail(error, as_json=as_json)
        return
    _show_new(found, as_json=as_json)


_REVOKED: Final = {
    "revoke": "this key is revoked already",
    "rotate": "this key is revoked; create a new one with: gateway keys create",
}


def _change_key(settings: Settings, key_id: str, action: str) -> dict[str, object]:
    """Revoke or rotate a key. Raises GatewayError that says whether the key is unknown or revoked."""
    try:
        return control.operate(settings, "POST", f"/api/admin/v1/keys/{quote(key_id, safe='')}/{action}", {})
    except control.OperationRefused as refused:
        if refused.code not in {"field_invalid", "route_unknown"}:
            raise
    rows = control.operate(settings, "GET", "/api/admin/v1/keys")["keys"]
    known = isinstance(rows, list) and any(row["id"] == key_id for row in rows)
    raise GatewayError(_REVOKED[action] if known else "no key has this id; see: gateway keys list")


@keys.command("revoke", epilog=example("gateway keys revoke k3b2a7qd"))
@click.argument("key_id")
@settings_option
@json_option
def keys_revoke(key_id: str, settings_file: str | None, as_json: bool) -> None:
    """Revoke an API key at once."""
    try:
        found = _change_key(load_settings(settings_file), key_id, "revoke")
    except GatewayError as error:
        fail(error, as_json=as_json)
        return
    show(found, as_json=as_json, text=f"{key_id} is revoked")


@keys.command("rotate", epilog=example("gateway keys rotate k3b2a7qd   # then move callers over, then revoke k3b2a7qd"))
@click.argument("key_id")
@settings_option
@json_option
def keys_rotate(key_id: str, settings_file: str | None, as_json: bool) -> None:
    """Make a new key with the sites and rights of an old one. The old one works until it is revoked."""
    try:
        found = _change_key(load_settings(settings_file), key_id, "rotate")
    except GatewayError as error:
        fail(error, as_json=as_json)
        return
    _show_new(found, as_json=as_json)


@keys.group("root", short_help="Root keys: for ids, receipts and payloads.")
def keys_root() -> None:
    """Root keys: they sign ids and receipts, seal payloads and make signing secrets."""


def _show_roots(rows: list[dict[str, object]], *, as_json: bool) -> None:
    lines = [f"{row['use']:<8} {row['id']}  {row['created_at']}{'  newest' if row['newest'] else ''}" for row in rows]
    show({"keys": rows}, as_json=as_json, text="\n".join(lines))


def _key_file(settings_file: str | None) -> Path:
    return Path(load_settings(settings_file).data.dir) / app.KEY_FILE


@keys_root.command("list", epilog=example("gateway keys root list"))
@settings_option
@json_option
def root_list(settings_file: str | None, as_json: bool) -> None:
    """List root keys, without their secrets."""
    try:
        _show_roots(keys_flow.roots(_key_file(settings_file)), as_json=as_json)
    except GatewayError as error:
        fail(error, as_json=as_json)


@keys_root.command("rotate", epilog=example("gateway keys root rotate signing   # then restart the gateway"))
@click.argument("use", type=click.Choice(["signing", "sealing", "api"]))
@settings_option
@json_option
def root_rotate(use: str, settings_file: str | None, as_json: bool) -> None:
    """Add a new root key for one use. The newest signs, all verify; takes effect at the next start."""
    try:
        _show_roots(
            keys_flow.rotate_root(_key_file(settings_file), use, SystemClock(), SystemEntropy()), as_json=as_json
        )
    except GatewayError as error:
        fail(error, as_json=as_json)


@keys_root.command(
    "drop", short_help="Forget an old root key.", epilog=example("gateway keys root drop signing 1f2e3d4c")
)
@click.argument("use", type=click.Choice(["signing", "sealing", "api"]))
@click.argument("key_id")
@settings_option
@json_option
def root_drop(use: str, key_id: str, settings_file: str | None, as_json: bool) -> None:
    """Forget an old root key: ids it signed are no ids any more, payloads it sealed cannot be sent."""
    try:
        path = _key_file(settings_file)
        try:
            _show_roots(keys_flow.drop_root(path, use, key_id), as_json=as_json)
        except Refusal:
            known = any((row["use"], row["id"]) == (use, key_id) for row in keys_flow.roots(path))
            raise GatewayError(
                f"this is the newest {use} key, which is in use; first: gateway keys root rotate {use}"
                if known
                else f"no {use} key has this id; see: gateway keys root list"
            ) from None
    except GatewayError as error:
        fail(error, as_json=as_json)
