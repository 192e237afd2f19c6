"""Whether the process lives, whether it should get traffic, and where pages find everything."""

import time
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from redis.asyncio import Redis
from sqlalchemy import text

from inventory.gate import Gate, GateShut, GateUnclear
from orders.checkout import Checkout
from server.migrate import is_current
from stream_events.access import Caller, Role, allow
from stream_events.database import Database
from stream_events.links import Links

router = APIRouter(tags=["service"])

Public = Annotated[Caller, Depends(allow(Role.PUBLIC))]

LAG_MS_MAX = 5_000


class Meta(BaseModel):
    """What a page or a client needs to know of this deployment."""

    mode: str
    gateway_url: str
    stripe_publishable_key: str
    stripe_js_url: str
    server_time: int


class Readiness(BaseModel):
    """Whether each part answers; ``ready`` when all do."""

    ready: bool
    database: bool
    migrations: bool
    gate: bool
    writer: bool
    worker: bool


@router.get("/v1/meta")
async def meta(request: Request, _: Public) -> Meta:
    """Say whether the money is real, and where the socket and Stripe's script are."""
    links = cast("Links", request.state.links)
    return Meta(
        mode=links.mode,
        gateway_url=links.gateway_url,
        stripe_publishable_key=links.stripe_publishable_key,
        stripe_js_url=links.stripe_js_url,
        server_time=time.time_ns() // 1_000_000,
    )


@router.get("/healthz")
async def healthz(_: Public) -> dict[str, bool]:
    """Say that the process answers; nothing else is asked."""
    return {"alive": True}


@router.get("/readyz", responses={503: {"model": Readiness}})
async def readyz(request: Request, _: Public) -> JSONResponse:
    """Say whether this process should get traffic; 503 with the same body when it should not."""
    state = request.state
    database, checkout = cast("Database", state.database), cast("Checkout", state.checkout)
    try:
        async with database.begin() as sql:
            await sql.execute(text("SELECT 1"))
        database_answers, migrated = True, await is_current(database)
    except Exception:  # noqa: BLE001 - whatever it is, the answer is that SQL is not there.
        database_answers = migrated = False
    parts = {
        "database": database_answers,
        "migrations": migrated,
        "gate": await _gate_answers(state.gate),
        "writer": checkout.writer.busy < 0.5,
        "worker": await _worker_lives(state.redis),
    }
    ready = Readiness(ready=all(parts.values()), **parts)
    return JSONResponse(ready.model_dump(), 200 if ready.ready else 503)


async def _gate_answers(gate: Gate) -> bool:
    try:
        await gate.facts("readiness")
    except (GateShut, GateUnclear):
        return False
    return True


async def _worker_lives(redis: Redis) -> bool:
    """The worker writes the time of its last heartbeat beside the frames."""
    beat = await redis.get("worker:beat")
    return beat is not None and time.time_ns() // 1_000_000 - int(beat) < LAG_MS_MAX
