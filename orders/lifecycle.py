"""The life of an order as data: what each input does in each state, with no cell left to chance.

Stripe speaks late, twice and out of order, and our own workers may be slow or twice, too. So every (state,
input) pair has its verdict in one table that a person can read, and a test pins each cell of it.

What the table relies on, and settlement sees to, under the order's row lock:

* a fact that is already in the books by its own id (payment intent, refund, dispute) does not get here again;
  the table alone cannot tell a late duplicate of a dispute from a second dispute;
* a fact that rests on one that is not yet in the books comes after it: see ``IMPLIED``;
* the first success of any attempt is the order's PAY_SUCCEEDED; each later one is money for nothing, is given
  back and moves no order. The other PAY_* are told of the newest attempt only;
* which of the _PART and _FULL inputs it is, ``refund_input`` and ``dispute_input`` say from the books;
* after a refund's outcome a dispute that is still open is told again, so that no refund hides it.

A gift is an order without goods and has a table of its own, made of the first: no stock, and no money too late.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

from orders.fulfilment import FulfilmentState
from orders.verdicts import Ignore, Quarantine

__all__ = [
    "ALLOWED_TRANSITIONS",
    "FULFILLABLE",
    "GIFT_TABLE",
    "GIFT_TRANSITIONS",
    "HOLDING",
    "IMPLIED",
    "KEPT",
    "RELEASED",
    "RESTING",
    "STOCK_WORDS",
    "TABLE",
    "Act",
    "DonationState",
    "FulfilmentState",
    "Ignore",
    "Input",
    "Move",
    "OrderState",
    "Quarantine",
    "Verdict",
    "dispute_input",
    "donation_state",
    "refund_input",
    "verdict",
]


class OrderState(StrEnum):
    """Where an order stands; stored under exactly these names."""

    RESERVED = "RESERVED"
    AWAITING_PAYMENT = "AWAITING_PAYMENT"
    PROCESSING = "PROCESSING"
    PAID = "PAID"
    EXPIRING = "EXPIRING"
    EXPIRED = "EXPIRED"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"
    LATE_PAID = "LATE_PAID"
    REFUND_PENDING = "REFUND_PENDING"
    REFUNDED = "REFUNDED"
    PART_REFUNDED = "PART_REFUNDED"
    REFUND_FAILED = "REFUND_FAILED"
    DISPUTED = "DISPUTED"


class Input(StrEnum):
    """What can happen to an order: facts from Stripe, and steps of our own workers and people."""

    OFFER = "OFFER"  # The pacer: it is the shopper's turn to pay.
    PAY_PROCESSING = "PAY_PROCESSING"  # Stripe's own ``processing``, never a step before it.
    PAY_DECLINED = "PAY_DECLINED"  # The attempt failed and may be confirmed again.
    PAY_CANCELED = "PAY_CANCELED"  # The attempt ended at Stripe; another may be made.
    PAY_SUCCEEDED = "PAY_SUCCEEDED"
    DEADLINE = "DEADLINE"  # ``pay_by`` has passed.
    RELEASED = "RELEASED"  # By Stripe's word no attempt of the order is, or can become, payable.
    CANCEL_REQUESTED = "CANCEL_REQUESTED"
    NO_STOCK = "NO_STOCK"  # Late money asked the guard again: no units left.
    RE_RESERVED = "RE_RESERVED"  # Late money asked the guard again: the units are sold to it.
    REFUND_REQUESTED = "REFUND_REQUESTED"
    REFUND_SUCCEEDED_FULL = "REFUND_SUCCEEDED_FULL"  # After it nothing of the money is left.
    REFUND_SUCCEEDED_PART = "REFUND_SUCCEEDED_PART"
    REFUND_FAILED = "REFUND_FAILED"  # Money that was to go back is with us (again).
    DISPUTE_OPENED = "DISPUTE_OPENED"
    DISPUTE_WON = "DISPUTE_WON"  # Nothing was given back otherwise.
    DISPUTE_WON_PART = "DISPUTE_WON_PART"  # A part was refunded meanwhile.
    DISPUTE_WON_FULL = "DISPUTE_WON_FULL"  # All was refunded meanwhile.
    DISPUTE_LOST = "DISPUTE_LOST"  # After it nothing of the money is left.
    DISPUTE_LOST_PART = "DISPUTE_LOST_PART"  # The dispute was about a part.


Move = Literal["C", "X", "L"]  # Commit as sold; release; late sale straight from free stock.


@dataclass(frozen=True, slots=True)
class Act:
    """Go to ``next_state`` and append ``moves`` to the order's stock moves, in one transaction.

    Where ``next_state`` is the state the order is in, only the books change and no history is written.
    """

    next_state: OrderState
    moves: tuple[Move, ...] = ()


Verdict = Act | Ignore | Quarantine

# Each verdict has a word of four letters, so that the table below fits on a screen: where the order
# goes, or why it stays.
_VERDICTS: Final[Mapping[str, Verdict]] = MappingProxyType(
    {
        "awai": Act(OrderState.AWAITING_PAYMENT),
        "proc": Act(OrderState.PROCESSING),
        "sold": Act(OrderState.PAID, ("C",)),
        "expi": Act(OrderState.EXPIRING),
        "expd": Act(OrderState.EXPIRED, ("X",)),
        "canc": Act(OrderState.CANCELLING),
        "cncd": Act(OrderState.CANCELLED, ("X",)),
        "late": Act(OrderState.LATE_PAID),
        "resd": Act(OrderState.PAID, ("L",)),
        "rpen": Act(OrderState.REFUND_PENDING),
        "rded": Act(OrderState.REFUNDED),
        "part": Act(OrderState.PART_REFUNDED),
        "rfai": Act(OrderState.REFUND_FAILED),
        "disp": Act(OrderState.DISPUTED),
        "kept": Act(OrderState.PAID),
        "SAME": Ignore("it is so already"),
        "PAST": Ignore("the order is past this"),
        "STAY": Ignore("the order goes on waiting for payment"),
        "WAIT": Ignore("only Stripe's word that nothing is payable releases the units"),
        "FLOW": Ignore("money is on its way: its outcome decides"),
        "IDLE": Ignore("the clock starts when paying is possible"),
        "HELD": Ignore("the units are already being released"),
        "PAYD": Ignore("it is paid: ask for a refund"),
        "FREE": Ignore("nothing was paid"),
        "BANK": Ignore("the bank decides first"),
        "NONE": Quarantine("a payment for an order that was never offered"),
        "EARL": Quarantine("units released without expiring or cancelling first"),
        "FRSH": Quarantine("only late money asks the guard again"),
        "UNPD": Quarantine("money given back or disputed before any was received"),
        "UNOP": Quarantine("a dispute closed that was never opened"),
        "ODDS": Quarantine("the books say otherwise"),
        "GIFT": Quarantine("a gift needs no stock and never waits for any"),
    }
)

_COLUMNS: Final = (
    OrderState.RESERVED,
    OrderState.AWAITING_PAYMENT,
    OrderState.PROCESSING,
    OrderState.EXPIRING,
    OrderState.CANCELLING,
    OrderState.EXPIRED,
    OrderState.CANCELLED,
    OrderState.LATE_PAID,
    OrderState.PAID,
    OrderState.REFUND_PENDING,
    OrderState.PART_REFUNDED,
    OrderState.REFUND_FAILED,
    OrderState.DISPUTED,
    OrderState.REFUNDED,
)

#                      RESE AWAI PROC EXPI CANC EXPD CNCD LATE PAID RPEN PART RFAI DISP RDED
_ROWS: Final = """
OFFER                  awai SAME PAST PAST PAST PAST PAST PAST PAST PAST PAST PAST PAST PAST
PAY_PROCESSING         NONE proc SAME proc WAIT PAST PAST PAST PAST PAST PAST PAST PAST PAST
PAY_DECLINED           NONE STAY awai WAIT WAIT PAST PAST PAST PAST PAST PAST PAST PAST PAST
PAY_CANCELED           NONE STAY awai WAIT WAIT PAST PAST PAST PAST PAST PAST PAST PAST PAST
PAY_SUCCEEDED          NONE sold sold sold sold late late SAME SAME PAST PAST PAST PAST PAST
DEADLINE               IDLE expi FLOW SAME HELD PAST PAST PAST PAST PAST PAST PAST PAST PAST
RELEASED               EARL EARL EARL expd cncd SAME SAME PAST PAST PAST PAST PAST PAST PAST
CANCEL_REQUESTED       canc canc FLOW HELD SAME PAST SAME PAYD PAYD PAST PAYD PAYD BANK PAST
NO_STOCK               FRSH FRSH FRSH FRSH FRSH FRSH FRSH rpen PAST PAST PAST PAST PAST PAST
RE_RESERVED            FRSH FRSH FRSH FRSH FRSH FRSH FRSH resd PAST PAST PAST PAST PAST PAST
REFUND_REQUESTED       FREE FREE FREE FREE FREE FREE FREE rpen rpen SAME rpen rpen BANK PAST
REFUND_SUCCEEDED_FULL  UNPD UNPD UNPD UNPD UNPD UNPD UNPD rded rded rded rded rded rded rded
REFUND_SUCCEEDED_PART  UNPD UNPD UNPD UNPD UNPD UNPD UNPD rpen part part part rfai disp ODDS
REFUND_FAILED          UNPD UNPD UNPD UNPD UNPD UNPD UNPD late rfai rfai rfai rfai rfai rfai
DISPUTE_OPENED         UNPD UNPD UNPD UNPD UNPD UNPD UNPD rpen disp rpen disp rfai disp rded
DISPUTE_WON            UNPD UNPD UNPD UNPD UNPD UNPD UNPD UNOP UNOP rpen ODDS rfai kept ODDS
DISPUTE_WON_PART       UNPD UNPD UNPD UNPD UNPD UNPD UNPD UNOP UNOP rpen part rfai part ODDS
DISPUTE_WON_FULL       UNPD UNPD UNPD UNPD UNPD UNPD UNPD UNOP UNOP rded rded rded rded rded
DISPUTE_LOST           UNPD UNPD UNPD UNPD UNPD UNPD UNPD UNOP UNOP rded rded rded rded rded
DISPUTE_LOST_PART      UNPD UNPD UNPD UNPD UNPD UNPD UNPD UNOP UNOP rpen part rfai part ODDS
"""


# A gift's table is the one above, without stock moves, and with these rows instead. Its LATE_PAID column is GIFT
# throughout: money for a gift is never late, it is PAID from wherever the order stands.
#                      RESE AWAI PROC EXPI CANC EXPD CNCD LATE PAID RPEN PART RFAI DISP RDED
_GIFT_ROWS: Final = """
PAY_SUCCEEDED          NONE kept kept kept kept kept kept GIFT SAME PAST PAST PAST PAST PAST
NO_STOCK               GIFT GIFT GIFT GIFT GIFT GIFT GIFT GIFT GIFT GIFT GIFT GIFT GIFT GIFT
RE_RESERVED            GIFT GIFT GIFT GIFT GIFT GIFT GIFT GIFT GIFT GIFT GIFT GIFT GIFT GIFT
"""

Cells = Mapping[tuple[OrderState, Input], Verdict]


def _cells(rows: str) -> dict[tuple[OrderState, Input], Verdict]:
    cells: dict[tuple[OrderState, Input], Verdict] = {}
    for row in rows.strip().splitlines():
        name, *words = row.split()
        for state, word in zip(_COLUMNS, words, strict=True):
            cells[state, Input[name]] = _VERDICTS[word]
    return cells


def _gift_cells() -> dict[tuple[OrderState, Input], Verdict]:
    moveless: dict[tuple[OrderState, Input], Verdict] = {
        cell: Act(found.next_state) if isinstance(found, Act) else found
        for cell, found in TABLE.items()
    }
    never = {(OrderState.LATE_PAID, happened): _VERDICTS["GIFT"] for happened in Input}
    return {**moveless, **_cells(_GIFT_ROWS), **never}


def _transitions(table: Cells) -> frozenset[tuple[OrderState, OrderState]]:
    return frozenset(
        (state, found.next_state)
        for (state, _), found in table.items()
        if isinstance(found, Act) and found.next_state is not state
    )


TABLE: Final[Cells] = MappingProxyType(_cells(_ROWS))
GIFT_TABLE: Final[Cells] = MappingProxyType(_gift_cells())

# The checker holds the state history against these (I14). Going beyond the plain drawing of the states are only
# facts that others make and that cannot be refused: refunds made at Stripe's dashboard, and refunds that fail
# after they had succeeded.
ALLOWED_TRANSITIONS: Final = _transitions(TABLE)
GIFT_TRANSITIONS: Final = _transitions(GIFT_TABLE)

# A fact that rests on another: Stripe's snapshot of the first proves the second, so where the books lack the
# second, settlement posts it first and then comes back with the first.
IMPLIED: Final[Mapping[Input, Input]] = MappingProxyType(
    {
        **{
            given: Input.PAY_SUCCEEDED
            for given in Input
            if given.startswith("REFUND_") and given is not Input.REFUND_REQUESTED
        },
        Input.DISPUTE_OPENED: Input.PAY_SUCCEEDED,
        **{
            closed: Input.DISPUTE_OPENED
            for closed in Input
            if closed.startswith(("DISPUTE_WON", "DISPUTE_LOST"))
        },
    }
)

# Units are reserved (the checker's H); units were given back; units are sold (the checker's K).
HOLDING: Final = frozenset(_COLUMNS[:5])
RELEASED: Final = frozenset(_COLUMNS[5:8])
KEPT: Final = frozenset(_COLUMNS[8:])

# Goods leave the house only for these: not while the bank or a refund decides, and never for late money that
# found no stock.
FULFILLABLE: Final = frozenset({OrderState.PAID})

# Nothing of ours has to happen next; every other state has an owner process and a deadline (I13).
RESTING: Final = frozenset(
    {
        OrderState.PAID,
        OrderState.EXPIRED,
        OrderState.CANCELLED,
        OrderState.REFUNDED,
        OrderState.PART_REFUNDED,
        OrderState.REFUND_FAILED,
        OrderState.DISPUTED,
    }
)

_SOLD_WORDS: Final = frozenset({"RC", "RXL", "RCT", "RXLT"})

# What the stock moves of an order's line, in order, may spell in each state (I3). Placing writes the R and
# restocking the T, which stands for any number of them: goods may come back unit by unit. The table writes the
# rest. A gift has no line, and so no word at all. Late money without stock goes back through the refund states with the units
# released: there, and only there, RX stands beside the words of a sale.
STOCK_WORDS: Final[Mapping[OrderState, frozenset[str]]] = MappingProxyType(
    {
        **dict.fromkeys(HOLDING, frozenset({"R"})),
        **dict.fromkeys(RELEASED, frozenset({"RX"})),
        **dict.fromkeys(KEPT, _SOLD_WORDS | {"RX"}),
        OrderState.PAID: _SOLD_WORDS,
    }
)


def verdict(state: OrderState, happened: Input, *, gift: bool = False) -> Verdict:
    """Return what ``happened`` does to an order (a gift, if so) in ``state``: a look-up, defined for every pair."""
    return (GIFT_TABLE if gift else TABLE)[state, happened]


class DonationState(StrEnum):
    """How a gift stands for its giver and in public: its order's state in the words of giving."""

    PLEDGED = "PLEDGED"
    AWAITING = "AWAITING"
    PROCESSING = "PROCESSING"
    SUCCEEDED = "SUCCEEDED"
    PART_REFUNDED = "PART_REFUNDED"
    REFUNDED = "REFUNDED"
    DISPUTED = "DISPUTED"
    LOST = "LOST"
    EXPIRED = "EXPIRED"
    FAILED = "FAILED"


