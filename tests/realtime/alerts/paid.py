"""Paid orders by the thousand with a clock of the test's own, and everything that became of their alerts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from orders.ledger import accounts
from stream_events.database import Database
from stream_events.ids import new_id
from tests.factories import Sale

T0 = datetime(2026, 11, 26, 20, 0, tzinfo=UTC)


def after(seconds: float) -> datetime:
    """Return an instant of the night."""
    return T0 + timedelta(seconds=seconds)


@dataclass
class Paid:
    """An order that was paid: what it bought, gave, and what its giver wants said."""

    at: datetime
    sku: str | None = "PEANUT-5KG"
    units: int = 1
    amount_minor: int = 2990
    gift_minor: int = 0
    shipping_minor: int = 0
    display: str | None = None
    name: str | None = None
    message: str | None = None
    order_id: str = field(default_factory=lambda: new_id("ord"))


async def pay(database: Database, sale: Sale, orders: Sequence[Paid]) -> list[str]:
    """Write sealed postings of these orders, as settlement and sealer do, but at the instants they say."""
    postings: list[tuple[Paid, str, int, list[list[Any]]]] = []
    for one in orders:
        if one.sku is not None:
            lines = [[one.sku, one.units]]
            postings.append((one, "capture", one.amount_minor + one.shipping_minor, lines))
        if one.gift_minor:
            postings.append((one, "donation", one.gift_minor, []))
    ids = sorted(new_id("txn") for _ in postings)
    async with database.begin() as sql:
        await sql.execute(_ORDERS, _orders(sale, orders))
        await sql.execute(_MESSAGES, _messages(orders))
        await sql.execute(
            _POSTINGS,
            {
                "ids": ids,
                "campaign": sale.campaign_id,
                "stream": sale.stream_id,
                "kinds": [kind for _, kind, _, _ in postings],
                "orders": [one.order_id for one, _, _, _ in postings],
                "lines": [json.dumps(lines) for *_, lines in postings],
                "at": [one.at for one, *_ in postings],
            },
        )
        entries = [
            entry
            for transaction_id, (one, kind, amount, _) in zip(ids, postings, strict=True)
            for entry in _entries(sale, transaction_id, one, kind, amount)
        ]
        await sql.execute(
            _ENTRIES,
            {
                "ids": [entry[0] for entry in entries],
                "accounts": [entry[1] for entry in entries],
                "amounts": [entry[2] for entry in entries],
            },
        )
        size = await sql.scalar(_HEAD, {"campaign": sale.campaign_id, "added": len(ids)})
        first = int(size or 0) - len(ids) + 1
        seqs = list(range(first, first + len(ids)))
        at = [one.at for one, *_ in postings]
        sealed = {"campaign": sale.campaign_id, "ids": ids, "seqs": seqs, "at": at}
        await sql.execute(_SEALS, sealed)
    return [one.order_id for one in orders]


def _entries(
    sale: Sale, transaction_id: str, one: Paid, kind: str, amount: int
) -> list[tuple[str, str, int]]:
    parts = [(accounts.STRIPE_CLEARING, amount)]
    if kind == "capture" and one.shipping_minor:
        parts.append((accounts.PLATFORM_SHIPPING, -one.shipping_minor))
        amount -= one.shipping_minor
    parts.append((accounts.beneficiary(sale.beneficiary_id), -amount))
    return [(transaction_id, account, minor) for account, minor in parts]


def _orders(sale: Sale, orders: Sequence[Paid]) -> dict[str, Any]:
    return {
        "ids": [one.order_id for one in orders],
        "totals": [one.amount_minor + one.gift_minor for one in orders],
        "stream": sale.stream_id,
    }


def _messages(orders: Sequence[Paid]) -> dict[str, Any]:
    said = [one for one in orders if one.display is not None]
    return {
        "ids": [one.order_id for one in said],
        "names": [one.name for one in said],
        "messages": [one.message for one in said],
        "displays": [one.display for one in said],
    }


async def run_sql(database: Database, statement: str, **values: Any) -> list[Any]:
    """Run one statement; return its rows, if it has any."""
    async with database.begin() as sql:
        done: Any = await sql.execute(text(statement), values)
        return list(done.all()) if done.returns_rows else []


async def judge(database: Database, order_id: str, display: str) -> None:
    """Decide on an order's words."""
    await run_sql(
        database,
        "UPDATE order_messages SET display = :display WHERE order_id = :order",
        order=order_id,
        display=display,
    )


async def airings(database: Database) -> list[Any]:
    """Return every airing so far, the oldest first."""
    return await run_sql(database, "SELECT * FROM airings ORDER BY starts_at, id")


async def turns(database: Database, group: str = "main") -> list[Any]:
    """Return every alert's turn in a group, in the order in which they were paid."""
    statement = """
        SELECT t.*, a.order_id FROM alert_turns t JOIN alerts a ON a.id = t.alert_id
        WHERE t.group_name = :group ORDER BY t.alert_id"""
    return await run_sql(database, statement, group=group)


_ORDERS = text("""
INSERT INTO orders (id, stream_id, shopper_id, state, total_minor, received_minor, currency, place, placed_at)
SELECT u.id, :stream, 'shp_1', 'PAID', u.total, u.total, 'CNY', 1, now()
FROM unnest(CAST(:ids AS text[]), CAST(:totals AS bigint[])) AS u (id, total)
ON CONFLICT DO NOTHING
""")
_MESSAGES = text("""
INSERT INTO order_messages (order_id, name, message, display, consent_at)
SELECT u.id, u.name, u.message, u.display, now()
FROM unnest(CAST(:ids AS text[]), CAST(:names AS text[]), CAST(:messages AS text[]), CAST(:displays AS text[]))
    AS u (id, name, message, display)
""")
_POSTINGS = text("""
INSERT INTO ledger_transactions
    (id, campaign_id, stream_id, kind, source_id, order_id, currency, lines, commitment, posted_at)
SELECT u.id, :campaign, :stream, u.kind, u.id, u.order_id, 'CNY', CAST(u.lines AS jsonb), 'c', u.at
FROM unnest(CAST(:ids AS text[]), CAST(:kinds AS text[]), CAST(:orders AS text[]), CAST(:lines AS text[]),
            CAST(:at AS timestamptz[])) AS u (id, kind, order_id, lines, at)
""")
_ENTRIES = text("""
INSERT INTO ledger_entries (transaction_id, account, amount_minor)
SELECT * FROM unnest(CAST(:ids AS text[]), CAST(:accounts AS text[]), CAST(:amounts AS bigint[]))
""")
_HEAD = text("""
INSERT INTO ledger_heads AS h (campaign_id, size) VALUES (:campaign, :added)
ON CONFLICT (campaign_id) DO UPDATE SET size = h.size + excluded.size RETURNING size
""")
_SEALS = text("""
INSERT INTO seals (campaign_id, seq, transaction_id, leaf_hash, sealed_at)
SELECT :campaign, u.seq, u.id, '\\x00', u.at
FROM unnest(CAST(:seqs AS bigint[]), CAST(:ids AS text[]), CAST(:at AS timestamptz[])) AS u (seq, id, at)
""")
