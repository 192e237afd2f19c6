"""What an order costs, from our own prices only: a client never sends one.

Pure arithmetic with every bound in one place, so that an amount that could not be charged, or a basket that
would overflow a count, is refused before anything is held for it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from stream_events.money import MoneyError, charge_minor_max, require_chargeable

LINES_MAX: Final = 20
QUANTITY_MAX: Final = 10_000


class PricingError(ValueError):
    """A basket that has no price; ``code`` is stable for programs, ``sku`` names the line where there is one."""

    def __init__(self, code: str, detail: str, sku: str | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.sku = sku


@dataclass(frozen=True, slots=True)
class QuotedLine:
    """So many units of a SKU at the price its offer has now."""

    sku: str
    quantity: int
    unit_price_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class PricedLine:
    """One SKU of an order: ``amount_minor`` is exactly ``quantity`` × ``unit_price_minor``."""

    sku: str
    quantity: int
    unit_price_minor: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class PricedOrder:
    """An order's lines, one for each SKU, sorted by SKU, and what they come to in one currency."""

    lines: tuple[PricedLine, ...]
    total_minor: int
    currency: str

    @property
    def units(self) -> int:
        """Return how many units the order holds in all."""
        return sum(line.quantity for line in self.lines)


def _quantity(sku: str, quantity: int) -> int:
    if type(quantity) is not int or not 1 <= quantity <= QUANTITY_MAX:
        raise PricingError(
            "quantity_out_of_bounds", f"A quantity is from 1 to {QUANTITY_MAX}.", sku
        )
    return quantity


def sum_lines(lines: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """Return each SKU once with its summed quantity, sorted by code point.

    Repeats are summed *before* any check of stock or limit, or each would be held against the same free units;
    one sorted order for everyone is what keeps row locks free of circles.
    """
    sums: dict[str, int] = {}
    taken = list(islice(lines, LINES_MAX + 1))
    if not taken:
        raise PricingError("no_lines", "An order has at least one line.")
    if len(taken) > LINES_MAX:
        raise PricingError("too_many_lines", f"An order has at most {LINES_MAX} lines.")
    for sku, quantity in taken:
        sums[sku] = _quantity(sku, sums.get(sku, 0) + _quantity(sku, quantity))
    return tuple(sorted(sums.items()))


def price(lines: Sequence[QuotedLine]) -> PricedOrder:
    """Return what the lines cost together, or raise ``PricingError``: never a price that cannot be charged."""
    summed = sum_lines((line.sku, line.quantity) for line in lines)
    quoted: dict[str, QuotedLine] = {}
    for line in lines:
        if quoted.setdefault(line.sku, line).unit_price_minor != line.unit_price_minor:
            raise PricingError("price_conflict", "One SKU has two prices.", line.sku)
        if line.currency != lines[0].currency:
            raise PricingError("mixed_currencies", "An order is in one currency.", line.sku)
        try:
            require_chargeable(line.unit_price_minor, line.currency)
        except MoneyError as error:
            raise PricingError(error.code, str(error), line.sku) from error
    priced = tuple(
        PricedLine(
            sku, quantity, quoted[sku].unit_price_minor, quantity * quoted[sku].unit_price_minor
        )
        for sku, quantity in summed
    )
    currency = lines[0].currency
    total_minor = sum(line.amount_minor for line in priced)
    if total_minor > charge_minor_max(currency):
        raise PricingError(
            "total_too_large",
            f"An order comes to at most {charge_minor_max(currency)} minor units.",
        )
    return PricedOrder(priced, total_minor, currency)
