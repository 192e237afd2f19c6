"""Peer of ``bench settle``: one webhook, one transaction, through the ORM, as most shops settle.

Done with care: the signature is checked by Stripe's own library, a repeat is found by one insert, the order comes
with its lines in one query and is locked, what belongs together is flushed together, and the rows that everybody
wants (stock, totals) are locked last and for no longer than their statement and the commit. It runs behind HTTP
(``uvicorn …settle_orm:app``), and without it: ``python -m loadtests.bench.peers.settle_orm FILE --sessions N``.
"""

import argparse
import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import msgspec
import stripe
import uvloop
from fastapi import FastAPI, HTTPException, Request, Response
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import joinedload

from loadtests.bench.load import cpu_s
from loadtests.bench.peers.shop_tables import Entry, Event, Line, Order, Posting, Stock, Tally
from loadtests.bench.webhooks import Webhook

CONNECTIONS: Final = 16
TOLERANCE_S: Final = 300
WARM_UP: Final = 64


class Shop:
    """Settles one webhook after another, each in a transaction of its own."""

    def __init__(self, engine: AsyncEngine, secret: str) -> None:
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)
        self._secret = secret

    async def take(self, body: bytes, signature: str) -> None:
        """Verify, store and settle a webhook; raises ``stripe.SignatureVerificationError``."""
        stripe.WebhookSignature.verify_header(body.decode(), signature, self._secret, TOLERANCE_S)
        event = msgspec.json.decode(body, type=dict[str, Any])
        async with self._sessions.begin() as sql:
            fresh = (
                insert(Event)
                .values(id=event["id"], type=event["type"], payload=event)
                .on_conflict_do_nothing()
                .returning(Event.id)
            )
            if await sql.scalar(fresh) is not None and event["type"] == "payment_intent.succeeded":
                await settle(sql, event["data"]["object"])


async def settle(sql: AsyncSession, paid: dict[str, Any]) -> None:
    """Make a paid order PAID: ledger, stock and totals with it."""
    wanted = (
        select(Order)
        .where(Order.payment_intent_id == paid["id"])
        .options(joinedload(Order.lines, innerjoin=True))
        .with_for_update(of=Order)
    )
    order = (await sql.scalars(wanted)).unique().one()
    as_agreed = (order.total_minor, order.currency.lower())
    if (
        order.state != "AWAITING_PAYMENT"
        or (paid["amount_received"], paid["currency"]) != as_agreed
    ):
        raise ValueError(f"order {order.id} cannot have been paid like this")
    order.state, order.paid_at = "PAID", func.now()
    entries = shares(order)
    sql.add(Posting(payment_intent_id=paid["id"], order_id=order.id, entries=entries))
    await sql.flush()
    for line in sorted(order.lines, key=lambda line: line.stock_id):
        await sql.execute(
            update(Stock)
            .where(Stock.id == line.stock_id)
            .values(reserved=Stock.reserved - line.quantity, sold=Stock.sold + line.quantity)
            .execution_options(synchronize_session=False)
        )
    raised_minor = -sum(e.amount_minor for e in entries if e.account.startswith("beneficiary/"))
    await sql.execute(
        update(Tally)
        .where(Tally.scope_id.in_([order.campaign_id, order.stream_id]))
        .values(
            raised_minor=Tally.raised_minor + raised_minor,
            sales_minor=Tally.sales_minor + order.total_minor,
            orders=Tally.orders + 1,
            units=Tally.units + sum(line.quantity for line in order.lines),
        )
        .execution_options(synchronize_session=False)
    )


def shares(order: Order) -> list[Entry]:
    """Return the balanced entries of a sale: what came in, and whose it is."""
    farmer_minor = sum(part(line, line.farmer_bp) for line in order.lines)
    beneficiary_minor = sum(part(line, line.beneficiary_bp) for line in order.lines)
    return [
        Entry(account="stripe/clearing", amount_minor=order.total_minor),
        Entry(account="farmer/1", amount_minor=-farmer_minor),
        Entry(account="beneficiary/1", amount_minor=-beneficiary_minor),
        Entry(
            account="platform/fees",
            amount_minor=farmer_minor + beneficiary_minor - order.total_minor,
        ),
    ]


def part(line: Line, share_bp: int) -> int:
    """Return a share of a line, rounded down; the platform's is what is left."""
    return line.amount_minor * share_bp // 10_000


def connect(connections: int) -> AsyncEngine:
    """Open the pool."""
    return create_async_engine(
        os.environ["BENCH_DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://"),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=60,
    )


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the pool, close it."""
    engine = connect(CONNECTIONS)
    app.state.shop = Shop(engine, os.environ["BENCH_WEBHOOK_SECRET"])
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.post("/webhooks")
async def receive(request: Request) -> Response:
    """Answer 200 when a webhook is settled."""
    shop: Shop = request.app.state.shop
    try:
        await shop.take(await request.body(), request.headers.get("stripe-signature", ""))
    except stripe.SignatureVerificationError as error:
        raise HTTPException(400, "bad_signature") from error
    return Response(b"{}", media_type="application/json")


async def drain(webhooks: Sequence[Webhook], sessions: int) -> dict[str, float]:
    """Settle webhooks from memory in so many sessions at once; the first of them only warm up."""
    engine = connect(sessions)
    shop = Shop(engine, os.environ["BENCH_WEBHOOK_SECRET"])

    async def work(left: Iterable[Webhook]) -> None:
        for webhook in left:
            await shop.take(webhook.body, webhook.signature)

    async def all_at_once(some: Sequence[Webhook]) -> None:
        left = iter(some)
        await asyncio.gather(*(work(left) for _ in range(sessions)))

    await all_at_once(webhooks[:WARM_UP])
    began, used_s = perf_counter(), cpu_s()
    await all_at_once(webhooks[WARM_UP:])
    figures = {
        "settled": len(webhooks) - WARM_UP,
        "seconds": perf_counter() - began,
        "cpu_s": cpu_s() - used_s,
    }
    await engine.dispose()
    return figures


def main() -> None:
    """Settle what is in a file of webhooks, and print how long it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--sessions", type=int, required=True)
    asked = parser.parse_args()
    webhooks = msgspec.json.decode(asked.file.read_bytes(), type=list[Webhook])
    print(json.dumps(uvloop.run(drain(webhooks, asked.sessions))))


if __name__ == "__main__":
    main()
