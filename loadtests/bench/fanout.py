"""The fan-out bench: one frame to every viewer, what a message costs the server, and how many viewers a core carries.

Server and viewers are processes of their own, on cores of their own where there are two. All servers are up with their
viewers during the whole run, and take turns. A run counts only if every viewer has the last version at its end.
"""

import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis

from loadtests.bench import broadcasters, processes
from loadtests.bench.broadcasters import FRAME_BYTES, Broadcaster, Cores, frame
from loadtests.bench.contenders import WrongRun
from loadtests.bench.cpu import exact_cpu_s, resident_kib
from loadtests.bench.machine import machine
from loadtests.figures import median

VIEWERS: Final = 1_000
HZ: Final = 10
# A group in Channels takes fewer and slower: with more it would only be measured falling behind.
OTHER_LOADS: Final = {"channels": (500, 5)}
SCALING_HZ: Final = 5
SCALING: Final = (2_000, 4_000, 6_000, 8_000, 10_000, 12_000, 14_000, 16_000, 18_000)
DELAY_MS_MAX: Final = 250.0
CONNECT_AT_ONCE: Final = 250
CLIENT_BOUND: Final = 0.95
SETTLE_S_MAX: Final = 15.0
IDLE_S: Final = 1.0
DESCRIPTORS_SPARE: Final = 200
BENCH_S_MAX: Final = 900.0

AT_LEAST: Final = {
    "of_send_limit": 0.70,
    "over_starlette": 1.8,
    "over_channels": 20.0,
    "viewers_per_core": 10_000.0,
}
AT_MOST: Final = {"kib_per_viewer": 20.0}

MEASURED: Final = {
    "messages_per_cpu_s": "frames that viewers received, by the CPU seconds of the server's own processes",
    "viewers_per_core": (
        f"the most viewers of our gateway that all got {SCALING_HZ} frames a second with a p99 from when a frame was"
        f" due to its receipt under {DELAY_MS_MAX:.0f} ms"
    ),
    "kib_per_viewer": "growth of the server's resident memory while viewers connect, by their number",
    "send_limit": "a loop in Python that send()s a ready-made frame to every socket, and nothing else",
    "ours": "the gateway of a deployment, told by Redis; peers are told on standard input, which costs them less",
}


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of one server measured."""

    viewers: int
    hz: int
    messages: int
    cpu_s: float
    delay_ms_p50: float
    delay_ms_p99: float
    client_cpu: float

    @property
    def per_cpu_s(self) -> float:
        """Messages that a CPU second of the server brought to viewers."""
        return self.messages / self.cpu_s


@dataclass(slots=True)
class Watched:
    """A server, the process that holds its viewers, and what is known of both."""

    server: Broadcaster
    client: asyncio.subprocess.Process
    viewers: int = 0
    version: int = 0
    first_kib: float | None = None
    frame_bytes: int = FRAME_BYTES
    runs: list[Run] = field(default_factory=list)

    async def let_in(self, count: int) -> None:
        """Let so many more viewers in; of the first it is seen what each took of the server's memory."""
        await asyncio.sleep(IDLE_S)
        before = resident_kib(self.server.pid)
        until = self.viewers + count
        while self.viewers < until:
            more = min(CONNECT_AT_ONCE, until - self.viewers)
            answer = await self._ask(
                do="connect",
                port=self.server.port,
                path=self.server.path,
                protocol=self.server.protocol,
                first=await self.server.first(),
                count=more,
            )
            self.viewers = answer["connected"]
        await asyncio.sleep(IDLE_S)
        if self.first_kib is None:
            self.first_kib = (resident_kib(self.server.pid) - before) / count

    async def run(self, hz: int, seconds: float) -> Run:
        """Publish at ``hz`` for so long, in an open loop, and check that every viewer has the last version."""
        await self._publish(hz, 1.0)
        await self._settle()
        await self._ask(do="reset")
        cpu_before = exact_cpu_s(self.server.pid)
        await self._publish(hz, seconds)
        seen = await self._settle()
        cpu_s = exact_cpu_s(self.server.pid) - cpu_before
        delay = seen["delay_ms"]
        done = Run(self.viewers, hz, seen["messages"], cpu_s, delay["50"], delay["99"], seen["cpu"])
        self.runs.append(done)
        return done

    async def _publish(self, hz: int, seconds: float) -> None:
        began, began_ns = time.monotonic(), time.time_ns()
        for tick in range(int(hz * seconds)):
            due = began + tick / hz
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self.version += 1
            due_ns = began_ns + int(tick / hz * 1e9)
            text = frame(self.version, due_ns, self.frame_bytes)
            await self.server.publish(text)
        await asyncio.sleep(1 / hz)

    async def _settle(self) -> dict[str, Any]:
        """Wait until every viewer has the last version; the first look is the one that counts for the client's CPU."""
        ends, cpu = time.monotonic() + SETTLE_S_MAX, None
        while True:
            seen = await self._ask(do="tell")
            cpu = seen["cpu"] if cpu is None else cpu
            if seen["have_newest"] == self.viewers and seen["newest"] == self.version:
                return seen | {"cpu": cpu}
            if time.monotonic() > ends or seen["lost"]:
                raise WrongRun(
                    f"{self.server.name}: {seen['have_newest']} of {self.viewers} viewers have"
                    f" version {seen['newest']} of {self.version}, {seen['lost']} were lost"
                )
            await asyncio.sleep(0.1)

    async def _ask(self, **command: Any) -> dict[str, Any]:
        assert self.client.stdin is not None
        assert self.client.stdout is not None
        self.client.stdin.write(json.dumps(command).encode() + b"\n")
        line = await self.client.stdout.readline()
        if not line:
            raise WrongRun(f"{self.server.name}: its viewers' process ended")
        answer: dict[str, Any] = json.loads(line)
        return answer


