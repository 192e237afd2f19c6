"""Gifts: which causes an amount goes to, within what a campaign takes, to the last minor unit.

The same arithmetic for a gift without goods and for one on top of an order. A cause whose share rounds to nothing
gets no line: a gift line is at least one minor unit.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from inventory.offers import StreamSettings
from orders.placements import Gift
from stream_events.errors import Problem
from stream_events.money import MoneyError, charge_minor_max, require_chargeable
from stream_events.split import WHOLE_BP, largest_remainder

CAUSES_PER_GIFT_MAX: Final = 10

GIFT: Final = "gift"
EXTRA: Final = "extra"
ROUND_UP: Final = "round_up"


class GiftWish(NamedTuple):
    """An amount for causes, each with its share in basis points; none named means the campaign's first."""

    amount_minor: int
    causes: tuple[tuple[str, int], ...]


def shares_of(wish: GiftWish, settings: StreamSettings) -> tuple[tuple[str, int], ...]:
    """Return the causes of a gift with their shares. Raises ``Problem`` 422 for what the campaign does not take."""
    if not settings.causes:
        raise Problem(422, "no_causes", "This campaign takes no gifts.")
    if not wish.causes:
        return ((settings.causes[0].id, WHOLE_BP),)
    offered = {cause.id for cause in settings.causes}
    named = [beneficiary_id for beneficiary_id, _ in wish.causes]
    if len(set(named)) < len(named):
        raise Problem(422, "cause_twice", "Each cause is named once.")
    for beneficiary_id in named:
        if beneficiary_id not in offered:
            raise Problem(
                422, "unknown_cause", "Gifts here do not go to that.", beneficiary_id=beneficiary_id
            )
    if sum(share_bp for _, share_bp in wish.causes) != WHOLE_BP:
        raise Problem(
            422, "causes_not_whole", f"The shares of the causes sum to {WHOLE_BP} basis points."
        )
    return wish.causes


def spread(kind: str, amount_minor: int, weights: Sequence[tuple[str, int]]) -> tuple[Gift, ...]:
    """Divide an amount among beneficiaries in the order given; the parts sum to it exactly."""
    parts = largest_remainder(amount_minor, [weight for _, weight in weights])
    return tuple(
        Gift(kind, beneficiary_id, part)
        for (beneficiary_id, _), part in zip(weights, parts, strict=True)
        if part
    )


def require_gift_min(amount_minor: int, settings: StreamSettings) -> None:
    """Refuse a gift that is less than the campaign takes."""
    least = max(1, settings.gift_min_minor)
    if amount_minor < least:
        raise Problem(
            422,
            "gift_too_small",
            f"A gift is at least {least} minor units.",
            gift_min_minor=least,
        )


def require_gift_max(amount_minor: int, settings: StreamSettings) -> None:
    """Refuse when all that one payment gives is more than the campaign takes."""
    most = settings.gift_max_minor
    if most is not None and amount_minor > most:
        raise Problem(
            422,
            "gift_too_large",
            f"What one payment gives is at most {most} minor units.",
            gift_max_minor=most,
        )


def require_total(total_minor: int, currency: str) -> None:
    """Refuse a total that cannot be charged as it is."""
    most = charge_minor_max(currency)
    if total_minor > most:
        raise Problem(422, "total_too_large", f"An order comes to at most {most} minor units.")
    try:
        require_chargeable(total_minor, currency)
    except MoneyError as error:
        raise Problem(422, error.code, str(error)) from None
