"""What every store promises about credit, adjustments, spend, paths and funnels."""

import msgspec
import pytest

from gateway.errors import StoreError
from gateway.stores.contract import Store
from gateway.stores.contract_credit import (
    AdjustmentApplied,
    Credit,
    SpendRow,
)
from tests.contract.crediting import (
    EVER,
    ME,
    OTHER,
    PERSON,
    TODAY,
    WHOLE,
    adjustment,
    applied,
    counted,
    decision,
    goal_row,
    goal_sum,
    sale,
    share,
)
from tests.contract.test_store_contract import NOW, one

# ------------------------------------------------------------------ credit


async def test_what_is_counted_is_due_until_it_is_credited(store: Store) -> None:
    late = await counted(store, "A2", received=NOW + 5)
    first = await counted(store, "A1")
    await one(store, sale("A1"))
    assert [row.conversion_id for row in await store.uncredited(NOW - 1, 9)] == []
    assert [row.conversion_id for row in await store.uncredited(NOW, 9)] == [first]
    assert [row.conversion_id for row in await store.uncredited(NOW + 5, 9)] == [first, late]
    assert [row.conversion_id for row in await store.uncredited(NOW + 5, 1)] == [first]
    assert await store.put_credit("shop", decision(first))
    assert [row.conversion_id for row in await store.uncredited(NOW + 5, 9)] == [late]


async def test_a_decision_moves_the_sums_from_nobody_to_those_who_earned_it(store: Store) -> None:
    sold = await counted(store, "A1", amount=1001)
    credits = (
        share(600_000_000, 601, channel="social"),
        share(400_000_000, 400, position=1, channel="email", touch_no=None, kind="coupon"),
    )
    made = decision(sold, *credits)
    assert await store.put_credit("shop", made)
    assert await store.attribution(sold) == made
    total = await goal_sum(store)
    assert total == goal_row(conversions=1, first_of_person=1, amount_minor=1001, net_minor=1001, seconds=60, timed=1)
    rows = {row.channel: row for row in await store.credit_days("shop", TODAY, TODAY, ("channel",))}
    assert (rows["social"].share_e9, rows["social"].amount_minor, rows["social"].net_minor) == (600_000_000, 601, 601)
    assert (rows["social"].first_e9, rows["social"].seconds_e9, rows["social"].timed_e9) == (
        600_000_000, 60 * 600_000_000, 600_000_000,
    )  # fmt: skip
    assert (rows["email"].share_e9, rows["email"].amount_minor) == (400_000_000, 400)


async def test_a_new_decision_takes_the_place_of_the_old_one_in_the_sums(store: Store) -> None:
    sold = await counted(store, "A1")
    await store.put_credit("shop", decision(sold, share(WHOLE, 1000, channel="social")))
    newer = decision(sold, share(WHOLE, 1000, channel="email"), version=2, first_of_person=False, seconds=None)
    assert await store.put_credit("shop", newer)
    rows = await store.credit_days("shop", 0, TODAY, ("channel", "ambassador_id", "currency", "goal"))
    assert [(row.channel, row.ambassador_id, row.currency, row.goal, row.share_e9) for row in rows] == [
        ("email", "amb1", "EUR", "purchase", WHOLE)
    ]
    assert (rows[0].first_e9, rows[0].seconds_e9, rows[0].timed_e9) == (0, 0, 0)
    await store.put_credit("shop", decision(sold, version=3))
    assert await store.credit_days("shop", 0, TODAY, ("channel",)) == []
    assert await goal_sum(store) == goal_row(
        conversions=1, unattributed=1, first_of_person=1, amount_minor=1000, net_minor=1000
    )
    found = [await store.attribution(sold, version) for version in (1, 2, 3, 4, None)]
    assert [row and (row.version, len(row.credits)) for row in found] == [(1, 1), (2, 1), (3, 0), None, (3, 0)]


async def test_a_decision_about_an_old_state_is_not_stored(store: Store) -> None:
    sold = await counted(store, "A1")
    repeat = await one(store, sale("A1", event_id="again-0001"))
    assert repeat.fate == "duplicate"
    assert not await store.put_credit("shop", decision(sold, version=2))
    assert not await store.put_credit("shop", decision("unknown"))
    assert not await store.put_credit("blog", decision(sold))
    assert not await store.put_credit("shop", decision(store.conversion_id("shop", "again-0001")))
    assert await store.put_credit("shop", decision(sold))
    assert not await store.put_credit("shop", decision(sold, share(WHOLE, 1000)))
    found = await store.attribution(sold)
    assert found is not None
    assert found.credits == ()


BAD_CREDIT = {
    "shares that do not sum to one": (share(WHOLE - 1, 1000),),
    "amounts that do not sum": (share(WHOLE, 999),),
    "no amount": (share(WHOLE, None),),
    "an amount for some": (share(500_000_000, 1000), share(500_000_000, None, position=1)),
}


