"""What stood, and the frames since, is what stands: after every action on a sale, for whoever only listened.

The actions go over HTTP to the whole application, the frames come from a real gateway. A new action is one line.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from orders.settlement import settle
from realtime.announcer import Known, tick_once
from realtime.shapes import SHAPES
from server.settings import Settings
from stream_events.access import Signer, new_shopper
from stream_events.database import Database
from tests.factories import bearer
from tests.orders.payers import place, rows
from tests.realtime.conftest import Served as Gateway
from tests.realtime.conftest import until
from tests.served import Served, serving

PRIVATE = {"alerts", "review", "sales"}
Fold = dict[str, tuple[tuple[int, int], dict[str, Any]]]


@dataclass(frozen=True)
class Action:
    """Something that changes a sale: a request as the host (or whoever ``role`` is), and the parts that tell of it.

    They happen one after another on one sale.
    """

    name: str
    request: str
    changes: set[str]
    body: Any = None
    role: str = "host"
    key: str = ""


STREAM = "/v1/streams/{stream_id}"
ORDER = {"lines": [{"sku": "PEANUT-5KG", "quantity": 2}]}
STEP = {"counts": "units", "threshold": 3, "title": "Three bags", "title_zh": "三袋"}
MATCH = {"sponsor": "Mill", "ratio_bp": 10_000, "pot_minor": 100_000, "covers": "shares"}
PAY = "pay"
TICKS_MAX = 15

ACTIONS = (
    Action("an order is placed", f"POST {STREAM}/orders", {"stock"}, ORDER, "shopper", "order"),
    Action("an order is paid", PAY, {"tally", "tonight", "stock", "farmers", "campaign"}),
    Action("stock is added", f"POST {STREAM}/offers/{{sku}}/stock", {"stock"}, {"add": 7}),
    Action("the goal changes", f"PATCH {STREAM}", {"tally"}, {"goal_minor": 77_700}),
    Action("the title changes", f"PATCH {STREAM}", {"status"}, {"title": "Peanuts again"}),
    Action("a product is pinned", f"PATCH {STREAM}/board", {"board"}, {"pinned_sku": "PEANUT-5KG"}),
    Action("a pin is taken down", f"PATCH {STREAM}/board", {"board"}, {"pinned_sku": None}),
    Action("a timer is set", f"PUT {STREAM}/timer", {"board"}, {"what": "closes", "in_s": 60}),
    Action("a timer is taken down", f"DELETE {STREAM}/timer", {"board"}),
    Action("tonight begins", f"PUT {STREAM}/floor", {"tonight"}),
    Action("tonight is all again", f"DELETE {STREAM}/floor", {"tonight"}),
    Action("a milestone is set", f"POST {STREAM}/milestones", {"milestones"}, STEP, key="step"),
    Action("another order is paid", PAY, {"tally", "milestones"}),
    Action(
        "a match begins",
        "POST /v1/campaigns/{campaign_id}/matches",
        {"matches"},
        MATCH,
        "operator",
        "match",
    ),
    Action(
        "the campaign's goal changes",
        "PATCH /v1/campaigns/{campaign_id}",
        {"campaign"},
        {"goal_minor": 5},
        "operator",
    ),
    Action("the stream ends", f"POST {STREAM}/state", {"status"}, {"state": "ended"}),
)


@pytest.fixture
def signer() -> Signer:
    """The signer of the served application, so that the gateway believes its tickets."""
    return Signer(Settings(secret_key="5a" * 32).signing_secret())


@pytest_asyncio.fixture(loop_scope="session")
async def service(
    database: Database, redis: Redis, database_url: str, redis_url: str
) -> AsyncIterator[Served]:
    async with serving(database, redis, database_url, redis_url) as served:
        yield served


@dataclass
class Listener:
    """A viewer of all public topics that folds what it hears: newest epoch and version win."""

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


async def listening(gateway: Gateway, topics: list[str]) -> Listener:
    listener = Listener()
    client = await gateway.watch(*topics, kind="shop")
    task = asyncio.create_task(listener.follow(client))
    gateway._stack.callback(task.cancel)
    return listener


async def ages_in_sql(database: Database, topics: list[str]) -> dict[str, tuple[int, int]]:
    found = await rows(
        database, "SELECT topic, epoch, version FROM topics WHERE topic = ANY(:t)", t=topics
    )
    return {topic: (epoch, version) for topic, epoch, version in found}


async def do(service: Served, database: Database, action: Action) -> None:
    if action.request == PAY:
        sql = "SELECT k.id AS stock_id, t.id AS terms_id FROM stock k JOIN offer_terms t USING (offer_id)"
        ((stock_id, terms_id),) = await rows(database, sql)
        known = {"currency": "CNY", "price_minor": 2990, "per_shopper_max": 50, "shopper_id": ""}
        sale: Any = SimpleNamespace(
            **{**service.ids, **known, "stock_id": stock_id, "terms_id": terms_id}
        )
        placed = await place(database, sale)
        await settle(database, [placed.payment()])
        return
    method, _, path = action.request.partition(" ")
    stranger = bearer(new_shopper(service.signer)[1])
    headers = dict(stranger if action.role == "shopper" else service.credentials[action.role])
    if action.key:
        headers["idempotency-key"] = action.key
    answer = await service.client.request(
        method, path.format(**service.ids), json=action.body, headers=headers
    )
    assert answer.is_success, answer.text


async def heard_all(database: Database, listener: Listener, topics: list[str]) -> bool:
    ages = {topic: age for topic, (age, _) in listener.fold.items()}
    return ages == await ages_in_sql(database, topics)


def told_of(before: Fold, after: Fold) -> set[str]:
    """Return the parts that differ."""
    changed = [topic for topic, now in after.items() if before.get(topic) != now]
    return {
        "campaign" if topic.startswith("campaign/") else topic.split("/")[2] for topic in changed
    }


async def test_what_stood_and_the_frames_since_are_what_stands(
    service: Served, database: Database, redis: Redis, start_process: Callable[[], Any]
) -> None:
    known, parts = Known(), [part for part in SHAPES if part not in PRIVATE]
    topics = [f"stream/{service.ids['stream_id']}/{part}" for part in parts]
    topics.append(f"campaign/{service.ids['campaign_id']}/tally")
    await tick_once(database, redis, known)
    async with start_process() as gateway:
        listener = await listening(gateway, topics)
        await until(lambda: heard_all(database, listener, topics))
        for action in ACTIONS:
            stood = dict(listener.fold)
            await do(service, database, action)
            # Some of what is shown is read once a second only.
            for _ in range(TICKS_MAX):
                await tick_once(database, redis, known)
                await until(lambda: heard_all(database, listener, topics), within_s=4)
                if told_of(stood, listener.fold) >= action.changes:
                    break
                await asyncio.sleep(0.1)
            told = told_of(stood, listener.fold)
            assert told >= action.changes, (action.name, told)
            fresh = await listening(gateway, topics)
            await until(lambda: len(fresh.fold) >= len(listener.fold))  # noqa: B023 - awaited here
            assert listener.fold == fresh.fold, action.name
    assert set(parts) - {"leaders", "names"} <= {topic.split("/")[2] for topic in listener.fold}
