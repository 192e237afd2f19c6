"""The first command a newcomer types must work or say why not, so it is run in a clone of its own."""

import ast
import hashlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from tests.ordinary_user import python_for_nobody

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ("demo", "serve", "test", "lint", "bench")
PROGRAM = """
import os, sys, tiny
print(tiny.VALUE, os.getcwd(), *sys.argv[1:])
sys.exit(7)
"""


@pytest.fixture
def clone() -> Iterator[Path]:
    """Return a small checkout, whose lock names one wheel that lies beside it."""
    clone = new_clone()
    yield clone
    shutil.rmtree(clone.parent)


@dataclass(frozen=True, slots=True)
class FirstRun:
    """A checkout whose first command installed everything, where it was typed, and what it said."""

    clone: Path
    folder: Path
    said: "subprocess.CompletedProcess[str]"


@pytest.fixture(scope="module")
def first_run() -> Iterator[FirstRun]:
    """Install once: making an environment takes seconds, and what comes later begins where this ended."""
    clone = new_clone()
    folder = clone.parent / "elsewhere"
    folder.mkdir()
    said = run(clone, "demo", "--headless", "--json", "out.json", cwd=folder)
    yield FirstRun(clone, folder, said)
    shutil.rmtree(clone.parent)


@pytest.fixture
def installed(first_run: FirstRun) -> Iterator[Path]:
    """Return a copy of the checkout that has been installed: an environment finds itself wherever it lies."""
    base = new_base()
    shutil.copytree(first_run.clone.parent, base, symlinks=True, dirs_exist_ok=True)
    yield base / "clone"
    shutil.rmtree(base)


def new_base() -> Path:
    base = Path(tempfile.mkdtemp(prefix="se-dev-"))
    base.chmod(0o755)
    return base


def new_clone() -> Path:
    base = new_base()
    clone = base / "clone"
    (clone / "server").mkdir(parents=True)
    (clone / "loadtests").mkdir()
    # Without these, a real package of that name further down the path would win over a folder.
    (clone / "server" / "__init__.py").touch()
    (clone / "loadtests" / "__init__.py").touch()
    (clone / "requirements").mkdir()
    shutil.copy(ROOT / "dev.py", clone)
    (clone / "server" / "cli.py").write_text(PROGRAM, "utf-8")
    (clone / "loadtests" / "bench.py").write_text(PROGRAM, "utf-8")
    lock(clone, "run", "1.0")
    lock(clone, "dev", "1.0")
    return clone


def lock(clone: Path, name: str, version: str) -> None:
    """Write a lock that names the tiny wheel of that version, and make the wheel."""
    wheels = clone.parent / "wheels"
    wheels.mkdir(exist_ok=True)
    wheel = wheels / f"tiny-{version}-py3-none-any.whl"
    info = f"tiny-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", f'VALUE = "tiny {version}"\n')
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    text = f"# {name}\ntiny=={version} \\\n    --hash=sha256:{digest}\n"
    (clone / "requirements" / f"{name}.lock").write_text(text, "utf-8")