@pytest.mark.parametrize("credits", BAD_CREDIT.values(), ids=BAD_CREDIT.keys())
async def test_credit_that_is_not_the_conversions_is_refused_whole(store: Store, credits: tuple[Credit, ...]) -> None:
    sold = await counted(store, "A1")
    with pytest.raises(StoreError):
        await store.put_credit("shop", decision(sold, *credits))
    assert await store.attribution(sold) is None
    assert (await goal_sum(store)).unattributed == 1
    assert [row.conversion_id for row in await store.uncredited(NOW, 9)] == [sold]


async def test_conversions_are_made_due_again(store: Store) -> None:
    ids = [await counted(store, f"A{number}", at=NOW + number, received=NOW) for number in range(4)]
    other = await counted(store, "B1", goal="subscribe")
    for conversion_id in (*ids, other):
        await store.put_credit("shop", decision(conversion_id))

    async def again(
        conversion_id: str | None = None, goal: str | None = None, upto: int = NOW + 9, limit: int = 9
    ) -> int:
        return await store.credit_again(
            "shop", goal=goal, conversion_id=conversion_id, after_ms=NOW, upto_ms=upto, limit=limit, now_ms=NOW + 50
        )

    assert await again(ids[3]) == 1
    assert await again(ids[3]) == 0, "it is due already"
    assert await again("unknown") == 0
    assert await again(goal="purchase", upto=NOW + 1, limit=1) == 1
    assert await again(goal="purchase", upto=NOW + 1) == 1
    assert {row.conversion_id for row in await store.uncredited(NOW + 50, 9)} == {ids[0], ids[1], ids[3]}
    assert await store.uncredited(NOW + 49, 9) == []
    await store.put_credit("shop", decision(ids[0], version=2, at=NOW + 51))
    assert await again() == 2, "those decided since are left alone"
    assert {row.conversion_id for row in await store.uncredited(NOW + 50, 9)} == {*ids[1:], other}


async def test_what_is_asked_for_while_a_decision_is_made_stays_due(store: Store) -> None:
    sold = await counted(store, "A1")
    await store.put_credit("shop", decision(sold))
    await store.credit_again("shop", goal=None, conversion_id=sold, after_ms=NOW, upto_ms=NOW, limit=1, now_ms=NOW + 20)
    await store.put_credit("shop", decision(sold, version=2, at=NOW + 10))
    assert [row.credit_version for row in await store.uncredited(NOW + 20, 9)] == [2]
    await store.put_credit("shop", decision(sold, version=3, at=NOW + 20))
    assert await store.uncredited(NOW + 20, 9) == []


# ------------------------------------------------------------------ adjustments


async def test_an_adjustment_is_stored_once_and_changes_its_conversion(store: Store) -> None:
    sold = await counted(store, "A1")
    row = adjustment("a1", sold)
    assert await store.put_adjustment("shop", row, applied(700)) == "recorded"
    assert await store.put_adjustment("shop", row, applied(700)) == "repeated"
    assert await store.put_adjustment("shop", adjustment("a2", sold), applied(400)) == "stale", "one more is known"
    found = await store.conversion("shop", sold)
    assert found is not None
    assert (found.fate, found.reason, found.amount_minor, found.net_minor) == ("counted", "adjusted", 1000, 700)
    assert await store.put_adjustment("shop", adjustment("a2", sold), applied(400, 2)) == "recorded"
    assert await store.adjustment("shop", "a1") == row
    assert await store.adjustment("blog", "a1") is None
    assert [one.adjustment_id for one in await store.adjustments_of("shop", sold)] == ["a1", "a2"]
    assert await store.adjustments_of("blog", sold) == []
    assert await goal_sum(store) == goal_row(conversions=1, unattributed=1, amount_minor=1000, net_minor=400)


@pytest.mark.parametrize("conversion_id", ["unknown", "c1_again-0001"])
async def test_an_adjustment_of_nothing_that_counts_is_stale(store: Store, conversion_id: str) -> None:
    await counted(store, "A1")
    await one(store, sale("A1", event_id="again-0001"))
    assert await store.put_adjustment("shop", adjustment("a1", conversion_id), applied(1)) == "stale"
    assert await store.adjustment("shop", "a1") is None


NETS = [
    ((500_000_000, 500_000_000), 701, (351, 350)),
    ((333_333_334, 333_333_333, 333_333_333), 100, (34, 33, 33)),
    ((200_000_000, 300_000_000, 500_000_000), 11, (2, 3, 6)),
    ((0, WHOLE), 5, (0, 5)),
    ((WHOLE,), 0, (0,)),
    ((400_000_000, 300_000_000, 300_000_000), 1, (1, 0, 0)),
]