_DONATION_STATES: Final[Mapping[OrderState, DonationState]] = MappingProxyType(
    {
        OrderState.RESERVED: DonationState.PLEDGED,
        OrderState.AWAITING_PAYMENT: DonationState.AWAITING,
        OrderState.PROCESSING: DonationState.PROCESSING,
        OrderState.EXPIRING: DonationState.AWAITING,
        OrderState.CANCELLING: DonationState.AWAITING,
        OrderState.EXPIRED: DonationState.EXPIRED,
        OrderState.CANCELLED: DonationState.FAILED,
        # No gift stands here; the money has come wherever an order does.
        OrderState.LATE_PAID: DonationState.SUCCEEDED,
        OrderState.PAID: DonationState.SUCCEEDED,
        # That it is to go back is between the giver and us until it has gone.
        OrderState.REFUND_PENDING: DonationState.SUCCEEDED,
        OrderState.REFUND_FAILED: DonationState.SUCCEEDED,
        OrderState.PART_REFUNDED: DonationState.PART_REFUNDED,
        OrderState.DISPUTED: DonationState.DISPUTED,
        OrderState.REFUNDED: DonationState.REFUNDED,
    }
)


def donation_state(order_state: OrderState, *, lost: bool = False) -> DonationState:
    """Return how a gift stands; ``lost``: a bank took it back for good, which is not the same as given back."""
    if lost and order_state is OrderState.REFUNDED:
        return DonationState.LOST
    return _DONATION_STATES[order_state]


