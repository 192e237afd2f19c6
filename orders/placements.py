"""What goes into the writer and what comes out of it: an admitted order, and every fate it can have.

Plain tuples without behaviour, so that the order path, the writer and its transaction speak of the same things
without importing one another.
"""

from datetime import datetime
from typing import NamedTuple


class Gift(NamedTuple):
    """Money in an order that buys nothing: ``gift``, ``extra`` (more than the price) or ``round_up``."""

    kind: str
    beneficiary_id: str
    amount_minor: int


class Line(NamedTuple):
    """Units of one stock row on the terms quoted."""

    stock_id: int
    terms_id: int
    sku: str
    quantity: int
    unit_minor: int
    limit_max: int
    tax_bp: int = 0


class Placement(NamedTuple):
    """An admitted order on its way into SQL."""

    op: bytes
    fingerprint: bytes
    adm: str
    order_id: str
    stream_id: str
    epoch: int
    shopper_id: str
    lines: tuple[Line, ...]
    total_minor: int
    currency: str
    place: int
    placed_at: datetime
    shipping_minor: int = 0
    gifts: tuple[Gift, ...] = ()


class StoredLine(NamedTuple):
    """A line as it is answered, the same at every repeat."""

    sku: str
    quantity: int
    unit_minor: int
    tax_bp: int = 0


class Placed(NamedTuple):
    """SQL has the order: durable. ``repeat`` when an earlier request placed it."""

    order_id: str
    lines: tuple[StoredLine, ...]
    total_minor: int
    currency: str
    place: int
    placed_at: datetime
    repeat: bool
    shipping_minor: int = 0
    gifts: tuple[Gift, ...] = ()


class KeyAborted(NamedTuple):
    """The key was given up before SQL had the order; it will never have it."""


class KeyConflict(NamedTuple):
    """The key was used with another body."""


class Short(NamedTuple):
    """The guard found only ``left`` free units of a line, whatever the gate had said."""

    left: int


class OverLimit(NamedTuple):
    """The shopper has ``units`` of a SKU in SQL, and these lines would pass the limit."""

    units: int


class EpochChanged(NamedTuple):
    """The gate was rebuilt after this order was admitted: it must be admitted anew."""


Outcome = Placed | KeyAborted | KeyConflict | Short | OverLimit | EpochChanged
Known = Placed | KeyAborted | KeyConflict


class Unclear(Exception):  # noqa: N818 - a state of the answer.
    """Whether SQL has the order is not known yet; the same key will tell."""