@pytest.mark.parametrize(("shares", "net", "parts"), NETS)
async def test_what_is_left_is_split_by_shares_and_sums_exactly(
    store: Store, shares: tuple[int, ...], net: int, parts: tuple[int, ...]
) -> None:
    sold = await counted(store, "A1", amount=1000)
    rests = [1000 if number == len(shares) - 1 else 0 for number in range(len(shares))]
    credits = [share(e9, rests[number], position=number, channel=f"ch{number}") for number, e9 in enumerate(shares)]
    await store.put_credit("shop", decision(sold, *reversed(credits)))
    await store.put_adjustment("shop", adjustment("a1", sold), applied(net))
    found = await store.attribution(sold)
    assert found is not None
    assert tuple(credit.net_minor for credit in found.credits) == parts
    assert [credit.amount_minor for credit in found.credits] == rests, "what was earned at first stays"
    rows = await store.credit_days("shop", 0, TODAY, ("channel",))
    assert tuple(row.net_minor for row in rows) == tuple(
        part for part, e9, rest in zip(parts, shares, rests, strict=True) if part or e9 or rest
    )
    assert (await goal_sum(store)).net_minor == net


async def test_a_retraction_and_its_end_are_in_the_sums(store: Store) -> None:
    sold = await counted(store, "A1")
    await store.put_credit("shop", decision(sold, share(WHOLE, 1000)))
    gone = AdjustmentApplied(fate="retracted", reason="taken_back", net_minor=0, known=1)
    await store.put_adjustment("shop", adjustment("a1", sold, kind="retract", amount_minor=None), gone)
    total = await goal_sum(store)
    assert (total.conversions, total.retracted, total.amount_minor, total.net_minor) == (1, 1, 1000, 0)
    (row,) = await store.credit_days("shop", 0, TODAY, ())
    assert (row.amount_minor, row.net_minor) == (1000, 0)
    assert (await store.tally()).conversions == {("shop", "retracted"): 1}
    await store.put_adjustment("shop", adjustment("a2", sold, kind="restate", amount_minor=900), applied(900, 2))
    total = await goal_sum(store)
    assert (total.conversions, total.retracted, total.net_minor) == (1, 0, 900)


async def test_net_amounts_follow_an_adjustment_that_came_while_the_decision_was_made(store: Store) -> None:
    sold = await counted(store, "A1")
    await store.put_adjustment("shop", adjustment("a1", sold), applied(701))
    halves = (share(500_000_000, 500), share(500_000_000, 500, position=1, channel="email"))
    await store.put_credit("shop", decision(sold, *halves))
    found = await store.attribution(sold)
    assert found is not None
    assert [credit.net_minor for credit in found.credits] == [351, 350]


async def test_net_amounts_that_sum_are_kept_as_they_are(store: Store) -> None:
    sold = await counted(store, "A1", amount=101)
    thirds = (share(500_000_000, 50, net=50), share(500_000_000, 51, position=1, net=51))
    await store.put_credit("shop", decision(sold, *thirds))
    found = await store.attribution(sold)
    assert found is not None
    assert [credit.net_minor for credit in found.credits] == [50, 51]


async def test_a_conversion_without_an_amount_gets_one_with_its_currency(store: Store) -> None:
    sold = await counted(store, "A1", amount=None, value_source="none")
    await store.put_credit("shop", decision(sold, share(WHOLE, None)))
    restated = adjustment("a1", sold, kind="restate", amount_minor=500)
    await store.put_adjustment("shop", restated, applied(500))
    found = await store.conversion("shop", sold)
    assert found is not None
    assert (found.amount_minor, found.net_minor, found.currency) == (None, 500, "EUR")
    rows = await store.goal_days("shop", 0, TODAY, ("currency",))
    assert [(row.currency, row.conversions, row.net_minor) for row in rows] == [("EUR", 1, 500)]
    credits = await store.credit_days("shop", 0, TODAY, ("currency",))
    assert [(row.currency, row.share_e9, row.net_minor) for row in credits] == [("EUR", WHOLE, 500)]


async def test_adjustments_wait_for_their_conversion_and_are_given_to_it(store: Store) -> None:
    early = [adjustment(f"a{number}") for number in range(3)]
    for row in early[:2]:
        assert await store.put_adjustment("shop", row, None) == "recorded"
    assert await store.put_adjustment("shop", early[0], None) == "repeated"
    assert list(await store.waiting_adjustments("shop", "A1")) == early[:2]
    assert await store.waiting_adjustments("shop", "A2") == []
    assert await store.waiting_adjustments("blog", "A1") == []
    sold = await counted(store, "A1")
    assert await store.put_adjustment("shop", early[2], None) == "stale", "the conversion is there by now"
    assert not await store.give_adjustments("shop", ("a0", "a1"), sold, applied(400, 3))
    assert not await store.give_adjustments("shop", ("a0", "none"), sold, applied(400, 2))
    assert not await store.give_adjustments("shop", ("a0", "a1"), "unknown", applied(400, 2))
    assert await store.give_adjustments("shop", ("a0", "a1"), sold, applied(400, 2))
    assert not await store.give_adjustments("shop", ("a0",), sold, applied(400, 3)), "it waits no more"
    assert await store.waiting_adjustments("shop", "A1") == []
    assert [(row.adjustment_id, row.conversion_id) for row in await store.adjustments_of("shop", sold)] == [
        ("a0", sold), ("a1", sold),
    ]  # fmt: skip
    assert (await goal_sum(store)).net_minor == 400


