"""The reference page on consent: generated from the tables by which requests are read and judged.

Every table here is one the code uses; what happens under each signal is computed by the code that judges real events.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from gateway import consent_cases, places
from gateway.consent import RULES_VERSION
from gateway.destinations.registry import DESTINATIONS
from gateway.outcome import REASONS
from gateway.purposes import PURPOSES, SENSITIVE, SENTENCES, SOURCES, Group, Needs, Regime, Step, names
from gateway.signals import noted
from gateway.signals.cmp import STORAGE_GATE
from gateway.signals.cmp_platforms import PLATFORMS

__all__ = ["SPEAKS", "consent_page"]

SPEAKS: Final[dict[str, tuple[tuple[Step, ...], str, str]]] = {
    "minor": ((Step.BLOCKED,), "field `minor` of the event", "everybody"),
    "sensitive": ((Step.BLOCKED,), "field `sensitive` of the event", "everybody"),
    "gpp_minor": ((Step.BLOCKED,), "the GPP string", "everybody"),
    "gpp_sensitive": ((Step.BLOCKED,), "the GPP string and field `sensitive`", "everybody"),
    "receipt": (
        (Step.STORED_REFUSAL, Step.STORED_GRANT),
        "the signed receipt cookie; for server calls the store",
        "everybody",
    ),
    "sec_gpc": ((Step.OPT_OUT_SIGNAL,), "header `Sec-GPC`, and what the page's script saw", "everybody"),
    "gpp": ((Step.OPT_OUT_SIGNAL,), "field `signals.gpp`", "everybody"),
    "us_privacy": ((Step.OPT_OUT_SIGNAL,), "field `signals.us_privacy`", "everybody"),
    "dnt": ((Step.OPT_OUT_SIGNAL,), "header `DNT`, where the site reads it (`do_not_track`)", "everybody"),
    "tcf": (
        (Step.IAB_STRING,),
        "field `signals.tcf`, the cookie `tcf_cookie`, section 2 of the GPP string",
        "destinations with a number in the IAB vendor list; with its publisher part, the site and everybody else",
    ),
    "tcf_no_list": (
        (Step.IAB_STRING,),
        "the same, while the vendor list it names is missing, or the vendor is not in it",
        "destinations with a number in the IAB vendor list",
    ),
    "ac": (
        (Step.IAB_STRING,),
        "field `signals.ac`, beside a TC string",
        "destinations with a number in Google's list of additional providers",
    ),
    "claim": ((Step.OWN_CHOICE,), "field `consent` of a page's event", "everybody"),
    "backend": ((Step.OWN_CHOICE,), "field `consent` of an event sent with an API key", "everybody"),
    "platform": (
        (Step.OPT_OUT_SIGNAL, Step.OWN_CHOICE),
        "the cookie of the platform the site names (`consent_platform`)",
        "everybody",
    ),
    "bridge": (
        (Step.OWN_CHOICE,),
        "fields `signals.choice` and `signals.categories`, for the platform the site names",
        "everybody",
    ),
    "consent_mode": (
        (Step.CONSENT_MODE,),
        "fields `signals.gcs`, `signals.gcd`, `signals.google`",
        "Google destinations; it may only deny, unless the site declares it as its source (`consent_mode`)",
    ),
}
"""For each signal: the steps it may stand at, where it is read, to whom it speaks."""

_WHO: Final = {
    Step.BLOCKED: "what the event says about the person",
    Step.STORED_REFUSAL: "what the visitor refused here earlier; it ends with a new choice only",
    Step.OPT_OUT_SIGNAL: "signals by which browsers and platforms say that the visitor opted out",
    Step.IAB_STRING: "consent strings of the IAB and of Google's additional providers",
    Step.OWN_CHOICE: "the site's own word: its page, its backend, its consent platform",
    Step.CONSENT_MODE: "Google's consent mode",
    Step.STORED_GRANT: "what the visitor agreed to here earlier, young enough and under the same notice",
    Step.REGIME_DEFAULT: "nobody: the rules of the place decide about silence",
}

_REGIMES: Final = {
    Regime.OPT_IN: (
        "denied",
        "a refusal of advertising; a grant given on this site overrides it only where the site set `gpc_grant_overrides`",
    ),
    Regime.OPT_OUT_SIGNAL: ("granted", "a binding objection to advertising"),
    Regime.OPT_OUT: ("granted", "an objection to advertising, honoured though no statute names it"),
    Regime.NONE: ("what the site grants by default", "an objection to advertising, honoured"),
}

_EXEMPT: Final = frozenset({"exempt", *(regime.value for regime in Regime)})
"""Sources that are no signals."""


def _table(head: Sequence[str], body: Iterable[Sequence[object]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return lines + ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |" for cells in body]


def _codes(listed: Iterable[str]) -> str:
    return ", ".join(f"`{one}`" for one in listed)


def consent_page(generated: str) -> str:
    """The page. `generated` is the line that says where it comes from."""
    lines = [
        "# Consent: signals, places, destinations",
        "",
        generated,
        "",
        f"Version of the rules: {RULES_VERSION}; it is kept with every judgement. How decisions are made, in words:",
        "[consent](../explanation/consent.md). To try a case: `gateway consent what-if`; to read a string:",
        "`gateway consent decode`.",
    ]
    for part in (_steps, _signals, _places, _destinations, _cases, _platforms, _sensitive, _marks):
        lines += ["", *part()]
    return "\n".join(lines) + "\n"


# ------------------------------------------------------------------ rules


def _steps() -> list[str]:
    return [
        "## Steps",
        "",
        "Purpose by purpose, from step 1 on: the first step that says no wins. If none does, a yes of any step counts. The",
        f"purposes: {_codes(PURPOSES)}.",
        "",
        *_table(
            ("step", "name", "who speaks", "when it denies"),
            [
                (step.value, f"`{step.name.lower()}`", _WHO[step], SENTENCES[step][1] or "it never does")
                for step in Step
            ],
        ),
    ]


def _signals() -> list[str]:
    return [
        "## Signals",
        "",
        "A signal that is missing or cannot be read says nothing. A purpose that a signal does not mention is unset. An opt-out",
        "of sale, sharing or targeted advertising denies `advertising`, `ad_user_data` and `ad_personalization`.",
        "",
        *_table(
            ("signal", "what it is", "step", "where it is read", "to whom it speaks"),
            [
                (f"`{name}`", SOURCES[name], ", ".join(str(step.value) for step in steps), where, whom)
                for name, (steps, where, whom) in SPEAKS.items()
            ],
        ),
    ]


def _places() -> list[str]:
    states: dict[Regime, list[str]] = {}
    for state, regime in sorted(places.US_STATES.items()):
        states.setdefault(regime, []).append(f"US-{state}")
    body = [
        (Regime.OPT_IN, f"{', '.join(sorted(places.ASK_FIRST))}, and every place that is not named here or not known"),
        *((regime, ", ".join(listed)) for regime, listed in states.items()),
        (Regime.NONE, "places the site lists in `places_without_rules`, none of those above"),
    ]
    return [
        "## Places",
        "",
        "A place only makes a site's own regime stricter. Without a source of places (`[places]`) the site's regime holds for",
        "everybody; with one, a visitor whose place is unknown is `opt_in`. A country in `places_without_rules` stands for its",
        "regions, but not where the law differs by region and the region is unknown.",
        "",
        *_table(
            ("regime", "places", "silence is", "Global Privacy Control is"),
            [(f"`{regime.value}`", listed, *_REGIMES[regime]) for regime, listed in body],
        ),
    ]


# ------------------------------------------------------------------ destinations


def _destinations() -> list[str]:
    return [
        "## Destinations",
        "",
        "What each one needs before it is sent anything, and by which lists it is addressed. Another number can be set with",
        "`tcf_vendor` or `ac_provider`: look it up in the list, do not guess. A destination without a number is no IAB vendor",
        "here: it follows the site's own choice, whatever a TC string says.",
        "",
        *_table(
            ("destination", "needs", "contact data also needs", "IAB vendor", "Google provider", "hears consent mode", "restricted mode"),
            [(f"`{slug}`", *_addressed(definition.needs)) for slug, definition in DESTINATIONS.items()],
        ),
        "",
        "The restricted mode is used only where the operator chose it (`opted_out = \"restricted\"`), only in a US state that is",
        "`opt_out_signal` or `opt_out`, and only when an opt-out is all that stands against sending. Identifiers that rest on",
        "the refused purposes, such as click ids and cookies of the vendor's own tag, are not read then.",
    ]  # fmt: skip


def _addressed(needs: Needs) -> tuple[str, ...]:
    more = needs.groups.get(Group.CONTACT, 0) & ~needs.base
    audience = needs.audience
    return (
        _codes(names(needs.base)) or "what the operator declares",
        _codes(names(more)) or "nothing",
        str(audience.tcf_vendor or "none"),
        str(audience.ac_provider or "none"),
        "yes" if audience.google else "no",
        "yes" if needs.restricted else "no",
    )


def _cases() -> list[str]:
    columns = consent_cases.COLUMNS
    reasons = ("consent_missing", "opted_out", "cookieless")
    return [
        "## What happens under each signal",
        "",
        "A purchase with contact data, as each destination would be sent it. The site's regime is `opt_out`, so that every",
        "place shows its own rules; `consent_platform` is configured, places are known, the other settings are the defaults",
        "unless a row says otherwise. Vendors 755 and 7 and provider 9 are named in the strings; in the vendor list both",
        'vendors ask for consent to purposes 1, 3, 4, 7 and 8. The column `meta, restricted` has `opted_out = "restricted"`.',
        "",
        *_table(
            ("what came", *(column.name for column in columns)),
            [(one.title, *consent_cases.row(one)) for one in consent_cases.CASES],
        ),
        "",
        *_table(("withheld because", "meaning"), [(f"`{reason}`", REASONS[reason].sentence) for reason in reasons]),
    ]


# ------------------------------------------------------------------ lists


def _platforms() -> list[str]:
    return [
        "## Consent platforms",
        "",
        "`consent_platform.name` of a site names one of these; no other platform's cookies are read. Its own `mapping` replaces",
        "the default whole. Several categories of one purpose: all must be granted. A category without a purpose is ignored",
        "and noted. How to connect each: [consent platforms](../how-to/consent-platforms.md).",
        "",
        *_table(
            ("name", "platform", "cookies", "category: purposes"),
            [
                (
                    f"`{platform.slug}`",
                    platform.title,
                    _codes(platform.names) or "none",
                    "; ".join(f"`{key}`: {_mapped(bits)}" for key, bits in platform.mapping.items())
                    or "the site names them itself and must map them",
                )
                for platform in PLATFORMS.values()
            ],
        ),
    ]


def _mapped(bits: int) -> str:
    if bits & STORAGE_GATE:
        return "nothing may be stored without it"
    return ", ".join(names(bits)) or "ignored"


def _sensitive() -> list[str]:
    return [
        "## Sensitive data",
        "",
        "An event that tells one of these about somebody (field `sensitive`) is used for no advertising purpose unless the",
        "event says that the person agreed to just that (`consent.sensitive_data`) and no GPP string refuses it.",
        "",
        *_table(("category", "meaning"), [(f"`{name}`", text) for name, text in SENSITIVE.items()]),
    ]


def _marks() -> list[str]:
    return [
        "## Marks",
        "",
        "What could not be used is noted with the event and counted in the metric `gateway_marks`. A mark is a beginning and a",
        "code: `tcf_truncated`. It never holds anything of what was sent.",
        "",
        *_table(("begins with", "is about"), [(f"`{name}_`", text) for name, text in noted.FAMILIES.items()]),
        "",
        *_table(("code", "meaning"), [(f"`{name}`", text) for name, text in noted.CODES.items()]),
        "",
        *_table(("mark", "meaning"), [(f"`{name}`", text) for name, text in noted.ALONE.items()]),
    ]
