"""Peer (c): the way most would build it. FastAPI, a Redis script for the stock, an ORM insert and commit an order."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Final

from fastapi import FastAPI, Header, HTTPException, Request
from pydantic import BaseModel, Field
from redis.asyncio import BlockingConnectionPool, Redis
from sqlalchemy import BigInteger, Identity, Text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

CONNECTIONS: Final = 16
# Idempotent, as ours: a key that took its unit does not take another.
TAKE: Final = """
if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 then return 2 end
local left = tonumber(redis.call('GET', KEYS[1]) or '0')
if left < tonumber(ARGV[2]) then return 0 end
redis.call('DECRBY', KEYS[1], ARGV[2])
redis.call('SADD', KEYS[2], ARGV[1])
return 1
"""


class Base(DeclarativeBase):
    """The peer's own tables."""


class PlacedOrder(Base):
    """An order."""

    __tablename__ = "bench_orm_orders"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    key: Mapped[str] = mapped_column(Text, unique=True)
    sku: Mapped[str] = mapped_column(Text)
    quantity: Mapped[int]


class Line(BaseModel):
    """So many units of a SKU."""

    sku: Annotated[str, Field(min_length=1, max_length=64)]
    quantity: Annotated[int, Field(ge=1, le=10_000)]


class Order(BaseModel):
    """What a shopper wants."""

    lines: Annotated[list[Line], Field(min_length=1, max_length=20)]


class Placed(BaseModel):
    """What a shopper gets."""

    id: int
    lines: list[Line]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the pools."""
    engine = create_async_engine(
        os.environ["BENCH_DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://"),
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=60,
    )
    pool = BlockingConnectionPool.from_url(
        os.environ["BENCH_REDIS_URL"], max_connections=CONNECTIONS, timeout=60
    )
    redis = Redis(connection_pool=pool)
    app.state.sessions = async_sessionmaker(engine, expire_on_commit=False)
    app.state.take = redis.register_script(TAKE)
    yield
    await redis.aclose()
    await pool.aclose()
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.post("/v1/streams/{stream_id}/orders", status_code=201)
async def place(
    request: Request,
    stream_id: str,
    order: Order,
    idempotency_key: Annotated[str, Header(max_length=255)],
) -> Placed:
    """Take the unit in Redis, then write the order."""
    line = order.lines[0]
    taken = await request.app.state.take(
        keys=[f"bench:orm:{line.sku}", f"bench:orm:keys:{stream_id}"],
        args=[idempotency_key, line.quantity],
    )
    if taken == 0:
        raise HTTPException(409, "sold_out")
    sessions: async_sessionmaker[AsyncSession] = request.app.state.sessions
    row = PlacedOrder(key=idempotency_key, sku=line.sku, quantity=line.quantity)
    async with sessions.begin() as sql:
        sql.add(row)
    return Placed(id=row.id, lines=order.lines)
