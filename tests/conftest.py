"""What every test may ask for: real engines, a clean database and gate, a signer, an app, and a sale to play with.

Engines are started only when a test asks for them, so that pure tests stay instant. PostgreSQL is started once a
run and has a database for each xdist worker; each worker has a Valkey of its own, because pub/sub and FLUSHALL
know no borders. Everything lives on the one session loop: connections must not outlive the loop they were made on.
"""

import asyncio
import gc
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from fastapi import APIRouter
from redis.asyncio import Redis

import orders.giving_tables
import orders.mail.tables
import orders.payments.tables
import orders.tables  # noqa: F401
import realtime.alerts.tables
import realtime.board_tables
import realtime.moderation.tables
import realtime.rehearsals.tables
import realtime.tables  # noqa: F401
from inventory.offers import Catalogue
from server.embedded import Engines, start_engines
from server.migrate import upgrade
from stream_events.access import Signer
from stream_events.database import Base, Database
from stream_events.kept_answers import KeptAnswers
from stream_events.limits import Limits
from stream_events.links import Links
from tests.applications import make_app
from tests.factories import Sale, seed_sale

# What is collected stays until the end: the collector need not walk it again and again, neither now nor later.
gc.disable()

_SHARED = pytest.StashKey[tuple[Engines, Path]]()


def _start(**given: str) -> tuple[Engines, Path]:
    folder = Path(tempfile.mkdtemp(prefix="stream-events-tests-"))
    folder.chmod(
        0o711
    )  # run by root, the engines are another user's, who must be able to pass through
    return start_engines(folder, **given), folder


def _stop(engines: Engines, folder: Path) -> None:
    engines.stop()
    shutil.rmtree(folder, ignore_errors=True)


def pytest_collection_finish() -> None:
    """Collect garbage again, but for what was there before the first test."""
    gc.freeze()
    gc.enable()


def pytest_configure_node(node: Any) -> None:
    """Start the one PostgreSQL of a parallel run in its controller, and tell the worker where it is."""
    url = os.environ.get("TEST_DATABASE_URL", "")
    if not url:
        shared = node.config.stash.get(_SHARED, None)
        if shared is None:
            shared = node.config.stash[_SHARED] = _start(redis_url="redis://not-needed")
        url = shared[0].database_url
    node.workerinput["sql_server_url"] = url


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what the controller started; the workers are gone by now."""
    shared = config.stash.get(_SHARED, None)
    if shared is not None:
        _stop(*shared)


@pytest.fixture(scope="session")
def engines(request: pytest.FixtureRequest) -> Iterator[Engines]:
    """A PostgreSQL server (shared by the workers of a run) and a Valkey of this worker's own."""
    given = getattr(request.config, "workerinput", {}).get("sql_server_url") or os.environ.get(
        "TEST_DATABASE_URL"
    )
    started, folder = _start(**({"database_url": given} if given else {}))
    yield started
    _stop(started, folder)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def database_url(engines: Engines) -> AsyncIterator[str]:
    """A database of this worker's own, with the schema in it; dropped at the end."""
    server = await asyncpg.connect(engines.database_url)
    name = f"test_{secrets.token_hex(6)}"
    await server.execute(f'CREATE DATABASE "{name}"')
    # Who kills PostgreSQL has one of their own: here a commit need not wait for the disk, thousands of times.
    await server.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    url = _with_database(engines.database_url, name)
    await asyncio.to_thread(upgrade, url)  # Alembic brings an event loop of its own
    yield url
    await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await server.close()


def _with_database(url: str, name: str) -> str:
    base, mark, query = url.partition("?")
    return f"{base.rpartition('/')[0]}/{name}{mark}{query}"


