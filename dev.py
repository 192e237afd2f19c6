"""One command from a fresh clone to a running demo: whoever only has Python needs nothing else.

Standard library only, because it runs before anything is installed. It makes a virtual environment,
fills it from the hashed lock file when that has changed, and hands over to the real program.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parent
OLDEST = (3, 11)
TESTS_AT_ONCE = "4"
"""Test processes at a time: many tests wait for processes they killed or pages they opened, so two cores carry four."""

SOME_FAILED = 1
"""What pytest ends with when it ran and some tests failed."""

HELP = """\
usage: python3 dev.py COMMAND [options of the command]

  demo   start everything, sell a stream out to a simulated crowd, leave it running
  serve  start the server, with engines of its own unless it is given others
  test   ruff, mypy, import-linter, then pytest; what follows goes to pytest
  lint   the first three of these only
  bench  measure: bench NAME --json FILE

The first run installs into .venv, from requirements/*.lock; later ones need no network.
python3 dev.py COMMAND --help tells more."""

ABOUT = {
    "demo": "demo [options]: runs `python -m server.cli demo` with them, e.g. --headless --json FILE",
    "serve": "serve [options]: runs `python -m server.cli serve` with them",
    "test": "test [pytest options]: lint, then pytest with them, e.g. tests/orders -x -k ledger",
    "lint": "lint: ruff check, ruff format --check, mypy, import-linter; goes on after a failure",
    "bench": "bench NAME --json FILE: runs `python -m loadtests.bench` with them, e.g. bench settle",
}
MODULES = {"demo": "server.cli", "serve": "server.cli", "bench": "loadtests.bench"}
LOCKS = {"demo": "run", "serve": "run", "test": "dev", "lint": "dev", "bench": "dev"}


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; demo, serve and bench replace this process."""
    check_python()
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP)
        return 0 if arguments else 2
    command, rest = arguments[0], list(arguments[1:])
    if command not in LOCKS:
        stop(f"there is no command {command!r}; python3 dev.py --help lists them")
    if "-h" in rest or "--help" in rest:
        print(f"usage: python3 dev.py {ABOUT[command]}", flush=True)
        if command not in MODULES or not installed(LOCKS[command]):
            return 0
    install(LOCKS[command])
    if command == "lint":
        return lint()
    if command == "test":
        return test(rest)
    own = rest if command == "bench" else [command, *rest]
    return hand_over([str(python()), "-m", MODULES[command], *own])


def check_python() -> None:
    """Refuse what cannot work, in one line that says what to do."""
    if os.name == "nt":
        stop("the engines run on Linux and macOS; on Windows, run this inside WSL")
    if sys.version_info < OLDEST:
        names = ("python3.11", "python3.12", "python3.13")
        newer = [name for name in names if shutil.which(name)]
        hint = f"; run: {newer[0]} dev.py" if newer else ""
        stop(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}{hint}")


def state() -> Path:
    """Return where to keep what is made: the checkout, or a cache when that is not ours to write."""
    if os.access(ROOT, os.W_OK):
        return ROOT
    caches = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    digest = hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]
    return Path(caches) / "stream-events" / digest


def venv() -> Path:
    """Return the folder of the virtual environment."""
    return state() / ".venv"


def python() -> Path:
    """Return the interpreter inside the virtual environment."""
    return venv() / "bin" / "python"


def marker(lock: str) -> str:
    """Return what the marker file says when this lock, in its present text, is installed."""
    text = (ROOT / "requirements" / f"{lock}.lock").read_bytes()
    return f"{lock} {hashlib.sha256(text).hexdigest()}\n"


def installed(lock: str) -> bool:
    """Tell whether the environment works and was filled from this lock, or from all of dev.lock."""
    try:
        said = (venv() / ".installed").read_text("utf-8")
    except FileNotFoundError:
        return False
    return said in {marker(lock), marker("dev")} and works()


def works() -> bool:
    """Tell whether the environment's interpreter runs: the Python it was made from may be gone."""
    try:
        probe = subprocess.run([str(python()), "-c", ""], check=False, capture_output=True)
    except OSError:
        return False
    return probe.returncode == 0


def install(lock: str) -> None:
    """Fill the virtual environment from the lock file, unless it already is."""
    if installed(lock):
        return
    try:
        venv().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        stop(f"cannot write {venv()} ({error.strerror}): clone into a folder of your own")
    with alone(venv() / ".lock"):
        if installed(lock):
            return
        print(f"Installing requirements/{lock}.lock into {venv()}, once ...", flush=True)
        (venv() / ".installed").unlink(missing_ok=True)
        pip = make_venv()
        locked = str(ROOT / "requirements" / f"{lock}.lock")
        # Without its dependencies each: the lock names every one, and nothing else may come in.
        flags = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
        done = subprocess.run(
            [*pip, "install", *flags, "--require-hashes", "-r", locked], check=False
        )
        if done.returncode != 0:
            stop("pip could not install; the first run needs a network (what pip said is above)")
        (venv() / ".installed").write_text(marker(lock), "utf-8")


def make_venv() -> list[str]:
    """Make the virtual environment if it does not work yet; return how to call pip for it."""
    here = [str(python()), "-m", "pip"]
    if (
        works()
        and subprocess.run([*here, "--version"], check=False, capture_output=True).returncode == 0
    ):
        return here
    own_pip = importlib.util.find_spec("ensurepip") is not None
    if not own_pip and importlib.util.find_spec("pip") is None:
        stop(f"this Python can make no virtual environment with pip: {cure()}")
    for left in venv().iterdir():
        # Links to a Python that has gone stop venv; the lock stays, since others wait on it.
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        elif left.name != ".lock":
            left.unlink()
    options = [] if own_pip else ["--without-pip"]
    made = subprocess.run([sys.executable, "-m", "venv", *options, str(venv())], check=False)
    if made.returncode != 0:
        stop(f"the virtual environment could not be made (said above): {cure()}")
    # A Python with pip but without ensurepip, as Debian has it, can still install from outside.
    return here if own_pip else [sys.executable, "-m", "pip", "--python", str(python())]


def cure() -> str:
    """Return what to install where the venv module is a package of its own."""
    if Path("/etc/debian_version").exists():
        return f"apt install python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    return "install your system's package of Python's venv and ensurepip modules"


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Let one installation at a time into the folder; another one waits for it."""
    import fcntl  # noqa: PLC0415 - Windows has none, and shall read why before it is missed

    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def environment() -> dict[str, str]:
    """Return the environment for our programs: they find the checkout from any folder."""
    before = os.environ.get("PYTHONPATH")
    made = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *([before] if before else [])])}
    made.pop("PYTHONHOME", None)
    # Each of a dozen processes would compile all of it again.
    made.pop("PYTHONDONTWRITEBYTECODE", None)
    if state() != ROOT:
        # Whoever may only read the checkout keeps the tools' caches elsewhere too.
        for name in ("RUFF_CACHE_DIR", "MYPY_CACHE_DIR", "HYPOTHESIS_STORAGE_DIRECTORY"):
            made[name] = str(state() / name.lower())
        made["PYTHONPYCACHEPREFIX"] = str(state() / "pycache")
    return made


def lint() -> int:
    """Run every static check, all of them even when one fails, and return 1 if any did."""
    cache = ["--cache-dir", str(state() / ".import_linter_cache")]
    steps = {
        "ruff check": ["-m", "ruff", "check", "."],
        "ruff format": ["-m", "ruff", "format", "--check", "."],
        "mypy": ["-m", "mypy"],
        "import-linter": [
            "-c",
            "from importlinter.cli import lint_imports_command as run; run()",
            *cache,
        ],
    }
    failed = [name for name, step in steps.items() if run(name, step) != 0]
    if failed:
        print(f"Failed: {', '.join(failed)}", flush=True)
    return 1 if failed else 0


def test(options: Sequence[str]) -> int:
    """Run the static checks and the tests, both even when the first fail; 0 only if all passed.

    Many tests measure real processes while others run beside them. What failed so is run once more with the machine
    to itself, and only what fails again counts: code that is wrong is wrong alone, too.
    """
    cache = ["-o", f"cache_dir={state() / '.pytest_cache'}"]
    linted = lint()
    chosen = [] if "-m" in options else ["-m", "not sweep"]
    pytest = ["-m", "pytest", *chosen, *cache]
    tested = run("pytest", [*pytest, "-n", TESTS_AT_ONCE, "--dist", "worksteal", *options])
    if tested == SOME_FAILED:
        alone = ["-n", "0", "--last-failed", "--last-failed-no-failures", "none", "--maxfail", "5"]
        tested = run("pytest, what failed, alone", [*pytest, *options, *alone])
    return linted or tested


def run(name: str, step: Sequence[str]) -> int:
    """Run one step in the environment, from the checkout's root."""
    print(f"--- {name}", flush=True)
    return subprocess.run(
        [str(python()), *step], cwd=ROOT, env=environment(), check=False
    ).returncode


def hand_over(program: Sequence[str]) -> NoReturn:
    """Become the program, so that signals and the exit code are its own; stays in this folder."""
    os.execve(program[0], list(program), environment())  # noqa: S606 - no shell is meant here


def stop(why: str) -> NoReturn:
    """End with one clear line."""
    print(f"dev.py: {why}", file=sys.stderr)
    raise SystemExit(1)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
