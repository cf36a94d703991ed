"""Reference: pages and files that are generated from the tables the code uses.

usage: python -m gateway.reference           write config/reference.toml and docs/reference/
       python -m gateway.reference --check   exit 1 when one of them differs from what would be written
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, get_args, get_origin

import click
import msgspec
from msgspec import Meta, inspect

from gateway import cli
from gateway.consent_reference import consent_page
from gateway.destinations.definition import Destination
from gateway.destinations.registry import DESTINATIONS
from gateway.errors import CODES
from gateway.handlers.edge import STATUS
from gateway.outcome import FATE_SENTENCES, REASONS, ConversionFate, DeliveryFate
from gateway.pages import tag
from gateway.protocols.wire import WireBatch, WireChoice
from gateway.purposes import PURPOSES, Group, names
from gateway.settings import (
    Abandoned,
    ConsentPlatform,
    DestinationRows,
    Links,
    NumberSettings,
    Reports,
    Settings,
    Site,
    WebhookRows,
)

__all__ = ["files", "main"]

ROOT: Final = Path(__file__).parents[1]
GENERATED: Final = "Generated from the tables of the code by `make reference`; do not edit."


def files() -> dict[str, str]:
    """Every generated file by its path in the repository."""
    return {
        "config/reference.toml": reference_toml(),
        "docs/reference/settings.md": settings_page(),
        "docs/reference/errors.md": errors_page(),
        "docs/reference/fates.md": fates_page(),
        "docs/reference/events.md": events_page(),
        "docs/reference/event.schema.json": schema(WireBatch),
        "docs/reference/choice.schema.json": schema(WireChoice),
        "docs/reference/destinations.md": destinations_page(),
        "docs/reference/commands.md": commands_page(),
        "docs/reference/consent.md": consent_page(GENERATED),
        "docs/reference/tag.md": tag_page(),
    }


def main(arguments: list[str]) -> int:
    """Write or check the files."""
    wrong = []
    for name, text in files().items():
        path = ROOT / name
        if arguments == ["--check"]:
            if not path.exists() or path.read_text("utf-8") != text:
                wrong.append(name)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    for name in wrong:
        click.echo(f"{name} is not what the code says; run: make reference", err=True)
    return 1 if wrong else 0


# ------------------------------------------------------------------ settings


class Row(msgspec.Struct, frozen=True):
    """One setting: its name, type in words, default, unit and help."""

    name: str
    kind: str
    default: object
    unit: str
    help: str
    required: bool
    section: type | None = None


def _metas(annotation: Any) -> Iterator[Meta]:
    if get_origin(annotation) is Annotated:
        inner, *metas = get_args(annotation)
        yield from (meta for meta in metas if isinstance(meta, Meta))
        yield from _metas(inner)
    else:
        for part in get_args(annotation):
            if get_origin(part) is Annotated:
                yield from _metas(part)


def _words(found: inspect.Type) -> str:
    if isinstance(found, inspect.Metadata):
        return _words(found.type)
    if isinstance(found, inspect.LiteralType):
        return " or ".join(str(value) for value in found.values)
    if isinstance(found, inspect.VarTupleType):
        return f"list of {_words(found.item_type)}"
    if isinstance(found, inspect.UnionType):
        return " or ".join(_words(part) for part in found.types if not isinstance(part, inspect.NoneType))
    for kind, word in (
        (inspect.BoolType, "true or false"),
        (inspect.IntType, "whole number"),
        (inspect.FloatType, "number"),
        (inspect.StrType, "text"),
        (inspect.StructType, "table"),
        (inspect.CustomType, "table"),
    ):
        if isinstance(found, kind):
            return word
    return "value"


def rows(shape: type) -> list[Row]:
    """The settings of one table."""
    info = inspect.type_info(shape)
    if not isinstance(info, inspect.StructType):
        raise TypeError(shape)
    made = []
    for field in info.fields:
        annotation = shape.__annotations__[field.name]
        helps = [meta for meta in _metas(annotation) if meta.description]
        if not helps:
            raise ValueError(f"{shape.__name__}.{field.name} has no help")
        default = None if field.required else field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        section = type(default) if isinstance(default, msgspec.Struct) else None
        made.append(
            Row(
                field.name,
                _words(field.type),
                default,
                str((helps[0].extra or {}).get("unit", "")),
                helps[0].description or "",
                field.required,
                section,
            )
        )
    return made


SITE_TABLES: Final[Mapping[str, type]] = {"links": Links, "reports": Reports, "abandoned": Abandoned}
SITE_LISTS: Final[Mapping[str, type]] = {"webhook": WebhookRows, "number": NumberSettings}
TABLES: Final = frozenset({"destination", "consent_platform", *SITE_TABLES, *SITE_LISTS})
"""Rows of a site that are tables of their own."""

SAMPLES: Final[Mapping[str, str]] = {
    "id": '"main"',
    "hosts": '["t.shop.example"]',
    "platform": '"meta"',
    "name": '"shopify"',
    "adapter": '"shopify"',
    "number": '"+4930123456"',
}


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_toml(part) for part in value) + "]"
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()
    return str(value)


def _comment(row: Row) -> list[str]:
    unit = f" Unit: {row.unit}." if row.unit else ""
    return [f"# {row.help}{unit}"]


def reference_toml() -> str:
    """The settings file with every key and its default. Keys without a default are shown with a sample value."""
    lines = [
        "# Every setting with its default. A settings file needs only what differs: see minimal.toml.",
        f"# {GENERATED}",
    ]
    for section in rows(Settings):
        if section.section is None:
            continue
        lines += ["", f"[{section.name}]", f"# {section.section.__doc__}".rstrip()]
        for row in rows(section.section):
            lines += [*_comment(row), f"{row.name} = {_toml(row.default)}"]
    lines += ["", "[[site]]", f"# {(Site.__doc__ or '').strip()}"]
    for row in rows(Site):
        if row.name in TABLES:
            continue
        lines += _comment(row)
        value = SAMPLES[row.name] if row.required else _toml(row.default)
        lines.append(f"{row.name} = {value}" if row.required or row.default is not None else f"# {row.name} = ")
    for name, shape in SITE_TABLES.items():
        lines += ["", f"[site.{name}]", f"# {(shape.__doc__ or '').strip()}"]
        for row in rows(shape):
            lines += [*_comment(row), f"{row.name} = {_toml(row.default)}"]
    for name, shape in SITE_LISTS.items():
        lines += ["", f"# [[site.{name}]]", f"# # {(shape.__doc__ or '').strip()}"]
        for row in rows(shape):
            lines += [f"# {line}" for line in _comment(row)]
            lines.append(f"# {row.name} = {SAMPLES[row.name] if row.required else _toml(row.default)}")
    lines += ["", "# [site.consent_platform]", f"# # {(ConsentPlatform.__doc__ or '').strip()}"]
    for row in rows(ConsentPlatform):
        lines += [f"# # {row.help}", f"# {row.name} = " + ('"klaro"' if row.required else "")]
    for definition in DESTINATIONS.values():
        lines += ["", "# [[site.destination]]", f"# # {definition.title}"]
        for row in rows(DestinationRows):
            if row.name == "platform":
                lines.append(f'# platform = "{definition.slug}"')
            elif row.name == "events":
                lines.append(f"# events = {_toml(definition.default_events)}")
            elif row.default is not None:
                lines += [f"# # {row.help}", f"# {row.name} = {_toml(row.default)}"]
            else:
                lines += [f"# # {row.help}", f"# {row.name} = "]
        for option in definition.options:
            need = " Required." if option.required else ""
            name = f"{option.name}_file" if option.kind == "secret" else option.name
            lines += [
                f"# # {option.help}{need}",
                f"# {name} = {_toml(option.default) if option.default is not None else ''}".rstrip(),
            ]
    return "\n".join(lines) + "\n"


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


def _table(head: tuple[str, ...], body: list[tuple[object, ...]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in body]
    return lines


def settings_page() -> str:
    """Page of all settings."""
    lines = ["# Settings", "", GENERATED, ""]
    lines += [
        "One TOML file, overlaid by environment variables (`GATEWAY__LISTEN__PORT=9000`,",
        "`GATEWAY__SITE__SHOP__DESTINATION__META__DATASET_ID=123`), with secrets from files: every secret `x` may be given as",
        "`x_file`, or placed as `SITE.DESTINATION.x` in the directory `CREDENTIALS_DIRECTORY`. Unknown keys refuse to start.",
    ]
    for section in rows(Settings):
        if section.section is not None:
            lines += ["", f"## [{section.name}]", "", *_settings_table(section.section)]
    shapes: dict[str, type] = {"[[site]]": Site}
    shapes |= {f"[site.{name}]": shape for name, shape in SITE_TABLES.items()}
    shapes |= {"[site.consent_platform]": ConsentPlatform, "[[site.destination]]": DestinationRows}
    shapes |= {f"[[site.{name}]]": shape for name, shape in SITE_LISTS.items()}
    for title, shape in shapes.items():
        lines += ["", f"## {title}", "", *_settings_table(shape)]
    lines += ["", "Each platform adds its own options: see [destinations](destinations.md)."]
    return "\n".join(lines) + "\n"


def _settings_table(shape: type) -> list[str]:
    body: list[tuple[object, ...]] = []
    for row in rows(shape):
        default = "required" if row.required else (f"`{_toml(row.default)}`" if row.default is not None else "none")
        body.append((f"`{row.name}`", row.kind, default, row.unit or "", row.help))
    return _table(("name", "type", "default", "unit", "what it does"), body)


# ------------------------------------------------------------------ codes and fates


def errors_page() -> str:
    """Page of all refusal codes."""
    lines = ["# Refusals", "", GENERATED, ""]
    lines += [
        'A refused request is answered `{"error": {"code", "message", "field"?, "allowed"?, "docs"?}}`. A code never changes',
        "its meaning. `field` is the path of the field that is wrong, such as `events[3].value`; `allowed` lists the words it",
        "takes, where they are a closed list. Nothing that was sent is repeated.",
        "Browser routes answer the same codes. What was understood and yet not kept is named in the header",
        "`X-Gateway-Dropped`: `consent` (the visitor's choice leaves nothing to keep), `prefetch` (the page was fetched ahead,",
        "nobody saw it), `head` (the image was only asked about). An image that is refused is still an image: `GET /p.gif`",
        "answers 200 and names the code in the same header.",
        "",
    ]
    body = [
        (f'<a id="{name}"></a>`{name}`', STATUS[code.kind], code.act.value, code.message)
        for name, code in CODES.items()
    ]
    return "\n".join([*lines, *_table(("code", "status", "who must act", "meaning"), list(body))]) + "\n"


def fates_page() -> str:
    """Page of all fates and reasons."""
    lines = ["# Fates", "", GENERATED, ""]
    lines += [
        "Everything that is stored has exactly one fate. The sums are checked by `gateway check`:",
        "",
        "    owed to a destination = " + " + ".join(fate.value for fate in DeliveryFate),
        "    conversions = " + " + ".join(fate.value for fate in ConversionFate),
        "",
        *_table(("fate", "meaning"), [(f"`{fate}`", text) for fate, text in FATE_SENTENCES.items()]),
        "",
        "## Reasons",
        "",
        *_table(
            ("reason", "who must act", "meaning"),
            [(f"`{name}`", reason.act.value, reason.sentence) for name, reason in REASONS.items()],
        ),
    ]
    return "\n".join(lines) + "\n"


# ------------------------------------------------------------------ events


def schema(shape: type) -> str:
    """JSON Schema of one body."""
    return msgspec.json.format(msgspec.json.encode(msgspec.json.schema(shape)), indent=2).decode() + "\n"


def events_page() -> str:
    """Page of the native event."""
    (_,), components = msgspec.json.schema_components((WireBatch,), ref_template="#{name}")
    lines = ["# Events and conversions", "", GENERATED, ""]
    lines += [
        "The native body of `POST /collect`, `POST /api/v1/events`, `POST /api/v1/conversions` and",
        "`/api/v1/conversions/batch`: one event, or several under `events` (`conversions`) with what they share.",
        "JSON Schema: [event](event.schema.json), [choice](choice.schema.json).",
        "",
        "Keys that stand twice in one object: the last counts, except inside `consent`, where the body is refused.",
        "Purposes: "
        + ", ".join(f"`{name}`" for name in PURPOSES)
        + "; Google's consent types and `marketing` are understood.",
    ]
    for name in ("WireBatch", "WireItem", "WirePerson", "Client"):
        part = components[name]
        lines += ["", f"## {name.removeprefix('Wire').lower()}", ""]
        body: list[tuple[object, ...]] = []
        for field, found in part.get("properties", {}).items():
            body.append((f"`{field}`", _schema_words(found), found.get("description", "")))
        lines += _table(("field", "type", "meaning"), body)
    return "\n".join(lines) + "\n"


def _schema_words(found: Mapping[str, Any]) -> str:
    if "anyOf" in found:
        parts = [_schema_words(part) for part in found["anyOf"] if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(parts))
    if "$ref" in found:
        return str(found["$ref"]).removeprefix("#").removeprefix("Wire").lower()
    if "enum" in found:
        return " or ".join(f"`{value}`" for value in found["enum"])
    kind = str(found.get("type", "value"))
    if kind == "array":
        return f"list of {_schema_words(found.get('items', {}))}"
    if found.get("format") == "decimal":
        return "decimal, as number or text"
    limit = f", at most {found['maxLength']} characters" if "maxLength" in found else ""
    return {"string": "text", "integer": "whole number", "boolean": "true or false", "object": "object"}.get(
        kind, kind
    ) + limit


# ------------------------------------------------------------------ destinations and commands


def destinations_page() -> str:
    """Page of every destination: what it needs, what it is sent, what it is never sent."""
    lines = ["# Destinations", "", GENERATED]
    for definition in DESTINATIONS.values():
        lines += ["", f"## {definition.title}", "", *_destination(definition)]
    return "\n".join(lines) + "\n"


def _destination(definition: Destination) -> list[str]:
    base = ", ".join(names(definition.needs.base)) or "declared by the operator"
    lines = [
        f'`platform = "{definition.slug}"`. Contract: {definition.contract}.',
        "",
        f"Needs these purposes, all of them: {base}. On top of that, for each group of fields:",
        "",
        *_table(
            ("group", "also needs"),
            [(group.value, ", ".join(names(definition.needs.groups.get(group, 0))) or "nothing") for group in Group],
        ),
        "",
        f"Oldest event: {definition.age_max_ms // 3_600_000} hours. Events in one request: at most {definition.batch.max_events}.",
        "",
        "### Options",
        "",
        *_table(
            ("option", "kind", "default", "what it is"),
            [
                (
                    f"`{option.name}`",
                    option.kind,
                    "required"
                    if option.required
                    else ("none" if option.default is None else f"`{_toml(option.default)}`"),
                    option.help,
                )
                for option in definition.options
            ],
        ),
        "",
        "### Events",
        "",
        *_table(
            ("event", "is sent as"),
            [(f"`{ours}`", f"`{theirs}`") for ours, theirs in definition.event_names.items()]
            or [("any", "its own name")],
        ),
        "",
        "### Fields that are sent",
        "",
        ", ".join(f"`{field.to}`{' (required)' if field.required else ''}" for field in definition.fields) + ".",
    ]
    told = "none is documented; the outcome is `no_call`" if definition.withdrawal is None else "a message of its own"
    lines += ["", f"Told of withdrawals and erasures by: {told}. See [withdrawals](withdrawals.md)."]
    if definition.not_sent:
        lines += [
            "",
            "### Fields that are never sent",
            "",
            *_table(("field", "why"), [(f"`{name}`", why) for name, why in definition.not_sent.items()]),
        ]
    return lines


def _event_names(definition: Destination) -> list[tuple[object, ...]]:
    named = [(f"`{ours}`", f"`{theirs}`") for ours, theirs in definition.event_names.items()]
    return [*named, ("others", "their own name" if definition.custom_events else "not sent")]


def commands_page() -> str:
    """Page of every command: its help, as it prints it."""
    lines = ["# Commands", "", GENERATED, "", "Exit codes: 0 fine, 1 a problem was found, 2 wrong use."]
    for path, command in _commands("gateway", cli.main):
        # With the settings of the whole command line, as it prints its help when it is really asked.
        context = click.Context(command, info_name=path, help_option_names=["-h", "--help"])
        lines += ["", f"## {path}", "", "```text", command.get_help(context).rstrip(), "```"]
    return "\n".join(lines) + "\n"


def tag_page() -> str:
    """Page of every published version of the tag and of its bridge."""
    lines = ["# Versions of the tag", "", GENERATED, ""]
    lines += [
        "A published version never changes. `gw.js` is the newest one; a page with a strict policy takes a numbered one:",
        "",
        "```html",
        f'<script defer src="https://t.shop.example/gw.{tag.LATEST}.js" crossorigin="anonymous"',
        f'        integrity="sha384-{tag.VERSIONS[tag.LATEST].sha384}"></script>',
        "```",
        "",
        *_table(
            ("version", "bytes", "bytes, gzip", "integrity"),
            [
                (name, len(made.source), len(made.gzipped), f"`sha384-{made.sha384}`")
                for name, made in sorted(tag.VERSIONS.items(), reverse=True)
            ],
        ),
        "",
        "## The bridge",
        "",
        "A tag whose element has `data-consent`, or a page that calls `gateway.signals`, loads `gw-bridge.<version>.js` of the",
        "tag's own number from the gateway. The tag knows its hash: a page needs no line for it, and no integrity of its own.",
        "What to write: [consent platforms](../how-to/consent-platforms.md).",
        "",
        *_table(
            ("version", "bytes", "bytes, gzip", "integrity"),
            [
                (name, len(made.source), len(made.gzipped), f"`sha384-{made.sha384}`")
                for name, made in sorted(tag.BRIDGES.items(), reverse=True)
            ],
        ),
    ]
    return "\n".join(lines) + "\n"


def _commands(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from _commands(f"{path} {name}", command.commands[name])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
