"""I16, I19, I20 and I22: our books against Stripe's own word, listed page by page.

Stripe is listed first and the books are read after it, so what is newer than the list is known to be newer. Facts
on their way between the two are given ``lag_s`` to arrive before they count as lost.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from orders.invariants.finding import Finding, breaches, capped, figure
from orders.payments.facts import DisputeFact, EventFact, PaymentFact, RefundFact
from orders.payments.stripe_gateway import StripeGateway
from stream_events.database import Database
from stream_events.money import from_stripe_amount

PAGES_MAX: Final = 2_000
EVENTS_KEPT: Final = timedelta(days=29)
EVENT_TYPES: Final = (
    "payment_intent.succeeded",
    "payment_intent.canceled",
    "refund.*",
    "charge.dispute.*",
)
_ENDED: Final = frozenset({"succeeded", "canceled"})
# While a dispute is open, and when it is lost, its money is not ours.
_HELD: Final = frozenset({"needs_response", "under_review", "lost"})
# A mismatch of these kinds can never become right, so its object must not be in the books by another way either.
_NEVER_RIGHT: Final = (
    "amount_mismatch",
    "received_mismatch",
    "currency_mismatch",
    "livemode_mismatch",
    "unknown_order",
)


@dataclass(slots=True)
class Word:
    """All that Stripe says of our orders, and the instant from which it may not have reached us yet."""

    fresh_at: datetime
    asked_at: datetime
    payments: list[PaymentFact] = field(default_factory=list)
    refunds: list[RefundFact] = field(default_factory=list)
    disputes: list[DisputeFact] = field(default_factory=list)
    events: list[EventFact] = field(default_factory=list)


async def ask(database: Database, stripe: StripeGateway, *, lag_s: int) -> Word:
    """List Stripe's objects since our first attempt. Raises ``PaymentError`` when Stripe does not tell it all."""
    async with database.begin() as sql:
        row = (await sql.execute(_SINCE, {"lag_s": lag_s})).one()
    word = Word(row.fresh_at, row.now)
    if row.since is None:
        return word
    async for payment in stripe.list_payment_intents(row.since, pages_max=PAGES_MAX):
        word.payments.append(payment)
    async for refund in stripe.list_refunds(row.since, pages_max=PAGES_MAX):
        word.refunds.append(refund)
    async for dispute in stripe.list_disputes(row.since, pages_max=PAGES_MAX):
        word.disputes.append(dispute)
    since = max(row.since, row.now - EVENTS_KEPT)
    async for event in stripe.list_events(since, types=EVENT_TYPES, pages_max=PAGES_MAX):
        word.events.append(event)
    return word


async def i16(sql: AsyncSession, word: Word) -> Finding:
    """For every order the ledger has exactly the money that Stripe has."""
    at_stripe, fresh = _money_at_stripe(word)
    rows = (await sql.execute(_LEDGER_BY_ORDER, {"fresh_at": word.fresh_at})).all()
    ledger = {row.order_id: int(row.held_minor) for row in rows}
    fresh |= {row.order_id for row in rows if row.fresh}
    lines = []
    for order_id in sorted(at_stripe.keys() | ledger.keys()):
        stripe_minor, ledger_minor = at_stripe.get(order_id, 0), ledger.get(order_id, 0)
        if stripe_minor != ledger_minor and order_id not in fresh:
            lines.append(f"order {order_id}: Stripe has {stripe_minor}, the ledger {ledger_minor}")
    figures = {
        "stripe_minor": sum(at_stripe.values()),
        "ledger_minor": sum(ledger.values()),
        "orders": len(at_stripe),
    }
    return Finding("I16", "the ledger has what Stripe has, order by order", figures, capped(lines))


def _money_at_stripe(word: Word) -> tuple[dict[str, int], set[str]]:
    """Return what each order has at Stripe, net of refunds and disputes, and the orders that just changed."""
    order_of = {
        payment.payment_intent_id: payment.metadata.get("order_id", "") for payment in word.payments
    }
    money: defaultdict[str, int] = defaultdict(int)
    fresh: set[str] = set()
    for payment in word.payments:
        order_id = order_of[payment.payment_intent_id]
        if payment.amount_received_minor:
            money[order_id] += from_stripe_amount(payment.amount_received_minor, payment.currency)
        if payment.created_at >= word.fresh_at:
            fresh.add(order_id)
    for refund in word.refunds:
        order_id = order_of.get(refund.payment_intent_id or "", "")
        if refund.status == "succeeded":
            money[order_id] -= from_stripe_amount(refund.amount_minor, refund.currency)
        if refund.created_at >= word.fresh_at:
            fresh.add(order_id)
    for dispute in word.disputes:
        order_id = order_of.get(dispute.payment_intent_id or "", "")
        if dispute.status in _HELD:
            money[order_id] -= from_stripe_amount(dispute.amount_minor, dispute.currency)
        if dispute.created_at >= word.fresh_at:
            fresh.add(order_id)
    fresh |= {
        order_of.get(_payment_of(event), "")
        for event in word.events
        if event.created_at >= word.fresh_at
    }
    money.pop("", None)  # Not ours: I20 speaks of them.
    return money, fresh


def _payment_of(event: EventFact) -> str:
    if event.object_kind == "payment_intent":
        return event.object_id
    reference = event.snapshot.get("payment_intent")
    return reference if isinstance(reference, str) else ""


