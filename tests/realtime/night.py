"""A night on which everything can happen: the whole application, a Stripe beside it, and what a worker does in a round.

Nothing here waits for a clock: each round is that of a worker as if a while had passed since the last one.
"""

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import uvicorn
from redis.asyncio import Redis

from orders.payments.pace import Pace
from orders.payments.pacer import offer_once
from orders.payments.sandbox import SandboxConfig, create_app
from orders.payments.stripe_gateway import StripeGateway
from orders.refunds import refund_once
from orders.settlement_loop import settle_events_once
from realtime.alerts import director
from realtime.announcer import Known, tick_once
from realtime.moderation.naming import Naming, name_once
from realtime.moderation.screening import Queues, review_once
from realtime.rehearsals import player
from stream_events.access import new_shopper
from stream_events.database import Database
from tests.factories import bearer, make_stream
from tests.orders.payers import run
from tests.orders.payments.sandbox_process import (
    SECRET_KEY,
    HookEndpoint,
    form,
    free_port,
    hook_endpoint,
)
from tests.realtime.conftest import until
from tests.realtime.night_actions import HOOKS, PLAYS_ON, Action
from tests.served import Served, serving

_TEN_MINUTES_LATER: Final = "UPDATE rehearsals SET started_at = started_at - interval '10 min'"
# Whoever rehearses sees nothing of the sales for the first six minutes.
_LIVE_FOR_AN_HOUR: Final = "UPDATE streams SET live_at = now() - interval '1 hour'"
_PAID: Final = "payment_intent.succeeded"


@dataclass
class Stripe:
    """The sandbox in this very process, and what it has to say of payments that went through."""

    gateway: StripeGateway
    browser: httpx.AsyncClient
    endpoint: HookEndpoint

    async def token(self) -> str:
        """Return what a shopper's browser gets for a good card."""
        answer = await self.browser.post(
            "/v1/test_helpers/confirmation_tokens",
            content=form({"payment_method": "pm_card_visa"}),
            headers=bearer(SECRET_KEY),
        )
        return str(answer.json()["id"])

    async def said(self) -> tuple[str, bytes]:
        """Wait for what was not said before; return its signature and body."""
        await self.endpoint.got(1)
        return self.endpoint.received.pop(0)


@dataclass
class Worker:
    """All that a worker remembers from one round to the next; a new one knows nothing."""

    known: Known = field(default_factory=Known)
    alerts: director.Round = field(default_factory=director.Round)
    queues: Queues = field(default_factory=Queues)
    # Told of changes alone: an hour and a day pass by themselves, and would at midnight.
    naming: Naming = field(default_factory=lambda: Naming(windows_due=math.inf))
    plays: player.Plays = field(default_factory=player.Plays)

    async def tell(self, database: Database, redis: Redis) -> None:
        """Let every loop that tells something look once, as a while later."""
        self.known.sweep_due = self.queues.count_due = self.queues.sweep_due = 0.0
        await tick_once(database, redis, self.known)
        await director.tick_once(database, redis, self.alerts, slow=True)
        await review_once(database, redis, self.queues)
        await name_once(database, redis, self.naming)
        await player.tick_once(database, redis, self.plays)


@dataclass
class Night:
    """The application, who and what is known of it, and its worker."""

    service: Served
    database: Database
    redis: Redis
    stripe: Stripe
    pace: Pace
    ids: dict[str, str]
    credentials: dict[str, dict[str, str]]
    worker: Worker = field(default_factory=Worker)
    done: int = 0

    async def do(self, action: Action) -> None:
        """Do it as whoever does it."""
        if action.request is PLAYS_ON:
            await run(self.database, _TEN_MINUTES_LATER)
            return
        self.done += 1
        method, _, path = action.request.partition(" ")
        headers = {
            **self.credentials[action.role],
            "idempotency-key": f"{self.done}",
            "content-type": "application/json",
        }
        if action.body is HOOKS:
            headers["stripe-signature"], content = await self.stripe.said()
        else:
            text = "" if action.body is None else json.dumps(action.body)
            if "{token}" in text:
                self.ids["token"] = await self.stripe.token()
            content = self._filled(text).encode()
        answer = await self.service.client.request(
            method, self._filled(path), content=content, headers=headers
        )
        assert answer.is_success, (action.name, answer.status_code, answer.text)
        if action.keeps:
            self.ids[action.keeps] = answer.json()["id"]

    def _filled(self, text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda found: self.ids[found[1]], text)

    async def go_on(self) -> None:
        """Let a worker do one round of everything that actions leave to it."""
        await offer_once(self.database, self.pace, pay_window_s=600)
        await settle_events_once(self.database, self.stripe.gateway, pace=self.pace)
        await refund_once(self.database, self.stripe.gateway, self.pace)
        await self.worker.tell(self.database, self.redis)


@asynccontextmanager
async def _stripe(port: int, webhook_secret: str) -> AsyncIterator[Stripe]:
    """Open the sandbox on a port, in this process: a process of its own takes a second to start."""
    async with hook_endpoint() as endpoint:
        config = SandboxConfig(
            webhook_url=endpoint.url,
            webhook_secrets=(webhook_secret,),
            webhook_events=frozenset({_PAID}),
            rate_per_s=0,
        )
        app: Any = create_app(config)
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="critical", ws="none"))
        task = asyncio.create_task(server.serve())
        await until(lambda: server.started)
        gateway = StripeGateway(SECRET_KEY, f"http://127.0.0.1:{port}")
        browser = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sandbox")
        try:
            yield Stripe(gateway, browser, endpoint)
        finally:
            await browser.aclose()
            await gateway.aclose()
            server.should_exit = True
            await task


@asynccontextmanager
async def falling(
    database: Database, redis: Redis, database_url: str, redis_url: str
) -> AsyncIterator[Night]:
    """Serve the application with its live sale, a second stream that may rehearse, and a Stripe."""
    port = free_port()
    async with (
        serving(database, redis, database_url, redis_url, sandbox_port=port) as service,
        _stripe(port, service.webhook_secret) as stripe,
    ):
        await run(database, _LIVE_FOR_AN_HOUR)
        async with database.begin() as sql:
            stage = await make_stream(
                sql, service.ids["campaign_id"], service.ids["host_id"], state="draft"
            )
        # Until the actions say otherwise, so that no alert's time runs out while something else happens.
        await service.client.put(
            f"/v1/streams/{service.ids['stream_id']}/alerts/muted",
            json={"muted": True},
            headers=service.credentials["host"],
        )
        giver = {"giver": bearer(new_shopper(service.signer)[1])}
        yield Night(
            service,
            database,
            redis,
            stripe,
            Pace(redis, rate_per_s=1_000),
            {
                **service.ids,
                "paid_id": service.paid_id,
                "first_id": service.ids["order_id"],
                "stage_id": stage.id,
            },
            {role: dict(found) for role, found in service.credentials.items()} | giver,
        )
