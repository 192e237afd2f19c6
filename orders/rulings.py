"""What a fact from Stripe does to an order: the law that settlement applies, apart from all SQL.

``orders.lifecycle`` says where an order goes; here stands what is believed, what is the same fact again, and which
money belongs to which. A fact is checked whole before it changes anything, so that a refused one leaves no trace.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from orders.ledger import accounts, post
from orders.lifecycle import (
    Act,
    Input,
    Move,
    OrderState,
    Quarantine,
    dispute_input,
    refund_input,
    verdict,
)
from orders.order_books import (
    DUPLICATE,
    EXTERNAL,
    LATE_NO_STOCK,
    SURPLUS_ACCOUNT,
    Attempt,
    OrderBooks,
    RefundRow,
    Result,
    Ruling,
    Unbelievable,
)
from orders.payments.facts import DisputeFact, PaymentFact, RefundFact
from stream_events.ids import new_id
from stream_events.money import MoneyError, from_stripe_amount, stripe_amount

Fact = PaymentFact | RefundFact | DisputeFact

METADATA_REFUND: Final = "refund_id"

# Where disputed money is. An inquiry ("warning_…") or a prevented dispute has taken none from us.
_OPEN, _WON, _LOST = "open", "won", "lost"
_STANDS: Final[Mapping[str, str]] = MappingProxyType(
    {"needs_response": _OPEN, "under_review": _OPEN, "won": _WON, "lost": _LOST}
)
_UNMOVED: Final = frozenset(
    {"warning_needs_response", "warning_under_review", "warning_closed", "prevented"}
)

_ATTEMPT_DEAD: Final = frozenset({"CANCELED", "ABSENT"})
_RELEASING: Final = frozenset({OrderState.EXPIRING, OrderState.CANCELLING})
_RELEASED: Final = frozenset({OrderState.EXPIRED, OrderState.CANCELLED})


def needs(books: OrderBooks, fact: Fact) -> Move | None:
    """Return which stock move the fact would bring, so that one transaction makes one kind of them.

    ``L`` means that the guard must be asked for released units before ``apply`` is called.
    """
    if not isinstance(fact, PaymentFact) or _objection(books, fact) or books.paid_by(fact):
        return None
    if fact.status == "succeeded" and not books.has_money():
        if books.state in _RELEASED:
            return "L"
        act = verdict(books.state, Input.PAY_SUCCEEDED)
        return act.moves[0] if isinstance(act, Act) and act.moves else None
    if fact.status == "canceled" and books.state in _RELEASING:
        mine = books.attempt_of(fact)
        dead = all(each is mine or each.state in _ATTEMPT_DEAD for each in books.attempts)
        return "X" if dead else None
    return None


def apply(
    books: OrderBooks, fact: Fact, *, livemode: bool | None = None, sold_late: bool = False
) -> Ruling:
    """Apply one fact; raise ``Unbelievable``, with nothing changed, when it must be quarantined.

    ``livemode`` is that of the event a refund or dispute came in: those objects do not say it themselves.
    ``sold_late`` is the guard's answer where ``needs`` said ``L``.
    """
    if isinstance(fact, PaymentFact):
        return _payment(books, fact, sold_late=sold_late)
    if fact.currency != books.currency:
        raise Unbelievable("currency_mismatch")
    if livemode is not None and livemode != books.live:
        raise Unbelievable("livemode_mismatch")
    return _refund(books, fact) if isinstance(fact, RefundFact) else _dispute(books, fact)


def _ours(amount_minor: int, currency: str) -> int:
    """Return an amount of Stripe's in our minor units, which differ for a few currencies."""
    try:
        return from_stripe_amount(amount_minor, currency)
    except MoneyError as error:
        raise Unbelievable(error.code) from error


# Payments


def _objection(books: OrderBooks, fact: PaymentFact) -> str:
    """Return why this payment cannot be one of this order's, or nothing."""
    if fact.livemode != books.live:
        return "livemode_mismatch"
    if fact.currency != books.currency:
        return "currency_mismatch"
    expected = stripe_amount(books.total_minor, books.currency)
    if fact.amount_minor != expected:
        return "amount_mismatch"
    if fact.status == "succeeded" and fact.amount_received_minor != expected:
        return "received_mismatch"
    return "" if books.attempt_of(fact) else "unknown_payment_intent"


def _payment(books: OrderBooks, fact: PaymentFact, *, sold_late: bool) -> Ruling:
    if reason := _objection(books, fact):
        raise Unbelievable(reason)
    attempt = books.attempt_of(fact)
    assert attempt is not None
    if fact.status == "succeeded":
        ruling = _succeeded(books, fact, sold_late=sold_late)
    elif attempt.state == "SUCCEEDED" or books.paid_by(fact):
        return Ruling(Result.IGNORED, "an older word than the success in the books")
    elif fact.status == "canceled":
        ruling = _canceled(books, fact, attempt)
    elif attempt.state == "CANCELED":
        return Ruling(Result.IGNORED, "an older word than the cancellation in the books")
    else:
        ruling = _unfinished(books, fact, attempt)
    if attempt.payment_intent_id is None:
        attempt.payment_intent_id, attempt.changed = fact.payment_intent_id, True
    return ruling


