"""Who gets what of a price, to the last minor unit, the same on every machine and on every day.

Shares are whole basis points and the parts of a split always add up to the amount: whatever integer division
leaves over goes out one unit at a time to those who lost most by it. The farmer, the shopper and the auditor
can redo each split with pen and paper.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

WHOLE_BP: Final = 10_000


class SplitError(ValueError):
    """A share rule that is none, or an amount that cannot be split by it; ``code`` is stable for programs."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def _whole(value: int, what: str) -> int:
    if type(value) is not int or value < 0:
        raise SplitError(
            "not_a_whole_number", f"{what} must be a whole number from 0 up, not {value!r}."
        )
    return value


def largest_remainder(total: int, weights: Sequence[int]) -> list[int]:
    """Split ``total`` in proportion to ``weights`` into whole parts that sum to it exactly.

    Each part is first rounded down; the units left over go to the largest remainders, one each, and among equal
    remainders to the one that stands first. So a weight of 0 gets 0, no part is off by a whole unit, and the
    answer depends on nothing but the arguments and their order.
    """
    _whole(total, "A total")
    weight_sum = sum(_whole(weight, "A weight") for weight in weights)
    if weight_sum == 0:
        raise SplitError("no_weight", "Nothing can be split among weights that sum to 0.")
    parts = [total * weight // weight_sum for weight in weights]
    by_remainder = sorted(
        range(len(weights)), key=lambda i: (-(total * weights[i] % weight_sum), i)
    )
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    return parts


class ShareTerms(Protocol):
    """Whatever states shares under their usual names: a row of the terms, or a request's body."""

    @property
    def farmer_bp(self) -> int: ...
    @property
    def beneficiary_bp(self) -> int: ...
    @property
    def fees_bp(self) -> int: ...
    @property
    def beneficiary_fixed_minor(self) -> int | None: ...
    @property
    def farmer_fixed_minor(self) -> int | None: ...
    @property
    def beneficiary_cap_minor(self) -> int | None: ...
    @property
    def farmer_floor_minor(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class ShareRule:
    """What part of a price goes to whom, in basis points that sum to 10,000; amounts are of each unit.

    1. The fixed parts come first, the farmer's and the beneficiary's ("¥2 of each bag goes to the children").
    2. The basis points divide what is left.
    3. What the beneficiary would get beyond ``beneficiary_cap_minor`` is the farmer's.
    4. What the farmer then lacks of ``farmer_floor_minor`` comes from the beneficiary's part, then from the fees'.

    "All profit to the beneficiary" is the farmer's cost as ``farmer_fixed_minor`` with a ``farmer_bp`` of 0.
    """

    farmer_bp: int
    beneficiary_bp: int
    fees_bp: int
    beneficiary_fixed_minor: int | None = None
    farmer_fixed_minor: int | None = None
    beneficiary_cap_minor: int | None = None
    farmer_floor_minor: int | None = None

    def __post_init__(self) -> None:
        shares = (self.farmer_bp, self.beneficiary_bp, self.fees_bp)
        if sum(_whole(share, "A share in basis points") for share in shares) != WHOLE_BP:
            raise SplitError("shares_not_whole", f"Shares must sum to {WHOLE_BP} basis points.")
        for amount_minor, what in (
            (self.beneficiary_fixed_minor, "A fixed share"),
            (self.farmer_fixed_minor, "A fixed share"),
            (self.beneficiary_cap_minor, "A cap"),
            (self.farmer_floor_minor, "A floor"),
        ):
            if amount_minor is not None:
                _whole(amount_minor, what)

    @classmethod
    def of(cls, terms: ShareTerms) -> "ShareRule":
        """Return the rule that these terms state; raise ``SplitError`` when they state none."""
        return cls(
            terms.farmer_bp,
            terms.beneficiary_bp,
            terms.fees_bp,
            terms.beneficiary_fixed_minor,
            terms.farmer_fixed_minor,
            terms.beneficiary_cap_minor,
            terms.farmer_floor_minor,
        )


@dataclass(frozen=True, slots=True)
class Shares:
    """The three parts of one amount, in minor units of its currency."""

    farmer_minor: int
    beneficiary_minor: int
    fees_minor: int

    @property
    def amount_minor(self) -> int:
        """Return the whole that these are the parts of."""
        return self.farmer_minor + self.beneficiary_minor + self.fees_minor

    def minus(self, other: "Shares") -> "Shares":
        """Return what is left of each part after taking ``other`` away."""
        return Shares(
            self.farmer_minor - other.farmer_minor,
            self.beneficiary_minor - other.beneficiary_minor,
            self.fees_minor - other.fees_minor,
        )


def split(amount_minor: int, units: int, rule: ShareRule) -> Shares:
    """Split what ``units`` of one offer cost, by its rule; the parts sum to ``amount_minor``.

    A tied remainder goes to the farmer before the beneficiary before the fees. Splitting an order line as a
    whole, never unit by unit, keeps the rounding below one minor unit a line.
    """
    _whole(amount_minor, "An amount")
    if _whole(units, "A number of units") == 0:
        raise SplitError("no_units", "A split is of at least one unit.")
    farmer_fixed = (rule.farmer_fixed_minor or 0) * units
    beneficiary_fixed = (rule.beneficiary_fixed_minor or 0) * units
    rest = amount_minor - farmer_fixed - beneficiary_fixed
    if rest < 0:
        raise SplitError("fixed_share_too_large", "The fixed shares are more than the price.")
    farmer, beneficiary, fees = largest_remainder(
        rest, (rule.farmer_bp, rule.beneficiary_bp, rule.fees_bp)
    )
    shares = Shares(farmer + farmer_fixed, beneficiary + beneficiary_fixed, fees)
    return _above_floor(_below_cap(shares, units, rule), units, rule)


def _below_cap(shares: Shares, units: int, rule: ShareRule) -> Shares:
    if rule.beneficiary_cap_minor is None:
        return shares
    excess = max(0, shares.beneficiary_minor - rule.beneficiary_cap_minor * units)
    return Shares(
        shares.farmer_minor + excess, shares.beneficiary_minor - excess, shares.fees_minor
    )


def _above_floor(shares: Shares, units: int, rule: ShareRule) -> Shares:
    missing = max(0, (rule.farmer_floor_minor or 0) * units - shares.farmer_minor)
    from_beneficiary = min(missing, shares.beneficiary_minor)
    from_fees = missing - from_beneficiary
    if from_fees > shares.fees_minor:
        raise SplitError("floor_too_large", "The farmer's floor is more than the price.")
    return Shares(
        shares.farmer_minor + missing,
        shares.beneficiary_minor - from_beneficiary,
        shares.fees_minor - from_fees,
    )


def one_unit(price_minor: int, rule: ShareRule) -> Shares:
    """Return the parts of one unit's price: what a page tells a shopper, and a host before offering it."""
    return split(price_minor, 1, rule)


def take_back(kept: Shares, amount_minor: int) -> Shares:
    """Return the parts of a refund of ``amount_minor`` out of what is still ``kept`` of a split.

    Taken in proportion to what is left, so a part never falls below 0 and the refund that makes up the whole
    brings each part to exactly 0, in however many steps it came.
    """
    if _whole(amount_minor, "A refund") > kept.amount_minor:
        raise SplitError("refund_too_large", "More cannot be given back than was kept.")
    if amount_minor == 0:
        return Shares(0, 0, 0)
    weights = (kept.farmer_minor, kept.beneficiary_minor, kept.fees_minor)
    return Shares(*largest_remainder(amount_minor, weights))
