"""Orders in any state with their stock and attempts, written as the writer, pacer and pay route leave them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import text

from inventory.guard import release
from orders.payments.facts import DisputeFact, PaymentFact, RefundFact
from orders.settlement import settle
from stream_events.database import Database
from stream_events.ids import new_id
from tests.factories import Sale

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PATHS: Mapping[str, Sequence[str]] = {
    "RESERVED": (),
    "AWAITING_PAYMENT": ("AWAITING_PAYMENT",),
    "PROCESSING": ("AWAITING_PAYMENT", "PROCESSING"),
    "EXPIRING": ("AWAITING_PAYMENT", "EXPIRING"),
    "CANCELLING": ("AWAITING_PAYMENT", "CANCELLING"),
    "EXPIRED": ("AWAITING_PAYMENT", "EXPIRING", "EXPIRED"),
}


@dataclass(frozen=True, slots=True)
class Placed:
    """An order as placed, and what Stripe may say of its payment."""

    sale: Sale
    order_id: str
    shopper_id: str
    payment_intent_id: str
    quantity: int
    total_minor: int

    def payment(self, status: str = "succeeded", **changed: Any) -> PaymentFact:
        """Return the PaymentIntent in ``status``."""
        fields: dict[str, Any] = {
            "payment_intent_id": self.payment_intent_id,
            "status": status,
            "amount_minor": self.total_minor,
            "amount_received_minor": self.total_minor if status == "succeeded" else 0,
            "currency": self.sale.currency,
            "livemode": False,
            "metadata": {"order_id": self.order_id, "attempt": "1"},
            "client_secret": None,
            "next_action": status == "requires_action",
            "decline_code": None,
            "fee_minor": None,
            "created_at": NOW,
        }
        return PaymentFact(**{**fields, **changed})

    def refund(self, refund_id: str, status: str = "succeeded", **changed: Any) -> RefundFact:
        """Return a refund of the whole payment."""
        fields: dict[str, Any] = {
            "refund_id": refund_id,
            "payment_intent_id": self.payment_intent_id,
            "charge_id": None,
            "amount_minor": self.total_minor,
            "currency": self.sale.currency,
            "status": status,
            "failure_reason": None,
            "metadata": {},
            "created_at": NOW,
        }
        return RefundFact(**{**fields, **changed})

    def dispute(self, dispute_id: str, status: str, **changed: Any) -> DisputeFact:
        """Return a dispute over the whole payment."""
        fields: dict[str, Any] = {
            "dispute_id": dispute_id,
            "payment_intent_id": self.payment_intent_id,
            "charge_id": None,
            "amount_minor": self.total_minor,
            "currency": self.sale.currency,
            "status": status,
            "created_at": NOW,
        }
        return DisputeFact(**{**fields, **changed})


async def place(
    database: Database,
    sale: Sale,
    state: str = "AWAITING_PAYMENT",
    *,
    quantity: int = 1,
    attempt: str | None = "REQUIRES_ACTION",
    shopper_id: str = "",
    payment_intent_id: str = "",
    gifts: Sequence[tuple[str, int]] = (),
    shipping_minor: int = 0,
) -> Placed:
    """Write an order that went its way to ``state``, with one attempt unless ``attempt`` is None.

    ``gifts`` are (beneficiary, amount); with a quantity of 0 they are all that it is.
    """
    placed = Placed(
        sale,
        new_id("ord"),
        shopper_id or new_id("shp"),
        payment_intent_id or f"pi_{os.urandom(8).hex()}",
        quantity,
        quantity * sale.price_minor + shipping_minor + sum(amount for _, amount in gifts),
    )
    given = _row_of(placed, shipping_minor)
    async with database.begin() as sql:
        for statement in _PLACE + (_PLACE_GOODS if quantity else ()):
            await sql.execute(text(statement), given)
        for n, (beneficiary_id, amount_minor) in enumerate(gifts, start=1):
            line = {"order": placed.order_id, "n": n, "to": beneficiary_id, "amount": amount_minor}
            await sql.execute(text(_PLACE_GIFT), line)
        if attempt:
            await add_attempt(
                database,
                placed,
                1,
                attempt,
                None if attempt == "CREATING" else placed.payment_intent_id,
                sql,
            )
        for to_state in PATHS[state]:
            await sql.execute(
                text(
                    "UPDATE orders SET state = :to, pay_by = now() + interval '15 min' WHERE id = :order"
                ),
                {"to": to_state, "order": placed.order_id},
            )
    if state == "EXPIRED":
        async with database.begin() as sql:
            await release(sql, [placed.order_id])
    return placed


def _row_of(placed: Placed, shipping_minor: int) -> dict[str, Any]:
    sale = placed.sale
    return {
        "order": placed.order_id,
        "op": os.urandom(32),
        "stream": sale.stream_id,
        "shopper": placed.shopper_id,
        "stock": sale.stock_id,
        "terms": sale.terms_id,
        "quantity": placed.quantity,
        "total": placed.total_minor,
        "goods": placed.quantity * sale.price_minor,
        "shipping": shipping_minor,
        "kind": "goods" if placed.quantity else "gift",
        "currency": sale.currency,
        "limit": sale.per_shopper_max,
    }


async def add_attempt(
    database: Database,
    placed: Placed,
    n: int,
    state: str,
    payment_intent_id: str | None,
    sql: Any = None,
) -> None:
    """Write a row of ``pay_attempts``."""
    statement = text(
        "INSERT INTO pay_attempts (order_id, n, state, payment_intent_id, params)"
        " VALUES (:order, :n, :state, :pi, '{}')"
    )
    given = {"order": placed.order_id, "n": n, "state": state, "pi": payment_intent_id}
    if sql is not None:
        await sql.execute(statement, given)
        return
    async with database.begin() as own:
        await own.execute(statement, given)


def snapshot_of(fact: PaymentFact | RefundFact | DisputeFact) -> dict[str, Any]:
    """Return a fact as the Stripe object it would be read from."""
    common = {
        "amount": fact.amount_minor,
        "currency": fact.currency.lower(),
        "status": fact.status,
        "created": 1,
    }
    if isinstance(fact, PaymentFact):
        return {
            **common,
            "object": "payment_intent",
            "id": fact.payment_intent_id,
            "amount_received": fact.amount_received_minor,
            "livemode": fact.livemode,
            "metadata": dict(fact.metadata),
        }
    if isinstance(fact, RefundFact):
        return {
            **common,
            "object": "refund",
            "id": fact.refund_id,
            "payment_intent": fact.payment_intent_id,
            "metadata": dict(fact.metadata),
        }
    return {
        **common,
        "object": "dispute",
        "id": fact.dispute_id,
        "payment_intent": fact.payment_intent_id,
    }


async def store_event(
    database: Database, event_type: str, snapshot: Mapping[str, Any], *, livemode: bool = False
) -> str:
    """Store an event as the webhook does; return its id."""
    event_id = f"evt_{os.urandom(8).hex()}"
    payload = {
        "object": "event",
        "id": event_id,
        "type": event_type,
        "created": 1,
        "livemode": livemode,
        "data": {"object": snapshot},
    }
    async with database.begin() as sql:
        await sql.execute(
            text(
                "INSERT INTO stripe_events (event_id, type, object_id, livemode, payload)"
                " VALUES (:id, :type, :object, :live, CAST(:payload AS jsonb))"
            ),
            {
                "id": event_id,
                "type": event_type,
                "object": snapshot.get("id", ""),
                "live": livemode,
                "payload": msgspec.json.encode(payload).decode(),
            },
        )
    return event_id


async def rows(database: Database, statement: str, **given: Any) -> list[Any]:
    """Return what a query finds, as tuples."""
    async with database.begin() as sql:
        return [tuple(row) for row in await sql.execute(text(statement), given)]


async def run(database: Database, *statements: str, **given: Any) -> None:
    """Run statements in one transaction."""
    async with database.begin() as sql:
        for statement in statements:
            await sql.execute(text(statement), given)


async def state_of(database: Database, placed: Placed) -> tuple[Any, ...]:
    return (await rows(database, _STATE, id=placed.order_id))[0]


async def stock(database: Database) -> tuple[int, int]:
    return (await rows(database, "SELECT sum(reserved), sum(sold) FROM stock"))[0]


async def word(database: Database, placed: Placed) -> str:
    found = await rows(
        database,
        "SELECT kind FROM stock_moves WHERE source_id = :id ORDER BY at, kind DESC",
        id=placed.order_id,
    )
    letters = {kind for (kind,) in found}
    return "".join(kind for kind in "RCXLT" if kind in letters)


async def books(database: Database) -> dict[str, dict[str, int]]:
    """Return each kind's sums by account, after proving that every transaction balances."""
    unbalanced = await rows(
        database,
        "SELECT transaction_id FROM ledger_entries GROUP BY transaction_id HAVING sum(amount_minor) <> 0",
    )
    assert unbalanced == []
    found = await rows(
        database,
        "SELECT t.kind, e.account, sum(e.amount_minor) FROM ledger_transactions t"
        " JOIN ledger_entries e ON e.transaction_id = t.id GROUP BY 1, 2",
    )
    kinds: dict[str, dict[str, int]] = {}
    for kind, account, amount_minor in found:
        kinds.setdefault(kind, {})[account] = int(amount_minor)
    return kinds


