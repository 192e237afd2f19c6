"""The addresses that pages and answers hand out: plain values that the roof sets."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Links:
    """Where shoppers, viewers and browsers find us and Stripe, and whether the money is real."""

    public_url: str
    gateway_url: str
    stripe_publishable_key: str
    stripe_js_url: str
    stripe_origins: tuple[str, ...]
    mode: Literal["sandbox", "live"]
