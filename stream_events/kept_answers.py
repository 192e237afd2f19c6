"""Public answers kept for a second, so that a crowd that asks the same at once costs one query.

Whoever asks while an answer is being made waits for that one. What was made is given out until it is too old; an
error is nobody's but those who waited for it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Final, TypeVar, cast

KEPT_S: Final = 1.0
ANSWERS_MAX: Final = 1_000

T = TypeVar("T")


class KeptAnswers:
    """Answers of one process by what was asked. ``clock_s`` is for tests."""

    def __init__(
        self,
        kept_s: float = KEPT_S,
        answers_max: int = ANSWERS_MAX,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kept_s = kept_s
        self._answers_max = answers_max
        self._clock_s = clock_s
        self._made: dict[Hashable, tuple[float, asyncio.Task[Any]]] = {}

    async def get(self, asked: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """Return the answer to ``asked``: a kept one, the one being made, or what ``make`` returns or raises."""
        now_s = self._clock_s()
        found = self._made.get(asked)
        if found is None or found[0] <= now_s:
            self._forget(now_s)
            task: asyncio.Task[Any] = asyncio.ensure_future(_awaited(make))
            found = now_s + self._kept_s, task
            self._made[asked] = found
        task = found[1]
        # Shielded: one who leaves must not take the answer from the others.
        try:
            return cast("T", await asyncio.shield(task))
        except Exception:
            if self._made.get(asked) is found:
                del self._made[asked]
            raise

    def _forget(self, now_s: float) -> None:
        """Make room: what is too old goes, and if all are fresh, the oldest."""
        if len(self._made) < self._answers_max:
            return
        for asked in [asked for asked, (until_s, _) in self._made.items() if until_s <= now_s]:
            del self._made[asked]
        while len(self._made) >= self._answers_max:
            del self._made[next(iter(self._made))]


async def _awaited(make: Callable[[], Awaitable[T]]) -> T:
    return await make()
