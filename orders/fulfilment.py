"""How far a parcel is: a field of an order of its own, which no payment moves.

Scanners scan twice and parcels are mixed up, so here, too, every pair of state and step has its verdict.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from orders.verdicts import Ignore, Quarantine


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
