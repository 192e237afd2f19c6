"""Who goes on air next, decided from plain values: no clock, no SQL, so that thousands of nights can be tried.

Two lanes wait in each group. *Ordinary* alerts may be merged into a burst of one product. A *turn* of its own has
whoever has approved words, a large gift, or staff with a test; those are never merged and go first in, first out.
While both wait they alternate, so neither can starve.

It is a **burst** when one of these holds for the ordinary ones that wait:

* more than ``burst_per_s`` × ``BURST_WINDOW_S`` of them began to wait within the last ``BURST_WINDOW_S`` seconds;
* shown one by one, between turns, the last might come after its hold time;
* with the turns they are more than ``waiting_max``.

Then the product whose oldest has waited longest goes on air with all of its that wait. With merging off they come
one by one, whatever is lost.

What overflows ``waiting_max`` is dropped: with merging off the oldest ordinary ones; with merging, where a product is
one entry however many wait in it, the products that wait longest; and if the turns alone are too many, the newest of
them, so that those who wait keep their turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

BURST_WINDOW_S: Final = 2

ORDINARY: Final = "ordinary"
TURN: Final = "turn"
UNDER_REVIEW: Final = frozenset({"PENDING_REVIEW", "PASSED"})


@dataclass(frozen=True, slots=True)
class Rules:
    """What a group is set to, as far as the choice depends on it."""

    show_ms: int
    hold_s: int
    hold_said_s: int
    burst_per_s: int
    waiting_max: int
    merges: bool

    def hold(self, *, said: bool) -> timedelta:
        """Return how long an alert may wait before it is too old to be shown."""
        return timedelta(seconds=self.hold_said_s if said else self.hold_s)


@dataclass(frozen=True, slots=True)
class Pile:
    """The ordinary alerts of one product that wait: how many, how many of them newly, and since when the oldest."""

    sku: str
    count: int
    fresh: int
    oldest: datetime


@dataclass(frozen=True, slots=True)
class Waiting:
    """All that may go on air now: nothing in it is too old."""

    piles: Sequence[Pile]
    turns: int

    @property
    def ordinary(self) -> int:
        """How many ordinary alerts wait."""
        return sum(pile.count for pile in self.piles)


@dataclass(frozen=True, slots=True)
class Next:
    """What to put on air: the first turn, the oldest ordinary alert of a product, or all of that product."""

    lane: Literal["ordinary", "turn"]
    sku: str | None = None
    merged: bool = False


@dataclass(frozen=True, slots=True)
class Overflow:
    """What to drop: so many of the oldest ordinary, all of these products, so many of the newest turns."""

    oldest: int = 0
    skus: tuple[str, ...] = ()
    newest_turns: int = 0


def is_burst(rules: Rules, waiting: Waiting, at: datetime) -> bool:
    """Return whether those who wait are too many to be shown one by one."""
    ordinary = waiting.ordinary
    if not rules.merges or not ordinary:
        return False
    rushing = sum(pile.fresh for pile in waiting.piles) > rules.burst_per_s * BURST_WINDOW_S
    full = ordinary + waiting.turns > rules.waiting_max
    before_last = ordinary - 1 + min(waiting.turns, ordinary)
    oldest = min(pile.oldest for pile in waiting.piles)
    last_at = at + timedelta(milliseconds=rules.show_ms * before_last)
    return rushing or full or last_at - oldest >= rules.hold(said=False)


def choose(rules: Rules, waiting: Waiting, last_lane: str | None, at: datetime) -> Next | None:
    """Return who is next, or None when nobody waits."""
    if waiting.turns and (not waiting.piles or last_lane != TURN):
        return Next("turn")
    if not waiting.piles:
        return None
    pile = min(waiting.piles, key=lambda one: (one.oldest, one.sku))
    return Next("ordinary", pile.sku, pile.count > 1 and is_burst(rules, waiting, at))


def overflow(rules: Rules, waiting: Waiting) -> Overflow:
    """Return what no longer fits into the queue."""
    entries = len(waiting.piles) if rules.merges else waiting.ordinary
    excess = entries + waiting.turns - rules.waiting_max
    if excess <= 0:
        return Overflow()
    gone = min(excess, entries)
    if not rules.merges:
        return Overflow(oldest=gone, newest_turns=excess - gone)
    longest = sorted(waiting.piles, key=lambda pile: (pile.oldest, pile.sku))[:gone]
    return Overflow(skus=tuple(pile.sku for pile in longest), newest_turns=excess - gone)


class Candidate(NamedTuple):
    """An alert about to go on air, as its order stands at this moment."""

    alert_id: int
    large: bool
    said: bool
    paid_at: datetime
    display: str
    has_words: bool
    refunded: bool


class Ruling(NamedTuple):
    """Where an alert goes instead of on air. ``reason`` is why it is dropped."""

    state: Literal["WAITING", "REVIEW", "DROPPED"]
    said: bool
    since: datetime
    reason: str | None = None


def ruling(rules: Rules, one: Candidate, at: datetime) -> Ruling | None:
    """Return why an alert cannot go on air as it was about to; None when it can.

    Between its payment and its turn the order may be refunded, its words approved, changed, hidden or erased.
    """
    if one.refunded:
        return Ruling("DROPPED", said=False, since=one.paid_at, reason="refunded")
    if one.display in UNDER_REVIEW and at < one.paid_at + rules.hold(said=True):
        return Ruling("REVIEW", said=False, since=one.paid_at)
    says = one.display == "SHOWN" and one.has_words
    if says == one.said:
        return None
    if says:
        return Ruling("WAITING", said=True, since=at)
    if at < one.paid_at + rules.hold(said=False):
        return Ruling("WAITING", said=False, since=one.paid_at)
    return Ruling("DROPPED", said=False, since=one.paid_at, reason="hidden")
