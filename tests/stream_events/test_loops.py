"""A loop survives what its steps raise, pauses as it is told, and ends when it shall."""

import asyncio
import time

import pytest

from stream_events import loops
from stream_events.loops import go_round, pause


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were asked for; none takes any time."""
    asked: list[float] = []

    async def skip(_: asyncio.Event, pause_s: float) -> None:
        asked.append(pause_s)

    monkeypatch.setattr(loops, "pause", skip)
    monkeypatch.setattr(loops.random, "uniform", lambda _, most: most)
    return asked


async def test_errors_are_waited_out_ever_longer_until_a_step_works(paused: list[float]) -> None:
    stop, fates = asyncio.Event(), iter([1, 0, 0, 0, 0, 1, 0, 1])

    async def step() -> float:
        fate = next(fates, None)
        if fate is None:
            stop.set()
        elif not fate:
            raise ValueError("this one does not work")
        return 7.0

    await go_round(step, stop, failure="step_failed", backoff_s=0.1, backoff_s_max=0.5)
    assert paused == [7.0, 0.1, 0.2, 0.4, 0.5, 7.0, 0.1, 7.0, 7.0]


async def test_a_paced_loop_counts_from_the_beginning_of_a_step(paused: list[float]) -> None:
    stop = asyncio.Event()

    async def step() -> float:
        await asyncio.sleep(0.02)
        stop.set()
        return 0.1

    await go_round(step, stop, failure="step_failed", paced=True)
    assert 0 < paused[0] <= 0.081


async def test_being_cancelled_is_no_error_to_survive() -> None:
    async def step() -> float:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await go_round(step, asyncio.Event(), failure="step_failed")


async def test_a_pause_ends_with_the_loop_and_one_of_nothing_lets_others_in() -> None:
    stop, began = asyncio.Event(), time.monotonic()
    asyncio.get_running_loop().call_soon(stop.set)
    await pause(stop, 0.0)
    assert stop.is_set()
    await pause(stop, 60.0)
    assert time.monotonic() - began < 5
