"""What stood, and the frames since, is what stands: after every action on a sale, for whoever only listened.

The actions go over HTTP to the whole application, the frames come from a real gateway. A new action is one line in
``night_actions``, and a new route without one fails here.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

import msgspec
import pytest
import pytest_asyncio
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from redis.asyncio import Redis
from starlette.routing import compile_path
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from realtime.frames import TOPICS_MAX
from realtime.gateway import GatewayLimits
from realtime.rehearsals.play import PARTS
from realtime.shapes import SHAPES
from server.app import create_app
from server.settings import Settings
from stream_events.access import Signer
from stream_events.database import Database
from tests.orders.payers import rows
from tests.realtime.conftest import Served as Gateway
from tests.realtime.conftest import until
from tests.realtime.night import Night, Worker, falling
from tests.realtime.night_actions import ACTIONS, Action

CHANGING: Final = {"POST", "PUT", "PATCH", "DELETE"}
Age = tuple[int, int]
Fold = dict[str, tuple[Age, dict[str, Any]]]


@pytest.fixture
def signer() -> Signer:
    """The signer of the served application, so that the gateway believes its tickets."""
    return Signer(Settings(secret_key="5a" * 32).signing_secret())


@pytest.fixture
def gateway_limits() -> GatewayLimits:
    """The real ones: no deadline is tried here."""
    return GatewayLimits(drain_s=0.2)


@pytest_asyncio.fixture(loop_scope="session")
async def night(
    database: Database, redis: Redis, database_url: str, redis_url: str
) -> AsyncIterator[Night]:
    async with falling(database, redis, database_url, redis_url) as night:
        yield night


@dataclass
class Listener:
    """A viewer of all topics that folds what it hears: newest epoch and version win."""

    fold: Fold = field(default_factory=dict)

    def hear(self, message: dict[str, Any]) -> None:
        if message["t"] == "state":
            age = message["epoch"], message["version"]
            held = self.fold.get(message["topic"])
            if held is None or age > held[0]:
                self.fold[message["topic"]] = age, message["state"]

    async def follow(self, client: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                self.hear(msgspec.json.decode(await client.recv()))


def topics_by_part(night: Night) -> dict[str, str]:
    """Return every topic that the night can move under the name that the table of actions has for it."""
    stream, stage = f"stream/{night.ids['stream_id']}", f"rehearsal/{night.ids['stage_id']}"
    parts = {part: f"{stream}/{part}" for part in SHAPES if part not in ("alerts", "sales")}
    parts |= {f"alerts/{group}": f"{stream}/alerts/{group}" for group in ("main", "side")}
    parts |= {f"rehearsal/{part}": f"{stage}/{part}" for part in PARTS}
    parts["campaign"] = f"campaign/{night.ids['campaign_id']}/tally"
    parts["sales"] = f"farmer/{night.ids['farmer_id']}/sales"
    return parts


@asynccontextmanager
async def listening(gateway: Gateway, topics: list[str]) -> AsyncIterator[Listener]:
    """Listen to topics, over as many sockets as it takes."""
    listener = Listener()
    async with AsyncExitStack() as stack:
        for first in range(0, len(topics), TOPICS_MAX):
            client = await gateway.watch(*topics[first : first + TOPICS_MAX], kind="console")
            task = asyncio.create_task(listener.follow(client))
            stack.push_async_callback(client.close)
            stack.callback(task.cancel)
        yield listener


async def stands(database: Database, topics: list[str]) -> Fold:
    sql = "SELECT topic, epoch, version, state FROM topics WHERE topic = ANY(:t)"
    found = await rows(database, sql, t=topics)
    return {topic: ((epoch, version), state) for topic, epoch, version, state in found}


@dataclass
class Watch:
    """Who listens all night, and what everybody else is told meanwhile."""

    night: Night
    gateway: Gateway
    parts: dict[str, str]
    listener: Listener

    @property
    def topics(self) -> list[str]:
        return list(self.parts.values())

    async def told_since(self, stood: Fold, after: object = "the start") -> set[str]:
        """Hear everything there is to hear; return the parts that differ from what stood."""
        with suppress(AssertionError):
            await until(self._heard_all, within_s=4)
        assert await self._unheard() == set(), after
        now = self.listener.fold
        return {part for part, topic in self.parts.items() if now.get(topic) != stood.get(topic)}

    async def _heard_all(self) -> bool:
        return not await self._unheard()

    async def _unheard(self) -> set[str]:
        """Return the parts that stand otherwise than the listener has it; a rehearsal that is over just goes."""
        stored, heard = await stands(self.night.database, self.topics), self.listener.fold
        return {
            part
            for part, topic in self.parts.items()
            if stored.get(topic) != heard.get(topic)
            and (topic in stored or not part.startswith("rehearsal/"))
        }

    async def same_for_newcomers(self) -> bool:
        async with listening(self.gateway, self.topics) as fresh:
            await until(lambda: len(fresh.fold) >= len(self.listener.fold))
            return fresh.fold == self.listener.fold


async def test_what_stood_and_the_frames_since_are_what_stands(
    night: Night, start_process: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that a frame that was not published is missed, and not what the gateway finds a little later.
    monkeypatch.setattr("realtime.feed.REREAD_S", 600.0)
    parts = topics_by_part(night)
    topics = list(parts.values())
    await night.go_on()
    async with start_process() as gateway, listening(gateway, topics) as listener:
        watch = Watch(night, gateway, parts, listener)
        await watch.told_since({})
        for quiet, actions in groupby(ACTIONS, key=lambda action: bool(action.why)):
            for some in [list(actions)] if quiet else ([action] for action in actions):
                await happen(watch, some)
        stood = dict(listener.fold)
        night.worker = Worker()
        await night.go_on()
        assert await watch.told_since(stood) == set(), "who begins anew reads it in the same books"
    assert set().union(*(action.changes for action in ACTIONS)) == set(parts)


async def happen(watch: Watch, actions: list[Action]) -> None:
    """Let one thing happen, or several that move nothing: exactly what should tell of it does."""
    night, stood = watch.night, dict(watch.listener.fold)
    names = [action.name for action in actions]
    _, alerts = stood.get(watch.parts["alerts/main"], (None, {}))
    night.ids["airing"] = (alerts.get("on_air") or {"id": ""})["id"]
    for action in actions:
        await night.do(action)
    await night.go_on()
    assert await watch.told_since(stood, names) == actions[0].changes, names
    assert await watch.same_for_newcomers(), names


def untold(app: FastAPI) -> set[str]:
    """Return the routes that change something and are in no line of the table."""
    found = set()
    for context in iter_route_contexts(app.routes):
        address, _, _ = compile_path(context.path or "")
        for method in CHANGING & set(context.methods or CHANGING):
            wanted = re.compile(f"{method} {address.pattern.removeprefix('^')}")
            if not any(wanted.fullmatch(action.request) for action in ACTIONS):
                found.add(f"{method} {context.path}")
    return found


def test_every_route_that_changes_something_is_told_of_or_says_why_not() -> None:
    app: Any = create_app(Settings())
    while not isinstance(app, FastAPI):
        app = app._app
    assert untold(app) == set()
    for action in ACTIONS:
        assert bool(action.why) is not bool(action.changes), action.name


def test_a_route_that_nobody_told_of_is_found_out() -> None:
    app = FastAPI(docs_url=None, redoc_url=None)

    @app.put("/v1/planted")
    async def planted() -> None: ...

    @app.get("/v1/read")
    async def read() -> None: ...

    @app.post("/v1/hosts")
    async def told() -> None: ...

    assert untold(app) == {"PUT /v1/planted"}
