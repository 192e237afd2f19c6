"""What the peers of a bench need, installed where none of ours is: from lock files with hashes, once, on first use.

A peer that cannot be installed is not measured, and the report says why; nobody's figure is ever made up.
"""

import asyncio
import hashlib
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

PEERS: Final = Path(__file__).resolve().parent / "peers"
INSTALL_S_MAX: Final = 240.0
SAID_CHARS: Final = 300


class NotInstalled(Exception):  # noqa: N818 - it says what is the case
    """A peer cannot be had here; the message says why."""


def home() -> Path:
    """Return where peers are installed: inside the environment that runs us, which is ours to write."""
    return Path(sys.prefix) / "peers"


async def python_of_peers() -> Path:
    """Return the interpreter that has the peers' packages, and only these; raises ``NotInstalled``."""
    lock = PEERS / "requirements.lock"
    folder = home() / "python"
    python = folder / "bin" / "python"
    if not _marked(folder, [lock]):
        shutil.rmtree(folder, ignore_errors=True)
        await _run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
        flags = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", *flags]
        await _run([*pip, "--require-hashes", "-r", str(lock)])
        _mark(folder, [lock])
    return python


async def node_of_peers() -> Path:
    """Return the folder in which the socket.io peer runs; raises ``NotInstalled``, also where there is no Node."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise NotInstalled(f"there is no {program} here")
    sources = [PEERS / "socketio" / name for name in ("package.json", "package-lock.json")]
    folder = home() / "node"
    if not _marked(folder, sources):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for source in sources:
            shutil.copy(source, folder)
        flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        await _run(["npm", "ci", *flags], cwd=folder)
        _mark(folder, sources)
    shutil.copy(PEERS / "socketio" / "server.mjs", folder)
    return folder


async def _run(command: Sequence[str], cwd: Path | None = None) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(INSTALL_S_MAX):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise NotInstalled(f"installing took more than {INSTALL_S_MAX:.0f} s") from None
    if process.returncode != 0:
        lines = said.decode(errors="replace").strip().splitlines() or ["nothing was said"]
        raise NotInstalled(f"{Path(command[0]).name} failed: {lines[-1][:SAID_CHARS]}")


def _digest(sources: Sequence[Path]) -> str:
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def _marked(folder: Path, sources: Sequence[Path]) -> bool:
    try:
        return (folder / ".installed").read_text("ascii") == _digest(sources)
    except FileNotFoundError:
        return False


def _mark(folder: Path, sources: Sequence[Path]) -> None:
    (folder / ".installed").write_text(_digest(sources), "ascii")