def run(
    clone: Path, *arguments: str, cwd: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run dev.py as a newcomer would, without a network."""
    return subprocess.run(
        [sys.executable, str(clone / "dev.py"), *arguments],
        cwd=cwd or clone,
        env={**os.environ, **offline(clone)},
        capture_output=True,
        text=True,
        check=False,
    )


def offline(clone: Path) -> dict[str, str]:
    """Return the settings that let pip see the wheel beside the clone, and nothing else."""
    return {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(clone.parent / "wheels"),
        "PIP_CONFIG_FILE": os.devnull,
    }


def load(clone: Path) -> ModuleType:
    """Import a clone's dev.py, to ask single functions of it."""
    spec = importlib.util.spec_from_file_location("dev_under_test", clone / "dev.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_installs_once_and_hands_over(first_run: FirstRun, installed: Path) -> None:
    first = first_run.said
    assert first.returncode == 7, first.stderr
    assert f"tiny 1.0 {first_run.folder} demo --headless --json out.json" in first.stdout
    assert "Installing" in first.stdout
    second = run(first_run.clone, "serve")
    assert second.stdout == f"tiny 1.0 {first_run.clone} serve\n"
    # A lock for development holds all of the other, so demo does not undo what bench installed.
    assert "Installing" in run(installed, "bench", "sellout", "--json", "b.json").stdout
    assert run(installed, "demo").stdout == f"tiny 1.0 {installed} demo\n"


@pytest.mark.sweep
def test_a_changed_lock_is_installed_and_a_wrong_hash_is_not(installed: Path) -> None:
    clone = installed
    assert run(clone, "demo").stdout == f"tiny 1.0 {clone} demo\n"
    lock(clone, "run", "2.0")
    assert "tiny 2.0" in run(clone, "demo").stdout
    path = clone / "requirements" / "run.lock"
    path.write_text(path.read_text("utf-8").replace("tiny==2.0", "tiny==1.0"), "utf-8")
    for _ in range(2):
        done = run(clone, "demo")
        assert done.returncode == 1
        assert "pip could not install" in done.stderr


@pytest.mark.sweep
def test_an_environment_of_a_vanished_python_is_made_again(installed: Path) -> None:
    clone = installed
    for link in (clone / ".venv" / "bin").glob("python*"):
        link.unlink()
        link.symlink_to("/nowhere/python3")
    done = run(clone, "demo")
    assert done.returncode == 7, done.stderr
    assert "tiny 1.0" in done.stdout


def test_it_helps_without_installing(clone: Path) -> None:
    assert all(f"  {command} " in run(clone, "--help").stdout for command in COMMANDS)
    for command in COMMANDS:
        done = run(clone, command, "--help")
        assert done.returncode == 0
        assert f"usage: python3 dev.py {command}" in done.stdout
    assert not (clone / ".venv").exists()


def test_an_unknown_command_is_told_in_one_line(clone: Path) -> None:
    done = run(clone, "dmeo")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ("dev.py: there is no command 'dmeo'; python3 dev.py --help lists them\n")


def test_an_old_python_is_told_in_one_line(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dev = load(clone)
    monkeypatch.setattr(dev, "OLDEST", (99, 0))
    with pytest.raises(SystemExit):
        dev.main(["demo"])
    assert "dev.py: Python 3.11 or newer is needed, this is 3." in capsys.readouterr().err


def test_a_python_without_ensurepip_uses_its_pip_or_names_the_package(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dev = load(clone)
    find, hidden = importlib.util.find_spec, {"ensurepip"}
    monkeypatch.setattr(
        dev.importlib.util, "find_spec", lambda name: None if name in hidden else find(name)
    )
    for name, value in offline(clone).items():
        monkeypatch.setenv(name, value)
    dev.install("run")
    assert dev.installed("run")
    assert not list((clone / ".venv").rglob("pip"))
    shutil.rmtree(clone / ".venv")
    hidden.add("pip")
    with pytest.raises(SystemExit):
        dev.install("run")
    said = capsys.readouterr().err
    if Path("/etc/debian_version").exists():
        assert f"apt install python3.{sys.version_info[1]}-venv" in said
    assert "venv" in said


def test_every_check_runs_even_after_a_failure(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dev = load(clone)
    ran: list[str] = []

    def fail_the_first(name: str, _step: list[str]) -> int:
        ran.append(name)
        return int(name == "ruff check")

    monkeypatch.setattr(dev, "run", fail_the_first)
    assert dev.test(["-k", "ledger"]) == 1
    assert ran == ["ruff check", "ruff format", "mypy", "import-linter", "pytest"]
    monkeypatch.setattr(dev, "run", lambda _name, _step: 0)
    assert dev.test([]) == 0


@pytest.mark.parametrize(
    ("ends", "verdict"), [([0], 0), ([1, 0], 0), ([1, 1], 1), ([1, 5], 5), ([2], 2)]
)
def test_what_failed_in_a_crowd_must_pass_alone(
    clone: Path, monkeypatch: pytest.MonkeyPatch, ends: list[int], verdict: int
) -> None:
    dev = load(clone)
    left, asked = list(ends), []

    def run(_name: str, step: list[str]) -> int:
        asked.append(step)
        return left.pop(0)

    monkeypatch.setattr(dev, "lint", lambda: 0)
    monkeypatch.setattr(dev, "run", run)
    assert dev.test(["-k", "ledger"]) == verdict
    assert left == []
    assert "--last-failed" not in asked[0]
    for again in asked[1:]:
        assert {"--last-failed", "ledger", "not sweep"} <= set(again)
        assert again[again.index("-n") + 1] == "0"


def test_it_needs_the_standard_library_only() -> None:
    tree = ast.parse((ROOT / "dev.py").read_text("utf-8"))
    names = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= set(sys.stdlib_module_names)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a checkout that is not ours")
@pytest.mark.sweep
def test_an_ordinary_user_may_use_a_checkout_that_is_not_theirs(clone: Path) -> None:
    home = clone.parent / "home"
    home.mkdir()
    shutil.chown(home, "nobody")
    for _ in range(2):
        done = subprocess.run(
            [python_for_nobody(home), str(clone / "dev.py"), "demo"],
            user="nobody",
            group=pwd.getpwnam("nobody").pw_gid,
            extra_groups=[],
            cwd=home,
            env={"PATH": os.defpath, "HOME": str(home), **offline(clone)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 7, done.stderr
        assert f"tiny 1.0 {home} demo" in done.stdout
    assert not (clone / ".venv").exists()


def test_ci_runs_the_tests_even_where_nothing_can_be_installed(tmp_path: Path) -> None:
    (tmp_path / "clone" / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "run", tmp_path / "clone" / ".ci")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "dirname", "timeout", "env"):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    stubs = {"id": "echo 0", "apt-get": "exit 100", "python3": 'echo "ran $PWD $*"; exit 3'}
    for name, text in stubs.items():
        (programs / name).write_text(f"#!{shutil.which('bash')}\n{text}\n", "utf-8")
        (programs / name).chmod(0o755)
    done = subprocess.run(
        [str(tmp_path / "clone" / ".ci" / "run")],
        cwd=tmp_path,
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "could not install chromium" in done.stdout
    assert "could not install redis-server" in done.stdout
    assert f"ran {tmp_path / 'clone'} dev.py test" in done.stdout
