"""One short run at full speed: so many connections, each with one request in flight, for so many seconds.

A closed loop, because capacity is asked for. The client's own CPU is measured with it: near one core, the client
is what was measured.
"""

import asyncio
import resource
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

from loadtests.bench.cpu import tree_cpu_s
from loadtests.bench.processes import Server
from loadtests.figures import Samples
from loadtests.http import Connection, Lost

WARM_UP_S: Final = 0.3
TIMEOUT_S: Final = 30.0
CLIENT_BOUND: Final = 0.9


@dataclass(slots=True)
class Run:
    """What came of a run: ``answers`` counts all, rate and times only the good ones after the warm-up.

    They count to the last of them: a slow server's may all come in one wave, when the time is nearly over.
    """

    seconds: float
    answers: Counter[int] = field(default_factory=Counter)
    timed: int = 0
    latency: Samples = field(default_factory=Samples)
    lost: Counter[str] = field(default_factory=Counter)
    client_cpu: float = 0.0
    server_cpu_s: float | None = None
    """What the server's own processes used for all answers; the engines' share is not in it."""

    @property
    def per_second(self) -> float:
        """Good answers a second."""
        return self.timed / self.seconds

    @property
    def server_cpu_us(self) -> float | None:
        """CPU of the server's own processes for an answer."""
        if self.server_cpu_s is None:
            return None
        return self.server_cpu_s * 1e6 / max(self.answers.total(), 1)


def cpu_s() -> float:
    """Return the CPU seconds that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def drive(
    server: Server,
    connections: int,
    seconds: float,
    request: Callable[[], bytes],
    *,
    good: int = 201,
) -> Run:
    """Send requests over all connections for ``seconds`` after a warm-up, and wait for the last answers.

    Goodput counts, so answers of another status than ``good`` are no part of the rate.
    """
    run = Run(seconds)
    hands = [Connection(server.address, timeout_s=TIMEOUT_S) for _ in range(connections)]
    opens = perf_counter() + WARM_UP_S + connections / 5_000
    closes = opens + seconds

    async def keep_asking(hand: Connection) -> None:
        while (now := perf_counter()) < closes:
            try:
                answer = await hand.request(request(), now)
            except Lost as lost:
                run.lost[str(lost)] += 1
                return
            run.answers[answer.status] += 1
            if answer.status == good and (at := perf_counter()) >= opens:
                run.timed += 1
                run.seconds = max(seconds, at - opens)
                run.latency.add(answer.ms)

    async def watch_cpu() -> None:
        await asyncio.sleep(opens - perf_counter())
        before, at = cpu_s(), perf_counter()
        await asyncio.sleep(closes - at)
        run.client_cpu = (cpu_s() - before) / (perf_counter() - at)

    used_s = tree_cpu_s(server.pid)
    await asyncio.gather(watch_cpu(), *(keep_asking(hand) for hand in hands))
    after_s = tree_cpu_s(server.pid)
    if used_s is not None and after_s is not None:
        run.server_cpu_s = after_s - used_s
    for hand in hands:
        hand.close()
    return run
