"""The life of an attempt to pay, cell by cell, and what must hold however late Stripe's words about it come."""

from itertools import permutations

from orders.attempt_life import (
    ATTEMPT_TABLE,
    DEAD,
    ORDER_INPUT,
    TOLD_BY,
    AttemptInput,
    AttemptState,
    AttemptVerdict,
    attempt_verdict,
)
from orders.payments.facts import PAYMENT_STATUSES
from orders.verdicts import Ignore, Quarantine

# Every cell, by state: where each input leads ("-": ignored, "!": a person looks at it).
PINNED = {
    "CREATING": {
        "-": "TRIED UNCONFIRMED",
        "DECLINED": "DECLINED",
        "REQUIRES_ACTION": "REQUIRES_ACTION",
        "PROCESSING": "PROCESSING",
        "SUCCEEDED": "SUCCEEDED",
        "CANCELED": "CANCELED",
        "ABSENT": "ABSENT",
    },
    "REQUIRES_ACTION": {
        "CREATING": "TRIED",
        "DECLINED": "UNCONFIRMED DECLINED",
        "REQUIRES_ACTION": "REQUIRES_ACTION",
        "PROCESSING": "PROCESSING",
        "SUCCEEDED": "SUCCEEDED",
        "CANCELED": "CANCELED",
        "-": "ABSENT",
    },
    "DECLINED": {
        "CREATING": "TRIED",
        "DECLINED": "UNCONFIRMED DECLINED",
        "REQUIRES_ACTION": "REQUIRES_ACTION",
        "PROCESSING": "PROCESSING",
        "SUCCEEDED": "SUCCEEDED",
        "CANCELED": "CANCELED",
        "-": "ABSENT",
    },
    "PROCESSING": {
        "!": "TRIED",
        "DECLINED": "UNCONFIRMED DECLINED",
        "REQUIRES_ACTION": "REQUIRES_ACTION",
        "PROCESSING": "PROCESSING",
        "SUCCEEDED": "SUCCEEDED",
        "CANCELED": "CANCELED",
        "-": "ABSENT",
    },
    "SUCCEEDED": {
        "!": "TRIED",
        "SUCCEEDED": "SUCCEEDED",
        "-": "UNCONFIRMED DECLINED REQUIRES_ACTION PROCESSING CANCELED ABSENT",
    },
    "CANCELED": {
        "!": "TRIED",
        "SUCCEEDED": "SUCCEEDED",
        "CANCELED": "CANCELED",
        "-": "UNCONFIRMED DECLINED REQUIRES_ACTION PROCESSING ABSENT",
    },
    "ABSENT": {
        "!": "TRIED",
        "DECLINED": "UNCONFIRMED DECLINED",
        "REQUIRES_ACTION": "REQUIRES_ACTION",
        "PROCESSING": "PROCESSING",
        "SUCCEEDED": "SUCCEEDED",
        "CANCELED": "CANCELED",
        "ABSENT": "ABSENT",
    },
}


def spelt(cell: AttemptVerdict) -> str:
    if isinstance(cell, Ignore | Quarantine):
        return "-" if isinstance(cell, Ignore) else "!"
    return cell


def test_every_cell_is_filled_and_pinned() -> None:
    pinned = {
        (AttemptState(state), AttemptInput(name)): outcome
        for state, outcomes in PINNED.items()
        for outcome, names in outcomes.items()
        for name in names.split()
    }
    assert len(pinned) == len(AttemptState) * len(AttemptInput) == 7 * 8
    assert sum(len(names.split()) for row in PINNED.values() for names in row.values()) == 56
    assert {cell: spelt(found) for cell, found in ATTEMPT_TABLE.items()} == pinned
    for state in AttemptState:
        for happened in AttemptInput:
            assert attempt_verdict(state, happened) is ATTEMPT_TABLE[state, happened]


def test_whatever_is_not_done_says_why() -> None:
    reasons = {
        cell.reason for cell in ATTEMPT_TABLE.values() if isinstance(cell, Ignore | Quarantine)
    }
    assert len(reasons) == 6
    assert all(len(reason) > 10 for reason in reasons)


def test_names_are_stored_as_they_are_written() -> None:
    for name in (*AttemptState, *AttemptInput):
        assert name.value == name.name


def test_every_status_of_stripes_tells_something_but_the_one_that_we_never_ask_for() -> None:
    assert set(TOLD_BY) == PAYMENT_STATUSES - {"requires_capture"}
    assert set(ORDER_INPUT) == set(AttemptInput) - {AttemptInput.TRIED, AttemptInput.ABSENT}


def test_money_is_believed_wherever_the_attempt_stands() -> None:
    for state in AttemptState:
        assert attempt_verdict(state, AttemptInput.SUCCEEDED) is AttemptState.SUCCEEDED


def test_an_attempt_that_ended_at_stripe_is_never_payable_again() -> None:
    assert {"CANCELED", "ABSENT"} == DEAD
    for happened in set(AttemptInput) - {AttemptInput.SUCCEEDED}:
        cell = attempt_verdict(AttemptState.CANCELED, happened)
        assert cell is AttemptState.CANCELED or isinstance(cell, Ignore | Quarantine)


def test_a_repeat_changes_nothing() -> None:
    for (_, happened), cell in ATTEMPT_TABLE.items():
        if isinstance(cell, AttemptState):
            again = attempt_verdict(cell, happened)
            assert again is cell or isinstance(again, Ignore)


def test_stripes_words_in_any_order_end_with_its_last() -> None:
    talk = [happened for happened in ORDER_INPUT if happened is not AttemptInput.CANCELED]
    for last, end in ((talk, AttemptState.SUCCEEDED), ([*talk[:-1], AttemptInput.CANCELED], None)):
        for order in permutations(last):
            state = AttemptState.CREATING
            for happened in order:
                cell = attempt_verdict(state, happened)
                state = cell if isinstance(cell, AttemptState) else state
            assert state is (end or AttemptState.CANCELED)
