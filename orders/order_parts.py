"""What an order's money is made of, and what is left of each part after returns: arithmetic and nothing else.

Refunds and disputes are told in any order, fail later, or come back. So what is left is worked out from *all* that
stands returned at the moment, never from what was left before: every order of the same facts ends in the same
books, to the last minor unit. Returning more never gives anything to anyone, and returning all leaves exactly 0.

A return with a target (units of a line, or the gifts) takes from it. The rest is taken from goods and gifts in
proportion to what the order was made of, and from a part only as long as it has something: then from the others.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from orders.ledger import accounts
from stream_events.split import ShareRule, Shares, largest_remainder, split, take_back

PLATFORM: Final = "platform"
FARMER: Final = "farmer"
BENEFICIARY: Final = "beneficiary"


@dataclass(frozen=True, slots=True)
class SoldLine:
    """A line of the order with the terms it was bought on; ``fee_payer`` bears its part of Stripe's fee."""

    sku: str
    quantity: int
    amount_minor: int
    farmer_id: str
    beneficiary_id: str
    rule: ShareRule
    fee_payer: str = PLATFORM


@dataclass(frozen=True, slots=True)
class GiftLine:
    """Money in the order that buys nothing: ``gift``, ``extra`` or ``round_up``."""

    beneficiary_id: str
    amount_minor: int
    kind: str


@dataclass(frozen=True, slots=True)
class Returned:
    """All that stands returned of an order's payment: units by SKU, money of the gifts, and money without a target."""

    units: Mapping[str, int] = field(default_factory=dict)
    gift_minor: int = 0
    rest_minor: int = 0


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of each part. ``lost_minor`` went back beyond all of them: that is ours to bear."""

    lines: tuple[Shares, ...]
    units: Mapping[str, int]
    shipping_minor: int
    gifts: tuple[int, ...]
    lost_minor: int

    @property
    def goods_minor(self) -> int:
        """Return what is left of goods and shipping."""
        return sum(line.amount_minor for line in self.lines) + self.shipping_minor

    @property
    def gifts_minor(self) -> int:
        """Return what is left of the gifts."""
        return sum(self.gifts)


@dataclass(frozen=True, slots=True)
class Parts:
    """What an order's money is made of, as it was placed."""

    lines: Sequence[SoldLine] = ()
    shipping_minor: int = 0
    gifts: Sequence[GiftLine] = ()
    gift_fee_payer: str = PLATFORM

    @property
    def goods_minor(self) -> int:
        """Return what goods and shipping cost."""
        return sum(line.amount_minor for line in self.lines) + self.shipping_minor

    @property
    def gifts_minor(self) -> int:
        """Return what is given without buying anything."""
        return sum(gift.amount_minor for gift in self.gifts)

    def whole(self) -> Left:
        """Return the parts with nothing returned."""
        return self.left(Returned())

    def left(self, returned: Returned) -> Left:
        """Return what is left of each part; falls, and never rises, as more is returned."""
        rooms = [line_left(line, returned.units.get(line.sku, 0)) for line in self.lines]
        amounts = [gift.amount_minor for gift in self.gifts]
        targeted = pour(min(returned.gift_minor, sum(amounts)), amounts, amounts)
        gift_rooms = [amount - taken for amount, taken in zip(amounts, targeted, strict=True)]
        goods_room = sum(room.amount_minor for room in rooms) + self.shipping_minor
        rest_minor = min(returned.rest_minor, goods_room + sum(gift_rooms))
        of_goods, of_gifts = pour(
            rest_minor, (self.goods_minor, self.gifts_minor), (goods_room, sum(gift_rooms))
        )
        *of_lines, of_shipping = pour(
            of_goods,
            [*(line.amount_minor for line in self.lines), self.shipping_minor],
            [*(room.amount_minor for room in rooms), self.shipping_minor],
        )
        taken_of_gifts = pour(of_gifts, amounts, gift_rooms)
        lines = tuple(
            _less(line, room, taken)
            for line, room, taken in zip(self.lines, rooms, of_lines, strict=True)
        )
        shipping_minor = self.shipping_minor - of_shipping
        goods_left = sum(line.amount_minor for line in lines) + shipping_minor
        return Left(
            lines,
            self._units_left(returned) if goods_left else {},
            shipping_minor,
            tuple(room - taken for room, taken in zip(gift_rooms, taken_of_gifts, strict=True)),
            returned.rest_minor - rest_minor,
        )

    def _units_left(self, returned: Returned) -> dict[str, int]:
        left: Counter[str] = Counter()
        for line in self.lines:
            left[line.sku] += line.quantity
        for sku, units in returned.units.items():
            left[sku] -= units
        return {sku: left[sku] for sku in sorted(left) if left[sku] > 0}

    def goods_accounts(self, left: Left) -> Counter[str]:
        """Return what of the goods and the shipping is whose; a loss is ours and counts against our fees."""
        owned: Counter[str] = Counter()
        for line, shares in zip(self.lines, left.lines, strict=True):
            owned[accounts.farmer(line.farmer_id)] += shares.farmer_minor
            owned[accounts.beneficiary(line.beneficiary_id)] += shares.beneficiary_minor
            owned[accounts.PLATFORM_FEES] += shares.fees_minor
        owned[accounts.PLATFORM_SHIPPING] += left.shipping_minor
        if self.goods_minor:
            owned[accounts.PLATFORM_FEES] -= left.lost_minor
        return owned

    def gift_accounts(self, left: Left) -> Counter[str]:
        """Return which of the gifts is whose; where there are no goods, a loss stands here."""
        owned: Counter[str] = Counter()
        for gift, amount_minor in zip(self.gifts, left.gifts, strict=True):
            owned[accounts.beneficiary(gift.beneficiary_id)] += amount_minor
        if not self.goods_minor:
            owned[accounts.PLATFORM_FEES] -= left.lost_minor
        return owned

    def fee_accounts(self, fee_minor: int) -> Counter[str]:
        """Return who bears which part of Stripe's fee: divided over the parts by amount, then by who pays for each."""
        payers = [
            *((line.amount_minor, _payer(line)) for line in self.lines),
            (self.shipping_minor, accounts.STRIPE_FEES),
            *((gift.amount_minor, self._gift_payer(gift)) for gift in self.gifts),
        ]
        borne: Counter[str] = Counter()
        parts = largest_remainder(fee_minor, [amount_minor for amount_minor, _ in payers])
        for (_, account), part in zip(payers, parts, strict=True):
            borne[account] += part
        return borne

    def _gift_payer(self, gift: GiftLine) -> str:
        if self.gift_fee_payer == BENEFICIARY:
            return accounts.beneficiary(gift.beneficiary_id)
        return accounts.STRIPE_FEES

    def raised(self, left: Left, covers: str, skus: frozenset[str] | None) -> dict[str, int]:
        """Return what ``left`` holds for each beneficiary, of the gifts, the shares (of ``skus``), or all."""
        raised: Counter[str] = Counter()
        if covers in {"gifts", "all"}:
            for gift, amount_minor in zip(self.gifts, left.gifts, strict=True):
                raised[gift.beneficiary_id] += amount_minor
        if covers in {"shares", "all"}:
            for line, shares in zip(self.lines, left.lines, strict=True):
                if skus is None or line.sku in skus:
                    raised[line.beneficiary_id] += shares.beneficiary_minor
        return {beneficiary_id: raised[beneficiary_id] for beneficiary_id in sorted(raised)}


