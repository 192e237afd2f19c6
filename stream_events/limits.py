"""How often one caller may ask: plain values that the roof sets, so that nothing below it reads settings."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Rates a caller may not pass; 0 turns a limit off."""

    shoppers_per_minute: int = 0
    orders_per_second_per_shopper: int = 0

    def __post_init__(self) -> None:
        if min(self.shoppers_per_minute, self.orders_per_second_per_shopper) < 0:
            raise ValueError("a rate limit is a number from 0 (off) up")
