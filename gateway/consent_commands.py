"""Commands about consent: decode a signal, and try what would follow from it."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec

from gateway.clock import SystemClock
from gateway.errors import CODES, GatewayError, Refusal
from gateway.event import Signals
from gateway.flows.decoding import SEVERAL, decode_line, decode_signals
from gateway.flows.what_if import Case, text_of, what_if
from gateway.signals.cmp_platforms import PLATFORMS, platform
from gateway.terminal import example, fail, json_option, load_settings, settings_option, show

__all__ = ["consent_group"]

F = TypeVar("F", bound=Callable[..., Any])


def _wrong_use(refusal: Refusal) -> click.UsageError:
    option = _OPTIONS.get(refusal.field or "", f"--{(refusal.field or '').replace('_', '-')}")
    return click.UsageError(f"{option}: {CODES[refusal.code].message}")


_OPTIONS: Final = {"cmp": "--platform", "mapping": "--map"}


def _pairs(option: str, texts: tuple[str, ...]) -> dict[str, str]:
    """NAME=VALUE texts as a mapping. A name that is given twice, or a text of another form, is wrong use."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or name in found:
            raise click.UsageError(f"{option}: write NAME=VALUE, each name once")
        found[name] = value
    return found


@click.group("consent", short_help="Decode consent signals; try what would follow.")
def consent_group() -> None:
    """Consent signals: what they say, and what would follow from them."""


def _signal_options(command: F) -> F:
    for name, text in reversed(
        (
            ("--tcf", "TC string."),
            ("--gpp", "GPP string."),
            ("--us-privacy", "US Privacy string."),
            ("--ac", "Google's additional consent string."),
            ("--gcs", "Parameter gcs of Google's consent mode."),
            ("--gcd", "Parameter gcd of Google's consent mode."),
        )
    ):
        command = click.option(name, help=text)(command)
    return command


