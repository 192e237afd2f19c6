"""What staff may give back: only what Stripe can take, and only units that nobody called unfit go on sale with the rest."""

from typing import Any

import pytest

from orders.giving_back import Wish, give_back, refundable_minor
from orders.order_books import OrderBooks
from orders.rulings import apply
from stream_events.errors import Problem
from stream_events.money import stripe_amount
from tests.orders.pure_books import asked, new_books, payment, refund


def paid(currency: str = "CNY", **given: Any) -> OrderBooks:
    books = new_books(currency=currency, **given)
    amount = stripe_amount(books.total_minor, currency)
    apply(books, payment(total=amount, currency=currency, fee_minor=None))
    return books


def wish(**given: Any) -> Wish:
    return Wish(reason="quality", requested_by="usr_1", **given)


def test_an_amount_that_stripe_cannot_take_is_refused_and_nothing_is_changed() -> None:
    """The dinar's last digit is 0 at Stripe: a refund of 1.005 would fail there, once it counted as going back."""
    books = paid("KWD")
    with pytest.raises(Problem) as refused:
        give_back(books, wish(amount_minor=1005))
    assert (refused.value.status, refused.value.code) == (422, "amount_not_chargeable")
    assert books.refunds == []
    assert refundable_minor(books) == books.total_minor
    assert give_back(books, wish(amount_minor=1000)).amount_minor == 1000


def test_units_of_another_refund_do_not_go_on_sale_with_the_rest() -> None:
    """A bag came back torn and is not sold again, also when the other one of its line is."""
    torn = asked("rfd_torn", 2990, lines=[("A", 1, 2990)], gift_minor=0)
    books = paid(refunds=[torn])
    rest = asked("rfd_rest", books.total_minor - 2990, restock=True)
    books.refunds.append(rest)
    apply(books, refund("re_1", 2990, row="rfd_torn"))
    assert books.restocking == []
    apply(books, refund("re_2", rest.amount_minor, row="rfd_rest"))
    assert books.restocking == [{"A": 1, "B": 1}]


def test_units_of_a_refund_that_failed_do_go_on_sale_with_the_rest() -> None:
    torn = asked("rfd_torn", 2990, lines=[("A", 1, 2990)], gift_minor=0)
    books = paid(refunds=[torn])
    apply(books, refund("re_1", 2990, "failed", row="rfd_torn"))
    books.refunds.append(asked("rfd_all", books.total_minor, restock=True))
    apply(books, refund("re_2", books.total_minor, row="rfd_all"))
    assert books.restocking == [{"A": 2, "B": 1}]
