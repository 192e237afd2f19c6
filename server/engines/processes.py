"""Engines outlive a killed server, so each is known by the marker it carries and never by its name.

A process is ours when its command line holds the data folder's random marker and its own path; a
process id alone proves nothing, because the system gives ids out again.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

START_S_MAX = 120.0
"""Replaying a long write-ahead log or append-only file is slow, and killing it halfway helps nobody."""

_POLL_S = 0.01
_TAIL_BYTES_MAX = 2000
_LOG_BYTES_MAX = 16 * 1024 * 1024

StopStep = tuple[signal.Signals, float]
"""A signal, and how many seconds the engine then gets before the next, harder one."""


class EngineError(RuntimeError):
    """An engine cannot run; the message's first line says why and what to do about it."""


@dataclass(frozen=True)
class EngineUser:
    """Whom the engines run as when the server itself runs as root."""

    uid: int
    gid: int


@dataclass
class EngineProcess:
    """One running engine: a child of ours, or an orphan adopted by the marks on its command line."""

    name: str
    pid: int
    marks: Sequence[str]
    stop_steps: Sequence[StopStep]
    child: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def adopted(self) -> bool:
        """True when an earlier server, since killed, had started it."""
        return self.child is None

    def is_running(self) -> bool:
        """Tell whether this very process still lives; a zombie and a reused id count as gone."""
        if self.child is not None:
            return self.child.poll() is None
        return carries(self.pid, self.marks)

    def stop(self) -> None:
        """Ask it to stop, harder each time, and return when it is gone; EngineError if it stays."""
        for number, wait_s in self.stop_steps:
            if not self.is_running():
                return
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                # It went between the look and the signal, which is what was wanted.
                return
            if wait_until(lambda: not self.is_running(), wait_s):
                return
        if self.is_running():
            msg = f"{self.name} (process {self.pid}) does not stop, not even when killed"
            raise EngineError(msg)


@dataclass(frozen=True)
class Launch:
    """All that it takes to start one engine, so that starting reads the same for both."""

    name: str
    command: Sequence[str]
    folder: Path
    log: Path
    user: EngineUser | None
    marks: Sequence[str]
    stop_steps: Sequence[StopStep]
    pass_fds: Sequence[int] = ()

    def start(self, is_ready: Callable[[int], bool]) -> EngineProcess:
        """Start the engine and wait until `is_ready(pid)`; EngineError quotes what it logged."""
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES_MAX:
            self.log.replace(self.log.with_suffix(".log.1"))
        begin = self.log.stat().st_size if self.log.exists() else 0
        self.log.touch(mode=0o600)
        with self.log.open("ab") as log:
            child = spawn(
                self.command,
                folder=self.folder,
                user=self.user,
                log=log.fileno(),
                fds=self.pass_fds,
            )
        process = EngineProcess(self.name, child.pid, self.marks, self.stop_steps, child)
        try:
            self._wait_ready(process, is_ready, begin)
        except BaseException:
            # Also an interrupt must not leave a half-started engine behind.
            process.stop()
            raise
        return process

    def _wait_ready(
        self, process: EngineProcess, is_ready: Callable[[int], bool], begin: int
    ) -> None:
        wait_until(lambda: is_ready(process.pid) or not process.is_running(), START_S_MAX)
        if not process.is_running():
            msg = f"{self.name} stopped while starting, see {self.log}:\n{tail(self.log, begin)}"
            raise EngineError(msg)
        if not is_ready(process.pid):
            msg = (
                f"{self.name} was not ready after {START_S_MAX:.0f} s, see {self.log}:\n"
                f"{tail(self.log, begin)}"
            )
            raise EngineError(msg)


def spawn(
    command: Sequence[str],
    *,
    folder: Path,
    user: EngineUser | None,
    log: int,
    fds: Sequence[int] = (),
    stdin: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a program with a bare environment, in a session of its own, as `user` if one is given.

    The own session keeps Ctrl-C in the terminal from stopping the engines before the server that
    still writes to them; the bare environment keeps a stray PGDATA or LC_ALL from changing them.
    """
    try:
        return subprocess.Popen(
            list(command),
            cwd=folder,
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            stdin=stdin,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=fds,
            umask=0o077,
            user=user.uid if user else None,
            group=user.gid if user else None,
            extra_groups=[] if user else None,
        )
    except OSError as error:
        msg = f"cannot start {command[0]}: {error.strerror or error}"
        raise EngineError(msg) from error


def wait_until(condition: Callable[[], bool], wait_s: float) -> bool:
    """Poll until the condition holds; False when it still does not after `wait_s` seconds."""
    deadline = time.monotonic() + wait_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True


def carries(pid: int, marks: Sequence[str]) -> bool:
    """Tell whether process `pid` lives and its command line holds every one of `marks`."""
    line = command_line(pid)
    return bool(line) and all(mark in line for mark in marks)


def read_pid(path: Path) -> int | None:
    """Return the number on the first line of a pid file, or None when there is none to read."""
    try:
        first = path.read_text("utf-8", errors="replace").partition("\n")[0].strip()
    except FileNotFoundError:
        return None
    return int(first) if re.fullmatch(r"[1-9][0-9]{0,9}", first) else None


def tail(log: Path, begin: int = 0) -> str:
    """Return the end of what was logged after byte `begin`."""
    with log.open("rb") as file:
        file.seek(max(begin, log.stat().st_size - _TAIL_BYTES_MAX))
        return file.read(_TAIL_BYTES_MAX).decode("utf-8", errors="replace").strip()


def command_line(pid: int) -> str:
    """Return the command line a process shows, empty when it is gone or a zombie."""
    if sys.platform == "linux":
        try:
            raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        return raw.replace(b"\0", b" ").decode("utf-8", errors="replace").strip()
    listed = subprocess.run(
        ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    return listed.stdout.strip()
