"""The life of an order, cell by cell, and what must hold however late, twice or mixed up facts arrive."""

import pytest

from orders.fulfilment import FulfilmentInput, fulfilment_verdict
from orders.lifecycle import (
    ALLOWED_TRANSITIONS,
    FULFILLABLE,
    GIFT_TABLE,
    HOLDING,
    IMPLIED,
    KEPT,
    RELEASED,
    RESTING,
    STOCK_WORDS,
    TABLE,
    Act,
    DonationState,
    FulfilmentState,
    Ignore,
    Input,
    OrderState,
    Quarantine,
    Verdict,
    verdict,
)

# Every cell, by state: where each input leads, and with which stock moves.
PINNED = {
    "RESERVED": {
        "AWAITING_PAYMENT": "OFFER",
        "CANCELLING": "CANCEL_REQUESTED",
        "ignore": "DEADLINE REFUND_REQUESTED",
        "quarantine": (
            "PAY_PROCESSING PAY_DECLINED PAY_CANCELED PAY_SUCCEEDED RELEASED NO_STOCK "
            "RE_RESERVED REFUND_SUCCEEDED_FULL REFUND_SUCCEEDED_PART REFUND_FAILED "
            "DISPUTE_OPENED DISPUTE_WON DISPUTE_WON_PART DISPUTE_WON_FULL DISPUTE_LOST "
            "DISPUTE_LOST_PART"
        ),
    },
    "AWAITING_PAYMENT": {
        "CANCELLING": "CANCEL_REQUESTED",
        "EXPIRING": "DEADLINE",
        "PAID+C": "PAY_SUCCEEDED",
        "PROCESSING": "PAY_PROCESSING",
        "ignore": "OFFER PAY_DECLINED PAY_CANCELED REFUND_REQUESTED",
        "quarantine": (
            "RELEASED NO_STOCK RE_RESERVED REFUND_SUCCEEDED_FULL REFUND_SUCCEEDED_PART "
            "REFUND_FAILED DISPUTE_OPENED DISPUTE_WON DISPUTE_WON_PART DISPUTE_WON_FULL "
            "DISPUTE_LOST DISPUTE_LOST_PART"
        ),
    },
    "PROCESSING": {
        "AWAITING_PAYMENT": "PAY_DECLINED PAY_CANCELED",
        "PAID+C": "PAY_SUCCEEDED",
        "ignore": "OFFER PAY_PROCESSING DEADLINE CANCEL_REQUESTED REFUND_REQUESTED",
        "quarantine": (
            "RELEASED NO_STOCK RE_RESERVED REFUND_SUCCEEDED_FULL REFUND_SUCCEEDED_PART "
            "REFUND_FAILED DISPUTE_OPENED DISPUTE_WON DISPUTE_WON_PART DISPUTE_WON_FULL "
            "DISPUTE_LOST DISPUTE_LOST_PART"
        ),
    },
    "PAID": {
        "DISPUTED": "DISPUTE_OPENED",
        "PART_REFUNDED": "REFUND_SUCCEEDED_PART",
        "REFUNDED": "REFUND_SUCCEEDED_FULL",
        "REFUND_FAILED": "REFUND_FAILED",
        "REFUND_PENDING": "REFUND_REQUESTED",
        "ignore": (
            "OFFER PAY_PROCESSING PAY_DECLINED PAY_CANCELED PAY_SUCCEEDED DEADLINE RELEASED "
            "CANCEL_REQUESTED NO_STOCK RE_RESERVED"
        ),
        "quarantine": "DISPUTE_WON DISPUTE_WON_PART DISPUTE_WON_FULL DISPUTE_LOST DISPUTE_LOST_PART",
    },
    "EXPIRING": {
        "EXPIRED+X": "RELEASED",
        "PAID+C": "PAY_SUCCEEDED",
        "PROCESSING": "PAY_PROCESSING",
        "ignore": "OFFER PAY_DECLINED PAY_CANCELED DEADLINE CANCEL_REQUESTED REFUND_REQUESTED",
        "quarantine": (
            "NO_STOCK RE_RESERVED REFUND_SUCCEEDED_FULL REFUND_SUCCEEDED_PART REFUND_FAILED "
            "DISPUTE_OPENED DISPUTE_WON DISPUTE_WON_PART DISPUTE_WON_FULL DISPUTE_LOST "
            "DISPUTE_LOST_PART"
        ),
    },
    "EXPIRED": {
        "LATE_PAID": "PAY_SUCCEEDED",
        "ignore": (
            "OFFER PAY_PROCESSING PAY_DECLINED PAY_CANCELED DEADLINE RELEASED "
            "CANCEL_REQUESTED REFUND_REQUESTED"
        ),
        "quarantine": (
            "NO_STOCK RE_RESERVED REFUND_SUCCEEDED_FULL REFUND_SUCCEEDED_PART REFUND_FAILED "
            "DISPUTE_OPENED DISPUTE_WON DISPUTE_WON_PART DISPUTE_WON_FULL DISPUTE_LOST "
            "DISPUTE_LOST_PART"
        ),
    },
    "CANCELLING": {
        "CANCELLED+X": "RELEASED",
        "PAID+C": "PAY_SUCCEEDED",
        "ignore": (
            "OFFER PAY_PROCESSING PAY_DECLINED PAY_CANCELED DEADLINE CANCEL_REQUESTED "
            "REFUND_REQUESTED"
        ),
        "quarantine": (
            "NO_STOCK RE_RESERVED REFUND_SUCCEEDED_FULL REFUND_SUCCEEDED_PART REFUND_FAILED "
            "DISPUTE_OPENED DISPUTE_WON DISPUTE_WON_PART DISPUTE_WON_FULL DISPUTE_LOST "
            "DISPUTE_LOST_PART"
        ),
    },
    "CANCELLED": {
        "LATE_PAID": "PAY_SUCCEEDED",
        "ignore": (
            "OFFER PAY_PROCESSING PAY_DECLINED PAY_CANCELED DEADLINE RELEASED "
            "CANCEL_REQUESTED REFUND_REQUESTED"
        ),
        "quarantine": (
            "NO_STOCK RE_RESERVED REFUND_SUCCEEDED_FULL REFUND_SUCCEEDED_PART REFUND_FAILED "
            "DISPUTE_OPENED DISPUTE_WON DISPUTE_WON_PART DISPUTE_WON_FULL DISPUTE_LOST "
            "DISPUTE_LOST_PART"
        ),
    },
    "LATE_PAID": {
        "LATE_PAID": "REFUND_FAILED",
        "PAID+L": "RE_RESERVED",
        "REFUNDED": "REFUND_SUCCEEDED_FULL",
        "REFUND_PENDING": "NO_STOCK REFUND_REQUESTED REFUND_SUCCEEDED_PART DISPUTE_OPENED",
        "ignore": (
            "OFFER PAY_PROCESSING PAY_DECLINED PAY_CANCELED PAY_SUCCEEDED DEADLINE RELEASED "
            "CANCEL_REQUESTED"
        ),
        "quarantine": "DISPUTE_WON DISPUTE_WON_PART DISPUTE_WON_FULL DISPUTE_LOST DISPUTE_LOST_PART",
    },
    "REFUND_PENDING": {
        "PART_REFUNDED": "REFUND_SUCCEEDED_PART",
        "REFUNDED": "REFUND_SUCCEEDED_FULL DISPUTE_WON_FULL DISPUTE_LOST",
        "REFUND_FAILED": "REFUND_FAILED",
        "REFUND_PENDING": "DISPUTE_OPENED DISPUTE_WON DISPUTE_WON_PART DISPUTE_LOST_PART",
        "ignore": (
            "OFFER PAY_PROCESSING PAY_DECLINED PAY_CANCELED PAY_SUCCEEDED DEADLINE RELEASED "
            "CANCEL_REQUESTED NO_STOCK RE_RESERVED REFUND_REQUESTED"
        ),
    },
    "REFUNDED": {
        "REFUNDED": "REFUND_SUCCEEDED_FULL DISPUTE_OPENED DISPUTE_WON_FULL DISPUTE_LOST",
        "REFUND_FAILED": "REFUND_FAILED",
        "ignore": (
            "OFFER PAY_PROCESSING PAY_DECLINED PAY_CANCELED PAY_SUCCEEDED DEADLINE RELEASED "
            "CANCEL_REQUESTED NO_STOCK RE_RESERVED REFUND_REQUESTED"
        ),
        "quarantine": "REFUND_SUCCEEDED_PART DISPUTE_WON DISPUTE_WON_PART DISPUTE_LOST_PART",
    },
    "PART_REFUNDED": {
        "DISPUTED": "DISPUTE_OPENED",
        "PART_REFUNDED": "REFUND_SUCCEEDED_PART DISPUTE_WON_PART DISPUTE_LOST_PART",
        "REFUNDED": "REFUND_SUCCEEDED_FULL DISPUTE_WON_FULL DISPUTE_LOST",
        "REFUND_FAILED": "REFUND_FAILED",
        "REFUND_PENDING": "REFUND_REQUESTED",
        "ignore": (
            "OFFER PAY_PROCESSING PAY_DECLINED PAY_CANCELED PAY_SUCCEEDED DEADLINE RELEASED "
            "CANCEL_REQUESTED NO_STOCK RE_RESERVED"
        ),
        "quarantine": "DISPUTE_WON",
    },
    "REFUND_FAILED": {
        "REFUNDED": "REFUND_SUCCEEDED_FULL DISPUTE_WON_FULL DISPUTE_LOST",
        "REFUND_FAILED": (
            "REFUND_SUCCEEDED_PART REFUND_FAILED DISPUTE_OPENED DISPUTE_WON "
            "DISPUTE_WON_PART DISPUTE_LOST_PART"
        ),
        "REFUND_PENDING": "REFUND_REQUESTED",
        "ignore": (
            "OFFER PAY_PROCESSING PAY_DECLINED PAY_CANCELED PAY_SUCCEEDED DEADLINE RELEASED "
            "CANCEL_REQUESTED NO_STOCK RE_RESERVED"
        ),
    },
    "DISPUTED": {
        "DISPUTED": "REFUND_SUCCEEDED_PART DISPUTE_OPENED",
        "PAID": "DISPUTE_WON",
        "PART_REFUNDED": "DISPUTE_WON_PART DISPUTE_LOST_PART",
        "REFUNDED": "REFUND_SUCCEEDED_FULL DISPUTE_WON_FULL DISPUTE_LOST",
        "REFUND_FAILED": "REFUND_FAILED",
        "ignore": (
            "OFFER PAY_PROCESSING PAY_DECLINED PAY_CANCELED PAY_SUCCEEDED DEADLINE RELEASED "
            "CANCEL_REQUESTED NO_STOCK RE_RESERVED REFUND_REQUESTED"
        ),
    },
}

