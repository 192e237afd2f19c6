"""Starts the PostgreSQL that comes along, so that the truth lives in a real database from day one.

It listens on a socket in a private folder only, so there is no password to lose, and it is as
durable as a server's: an order acknowledged is an order on the disk.
"""

import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from server.engines.folder import DataFolder
from server.engines.processes import (
    EngineError,
    EngineProcess,
    Launch,
    StopStep,
    carries,
    command_line,
    read_pid,
    spawn,
    tail,
    wait_until,
)
from server.engines.programs import Program, choose, sql_programs

_NAME = "postgresql"
_STOP: tuple[StopStep, ...] = (
    # Fast: roll back and write a checkpoint; immediate: as after a crash, which it survives.
    (signal.SIGINT, 60.0),
    (signal.SIGQUIT, 10.0),
    (signal.SIGKILL, 10.0),
)
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # A process takes up to 25, and there may be several that serve.
    "max_connections": "300",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "min_wal_size": "256MB",
    "checkpoint_timeout": "15min",
    # Every statement here is short, and compiling one costs more than it can save.
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    # A row that is refused, or the statement that brought it, may be somebody's address.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}
_FIRST_SQL = b"CREATE ROLE stream_events LOGIN CREATEDB;\nCREATE DATABASE stream_events OWNER stream_events;\n"
_LEFTOVERS_S_MAX = 15.0
_LEFTOVERS = re.compile(r"pre-existing shared memory block|lock file .* already exists")


def url_of(folder: DataFolder) -> str:
    """Return the address of the folder's database, good for asyncpg and for SQLAlchemy alike."""
    return f"postgresql://stream_events@/stream_events?host={folder.sockets}"


def start_sql(folder: DataFolder) -> EngineProcess:
    """Start PostgreSQL on the folder, or adopt the one a killed server left running there."""
    data = folder.home / "sql"
    program = choose(sql_programs(), folder, lambda found: _fits(found, data), _advice(data))
    if not (data / "PG_VERSION").exists():
        _create(program, folder, data)
    folder.remember("sql", {"engine": program.engine, "version": list(program.version)})
    launch = _launch(program, folder, data)
    deadline = time.monotonic() + _LEFTOVERS_S_MAX
    while True:
        orphan = find_sql(folder)
        if orphan is not None:
            if _adoptable(orphan, folder, launch):
                return orphan
            orphan.stop()
        _drop_stale_pid_file(data)
        try:
            process = launch.start(lambda pid: _is_ready(data, pid))
        except EngineError as error:
            # The last workers of a killed server need a moment to see that it is gone.
            if time.monotonic() > deadline or not _LEFTOVERS.search(str(error)):
                raise
            time.sleep(0.2)
            continue
        folder.remember("sql_command", list(launch.command))
        return process


def find_sql(folder: DataFolder) -> EngineProcess | None:
    """Return the PostgreSQL that runs on this folder, found by its pid file and proved by marks."""
    data = folder.home / "sql"
    pid = read_pid(data / "postmaster.pid")
    marks = (folder.marker, str(data))
    if pid is None or not carries(pid, marks):
        return None
    return EngineProcess(_NAME, pid, marks, _STOP)


def _launch(program: Program, folder: DataFolder, data: Path) -> Launch:
    settings = _SETTINGS | {
        "unix_socket_directories": str(folder.sockets),
        "unix_socket_permissions": "0700",
        "cluster_name": folder.marker,
    }
    command = [str(program.path), "-D", str(data)]
    for key, value in settings.items():
        command += ["-c", f"{key}={value}"]
    return Launch(
        name=_NAME,
        command=command,
        folder=data,
        log=folder.log(_NAME),
        user=folder.user,
        marks=(folder.marker, str(data)),
        stop_steps=_STOP,
    )


def _adoptable(orphan: EngineProcess, folder: DataFolder, launch: Launch) -> bool:
    """An orphan is kept when it would be started just so today and answers; else it is ended."""
    if folder.record.get("sql_command") != list(launch.command):
        return False
    data = launch.folder
    return wait_until(lambda: _is_ready(data, orphan.pid) or not orphan.is_running(), 10.0) and (
        orphan.is_running()
    )


def _drop_stale_pid_file(data: Path) -> None:
    """Remove a dead server's pid file when its id has since gone to a stranger.

    PostgreSQL would take any live process of that id for itself and refuse to start, for good in a
    container, where ids are few. Workers that outlived their server are still caught without the
    file: the shared memory is keyed to the data folder, and PostgreSQL looks at who is attached.
    """
    pid = read_pid(data / "postmaster.pid")
    line = command_line(pid) if pid else ""
    if line and str(data) not in line:
        (data / "postmaster.pid").unlink(missing_ok=True)


def _is_ready(data: Path, pid: int) -> bool:
    """Read the state that the server itself keeps on the eighth line of its pid file."""
    try:
        lines = (data / "postmaster.pid").read_text("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return False
    return len(lines) > 7 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


def _fits(program: Program, data: Path) -> bool:
    major = _major(data)
    return major is None or program.version[0] == major


def _major(data: Path) -> int | None:
    try:
        return int((data / "PG_VERSION").read_text("utf-8").strip())
    except FileNotFoundError:
        return None


def _advice(data: Path) -> str:
    major = _major(data)
    if major is not None:
        return (
            f"{data} was written by PostgreSQL {major}, which no other version may open; "
            f"install PostgreSQL {major}, or set DATABASE_URL"
        )
    return (
        "set DATABASE_URL to a PostgreSQL 14 or newer, or install one so that initdb and postgres "
        "are on PATH"
    )


def _create(program: Program, folder: DataFolder, data: Path) -> None:
    """Make the database beside its final place and move it there whole.

    So a folder named sql is always a finished one, and a crash halfway costs only a new attempt.
    """
    for unfinished in folder.home.glob("sql.new-*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    new = Path(tempfile.mkdtemp(prefix="sql.new-", dir=folder.home))
    folder.give(new)
    initdb = [str(program.path.with_name("initdb")), "-D", str(new), "--username=postgres"]
    initdb += ["--locale=C", "--encoding=UTF8", "--auth-local=trust", "--auth-host=reject"]
    initdb += ["--data-checksums", "--no-instructions"]
    _run(initdb, b"", new, folder)
    _run([str(program.path), "--single", "-D", str(new), "postgres"], _FIRST_SQL, new, folder)
    if data.exists():
        # Only an empty folder can be here: rmdir refuses any other, and so nothing is ever lost.
        data.rmdir()
    new.replace(data)


def _run(command: list[str], said: bytes, cwd: Path, folder: DataFolder) -> None:
    log_path = folder.log(_NAME)
    log_path.touch(mode=0o600)
    with log_path.open("ab") as log:
        begin = log.tell()
        child = spawn(
            command, folder=cwd, user=folder.user, log=log.fileno(), stdin=subprocess.PIPE
        )
        try:
            child.communicate(said, timeout=120)
        except BaseException:
            child.kill()
            child.wait()
            raise
    logged = tail(log_path, begin)
    # Single-user mode ends with 0 even when a statement failed, so what it said counts too.
    if child.returncode != 0 or "ERROR:" in logged:
        msg = f"{Path(command[0]).name} could not make a database, see {log_path}:\n{logged}"
        raise EngineError(msg)
