"""The shapes of a campaign's settings on the wire: what gifts may be and go to, how one pays, and who sells."""

from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, Field

from stream_events.money import AMOUNT_MINOR_MAX
from stream_events.names import clean_words
from stream_events.schemas import (
    Answer,
    Body,
    GiftFeePayer,
    GoalMinor,
    PaymentMethod,
    drop_default,
)

TERMS_CHARS_MAX: Final = 2000
CAUSES_MAX: Final = 50


def _clean_terms(text: str) -> str:
    return clean_words(text, TERMS_CHARS_MAX, lines=True)


def _each_once(methods: list[str]) -> list[str]:
    if len(set(methods)) < len(methods):
        raise ValueError("each is named once")
    return methods


Terms = Annotated[
    str, Field(min_length=1, max_length=TERMS_CHARS_MAX), AfterValidator(_clean_terms)
]
GiftMinor = Annotated[int, Field(ge=0, le=AMOUNT_MINOR_MAX)]


class CampaignChange(Body):
    """What may change of a campaign; fields left out stay as they are, and orders keep what they were placed on."""

    goal_minor: Annotated[GoalMinor, Field(json_schema_extra=drop_default)] = 0
    gift_min_minor: Annotated[GiftMinor, Field(json_schema_extra=drop_default)] = 0
    gift_max_minor: Annotated[
        Annotated[GiftMinor, Field(ge=1)] | None,
        Field(
            description="For all that is given in one payment; null is as much as can be charged."
        ),
    ] = None
    gift_fee_payer: Annotated[
        GiftFeePayer,
        Field(description="Who bears Stripe's fee on gifts.", json_schema_extra=drop_default),
    ] = "platform"
    payment_methods: Annotated[
        list[PaymentMethod],
        Field(min_length=1, max_length=3, json_schema_extra=drop_default),
        AfterValidator(_each_once),
    ] = ["card"]  # noqa: RUF012 - pydantic copies a default
    seller: Annotated[
        Terms | None, Field(description="Who sells: name, address, register, one line each.")
    ] = None
    refund_terms: Annotated[
        Terms | None, Field(examples=["Send it back within 7 days and get your money back."])
    ] = None
    refund_terms_zh: Annotated[Terms | None, Field(examples=["七天无理由退货。"])] = None


class CauseAnswer(Answer):
    """A beneficiary that gifts may go to."""

    id: str
    name: str
    name_zh: str | None


class Causes(BaseModel):
    """What gifts in a campaign may go to; a gift that names no cause goes to the first."""

    items: list[CauseAnswer]