# The drawing of the states in the design notes, arrow by arrow.
DRAWN = """
RESERVED>AWAITING_PAYMENT AWAITING_PAYMENT>PROCESSING PROCESSING>AWAITING_PAYMENT PROCESSING>PAID
AWAITING_PAYMENT>PAID AWAITING_PAYMENT>EXPIRING EXPIRING>EXPIRED EXPIRING>PAID EXPIRING>PROCESSING
RESERVED>CANCELLING AWAITING_PAYMENT>CANCELLING CANCELLING>CANCELLED CANCELLING>PAID
EXPIRED>LATE_PAID CANCELLED>LATE_PAID LATE_PAID>PAID LATE_PAID>REFUND_PENDING
PAID>REFUND_PENDING PART_REFUNDED>REFUND_PENDING REFUND_FAILED>REFUND_PENDING
REFUND_PENDING>REFUNDED REFUND_PENDING>PART_REFUNDED REFUND_PENDING>REFUND_FAILED
PAID>DISPUTED PART_REFUNDED>DISPUTED DISPUTED>PAID DISPUTED>PART_REFUNDED DISPUTED>REFUNDED
"""

# What others do without asking: refunds from Stripe's dashboard, and refunds that fail after all.
FROM_OUTSIDE = """
PAID>REFUNDED PAID>PART_REFUNDED PART_REFUNDED>REFUNDED LATE_PAID>REFUNDED REFUND_FAILED>REFUNDED
PAID>REFUND_FAILED PART_REFUNDED>REFUND_FAILED REFUNDED>REFUND_FAILED DISPUTED>REFUND_FAILED
"""


