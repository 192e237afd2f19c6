"""The wire shapes of orders: what may be sent in, and exactly what goes out.

Strict and closed, so that a price, a state or anything else that is ours to say is refused when a client sends it.
"""

import unicodedata
from typing import Annotated, Final, Literal

from fastapi import Path
from pydantic import AfterValidator, BaseModel, Field

from orders.lifecycle import DonationState, FulfilmentState, OrderState
from stream_events.names import clean_name
from stream_events.schemas import Body, Moment, id_pattern

OrderPath = Annotated[str, Path(pattern=id_pattern("ord"))]

PaymentStatus = Literal["succeeded", "processing", "requires_action", "declined", "checking"]


# Signs that nobody sees break labels and exports, and those that turn text around make an address read as another;
# the joiners (U+200C, U+200D) are letters to some scripts, and a line break belongs in an address.
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_JOINERS: Final = "\u200c\u200d"


def _clean(text: str, allowed: str) -> str:
    cleaned = unicodedata.normalize("NFC", text).replace("\r\n", "\n").strip()
    for sign in cleaned:
        if unicodedata.category(sign) in _HIDDEN and sign not in allowed:
            raise ValueError("this has characters that cannot be printed")
    if len(cleaned) < 3:
        raise ValueError("this is too short")
    return cleaned


def clean_line(text: str) -> str:
    """Return one printable line in Unicode's form NFC, or raise ``ValueError``."""
    return _clean(text, _JOINERS)


def clean_address(text: str) -> str:
    """Return printable lines in Unicode's form NFC, or raise ``ValueError``."""
    return _clean(text, _JOINERS + "\n")


class ContactIn(Body):
    """Who gets the parcel and where. Kept apart from the order, so that it can be erased."""

    name: Annotated[
        str, Field(min_length=1, max_length=100, examples=["Wang Fang"]), AfterValidator(clean_name)
    ]
    contact: Annotated[
        str,
        Field(
            min_length=3,
            max_length=200,
            description="A telephone number or an e-mail address.",
            examples=["wang.fang@example.org"],
        ),
        AfterValidator(clean_line),
    ]
    address: Annotated[
        str,
        Field(
            min_length=5,
            max_length=500,
            examples=["12 Peanut Road\nZhengyang, Henan 463600"],
        ),
        AfterValidator(clean_address),
    ]


class PayIn(Body):
    """The means to pay: a token that the payment page made of a card. No card data ever comes to us."""

    confirmation_token: Annotated[
        str,
        Field(pattern="^ctoken_[A-Za-z0-9_]{1,200}$", examples=["ctoken_1NnQUf2eZvKYlo2CIObdtbnb"]),
    ]


class Money(BaseModel):
    """An amount in minor units of its currency."""

    amount_minor: int
    currency: str


class LineOut(BaseModel):
    """One SKU of an order on the terms it was bought on."""

    sku: str
    quantity: int
    unit_minor: int
    amount_minor: int
    tax_minor: int = Field(description="The tax within the amount.")


class GiftLineOut(BaseModel):
    """Money in an order that buys nothing: a gift, more than the price, or a rounded-up total."""

    kind: Literal["gift", "extra", "round_up"]
    beneficiary_id: str
    name: str
    name_zh: str | None
    amount_minor: int


Notice = Literal[
    "late_paid",
    "late_paid_resold",
    "late_refund",
    "duplicate_refund",
    "refund_pending",
    "refund_failed",
    "dispute_lost",
]

Display = Literal["ANONYMOUS", "PENDING_REVIEW", "SHOWN", "HIDDEN"]


class DisplayOut(BaseModel):
    """How a giver's words are displayed: not at all, not yet, or in full; this never changes a total."""

    display: Display


class PaymentOut(BaseModel):
    """Where the payment stands. ``checking`` means that we do not know yet: never show it as failed."""

    status: PaymentStatus
    client_secret: str | None = Field(
        default=None, description="For the browser to finish a step the shopper's bank asks for."
    )


class OrderOut(BaseModel):
    """An order as its shopper sees it."""

    id: str
    stream_id: str
    kind: Literal["goods", "gift"]
    state: OrderState
    fulfilment: FulfilmentState
    lines: list[LineOut]
    gifts: list[GiftLineOut]
    shipping_minor: int
    total: Money
    refunded_minor: int = Field(description="What went back of what was paid, so far.")
    refund_pending_minor: int = Field(description="What is on its way back.")
    notice: Notice | None = Field(
        description="What to tell about the money: `late_paid` came late and counts; `late_paid_resold` came late"
        " and the units were free still; `late_refund` came late and goes back whole, for nothing was left;"
        " `duplicate_refund` was paid twice and once goes back."
    )
    place: int = Field(description="Its place in the queue for paying when it was placed.")
    placed_at: Moment
    ahead: int | None = Field(
        description="Orders whose turn to pay comes first; null once offered."
    )
    minutes: int | None = Field(description="About how long that takes; an estimate.")
    pay_by: Moment | None
    attempts_left: int = Field(description="How many more times a card may be tried.")
    contact_given: bool
    display: Display | None = Field(
        description="How the words said with it are displayed; null without."
    )
    payment: PaymentOut | None
    seller: str | None
    refund_terms: str | None
    refund_terms_zh: str | None
    server_time: Moment


class ReceiptOut(BaseModel):
    """A transaction of a gift in the ledger: what it added to the causes, and its number once it is sealed."""

    transaction_id: str
    kind: str
    amount_minor: int = Field(description="Below 0 for what went back.")
    seq: int | None
    posted_at: Moment


class DonationOut(BaseModel):
    """A gift without goods as its giver sees it."""

    id: str
    stream_id: str
    state: DonationState
    amount: Money
    causes: list[GiftLineOut]
    display: Display | None
    refunded_minor: int
    refund_pending_minor: int
    notice: Notice | None
    place: int
    placed_at: Moment
    ahead: int | None
    minutes: int | None
    pay_by: Moment | None
    attempts_left: int
    payment: PaymentOut | None
    receipt: list[ReceiptOut]
    seller: str | None
    refund_terms: str | None
    refund_terms_zh: str | None
    server_time: Moment


class PayOut(BaseModel):
    """What became of a payment so far."""

    state: OrderState
    payment: PaymentOut
    tries_left: int
