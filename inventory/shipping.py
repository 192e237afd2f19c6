"""What sending the goods of one order costs: a stream's rule, the same words on the wire, in SQL and at the till.

An order stores what it was charged, so a changed rule counts for later orders only.
"""

from abc import ABC, abstractmethod
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from stream_events.money import AMOUNT_MINOR_MAX, format_minor, require_chargeable

WEIGHT_G_MAX: Final = 10_000_000
CLASSES_MAX: Final = 20

Charge = Annotated[int, Field(ge=0, le=AMOUNT_MINOR_MAX, examples=[1000])]
FreeFrom = Annotated[
    int | None,
    Field(
        ge=1,
        le=AMOUNT_MINOR_MAX,
        description="Goods of at least this amount are sent for nothing.",
        examples=[9900],
    ),
]
Words: TypeAlias = tuple[str, str]


class TooHeavyError(ValueError):
    """Goods that weigh more than the heaviest class, whose bound is ``weight_g_max``."""

    def __init__(self, weight_g_max: int) -> None:
        super().__init__(
            f"These goods weigh more than {weight_g_max} g in all; order in two parts."
        )
        self.weight_g_max = weight_g_max


class _Rule(BaseModel, ABC):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @abstractmethod
    def amounts(self) -> list[int]:
        """Return every amount that may be charged by it."""

    @abstractmethod
    def cost(self, goods_minor: int, weight_g: int) -> int:
        """Return what sending goods of this amount and weight costs. Raises ``TooHeavyError``."""

    @abstractmethod
    def in_words(self, currency: str) -> Words:
        """Return it as a sentence, in English and in Chinese."""


class FreeShipping(_Rule):
    """Sending costs the shopper nothing."""

    type: Literal["free"]

    def amounts(self) -> list[int]:
        """Return none: nothing is charged."""
        return []

    def cost(self, goods_minor: int, weight_g: int) -> int:
        """Return 0, whatever is sent."""
        del goods_minor, weight_g
        return 0

    def in_words(self, currency: str) -> Words:
        """Return it as a sentence, in English and in Chinese."""
        del currency
        return "Shipping is free.", "免运费。"


class FlatShipping(_Rule):
    """Sending costs the same for every order, or nothing from an amount up."""

    type: Literal["flat"]
    amount_minor: Charge
    free_from_minor: FreeFrom = None

    def amounts(self) -> list[int]:
        """Return the one amount."""
        return [self.amount_minor]

    def cost(self, goods_minor: int, weight_g: int) -> int:
        """Return the amount, or 0 for an order that is large enough."""
        del weight_g
        return 0 if _is_free(self.free_from_minor, goods_minor) else self.amount_minor

    def in_words(self, currency: str) -> Words:
        """Return it as a sentence, in English and in Chinese."""
        amount = _money(self.amount_minor, currency)
        en, zh = _free_from(self.free_from_minor, currency)
        return f"Shipping costs {amount} an order{en}.", f"每单运费 {amount}{zh}。"


class WeightClass(BaseModel):
    """What parcels up to a weight cost."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    up_to_g: Annotated[int, Field(ge=1, le=WEIGHT_G_MAX, examples=[5000])]
    amount_minor: Charge


class ShippingByWeight(_Rule):
    """Sending costs by what the goods weigh together; what is heavier than the last class is refused."""

    type: Literal["by_weight"]
    classes: Annotated[list[WeightClass], Field(min_length=1, max_length=CLASSES_MAX)]
    free_from_minor: FreeFrom = None

    @model_validator(mode="after")
    def _ascend(self) -> "ShippingByWeight":
        bounds = [each.up_to_g for each in self.classes]
        if bounds != sorted(set(bounds)):
            raise ValueError("weight classes go from light to heavy, each bound once")
        return self

    def amounts(self) -> list[int]:
        """Return the amount of each class."""
        return [each.amount_minor for each in self.classes]

    def cost(self, goods_minor: int, weight_g: int) -> int:
        """Return the amount of the lightest class that takes the weight. Raises ``TooHeavyError``."""
        for each in self.classes:
            if weight_g <= each.up_to_g:
                return 0 if _is_free(self.free_from_minor, goods_minor) else each.amount_minor
        raise TooHeavyError(self.classes[-1].up_to_g)

    def in_words(self, currency: str) -> Words:
        """Return it as a sentence, in English and in Chinese."""
        en, zh = _free_from(self.free_from_minor, currency)
        steps = [
            (_money(each.amount_minor, currency), _weight(each.up_to_g)) for each in self.classes
        ]
        english = ", ".join(f"{amount} up to {weight}" for amount, weight in steps)
        chinese = "，".join(f"{weight}以内 {amount}" for amount, weight in steps)
        return f"Shipping costs by weight: {english}{en}.", f"按重量计运费：{chinese}{zh}。"


ShippingRule = Annotated[
    FreeShipping | FlatShipping | ShippingByWeight, Field(discriminator="type")
]
_RULES: Final[TypeAdapter[FreeShipping | FlatShipping | ShippingByWeight]] = TypeAdapter(
    ShippingRule
)


def read_rule(stored: dict[str, Any]) -> FreeShipping | FlatShipping | ShippingByWeight:
    """Return a rule as a stream stores it."""
    return _RULES.validate_python(stored)


def require_payable(rule: FreeShipping | FlatShipping | ShippingByWeight, currency: str) -> None:
    """Raise ``MoneyError`` unless each amount of the rule can be part of a charge in this currency."""
    for amount_minor in rule.amounts():
        if amount_minor:
            require_chargeable(amount_minor, currency)


def _is_free(free_from_minor: int | None, goods_minor: int) -> bool:
    return free_from_minor is not None and goods_minor >= free_from_minor


def _money(amount_minor: int, currency: str) -> str:
    return f"{format_minor(amount_minor, currency)} {currency}"


def _weight(weight_g: int) -> str:
    whole, rest = divmod(weight_g, 1000)
    return f"{whole} kg" if not rest else f"{weight_g} g"


def _free_from(free_from_minor: int | None, currency: str) -> Words:
    if free_from_minor is None:
        return "", ""
    amount = _money(free_from_minor, currency)
    return f"; free from {amount}", f"；满 {amount} 免运费"