def arrows(text: str) -> set[tuple[str, str]]:
    return {(start, end) for start, _, end in (arrow.partition(">") for arrow in text.split())}


def spelt(cell: Verdict) -> str:
    if isinstance(cell, Act):
        return "+".join([cell.next_state, *cell.moves])
    return type(cell).__name__.lower()


def test_every_cell_is_filled_and_pinned() -> None:
    pinned = {
        (OrderState(state), Input(name)): outcome
        for state, outcomes in PINNED.items()
        for outcome, names in outcomes.items()
        for name in names.split()
    }
    assert len(pinned) == len(OrderState) * len(Input) == 14 * 20
    assert {cell: spelt(found) for cell, found in TABLE.items()} == pinned
    assert sum(len(names.split()) for row in PINNED.values() for names in row.values()) == 280
    for state in OrderState:
        for happened in Input:
            assert verdict(state, happened) is TABLE[state, happened]


def test_whatever_is_not_done_says_why() -> None:
    reasons = {
        cell.reason: type(cell) for cell in TABLE.values() if isinstance(cell, Ignore | Quarantine)
    }
    assert all(len(reason) > 10 for reason in reasons)
    assert sum(kind is Quarantine for kind in reasons.values()) == 6
    assert sum(kind is Ignore for kind in reasons.values()) == 10


