"""What an owner sets up before conversions come: goals with their tokens, campaigns, clicks on links, by the real API.

owner = await Owner.of(shop)
goal = await owner.goal(name="Q1 Sale", value="5.00")
said = await shop.send("POST", owner.track(goal), body={"order_id": "1"})
"""

import json
from typing import Any, Final

from gateway.event import Touch
from tests.support.running import Running

__all__ = ["CLICK", "OTHER_CLICK", "Owner"]

CLICK: Final = "0123456789abcdefABCDEF"
OTHER_CLICK: Final = "zzzzzzzzzzzzzzzzzzzzzz"


class Owner:
    """An owner of the site `shop` with keys for everything. Goals are answered as the API shows them, with `token`."""

    def __init__(self, shop: Running, key: str) -> None:
        self.shop = shop
        self.key = key

    @classmethod
    async def of(cls, shop: Running) -> "Owner":
        """Make the owner's key."""
        rights = ("manage", "events", "conversions", "reports")
        return cls(shop, (await shop.new_key(rights=rights))["key"])

    async def _make(self, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
        said = await self.shop.api(f"/api/v1/{kind}s", fields, self.key)
        assert said.status == 201, said
        found: dict[str, Any] = said.json()
        return found

    async def goal(self, **fields: Any) -> dict[str, Any]:
        """Make a goal."""
        made = await self._make("goal", {"name": "Q1 Sale", **fields})
        return {**made["goal"], "token": made["postback_token"]}

    async def campaign(self, **fields: Any) -> dict[str, Any]:
        """Make a campaign."""
        made = await self._make("campaign", {"name": "Summer", "tracking": True, **fields})
        found: dict[str, Any] = made["campaign"]
        return found

    async def change(self, kind: str, entry_id: str, **fields: Any) -> None:
        """Change an entry."""
        headers = {"Authorization": f"Bearer {self.key}"}
        said = await self.shop.send("PATCH", f"/api/v1/{kind}s/{entry_id}", headers=headers, body=fields)
        assert said.status == 200, said

    def track(self, goal: dict[str, Any]) -> str:
        """The path of a goal's postbacks."""
        return f"/api/conversions/track/{goal['token']}"

    async def click(self, click_id: str = CLICK, *, days_ago: float = 0, **fields: Any) -> None:
        """Record a click on a link."""
        house = self.shop.gateway.house
        touch = Touch(
            **{
                "kind": "click",
                "occurred_at_ms": house.clock.now_ms() - int(days_ago * 86_400_000),
                "visitor_key": None,
                "referrer": None,
                "campaign": None,
                "click_ids": None,
                "channel": "email",
                "click_id": click_id,
                **fields,
            }
        )
        await house.store.record_click("shop", touch)

    def conversions(self) -> list[dict[str, Any]]:
        """Every conversion as the database has it, oldest first."""
        columns = (
            "goal", "order_id", "amount_minor", "currency", "value_source", "net_minor", "click_id", "coupons",
            "campaign_id", "test", "fate", "reason", "claim_key", "goal_version", "conversion_id",
        )  # fmt: skip
        names = ", ".join(f"c.{name}" for name in columns)
        rows = self.shop.rows(
            f"select {names}, e.facts, e.trust, e.name from conversion c join event e on e.seq = c.event_seq"
            " order by c.event_seq"
        )
        found = [dict(zip((*columns, "facts", "trust", "name"), row, strict=True)) for row in rows]
        return [{**one, "facts": json.loads(one["facts"])} for one in found]