async def test_an_adjustment_of_another_goal_of_the_order_may_wait(store: Store) -> None:
    await counted(store, "A1", goal="lead")
    assert await store.put_adjustment("shop", adjustment("a1", goal="purchase"), None) == "recorded"
    assert await store.put_adjustment("shop", adjustment("a2", goal=""), None) == "stale"
    assert await store.put_adjustment("shop", adjustment("a3", order_id=None), None) == "recorded"


# ------------------------------------------------------------------ spend, paths, funnels


async def test_spend_of_the_same_place_replaces_the_old(store: Store) -> None:
    first = SpendRow(day=TODAY, campaign_id="c", channel="ads", source="g", currency="EUR", amount_minor=100)
    other = msgspec.structs.replace(first, source="b", clicks=3)
    assert await store.put_spend("shop", (first, other), NOW) == 2
    assert await store.put_spend("shop", (first, other), NOW) == 0
    changed = msgspec.structs.replace(first, impressions=9)
    assert await store.put_spend("shop", (changed, other), NOW) == 1
    assert await store.put_spend("shop", (), NOW) == 0
    later = msgspec.structs.replace(first, day=TODAY + 1)
    await store.put_spend("shop", (later,), NOW)
    assert list(await store.spend("shop", TODAY, TODAY)) == [other, changed]
    assert list(await store.spend("shop", TODAY, TODAY + 1)) == [other, changed, later]
    assert await store.spend("blog", 0, TODAY) == []


async def test_the_most_frequent_paths_are_counted(store: Store) -> None:
    for number, (path, amount, goal) in enumerate(
        [
            ("a > b", 1000, "purchase"),
            ("a > b", None, "purchase"),
            ("c", 1000, "purchase"),
            ("a", 1000, "lead"),
            ("", 1, "lead"),
        ]
    ):
        sold = await counted(store, f"A{number}", amount=amount, goal=goal, at=NOW + number)
        credits = (share(WHOLE, amount),) if path else ()
        await store.put_credit("shop", decision(sold, *credits, path=path))
    tested = await counted(store, "T1", test=True)
    await store.put_credit("shop", decision(tested, share(WHOLE, 1000)))
    assert list(await store.paths("shop", None, *EVER, 9)) == [("a > b", 2, 1), ("a", 1, 1), ("c", 1, 1)]
    assert list(await store.paths("shop", "purchase", *EVER, 1)) == [("a > b", 2, 1)]
    assert list(await store.paths("shop", None, NOW + 2, NOW + 3, 9)) == [("a", 1, 1), ("c", 1, 1)]


async def test_a_funnel_counts_persons_who_went_its_way(store: Store) -> None:
    persons = {
        b"1" * 16: ("view", "cart", "buy"),
        b"2" * 16: ("cart", "view", "buy"),
        b"3" * 16: ("view", "view", "cart", "cart"),
        b"4" * 16: ("buy",),
        b"5" * 16: ("view", "other", "cart", "view", "buy"),
    }
    order = 0
    for visitor, goals in persons.items():
        for goal in goals:
            order += 1
            await counted(store, f"A{order}", goal=goal, visitor=visitor, at=NOW + order)
    await counted(store, "N1", goal="view", visitor=None)
    await counted(store, "T1", goal="view", visitor=b"6" * 16, test=True)
    assert list(await store.funnel("shop", ("view", "cart", "buy"), *EVER)) == [(7, 4), (5, 3), (4, 2)]
    assert list(await store.funnel("shop", ("view", "view"), *EVER)) == [(7, 4), (7, 2)]
    assert list(await store.funnel("shop", ("view", "cart"), NOW, NOW + 2)) == [(2, 1), (1, 1)]
    assert list(await store.funnel("shop", (), *EVER)) == []


async def test_a_person_goes_through_a_funnel_on_several_devices(store: Store) -> None:
    await counted(store, "A1", goal="view", visitor=ME, person=PERSON)
    await counted(store, "A2", goal="buy", visitor=OTHER, person=PERSON)
    assert list(await store.funnel("shop", ("view", "buy"), *EVER)) == [(1, 1), (1, 1)], "one time, in their order"