def _payer(line: SoldLine) -> str:
    if line.fee_payer == FARMER:
        return accounts.farmer(line.farmer_id)
    if line.fee_payer == BENEFICIARY:
        return accounts.beneficiary(line.beneficiary_id)
    return accounts.STRIPE_FEES


def units_minor(line: SoldLine, units: int) -> int:
    """Return what the first ``units`` of a line cost."""
    return line.amount_minor * min(units, line.quantity) // line.quantity


def line_left(line: SoldLine, units: int) -> Shares:
    """Return what is left of a line's shares after ``units`` of it went back, one after the other."""
    left = split(line.amount_minor, line.quantity, line.rule)
    for unit in range(min(units, line.quantity)):
        price_minor = units_minor(line, unit + 1) - units_minor(line, unit)
        left = left.minus(take_back(left, price_minor))
    return left


def _less(line: SoldLine, room: Shares, taken_minor: int) -> Shares:
    """Take money that names no units out of a line: by the shares it was sold on, as far as each still has it."""
    if not taken_minor:
        return room
    whole = split(line.amount_minor, line.quantity, line.rule)
    rooms = (room.farmer_minor, room.beneficiary_minor, room.fees_minor)
    weights = (whole.farmer_minor, whole.beneficiary_minor, whole.fees_minor)
    return room.minus(Shares(*pour(taken_minor, weights, rooms)))


def pour(amount_minor: int, weights: Sequence[int], rooms: Sequence[int]) -> list[int]:
    """Take an amount out of parts in proportion to their weights, from none more than its room.

    What one has no room for is taken from the others in proportion. Rounded part by part, the first against all
    that follow, so that no part ever gives less when more is taken; half a unit is taken from the first.
    ``amount_minor`` must not be more than all rooms, and no part may have room without weight.
    """
    if amount_minor > sum(rooms):
        raise ValueError(f"{amount_minor} cannot be taken out of {sum(rooms)}.")
    if amount_minor in {0, sum(rooms)}:
        return list(rooms) if amount_minor else [0] * len(rooms)
    taken: list[int] = []
    left = amount_minor
    for index in range(len(rooms)):
        share = _first_share(left, weights[index:], rooms[index:]) if left else Fraction(0)
        part = (2 * share.numerator + share.denominator) // (2 * share.denominator)
        taken.append(part)
        left -= part
    return taken


def _first_share(amount_minor: int, weights: Sequence[int], rooms: Sequence[int]) -> Fraction:
    """Return exactly what the first part gives when all are drawn down evenly and some run dry."""
    wet = [index for index, weight in enumerate(weights) if weight and rooms[index]]
    left = amount_minor
    while 0 in wet:
        weight = sum(weights[index] for index in wet)
        dry = [index for index in wet if rooms[index] * weight <= left * weights[index]]
        if 0 in dry:
            return Fraction(rooms[0])
        if not dry:
            return Fraction(left * weights[0], weight)
        left -= sum(rooms[index] for index in dry)
        wet = [index for index in wet if index not in dry]
    return Fraction(0)
