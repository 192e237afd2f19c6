"""The life of an order as data: what each input does in each state, with no cell left to chance.

Stripe speaks late, twice and out of order, and our own workers may be slow or twice, too. So every (state,
input) pair has its verdict in one table that a person can read, and a test pins each cell of it.

What the table relies on, and settlement sees to, under the order's row lock:

* a fact that is already in the books by its own id (payment intent, refund, dispute) does not get here again;
  the table alone cannot tell a late duplicate of a dispute from a second dispute;
* a fact that rests on one that is not yet in the books comes after it: see ``IMPLIED``;
* PAY_* speak of the order's newest attempt. A success of any other one is refunded and moves no order;
* which of the _PART and _FULL inputs it is, ``refund_input`` and ``dispute_input`` say from the books.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal


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


@dataclass(frozen=True, slots=True)
class Ignore:
    """Change nothing, neither state nor stock nor books: the reason is for the log and the caller."""

    reason: str


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Change nothing, count it nowhere, and call a person: this cannot have happened as told."""

    reason: str


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
REFUND_SUCCEEDED_FULL  UNPD UNPD UNPD UNPD UNPD UNPD UNPD rded rded rded rded rded disp rded
REFUND_SUCCEEDED_PART  UNPD UNPD UNPD UNPD UNPD UNPD UNPD rpen part part part rfai disp ODDS
REFUND_FAILED          UNPD UNPD UNPD UNPD UNPD UNPD UNPD late rfai rfai rfai rfai disp rfai
DISPUTE_OPENED         UNPD UNPD UNPD UNPD UNPD UNPD UNPD rpen disp rpen disp rfai disp rded
DISPUTE_WON            UNPD UNPD UNPD UNPD UNPD UNPD UNPD UNOP UNOP rpen ODDS rfai kept ODDS
DISPUTE_WON_PART       UNPD UNPD UNPD UNPD UNPD UNPD UNPD UNOP UNOP rpen part rfai part ODDS
DISPUTE_WON_FULL       UNPD UNPD UNPD UNPD UNPD UNPD UNPD UNOP UNOP rded rded rded rded rded
DISPUTE_LOST           UNPD UNPD UNPD UNPD UNPD UNPD UNPD UNOP UNOP rded rded rded rded rded
DISPUTE_LOST_PART      UNPD UNPD UNPD UNPD UNPD UNPD UNPD UNOP UNOP rpen part rfai part ODDS
"""


def _cells() -> dict[tuple[OrderState, Input], Verdict]:
    cells: dict[tuple[OrderState, Input], Verdict] = {}
    for row in _ROWS.strip().splitlines():
        name, *words = row.split()
        for state, word in zip(_COLUMNS, words, strict=True):
            cells[state, Input[name]] = _VERDICTS[word]
    return cells


TABLE: Final[Mapping[tuple[OrderState, Input], Verdict]] = MappingProxyType(_cells())

# The checker holds the state history against this (I14). Going beyond the plain drawing of the states are
# only facts that others make and that cannot be refused: refunds made at Stripe's dashboard, and refunds that
# fail after they had succeeded.
ALLOWED_TRANSITIONS: Final = frozenset(
    (state, verdict.next_state)
    for (state, _), verdict in TABLE.items()
    if isinstance(verdict, Act) and verdict.next_state is not state
)

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

# What an order's stock moves, in order, may spell in each state (I3). Placing writes the R and restocking the
# T; the table writes the rest. Late money without stock goes back through the refund states with the units
# released: there, and only there, RX stands beside the words of a sale.
STOCK_WORDS: Final[Mapping[OrderState, frozenset[str]]] = MappingProxyType(
    {
        **dict.fromkeys(HOLDING, frozenset({"R"})),
        **dict.fromkeys(RELEASED, frozenset({"RX"})),
        **dict.fromkeys(KEPT, _SOLD_WORDS | {"RX"}),
        OrderState.PAID: _SOLD_WORDS,
    }
)


def verdict(state: OrderState, happened: Input) -> Verdict:
    """Return what ``happened`` does to an order in ``state``: a look-up, defined for every pair."""
    return TABLE[state, happened]


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


class FulfilmentState(StrEnum):
    """How far the goods are: a field of its own, moved only while the order's units are sold to it."""

    NONE = "NONE"
    PACKED = "PACKED"
    SHIPPED = "SHIPPED"
    DELIVERED = "DELIVERED"
    RETURNED = "RETURNED"


class FulfilmentInput(StrEnum):
    """What happens to a parcel."""

    PACK = "PACK"
    SHIP = "SHIP"
    DELIVER = "DELIVER"
    RETURN = "RETURN"


# Where a parcel may go next; a repeat of the step that led here is ignored (scanners scan twice), and a step
# that skips one is a parcel mixed up: a person looks at it.
_PARCEL: Final[Mapping[FulfilmentState, Mapping[FulfilmentInput, FulfilmentState]]] = (
    MappingProxyType(
        {
            FulfilmentState.NONE: {FulfilmentInput.PACK: FulfilmentState.PACKED},
            FulfilmentState.PACKED: {FulfilmentInput.SHIP: FulfilmentState.SHIPPED},
            FulfilmentState.SHIPPED: {
                FulfilmentInput.DELIVER: FulfilmentState.DELIVERED,
                FulfilmentInput.RETURN: FulfilmentState.RETURNED,
            },
            FulfilmentState.DELIVERED: {},
            FulfilmentState.RETURNED: {},
        }
    )
)
_STEPS_BEHIND: Final[Mapping[FulfilmentState, frozenset[FulfilmentInput]]] = MappingProxyType(
    {
        FulfilmentState.NONE: frozenset[FulfilmentInput](),
        FulfilmentState.PACKED: frozenset({FulfilmentInput.PACK}),
        FulfilmentState.SHIPPED: frozenset({FulfilmentInput.PACK, FulfilmentInput.SHIP}),
        FulfilmentState.DELIVERED: frozenset(set(FulfilmentInput) - {FulfilmentInput.RETURN}),
        FulfilmentState.RETURNED: frozenset(set(FulfilmentInput) - {FulfilmentInput.DELIVER}),
    }
)

# Goods leave the house only for these: not while the bank or a refund decides, and never for late money that
# found no stock.
FULFILLABLE: Final = frozenset({OrderState.PAID})


def fulfilment_verdict(
    state: FulfilmentState, happened: FulfilmentInput
) -> FulfilmentState | Ignore | Quarantine:
    """Return where the parcel goes next, or why it stays; defined for every pair."""
    next_state = _PARCEL[state].get(happened)
    if next_state is not None:
        return next_state
    if happened in _STEPS_BEHIND[state]:
        return Ignore("that step is behind it")
    return Quarantine(f"{happened} does not follow {state}")
