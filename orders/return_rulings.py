"""What refunds and disputes do to an order: money that goes back, and now and then comes again.

A refund or dispute is known by its row, which is written in the transaction that books it. What is posted is what
the fact changed about all that stands returned (``orders.order_parts``), so it does not matter in which order the
facts came.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from orders.lifecycle import Input, dispute_input, refund_input
from orders.order_books import OrderBooks
from orders.order_rows import EXTERNAL, DisputeRow, RefundRow, Result, Ruling, Unbelievable
from orders.payments.facts import DisputeFact, RefundFact
from stream_events.ids import new_id
from stream_events.money import MoneyError, from_stripe_amount

METADATA_REFUND: Final = "refund_id"

# Where disputed money is. An inquiry ("warning_…") or a prevented dispute has taken none from us.
_STANDS: Final[Mapping[str, str]] = MappingProxyType(
    {"needs_response": "OPEN", "under_review": "OPEN", "won": "WON", "lost": "LOST"}
)
_UNMOVED: Final = frozenset(
    {"warning_needs_response", "warning_under_review", "warning_closed", "prevented"}
)


def _ours(amount_minor: int, currency: str) -> int:
    """Return an amount of Stripe's in our minor units, which differ for a few currencies."""
    try:
        return from_stripe_amount(amount_minor, currency)
    except MoneyError as error:
        raise Unbelievable(error.code) from error


# Refunds


@dataclass(frozen=True, slots=True)
class _Told:
    """A refund beside what the books know of it and of the payment it is of."""

    refund_id: str
    payment_intent_id: str
    amount_minor: int
    own: bool
    row: RefundRow | None


def brings_restock(books: OrderBooks, fact: RefundFact) -> bool:
    """Return whether this refund, were it booked now, puts units back on sale."""
    row = _refund_row(books, fact)
    if fact.status != "succeeded" or row is None or not row.restock or _ended(row):
        return False
    return row.payment_intent_id == books.sale_payment()


def rule_refund(books: OrderBooks, fact: RefundFact) -> Ruling:
    """Apply what Stripe says of a refund."""
    payment_intent_id = fact.payment_intent_id
    if payment_intent_id is None:
        raise Unbelievable("no_payment_intent")
    books.is_surplus(payment_intent_id)  # Raises unless the payment is in the books.
    told = _Told(
        refund_id=fact.refund_id,
        payment_intent_id=payment_intent_id,
        amount_minor=_ours(fact.amount_minor, books.currency),
        own=books.is_own(payment_intent_id),
        row=_refund_row(books, fact),
    )
    row = told.row
    if row and (row.payment_intent_id, row.amount_minor) != (payment_intent_id, told.amount_minor):
        raise Unbelievable("refund_mismatch")
    if fact.status == "succeeded":
        return _refund_succeeded(books, told)
    if fact.status in {"failed", "canceled"}:
        return _refund_failed(books, told)
    if row and _ended(row):
        return Ruling(Result.IGNORED, "an older word than the outcome in the books")
    known = row is not None and row.state == "PENDING"
    _set_refund(books, told, "PENDING")
    return Ruling(Result.KNOWN) if known else Ruling(Result.APPLIED, "pending")


def _ended(row: RefundRow) -> bool:
    """Whether Stripe's last word on it is in the books; that we once gave it up ourselves is not Stripe's word."""
    return row.state == "SUCCEEDED" or (row.state == "FAILED" and row.stripe_refund_id is not None)


def _refund_succeeded(books: OrderBooks, told: _Told) -> Ruling:
    if told.row and _ended(told.row):
        return Ruling(Result.KNOWN)
    if told.amount_minor > _left_minor(books, told):
        raise Unbelievable("refund_exceeds_payment")
    before = books.standing(told.payment_intent_id)
    row = _set_refund(books, told, "SUCCEEDED")
    books.turn("refund", told.refund_id, before)
    if told.own:
        books.refunded_minor += told.amount_minor
        books.money_changed = True
        _after_refund(books, succeeded=True)
    if row.restock and told.payment_intent_id == books.sale_payment():
        books.restock(row)
    return Ruling(Result.APPLIED)


def _refund_failed(books: OrderBooks, told: _Told) -> Ruling:
    if told.row and told.row.state == "FAILED" and _ended(told.row):
        return Ruling(Result.KNOWN)
    before = books.standing(told.payment_intent_id)
    given = told.row is not None and told.row.state == "SUCCEEDED"
    _set_refund(books, told, "FAILED")
    books.turn("refund_failed", told.refund_id, before)
    if told.own:
        books.refunded_minor -= told.amount_minor if given else 0
        books.money_changed = True
        _after_refund(books, succeeded=False)
    return Ruling(Result.APPLIED, "failed")