def _succeeded(books: OrderBooks, fact: PaymentFact, *, sold_late: bool) -> Ruling:
    if books.paid_by(fact):
        books.set_attempt(fact, "SUCCEEDED")
        return Ruling(Result.APPLIED, "fee") if books.post_fee(fact) else Ruling(Result.KNOWN)
    if books.has_money():
        _take_surplus(books, fact, DUPLICATE)
        ruling = Ruling(Result.APPLIED, DUPLICATE)
    else:
        ruling = _take_money(books, fact, sold_late=sold_late)
    books.set_attempt(fact, "SUCCEEDED")
    books.post_fee(fact)
    return ruling


def _take_money(books: OrderBooks, fact: PaymentFact, *, sold_late: bool) -> Ruling:
    act = verdict(books.state, Input.PAY_SUCCEEDED)
    if not isinstance(act, Act):
        raise Unbelievable(act.reason if isinstance(act, Quarantine) else "books_disagree")
    books.step(act)
    books.received_minor += books.total_minor
    books.money_changed = True
    if act.next_state is OrderState.LATE_PAID:
        # The guard was asked in this transaction: nobody ever sees an order stay LATE_PAID.
        again = Input.RE_RESERVED if sold_late else Input.NO_STOCK
        books.step(verdict(books.state, again))
        if not sold_late:
            _take_surplus(books, fact, LATE_NO_STOCK)
            return Ruling(Result.APPLIED, LATE_NO_STOCK)
    books.enter(post.CAPTURE, fact.payment_intent_id, books.shares(), lines=books.units())
    return Ruling(Result.APPLIED)


def _take_surplus(books: OrderBooks, fact: PaymentFact, reason: str) -> None:
    entries = [
        (accounts.STRIPE_CLEARING, books.total_minor),
        (SURPLUS_ACCOUNT, -books.total_minor),
    ]
    books.enter(post.SURPLUS, fact.payment_intent_id, entries)
    books.refunds.append(
        RefundRow(
            id=new_id("rfd"),
            payment_intent_id=fact.payment_intent_id,
            amount_minor=books.total_minor,
            reason=reason,
            state="CREATING",
            stripe_refund_id=None,
            new=True,
        )
    )


def _canceled(books: OrderBooks, fact: PaymentFact, attempt: Attempt) -> Ruling:
    known = attempt.state == "CANCELED"
    newest = attempt is books.attempts[-1]
    books.set_attempt(fact, "CANCELED")
    stepped = newest and books.step(verdict(books.state, Input.PAY_CANCELED))
    if books.state in _RELEASING and all(each.state in _ATTEMPT_DEAD for each in books.attempts):
        stepped = books.step(verdict(books.state, Input.RELEASED))
    return Ruling(Result.KNOWN) if known and not stepped else Ruling(Result.APPLIED)


def _unfinished(books: OrderBooks, fact: PaymentFact, attempt: Attempt) -> Ruling:
    """Apply a status that may still change; the caller has just fetched it from Stripe."""
    state, happened = "DECLINED", Input.PAY_DECLINED
    if fact.status == "processing":
        state, happened = "PROCESSING", Input.PAY_PROCESSING
    elif fact.status == "requires_action":
        state = "REQUIRES_ACTION"
    elif fact.status not in {"requires_payment_method", "requires_confirmation"}:
        raise Unbelievable("unknown_status")
    elif attempt.state == "CREATING":
        # Made and not yet confirmed: whoever is confirming it will know the outcome.
        return Ruling(Result.IGNORED, "the attempt is being confirmed")
    ruled = verdict(books.state, happened) if attempt is books.attempts[-1] else None
    if isinstance(ruled, Quarantine):
        raise Unbelievable(ruled.reason)
    changed = books.set_attempt(fact, state)
    stepped = ruled is not None and books.step(ruled)
    return Ruling(Result.APPLIED) if changed or stepped else Ruling(Result.KNOWN)


# Refunds


@dataclass(frozen=True, slots=True)
class _Refund:
    """A refund beside what the books know of it and of the payment it is of."""

    refund_id: str
    payment_intent_id: str
    amount_minor: int
    surplus: bool
    own: bool
    row: RefundRow | None


def _refund(books: OrderBooks, fact: RefundFact) -> Ruling:
    payment_intent_id = fact.payment_intent_id
    if payment_intent_id is None:
        raise Unbelievable("no_payment_intent")
    amount_minor = _ours(fact.amount_minor, books.currency)
    told = _Refund(
        refund_id=fact.refund_id,
        payment_intent_id=payment_intent_id,
        amount_minor=amount_minor,
        surplus=books.is_surplus(payment_intent_id),
        own=books.is_own(payment_intent_id),
        row=_refund_row(books, fact),
    )
    row = told.row
    if row and (row.payment_intent_id, row.amount_minor) != (payment_intent_id, amount_minor):
        raise Unbelievable("refund_mismatch")
    if fact.status == "succeeded":
        return _refund_succeeded(books, told)
    if fact.status in {"failed", "canceled"}:
        return _refund_failed(books, told)
    if row and row.state in {"SUCCEEDED", "FAILED"}:
        return Ruling(Result.IGNORED, "an older word than the outcome in the books")
    known = row is not None and row.state == "PENDING"
    _set_refund(books, told, "PENDING")
    return Ruling(Result.KNOWN) if known else Ruling(Result.APPLIED, "pending")


