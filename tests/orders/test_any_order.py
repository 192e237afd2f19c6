"""Every order of up to seven events about one order, each told again and again, comes to one end."""

from collections.abc import Callable, Sequence
from itertools import islice, permutations
from typing import Any

import pytest

from orders.attempt_life import AttemptState
from orders.order_books import OrderBooks
from orders.order_rows import Attempt
from orders.payments.facts import PaymentFact
from orders.rulings import Fact
from tests.orders.pure_books import (
    GIFTS,
    GOODS,
    PI,
    Told,
    asked,
    dispute,
    is_news,
    new_books,
    payment,
    refund,
)

GIFT_TOTAL = GIFTS.gifts_minor
ALL = GOODS.goods_minor + GOODS.gifts_minor


def line_refund(**given: bool) -> OrderBooks:
    rows = [
        asked("rfd_line", 2990, lines=[("A", 1, 2990)], gift_minor=0, **given),
        asked("rfd_gift", 400, gift_minor=400),
    ]
    return new_books(refunds=rows)


def gift(state: str = "AWAITING_PAYMENT") -> OrderBooks:
    return new_books(GIFTS, state)


def twice_paid() -> OrderBooks:
    attempts = [Attempt(1, AttemptState.CANCELED, "pi_0"), Attempt(2, AttemptState.CREATING, None)]
    return new_books(attempts=attempts)


SECOND: dict[str, Any] = {"metadata": {"order_id": "ord_1", "attempt": "2"}}

# What it is about, the order before it, whether units are free, the events, and the state at the end.
STORIES: list[tuple[str, Callable[[], OrderBooks], bool, Sequence[Fact], str]] = [
    (
        "a bank's steps, a refund by hand and a dispute won",
        new_books,
        True,
        [
            payment("requires_action"),
            payment("processing"),
            payment("requires_payment_method"),
            payment(),
            refund("re_1", 1234),
            dispute("dp_1", 2000, "needs_response", 1500),
            dispute("dp_1", 2000, "won", 0),
        ],
        "PART_REFUNDED",
    ),
    (
        "returns by line, by gift and by amount, one of which fails, and a dispute lost",
        lambda: line_refund(restock=True),
        True,
        [
            payment(),
            refund("re_line", 2990, row="rfd_line"),
            refund("re_gift", 400, row="rfd_gift"),
            refund("re_3", 1111),
            refund("re_3", 1111, "failed"),
            dispute("dp_1", 777, "needs_response"),
            dispute("dp_1", 777, "lost"),
        ],
        "REFUND_FAILED",
    ),
    (
        "everything given back twice over",
        line_refund,
        True,
        [
            payment(),
            refund("re_line", 2990, row="rfd_line"),
            refund("re_gift", 400, row="rfd_gift"),
            refund("re_3", ALL - 3390),
            dispute("dp_1", ALL, "needs_response"),
            dispute("dp_1", ALL, "lost"),
            payment("processing"),
        ],
        "REFUNDED",
    ),
    (
        "two disputes at once, of which one is still open",
        line_refund,
        True,
        [
            payment(),
            refund("re_line", 2990, row="rfd_line"),
            refund("re_2", 10),
            dispute("dp_1", 3000, "needs_response"),
            dispute("dp_1", 3000, "won"),
            dispute("dp_2", 500, "needs_response"),
        ],
        "DISPUTED",
    ),
    (
        "a refund that fails while the bank decides for us",
        new_books,
        True,
        [
            payment(),
            refund("re_1", 5000),
            refund("re_1", 5000, "failed"),
            dispute("dp_1", ALL, "needs_response"),
            dispute("dp_1", ALL, "won"),
            payment("processing"),
        ],
        "REFUND_FAILED",
    ),
    (
        "late money that finds no stock, given back and disputed",
        lambda: new_books(state="EXPIRED"),
        False,
        [
            payment(),
            payment("processing"),
            refund("re_1", 4000),
            refund("re_2", ALL - 4000),
            dispute("dp_1", ALL, "needs_response"),
            dispute("dp_1", ALL, "lost"),
        ],
        "REFUNDED",
    ),
    (
        "late money that buys after all",
        lambda: new_books(state="EXPIRED"),
        True,
        [payment(), payment("requires_action"), refund("re_1", 4000), refund("re_2", 100)],
        "PART_REFUNDED",
    ),
    (
        "late money for a gift",
        lambda: gift("EXPIRED"),
        False,
        [
            payment(total=GIFT_TOTAL),
            payment("processing", GIFT_TOTAL),
            refund("re_1", 1000),
            refund("re_1", 1000, "failed"),
            refund("re_2", 500),
            dispute("dp_1", GIFT_TOTAL, "needs_response", 1500),
            dispute("dp_1", GIFT_TOTAL, "won", 1500),
        ],
        "REFUND_FAILED",
    ),
    (
        "a gift that is lost to a bank",
        gift,
        True,
        [
            payment(total=GIFT_TOTAL),
            refund("re_1", 1),
            refund("re_2", 1500),
            dispute("dp_1", 2000, "needs_response"),
            dispute("dp_1", 2000, "lost", 1500),
        ],
        "REFUNDED",
    ),
    (
        "an order paid a second time by a card that had been given up",
        twice_paid,
        True,
        [
            payment(payment_intent_id=PI, **SECOND),
            payment("processing", payment_intent_id=PI, **SECOND),
            payment("canceled", payment_intent_id="pi_0"),
            refund("re_1", 100),
            dispute("dp_1", ALL, "needs_response"),
            dispute("dp_1", ALL, "won"),
        ],
        "PART_REFUNDED",
    ),
]


