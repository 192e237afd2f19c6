"""One data folder, one server: whose it is, what wrote it, and where its engines may live.

Two servers on one folder would mean two histories of the same money, so the folder is locked; the
record beside the data says which engine wrote it, so that no other engine ever opens it.
"""

import fcntl
import json
import os
import pwd
import re
import secrets
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from server.engines.processes import EngineError, EngineUser

_RECORD = "engines.json"
_FORMAT = 1
_SOCKET_BYTES_MAX = 100
"""The kernel allows 103 (macOS) or 107 (Linux) bytes for the path of a socket."""

_LONGEST_SOCKET_NAME = ".s.PGSQL.5432"
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")
"""Socket paths travel inside URLs and settings, where a comma or a blank would part them."""


@dataclass
class DataFolder:
    """An opened data folder. `home` holds the data itself: the folder, or a place `user` can reach."""

    path: Path
    user: EngineUser | None
    record: dict[str, Any]
    locks: list[int] = field(default_factory=list, repr=False)

    @property
    def home(self) -> Path:
        """The folder in which the engines keep their data."""
        return Path(self.record["home"])

    @property
    def sockets(self) -> Path:
        """The private folder in which both engines listen."""
        return Path(self.record["sockets"])

    @property
    def marker(self) -> str:
        """The random text that every engine of this folder carries on its command line."""
        return str(self.record["marker"])

    def log(self, name: str) -> Path:
        """Where the engine of that name writes what it has to say."""
        return self.path / f"{name}.log"

    def remember(self, key: str, value: object) -> None:
        """Keep one fact in the record, whole or not at all."""
        self.record[key] = value
        new = self.path / f"{_RECORD}.new"
        new.touch(mode=0o600)
        with new.open("w", encoding="utf-8") as file:
            json.dump(self.record, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path / _RECORD)

    def private(self, name: str) -> Path:
        """Return a subfolder of `home` that belongs to the engines alone, made if absent."""
        folder = self.home / name
        folder.mkdir(mode=0o700, exist_ok=True)
        self.give(folder)
        return folder

    def give(self, path: Path) -> None:
        """Hand a file or folder to the user the engines run as."""
        if self.user is not None:
            os.chown(path, self.user.uid, self.user.gid, follow_symlinks=False)

    def close(self) -> None:
        """Let the next server in; the sockets' folder goes too when it is a temporary one."""
        if self.sockets.parent != self.home:
            # Not empty means an engine still listens there: then the folder has to stay.
            with suppress(OSError):
                self.sockets.rmdir()
        while self.locks:
            os.close(self.locks.pop())


def open_folder(path: Path) -> DataFolder:
    """Open the data folder for this process alone, made if absent; EngineError says who has it."""
    path = path.expanduser().resolve()
    user = _engine_user()
    try:
        # Under root others may pass through, not look: the engines' own folders below are closed.
        path.mkdir(mode=0o711 if user else 0o700, parents=True, exist_ok=True)
        owner = path.stat().st_uid
        if owner != os.geteuid():
            msg = f"data folder {path} belongs to user id {owner}: run as that user or name another"
            raise EngineError(msg)
        locks = [_lock(path)]
    except OSError as error:
        msg = f"cannot use {path} as data folder: {error.strerror or error}; name another folder"
        raise EngineError(msg) from error
    folder = DataFolder(path, user, {}, locks)
    try:
        _complete(folder)
    except BaseException:
        for lock in locks:
            os.close(lock)
        raise
    return folder


def peek_folder(path: Path) -> DataFolder | None:
    """Read the record of a folder that another process may hold; None when there is none."""
    path = path.expanduser().resolve()
    record = _read_record(path)
    return DataFolder(path, _engine_user(), record) if record else None


def reachable(path: Path, user: EngineUser | None, *, reading: bool = False) -> bool:
    """Tell whether `user` may pass every folder down to `path`, and it too; None may always.

    With `reading`, what lies there must be open to read as well, as a program has to be.
    """
    if user is None:
        return True
    path = path.resolve()
    wanted = 0o5 if reading else 0o1
    return _allows(path, user, wanted) and all(_allows(up, user, 0o1) for up in path.parents)


