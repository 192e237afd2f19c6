"""Who goes on air next, tried on thousands of nights that never touch a database."""

import itertools
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.alerts.choosing import (
    BURST_WINDOW_S,
    Candidate,
    Next,
    Overflow,
    Pile,
    Rules,
    Ruling,
    Waiting,
    choose,
    is_burst,
    overflow,
    ruling,
)

AT = datetime(2026, 11, 26, 20, 0, tzinfo=UTC)
RULES = Rules(show_ms=6_000, hold_s=30, hold_said_s=300, burst_per_s=2, waiting_max=50, merges=True)
SECOND = timedelta(seconds=1)


def pile(count: int, *, sku: str = "A", fresh: int = 0, age_s: int = 0) -> Pile:
    return Pile(sku, count, fresh, AT - age_s * SECOND)


@pytest.mark.parametrize(
    ("rules", "waiting", "burst"),
    [
        (RULES, Waiting([], 9), False),
        (RULES, Waiting([pile(1)], 0), False),
        # Four in the last two seconds are two a second, five are more.
        (RULES, Waiting([pile(4, fresh=4)], 0), False),
        (RULES, Waiting([pile(3, fresh=3), pile(2, sku="B", fresh=2)], 0), True),
        # The fifth of five would begin after 24 s; older than six seconds by now, it would come too late.
        (RULES, Waiting([pile(5, age_s=5)], 0), False),
        (RULES, Waiting([pile(5, age_s=6)], 0), True),
        # Turns come in between.
        (RULES, Waiting([pile(3, age_s=0)], 2), False),
        (RULES, Waiting([pile(3, age_s=0)], 3), True),
        (replace(RULES, waiting_max=3, show_ms=2_000), Waiting([pile(2)], 2), True),
        (replace(RULES, merges=False), Waiting([pile(200, fresh=200)], 0), False),
    ],
)
def test_a_burst_is_what_cannot_be_shown_one_by_one(
    rules: Rules, waiting: Waiting, burst: bool
) -> None:
    assert is_burst(rules, waiting, AT) is burst


def test_lanes_alternate_while_both_wait() -> None:
    waiting = Waiting([pile(100, fresh=100), pile(1, sku="B", age_s=1)], 3)
    assert choose(RULES, waiting, None, AT) == Next("turn")
    assert choose(RULES, waiting, "ordinary", AT) == Next("turn")
    assert choose(RULES, waiting, "turn", AT) == Next("ordinary", "B")
    assert choose(RULES, replace(waiting, turns=0), "ordinary", AT) == Next("ordinary", "B")
    assert choose(RULES, Waiting([pile(9, fresh=9)], 0), None, AT) == Next("ordinary", "A", True)
    assert choose(RULES, Waiting([], 1), "turn", AT) == Next("turn")
    assert choose(RULES, Waiting([], 0), "turn", AT) is None


def test_what_overflows() -> None:
    off = replace(RULES, merges=False, waiting_max=10)
    assert overflow(off, Waiting([pile(8)], 2)) == Overflow()
    assert overflow(off, Waiting([pile(8)], 5)) == Overflow(oldest=3)
    assert overflow(off, Waiting([pile(2)], 15)) == Overflow(oldest=2, newest_turns=5)
    few = replace(RULES, waiting_max=2)
    assert overflow(few, Waiting([pile(5_000)], 1)) == Overflow()
    three = [pile(9), pile(5, sku="B", age_s=2), pile(7, sku="C", age_s=1)]
    assert overflow(few, Waiting(three, 1)) == Overflow(skus=("B", "C"))
    assert overflow(few, Waiting(three, 4)) == Overflow(skus=("B", "C", "A"), newest_turns=2)