# Each time one order in twelve of seven events, which are 5,040; in the sweep every one.
MANY = 7


@pytest.mark.parametrize("one_in", [12, pytest.param(1, marks=pytest.mark.sweep)])
@pytest.mark.parametrize(
    ("make", "stock", "events", "state"),
    [pytest.param(*story, id=name) for name, *story in STORIES],
)
def test_every_order_of_events_with_repeats_comes_to_one_end(
    make: Callable[[], OrderBooks], stock: bool, events: Sequence[Fact], state: str, one_in: int
) -> None:
    ends: list[dict[str, Any]] = []
    proof = next(
        each for each in events if isinstance(each, PaymentFact) and each.status == "succeeded"
    )
    step = one_in if len(events) >= MANY else 1
    for number, order in enumerate(islice(permutations(events), 0, None, step)):
        told = Told(make(), stock, proof)
        for index, fact in enumerate(order):
            told.tell(fact)
            told.tell(order[index // 2])
        before = len(told.books.postings)
        for fact in reversed(order) if number % 5 == 0 else ():
            assert not is_news(told.tell(fact)), order
        assert len(told.books.postings) == before
        end = told.end()
        if not ends or end != ends[-1]:
            ends.append(end)
    assert ends[0]["state"] == state
    assert len(ends) == 1, ends[:2]


def test_whichever_of_two_payments_comes_first_counts_and_the_other_goes_back() -> None:
    first = payment(payment_intent_id="pi_0", metadata={"order_id": "ord_1", "attempt": "1"})
    second = payment(**SECOND)
    back = refund("re_1", 99)  # Of the second payment: of the sale, or of what sold nothing.
    ends = set()
    told_of: list[Fact] = [first, second, back, payment("processing", **SECOND)]
    for order in permutations(told_of):
        told = Told(twice_paid())
        for fact in order:
            if fact is back and not told.books.paid_by(second):
                told.tell(second)
            told.tell(fact)
        net = told.net()
        clearing = sum(minor for (_, account), minor in net.items() if account == "stripe/clearing")
        ends.add((clearing, told.units()["A"], told.counts(), *told.moves))
        sold_by_second = told.books.sale_payment() == PI
        assert told.books.state == ("PART_REFUNDED" if sold_by_second else "PAID")
        assert told.books.received_minor == ALL
    assert ends == {(2 * ALL - 99 - 2 * 277, 2, (1, 1), "C")}