def take_lock(file: Path) -> int | None:
    """Take the lock on a file and return its descriptor, or None when another process has it."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _complete(folder: DataFolder) -> None:
    folder.record = _read_record(folder.path) or {
        "format": _FORMAT,
        "marker": f"stream-events-{secrets.token_hex(12)}",
        "home": str(_choose_home(folder.path, folder.user)),
        "sockets": "",
    }
    if not folder.home.is_dir():
        msg = f"the data of {folder.path} was in {folder.home}, which is gone: bring it back"
        raise EngineError(msg)
    if folder.home != folder.path:
        # A copied data folder points at the same home, so the home is locked as well.
        folder.locks.append(_lock(folder.home))
        _check_not_a_copy(folder)
    if not _is_private(folder.sockets, folder.user):
        folder.record["sockets"] = str(_make_sockets(folder))
    folder.remember("format", _FORMAT)


def _check_not_a_copy(folder: DataFolder) -> None:
    """Refuse a copied folder: working with it would change the data of the one it was copied from."""
    link = folder.home / "belongs-to"
    owner = Path(link.read_text("utf-8")) if link.exists() else folder.path
    if owner != folder.path and (_read_record(owner) or {}).get("home") == str(folder.home):
        msg = f"{folder.path} is a copy of {owner} and shares its data: start with an empty folder"
        raise EngineError(msg)
    link.write_text(str(folder.path), "utf-8")


def _read_record(path: Path) -> dict[str, Any] | None:
    file = path / _RECORD
    try:
        record: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        msg = f"cannot read {file}, which says what wrote this data folder: {error}"
        raise EngineError(msg) from error
    if record.get("format") != _FORMAT:
        msg = f"{file} was written by another version of stream-events: use that one"
        raise EngineError(msg)
    return record


def _lock(path: Path) -> int:
    file = path / "lock"
    lock = take_lock(file)
    if lock is None:
        holder = file.read_text("utf-8").strip() or "unknown"
        msg = (
            f"data folder {path} is in use by another server (process {holder}): "
            "stop that one, or give this one a folder of its own"
        )
        raise EngineError(msg)
    os.truncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _engine_user() -> EngineUser | None:
    """PostgreSQL refuses to run as root, rightly; then both engines run as the user with no rights."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError as error:
        msg = "run by root, the engines need a user named nobody: run as an ordinary user instead"
        raise EngineError(msg) from error
    return EngineUser(entry.pw_uid, entry.pw_gid)


def _choose_home(path: Path, user: EngineUser | None) -> Path:
    """Return the folder itself, or a new place elsewhere when it lies where `user` cannot go.

    What was asked for in a temporary place stays temporary; all else must outlive a restart.
    """
    if reachable(path, user):
        return path
    temporary = Path(tempfile.gettempdir()).resolve()
    if path.is_relative_to(temporary):
        return _temporary_folder(mode=0o711)
    lasting = Path("/var/lib/stream-events")
    lasting.mkdir(mode=0o711, parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="data-", dir=lasting))
    home.chmod(0o711)
    if not reachable(home, user):
        msg = f"neither {path} nor {lasting} can be reached by the user nobody: name another folder"
        raise EngineError(msg)
    return home


def _make_sockets(folder: DataFolder) -> Path:
    inside = folder.home / "run"
    length = len(os.fsencode(inside / _LONGEST_SOCKET_NAME))
    if length < _SOCKET_BYTES_MAX and _PLAIN_PATH.fullmatch(str(inside)):
        return folder.private("run")
    outside = _temporary_folder(mode=0o700)
    folder.give(outside)
    return outside


def _temporary_folder(mode: int) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="stream-events-")).resolve()
    if len(os.fsencode(folder / _LONGEST_SOCKET_NAME)) >= _SOCKET_BYTES_MAX:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="stream-events-", dir="/var/tmp"))
    folder.chmod(mode)
    return folder


def _is_private(path: Path, user: EngineUser | None) -> bool:
    """Tell whether the recorded sockets' folder is still ours alone; a stranger's is never used."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    owner = user.uid if user else os.geteuid()
    return (
        path.is_absolute()
        and stat.S_ISDIR(found.st_mode)
        and found.st_uid == owner
        and stat.S_IMODE(found.st_mode) == stat.S_IRWXU
    )


def _allows(path: Path, user: EngineUser, wanted: int) -> bool:
    found = path.stat()
    if found.st_uid == user.uid:
        granted = found.st_mode >> 6
    elif found.st_gid == user.gid:
        granted = found.st_mode >> 3
    else:
        granted = found.st_mode
    return granted & wanted == wanted
