"""The processes of a deployment on one machine: started in order, restarted when they die, stopped cleanly.

The HTTP socket is opened here and inherited, so that while an API process is being replaced its clients wait in
the backlog instead of being refused. Children end by themselves when this process is gone.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog

from server.settings import Settings

log = structlog.get_logger(__name__)

BACKLOG = 4096
STOP_S = 12.0
BACKOFF_S_MAX = 5.0
STEADY_S = 10.0


class Child:
    """One child process that should always run."""

    def __init__(
        self, name: str, arguments: Sequence[str], settings: Settings, fds: tuple[int, ...]
    ) -> None:
        self.name = name
        self._command = [sys.executable, "-m", *arguments]
        self._environment = settings.resolved_environment()
        self._fds = fds
        self.process: asyncio.subprocess.Process | None = None
        self._stopping = False

    async def keep_running(self) -> None:
        """Run the child, again and again, until ``stop``."""
        backoff_s = 0.05
        while not self._stopping:
            started = asyncio.get_running_loop().time()
            self.process = await asyncio.create_subprocess_exec(
                *self._command,
                env=self._environment,
                cwd=Path(__file__).parent.parent,
                pass_fds=self._fds,
                start_new_session=True,  # Ctrl-C reaches only us, and we stop them in order
            )
            code = await self.process.wait()
            if self._stopping:
                return
            steady = asyncio.get_running_loop().time() - started > STEADY_S
            backoff_s = 0.05 if steady else min(backoff_s * 2, BACKOFF_S_MAX)
            log.error("process_died", name=self.name, code=code, restart_in_s=backoff_s)
            await asyncio.sleep(backoff_s)

    async def stop(self) -> None:
        """End the child: asked first, killed when it does not listen."""
        self._stopping = True
        if self.process is None or self.process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await self.process.wait()
        except TimeoutError:
            log.error("process_killed", name=self.name)  # noqa: TRY400 - there is no story behind it
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()


class Supervisor:
    """The children of a deployment, in the order in which they start."""

    def __init__(self, settings: Settings, *, workers: bool = True) -> None:
        self.settings = settings
        self._socket = _listen(settings.host, settings.port)
        fd = self._socket.fileno()
        self.children: list[Child] = []
        if settings.sandboxed:
            self._add("sandbox", "server.cli", "sandbox")
        if workers:
            self._add("worker", "server.cli", "worker")
            self._add("gateway", "server.cli", "gateway")
        for n in range(settings.api_processes):
            self._add(f"api-{n}", "server.cli", "api", "--fd", str(fd), fds=(fd,))
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self, stop: asyncio.Event) -> None:
        """Keep every child running until ``stop``, then end them, those who take requests first."""
        self._tasks = [asyncio.create_task(child.keep_running()) for child in self.children]
        await stop.wait()
        for child in reversed(self.children):
            await child.stop()
        await asyncio.gather(*self._tasks)
        self._socket.close()

    def _add(self, name: str, *arguments: str, fds: tuple[int, ...] = ()) -> None:
        self.children.append(Child(name, arguments, self.settings, fds))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    listening.listen(BACKLOG)
    listening.set_inheritable(True)
    return listening


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def end_with_parent(stop: asyncio.Event) -> None:
    """Set ``stop`` when the process that started this one is gone (it was killed, and could not say so)."""
    parent = os.getppid()
    while not stop.is_set():
        if os.getppid() != parent:
            log.error("parent_gone")
            stop.set()
        await asyncio.sleep(0.5)
