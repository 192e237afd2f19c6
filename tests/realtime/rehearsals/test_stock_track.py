"""A replayed offer took as long to sell out as it did that night, from its own opening and however fast it is played."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from realtime.rehearsals.night import StockTrack

BEGAN = datetime(2026, 11, 22, 12, tzinfo=UTC)
SPAN = timedelta(milliseconds=100)


def move(stock_id: int, span: int, **changes: int) -> Any:
    return SimpleNamespace(
        **{"stock_id": stock_id, "span": span, "total": 0, "reserved": 0, "sold": 0, **changes}
    )


def test_each_offer_tells_its_own_time_until_units_come_back() -> None:
    items = {
        n: {"sku": f"S{n}", "total": 5, "reserved": 0, "sold": 0} | {"total": 0 if n == 3 else 5}
        for n in (1, 2, 3)
    }
    moves = [
        move(1, 300, reserved=5),
        move(2, 400, sold=5),
        move(1, 500, reserved=-5, sold=5),
        move(2, 600, sold=-1),
    ]
    opened = {1: BEGAN - timedelta(days=1), 2: BEGAN + timedelta(seconds=10), 3: BEGAN}
    track = StockTrack(BEGAN, SPAN, items, moves, opened)

    def told(after_s: float) -> list[int | None]:
        track.play_until(BEGAN + timedelta(seconds=after_s))
        return [state["sold_out_in_ms"] for state in track.states()]

    assert told(29) == [None, None, None]
    assert told(55) == [30_000, 30_000, None]
    assert told(61) == [30_000, None, None]
