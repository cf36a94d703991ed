"""Upload: a file of offline conversions is read as it arrives; a portion of rows at a time is judged, stored and answered.

    pieces of the file -> rows -> portions of at most 100 -> one submission each -> what became of every row

A row is answered after the commit that holds it and never before. Rows are the same when they say the same: the order id
counts once for each goal, and a row without one is known by a keyed digest of all it says. So whatever was cut off is sent
again, whole or from a line on, and nothing counts twice. Consent is that of the row, else what the goal grants to uploads,
else none.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.conversions.adjustments import Adjustment
from gateway.errors import Busy, Refusal, StoreBusy
from gateway.event import Recordable, Recorded, Submission
from gateway.flows import adjust
from gateway.flows.convert import prepare
from gateway.flows.rehearsal import Rehearsal
from gateway.flows.upload_asking import Asked, GoalNames
from gateway.protocols import offline

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms

__all__ = ["RowAnswer", "Summary", "Upload"]

PORTION_ROWS: Final = 100
_BREATH_ROWS: Final = 10
"""Rows after which others get their turn: a portion with contact data takes tens of milliseconds to prepare."""
_LINES_A_ROW: Final = 10
"""Lines for each row a file may have: cells may hold line feeds, and empty lines are no rows, but take time as well."""
_BUSY_S: Final = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Pauses before a busy store is asked again."""


class RowAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one row: `accepted`, `duplicate`, `update` (it changes a conversion), or `error` with a code.

    `conversion_id` is the conversion that counts. `effect` says what an update did, one of adjustments' EFFECTS. `marks`
    are flags such as `time_ambiguous`.
    """

    line: int
    fate: str
    conversion_id: str | None = None
    effect: str | None = None
    code: str | None = None
    column: str | None = None
    last_line: int | None = None
    marks: tuple[str, ...] = ()


class Summary(msgspec.Struct):
    """How many rows met which fate. `rows` is the sum of the five others. `last_line`: up to it every row was answered."""

    rows: int = 0
    accepted: int = 0
    duplicate: int = 0
    update: int = 0
    error: int = 0
    skipped: int = 0
    last_line: int = 0
    dry_run: bool = False
    columns: str = ""
    unused: tuple[str, ...] = ()


class _Ready(msgspec.Struct, frozen=True):
    """A row on its way into the store."""

    line: int
    item: Recordable
    marks: tuple[str, ...]


class Upload:
    """One upload. `answers` takes the pieces of the file; `summary` counts on the way.

    Making it raises Refusal: `goal_unknown`, `zone_unknown`, `header_unknown`.
    """

    def __init__(self, house: "House", rooms: "SiteRooms", asked: Asked) -> None:
        shelf = house.shelves[rooms.id]
        known = frozenset(shelf.goals) | rooms.conversion_events
        if asked.goal and asked.goal not in known:
            raise Refusal("goal_unknown", "goal")
        self.summary = Summary(dry_run=asked.dry_run)
        self._house = house
        self._rooms = rooms
        self._asked = asked
        self._known = known
        self._rehearsal = Rehearsal(house.store, rooms.id) if asked.dry_run else None
        self._reader = offline.OfflineReader(
            offline.Upload(
                site=rooms.id,
                trust="server",
                received_at_ms=house.clock.now_ms(),
                zone=asked.zone,
                row_id=self._row_id,
                currency=rooms.site.currency,
                granted_by_goal={goal.code: goal.offline_purposes for goal in shelf.goals.values()},
                goals=GoalNames(known, asked.goal),
                columns=asked.columns,
                rows_max=house.settings.uploads.rows_max,
            )
        )

    def _row_id(self, digest: bytes) -> str:
        """The event id of a row: the same row is the same event, and the id tells nothing about what it says."""
        return f"u{self._house.vault.digest('upload_row', self._rooms.id, digest.hex()).hex()}"

    async def answers(self, pieces: AsyncIterator[bytes]) -> AsyncGenerator[tuple[RowAnswer, ...], None]:
        """Answer row by row, in the order of the file, each after its commit.

        Raises Refusal and StoreError behind the answers of the rows before; what was answered stays as it is.
        """
        line_feeds = 0
        async for piece in pieces:
            line_feeds += piece.count(b"\n")
            if line_feeds > _LINES_A_ROW * self._house.settings.uploads.rows_max:
                raise Refusal("rows_too_many")
            async for answered in self._portions(self._reader.feed(piece)):
                yield answered
            await asyncio.sleep(0)
        async for answered in self._portions(self._reader.finish()):
            yield answered

    async def _portions(self, outcomes: Iterator[offline.Outcome]) -> AsyncIterator[tuple[RowAnswer, ...]]:
        """Settle rows in portions. A portion does not wait for more of the file: what is complete is stored at once."""
        refused: Refusal | None = None
        more = True
        while more:
            portion: list[offline.Outcome] = []
            try:
                while more and len(portion) < PORTION_ROWS:
                    outcome = next(outcomes, None)
                    more = outcome is not None
                    if outcome is not None and not self._left_out(outcome):
                        portion.append(outcome)
            except Refusal as refusal:
                refused, more = refusal, False
            self._note_head()
            if portion:
                answers = await self._settled(portion)
                self._count(answers)
                yield tuple([one for one in answers if one.fate == "error"]) if self._asked.errors_only else answers
        if refused is not None:
            raise refused

    def _left_out(self, outcome: offline.Outcome) -> bool:
        if outcome.line >= self._asked.resume_from:
            return False
        self.summary.rows += 1
        self.summary.skipped += 1
        return True

    def _note_head(self) -> None:
        head = self._reader.head
        if head is not None and not self.summary.columns:
            self.summary.columns, self.summary.unused = head.columns, head.unused

    def _count(self, answers: tuple[RowAnswer, ...]) -> None:
        summary = self.summary
        summary.rows += len(answers)
        for one in answers:
            setattr(summary, one.fate, getattr(summary, one.fate) + 1)
        summary.last_line = answers[-1].last_line or answers[-1].line

    # -------------------------------------------------------------- one portion

    async def _settled(self, portion: list[offline.Outcome]) -> tuple[RowAnswer, ...]:
        """Store the conversions of a portion together, then its adjustments one by one, and answer in order."""
        found: dict[int, RowAnswer] = {}
        rows: list[offline.OfflineRow] = []
        changes: list[offline.OfflineAdjustment] = []
        for outcome in portion:
            if isinstance(outcome, offline.RowProblem):
                found[outcome.line] = _problem(outcome)
            elif (
                outcome.received.goal if isinstance(outcome, offline.OfflineRow) else outcome.goal
            ) not in self._known:
                found[outcome.line] = self._refused(outcome.line, Refusal("goal_unknown", "name"))
            elif isinstance(outcome, offline.OfflineRow):
                rows.append(outcome)
            else:
                changes.append(outcome)
        if rows:
            found |= await self._stored(rows)
        for change in changes:
            found[change.line] = await self._changed(change)
        return tuple([found[outcome.line] for outcome in portion])

    def _refused(self, line: int, refusal: Refusal) -> RowAnswer:
        """A row that flows refuse. What they call a field is called as in the file's header, where it has one for it."""
        field = {"click_ids": "gclid"}.get(refusal.field or "", refusal.field)
        columns = offline.SETS[self.summary.columns].columns if self.summary.columns else ()
        column = next((column.name for column in columns if column.field == field), None)
        return RowAnswer(line, "error", code=refusal.code, column=column)

    async def _prepared(self, rows: list[offline.OfflineRow]) -> tuple[list[_Ready], dict[int, RowAnswer]]:
        """Judge and assemble rows; anew when somebody they concern was erased meanwhile, for then what was read is void.

        Nothing may be waited for between this and handing the result to the store.
        """
        house = self._house
        while True:
            mark = house.erasures
            ready: list[_Ready] = []
            refused: dict[int, RowAnswer] = {}
            for count, row in enumerate(rows, 1):
                if count % _BREATH_ROWS == 0:
                    await asyncio.sleep(0)
                received = msgspec.structs.replace(row.received, click_id=row.click_id, coupons=row.coupons)
                try:
                    item, marks = await prepare(house, self._rooms, received)
                except Refusal as refusal:
                    refused[row.line] = self._refused(row.line, refusal)
                else:
                    ready.append(_Ready(row.line, item, marks))
            if not any(house.erased_since(mark, one.item.event.visitor_key, one.item.person_key) for one in ready):
                return ready, refused

    async def _stored(self, rows: list[offline.OfflineRow]) -> dict[int, RowAnswer]:
        """Store rows in one submission, or say what that would do. Raises StoreError.

        A busy store is asked again for a while, each time with rows judged anew.
        """
        pauses = iter(_BUSY_S)
        while True:
            ready, answers = await self._prepared(rows)
            if self._rehearsal is not None:
                return answers | {one.line: _answer(one, await self._rehearsal.row(one.item)) for one in ready}
            if not ready:
                return answers
            try:
                submitted = await self._house.store.submit(Submission(tuple([one.item for one in ready])))
            except StoreBusy:
                pause_s = next(pauses, None)
                if pause_s is None:
                    raise
                await asyncio.sleep(pause_s)
                continue
            self._tell(ready, submitted.recorded)
            return answers | {
                one.line: _answer(one, recorded) for one, recorded in zip(ready, submitted.recorded, strict=True)
            }

    def _tell(self, ready: list[_Ready], recorded: tuple[Recorded, ...]) -> None:
        """Count what is durable, and wake who works on it."""
        house, site = self._house, self._rooms.id
        house.telemetry.events_received(site, "server", len(ready), tuple([m for one in ready for m in one.marks]))
        for one, answer in zip(ready, recorded, strict=True):
            house.stored(site, one.item, answer.fate)

    # -------------------------------------------------------------- what takes a sale back

    async def _changed(self, change: offline.OfflineAdjustment) -> RowAnswer:
        """Take a conversion back, in part or whole; while it is not known, the change waits for it."""
        adjustment = Adjustment(
            id=self._row_id(change.row_digest),
            kind="refund" if change.amount_minor is not None else "retract",
            at_ms=change.adjusted_at_ms,
            amount_minor=change.amount_minor,
            currency=change.currency,
            reason="cancelled" if change.kind == "cancelled" else "returned",
        )
        try:
            if self._rehearsal is not None:
                told = await self._rehearsal.change(change.goal, change.order_id, adjustment)
            else:
                told = await self._adjusted(change, adjustment)
        except Busy:
            raise
        except Refusal as refusal:
            return self._refused(change.line, refusal)
        return RowAnswer(change.line, *told, marks=change.marks)

    async def _adjusted(
        self, change: offline.OfflineAdjustment, adjustment: Adjustment
    ) -> tuple[str, str | None, str | None]:
        house = self._house
        source = adjust.Source(trust="server", received_at_ms=house.clock.now_ms())
        pauses = iter(_BUSY_S)
        while True:
            try:
                adjusted, *_ = await adjust.adjust_order(
                    house, self._rooms, change.order_id, adjustment, goal=change.goal, source=source
                )
            except (Busy, StoreBusy):
                pause_s = next(pauses, None)
                if pause_s is None:
                    raise
                await asyncio.sleep(pause_s)
                continue
            fate = "update" if adjusted.status == "recorded" else "duplicate"
            return fate, adjusted.conversion_id, adjusted.state.effects.get(adjustment.id)


def _answer(one: _Ready, recorded: Recorded) -> RowAnswer:
    if recorded.fate == "conflict":
        return RowAnswer(one.line, "error", recorded.conversion_id, code="conversion_conflict", marks=one.marks)
    fate = "duplicate" if recorded.fate == "duplicate" else "accepted"
    return RowAnswer(one.line, fate, recorded.conversion_id, marks=one.marks)


def _problem(problem: offline.RowProblem) -> RowAnswer:
    last_line = problem.last_line if problem.last_line > problem.line else None
    return RowAnswer(problem.line, "error", code=problem.code, column=problem.column, last_line=last_line)
