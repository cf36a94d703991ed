"""Commands about the catalogue: `gateway campaigns | links | ambassadors | coupons | goals`.

Every field an entry has on the wire is an option of `create` and `change`; they are made of the same table of shapes.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import click

from gateway import control
from gateway.catalogue_options import body_of, with_fields
from gateway.conversions.goals import BUSINESSES
from gateway.errors import CODES, GatewayError, Refusal
from gateway.flows import signing
from gateway.links import qr
from gateway.protocols.catalogue_shapes import SHAPES, SIGNED_DAYS_MAX
from gateway.settings import Settings
from gateway.terminal import example, fail, json_option, load_settings, settings_option, show

__all__ = ["GROUPS"]

F = TypeVar("F", bound=Callable[..., Any])

_ID: Final = re.compile(r"(?:cmp|lnk|amb|cpn|goal)_[a-z2-7]{16}\Z")


# ------------------------------------------------------------------ asking


def _ask(
    settings_file: str | None, site: str | None, method: str, path: str, body: Mapping[str, object] | None = None
) -> dict[str, Any]:
    """Do one operation on the catalogue of a site."""
    settings = load_settings(settings_file)
    return control.operate(settings, method, f"/api/admin/v1/catalogue/{_site(settings, site)}/{path}", body)


def _site(settings: Settings, named: str | None) -> str:
    ids = [site.id for site in settings.site]
    if named is None and len(ids) > 1:
        raise click.UsageError(f"--site: say which site: {', '.join(ids)}")
    if named is not None and named not in ids:
        raise click.UsageError(f"--site: there is no such site; there are {', '.join(ids)}")
    return named or ids[0]


def _id_of(settings_file: str | None, site: str | None, plural: str, named: str) -> str:
    """The id of an entry that is named by its id or its code. Raises Refusal `entry_unknown`."""
    if _ID.match(named) is not None:
        return named
    found = _ask(settings_file, site, "GET", f"{plural}?{urlencode({'code': named})}")[plural]
    if not found:
        raise Refusal("entry_unknown")
    return str(found[0]["id"])


def _common(command: F) -> F:
    command = click.option("--site", help="Which site, where the settings have several.")(command)
    return settings_option(json_option(command))


# ------------------------------------------------------------------ showing


def _lines(told: Mapping[str, Any], prefix: str = "") -> list[str]:
    """An entry as lines, what is empty left out."""
    lines = []
    for name, value in told.items():
        if isinstance(value, dict):
            lines += _lines(value, f"{prefix}{name}.")
        elif value not in (None, "", [], False):
            text = ", ".join(map(_one, value)) if isinstance(value, list) else _one(value)
            lines.append(f"{prefix + name:<22} {text}")
    return lines


def _one(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(str(part) for part in value.values())
    return "yes" if value is True else str(value)


def _answer(found: Mapping[str, Any], *, as_json: bool) -> None:
    """Show an answer: what entries it holds, then what stands beside them."""
    lines: list[str] = []
    for name, part in found.items():
        if isinstance(part, dict):
            lines += [*([""] if lines else []), *_lines(part)]
        elif part not in (None, []):
            lines.append(f"{name:<22} {', '.join(map(str, part)) if isinstance(part, list) else part}")
    if "postback_token" in found:
        lines.append("This is the only time the token is shown.")
    show(found, as_json=as_json, text="\n".join(lines))


def _row(told: Mapping[str, Any]) -> str:
    name = told.get("name") or told.get("title") or told.get("target") or ""
    return f"{told['id']:<21}  {told['code']:<20}  {name}{'  (archived)' if told.get('archived') else ''}"


# ------------------------------------------------------------------ groups


def _group(plural: str, kind: str, text: str, create_example: str, change_example: str) -> click.Group:
    """The commands that every kind has."""

    @click.group(plural, short_help=text)
    def group() -> None:
        pass

    group.help = f"{text}\n\nENTRY is an id or a code."

    @group.command("list", short_help="List them.", epilog=example(f"gateway {plural} list"))
    @click.option("--archived", is_flag=True, help="Also those that are out of use.")
    @click.option("--campaign-id", help="Only those of this campaign.")
    @click.option("--after", help="Go on after this id.")
    @click.option("--limit", default=100, show_default=True, help="At most so many, up to 1000.")
    @_common
    def list_command(
        archived: bool,
        campaign_id: str | None,
        after: str | None,
        limit: int,
        site: str | None,
        settings_file: str | None,
        as_json: bool,
    ) -> None:
        query = {"archived": "true" if archived else None, "campaign_id": campaign_id, "after": after, "limit": limit}
        asked = urlencode({name: value for name, value in query.items() if value is not None})
        with _telling(as_json):
            found = _ask(settings_file, site, "GET", f"{plural}?{asked}")
            lines = [_row(told) for told in found[plural]] or [f"no {plural}"]
            if found["next"]:
                lines.append(f"more: --after {found['next']}")
            if found.get("implied"):
                lines.append(f"by the settings: {', '.join(found['implied'])}")
            show(found, as_json=as_json, text="\n".join(lines))

    list_command.help = f"List {plural}."

    @group.command("show", short_help="Show one.", epilog=example(f"gateway {plural} show {change_example.split()[0]}"))
    @click.argument("entry")
    @click.option("--versions", is_flag=True, help="Every version it had, newest first.")
    @_common
    def show_command(entry: str, versions: bool, site: str | None, settings_file: str | None, as_json: bool) -> None:
        with _telling(as_json):
            path = f"{plural}/{_id_of(settings_file, site, plural, entry)}"
            found = _ask(settings_file, site, "GET", f"{path}/versions" if versions else path)
            if not versions:
                _answer(found, as_json=as_json)
                return
            told = ["\n".join(_lines(one)) for one in found["versions"]]
            show(found, as_json=as_json, text="\n\n".join(told))

    show_command.help = f"Show one of the {plural}."

    @group.command("create", short_help="Make one.", epilog=example(f"gateway {plural} create {create_example}"))
    @with_fields(kind, leave_out=("archived",))
    @_common
    def create_command(site: str | None, settings_file: str | None, as_json: bool, **given: Any) -> None:
        body = body_of(kind, given)
        if given.get("target") is not None:
            body["target"] = given["target"]
        with _telling(as_json):
            _answer(_ask(settings_file, site, "POST", plural, body), as_json=as_json)

    create_command.help = f"Make one of the {plural}."

    @group.command("change", short_help="Change one.", epilog=example(f"gateway {plural} change {change_example}"))
    @click.argument("entry")
    @with_fields(kind, leave_out=("preset",))
    @click.option(
        "--clear",
        multiple=True,
        type=click.Choice(SHAPES[kind].__struct_fields__),
        metavar="FIELD",
        help="Put this field's default back. May be given again.",
    )
    @click.option("--version", type=int, help="Only if this is its version still.")
    @_common
    def change_command(
        entry: str,
        clear: tuple[str, ...],
        version: int | None,
        site: str | None,
        settings_file: str | None,
        as_json: bool,
        **given: Any,
    ) -> None:
        body = body_of(kind, given, clear)
        if not body:
            raise click.UsageError("say what to change")
        with _telling(as_json):
            path = f"{plural}/{_id_of(settings_file, site, plural, entry)}{_expecting(version)}"
            _answer(_ask(settings_file, site, "PATCH", path, body), as_json=as_json)

    change_command.help = f"Change one of the {plural}. What is not named stays."

    @group.command(
        "archive",
        short_help="Put one out of use.",
        epilog=example(f"gateway {plural} archive {change_example.split()[0]}"),
    )
    @click.argument("entry")
    @click.option("--version", type=int, help="Only if this is its version still.")
    @_common
    def archive_command(
        entry: str, version: int | None, site: str | None, settings_file: str | None, as_json: bool
    ) -> None:
        with _telling(as_json):
            path = f"{plural}/{_id_of(settings_file, site, plural, entry)}{_expecting(version)}"
            _answer(_ask(settings_file, site, "DELETE", path), as_json=as_json)

    archive_command.help = f"Put one of the {plural} out of use. Nothing is deleted, and its code is not given anew."
    return group


def _expecting(version: int | None) -> str:
    return "" if version is None else f"?version={version}"


@contextmanager
def _telling(as_json: bool) -> Iterator[None]:
    """Say what went wrong in a block and leave with 1."""
    try:
        yield
    except Refusal as refusal:
        place = f" ({refusal.field})" if refusal.field else ""
        fail(GatewayError(CODES[refusal.code].message + place), as_json=as_json)
    except GatewayError as error:
        fail(error, as_json=as_json)


campaigns_group: Final = _group(
    "campaigns",
    "campaign",
    "Campaigns: what links, ambassadors and conversions belong to.",
    '--name "Summer 26" --channel email --tracking',
    'summer26 --name "Summer 2026"',
)
links_group: Final = _group(
    "links",
    "link",
    "Links: short addresses that count who came by them.",
    "--target https://www.shop.example/sale --code sale",
    "sale --target https://www.shop.example/sale-2",
)
ambassadors_group: Final = _group(
    "ambassadors",
    "ambassador",
    "Ambassadors: people who share links of a campaign.",
    "--name Anna --campaign-id cmp_a2b3c4d5e6f7g2h3 --code anna",
    "anna --name 'Anna K.'",
)
coupons_group: Final = _group(
    "coupons",
    "coupon",
    "Coupons: codes on orders that credit an ambassador or campaign.",
    "--code ANNA10 --campaign-id cmp_a2b3c4d5e6f7g2h3",
    "ANNA10 --expires-at 2026-12-31T23:59:59+01:00",
)
goals_group: Final = _group(
    "goals",
    "goal",
    "Goals: what counts as a conversion, and who is credited.",
    "--preset purchase --value 49.90 --currency EUR",
    "purchase --click-window-days 60",
)

_share_target = click.option("--target", "target", help="Where their share link leads. Default: the site's first page.")
_share_target(ambassadors_group.commands["create"])

GROUPS: Final = (campaigns_group, links_group, ambassadors_group, coupons_group, goals_group)


# ------------------------------------------------------------------ what one kind alone has


@goals_group.command("token", short_help="Make a new postback token.", epilog=example("gateway goals token purchase"))
@click.argument("entry")
@_common
def goals_token(entry: str, site: str | None, settings_file: str | None, as_json: bool) -> None:
    """Give a goal a new postback token, shown once. The one before is worthless at once."""
    with _telling(as_json):
        path = f"goals/{_id_of(settings_file, site, 'goals', entry)}/token"
        _answer(_ask(settings_file, site, "POST", path), as_json=as_json)


@goals_group.command(
    "presets", short_help="List goals to start from.", epilog=example("gateway goals presets --business shop")
)
@click.option("--business", type=click.Choice(BUSINESSES), help="Only those proposed to this kind of business.")
@_common
def goals_presets(business: str | None, site: str | None, settings_file: str | None, as_json: bool) -> None:
    """List the goals a site may start from: ends before steps."""
    with _telling(as_json):
        query = f"?business={business}" if business else ""
        found = _ask(settings_file, site, "GET", f"goals/presets{query}")
        lines = [
            f"{preset['name']:<22} {'macro' if preset['macro'] else 'micro'}  {preset['title']}: {preset['description']}"
            for preset in found["presets"]
        ]
        show(found, as_json=as_json, text="\n".join(lines))


@campaigns_group.command(
    "snippet", short_help="Print code for a campaign's pages.", epilog=example("gateway campaigns snippet summer26")
)
@click.argument("entry")
@click.option("--goal", help="Code of the goal. Default: purchase, else the site's first.")
@_common
def campaigns_snippet(entry: str, goal: str | None, site: str | None, settings_file: str | None, as_json: bool) -> None:
    """Print the code that reports a campaign's conversions, and where it belongs."""
    with _telling(as_json):
        query = f"?{urlencode({'goal': goal})}" if goal else ""
        found = _ask(
            settings_file, site, "GET", f"campaigns/{_id_of(settings_file, site, 'campaigns', entry)}/snippet{query}"
        )
        lines = ["As the page loads:", found["automatic"], "", "When it is called:", found["manual"], ""]
        lines += ["Without script:", found["image"], "", *(f"- {place}" for place in found["places"])]
        lines += ["", f"Pages that may send: {', '.join(found['domains'])}"]
        lines += [found["note"]] if found["note"] else []
        show(found, as_json=as_json, text="\n".join(lines))


