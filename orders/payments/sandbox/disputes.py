"""Disputes: a bank takes a payment back, with a fee, and gives it back when we win."""

from orders.payments.sandbox.books import Books, new_id
from orders.payments.sandbox.calls import Call
from orders.payments.sandbox.cards import DisputeReason
from orders.payments.sandbox.errors import ApiError, invalid, no_such
from orders.payments.sandbox.forms import integer, refuse_unknown, text
from orders.payments.sandbox.records import BalanceTransaction, Charge, Dispute

# A card made for it is disputed this long after it paid, so that the payment is booked first, as in life.
OPENED_AFTER_MS = 300
FEE_MINOR = 1_500
EVIDENCE_DUE_S = 7 * 86_400

_INQUIRY = ("warning_needs_response", "warning_under_review")
_OPEN = ("needs_response", "under_review")
_REASONS: tuple[DisputeReason, ...] = ("fraudulent", "product_not_received", "inquiry")


def open_by_order(books: Books, call: Call) -> Dispute:
    """POST /sandbox/payment_intents/:id/dispute: `amount` (default: what is left), `reason`."""
    refuse_unknown(call.params, {"amount": "text", "reason": "text"})
    record = books.intents.by_id.get(call.object_id)
    if record is None:
        raise no_such("payment_intent", call.object_id, "intent")
    charge = books.charges.get(str(record.intent.latest_charge))
    if record.intent.status != "succeeded" or charge is None:
        raise ApiError(400, "Only a payment that succeeded can be disputed.", param="id")
    wanted = text(call.params, "amount")
    left_minor = charge.amount - charge.amount_refunded - held_minor(books, charge)
    amount_minor = integer(wanted, "amount") if wanted else left_minor
    if not 1 <= amount_minor <= left_minor:
        raise invalid("amount", f"From 1 to the {left_minor} that is left of the charge.")
    given = text(call.params, "reason") or "fraudulent"
    for reason in _REASONS:
        if reason == given:
            return begin(books, charge, amount_minor, reason, call.now_s)
    raise invalid("reason", f"One of {', '.join(_REASONS)}.")


def begin(
    books: Books, charge: Charge, amount_minor: int, reason: DisputeReason, now_s: int
) -> Dispute:
    """The shopper's bank disputes the charge; but for an inquiry, the money is gone at once."""
    inquiry = reason == "inquiry"
    dispute = Dispute(
        id=new_id("du"),
        amount=amount_minor,
        charge=charge.id,
        created=now_s,
        currency=charge.currency,
        evidence_details={
            "due_by": now_s + EVIDENCE_DUE_S,
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        is_charge_refundable=inquiry,
        payment_intent=charge.payment_intent,
        reason="general" if inquiry else reason,
        status=_INQUIRY[0] if inquiry else _OPEN[0],
    )
    charge.disputed = True
    books.put(charge)
    if not inquiry:
        dispute.balance_transactions = [_moved(dispute, -amount_minor, FEE_MINOR, now_s)]
    books.put(dispute)
    books.emit("charge.dispute.created", dispute)
    if not inquiry:
        books.emit("charge.dispute.funds_withdrawn", dispute)
    return dispute


def close(books: Books, call: Call) -> Dispute:
    """POST /v1/disputes/:id/close: give in, which is to lose."""
    refuse_unknown(call.params, {"expand": "list"})
    dispute = find(books, call.object_id)
    _require_open(dispute)
    _end(books, dispute, "lost", call.now_s)
    return dispute


def decide(books: Books, call: Call) -> Dispute:
    """POST /sandbox/disputes/:id/decide: `outcome` is review (evidence was given), won or lost."""
    refuse_unknown(call.params, {"outcome": "text"})
    outcome = text(call.params, "outcome")
    if outcome not in ("review", "won", "lost"):
        raise invalid("outcome", "outcome is review, won or lost")
    dispute = find(books, call.object_id)
    _require_open(dispute)
    if outcome != "review":
        _end(books, dispute, outcome, call.now_s)
        return dispute
    dispute.status = (_INQUIRY if dispute.status in _INQUIRY else _OPEN)[1]
    dispute.evidence_details |= {"has_evidence": True, "submission_count": 1}
    books.put(dispute)
    books.emit("charge.dispute.updated", dispute)
    return dispute


def find(books: Books, dispute_id: str) -> Dispute:
    """The dispute of that id. Raises ApiError."""
    dispute = books.disputes.by_id.get(dispute_id)
    if dispute is None:
        raise no_such("dispute", dispute_id, "dispute")
    return dispute


def held_minor(books: Books, charge: Charge) -> int:
    """What open and lost disputes have taken of the charge."""
    return sum(
        dispute.amount
        for dispute in books.disputes_of.get(charge.id, [])
        if dispute.status in (*_OPEN, "lost")
    )


def refuse_refund(books: Books, charge: Charge) -> None:
    """Raise Stripe's refusal while the bank has the money, or when nothing but that would be refunded."""
    disputed = books.disputes_of.get(charge.id, [])
    is_open = any(dispute.status in _OPEN for dispute in disputed)
    held = held_minor(books, charge)
    if is_open or (held and charge.amount - charge.amount_refunded <= held):
        message = f"Charge {charge.id} has been charged back; cannot issue a refund."
        raise ApiError(400, message, code="charge_disputed", stored=True)


def close_inquiries(books: Books, charge: Charge, now_s: int) -> None:
    """What a bank asks about a charge is answered by giving all of it back."""
    for dispute in books.disputes_of.get(charge.id, []):
        if dispute.status in _INQUIRY:
            _end(books, dispute, "warning_closed", now_s)


def _require_open(dispute: Dispute) -> None:
    if dispute.status not in (*_OPEN, *_INQUIRY):
        raise ApiError(400, f"This dispute is already closed as {dispute.status}.", stored=True)


def _end(books: Books, dispute: Dispute, outcome: str, now_s: int) -> None:
    dispute.evidence_details |= {"due_by": None}
    if dispute.status in _INQUIRY:
        # An inquiry has taken nothing, so there is nothing to win or lose.
        dispute.status = "warning_closed"
    else:
        dispute.status = outcome
    if dispute.status == "won":
        returned = _moved(dispute, dispute.amount, 0, now_s)
        dispute.balance_transactions = [*dispute.balance_transactions, returned]
    books.put(dispute)
    if dispute.status == "won":
        books.emit("charge.dispute.funds_reinstated", dispute)
    books.emit("charge.dispute.closed", dispute)


def _moved(dispute: Dispute, amount_minor: int, fee_minor: int, now_s: int) -> BalanceTransaction:
    detail = {"amount": fee_minor, "application": None, "currency": dispute.currency}
    detail |= {"description": "Dispute fee", "type": "stripe_fee"}
    return BalanceTransaction(
        id=new_id("txn"),
        amount=amount_minor,
        created=now_s,
        currency=dispute.currency,
        fee=fee_minor,
        fee_details=[detail] if fee_minor else [],
        net=amount_minor - fee_minor,
        source=dispute.id,
        available_on=now_s,
        reporting_category="dispute" if amount_minor < 0 else "dispute_reversal",
        type="adjustment",
    )
