"""The rows that an order's books are made of, as plain values, and what can come of a fact that is told of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, NamedTuple

from orders.attempt_life import AttemptState
from orders.ledger import accounts
from orders.lifecycle import Move

DUPLICATE: Final = "duplicate"
LATE_NO_STOCK: Final = "late_no_stock"
EXTERNAL: Final = "external"  # Made at Stripe's dashboard, not by us.

StockMove = Move | Literal["T"]


class Result(StrEnum):
    """What became of a fact."""

    APPLIED = "applied"
    KNOWN = "known"
    IGNORED = "ignored"
    QUARANTINED = "quarantined"


class Ruling(NamedTuple):
    """A fact's result and the reason for it, which is empty where the result says all."""

    result: Result
    reason: str = ""


class Unbelievable(Exception):  # noqa: N818 - what is wrong with the fact.
    """The fact contradicts our books: count it nowhere and call a person. The text is the reason."""


@dataclass(slots=True)
class Attempt:
    """A row of ``pay_attempts``."""

    n: int
    state: AttemptState
    payment_intent_id: str | None
    changed: bool = False


@dataclass(slots=True)
class RefundRow:
    """A row of ``refunds``; see there for what ``lines`` and ``gift_minor`` mean."""

    id: str
    payment_intent_id: str
    amount_minor: int
    reason: str
    state: str
    stripe_refund_id: str | None
    lines: Sequence[tuple[str, int, int]] = ()
    gift_minor: int | None = None
    restock: bool = False
    requested_by: str | None = None
    new: bool = False
    changed: bool = False


@dataclass(slots=True)
class DisputeRow:
    """A row of ``disputes``: OPEN, WON or LOST."""

    id: str
    payment_intent_id: str
    amount_minor: int
    state: str
    new: bool = False
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Posted:
    """A ledger transaction of the order."""

    kind: str
    source_id: str
    entries: tuple[tuple[str, int], ...]

    @property
    def amount_minor(self) -> int:
        """Return how much money came or went."""
        return abs(
            sum(part for account, part in self.entries if account == accounts.STRIPE_CLEARING)
        )