# Deleting from empty tables costs nothing, where TRUNCATE would sync a hundred files to disk. The triggers that
# guard the books refuse any deletion, so where one is in the way it is off for this one statement.
_EMPTY = """
DO $$ DECLARE name text; filled boolean; guarded boolean; BEGIN
    FOREACH name IN ARRAY %s LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %%I)', name) INTO filled;
        CONTINUE WHEN NOT filled;
        guarded := EXISTS (SELECT FROM pg_trigger WHERE tgrelid = name::regclass AND NOT tgisinternal);
        IF guarded THEN EXECUTE format('ALTER TABLE %%I DISABLE TRIGGER USER', name); END IF;
        EXECUTE format('DELETE FROM %%I', name);
        IF guarded THEN EXECUTE format('ALTER TABLE %%I ENABLE TRIGGER USER', name); END IF;
    END LOOP;
END $$
"""


def _emptying() -> str:
    children_first = [table.name for table in reversed(Base.metadata.sorted_tables)]
    return _EMPTY % ("ARRAY[" + ", ".join(f"'{name}'" for name in children_first) + "]")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _pool(database_url: str) -> AsyncIterator[Database]:
    pool = Database(database_url)
    yield pool
    await pool.close()


@pytest_asyncio.fixture(loop_scope="session")
async def database(_pool: Database) -> Database:
    """The database, emptied before the test; afterwards it is left as it was, to be looked at."""
    connection = await _pool.connect()
    try:
        await connection.execute("SET lock_timeout = '5s'")
        await connection.execute(_emptying())
    finally:
        await connection.close()
    return _pool


@pytest.fixture(scope="session")
def redis_url(engines: Engines) -> str:
    """The address of this worker's own Valkey."""
    return engines.redis_url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _redis_client(redis_url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(redis_url, protocol=3, decode_responses=False)
    yield client
    await client.aclose()


@pytest_asyncio.fixture(loop_scope="session")
async def redis(_redis_client: Redis) -> Redis:
    """A client of the gate's engine, which is flushed before the test."""
    await _redis_client.flushall()
    return _redis_client


@pytest.fixture
def signer() -> Signer:
    """A signer with a secret of this test's own."""
    return Signer(secrets.token_bytes(32))


@pytest.fixture
def limits() -> Limits:
    """No rate limits, unless a test overrides this."""
    return Limits()


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    """The routers of the app under test; packages and modules override this with their own."""
    from inventory.routes import router as inventory_router  # noqa: PLC0415 - pure tests need no routes
    from stream_events.routes import router as floor_router  # noqa: PLC0415

    return (floor_router, inventory_router)


@pytest.fixture
def catalogue(database: Database) -> Catalogue:
    """A catalogue that is read when the test, or a route that changes something, says so: ``await catalogue.refresh()``."""
    return Catalogue(database)


@pytest.fixture
def links() -> Links:
    """Addresses of a sandbox deployment that nobody listens on."""
    return Links(
        public_url="http://testserver",
        gateway_url="ws://testserver:8001",
        stripe_publishable_key="pk_test_sandbox",
        stripe_js_url="http://testserver:8002/v3/",
        stripe_origins=("http://testserver:8002",),
        mode="sandbox",
    )


@pytest.fixture
def app_state(
    database: Database,
    redis: Redis,
    signer: Signer,
    limits: Limits,
    links: Links,
    catalogue: Catalogue,
) -> dict[str, Any]:
    """What ``request.state`` holds; tests override or extend it (``{**app_state, "checkout": …}``)."""
    return {
        "database": database,
        "redis": redis,
        "signer": signer,
        "kept_answers": KeptAnswers(kept_s=0),
        "limits": limits,
        "links": links,
        "catalogue": catalogue,
    }


@pytest_asyncio.fixture(loop_scope="session")
async def api(
    routers: Sequence[APIRouter], app_state: dict[str, Any]
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app made of ``routers`` and ``app_state``; an unhandled error in a route fails the test."""
    async with AsyncExitStack() as stack:
        transport = httpx.ASGITransport(make_app(routers, app_state))
        yield await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://testserver")
        )


@pytest_asyncio.fixture(loop_scope="session")
async def sale(database: Database, signer: Signer) -> Sale:
    """A live stream that sells 100 bags of peanuts at ¥29.90, at most 5 a shopper, with a key for each role."""
    return await seed_sale(database, signer)
