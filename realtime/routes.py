"""The HTTP side of what people watch: tickets for the gateway, what is on screen now, and a farmer's figures.

Nothing here adds anything up: the screen and the summary are the very states that were published.
"""

import time
from collections.abc import Sequence
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from orders.requests import pace_of
from realtime.audience import viewers_of
from realtime.bus import announced_at_ms
from realtime.farmers import farmer_topic
from realtime.frames import TOPIC_CHARS_MAX, TOPICS_MAX
from realtime.tickets import TICKET_S, admit, make_ticket
from realtime.topics import read_states, rfc3339
from stream_events.access import Caller, Role, Signer, allow
from stream_events.database import Database
from stream_events.errors import not_found
from stream_events.links import Links
from stream_events.tables import Farmer, Stream

router = APIRouter(prefix="/v1", tags=["realtime"])

PublicId = Annotated[str, Path(max_length=64, pattern=r"^[\w-]+$")]
PROBLEM: dict[str, Any] = {"content": {"application/problem+json": {}}}


class TicketRequest(BaseModel):
    """What somebody wants to watch."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [{"topics": ["stream/str_0197/tally", "stream/str_0197/stock"]}]
        },
    )
    topics: list[Annotated[str, Field(min_length=1, max_length=TOPIC_CHARS_MAX)]] = Field(
        min_length=1, max_length=TOPICS_MAX
    )
    kind: str | None = Field(
        default=None,
        max_length=16,
        description="As what to be counted: overlay, shop, farmer or console. Left out, it follows the role.",
    )


class Ticket(BaseModel):
    """A ticket: the first message on the gateway's socket, as ``{"ticket": "…"}``."""

    ticket: str
    gateway_url: str
    expires_in_s: int


class ScreenFrame(BaseModel):
    """A topic's newest frame, and how long ago it last changed."""

    topic: str
    epoch: int
    version: int
    at: int
    age_ms: int
    state: dict[str, Any]


class PaymentsWaiting(BaseModel):
    """A stream's orders that are placed and not paid: ``count`` in all, ``paying`` of them have their turn now.

    ``minutes`` is how long until the last of the others has its turn, ``oldest_at`` when the oldest was placed.
    """

    count: int
    paying: int
    oldest_at: str | None
    minutes: int


class Screen(BaseModel):
    """What viewers of a stream see now.

    ``looked_age_ms`` is how long ago the announcer last looked, changed or not: null means for a minute or more.
    ``counted_in_ms`` is how long the newest payment on screen took from its posting to its number; null before any.
    ``viewers`` is null while it cannot be known.
    """

    frames: list[ScreenFrame]
    looked_age_ms: int | None
    counted_in_ms: int | None
    payments_waiting: PaymentsWaiting
    viewers: dict[str, int] | None


class FarmerSale(BaseModel):
    """A farmer's part of an order or a refund."""

    order: str
    sku: str
    quantity: int
    amount_minor: int
    kind: str
    at: str


class FarmerSummary(BaseModel):
    """What a farmer sold and earned, as posted in the ledger; the same as on the farmer's topic."""

    units: int = 0
    income_minor: int = 0
    currency: str | None = None
    last: list[FarmerSale] = []


def _database(request: Request) -> Database:
    return cast("Database", request.state.database)


@router.post(
    "/socket-tickets",
    status_code=201,
    summary="Get a ticket for the gateway",
    responses={401: PROBLEM, 403: PROBLEM, 404: PROBLEM, 422: PROBLEM},
)
async def create_ticket(
    body: TicketRequest,
    request: Request,
    caller: Annotated[
        Caller,
        Depends(
            allow(
                Role.PUBLIC,
                Role.SHOPPER,
                Role.FARMER,
                Role.OVERLAY,
                Role.MODERATOR,
                Role.HOST,
                Role.OPERATOR,
            )
        ),
    ],
) -> Ticket:
    """Let the caller watch ``topics`` for as long as it stays connected; the ticket itself is short-lived."""
    async with _database(request).begin() as sql:
        admitted = await admit(sql, caller, body.topics, body.kind)
    return Ticket(
        ticket=make_ticket(cast("Signer", request.state.signer), admitted),
        gateway_url=cast("Links", request.state.links).gateway_url,
        expires_in_s=TICKET_S,
    )