@consent_group.command(
    "decode",
    short_help="Show what a consent string or cookie says.",
    epilog=example("gateway consent decode --gcs G100 --gcd 13p3p3p3p5l1"),
)
@_signal_options
@click.option("--cookie", "cookies", multiple=True, help="NAME=VALUE of a consent platform; may be given again.")
@click.option(
    "--platform", "platform_name", help="Whose cookie it is, such as onetrust or klaro. Default: by its name."
)
@click.option("--map", "mapping", multiple=True, help="CATEGORY=PURPOSE, where the site names categories itself.")
@click.option(
    "--service", "services", multiple=True, help="A service the site knows of, where cookies list accepted ones."
)
@click.option("--jsonl", is_flag=True, help="Read JSON lines on standard input, answer one for each.")
@json_option
def consent_decode(
    tcf: str | None,
    gpp: str | None,
    us_privacy: str | None,
    ac: str | None,
    gcs: str | None,
    gcd: str | None,
    cookies: tuple[str, ...],
    platform_name: str | None,
    mapping: tuple[str, ...],
    services: tuple[str, ...],
    jsonl: bool,
    as_json: bool,
) -> None:
    """Show what a consent string or cookie says.

    Exit code 1: something could not be decoded. With --jsonl that stands in the answer to its line.
    """
    now_ms = SystemClock().now_ms()
    said = {"tcf": tcf, "gpp": gpp, "us_privacy": us_privacy, "ac": ac, "gcs": gcs, "gcd": gcd}
    asked: dict[str, object] = {name: text for name, text in said.items() if text is not None}
    if platform_name not in (None, SEVERAL) and platform(platform_name or "") is None:
        raise click.UsageError(f"--platform: no platform of this name; known are {', '.join(sorted(PLATFORMS))}")
    for cookie in cookies:
        if not cookie.partition("=")[0].strip() or "=" not in cookie:
            raise click.UsageError("--cookie: NAME=VALUE is needed")
    if cookies:
        asked |= {"cookie_header": "; ".join(cookies), "cmp": platform_name, "services": list(services)}
        if mapping:
            asked["mapping"] = _pairs("--map", mapping)
    elif platform_name or mapping or services:
        raise click.UsageError("--platform, --map and --service say how to read a --cookie; none is given")
    if jsonl:
        if asked:
            raise click.UsageError("--jsonl reads what to decode from standard input; give nothing else")
        for line in sys.stdin.buffer:
            if line.strip():
                click.echo(msgspec.json.encode(decode_line(line, now_ms)).decode())
        return
    if not asked:
        raise click.UsageError("say what to decode, such as --tcf, --gpp, --cookie or --jsonl")
    try:
        found = decode_signals(asked, now_ms)
    except Refusal as refusal:
        if (refusal.code, refusal.field) == ("field_missing", "cmp"):
            names = ", ".join(cookie.partition("=")[0].strip() for cookie in cookies)
            raise click.UsageError(
                f"--cookie: no platform is known by the cookie {names}; name it with --platform"
            ) from None
        raise _wrong_use(refusal) from None
    show(found, as_json=as_json, text=msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    sys.exit(1 if any(isinstance(part, dict) and "error" in part for part in found.values()) else 0)


@consent_group.command(
    "what-if",
    short_help="Judge a made-up request by your settings.",
    epilog=example("gateway consent what-if --place US-CA --gpc --consent analytics=granted"),
)
@click.option("--site", help="Which site; default: the first.")
@click.option("--event", default="purchase", show_default=True, help="Name of the event.")
@click.option("--consent", "claims", multiple=True, help="PURPOSE=granted or PURPOSE=denied, as the event says it.")
@click.option("--stored", multiple=True, help="PURPOSE=granted or PURPOSE=denied, as the visitor chose here earlier.")
@_signal_options
@click.option("--gpp-sid", help="Sections of the GPP string that apply, such as 7,8.")
@click.option("--gdpr/--no-gdpr", default=None, help="Whether the page says that the TCF applies.")
@click.option("--cookie", default="", help="The whole Cookie header.")
@click.option("--gpc", is_flag=True, help="The browser sends Sec-GPC: 1.")
@click.option("--dnt", is_flag=True, help="The browser sends DNT: 1.")
@click.option("--place", default="", help="Where the visitor is: DE, US-CA; empty: unknown.")
@click.option("--minor", is_flag=True, help="The person is known to be under age.")
@click.option("--sensitive", multiple=True, help="Category of sensitive data the event tells, such as health.")
@click.option("--backend", is_flag=True, help="A backend sends it, with an API key.")
@settings_option
@json_option
def consent_what_if(
    site: str | None,
    event: str,
    claims: tuple[str, ...],
    stored: tuple[str, ...],
    tcf: str | None,
    gpp: str | None,
    us_privacy: str | None,
    ac: str | None,
    gcs: str | None,
    gcd: str | None,
    gpp_sid: str | None,
    gdpr: bool | None,
    cookie: str,
    gpc: bool,
    dnt: bool,
    place: str,
    minor: bool,
    sensitive: tuple[str, ...],
    backend: bool,
    settings_file: str | None,
    as_json: bool,
) -> None:
    """Judge a made-up request as your settings are now: what would each destination see, and why."""
    try:
        sections = tuple([int(part) for part in gpp_sid.split(",")]) if gpp_sid else None
    except ValueError:
        raise click.UsageError("--gpp-sid: write section numbers, such as 7,8") from None
    signals = Signals(tcf=tcf, gdpr=gdpr, ac=ac, gpp=gpp, gpp_sid=sections, us_privacy=us_privacy, gcs=gcs, gcd=gcd)
    case = Case(
        event=event,
        consent=_pairs("--consent", claims),
        stored=_pairs("--stored", stored),
        signals=signals if signals != Signals() else None,
        cookie=cookie,
        gpc=gpc,
        dnt=dnt,
        place=place.upper(),
        minor=minor,
        sensitive=sensitive,
        trusted=backend,
    )
    try:
        settings = load_settings(settings_file)
        found = what_if(settings, site, case, SystemClock().now_ms(), Path(settings.data.dir))
    except Refusal as refusal:
        raise _wrong_use(refusal) from None
    except GatewayError as error:
        fail(error, as_json=as_json)
        return
    show(found, as_json=as_json, text=text_of(found))
