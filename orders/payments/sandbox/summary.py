"""What an oracle compares our books with: counts, sums in minor units, and what was delivered."""

from collections import Counter
from typing import Any

import msgspec

from orders.payments.sandbox.account import Account
from orders.payments.sandbox.books import Books

# A bank that only asks, or that gave the money back, holds none of it.
_HOLDING = ("needs_response", "under_review", "lost")


def state_of(account: Account) -> dict[str, Any]:
    """GET /sandbox/state."""
    books, deliveries = account.books, account.deliveries
    return {
        **_payments(books),
        **_refunds(books),
        **_disputes(books),
        "checkout_sessions": Counter(
            record.session.status for record in books.sessions.by_id.values()
        ),
        "confirmation_tokens": len(books.tokens),
        "events": len(books.events),
        "idempotent_replays": account.replays,
        "rate_limited": account.rate.refused,
        "webhooks": {
            "pending": deliveries.pending(),
            "held": len(deliveries.held),
            "attempts": deliveries.attempts,
            "refused": deliveries.refused,
            "delivered": len(books.delivered),
            "undelivered": len(books.undelivered),
        },
        "delivered_event_ids": list(books.delivered),
        "undelivered_event_ids": list(books.undelivered),
        "clock_ahead_s": books.clock.ahead_s,
        "faults": msgspec.structs.asdict(account.faults),
    }


def _payments(books: Books) -> dict[str, Any]:
    by_status: Counter[str] = Counter()
    received_minor: Counter[str] = Counter()
    for record in books.intents.by_id.values():
        by_status[record.intent.status] += 1
        received_minor[record.intent.currency] += record.intent.amount_received
    return {"payment_intents": by_status, "received_minor": received_minor}


def _refunds(books: Books) -> dict[str, Any]:
    by_status: Counter[str] = Counter()
    refunded_minor: Counter[str] = Counter()
    for record in books.refunds.by_id.values():
        by_status[record.refund.status] += 1
        if record.refund.status != "failed":
            refunded_minor[record.refund.currency] += record.refund.amount
    return {"refunds": by_status, "refunded_minor": refunded_minor}


def _disputes(books: Books) -> dict[str, Any]:
    by_status: Counter[str] = Counter()
    held_minor: Counter[str] = Counter()
    fees_minor: Counter[str] = Counter()
    for dispute in books.disputes.by_id.values():
        by_status[dispute.status] += 1
        if dispute.status in _HOLDING:
            held_minor[dispute.currency] += dispute.amount
        for moved in dispute.balance_transactions:
            fees_minor[dispute.currency] += moved.fee
    return {
        "disputes": by_status,
        "disputed_minor": held_minor,
        "dispute_fees_minor": fees_minor,
    }
