"""How a loop goes round: a step, a pause, and after an error ever longer pauses until a step works again.

Everything that moves while nobody is asking is such a loop. What a step returns is how long to wait before the next,
so each loop says itself what it is in a hurry for, and none says anew what becomes of an error.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import structlog

log = structlog.get_logger(__name__)

BACKOFF_S_MIN: Final = 0.1
BACKOFF_S_MAX: Final = 2.0


async def go_round(
    step: Callable[[], Awaitable[float]],
    stop: asyncio.Event,
    *,
    failure: str,
    paced: bool = False,
    backoff_s: float = BACKOFF_S_MIN,
    backoff_s_max: float = BACKOFF_S_MAX,
) -> None:
    """Take steps until ``stop``; each returns the seconds to the next, from its end or, if ``paced``, its beginning.

    Whatever a step raises is logged under ``failure`` and tried again after ``backoff_s`` seconds, at most and by lot,
    and after twice as long with each further failure.
    """
    next_backoff_s = backoff_s
    while not stop.is_set():
        began = time.monotonic()
        try:
            pause_s = await step()
        except Exception:
            log.exception(failure)
            pause_s = next_backoff_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter.
            next_backoff_s = min(backoff_s_max, 2 * next_backoff_s)
        else:
            next_backoff_s = backoff_s
            if paced:
                pause_s -= time.monotonic() - began
        await pause(stop, pause_s)


async def pause(stop: asyncio.Event, pause_s: float) -> None:
    """Wait, but no longer than until ``stop``; others get their turn even where there is nothing to wait for."""
    if pause_s <= 0:
        await asyncio.sleep(0)
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(pause_s):
            await stop.wait()
