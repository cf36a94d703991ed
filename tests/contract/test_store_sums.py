"""What every store promises about reading many at once, and about sums by some columns of what has some values."""

import pytest

from gateway.outcome import DeliveryFate
from gateway.stores.contract import Store
from gateway.stores.contract_credit import SpendRow
from gateway.stores.sums import MONTH_DAYS
from tests.contract.crediting import TODAY, WHOLE, click, counted, decision, sale, share
from tests.contract.test_store_contract import DAY, NOW, one, order, owed

# ------------------------------------------------------------------ many at once


async def test_the_newest_decisions_about_many_conversions_are_read_at_once(store: Store) -> None:
    first, second, undecided = [await counted(store, f"A{number}") for number in range(3)]
    await store.put_credit("shop", decision(first, share(WHOLE, 1000, channel="social")))
    newest = decision(
        first, share(400_000_000, 400, channel="email"), share(600_000_000, 600, position=1, channel="ads"), version=2
    )
    await store.put_credit("shop", newest)
    nobody = decision(second)
    await store.put_credit("shop", nobody)
    found = await store.attributions([second, undecided, "unknown", first, first])
    assert found == {first: newest, second: nobody}
    assert found[first] == await store.attribution(first)
    assert await store.attributions([]) == {}


async def test_the_credit_of_many_is_in_the_order_of_places(store: Store) -> None:
    sold = await counted(store, "A1", amount=12)
    parts = [share(1 if place else WHOLE - 11, 1, position=place) for place in range(12)]
    await store.put_credit("shop", decision(sold, *reversed(parts)))
    found = await store.attributions([sold])
    assert [credit.position for credit in found[sold].credits] == list(range(12))


async def test_deliveries_of_many_events_are_counted_by_destination_and_fate(store: Store) -> None:
    withheld = owed("ga4", fate="withheld", reason="consent_missing", payload=None)
    await one(store, order("A1", event_id="event-one-1", deliveries=(owed("meta"), withheld)))
    await one(store, order("A2", event_id="event-two-2", deliveries=(owed("meta"),)))
    await one(store, order("A3", event_id="event-three", deliveries=(owed("meta"),)))
    waiting = DeliveryFate.WAITING.value
    found = await store.delivery_fates("shop", ["event-one-1", "event-two-2", "unknown"])
    assert found == {"meta": {waiting: 2}, "ga4": {"withheld": 1}}
    twice = await store.delivery_fates("shop", ["event-two-2", "event-two-2"])
    assert twice == {"meta": {waiting: 2}}, "an event of two conversions counts for both"
    assert await store.delivery_fates("blog", ["event-one-1"]) == {}
    assert await store.delivery_fates("shop", []) == {}


# ------------------------------------------------------------------ sums


async def test_credit_is_summed_by_landing_page_and_moves_with_a_new_decision(store: Store) -> None:
    sold = await counted(store, "A1", amount=1000)
    half = 500_000_000
    await store.put_credit(
        "shop", decision(sold, share(half, 500, landing="/a"), share(half, 500, position=1, landing="/b"))
    )

    async def pages() -> dict[str, tuple[int, int, int]]:
        rows = await store.credit_days("shop", 0, TODAY, ("landing",))
        return {row.landing: (row.share_e9, row.amount_minor, row.first_e9) for row in rows}

    assert await pages() == {"/a": (half, 500, half), "/b": (half, 500, half)}
    await store.put_credit("shop", decision(sold, share(WHOLE, 1000, landing="/b"), version=2, first_of_person=False))
    assert await pages() == {"/b": (WHOLE, 1000, 0)}


async def test_what_is_summed_can_be_narrowed_down_by_the_values_of_columns(store: Store) -> None:
    for touch in (
        click(link_id="l1", device="mobile"),
        click(link_id="l1", device="desktop"),
        click(link_id="l2", device="mobile", human="no"),
    ):
        await store.record_click("shop", touch)

    async def touches(by: tuple[str, ...], **only: str) -> list[int]:
        return [row.touches for row in await store.touch_days("shop", TODAY, TODAY, by, only)]

    assert await touches(()) == [3]
    assert await touches((), link_id="l1") == [2]
    assert await touches(("device",), link_id="l1", human="yes") == [1, 1]
    assert await touches((), link_id="l2", human="yes") == []
    (row,) = await store.touch_days("shop", TODAY, TODAY, ("kind",), {"link_id": "l1"})
    assert (row.kind, row.link_id) == ("click", ""), "what it was narrowed down by is no column it is summed by"
    sold = await counted(store, "A1")
    await store.put_credit("shop", decision(sold, share(WHOLE, 1000, channel="email")))
    assert await store.credit_days("shop", 0, TODAY, ("goal",), {"channel": "ads"}) == []
    (earned,) = await store.credit_days("shop", 0, TODAY, ("goal",), {"channel": "email", "currency": "EUR"})
    assert (earned.goal, earned.share_e9) == ("purchase", WHOLE)


