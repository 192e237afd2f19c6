"""The alerts of a rehearsal, chosen as the director chooses, from the sums of the earlier night's orders alone.

Nothing that anybody wrote is read for it: who is thanked is called "Rehearsal 12", and what is said is the same
sentence each time. Every choice falls at an instant that follows from the orders and the rules, not from when somebody
looked, so whoever goes on with a rehearsal puts the same alert on air.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from realtime.alerts.choosing import BURST_WINDOW_S, TURN, Pile, Rules, Waiting, choose, overflow
from realtime.topics import rfc3339, to_ms

SAYING: Final = "This is only a rehearsal. 这只是彩排。"


def invented_name(n: int) -> str:
    """Return what the ``n``-th giver of a rehearsal is called: clearly nobody."""
    return f"Rehearsal {n}"


@dataclass(frozen=True, slots=True)
class Paid:
    """An order of the earlier night: the ``n``-th, paid ``at`` an instant of the rehearsal."""

    n: int
    at: datetime
    kind: str
    sku: str | None
    units: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class GroupRules:
    """What the group of overlays is set to: what the choice depends on, and which amounts count as small and large."""

    rules: Rules
    min_minor: int
    large_minor: int
    sound: str | None


@dataclass(slots=True)
class AlertPlay:
    """One group's queue in a rehearsal, and what is on air in it. All instants are of the rehearsal."""

    group: GroupRules
    currency: str
    clock: datetime
    on_air: dict[str, Any] | None = None
    _ends_at: datetime | None = None
    _coming: deque[Paid] = field(default_factory=deque)
    _piles: dict[str, deque[Paid]] = field(default_factory=dict)
    _turns: deque[Paid] = field(default_factory=deque)
    _last_lane: str | None = None

    def take(self, paid: Paid) -> None:
        """Queue an order; they come in the order of their instants."""
        if paid.amount_minor >= self.group.min_minor:
            self._coming.append(paid)

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return sum(len(pile) for pile in self._piles.values()) + len(self._turns)

    def play_until(self, at: datetime) -> None:
        """End and put on air what is due until ``at``. All orders until then must have been taken."""
        while True:
            free_at = self._ends_at or self.clock
            if free_at > at:
                break
            self._admit(free_at)
            self.on_air = self._ends_at = None
            self.clock = free_at
            self._drop(free_at)
            if self._put_next_on_air(free_at):
                continue
            if not self._coming or self._coming[0].at > at:
                break
            self.clock = self._coming[0].at
        self._admit(at)

    def _admit(self, at: datetime) -> None:
        while self._coming and self._coming[0].at <= at:
            paid = self._coming.popleft()
            large = 0 < self.group.large_minor <= paid.amount_minor
            if large or paid.kind == "gift":
                self._turns.append(paid)
            else:
                self._piles.setdefault(paid.sku or "", deque()).append(paid)

    def _drop(self, at: datetime) -> None:
        """Drop what is too old, and what the queue has no room for."""
        rules = self.group.rules
        for sku, pile in list(self._piles.items()):
            while pile and pile[0].at + rules.hold(said=False) <= at:
                pile.popleft()
            if not pile:
                del self._piles[sku]
        while self._turns and self._turns[0].at + rules.hold(said=True) <= at:
            self._turns.popleft()
        over = overflow(rules, self._waiting(at))
        for sku in over.skus:
            del self._piles[sku]
        for _ in range(over.oldest):
            oldest = min(self._piles, key=lambda sku: (self._piles[sku][0].at, sku))
            self._piles[oldest].popleft()
            if not self._piles[oldest]:
                del self._piles[oldest]
        for _ in range(over.newest_turns):
            self._turns.pop()

    def _waiting(self, at: datetime) -> Waiting:
        fresh_from = at - timedelta(seconds=BURST_WINDOW_S)
        piles = [
            Pile(sku, len(pile), sum(paid.at > fresh_from for paid in pile), pile[0].at)
            for sku, pile in self._piles.items()
        ]
        return Waiting(piles, len(self._turns))

    def _put_next_on_air(self, at: datetime) -> bool:
        following = choose(self.group.rules, self._waiting(at), self._last_lane, at)
        if following is None:
            return False
        if following.lane == TURN:
            shown = [self._turns.popleft()]
        else:
            pile = self._piles[following.sku or ""]
            shown = list(pile) if following.merged else [pile.popleft()]
            if following.merged or not pile:
                del self._piles[following.sku or ""]
        self._last_lane = following.lane
        self._ends_at = at + timedelta(milliseconds=self.group.rules.show_ms)
        self.on_air = self._airing(shown, at, self._ends_at)
        return True

    def _airing(self, shown: list[Paid], at: datetime, ends_at: datetime) -> dict[str, Any]:
        burst, newest = len(shown) > 1, shown[-1]
        span_s = -(-(newest.at - shown[0].at) // timedelta(seconds=1))
        return {
            "id": f"air_rehearsal_{to_ms(at)}_{newest.n}",
            "kind": "burst" if burst else newest.kind,
            "name": invented_name(newest.n),
            "message": SAYING if newest.kind == "gift" and not burst else None,
            "dedication": None,
            "amount_minor": sum(paid.amount_minor for paid in shown),
            "currency": self.currency,
            "units": sum(paid.units for paid in shown),
            "sku": shown[0].sku,
            "count": len(shown),
            "within_s": max(1, span_s) if burst else 0,
            "biggest_minor": max(paid.amount_minor for paid in shown),
            "starts_at": rfc3339(at),
            "ends_at": rfc3339(ends_at),
            "shown": False,
        }

    def state(self, switches: Mapping[str, bool], *, over: bool) -> dict[str, Any]:
        """Return what the group's screens are told; panic and mute are the host's own, as in the real thing."""
        silent = over or switches["panic"] or switches["muted"]
        return {
            "group": "main",
            "on_air": None if silent else self.on_air,
            "waiting": 0 if over else self.waiting,
            "muted": switches["muted"],
            "panic": switches["panic"],
            "sound": self.group.sound,
        }
