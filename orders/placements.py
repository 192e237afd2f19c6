"""What goes into the writer and what comes out of it: an admitted order, and every fate it can have.

Plain tuples without behaviour, so that the order path, the writer and its transaction speak of the same things
without importing one another.
"""

from datetime import datetime
from typing import NamedTuple


class Line(NamedTuple):
    """Units of one stock row on the terms quoted."""

    stock_id: int
    terms_id: int
    sku: str
    quantity: int
    unit_minor: int
    limit_max: int


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


class StoredLine(NamedTuple):
    """A line as it is answered, the same at every repeat."""

    sku: str
    quantity: int
    unit_minor: int


class Placed(NamedTuple):
    """SQL has the order: durable. ``repeat`` when an earlier request placed it."""

    order_id: str
    lines: tuple[StoredLine, ...]
    total_minor: int
    currency: str
    place: int
    placed_at: datetime
    repeat: bool


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