def _refund_succeeded(books: OrderBooks, told: _Refund) -> Ruling:
    kind = post.SURPLUS_REFUND if told.surplus else post.REFUND
    if books.find(told.refund_id, kind) or (told.row and told.row.state == "FAILED"):
        return Ruling(Result.KNOWN)
    if told.amount_minor > _left_minor(books, told):
        raise Unbelievable("refund_exceeds_payment")
    ruled, returned_minor = None, books.refunded_minor + told.amount_minor
    if told.own:
        ruled = books.ruling_on(_after_refund(books, returned_minor, succeeded=True))
        books.refunded_minor, books.money_changed = returned_minor, True
    books.give_back(kind, told.refund_id, told.amount_minor, surplus=told.surplus)
    _set_refund(books, told, "SUCCEEDED")
    if ruled:
        books.step(ruled)
    return Ruling(Result.APPLIED)


def _refund_failed(books: OrderBooks, told: _Refund) -> Ruling:
    if told.row and told.row.state == "FAILED":
        return Ruling(Result.KNOWN)
    done = books.find(told.refund_id, post.SURPLUS_REFUND if told.surplus else post.REFUND)
    ruled, returned_minor = None, books.refunded_minor - (told.amount_minor if done else 0)
    if told.own:
        ruled = books.ruling_on(_after_refund(books, returned_minor, succeeded=False))
        books.refunded_minor, books.money_changed = returned_minor, True
    if done:
        books.reverse(done, post.SURPLUS_REFUND_FAILED if told.surplus else post.REFUND_FAILED)
    _set_refund(books, told, "FAILED")
    if ruled:
        books.step(ruled)
    return Ruling(Result.APPLIED, "failed")


def refuse_refund(books: OrderBooks, refund_id: str) -> Ruling:
    """Close a refund of ours that Stripe will not make; the order says so, unless all is given back anyhow."""
    for row in books.refunds:
        if row.id == refund_id and row.state == "CREATING":
            if books.is_own(row.payment_intent_id):
                happened = _after_refund(books, books.refunded_minor, succeeded=False)
                books.step(books.ruling_on(happened))
            row.state, row.changed = "FAILED", True
            return Ruling(Result.APPLIED, "refused")
    return Ruling(Result.KNOWN)


def _after_refund(books: OrderBooks, returned_minor: int, *, succeeded: bool) -> Input:
    return refund_input(
        succeeded=succeeded,
        received_minor=books.received_minor,
        returned_minor=returned_minor + books.lost_minor(),
    )


def _left_minor(books: OrderBooks, told: _Refund) -> int:
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


def _set_refund(books: OrderBooks, told: _Refund, state: str) -> None:
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


# Disputes


def _dispute(books: OrderBooks, fact: DisputeFact) -> Ruling:
    stand = _STANDS.get(fact.status)
    if stand is None and fact.status in _UNMOVED:
        return Ruling(Result.IGNORED, "no money moved")
    if stand is None or fact.payment_intent_id is None:
        raise Unbelievable("no_payment_intent" if stand else "unknown_status")
    surplus, own = books.is_surplus(fact.payment_intent_id), books.is_own(fact.payment_intent_id)
    kind, back = post.DISPUTE, post.REINSTATE
    if surplus:
        kind, back = post.SURPLUS_DISPUTE, post.SURPLUS_REINSTATE
    opened = books.find(fact.dispute_id, kind)
    closed = books.find(fact.dispute_id, back) or fact.dispute_id in books.lost
    if closed or (opened and stand == _OPEN):
        return Ruling(Result.KNOWN)
    amount_minor = _ours(fact.amount_minor, books.currency)
    if amount_minor > books.total_minor:
        raise Unbelievable("dispute_exceeds_payment")
    if opened is None:
        # Its end proves its beginning: Stripe took the money before it decided.
        ruled = books.ruling_on(Input.DISPUTE_OPENED) if own else None
        opened = books.give_back(kind, fact.dispute_id, amount_minor, surplus=surplus)
        if own:
            books.disputed_minor += amount_minor
            books.money_changed = True
        if ruled:
            books.step(ruled)
    if stand == _WON:
        books.reverse(opened, back)
    elif stand == _LOST:
        books.lost.add(fact.dispute_id)
    if own and stand != _OPEN:
        _close_dispute(books, amount_minor, won=stand == _WON)
    return Ruling(Result.APPLIED, stand)


def _close_dispute(books: OrderBooks, amount_minor: int, *, won: bool) -> None:
    if won:
        books.disputed_minor -= amount_minor
        books.money_changed = True
    happened = dispute_input(
        won=won,
        received_minor=books.received_minor,
        returned_minor=books.refunded_minor + books.lost_minor(),
        others_open=bool(books.open_disputes()),
    )
    books.step(books.ruling_on(happened))