def test_names_are_stored_as_they_are_written() -> None:
    for name in (*OrderState, *Input, *DonationState, *FulfilmentState, *FulfilmentInput):
        assert name.value == name.name


def test_the_arrows_are_those_drawn_and_those_others_make() -> None:
    assert not arrows(DRAWN) & arrows(FROM_OUTSIDE)
    assert arrows(DRAWN) | arrows(FROM_OUTSIDE) == ALLOWED_TRANSITIONS


def test_states_part_into_held_released_and_kept() -> None:
    assert set(OrderState) == HOLDING | RELEASED | KEPT
    assert len(HOLDING) + len(RELEASED) + len(KEPT) == len(OrderState)
    assert {"RESERVED", "AWAITING_PAYMENT", "PROCESSING", "EXPIRING", "CANCELLING"} == HOLDING
    assert {"EXPIRED", "CANCELLED", "LATE_PAID"} == RELEASED
    assert {
        "PAID",
        "DISPUTED",
        "PART_REFUNDED",
        "REFUND_PENDING",
        "REFUNDED",
        "REFUND_FAILED",
    } == KEPT
    assert set(OrderState) - RESTING == HOLDING | {"LATE_PAID", "REFUND_PENDING"}


def test_stock_moves_exactly_where_the_units_change_hands() -> None:
    for (state, _), cell in TABLE.items():
        if not isinstance(cell, Act):
            continue
        if state in HOLDING and cell.next_state in HOLDING:
            assert cell.moves == ()
        elif state in HOLDING and cell.next_state in RELEASED:
            assert cell.moves == ("X",)
        elif state in HOLDING:
            assert cell == Act(OrderState.PAID, ("C",))
        elif cell.moves:
            assert (state, cell) == (OrderState.LATE_PAID, Act(OrderState.PAID, ("L",)))


def test_units_are_released_on_stripes_word_alone() -> None:
    releasing = {
        (state, happened)
        for (state, happened), cell in TABLE.items()
        if isinstance(cell, Act) and "X" in cell.moves
    }
    assert releasing == {
        (OrderState.EXPIRING, Input.RELEASED),
        (OrderState.CANCELLING, Input.RELEASED),
    }


def test_received_money_is_never_ignored() -> None:
    for state in HOLDING | RELEASED - {OrderState.LATE_PAID}:
        cell = verdict(state, Input.PAY_SUCCEEDED)
        assert isinstance(cell, Act | Quarantine)
        assert isinstance(cell, Quarantine) == (state is OrderState.RESERVED)


def test_money_facts_are_never_dropped_once_money_came() -> None:
    """What moves money may be booked or shown to a person, but Ignore would lose it."""
    for happened in IMPLIED:
        for state in OrderState:
            for gift in (False, True):
                assert not isinstance(verdict(state, happened, gift=gift), Ignore)