def _all_returned(received_minor: int, returned_minor: int) -> bool:
    if received_minor <= 0 or returned_minor < 0:
        raise ValueError(
            f"{returned_minor} given back of {received_minor} received: no such books."
        )
    # More can be lost than was received: a dispute lost over money that was refunded as well.
    return returned_minor >= received_minor


def refund_input(*, succeeded: bool, received_minor: int, returned_minor: int) -> Input:
    """Return which input a refund's outcome is, from the books as they are after it.

    ``returned_minor``: all refunds that stand plus all disputes lost; an open dispute is not returned yet. A
    refund that failed beside others that gave all back changes nothing about that: the books decide.
    """
    if _all_returned(received_minor, returned_minor):
        return Input.REFUND_SUCCEEDED_FULL
    return Input.REFUND_SUCCEEDED_PART if succeeded else Input.REFUND_FAILED


def dispute_input(
    *, won: bool, received_minor: int, returned_minor: int, others_open: bool
) -> Input:
    """Return which input a dispute's end is, from the books as they are after it; see ``refund_input``.

    While other disputes of the order are open (``others_open``) it stays as disputed as it was.
    """
    if others_open:
        return Input.DISPUTE_OPENED
    if _all_returned(received_minor, returned_minor):
        return Input.DISPUTE_WON_FULL if won else Input.DISPUTE_LOST
    if not won:
        return Input.DISPUTE_LOST_PART
    return Input.DISPUTE_WON_PART if returned_minor else Input.DISPUTE_WON