@links_group.command(
    "qr", short_help="Draw a link's QR code.", epilog=example("gateway links qr sale --svg sale.svg --level H")
)
@click.argument("slug")
@click.option("--svg", "svg_file", metavar="FILE", help="Write it as SVG, for print.")
@click.option("--png", "png_file", metavar="FILE", help="Write it as PNG.")
@click.option("--level", type=click.Choice(qr.LEVELS), default="M", show_default=True, help="H with a logo on it.")
@click.option("--scale", type=click.IntRange(1, qr.SCALE_MAX), default=8, show_default=True, help="Pixels per module.")
@_common
def links_qr(
    slug: str,
    svg_file: str | None,
    png_file: str | None,
    level: str,
    scale: int,
    site: str | None,
    settings_file: str | None,
    as_json: bool,
) -> None:
    """Draw the QR code of a link. Scans are told apart from clicks."""
    if svg_file is None and png_file is None:
        raise click.UsageError("say where to: --svg FILE or --png FILE")
    with _telling(as_json):
        found = _ask(settings_file, site, "GET", f"links/{_id_of(settings_file, site, 'links', slug)}")
        address = qr.scan_url(str(found["url"]))
        try:
            if svg_file is not None:
                Path(svg_file).write_text(qr.qr_svg(address, level, scale), "utf-8")
            if png_file is not None:
                Path(png_file).write_bytes(qr.qr_png(address, level, scale))
        except OSError as error:
            raise GatewayError(f"cannot write: {error.strerror or type(error).__name__}") from None
        files = [name for name in (svg_file, png_file) if name is not None]
        show({"url": address, "files": files}, as_json=as_json, text=f"{address}\n" + "\n".join(files))


@links_group.command(
    "sign",
    short_help="Sign another target of a link.",
    epilog=example("gateway links sign sale https://partner.example/page --days 7"),
)
@click.argument("entry")
@click.argument("target")
@click.option("--expires-at", help="Until when it leads there, RFC 3339 with an offset.")
@click.option(
    "--days", type=click.IntRange(1, SIGNED_DAYS_MAX), help=f"The same, in days from now. Default: {signing.DAYS}."
)
@_common
def links_sign(
    entry: str,
    target: str,
    expires_at: str | None,
    days: int | None,
    site: str | None,
    settings_file: str | None,
    as_json: bool,
) -> None:
    """Print the address of a link that leads to TARGET, on whatever host, until a moment. Its clicks count for the link.

    Nothing is stored; whoever changes a byte of the address is refused.
    """
    if expires_at is not None and days is not None:
        raise click.UsageError("say --expires-at or --days, not both")
    said: dict[str, object] = {"target": target, "expires_at": expires_at, "days": days}
    with _telling(as_json):
        path = f"links/{_id_of(settings_file, site, 'links', entry)}/signed"
        _answer(_ask(settings_file, site, "POST", path, said), as_json=as_json)
