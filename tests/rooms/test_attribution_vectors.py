"""Attribution against the vectors: every model, every rule, every figure."""

from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import pytest

from gateway.attribution.counting import Countable, CountMode, count
from gateway.attribution.eligibility import eligible
from gateway.attribution.journeys import Journey, Shares, TouchPath, Work
from gateway.attribution.metrics import Figures, measure
from gateway.attribution.registry import MODELS
from gateway.attribution.splitting import split_minor
from gateway.attribution.touches import Conversion, Coupon, IdentityLink, Kind, Rules, Touch, coupon_key

VECTORS: Final = Path(__file__).parents[1] / "vectors" / "attribution.json"


class Row(msgspec.Struct, forbid_unknown_fields=True):
    touches: list[dict[str, Any]]
    conversions: int
    nulls: int
    value_minor: int


class JourneySet(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    title: str
    tags: list[str]
    journeys: list[Row]
    totals: dict[str, int]
    expect: dict[str, dict[str, dict[str, float]]]
    checked_by: dict[str, list[str]]
    others_differ: dict[str, Any] = {}


class GoalCase(msgspec.Struct, forbid_unknown_fields=True):
    click_window_s: int
    view_window_s: int
    view_policy: Literal["if_no_click", "always", "never"]
    direct_policy: Literal["ignore_unless_only", "include"]
    reset_after_conversion: bool
    pin: Literal["none", "click_id"]
    coupon_policy: Literal["override", "touch", "ignore"]


class TouchCase(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    seq: int
    at: datetime
    kind: Kind
    channel: str
    device: str | None
    user: str | None
    consent: bool
    bot: bool
    duplicate_of: str | None
    click_id: str | None


class LinkCase(msgspec.Struct, forbid_unknown_fields=True):
    device: str
    user: str
    at: datetime


class ConversionCase(msgspec.Struct, forbid_unknown_fields=True):
    at: datetime
    device: str | None
    user: str | None
    click_id: str | None
    coupon: str | None
    previous_at: datetime | None


class Decided(msgspec.Struct, forbid_unknown_fields=True):
    matched_by: str
    eligible: list[str]
    excluded: dict[str, str]
    unattributed: int
    credits: dict[str, dict[str, float]]


class Eligibility(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    title: str
    tags: list[str]
    goal: GoalCase
    links: list[LinkCase]
    coupons: dict[str, str]
    touches: list[TouchCase]
    conversion: ConversionCase
    expect: Decided


class Milestones(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    title: str
    touches: list[dict[str, Any]]
    milestones: dict[str, int | None]
    expect: dict[str, list[float]]


class MoneySplit(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    amount_minor: int
    weights: list[str]
    expect: list[int]


class Counting(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    title: str
    conversions: list[dict[str, Any]]
    expect: dict[CountMode, dict[str, str]]


class MetricsCase(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    title: str
    input: Figures
    expect: dict[str, str | None]


class Vectors(msgspec.Struct, forbid_unknown_fields=True):
    format: str
    defined_in: str
    tolerance: dict[str, str]
    notes: list[str]
    counts: dict[str, int]
    journey_sets: list[JourneySet]
    eligibility: list[Eligibility]
    milestones: list[Milestones]
    money_split: list[MoneySplit]
    counting: list[Counting]
    metrics: list[MetricsCase]


ALL: Final = msgspec.json.decode(VECTORS.read_bytes(), type=Vectors)
SET_MODELS: Final = sorted({model for case in ALL.journey_sets for model in case.expect})


def test_the_file_is_whole() -> None:
    found = {name: len(getattr(ALL, name)) for name in ALL.counts}
    assert found == ALL.counts
    assert sum(found.values()) == 251


# ------------------------------------------------------------------ models


def journeys_of(case: JourneySet) -> list[Journey]:
    return [
        Journey(
            TouchPath(
                tuple(touch["ch"] for touch in row.touches), tuple(1_000 * touch["age_s"] for touch in row.touches)
            ),
            row.conversions,
            row.nulls,
            row.value_minor,
        )
        for row in case.journeys
    ]


def close(found: float, expected: float, model: str) -> bool:
    return abs(found - expected) <= (1e-8 if model.startswith("markov") else 1e-9) * max(1.0, abs(expected))


@pytest.mark.parametrize("model", SET_MODELS)
def test_a_model_credits_the_channels_of_every_set_as_expected(model: str) -> None:
    wrong = []
    for case in ALL.journey_sets:
        totals = MODELS[model].credit(journeys_of(case), Work())
        for what, expected in case.expect[model].items():
            found = getattr(totals, what)
            assert list(found) == list(expected), case.id
            wrong += [
                (case.id, what, channel, found[channel], credit)
                for channel, credit in expected.items()
                if not close(found[channel], credit, model)
            ]
    assert not wrong


def test_every_model_of_the_sets_is_registered_and_nothing_is_registered_unseen() -> None:
    seen = {model for case in ALL.journey_sets for model in case.expect}
    seen |= {model for case in ALL.milestones for model in case.expect}
    assert set(MODELS) == seen


def test_credit_sums_to_what_there_was_to_credit() -> None:
    for case in ALL.journey_sets:
        for model in SET_MODELS:
            totals = MODELS[model].credit(journeys_of(case), Work())
            assert close(sum(totals.conversions.values()), case.totals["conversions"], model), (case.id, model)
            assert close(sum(totals.value.values()), case.totals["value_minor"], model), (case.id, model)


# ------------------------------------------------------------------ eligibility


def ms(at: datetime) -> int:
    return round(at.timestamp() * 1_000)


def rules_of(goal: GoalCase) -> Rules:
    return Rules(
        click_window_ms=goal.click_window_s * 1_000,
        view_window_ms=goal.view_window_s * 1_000,
        view_policy=goal.view_policy,
        direct_policy=goal.direct_policy,
        reset_after_conversion=goal.reset_after_conversion,
        pin=goal.pin,
        coupon_policy=goal.coupon_policy,
    )


def touch_of(touch: TouchCase) -> Touch:
    return Touch(
        id=touch.id,
        sequence=touch.seq,
        at_ms=ms(touch.at),
        kind=touch.kind,
        channel=touch.channel,
        device=touch.device,
        user=touch.user,
        click_id=touch.click_id,
        consent=touch.consent,
        bot=touch.bot,
        duplicate_of=touch.duplicate_of,
    )


def credits_of(shares: Shares, ids: list[str]) -> dict[str, float]:
    return {id: float(share) for id, share in zip(ids, shares, strict=True) if share}


@pytest.mark.parametrize("case", ALL.eligibility, ids=lambda case: f"{case.id} {case.title}")
def test_the_path_of_a_conversion_is_decided_as_expected(case: Eligibility) -> None:
    given = case.conversion
    conversion = Conversion(
        at_ms=ms(given.at),
        device=given.device,
        user=given.user,
        click_id=given.click_id,
        coupons=(given.coupon,) if given.coupon is not None else (),
        previous_at_ms=ms(given.previous_at) if given.previous_at is not None else None,
    )
    found = eligible(
        conversion,
        [touch_of(touch) for touch in case.touches],
        rules_of(case.goal),
        [IdentityLink(link.device, link.user, ms(link.at)) for link in case.links],
        {coupon_key(code): Coupon(code, channel) for code, channel in case.coupons.items()},
    )
    ids = [touch.id for touch in found.path]
    assert (found.matched_by, ids, found.excluded) == (
        case.expect.matched_by,
        case.expect.eligible,
        case.expect.excluded,
    )
    assert (found.why is not None) == bool(case.expect.unattributed)
    for model, expected in case.expect.credits.items():
        shares = MODELS[model].shares
        assert shares is not None
        credits = credits_of(shares(found.touch_path(conversion)), ids)
        assert credits == pytest.approx(expected, abs=1e-9), model


# ------------------------------------------------------------------ milestones, money, counting, metrics


@pytest.mark.parametrize("case", ALL.milestones, ids=lambda case: f"{case.id} {case.title}")
def test_milestones_credit_touches_as_expected(case: Milestones) -> None:
    times = [touch["t"] for touch in case.touches]
    lead, opportunity = case.milestones["lead"], case.milestones["opportunity"]
    end = max([*times, lead or 0, opportunity or 0])
    path = TouchPath(
        tuple(touch["ch"] for touch in case.touches),
        tuple(end - time for time in times),
        end - lead if lead is not None else None,
        end - opportunity if opportunity is not None else None,
    )
    for model, expected in case.expect.items():
        shares = MODELS[model].shares
        assert shares is not None
        assert [float(share) for share in shares(path)] == pytest.approx(expected, abs=1e-9), model


@pytest.mark.parametrize("case", ALL.money_split, ids=lambda case: case.id)
def test_money_is_split_as_expected(case: MoneySplit) -> None:
    assert split_minor(case.amount_minor, [Fraction(weight) for weight in case.weights]) == case.expect


@pytest.mark.parametrize("case", ALL.counting, ids=lambda case: f"{case.id} {case.title}")
def test_conversions_count_as_expected(case: Counting) -> None:
    conversions = [
        Countable(
            id=row["id"],
            sequence=row["seq"],
            at_ms=row["t"],
            goal=row["goal"],
            order_id=row["order_id"],
            event_id=row["event_id"],
            click_id=row["click_id"],
            person=row["person"],
        )
        for row in case.conversions
    ]
    for mode, expected in case.expect.items():
        assert count(conversions, mode) == expected, mode


@pytest.mark.parametrize("case", ALL.metrics, ids=lambda case: f"{case.id} {case.title}")
def test_metrics_are_as_expected(case: MetricsCase) -> None:
    assert msgspec.to_builtins(measure(case.input)) == case.expect
