"""The wire shapes of paying beside the payment itself: ways to pay, Stripe's own page, and taking an order back."""

from typing import Literal

from pydantic import BaseModel, Field

from orders.lifecycle import OrderState
from orders.schemas import Money
from stream_events.schemas import Moment

PaymentMethod = Literal["card", "alipay", "wechat_pay"]


class CancelOut(BaseModel):
    """How an order stands after its cancelling was asked for."""

    id: str
    state: OrderState = Field(
        description="CANCELLED: over, nothing can be charged. CANCELLING: Stripe is asked first, look again."
    )


class PaymentOptionsOut(BaseModel):
    """By which means an order can be paid, and what it costs."""

    methods: list[PaymentMethod]
    total: Money
    return_url: str = Field(
        description="Where a means to pay that leaves the page comes back to: give it to Stripe with the token."
    )


class CheckoutOut(BaseModel):
    """Stripe's own page for paying an order. Whoever has the address can pay there: show it to its shopper only."""

    url: str
    expires_at: Moment