@pytest.mark.parametrize("sums", ["touch_days", "credit_days", "spend_days"])
async def test_a_column_that_is_none_is_refused(store: Store, sums: str) -> None:
    for column in ("nothing", "1=1 or channel"):
        with pytest.raises(ValueError, match="no column"):
            await getattr(store, sums)("shop", 0, TODAY, (column,))
        with pytest.raises(ValueError, match="no column"):
            await getattr(store, sums)("shop", 0, TODAY, (), {column: "1"})


async def test_what_was_spent_is_summed_by_some_columns(store: Store) -> None:
    rows = [
        SpendRow(day=TODAY, campaign_id="a", channel="ads", source="x", currency="EUR", amount_minor=10**14, clicks=3),
        SpendRow(
            day=TODAY - 1, campaign_id="a", channel="ads", source="y", currency="EUR", amount_minor=5, impressions=9
        ),
        SpendRow(day=TODAY, campaign_id="a", channel="ads", source="x", currency="USD", amount_minor=7),
        SpendRow(day=TODAY, campaign_id="b", channel="sms", source="x", currency="EUR", amount_minor=-1, clicks=0),
    ]
    await store.put_spend("shop", rows, NOW)

    async def spent(*by: str, from_day: int = 0, **only: str) -> list[tuple[object, ...]]:
        found = await store.spend_days("shop", from_day, TODAY, by, only)
        return [(*[getattr(row, name) for name in by], row.amount_minor, row.clicks, row.impressions) for row in found]

    assert await spent("currency") == [("EUR", 10**14 + 4, 3, 9), ("USD", 7, None, None)]
    assert await spent("campaign_id", "currency") == [
        ("a", "EUR", 10**14 + 5, 3, 9), ("a", "USD", 7, None, None), ("b", "EUR", -1, 0, None),
    ]  # fmt: skip
    assert await spent("currency", campaign_id="b") == [("EUR", -1, 0, None)]
    assert await spent("currency", from_day=TODAY, channel="ads") == [("EUR", 10**14, 3, None), ("USD", 7, None, None)]
    assert await spent("day") == [(TODAY - 1, 5, None, 9), (TODAY, 10**14 + 6, 3, None)]
    assert await store.spend_days("blog", 0, TODAY, ("currency",)) == []


async def test_a_repeat_of_an_order_earns_no_landing_page(store: Store) -> None:
    sold = await counted(store, "A1")
    await one(store, sale("A1", event_id="again-0001"))
    await store.put_credit("shop", decision(sold, share(WHOLE, 1000, landing="/a")))
    rows = await store.credit_days("shop", 0, TODAY, ("landing",))
    assert [(row.landing, row.share_e9) for row in rows] == [("/a", WHOLE)]


# ------------------------------------------------------------------ months


async def test_no_amount_is_too_large_for_a_month(store: Store) -> None:
    first, huge = TODAY - TODAY % MONTH_DAYS, 5 * 10**18
    for number in range(3):
        made = await counted(store, f"A{number}", amount=huge, at=(first + number) * DAY)
        await store.put_credit("shop", decision(made, share(WHOLE, huge)))
    (days,) = await store.credit_days("shop", first, first + 2, ("currency",))
    (month,) = await store.credit_days("shop", first, first + MONTH_DAYS - 1, ("currency",))
    assert days.amount_minor == month.amount_minor == 3 * huge


async def test_credit_of_the_largest_amounts_moves_with_a_new_decision(store: Store) -> None:
    first, huge = TODAY - TODAY % MONTH_DAYS, 4 * 10**18
    made = [await counted(store, f"A{number}", amount=huge, at=(first + number) * DAY) for number in range(6)]
    for version, channel in ((1, "email"), (2, "ads")):
        for one_of in made:
            await store.put_credit("shop", decision(one_of, share(WHOLE, huge, channel=channel), version=version))
    rows = await store.credit_days("shop", first, first + MONTH_DAYS - 1, ("channel",))
    assert [(row.channel, row.share_e9, row.amount_minor) for row in rows] == [("ads", 6 * WHOLE, 6 * huge)]
