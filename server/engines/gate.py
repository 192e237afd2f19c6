"""Starts the Valkey that comes along, so that the stock gate is a real one from day one.

It writes every command to its append-only file, and the lock on its folder travels with the process
itself: as long as any engine lives there, no second one can be started on the same data.
"""

import os
import re
import signal
import socket
from pathlib import Path

from server.engines.folder import DataFolder, take_lock
from server.engines.processes import (
    EngineError,
    EngineProcess,
    Launch,
    StopStep,
    carries,
    read_pid,
    wait_until,
)
from server.engines.programs import Program, choose, gate_programs

_STOP: tuple[StopStep, ...] = ((signal.SIGTERM, 30.0), (signal.SIGKILL, 10.0))
_ORPHAN_S_MAX = 10.0
_ANSWER_S_MAX = 2.0


def url_of(folder: DataFolder) -> str:
    """Return the address of the folder's gate as redis-py reads it."""
    return f"unix://{_socket(folder)}?db=0"


def start_gate(folder: DataFolder) -> EngineProcess:
    """Start Valkey on the folder, or adopt the one a killed server left running there."""
    data = folder.private("gate")
    written_by = _written_by(folder, data)
    program = choose(
        gate_programs(), folder, lambda found: _fits(found, written_by), _advice(data, written_by)
    )
    command = _command(program, folder)
    lock = take_lock(data / "lock")
    if lock is None:
        found = _await_orphan(folder, data)
        if isinstance(found, EngineProcess):
            if _adoptable(found, folder, command):
                return found
            found.stop()
            found = _await_orphan(folder, data)
        if not isinstance(found, int):
            msg = f"a process that cannot be told holds {data / 'lock'}: end it, then start again"
            raise EngineError(msg)
        lock = found
    try:
        return _start(program, folder, command, lock)
    finally:
        # The engine holds its own copy now, and only that one shall tell whether it lives.
        os.close(lock)


def find_gate(folder: DataFolder) -> EngineProcess | None:
    """Return the Valkey that runs on this folder, found by its pid file and proved by its marks."""
    pid = read_pid(folder.home / "gate" / "gate.pid")
    marks = _marks(folder)
    if pid is None or not carries(pid, marks):
        return None
    name = folder.record.get("gate", {}).get("engine", "valkey")
    return EngineProcess(name, pid, marks, _STOP)


def _start(program: Program, folder: DataFolder, command: list[str], lock: int) -> EngineProcess:
    data = folder.home / "gate"
    (data / "gate.pid").unlink(missing_ok=True)
    # Written before the first byte of data is, so that data without a known writer cannot exist.
    folder.remember(
        "gate",
        {"engine": program.engine, "version": list(program.version), "command": command},
    )
    launch = Launch(
        name=program.engine,
        command=command,
        folder=data,
        log=folder.log(program.engine),
        user=folder.user,
        marks=_marks(folder),
        stop_steps=_STOP,
        pass_fds=(lock,),
    )
    return launch.start(lambda _pid: _answers(folder))


def _command(program: Program, folder: DataFolder) -> list[str]:
    settings = {
        "port": "0",
        "unixsocket": str(_socket(folder)),
        "unixsocketperm": "700",
        "pidfile": "gate.pid",
        "proc-title-template": f"{{title}} {{listen-addr}} {folder.marker}",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "aof-use-rdb-preamble": "no",
        "maxmemory-policy": "noeviction",
        "save": "",
        "daemonize": "no",
        "logfile": "",
    }
    # The working folder is where it writes, so no path with a blank in it has to be quoted here.
    command = [str(program.path)]
    for key, value in settings.items():
        command += [f"--{key}", value]
    return command


def _socket(folder: DataFolder) -> Path:
    return folder.sockets / "gate.sock"


def _marks(folder: DataFolder) -> tuple[str, str]:
    return (folder.marker, str(_socket(folder)))


def _await_orphan(folder: DataFolder, data: Path) -> EngineProcess | int | None:
    """Wait for the lock's holder to show its pid file, or to go and leave us the lock."""
    found: EngineProcess | int | None = None

    def told() -> bool:
        nonlocal found
        found = find_gate(folder) or take_lock(data / "lock")
        return found is not None

    wait_until(told, _ORPHAN_S_MAX)
    return found


def _adoptable(orphan: EngineProcess, folder: DataFolder, command: list[str]) -> bool:
    """An orphan is kept when it would be started just so today and answers; else it is ended."""
    if folder.record.get("gate", {}).get("command") != command:
        return False
    wait_until(lambda: _answers(folder) or not orphan.is_running(), _ORPHAN_S_MAX)
    return orphan.is_running() and _answers(folder)


def _answers(folder: DataFolder) -> bool:
    """Ask over the socket; while it still loads its file it answers, but not with PONG."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(_ANSWER_S_MAX)
        try:
            link.connect(str(_socket(folder)))
            link.sendall(b"PING\r\n")
            return link.recv(64).startswith(b"+PONG")
        except OSError:
            # Not listening yet: the caller asks again until its time is over.
            return False


def _written_by(folder: DataFolder, data: Path) -> tuple[str, int] | None:
    """Return the engine and major version that wrote the data, or None when there is none yet."""
    recorded = folder.record.get("gate")
    if recorded:
        return (str(recorded["engine"]), int(recorded["version"][0]))
    if any(re.search(r"\.(aof|rdb|manifest)$", file.name) for file in data.rglob("*")):
        msg = f"{data} holds data of an unknown engine: move it away, or set REDIS_URL"
        raise EngineError(msg)
    return None


def _fits(program: Program, written_by: tuple[str, int] | None) -> bool:
    """Only the engine that wrote a file may open it: another one could stop at it, or empty it."""
    return written_by is None or (
        program.engine == written_by[0] and program.version[0] >= written_by[1]
    )


def _advice(data: Path, written_by: tuple[str, int] | None) -> str:
    if written_by is not None:
        engine, major = written_by
        return (
            f"{data} was written by {engine} {major}, which no other engine may open; "
            f"install {engine} {major}, or set REDIS_URL"
        )
    return (
        "set REDIS_URL to a Redis 6.2 or Valkey 7.2 or newer, or install one so that valkey-server "
        "or redis-server is on PATH"
    )
