"""Stripe's fees as the books hold them: it counts some currencies in other units than we do, and fees with them."""

from orders.payments.facts import DisputeFact, PaymentFact
from stream_events.money import MoneyError, from_stripe_amount


def known_fee_minor(fact: PaymentFact | DisputeFact) -> int | None:
    """Return the fee that a fact names in our minor units; None while it is unknown.

    A fee that is no whole number of them counts as unknown: it must not keep the payment itself out of the books.
    """
    if fact.fee_minor is None:
        return None
    try:
        return from_stripe_amount(fact.fee_minor, fact.currency)
    except MoneyError:
        return None