def refuse_refund(books: OrderBooks, refund_id: str) -> Ruling:
    """Close a refund of ours that Stripe will not make; the order says so, unless all is given back anyhow."""
    for row in books.refunds:
        if row.id == refund_id and row.state == "CREATING":
            row.state, row.changed = "FAILED", True
            if books.is_own(row.payment_intent_id):
                _after_refund(books, succeeded=False)
            return Ruling(Result.APPLIED, "refused")
    return Ruling(Result.KNOWN)


def _after_refund(books: OrderBooks, *, succeeded: bool) -> None:
    """Move the order to where its books are now, and let a dispute that is still open be seen."""
    happened = refund_input(
        succeeded=succeeded,
        received_minor=books.received_minor,
        returned_minor=books.refunded_minor + books.lost_minor(),
    )
    books.step(books.ruling_on(happened))
    if books.open_disputes():
        books.step(books.ruling_on(Input.DISPUTE_OPENED))


def _left_minor(books: OrderBooks, told: _Told) -> int:
    if told.own:
        return books.received_minor - books.refunded_minor
    given_minor = sum(
        row.amount_minor
        for row in books.refunds
        if row.payment_intent_id == told.payment_intent_id and row.state == "SUCCEEDED"
    )
    return books.total_minor - given_minor


def _refund_row(books: OrderBooks, fact: RefundFact) -> RefundRow | None:
    for row in books.refunds:
        if row.stripe_refund_id == fact.refund_id:
            return row
    for row in books.refunds:
        if row.stripe_refund_id is None and row.id == fact.metadata.get(METADATA_REFUND):
            return row
    return None


def _set_refund(books: OrderBooks, told: _Told, state: str) -> RefundRow:
    row = told.row
    if row is None:
        row = RefundRow(
            id=new_id("rfd"),
            payment_intent_id=told.payment_intent_id,
            amount_minor=told.amount_minor,
            reason=EXTERNAL,
            state=state,
            stripe_refund_id=told.refund_id,
            new=True,
        )
        books.refunds.append(row)
    row.state, row.stripe_refund_id, row.changed = state, told.refund_id, True
    return row


# Disputes


def rule_dispute(books: OrderBooks, fact: DisputeFact) -> Ruling:
    """Apply what Stripe says of a dispute; what it costs us is booked beside it, whenever that is known."""
    stand = _STANDS.get(fact.status)
    if stand is None and fact.status in _UNMOVED:
        return Ruling(Result.IGNORED, "no money moved")
    if stand is None or fact.payment_intent_id is None:
        raise Unbelievable("no_payment_intent" if stand else "unknown_status")
    books.is_surplus(fact.payment_intent_id)  # Raises unless the payment is in the books.
    row = next((row for row in books.disputes if row.id == fact.dispute_id), None)
    if row and (row.state != "OPEN" or stand == "OPEN"):
        known = row.state == stand and books.post_dispute_fee(fact)
        return Ruling(Result.APPLIED, "fee") if known else Ruling(Result.KNOWN)
    if row is None:
        # Its end proves its beginning: Stripe took the money before it decided.
        row = _open(books, fact, fact.payment_intent_id)
    if stand != "OPEN":
        _close(books, row, stand)
    books.post_dispute_fee(fact)
    return Ruling(Result.APPLIED, stand.lower())


def _open(books: OrderBooks, fact: DisputeFact, payment_intent_id: str) -> DisputeRow:
    amount_minor = _ours(fact.amount_minor, books.currency)
    if amount_minor > books.total_minor:
        raise Unbelievable("dispute_exceeds_payment")
    before = books.standing(payment_intent_id)
    row = DisputeRow(fact.dispute_id, payment_intent_id, amount_minor, "OPEN", new=True)
    books.disputes.append(row)
    books.turn("dispute", fact.dispute_id, before)
    if books.is_own(payment_intent_id):
        books.disputed_minor += amount_minor
        books.money_changed = True
        books.step(books.ruling_on(Input.DISPUTE_OPENED))
    return row


def _close(books: OrderBooks, row: DisputeRow, stand: str) -> None:
    before = books.standing(row.payment_intent_id)
    row.state, row.changed = stand, True
    books.turn("reinstate", row.id, before)
    if not books.is_own(row.payment_intent_id):
        return
    if stand == "WON":
        books.disputed_minor -= row.amount_minor
        books.money_changed = True
    happened = dispute_input(
        won=stand == "WON",
        received_minor=books.received_minor,
        returned_minor=books.refunded_minor + books.lost_minor(),
        others_open=bool(books.open_disputes()),
    )
    books.step(books.ruling_on(happened))
