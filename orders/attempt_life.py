"""The life of one attempt to pay as data: what each word about its PaymentIntent does in each state.

Stripe's words come late and out of order here, too, and some are our own: that we try a card, or that no such
PaymentIntent exists. The order hears of them by ``ORDER_INPUT``; what it does then is in ``orders.lifecycle``.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from orders.lifecycle import Input
from orders.verdicts import Ignore, Quarantine


class AttemptState(StrEnum):
    """Where an attempt stands; stored under exactly these names."""

    CREATING = "CREATING"  # Being tried; whoever is trying it will know the outcome.
    REQUIRES_ACTION = "REQUIRES_ACTION"
    DECLINED = "DECLINED"
    PROCESSING = "PROCESSING"
    SUCCEEDED = "SUCCEEDED"
    CANCELED = "CANCELED"
    ABSENT = "ABSENT"  # Stripe does not know it, as far as two looks could tell.


class AttemptInput(StrEnum):
    """What can be told of an attempt."""

    TRIED = "TRIED"  # The pay route: a card is tried (again) on it.
    UNCONFIRMED = "UNCONFIRMED"  # Stripe, to somebody who looks: it waits for a card.
    DECLINED = "DECLINED"  # Stripe, in answer to the try itself: it waits for another card.
    REQUIRES_ACTION = "REQUIRES_ACTION"
    PROCESSING = "PROCESSING"
    SUCCEEDED = "SUCCEEDED"
    CANCELED = "CANCELED"
    ABSENT = "ABSENT"  # The reconciler: it looked twice and found none.


AttemptVerdict = AttemptState | Ignore | Quarantine

_VERDICTS: Final[Mapping[str, AttemptVerdict]] = MappingProxyType(
    {
        "crea": AttemptState.CREATING,
        "acti": AttemptState.REQUIRES_ACTION,
        "decl": AttemptState.DECLINED,
        "proc": AttemptState.PROCESSING,
        "succ": AttemptState.SUCCEEDED,
        "canc": AttemptState.CANCELED,
        "abse": AttemptState.ABSENT,
        "TRYD": Ignore("the attempt is being confirmed"),
        "WON_": Ignore("an older word than the success in the books"),
        "GONE": Ignore("an older word than the cancellation in the books"),
        "KNWN": Ignore("it exists: it was found since"),
        "BUSY": Quarantine("another card is tried while the last one is not decided"),
        "OVER": Quarantine("a card is tried on an attempt that has ended"),
    }
)

#                  CREA ACTI DECL PROC SUCC CANC ABSE
_ROWS: Final = """
TRIED              TRYD crea crea BUSY OVER OVER OVER
UNCONFIRMED        TRYD decl decl decl WON_ GONE decl
DECLINED           decl decl decl decl WON_ GONE decl
REQUIRES_ACTION    acti acti acti acti WON_ GONE acti
PROCESSING         proc proc proc proc WON_ GONE proc
SUCCEEDED          succ succ succ succ succ succ succ
CANCELED           canc canc canc canc WON_ canc canc
ABSENT             abse KNWN KNWN KNWN WON_ GONE abse
"""


def _cells() -> dict[tuple[AttemptState, AttemptInput], AttemptVerdict]:
    cells: dict[tuple[AttemptState, AttemptInput], AttemptVerdict] = {}
    for row in _ROWS.strip().splitlines():
        name, *words = row.split()
        for state, word in zip(AttemptState, words, strict=True):
            cells[state, AttemptInput[name]] = _VERDICTS[word]
    return cells


ATTEMPT_TABLE: Final[Mapping[tuple[AttemptState, AttemptInput], AttemptVerdict]] = MappingProxyType(
    _cells()
)

# Nothing of the attempt is, or can become, payable.
DEAD: Final = frozenset({AttemptState.CANCELED, AttemptState.ABSENT})

# What a PaymentIntent's status tells of its attempt, to somebody who looks. ``requires_capture`` is not among them:
# we never ask for it, so it is quarantined.
TOLD_BY: Final[Mapping[str, AttemptInput]] = MappingProxyType(
    {
        "requires_payment_method": AttemptInput.UNCONFIRMED,
        "requires_confirmation": AttemptInput.UNCONFIRMED,
        "requires_action": AttemptInput.REQUIRES_ACTION,
        "processing": AttemptInput.PROCESSING,
        "succeeded": AttemptInput.SUCCEEDED,
        "canceled": AttemptInput.CANCELED,
    }
)

# What the order is told, where the attempt goes where it is told to. An action that a bank wants is not Stripe's
# ``processing`` any more: the shopper has to act, so the order waits for payment.
ORDER_INPUT: Final[Mapping[AttemptInput, Input]] = MappingProxyType(
    {
        AttemptInput.UNCONFIRMED: Input.PAY_DECLINED,
        AttemptInput.DECLINED: Input.PAY_DECLINED,
        AttemptInput.REQUIRES_ACTION: Input.PAY_DECLINED,
        AttemptInput.PROCESSING: Input.PAY_PROCESSING,
        AttemptInput.SUCCEEDED: Input.PAY_SUCCEEDED,
        AttemptInput.CANCELED: Input.PAY_CANCELED,
    }
)


def attempt_verdict(state: AttemptState, happened: AttemptInput) -> AttemptVerdict:
    """Return where an attempt goes, or why it stays; defined for every pair."""
    return ATTEMPT_TABLE[state, happened]