async def fanout(
    rounds: int, seconds: float, scaling: Sequence[int], only: Sequence[str]
) -> dict[str, Any]:
    """Run the bench and return its report; raises ``WrongRun`` for a run after which somebody has an old frame."""
    about = machine()
    descriptors = raise_descriptors()
    cores = Cores.chosen()
    commands, missing = await broadcasters.commands_of_peers(only)
    cores.for_others()
    async with asyncio.timeout(BENCH_S_MAX), AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        urls = await stack.enter_async_context(processes.engines(folder))
        redis = Redis.from_url(urls["redis_url"])
        stack.push_async_callback(redis.aclose)
        servers = [await stack.enter_async_context(broadcasters.ours(folder, urls, redis, cores))]
        for name, command in commands.items():
            peer = broadcasters.peer(name, command, folder, urls, cores)
            servers.append(await stack.enter_async_context(peer))
        field_ = [await stack.enter_async_context(watched(server)) for server in servers]
        for each in field_:
            await each.let_in(load_of(each)[0])
        for number in range(rounds):
            for each in field_:
                _tell(
                    f"round {number + 1}/{rounds}", each, await each.run(load_of(each)[1], seconds)
                )
        levels = [count for count in scaling if count <= descriptors - DESCRIPTORS_SPARE]
        steps, bound = await scale(field_[0], levels, seconds)
    about["load_average_after"] = [round(load, 2) for load in os.getloadavg()]
    about["pinned"] = bool(cores.server)
    return report(about, field_, missing, steps, bound or f"descriptors: {descriptors}")


@asynccontextmanager
async def watched(server: Broadcaster) -> AsyncIterator[Watched]:
    """Give a server a process full of viewers, empty at first."""
    client = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "loadtests.bench.receivers",
        cwd=processes.ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Watched(server, client)
    finally:
        if client.returncode is None:
            client.kill()
        await client.wait()


async def scale(
    ours: Watched, levels: Sequence[int], seconds: float
) -> tuple[list[Run], str | None]:
    """Raise our viewers until a frame comes too late; returns the runs, and what was the limit if one was met."""
    steps: list[Run] = []
    for level in levels:
        await ours.let_in(level - ours.viewers)
        run = await ours.run(SCALING_HZ, seconds)
        _tell("scaling", ours, run)
        steps.append(run)
        if run.delay_ms_p99 >= DELAY_MS_MAX:
            return steps, "the client" if run.client_cpu >= CLIENT_BOUND else "the server"
    return steps, None


def load_of(each: Watched) -> tuple[int, int]:
    """Return how many viewers a server has in the rounds, and how many frames a second."""
    return OTHER_LOADS.get(each.server.name, (VIEWERS, HZ))


def raise_descriptors() -> int:
    """Let this process and all it starts open as many sockets as the machine allows; returns how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 65_536 if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


def report(
    about: dict[str, Any],
    field_: Sequence[Watched],
    missing: dict[str, str],
    steps: Sequence[Run],
    bound: str,
) -> dict[str, Any]:
    """Return medians, ratios and what was met; what could not be measured is named with the reason, and not met."""
    rounds = {each.server.name: each.runs[: len(field_[1].runs)] for each in field_}
    rate = {name: median(run.per_cpu_s for run in runs) for name, runs in rounds.items()}
    ratios: dict[str, float] = {"of_send_limit": rate["ours"] / rate["send_limit"]}
    ratios |= {
        f"over_{name}": rate["ours"] / rate[name]
        for name in rate
        if name not in ("ours", "send_limit")
    }
    good = [run.viewers for run in steps if run.delay_ms_p99 < DELAY_MS_MAX]
    viewers_per_core = float(max(good, default=0))
    kib = {each.server.name: each.first_kib or 0.0 for each in field_}
    results = {
        "viewers_per_core": viewers_per_core,
        "viewers_bound": bound,
        "kib_per_viewer": round(kib["ours"], 1),
        "kib_per_viewer_of": {name: round(value, 1) for name, value in kib.items()},
        "messages_per_cpu_s": {name: round(value) for name, value in rate.items()},
        "us_per_message": {name: round(1e6 / value, 2) for name, value in rate.items()},
        "rounds": {name: [asdict(run) for run in runs] for name, runs in rounds.items()},
        "scaling": [asdict(run) for run in steps],
        "client_bound": [
            f"{name} {run.viewers}x{run.hz}"
            for name, runs in (*rounds.items(), ("scaling", steps))
            for run in runs
            if run.client_cpu >= CLIENT_BOUND
        ],
        "not_measured": missing,
        "measured": MEASURED,
    }
    targets = {name: {"at_least": bound_} for name, bound_ in AT_LEAST.items()}
    targets |= {name: {"at_most": bound_} for name, bound_ in AT_MOST.items()}
    figures = ratios | {"viewers_per_core": viewers_per_core, "kib_per_viewer": kib["ours"]}
    met = {
        name: name in figures
        and (
            figures[name] >= target["at_least"]
            if "at_least" in target
            else figures[name] <= target["at_most"]
        )
        for name, target in targets.items()
    }
    return {
        "name": "fanout",
        "machine": about,
        "results": results,
        "ratios": {name: round(ratio, 2) for name, ratio in ratios.items()},
        "targets": targets,
        "met": met,
    }


def _tell(what: str, each: Watched, run: Run) -> None:
    print(
        f"{what}: {each.server.name} {run.viewers} viewers at {run.hz} Hz:"
        f" {1e6 / run.per_cpu_s:.1f} us a message, p99 {run.delay_ms_p99:.0f} ms,"
        f" client {run.client_cpu:.2f}",
        flush=True,
    )
