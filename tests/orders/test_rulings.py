"""Single rulings that no order of events brings out by itself."""

from itertools import permutations

import pytest

from orders.attempt_life import AttemptState
from orders.lifecycle import Input
from orders.order_parts import Parts, SoldLine, pour
from orders.order_rows import Attempt, Result, Unbelievable
from orders.return_rulings import refuse_refund
from orders.rulings import Fact
from stream_events.split import ShareRule
from tests.orders.pure_books import PI, Told, asked, dispute, new_books, payment, refund


def test_a_refund_of_ours_that_ends_hides_no_open_dispute() -> None:
    both: list[Fact] = [
        refund("re_1", 100, row="rfd_1"),
        dispute("dp_1", 50, "under_review"),
    ]
    for facts in permutations(both):
        told = Told(new_books(refunds=[asked("rfd_1", 100)]))
        told.tell(payment())
        told.books.step(told.books.ruling_on(Input.REFUND_REQUESTED))
        assert told.books.state == "REFUND_PENDING"
        for fact in facts:
            told.tell(fact)
        assert told.books.state == "DISPUTED"
        told.tell(dispute("dp_1", 50, "won"))
        assert told.books.state == "PART_REFUNDED"


def test_money_in_the_books_outweighs_what_the_attempts_row_still_says() -> None:
    told = Told(new_books())
    told.tell(payment())
    told.books.attempts[0].state = AttemptState.CREATING
    for status in ("processing", "canceled", "requires_payment_method"):
        assert told.tell(payment(status)).result is Result.IGNORED
    assert told.books.attempts[0].state is AttemptState.CREATING


def test_the_fee_of_money_that_sold_nothing_is_ours() -> None:
    line = SoldLine("A", 1, 9000, "frm_a", "ben_a", ShareRule(8000, 1500, 500), "farmer")
    attempts = [Attempt(1, AttemptState.CREATING, PI), Attempt(2, AttemptState.CREATING, "pi_2")]
    told = Told(new_books(Parts((line,)), attempts=attempts))
    told.tell(payment(fee_minor=200))
    told.tell(payment(payment_intent_id="pi_2", fee_minor=300))
    fees = {key: minor for key, minor in told.net().items() if key[0] == "stripe_fee"}
    assert fees == {
        ("stripe_fee", "farmer/frm_a"): 200,
        ("stripe_fee", "stripe/fees"): 300,
        ("stripe_fee", "stripe/clearing"): -500,
    }


def test_a_refund_we_had_given_up_is_believed_when_stripe_made_it_after_all() -> None:
    told = Told(new_books(refunds=[asked("rfd_1", 100)]))
    told.tell(payment())
    assert refuse_refund(told.books, "rfd_1").reason == "refused"
    assert told.books.state == "REFUND_FAILED"
    assert told.tell(refund("re_1", 100, row="rfd_1")).result is Result.APPLIED
    assert told.books.refunded_minor == 100
    assert told.tell(refund("re_1", 100, row="rfd_1")).result is Result.KNOWN


def test_an_order_whose_parts_are_not_its_total_takes_no_money() -> None:
    told = Told(new_books(total_minor=8999))
    with pytest.raises(Unbelievable, match="parts_are_not_the_total"):
        told.tell(payment(total=8999))
    assert told.books.postings == []
    assert told.books.state == "AWAITING_PAYMENT"


@pytest.mark.parametrize(
    ("amount", "weights", "rooms", "parts"),
    [
        (1, (1, 1), (1, 1), [1, 0]),  # Half a unit each: the first gives it.
        (1, (1, 2), (1, 2), [0, 1]),
        (10, (1, 2, 3), (9, 9, 9), [2, 3, 5]),
        (10, (1, 1, 1), (1, 9, 9), [1, 5, 4]),  # What one lacks, the others give evenly.
        (10, (1, 1, 1), (9, 9, 1), [5, 4, 1]),
        (7, (0, 5, 0), (0, 7, 0), [0, 7, 0]),
    ],
)
def test_how_an_amount_is_taken(
    amount: int, weights: tuple[int, ...], rooms: tuple[int, ...], parts: list[int]
) -> None:
    assert pour(amount, weights, rooms) == parts
