"""The life of a gift, cell by cell: the order's own but for stock, and for money that is never too late."""

from orders.lifecycle import (
    ALLOWED_TRANSITIONS,
    GIFT_TABLE,
    GIFT_TRANSITIONS,
    KEPT,
    TABLE,
    Act,
    DonationState,
    Ignore,
    Input,
    OrderState,
    donation_state,
    verdict,
)
from tests.orders.test_lifecycle import arrows, spelt

# A gift goes the same ways but for these cells, and without stock: by state, as above.
GIFT_PINNED: dict[tuple[str, str], str] = {
    ("EXPIRED", "PAY_SUCCEEDED"): "PAID",
    ("CANCELLED", "PAY_SUCCEEDED"): "PAID",
    **{
        (state, asked): "quarantine"
        for state in OrderState
        for asked in ("NO_STOCK", "RE_RESERVED")
    },
    **{("LATE_PAID", happened): "quarantine" for happened in Input},
}


def test_every_cell_of_a_gift_is_filled_and_pinned() -> None:
    assert set(GIFT_TABLE) == set(TABLE)
    for (state, happened), cell in GIFT_TABLE.items():
        pinned = GIFT_PINNED.get((state, happened)) or spelt(TABLE[state, happened]).split("+")[0]
        assert spelt(cell) == pinned, (state, happened)
        assert verdict(state, happened, gift=True) is cell
        assert not isinstance(cell, Act) or cell.moves == ()
    # What is not drawn anew is not said anew either: the same reasons in the same cells.
    for pair, found in TABLE.items():
        if pair not in GIFT_PINNED and not isinstance(found, Act):
            assert GIFT_TABLE[pair] is found


def test_money_for_a_gift_is_never_late_and_never_refused() -> None:
    for state in set(OrderState) - {OrderState.LATE_PAID, OrderState.RESERVED}:
        cell = verdict(state, Input.PAY_SUCCEEDED, gift=True)
        assert cell == Act(OrderState.PAID) or (state in KEPT and isinstance(cell, Ignore))
    assert {state for pair in GIFT_TRANSITIONS for state in pair} == set(OrderState) - {
        OrderState.LATE_PAID
    }
    new = {("EXPIRED", "PAID"), ("CANCELLED", "PAID")}
    late = {arrow for arrow in ALLOWED_TRANSITIONS if OrderState.LATE_PAID in arrow}
    assert (ALLOWED_TRANSITIONS - late) | new == GIFT_TRANSITIONS


def test_a_gift_stands_as_its_order_does() -> None:
    stands = {
        "RESERVED": "PLEDGED",
        "AWAITING_PAYMENT": "AWAITING",
        "EXPIRING": "AWAITING",
        "CANCELLING": "AWAITING",
        "PROCESSING": "PROCESSING",
        "LATE_PAID": "SUCCEEDED",
        "PAID": "SUCCEEDED",
        "REFUND_PENDING": "SUCCEEDED",
        "REFUND_FAILED": "SUCCEEDED",
        "PART_REFUNDED": "PART_REFUNDED",
        "REFUNDED": "REFUNDED",
        "DISPUTED": "DISPUTED",
        "EXPIRED": "EXPIRED",
        "CANCELLED": "FAILED",
    }
    assert {state: donation_state(state) for state in OrderState} == stands
    assert {state: donation_state(state, lost=True) for state in OrderState} == {
        **stands,
        "REFUNDED": "LOST",
    }
    assert set(stands.values()) | {"LOST"} == set(DonationState)


def test_every_step_of_a_gift_is_one_that_giving_knows() -> None:
    """The donation's own drawing, arrow by arrow, with the steps that only refunds from outside make."""
    drawn = """
    PLEDGED>AWAITING AWAITING>PROCESSING PROCESSING>AWAITING PROCESSING>SUCCEEDED AWAITING>SUCCEEDED
    AWAITING>EXPIRED AWAITING>FAILED EXPIRED>SUCCEEDED FAILED>SUCCEEDED
    SUCCEEDED>PART_REFUNDED SUCCEEDED>REFUNDED PART_REFUNDED>REFUNDED
    SUCCEEDED>DISPUTED PART_REFUNDED>DISPUTED DISPUTED>SUCCEEDED DISPUTED>PART_REFUNDED DISPUTED>REFUNDED
    PART_REFUNDED>SUCCEEDED REFUNDED>SUCCEEDED
    """
    steps = {(donation_state(begin), donation_state(end)) for begin, end in GIFT_TRANSITIONS}
    assert {(begin, end) for begin, end in steps if begin is not end} == arrows(drawn)
