"""Strings of the IAB, made by its own libraries in the page: what reaches each ad platform under them, and after a withdrawal.

The demo's destinations in the IAB vendor list: Google's ads, number 755 by itself, and Meta, which stands for vendor 33 of
the fixture's list. The others are the site's own analytics and follow the publisher's part of the string.
"""

import shutil
from pathlib import Path
from typing import Final

import pytest

from tests.journeys.conftest import OpenContext
from tests.journeys.shopping import ALL, ANALYTICS, EVERYTHING, NOTHING, Seen, shopping
from tests.journeys.staging import GPP, ROOT, TCF, tc_string, true_on

pytestmark = pytest.mark.slow  # a browser for every one of them

EVERY_PURPOSE: Final = list(range(1, 12))


async def test_a_tc_string_speaks_to_each_vendor_and_its_withdrawal_to_all(
    tmp_path: Path, open_context: OpenContext
) -> None:
    lists = tmp_path / "data" / "gvl"
    lists.mkdir(parents=True, mode=0o700)
    lists.parent.chmod(0o700)
    shutil.copy(ROOT / "tests" / "vectors" / "gvl-fixture.json", lists / "vendor-list-v150.json")
    async with shopping(tmp_path, open_context, platforms={"meta": {"tcf_vendor": 33}}) as shop:
        page, stage = shop.page, shop.stage
        everybody = await tc_string(page, stage, purposes=EVERY_PURPOSE, vendors=[33, 755])
        not_meta = await tc_string(page, stage, purposes=EVERY_PURPOSE, vendors=[755])
        nobody = await tc_string(page, stage, purposes=[], vendors=[])
        await page.goto(stage.write("/tcf", script=TCF, attributes="data-consent='tcf' data-wait='200'"))
        await page.evaluate("text => cmp.put('cmpuishown', text)", everybody)
        await shop.buy_and_see("T-ORDER-0", NOTHING)
        for order, text, seen in (
            # A string's yes is for the vendors it names: only they learn who bought. GA4 and the webhook hear that the
            # site itself may measure, and are told of the purchase without the person.
            ("T-ORDER-1", everybody, Seen(ALL, frozenset({"meta", "google_ads"}))),
            ("T-ORDER-2", not_meta, Seen(ALL - {"meta"}, frozenset({"google_ads"}))),
            ("T-ORDER-3", nobody, NOTHING),
        ):
            said = len(shop.sent.said())
            await page.evaluate("text => cmp.put('useractioncomplete', text)", text)
            await shop.sent.until_said(said + 1)
            await shop.buy_and_see(order, seen)
        assert [one["tcf"] for one in shop.sent.said()] == [everybody, not_meta, nobody]


async def test_a_gpp_opt_out_leaves_the_site_its_own_analytics(tmp_path: Path, open_context: OpenContext) -> None:
    async with shopping(tmp_path, open_context, regime="opt_out_signal") as shop:
        page = shop.page
        ready = GPP + "cmp.setApplicableSections([7]); cmp.setSignalStatus('ready');"
        await page.goto(shop.stage.write("/gpp", module=ready, attributes="data-consent='gpp' data-wait='30000'"))
        await shop.sent.until_said(1)
        await shop.buy_and_see("G-ORDER-1", EVERYTHING)
        await true_on(page, "!!window.cmp")
        await page.evaluate(
            "cmp.setSignalStatus('not ready'), cmp.setFieldValue('usnat', 'SaleOptOut', 1), cmp.setSignalStatus('ready')"
        )
        await shop.sent.until_said(2)
        await shop.buy_and_see("G-ORDER-2", ANALYTICS)