@pytest.mark.parametrize("gift", [False, True])
def test_a_repeat_changes_nothing(gift: bool) -> None:
    """Whatever an input did, doing it at once again does no more: neither another state nor stock."""
    for (_, happened), cell in (GIFT_TABLE if gift else TABLE).items():
        if isinstance(cell, Act):
            again = verdict(cell.next_state, happened, gift=gift)
            if isinstance(again, Act):
                assert happened in IMPLIED
                assert again.moves == ()
                if cell.next_state is not OrderState.REFUND_PENDING:
                    assert again.next_state is cell.next_state


def test_late_talk_about_a_payment_moves_no_order_whose_money_is_settled() -> None:
    before_money = [Input(name) for name in Input if name.startswith("PAY_")]
    before_money += [Input.OFFER, Input.DEADLINE, Input.RELEASED, Input.CANCEL_REQUESTED]
    for state in KEPT | {OrderState.LATE_PAID}:
        for happened in before_money:
            assert isinstance(verdict(state, happened), Ignore)


def test_every_state_is_reached_and_every_restless_one_is_left() -> None:
    reached: set[OrderState] = {OrderState.RESERVED}
    while more := {end for start, end in ALLOWED_TRANSITIONS if start in reached} - reached:
        reached |= more
    assert reached == set(OrderState)
    assert {start for start, _ in ALLOWED_TRANSITIONS} >= set(OrderState) - RESTING


def test_every_path_spells_a_word_its_state_allows() -> None:
    """Walk all paths with the money that is left (all, part, none), as the books would name the inputs."""
    part = {"REFUND_SUCCEEDED_PART", "DISPUTE_WON_PART", "DISPUTE_LOST_PART"}
    none = {"REFUND_SUCCEEDED_FULL", "DISPUTE_WON_FULL", "DISPUTE_LOST"}
    start = (OrderState.RESERVED, "R", "all")
    seen, todo = {start}, [start]
    while todo:
        state, word, left = todo.pop()
        for happened in Input:
            cell = verdict(state, happened)
            if not isinstance(cell, Act):
                continue
            # The rare refund that fails late gives money back to us; the walk leaves that out.
            after = "part" if happened in part else "none" if happened in none else left
            if (left == "none" != after) or (left != "all" and happened == "DISPUTE_WON"):
                continue
            step = (cell.next_state, word + "".join(cell.moves), after)
            if step not in seen:
                seen.add(step)
                todo.append(step)
    spelt_words: dict[OrderState, set[str]] = {}
    for state, word, _ in seen:
        spelt_words.setdefault(state, set()).add(word)
    restocked = {"RCT", "RXLT"}
    assert {state: words - restocked for state, words in STOCK_WORDS.items()} == {
        **spelt_words,
        OrderState.DISPUTED: {"RC", "RXL", "RX"},
    }
    for state, words in STOCK_WORDS.items():
        assert (restocked <= words) == (state in KEPT)


def test_what_rests_on_what() -> None:
    refunds = ["REFUND_SUCCEEDED_FULL", "REFUND_SUCCEEDED_PART", "REFUND_FAILED", "DISPUTE_OPENED"]
    closings = [
        "DISPUTE_WON",
        "DISPUTE_WON_PART",
        "DISPUTE_WON_FULL",
        "DISPUTE_LOST",
        "DISPUTE_LOST_PART",
    ]
    assert {
        **dict.fromkeys(refunds, "PAY_SUCCEEDED"),
        **dict.fromkeys(closings, "DISPUTE_OPENED"),
    } == IMPLIED


def test_a_parcel_goes_one_way() -> None:
    ways = {
        "NONE": "PACKED ! ! !",
        "PACKED": "- SHIPPED ! !",
        "SHIPPED": "- - DELIVERED RETURNED",
        "DELIVERED": "- - - !",
        "RETURNED": "- - ! -",
    }
    for state in FulfilmentState:
        found = [fulfilment_verdict(state, happened) for happened in FulfilmentInput]
        signs = [
            "-" if isinstance(to, Ignore) else "!" if isinstance(to, Quarantine) else to
            for to in found
        ]
        assert " ".join(signs) == ways[state]
    assert {OrderState.PAID} == FULFILLABLE
