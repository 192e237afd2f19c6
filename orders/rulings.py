"""What a fact from Stripe does to an order: the law that settlement applies, apart from all SQL.

``orders.lifecycle`` says where an order goes; here stands what is believed, what is the same fact again, and which
money belongs to which. A fact is checked whole before it changes anything, so that a refused one leaves no trace.
"""

from orders.attempt_life import (
    DEAD,
    ORDER_INPUT,
    TOLD_BY,
    AttemptInput,
    AttemptState,
    attempt_verdict,
)
from orders.lifecycle import Act, Input, OrderState, Quarantine, verdict
from orders.order_books import OrderBooks
from orders.order_rows import (
    DUPLICATE,
    LATE_NO_STOCK,
    Attempt,
    RefundRow,
    Result,
    Ruling,
    StockMove,
    Unbelievable,
)
from orders.payments.facts import DisputeFact, PaymentFact, RefundFact
from orders.return_rulings import brings_restock, rule_dispute, rule_refund
from orders.verdicts import Ignore
from stream_events.ids import new_id
from stream_events.money import stripe_amount

Fact = PaymentFact | RefundFact | DisputeFact

_RELEASING = frozenset({OrderState.EXPIRING, OrderState.CANCELLING})


def needs(books: OrderBooks, fact: Fact) -> StockMove | None:
    """Return which stock move the fact would bring, so that one transaction makes one kind of them.

    ``L`` means that the guard must be asked for released units before ``apply`` is called.
    """
    if isinstance(fact, RefundFact):
        return "T" if brings_restock(books, fact) else None
    if not isinstance(fact, PaymentFact) or _objection(books, fact) or books.paid_by(fact):
        return None
    if fact.status == "succeeded" and not books.has_money() and _adds_up(books):
        act = verdict(books.state, Input.PAY_SUCCEEDED, gift=books.gift)
        if isinstance(act, Act) and act.next_state is OrderState.LATE_PAID:
            return "L"
        return act.moves[0] if isinstance(act, Act) and act.moves else None
    if fact.status == "canceled" and books.state in _RELEASING and not books.gift:
        mine = books.attempt_of(fact)
        dead = all(each is mine or each.state in DEAD for each in books.attempts)
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
    if isinstance(fact, RefundFact):
        return rule_refund(books, fact)
    return rule_dispute(books, fact)


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
    happened = TOLD_BY.get(fact.status)
    if happened is None:
        raise Unbelievable("unknown_status")
    if happened is AttemptInput.SUCCEEDED:
        ruling = _succeeded(books, fact, attempt, sold_late=sold_late)
    else:
        # The books know of a success that the attempt's row may not show: then nothing said before it counts.
        state = AttemptState.SUCCEEDED if books.paid_by(fact) else attempt.state
        told = attempt_verdict(state, happened)
        if isinstance(told, Quarantine):
            raise Unbelievable(told.reason)
        if isinstance(told, Ignore):
            ruling = Ruling(Result.IGNORED, told.reason)
        else:
            ruling = _unpaid(books, fact, attempt, told, ORDER_INPUT[happened])
    if attempt.payment_intent_id is None:
        attempt.payment_intent_id, attempt.changed = fact.payment_intent_id, True
    return ruling


def _succeeded(
    books: OrderBooks, fact: PaymentFact, attempt: Attempt, *, sold_late: bool
) -> Ruling:
    if books.paid_by(fact):
        _set(attempt, fact, AttemptState.SUCCEEDED)
        return Ruling(Result.APPLIED, "fee") if books.post_fee(fact) else Ruling(Result.KNOWN)
    if books.has_money():
        _take_surplus(books, fact, DUPLICATE)
        ruling = Ruling(Result.APPLIED, DUPLICATE)
    else:
        ruling = _take_money(books, fact, sold_late=sold_late)
    _set(attempt, fact, AttemptState.SUCCEEDED)
    books.post_fee(fact)
    return ruling


def _adds_up(books: OrderBooks) -> bool:
    return books.parts.goods_minor + books.parts.gifts_minor == books.total_minor


def _take_money(books: OrderBooks, fact: PaymentFact, *, sold_late: bool) -> Ruling:
    if not _adds_up(books):
        raise Unbelievable("parts_are_not_the_total")
    act = verdict(books.state, Input.PAY_SUCCEEDED, gift=books.gift)
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
    books.sell(fact.payment_intent_id)
    return Ruling(Result.APPLIED)


def _take_surplus(books: OrderBooks, fact: PaymentFact, reason: str) -> None:
    books.take_surplus(fact.payment_intent_id)
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


def _unpaid(
    books: OrderBooks, fact: PaymentFact, attempt: Attempt, told: AttemptState, happened: Input
) -> Ruling:
    """Apply a status without money. One that may still change, the caller has just fetched from Stripe."""
    newest = attempt is books.attempts[-1]
    # What cannot have happened is refused before anything is changed, but a cancellation ends the attempt anyhow.
    ruled = verdict(books.state, happened, gift=books.gift) if newest else None
    if isinstance(ruled, Quarantine) and told is not AttemptState.CANCELED:
        raise Unbelievable(ruled.reason)
    changed = _set(attempt, fact, told)
    stepped = ruled is not None and books.step(ruled)
    if books.state in _RELEASING and all(each.state in DEAD for each in books.attempts):
        stepped = books.step(verdict(books.state, Input.RELEASED, gift=books.gift)) or stepped
    return Ruling(Result.APPLIED) if changed or stepped else Ruling(Result.KNOWN)


def _set(attempt: Attempt, fact: PaymentFact, state: AttemptState) -> bool:
    if attempt.state is state and attempt.payment_intent_id == fact.payment_intent_id:
        return False
    attempt.state, attempt.payment_intent_id = state, fact.payment_intent_id
    attempt.changed = True
    return True
