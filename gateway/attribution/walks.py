"""Walks: how often the walks along a Markov chain end well when some of its states are taken out.

Two ways to the same numbers. In a small chain the states that stay are passed over one by one: what flowed through a state
is sent on directly, in sums and products of positive numbers only, so that nothing cancels and any chain is solved alike.
What many questions have in common is passed over once for all of them. In a large chain visits are counted in rounds
(Gauss-Seidel) until no round to come matters; that costs as much as there are edges, and states need not fit into a square.

Source: W. K. Grassmann, M. I. Taksar, D. P. Heyman, "Regenerative analysis and steady state distributions for Markov
chains", Operations Research 33 (1985), for the elimination without subtraction.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from operator import itemgetter, mul
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from gateway.attribution.journeys import Work

__all__ = ["Chain", "Ends", "ends_without_each"]

_FEW_STATES: Final = 64
"""Chains up to this size are small, whatever the questions."""

_FEW_PARTS: Final = 320
"""Chains up to this size are small where no two questions take out the same state: work is then the cube of the size."""

_CHANGE_MAX: Final = 1e-13
"""In the last round no state's visits change by more, of all walks together. Every walk ends after a path's length, some
hundreds of steps at the most, so that all rounds to come add no more than some hundred times this."""

_ROUNDING: Final = 1e-15
"""A smaller part of the largest number is below what floats can tell apart: no round improves on it."""


class Chain(NamedTuple):
    """A Markov chain by counts. State numbers count from 0.

    `starts` are walks that begin in a state, `edges[a][b]` walks that go on from a to b, `passing` walks that leave a
    state in any way, `converted` those that leave it for a conversion, `value` what these conversions were worth.
    """

    starts: list[int]
    edges: list[dict[int, int]]
    passing: list[int]
    converted: list[int]
    value: list[int]


class Ends(NamedTuple):
    """Expected conversions, and their value, of all walks of a chain together."""

    conversions: float
    value: float


def ends_without_each(chain: Chain, removed: Sequence[AbstractSet[int]], work: "Work") -> list[Ends]:
    """Let every walk begin again, once for each set in `removed`; a walk that enters a state of that set ends for nothing.

    Raises TooMuch `too_much_work`.
    """
    size = len(chain.passing)
    found: list[Ends] = [Ends(0.0, 0.0)] * len(removed)
    if size <= _FEW_STATES or (size <= _FEW_PARTS and sum(map(len, removed)) <= size):
        _halve(_Passed.over(chain), list(range(len(removed))), removed, found, work)
    else:
        for number, states in enumerate(removed):
            found[number] = _count_visits(chain, states, work)
    return found


# ------------------------------------------------------------------ small chains


class _Passed:
    """A chain in which some states are passed over already.

    For each state that is left: `onward` the chances to go on to others, `ending` the chance to end in any way, `good` and
    `worth` the expected conversions and value before the next state that is left, `begun` the walks that begin there.
    `conversions` and `value` are of walks that meet none of the states that are left.
    """

    __slots__ = ("begun", "conversions", "ending", "good", "onward", "value", "worth")

    def __init__(
        self,
        onward: dict[int, dict[int, float]],
        ending: dict[int, float],
        good: dict[int, float],
        worth: dict[int, float],
        begun: dict[int, float],
        ends: Ends,
    ) -> None:
        self.onward, self.ending, self.good, self.worth, self.begun = onward, ending, good, worth, begun
        self.conversions, self.value = ends

    @classmethod
    def over(cls, chain: Chain) -> "_Passed":
        """The chain with every state left."""
        states = range(len(chain.passing))
        passing = chain.passing
        return cls(
            {state: {to: walks / passing[state] for to, walks in chain.edges[state].items()} for state in states},
            # Counted, not one minus the rest: a small chance to end would drown in the difference.
            {state: (passing[state] - sum(chain.edges[state].values())) / passing[state] for state in states},
            {state: chain.converted[state] / passing[state] for state in states},
            {state: chain.value[state] / passing[state] for state in states},
            {state: float(chain.starts[state]) for state in states},
            Ends(0.0, 0.0),
        )

    def copy(self) -> "_Passed":
        onward = {state: dict(row) for state, row in self.onward.items()}
        ends = Ends(self.conversions, self.value)
        return _Passed(onward, dict(self.ending), dict(self.good), dict(self.worth), dict(self.begun), ends)

    def pass_over(self, state: int, work: "Work") -> None:
        """Send on what flows through a state, however often it comes back to itself."""
        out = self.onward.pop(state)
        out.pop(state, None)
        good, worth, ending, begun = (
            self.good.pop(state), self.worth.pop(state), self.ending.pop(state), self.begun.pop(state),
        )  # fmt: skip
        leaving = sum(out.values()) + ending
        self.conversions += begun * good / leaving
        self.value += begun * worth / leaving
        shares = [(to, chance / leaving) for to, chance in out.items()]
        for to, share in shares:
            self.begun[to] += begun * share
        for before, row in self.onward.items():
            through = row.pop(state, None)
            if through is None:
                continue
            # A step here costs twice that of a round.
            work.spend(2 * len(shares) + 2)
            self.good[before] += through * good / leaving
            self.worth[before] += through * worth / leaving
            self.ending[before] += through * ending / leaving
            for to, share in shares:
                row[to] = row.get(to, 0.0) + through * share


def _halve(
    passed: _Passed, questions: list[int], removed: Sequence[AbstractSet[int]], found: list[Ends], work: "Work"
) -> None:
    """Pass over what none of the questions takes out, then go on with each half of them."""
    asked = set().union(*[removed[question] for question in questions])
    for state in [state for state in passed.onward if state not in asked]:
        passed.pass_over(state, work)
    if len(questions) == 1:
        found[questions[0]] = Ends(passed.conversions, passed.value)
    elif questions:
        middle = len(questions) // 2
        work.spend(sum(map(len, passed.onward.values())))
        _halve(passed.copy(), questions[:middle], removed, found, work)
        _halve(passed, questions[middle:], removed, found, work)


# ------------------------------------------------------------------ large chains


def _count_visits(chain: Chain, removed: AbstractSet[int], work: "Work") -> Ends:
    """Count visits in rounds, states in the order of their first walk, until the rounds to come do not matter."""
    kept = [state for state in range(len(chain.passing)) if state not in removed]
    arrivals: dict[int, tuple[list[int], list[float]]] = {state: ([], []) for state in kept}
    for state in kept:
        for to, walks in chain.edges[state].items():
            if to in arrivals:
                arrivals[to][0].append(state)
                arrivals[to][1].append(walks / chain.passing[state])
    all_walks = sum(chain.starts)
    visits = [walks / all_walks for walks in chain.starts]
    rows = []
    for state, (before, chances) in arrivals.items():
        if len(before) == 1:
            # A getter of one item does not answer a tuple; a second one that weighs nothing makes it one.
            before, chances = before * 2, [chances[0], 0.0]
        if before:
            rows.append((state, visits[state], itemgetter(*before), chances))
    steps = len(chain.passing) + sum([len(chances) for _, _, _, chances in rows])
    change = 1.0
    while change > max(_CHANGE_MAX, _ROUNDING * max(visits)):
        work.spend(steps)
        change = 0.0
        for state, begun, pick, chances in rows:
            count = begun + sum(map(mul, pick(visits), chances))
            change = max(change, count - visits[state])
            visits[state] = count
    shares = [all_walks * visits[state] / chain.passing[state] for state in kept]
    return Ends(
        sum([share * chain.converted[state] for share, state in zip(shares, kept, strict=True)]),
        sum([share * chain.value[state] for share, state in zip(shares, kept, strict=True)]),
    )
