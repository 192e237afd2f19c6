"""Stripe's fees come in Stripe's units: the books hold them in ours, as they hold everything else."""

from dataclasses import replace

import pytest

from orders.ledger import accounts, post
from orders.order_books import OrderBooks
from orders.order_parts import Parts
from orders.rulings import apply
from orders.stripe_fees import known_fee_minor
from stream_events.money import stripe_amount
from tests.orders.pure_books import GOODS, dispute, new_books, payment


def of_fees(books: OrderBooks) -> list[int]:
    return [
        dict(posting.entries)[accounts.STRIPE_FEES]
        for posting in books.postings
        if posting.kind == post.STRIPE_FEE
    ]


def paid(currency: str, fee: int | None, parts: Parts = GOODS) -> OrderBooks:
    books = new_books(parts, currency=currency)
    amount = stripe_amount(books.total_minor, currency)
    fact = payment(total=amount, currency=currency, fee_minor=fee)
    apply(books, fact)
    assert books.received_minor == books.total_minor
    return books


@pytest.mark.parametrize(
    ("currency", "fee", "booked"),
    [
        ("CNY", 277, [277]),
        ("JPY", 277, [277]),
        # The króna has two decimals at Stripe and none here.
        ("ISK", 27700, [277]),
        ("ISK", 27750, []),
        ("CNY", None, []),
        ("CNY", 0, []),
    ],
)
def test_a_fee_is_booked_in_our_units_and_never_keeps_the_payment_out(
    currency: str, fee: int | None, booked: list[int]
) -> None:
    assert of_fees(paid(currency, fee)) == booked


def test_the_fee_of_a_dispute_is_in_our_units_as_well() -> None:
    fact = dispute("dp_1", 100, "needs_response", 1500)
    assert known_fee_minor(fact) == 1500
    books = paid("ISK", None)
    books.post_dispute_fee(replace(fact, currency="ISK", fee_minor=150_000))
    assert of_fees(books) == [1500]