async def i19(sql: AsyncSession, word: Word) -> Finding:
    """Where units were given back, nobody can pay for them any more."""
    released = set(await sql.scalars(_RELEASED, {"fresh_at": word.fresh_at}))
    payable = [
        f"order {payment.metadata['order_id']}: {payment.payment_intent_id} is {payment.status}"
        for payment in word.payments
        if payment.metadata.get("order_id") in released and payment.status not in _ENDED
    ]
    figures = {"released": len(released), "payments": len(word.payments)}
    return Finding("I19", "nothing of a released order is payable", figures, capped(payable))


async def i20(sql: AsyncSession, word: Word, *, at_rest: bool) -> Finding:
    """Every payment at Stripe is one that we recorded before asking for it."""
    rows = (await sql.execute(_ATTEMPTS)).all()
    known = {row.payment_intent_id for row in rows if row.payment_intent_id}
    open_ = {(row.order_id, str(row.n)) for row in rows if not row.payment_intent_id}
    lines = []
    for payment in word.payments:
        meant = (payment.metadata.get("order_id", ""), payment.metadata.get("attempt", ""))
        if payment.payment_intent_id in known or not meant[0]:
            continue
        if meant in open_ and (payment.created_at >= word.fresh_at or _nothing_came_of(payment)):
            continue
        lines.append(f"{payment.payment_intent_id} of order {meant[0]} has no attempt")
    stuck = """
        SELECT order_id, n, created_at FROM pay_attempts
        WHERE state = 'CREATING' AND created_at < now() - make_interval(secs => :age_s)
    """
    return Finding(
        "I20",
        "every payment at Stripe has its attempt, and no attempt stays unclear",
        {"payments": len(word.payments), "attempts": len(rows)},
        [
            *capped(lines),
            *await breaches(sql, "still unclear", stuck, age_s=60 if at_rest else 3600),
        ],
    )


def _nothing_came_of(payment: PaymentFact) -> bool:
    return payment.status == "canceled"


async def i22(sql: AsyncSession, word: Word | None, *, at_rest: bool, lag_s: int) -> Finding:
    """Every event reached us and was dealt with; what was set apart is counted nowhere."""
    waiting = """
        SELECT event_id, type, received_at FROM stripe_events
        WHERE state = 'NEW' AND received_at < now() - make_interval(secs => :age_s)
    """
    counted = """
        SELECT e.event_id, e.reason, t.id AS transaction_id
        FROM stripe_events e JOIN ledger_transactions t ON t.source_id = e.object_id
        WHERE e.state = 'QUARANTINED' AND e.reason = ANY(:never_right)
    """
    missing: list[str] = []
    if word is not None:
        # Also at rest: nothing is sent again sooner than the reconciler asks for what was lost.
        due_at = word.asked_at - timedelta(seconds=lag_s)
        heard = [event for event in word.events if event.created_at < due_at]
        known = set(await sql.scalars(_KNOWN, {"events": [event.event_id for event in heard]}))
        missing = [
            f"{event.event_id} ({event.event_type}) never reached us"
            for event in heard
            if event.event_id not in known
        ]
    return Finding(
        "I22",
        "every event arrived and is dealt with; what is set apart counts nowhere",
        await figure(
            sql,
            "SELECT count(*) AS events, count(*) FILTER (WHERE state = 'DONE') AS done,"
            " count(*) FILTER (WHERE state = 'QUARANTINED') AS quarantined,"
            " count(*) FILTER (WHERE state = 'NEW') AS waiting FROM stripe_events",
        ),
        [
            *capped(missing),
            *await breaches(sql, "not dealt with", waiting, age_s=0 if at_rest else lag_s),
            *await breaches(sql, "set apart, and counted", counted, never_right=list(_NEVER_RIGHT)),
        ],
    )


_SINCE = text("""
SELECT (SELECT min(created_at) FROM pay_attempts) - interval '10 min' AS since, now() AS now,
       now() - make_interval(secs => :lag_s) AS fresh_at
""")
_LEDGER_BY_ORDER = text("""
SELECT o.id AS order_id, coalesce(l.held_minor, 0) AS held_minor,
       greatest(o.state_at, l.posted_at, a.updated_at) >= :fresh_at AS fresh
FROM orders o
LEFT JOIN (
    SELECT t.order_id, max(t.posted_at) AS posted_at,
           sum(e.amount_minor) FILTER (WHERE t.kind <> 'stripe_fee') AS held_minor
    FROM ledger_transactions t
    JOIN ledger_entries e ON e.transaction_id = t.id AND e.account = 'stripe/clearing'
    GROUP BY t.order_id
) l ON l.order_id = o.id
LEFT JOIN (SELECT order_id, max(updated_at) AS updated_at FROM pay_attempts GROUP BY order_id) a
    ON a.order_id = o.id
WHERE l.order_id IS NOT NULL OR a.order_id IS NOT NULL
""")
_RELEASED = text("""
SELECT DISTINCT x.source_id FROM stock_moves x
WHERE x.kind = 'X' AND x.at < :fresh_at AND NOT EXISTS (
    SELECT 1 FROM stock_moves l WHERE l.source_id = x.source_id AND l.stock_id = x.stock_id AND l.kind = 'L')
""")
_ATTEMPTS = text("SELECT order_id, n, state, payment_intent_id FROM pay_attempts")
_KNOWN = text("SELECT event_id FROM stripe_events WHERE event_id = ANY(CAST(:events AS text[]))")
