"""Many callers, one round trip: the one trick that the speed of the gate and the writer rests on.

Callers ``await batch.add(item)``; long-lived tasks take what has gathered, work on all of it at once and resolve
the futures. Batches form while the previous one is in flight, so latency adapts by itself. Callers never own a
connection: when one is cancelled its item is still worked on, and only its answer is dropped.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

Work = Callable[[Sequence[Item]], Awaitable[Sequence[Result | BaseException]]]


class QueueFull(Exception):  # noqa: N818 - a state of the queue, refused before anything was done.
    """The queue holds ``queue_max`` items already; nothing was added."""


class Closed(Exception):  # noqa: N818 - a state of the batch, not a mistake of the caller.
    """The batch was closed before the item's turn came; nothing was done for it."""


class Batch(Generic[Item, Result]):
    """Gather items into calls of ``work``: at most ``batch_max`` a call, ``flights_max`` calls at a time.

    ``work`` returns one result an item, in order; a result that is an exception is raised to its caller. An
    exception out of ``work`` itself is raised to every caller of that call.
    """

    def __init__(
        self, work: Work[Item, Result], *, batch_max: int, queue_max: int, flights_max: int = 1
    ) -> None:
        self._work = work
        self._batch_max = batch_max
        self._queue_max = queue_max
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._flights = [asyncio.create_task(self._fly()) for _ in range(flights_max)]

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, item: Item) -> asyncio.Future[Result]:
        """Queue ``item``; the future resolves to its result. Raises ``QueueFull`` or ``Closed``."""
        if self._closed:
            raise Closed
        if len(self._waiting) >= self._queue_max:
            raise QueueFull
        future: asyncio.Future[Result] = self._loop.create_future()
        self._waiting.append((item, future))
        self._wake.set()
        return future

    async def close(self) -> None:
        """Work off what is queued, then stop. New items are refused from now on."""
        self._closed = True
        self._wake.set()
        await asyncio.gather(*self._flights)

    async def _fly(self) -> None:
        while True:
            while not self._waiting:
                if self._closed:
                    return
                self._wake.clear()
                await self._wake.wait()
            taken = [
                self._waiting.popleft() for _ in range(min(self._batch_max, len(self._waiting)))
            ]
            try:
                results = await self._work([item for item, _ in taken])
            except Exception as error:  # noqa: BLE001 - handed to every caller of this call, none is lost.
                results = [error] * len(taken)
            for (_, future), result in zip(taken, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, BaseException):
                    future.set_exception(result)
                else:
                    future.set_result(result)
