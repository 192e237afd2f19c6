"""Facts about an order in any order, and any number of times: one end, and stock that moves once."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import permutations

import pytest

from orders.lifecycle import (
    Act,
    Input,
    OrderState,
    Quarantine,
    dispute_input,
    refund_input,
    verdict,
)

# Facts as Stripe tells them: what happened, the id of the object it happened to, and how much.
Fact = tuple[str, str, int]
PAY: Fact = ("pay", "pi", 100)


@dataclass
class Books:
    """The least that settlement has to do around the table, for one order."""

    state: OrderState = OrderState.AWAITING_PAYMENT
    word: str = "R"
    received_minor: int = 0
    refunds: dict[str, int] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    opened: dict[str, int] = field(default_factory=dict)
    closed: dict[str, bool] = field(default_factory=dict)

    def returned_minor(self) -> int:
        refunded = sum(amount for name, amount in self.refunds.items() if name not in self.failed)
        return refunded + sum(self.opened[name] for name, won in self.closed.items() if not won)

    def money(self) -> tuple[int, int, dict[str, int], dict[str, bool]]:
        return (self.received_minor, self.returned_minor(), self.opened, self.closed)

    def step(self, happened: Input) -> None:
        cell = verdict(self.state, happened)
        assert not isinstance(cell, Quarantine), f"{self.state} {happened}: {cell.reason}"
        if isinstance(cell, Act):
            self.state, self.word = cell.next_state, self.word + "".join(cell.moves)

    def settle(self, fact: Fact) -> None:
        kind, name, amount = fact
        if kind == "pay":
            if not self.received_minor:
                self.received_minor = amount
                self.step(Input.PAY_SUCCEEDED)
            return
        self.settle(PAY)
        if kind in {"refund", "fail"}:
            known = self.failed if kind == "fail" else self.refunds
            if name in known or name in self.failed:
                return
            if kind == "refund":
                self.refunds[name] = amount
            else:
                self.failed.add(name)
            self.step(self._refund(succeeded=kind == "refund"))
            if self.opened.keys() != self.closed.keys():
                self.step(Input.DISPUTE_OPENED)
        elif kind == "open":
            if name not in self.opened:
                self.opened[name] = amount
                self.step(Input.DISPUTE_OPENED)
        else:
            self.settle(("open", name, amount))
            if name not in self.closed:
                self.closed[name] = kind == "won"
                self.step(self._dispute(won=kind == "won"))

    def _refund(self, *, succeeded: bool) -> Input:
        return refund_input(
            succeeded=succeeded,
            received_minor=self.received_minor,
            returned_minor=self.returned_minor(),
        )

    def _dispute(self, *, won: bool) -> Input:
        return dispute_input(
            won=won,
            received_minor=self.received_minor,
            returned_minor=self.returned_minor(),
            others_open=self.opened.keys() != self.closed.keys(),
        )


def refund(name: str, amount: int) -> Fact:
    return ("refund", name, amount)


STORIES: list[tuple[str, list[Fact]]] = [
    ("PAID", [PAY]),
    ("DISPUTED", [PAY, refund("a", 40), ("open", "d", 60)]),
    ("REFUNDED", [PAY, refund("a", 100), ("open", "d", 100)]),
    ("REFUND_FAILED", [PAY, ("fail", "a", 40), ("open", "d", 60)]),
    ("REFUND_FAILED", [PAY, ("fail", "a", 40), ("open", "d", 100), ("won", "d", 100)]),
    (
        "REFUND_FAILED",
        [PAY, refund("a", 40), ("fail", "a", 40), ("open", "d", 60), ("lost", "d", 60)],
    ),
    ("REFUNDED", [PAY, ("fail", "a", 40), ("open", "d", 100), ("lost", "d", 100)]),
    ("PART_REFUNDED", [PAY, refund("a", 40)]),
    ("REFUNDED", [PAY, refund("a", 40), refund("b", 60)]),
    ("REFUNDED", [PAY, refund("a", 30), refund("b", 30), refund("c", 40)]),
    ("REFUND_FAILED", [PAY, refund("a", 100), ("fail", "a", 100)]),
    ("REFUND_FAILED", [PAY, refund("a", 40), ("fail", "b", 60)]),
    ("REFUNDED", [PAY, refund("a", 100), ("fail", "b", 60)]),
    ("PAID", [PAY, ("open", "d", 100), ("won", "d", 100)]),
    ("REFUNDED", [PAY, ("open", "d", 100), ("lost", "d", 100)]),
    ("PART_REFUNDED", [PAY, ("open", "d", 60), ("lost", "d", 60)]),
    ("PART_REFUNDED", [PAY, refund("a", 40), ("open", "d", 60), ("won", "d", 60)]),
    ("REFUNDED", [PAY, refund("a", 40), ("open", "d", 60), ("lost", "d", 60)]),
    ("REFUNDED", [PAY, refund("a", 100), ("open", "d", 100), ("won", "d", 100)]),
    ("REFUNDED", [PAY, refund("a", 100), ("open", "d", 100), ("lost", "d", 100)]),
    (
        "REFUNDED",
        [PAY, refund("a", 40), refund("b", 60), ("open", "d", 100), ("won", "d", 100)],
    ),
    (
        "PART_REFUNDED",
        [
            PAY,
            refund("a", 10),
            refund("b", 10),
            ("open", "d", 50),
            ("won", "d", 50),
            ("open", "e", 30),
            ("lost", "e", 30),
        ],
    ),
]


@pytest.mark.parametrize(("end", "facts"), STORIES)
def test_any_order_and_any_repeat_of_the_facts_comes_to_one_end(
    end: str, facts: list[Fact]
) -> None:
    money: set[str] = set()
    for order in permutations(facts):
        books = Books()
        for i, fact in enumerate(order):
            books.settle(fact)
            for repeat in order[: i + 1]:
                books.settle(repeat)
        assert (books.state, books.word) == (end, "RC"), order
        received, returned, opened, closed = books.money()
        money.add(f"{received} {returned} {sorted(opened.items())} {sorted(closed.items())}")
    assert len(money) == 1


def run(state: OrderState, steps: Iterable[Input]) -> tuple[OrderState, str]:
    books = Books(state)
    for happened in steps:
        cell = verdict(books.state, happened)
        if isinstance(cell, Act):
            books.step(happened)
    return books.state, books.word


def test_nothing_that_is_said_around_it_takes_a_paid_order_away() -> None:
    talk = [
        Input.PAY_SUCCEEDED,
        Input.PAY_PROCESSING,
        Input.PAY_DECLINED,
        Input.PAY_CANCELED,
        Input.DEADLINE,
        Input.CANCEL_REQUESTED,
    ]
    for steps in permutations(talk):
        assert run(OrderState.AWAITING_PAYMENT, steps) == (OrderState.PAID, "RC")


def test_units_of_one_order_are_sold_or_released_but_never_both() -> None:
    steps = [Input.DEADLINE, Input.RELEASED, Input.PAY_SUCCEEDED, Input.CANCEL_REQUESTED]
    ends = {run(OrderState.AWAITING_PAYMENT, order) for order in permutations(steps)}
    assert ends == {(OrderState.PAID, "RC"), (OrderState.LATE_PAID, "RX")}
    late = [Input.DEADLINE, Input.RELEASED, Input.PAY_SUCCEEDED]
    for answers, end in (
        ([Input.RE_RESERVED, Input.NO_STOCK], (OrderState.PAID, "RXL")),
        ([Input.NO_STOCK, Input.RE_RESERVED], (OrderState.REFUND_PENDING, "RX")),
        ([Input.REFUND_REQUESTED, Input.RE_RESERVED], (OrderState.REFUND_PENDING, "RX")),
        ([Input.REFUND_SUCCEEDED_FULL, Input.RE_RESERVED], (OrderState.REFUNDED, "RX")),
    ):
        assert run(OrderState.AWAITING_PAYMENT, [*late, *answers, *answers]) == end


def test_the_books_name_the_input() -> None:
    assert (
        refund_input(succeeded=True, received_minor=9, returned_minor=9)
        is Input.REFUND_SUCCEEDED_FULL
    )
    assert (
        refund_input(succeeded=True, received_minor=9, returned_minor=8)
        is Input.REFUND_SUCCEEDED_PART
    )
    for succeeded, returned_minor, name in (
        (True, 9, "REFUND_SUCCEEDED_FULL"),
        (True, 8, "REFUND_SUCCEEDED_PART"),
        (False, 0, "REFUND_FAILED"),
        (False, 8, "REFUND_FAILED"),
        (False, 9, "REFUND_SUCCEEDED_FULL"),
    ):
        found = refund_input(succeeded=succeeded, received_minor=9, returned_minor=returned_minor)
        assert found == name
    for won, returned_minor, name in (
        (True, 0, "DISPUTE_WON"),
        (True, 1, "DISPUTE_WON_PART"),
        (True, 9, "DISPUTE_WON_FULL"),
        (False, 1, "DISPUTE_LOST_PART"),
        (False, 9, "DISPUTE_LOST"),
        (False, 18, "DISPUTE_LOST"),
    ):
        for others_open in (False, True):
            found = dispute_input(
                won=won, received_minor=9, returned_minor=returned_minor, others_open=others_open
            )
            assert found == ("DISPUTE_OPENED" if others_open else name)
    least = refund_input(succeeded=True, received_minor=1, returned_minor=1)
    assert least is Input.REFUND_SUCCEEDED_FULL
    for received_minor, returned_minor in ((0, 0), (-1, 0), (9, -1)):
        with pytest.raises(ValueError, match="no such books"):
            refund_input(
                succeeded=True, received_minor=received_minor, returned_minor=returned_minor
            )
