"""Who would be thanked in a rehearsal: as many as gave that night, and nobody's name.

The largest are kept by the minute, ten of each, which is all that any window of whole minutes can show.
"""

import heapq
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from realtime.moderation.name_states import LEADERS_MAX, NEWEST_MAX
from realtime.rehearsals.alerts import invented_name

_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)

# What was given, negative the number of who gave it: of equal gifts the first stands first.
_Gift = tuple[int, int]


@dataclass(slots=True)
class Givers:
    """How many orders were paid so far, and the largest of each minute of the night."""

    count: int = 0
    _minutes: dict[datetime, list[_Gift]] = field(default_factory=dict)

    def add(self, at: datetime, amount_minor: int) -> int:
        """Count an order paid ``at`` an instant of the night; return its number."""
        self.count += 1
        largest = self._minutes.setdefault(at.replace(second=0, microsecond=0), [])
        heapq.heappush(largest, (amount_minor, -self.count))
        if len(largest) > LEADERS_MAX:
            heapq.heappop(largest)
        return self.count

    def names(self) -> dict[str, Any]:
        """Return the topic ``names``: the numbers are those of the orders."""
        first = max(1, self.count - NEWEST_MAX + 1)
        newest = [{"n": n, "name": invented_name(n)} for n in range(first, self.count + 1)]
        return {"count": self.count, "newest": newest}

    def leaders(self, position: datetime, seq: int, currency: str) -> dict[str, Any]:
        """Return the topic ``leaders`` at an instant of the night."""
        today = position.replace(hour=0, minute=0, second=0, microsecond=0)
        return {
            "seq": seq,
            "currency": currency,
            "hour": self._largest(position - _HOUR - _MINUTE),
            "today": self._largest(today - _MINUTE),
            "stream": self._largest(None),
        }

    def _largest(self, after: datetime | None) -> list[dict[str, Any]]:
        gifts = (
            gift
            for minute, largest in self._minutes.items()
            if after is None or minute > after
            for gift in largest
            if gift[0] > 0
        )
        return [
            {"name": invented_name(-number), "amount_minor": amount_minor, "orders": 1}
            for amount_minor, number in heapq.nlargest(LEADERS_MAX, gifts)
        ]