def _one(**given: object) -> Candidate:
    fields = {"alert_id": 1, "large": False, "said": False, "paid_at": AT, "display": "ANONYMOUS"}
    return Candidate(**{**fields, "has_words": False, "refunded": False, **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "after_s", "expected"),
    [
        (_one(), 1, None),
        (
            _one(refunded=True, display="SHOWN", has_words=True, said=True),
            1,
            ("DROPPED", "refunded"),
        ),
        (_one(display="PENDING_REVIEW", has_words=True), 299, ("REVIEW", None)),
        (_one(display="PASSED", has_words=True), 299, ("REVIEW", None)),
        (_one(display="PASSED", has_words=True), 300, None),
        (_one(display="SHOWN", has_words=False), 1, None),
        (_one(display="SHOWN", has_words=True), 20, ("WAITING", None)),
        (_one(display="SHOWN", has_words=True, said=True), 20, None),
        (_one(display="HIDDEN", has_words=True, said=True), 29, ("WAITING", None)),
        (_one(display="HIDDEN", has_words=True, said=True), 30, ("DROPPED", "hidden")),
        (_one(display="ANONYMOUS", said=True), 30, ("DROPPED", "hidden")),
    ],
)
def test_what_changed_since_it_was_queued(
    one: Candidate, after_s: int, expected: tuple[str, str | None] | None
) -> None:
    at = AT + after_s * SECOND
    found = ruling(RULES, one, at)
    assert (None if found is None else (found.state, found.reason)) == expected
    if found == Ruling("WAITING", True, at):
        # Approved at last: it waits anew, with its words, and is fine the next time.
        assert ruling(RULES, one._replace(said=True), at) is None


@dataclass
class _Waits:
    id: int
    since: datetime
    sku: str | None  # None has a turn of its own


@settings(max_examples=400, deadline=None)
@given(
    arrivals=st.lists(
        st.tuples(st.integers(0, 60), st.sampled_from(["A", "B", "C", "", None])), max_size=120
    ),
    show_s=st.integers(2, 20),
    hold_s=st.integers(5, 60),
    burst_per_s=st.integers(1, 10),
    waiting_max=st.integers(1, 60),
    merges=st.booleans(),
)
def test_every_night_adds_up(
    arrivals: list[tuple[int, str | None]],
    show_s: int,
    hold_s: int,
    burst_per_s: int,
    waiting_max: int,
    merges: bool,
) -> None:
    rules = Rules(show_s * 1000, hold_s, hold_s, burst_per_s, waiting_max, merges)
    coming = sorted(
        (_Waits(n, AT + s * SECOND, sku) for n, (s, sku) in enumerate(arrivals)),
        key=lambda one: (one.since, one.id),
    )
    queue: list[_Waits] = []
    fate: Counter[int] = Counter()
    last: str | None = None
    at, free_at, idle_for = AT, AT, 0
    lanes: list[tuple[str, bool, bool]] = []
    while coming or queue:
        while coming and coming[0].since <= at:
            queue.append(coming.pop(0))
        for one in [one for one in queue if one.since <= at - hold_s * SECOND]:
            queue.remove(one)
            fate[one.id] += 1
        if at >= free_at:
            waiting = _waiting(queue, at)
            for one in _over(overflow(rules, waiting), queue):
                queue.remove(one)
                fate[one.id] += 1
            waiting = _waiting(queue, at)
            entries = len(waiting.piles) if merges else waiting.ordinary
            assert entries + waiting.turns <= waiting_max
            following = choose(rules, waiting, last, at)
            assert (following is None) == (not queue)
            if following is not None:
                taken = _taken(following, queue)
                assert taken
                if following.lane == "turn":
                    assert len(taken) == 1
                assert merges or len(taken) == 1
                lanes.append((following.lane, bool(waiting.ordinary), bool(waiting.turns)))
                for one in taken:
                    assert at < one.since + hold_s * SECOND
                    queue.remove(one)
                    fate[one.id] += 1
                last, free_at = following.lane, at + show_s * SECOND
        at += SECOND
        idle_for += 1
        assert idle_for < 1_000
    assert fate == Counter(range(len(arrivals)))
    # Neither lane is passed over twice in a row while somebody waits in it.
    for before, now in itertools.pairwise(lanes):
        if before[0] == now[0]:
            assert not (now[1] and now[2])


def _waiting(queue: list[_Waits], at: datetime) -> Waiting:
    piles = []
    for sku in sorted({one.sku for one in queue if one.sku is not None}):
        own = [one.since for one in queue if one.sku == sku]
        fresh = sum(since > at - BURST_WINDOW_S * SECOND for since in own)
        piles.append(Pile(sku, len(own), fresh, min(own)))
    return Waiting(piles, sum(one.sku is None for one in queue))


def _over(over: Overflow, queue: list[_Waits]) -> list[_Waits]:
    ordinary = [one for one in queue if one.sku is not None]
    turns = [one for one in queue if one.sku is None]
    gone = ordinary[: over.oldest] + [one for one in ordinary if one.sku in over.skus]
    return gone + (turns[-over.newest_turns :] if over.newest_turns else [])


def _taken(following: Next, queue: list[_Waits]) -> list[_Waits]:
    own = [one for one in queue if one.sku == following.sku]
    return own if following.merged else own[:1]
