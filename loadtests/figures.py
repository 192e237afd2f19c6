"""What a crowd counts and times, and how its figures are told: counts, and percentiles of all samples, not of a few."""

from array import array
from collections import Counter
from collections.abc import Iterable


class Samples:
    """Times in milliseconds, all of them kept: eight bytes each."""

    def __init__(self) -> None:
        self._ms = array("d")

    def __len__(self) -> int:
        return len(self._ms)

    def add(self, ms: float) -> None:
        """Keep one time."""
        self._ms.append(ms)

    def percentile(self, percent: int) -> float | None:
        """Return the time that so many percent of samples do not exceed (nearest rank); None without samples."""
        if not self._ms:
            return None
        ordered = sorted(self._ms)
        rank = -(-len(ordered) * percent // 100)
        return round(ordered[max(rank, 1) - 1], 3)


class Figures:
    """What happened to the crowd's order requests."""

    def __init__(self) -> None:
        self.attempts = 0
        """Keys of their own: repeats of a key after a lost answer are not counted here."""
        self.repeats = 0
        self.acknowledged = 0
        self.placed_units = 0
        self.by_status: Counter[str] = Counter()
        self.by_code: Counter[str] = Counter()
        self.ack = Samples()
        self.refused = Samples()
        self.started_at: float | None = None
        self.sold_out_at: float | None = None
        self.placed_before_sold_out = 0

    @property
    def seconds_to_sell_out(self) -> float | None:
        """From the first request to the durable answer that emptied the stock."""
        if self.started_at is None or self.sold_out_at is None:
            return None
        return round(self.sold_out_at - self.started_at, 3)

    @property
    def orders_per_second(self) -> float | None:
        """Durable orders a second until the stock was empty."""
        seconds = self.seconds_to_sell_out
        return round(self.placed_before_sold_out / seconds, 1) if seconds else None

    def as_json(self) -> dict[str, object]:
        """Return the figures of placing."""
        return {
            "attempts": self.attempts,
            "repeats": self.repeats,
            "acknowledged": self.acknowledged,
            "placed_units": self.placed_units,
            "seconds_to_sell_out": self.seconds_to_sell_out,
            "orders_per_second": self.orders_per_second,
            "ack_ms_p50": self.ack.percentile(50),
            "ack_ms_p99": self.ack.percentile(99),
            "refused_ms_p50": self.refused.percentile(50),
            "refused_ms_p99": self.refused.percentile(99),
            "by_status": dict(self.by_status),
            "by_code": dict(self.by_code),
        }


def median(values: Iterable[float]) -> float:
    """Return the middle value of an odd number of them, or the lower middle one."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2]
