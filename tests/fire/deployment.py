"""A deployment in single processes, so that one of them can be killed while the others live on."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from server.processes import free_port

REPOSITORY = Path(__file__).parents[2]
READY_S = 30.0
SECRET = "5e" * 32
STARTED_AS = ("-m", "server.cli")


@dataclass
class Fire:
    """The processes, and where they answer."""

    url: str
    sandbox_url: str
    environment: dict[str, str]
    listening: socket.socket
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    async def start(self, name: str, point: str | None = None, lit: Path | None = None) -> None:
        """Start ``api``, ``worker`` or ``sandbox``; with ``point`` it kills itself there once ``lit`` exists."""
        command = list(STARTED_AS)
        if point is not None:
            command = ["-m", "tests.fire.victim", point, str(lit)]
        descriptors: Sequence[int] = ()
        arguments = [name]
        if name == "api":
            descriptors = (self.listening.fileno(),)
            arguments += ["--fd", str(self.listening.fileno())]
        self.processes[name] = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            *arguments,
            cwd=REPOSITORY,
            env=self.environment,
            pass_fds=descriptors,
            stdin=PIPE,
        )

    async def killed(self, name: str) -> None:
        """Wait until a process is killed; any other end is an error."""
        code = await self.processes[name].wait()
        assert code == -signal.SIGKILL, f"{name} ended by itself with {code}"

    async def ready(self) -> None:
        """Wait until the API says that all of it stands."""
        async with asyncio.timeout(READY_S), httpx.AsyncClient(timeout=5) as client:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(f"{self.url}/readyz")).status_code == httpx.codes.OK:
                        return
                await asyncio.sleep(0.1)


@asynccontextmanager
async def on_fire(
    folder: Path, database_url: str, redis_url: str, **settings: str
) -> AsyncIterator[Fire]:
    """Give the parts of a deployment, none of them started; all that were are ended with the block."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(128)
    port, sandbox_port = listening.getsockname()[1], free_port()
    foreign = ("STREAM_EVENTS_", "STRIPE_")
    environment = {n: value for n, value in os.environ.items() if not n.startswith(foreign)} | {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "STREAM_EVENTS_DATA_DIR": str(folder),
        "STREAM_EVENTS_SECRET_KEY": SECRET,
        "STREAM_EVENTS_PORT": str(port),
        "STREAM_EVENTS_SANDBOX_PORT": str(sandbox_port),
        "STREAM_EVENTS_SANDBOX_RATE_PER_S": "0",
        "STREAM_EVENTS_LOG_LEVEL": "error",
        **settings,
    }
    fire = Fire(
        f"http://127.0.0.1:{port}", f"http://127.0.0.1:{sandbox_port}", environment, listening
    )
    try:
        yield fire
    finally:
        for process in fire.processes.values():
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
        for process in fire.processes.values():
            try:
                await asyncio.wait_for(process.wait(), 15)
            except TimeoutError:
                process.kill()
                await process.wait()
        listening.close()
