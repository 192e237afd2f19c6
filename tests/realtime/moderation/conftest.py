"""Paid texts, a queue to bring them into, and people who decide about them."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from redis.asyncio import Redis
from sqlalchemy import text

import inventory.routes
import orders.donation_routes
import realtime.moderation.routes
import stream_events.routes
from orders.settlement import settle
from realtime.announcer import Known, tick_once
from realtime.moderation.naming import Naming, name_once
from realtime.moderation.screening import Queues, review_once, screen_once
from stream_events.access import Role, create_principal
from stream_events.database import Database
from tests.factories import Sale, bearer
from tests.orders.payers import Placed, place, run


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (
        stream_events.routes.router,
        inventory.routes.router,
        realtime.moderation.routes.router,
        orders.donation_routes.router,
    )


class Desk:
    """A sale's moderation as each role sees it."""

    def __init__(
        self, api: httpx.AsyncClient, database: Database, redis: Redis, sale: Sale
    ) -> None:
        self.api, self.database, self.redis, self.sale = api, database, redis, sale
        self.queues, self.known, self.naming = Queues(), Known(), Naming()
        self.keys = {role: sale.auth(role) for role in ("host", "moderator", "operator")}

    async def invite(self, name: str) -> None:
        async with self.database.begin() as sql:
            _, key = await create_principal(
                sql, Role.MODERATOR, name, stream_id=self.sale.stream_id
            )
        self.keys[name] = bearer(key)

    async def say(
        self,
        name: str | None = None,
        message: str | None = None,
        dedication: str | None = None,
        *,
        paid: bool = True,
        show: bool = True,
        **given: Any,
    ) -> Placed:
        """Place an order that says something; the queue has not seen it yet."""
        placed = await place(self.database, self.sale, **given)
        await run(
            self.database,
            "INSERT INTO order_messages (order_id, name, message, dedication, display, consent_at)"
            " VALUES (:id, :name, :message, :dedication, :display, now())",
            id=placed.order_id,
            name=name,
            message=message,
            dedication=dedication,
            display="PENDING_REVIEW" if show else "ANONYMOUS",
        )
        if paid:
            await settle(self.database, [placed.payment()])
        return placed

    async def screen(self) -> int:
        return await screen_once(self.database)

    async def call(self, role: str, call: str, body: Any = None) -> httpx.Response:
        method, part = call.split(" ")
        return await self.api.request(
            method,
            f"/v1/streams/{self.sale.stream_id}/{part}",
            headers=self.keys.get(role, {}),
            json=body,
        )

    async def get(self, part: str, role: str = "host") -> Any:
        answer = await self.call(role, f"GET {part}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def listed(self, state: str, role: str = "host") -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await self.get(f"review?state={state}", role))["items"]
        return items

    async def rules(self, **rules: Any) -> None:
        answer = await self.call("host", "PUT moderation", rules)
        assert answer.status_code == 200, answer.text

    async def decide(
        self, role: str, decision: str, placed: Placed, revision: int | None = None
    ) -> str:
        """Decide about the text as it is now; return its display or why nothing was done."""
        if revision is None:
            revision = await self.revision(placed)
        body = {"order_id": placed.order_id, "revision": revision, "decision": decision}
        answer = await self.call(role, "POST review", {"decisions": [body]})
        assert answer.status_code == 200, answer.text
        [outcome] = answer.json()["outcomes"]
        return str(outcome["refused"] or outcome["display"])

    async def revision(self, placed: Placed) -> int:
        [row] = await self.rows(
            "SELECT revision FROM order_messages WHERE order_id = :id", id=placed.order_id
        )
        return int(row[0])

    async def rows(self, statement: str, **given: Any) -> list[Any]:
        async with self.database.begin() as sql:
            return [tuple(row) for row in await sql.execute(text(statement), given)]

    async def tell(self) -> None:
        """One round of each loop, of the queue, the announcer and the names, as a while later."""
        self.queues.count_due = self.queues.sweep_due = self.known.sweep_due = 0.0
        await review_once(self.database, self.redis, self.queues)
        await tick_once(self.database, self.redis, self.known)
        self.naming.windows_due = 0.0
        await name_once(self.database, self.redis, self.naming)

    async def state(self, part: str) -> Any:
        await self.tell()
        [(state,)] = await self.rows(
            "SELECT state FROM topics WHERE topic = :t", t=f"stream/{self.sale.stream_id}/{part}"
        )
        return state


@pytest.fixture
def desk(api: httpx.AsyncClient, database: Database, redis: Redis, sale: Sale) -> Desk:
    return Desk(api, database, redis, sale)


Approve = Callable[..., Awaitable[Placed]]


@pytest.fixture
def approve(desk: Desk) -> Approve:
    """Give a way to have something said, paid and shown."""

    async def say_and_show(*said: str | None, **given: Any) -> Placed:
        placed = await desk.say(*said, **given)
        await desk.screen()
        assert await desk.decide("host", "show", placed) == "SHOWN"
        return placed

    return say_and_show
