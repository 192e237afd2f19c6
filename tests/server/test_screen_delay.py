"""A payment is timed from the books to each screen, whatever frames a viewer was spared."""

from collections import Counter

from server.screen_delay import delays_of, percentile, screen_delay
from stream_events.database import Database

POSTED = {1: 1_000, 2: 1_010, 4: 1_100, 9: 2_000}


def test_every_payment_counts_for_every_viewer_at_the_first_total_that_has_it() -> None:
    # Two viewers see 1 and 2 in one frame; one of them is spared the frame of 4 and sees it with 9. Number 3 is no payment.
    steps = [(0, 2, [(1_200, 1), (1_250, 1)]), (2, 4, [(1_300, 1)]), (4, 9, [(2_050, 1)])]
    steps.append((2, 9, [(2_060, 1)]))
    expected = {200: 2, 250: 1, 190: 1, 240: 1, 960: 1, 50: 1, 60: 1}
    assert delays_of(POSTED, steps) == expected


def test_percentiles_are_of_all_delays() -> None:
    delays = Counter({10: 98, 400: 1, 900: 1})
    assert [percentile(delays, percent) for percent in (50, 98, 99, 100)] == [10, 10, 400, 900]
    assert percentile(Counter(), 99) is None


async def test_the_books_are_asked_for_payments_only(database: Database) -> None:
    async with database.begin() as sql:
        told = await screen_delay(sql, "str_nobody", [(0, 9, [(1, 1)])], 3)
    assert told == {
        "commit_to_screen_ms_p50": None,
        "commit_to_screen_ms_p99": None,
        "commit_to_screen_met": False,
        "commit_to_screen_ms_max": None,
        "commit_to_screen_unseen": 0,
    }