async def net(database: Database) -> dict[str, int]:
    found = await rows(database, "SELECT account, sum(amount_minor) FROM ledger_entries GROUP BY 1")
    return {account: int(amount) for account, amount in found if amount}


async def settled(database: Database, *facts: Any) -> list[tuple[str, str]]:
    return [(outcome.result.value, outcome.reason) for outcome in await settle(database, facts)]


_STATE = "SELECT state, received_minor, refunded_minor, disputed_minor FROM orders WHERE id = :id"
_PLACE = (
    (
        "INSERT INTO order_keys (op, stream_id, fingerprint, outcome, adm, order_id)"
        " VALUES (:op, :stream, :op, 'PLACED', 'adm', :order)"
    ),
    (
        "INSERT INTO orders (id, stream_id, shopper_id, state, total_minor, currency, place, placed_at, kind,"
        " shipping_minor)"
        " VALUES (:order, :stream, :shopper, 'RESERVED', :total, :currency, 1, now(), :kind, :shipping)"
    ),
)
_PLACE_GIFT = (
    "INSERT INTO order_gifts (order_id, n, kind, beneficiary_id, amount_minor)"
    " VALUES (:order, :n, 'gift', :to, :amount)"
)
_PLACE_GOODS = (
    (
        "INSERT INTO order_lines (order_id, stock_id, terms_id, quantity, amount_minor)"
        " VALUES (:order, :stock, :terms, :quantity, :goods)"
    ),
    (
        "INSERT INTO stock_moves (source_id, stock_id, kind, stream_id, quantity, shopper_id)"
        " VALUES (:order, :stock, 'R', :stream, :quantity, :shopper)"
    ),
    (
        "INSERT INTO shopper_units (stock_id, shopper_id, units, limit_max) VALUES (:stock, :shopper, :quantity, :limit)"
        " ON CONFLICT (stock_id, shopper_id) DO UPDATE SET units = shopper_units.units + excluded.units"
    ),
    "UPDATE stock SET reserved = reserved + :quantity WHERE id = :stock",
)