@router.get(
    "/streams/{stream_id}/screen",
    summary="See what viewers of a stream see",
    responses={401: PROBLEM, 403: PROBLEM, 404: PROBLEM, 422: PROBLEM},
)
async def read_screen(
    stream_id: PublicId,
    request: Request,
    caller: Annotated[Caller, Depends(allow(Role.HOST, Role.OPERATOR))],
) -> Screen:
    """Return the newest frames of a stream's topics with their age, and how many watch."""
    async with _database(request).begin() as sql:
        row = (
            await sql.execute(
                select(Stream.host_id, Stream.campaign_id).where(Stream.id == stream_id)
            )
        ).one_or_none()
        if row is None or (caller.role is Role.HOST and row.host_id != caller.host_id):
            raise not_found("stream")
        topics = [f"stream/{stream_id}/{what}" for what in ("tally", "stock", "status")]
        topics.append(f"campaign/{row.campaign_id}/tally")
        states = await read_states(sql, topics)
        counted_in_ms = await _counted_in_ms(sql, row.campaign_id, states.get(topics[0]))
        waiting = (await sql.execute(_WAITING, {"stream_id": stream_id})).one()
    rate_per_s = max(1, await pace_of(request).rate_per_s())
    now_ms = time.time_ns() // 1_000_000
    looked_at_ms, viewers = await _audience(cast("Redis", request.state.redis), stream_id)
    return Screen(
        frames=_screen_frames(topics, states, now_ms),
        looked_age_ms=None if looked_at_ms is None else max(0, now_ms - looked_at_ms),
        counted_in_ms=counted_in_ms,
        payments_waiting=PaymentsWaiting(
            count=waiting.queued + waiting.paying,
            paying=waiting.paying,
            oldest_at=rfc3339(waiting.oldest_at) if waiting.oldest_at else None,
            # Rounded up, and with everybody who stands in the queue: all streams share the pace.
            minutes=-(-waiting.ahead // (60 * rate_per_s)) if waiting.queued else 0,
        ),
        viewers=viewers,
    )


@router.get(
    "/farmers/{farmer_id}/summary",
    summary="See what a farmer sold and earned",
    responses={401: PROBLEM, 403: PROBLEM, 404: PROBLEM, 422: PROBLEM},
)
async def read_summary(
    farmer_id: PublicId,
    request: Request,
    caller: Annotated[Caller, Depends(allow(Role.FARMER, Role.OPERATOR))],
) -> FarmerSummary:
    """Return the newest state of the farmer's topic; zeros before the first sale."""
    async with _database(request).begin() as sql:
        known = await sql.scalar(select(Farmer.id).where(Farmer.id == farmer_id))
        if known is None or (caller.role is Role.FARMER and caller.farmer_id != farmer_id):
            raise not_found("farmer")
        topic = farmer_topic(farmer_id)
        row = (await read_states(sql, [topic])).get(topic)
    return FarmerSummary() if row is None else FarmerSummary.model_validate(row[2])


async def _counted_in_ms(
    sql: AsyncSession, campaign_id: str, tally: tuple[tuple[int, int], int, dict[str, Any]] | None
) -> int | None:
    """Return how long the newest transaction in the tally waited for its number."""
    number = {"campaign_id": campaign_id, "seq": 0 if tally is None else tally[2]["seq"]}
    lag_ms = await sql.scalar(_COUNTED_IN, number)
    return None if lag_ms is None else max(0, int(lag_ms))


def _screen_frames(
    topics: Sequence[str],
    states: dict[str, tuple[tuple[int, int], int, dict[str, Any]]],
    now_ms: int,
) -> list[ScreenFrame]:
    return [
        ScreenFrame(
            topic=topic,
            epoch=age[0],
            version=age[1],
            at=at_ms,
            age_ms=max(0, now_ms - at_ms),
            state=state,
        )
        for topic in topics
        for age, at_ms, state in ([states[topic]] if topic in states else [])
    ]


async def _audience(redis: Redis, stream_id: str) -> tuple[int | None, dict[str, int] | None]:
    """Ask Redis; the console must open without it too."""
    try:
        return await announced_at_ms(redis), await viewers_of(redis, stream_id)
    except (RedisError, OSError):
        return None, None


_COUNTED_IN = text("""
    SELECT extract(epoch FROM s.sealed_at - t.posted_at) * 1000
    FROM seals s JOIN ledger_transactions t ON t.id = s.transaction_id
    WHERE s.campaign_id = :campaign_id AND s.seq = :seq
""")
# Each half reads its own partial index, of orders that wait, however many are done.
_WAITING = text("""
    SELECT q.queued, p.paying, q.ahead, least(q.oldest_at, p.oldest_at) AS oldest_at FROM
        (SELECT count(*) AS ahead, count(*) FILTER (WHERE stream_id = :stream_id) AS queued,
                min(placed_at) FILTER (WHERE stream_id = :stream_id) AS oldest_at
         FROM orders WHERE state = 'RESERVED') q,
        (SELECT count(*) AS paying, min(placed_at) AS oldest_at
         FROM orders WHERE state = 'AWAITING_PAYMENT' AND stream_id = :stream_id) p
""")
