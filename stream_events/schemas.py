"""The shapes of the floor on the wire: what callers may send, to the letter, and what they get back.

Bodies are strict: an unknown field, a number as text or a float where a whole number belongs is refused, because
whoever sends a ``price`` or a ``state`` that we do not read believes that we do.
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from fastapi import Path
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from stream_events.money import MINOR_UNIT_EXPONENTS
from stream_events.names import CODE_POINTS_MAX, clean_name

GOAL_MINOR_MAX: Final = 10**15 - 1  # far below 2^53, so that every page can count with it
RETIRE_S_MAX: Final = 7 * 24 * 3600

_RFC_3339: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def _read_instant(value: object) -> datetime:
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        raise ValueError("an instant is text like 2026-11-26T20:00:00Z")
    try:
        at = datetime.fromisoformat(value.upper()).astimezone(UTC)
    except OverflowError:
        raise ValueError("an instant lies in the years 2000 to 2199") from None
    if not 2000 <= at.year < 2200:
        raise ValueError("an instant lies in the years 2000 to 2199")
    return at


def instant_text(at: datetime) -> str:
    """Return an instant as it goes over the wire: RFC 3339 in UTC with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _read_currency(code: str) -> str:
    if code not in MINOR_UNIT_EXPONENTS:
        raise ValueError("a currency is an ISO 4217 code in capitals that is in use")
    return code


_INSTANT_SCHEMA: Final = {
    "type": "string",
    "format": "date-time",
    "examples": ["2026-11-26T20:00:00.000Z"],
}
Instant = Annotated[
    datetime,
    BeforeValidator(_read_instant),
    PlainSerializer(instant_text, return_type=str, when_used="json"),
    WithJsonSchema(_INSTANT_SCHEMA),
]
Moment = Annotated[
    datetime,
    PlainSerializer(instant_text, return_type=str, when_used="json"),
    WithJsonSchema(_INSTANT_SCHEMA),
]
Name = Annotated[str, Field(min_length=1, max_length=CODE_POINTS_MAX), AfterValidator(clean_name)]
Currency = Annotated[
    str, Field(min_length=3, max_length=3, examples=["CNY"]), AfterValidator(_read_currency)
]
GoalMinor = Annotated[
    int,
    Field(
        ge=0, le=GOAL_MINOR_MAX, examples=[10_000_000], description="In minor units; 0 is no goal."
    ),
]


def id_pattern(prefix: str) -> str:
    """Return the pattern of ids with this prefix: what does not fit it cannot exist, and never reaches SQL."""
    return f"^{prefix}_[0-9a-z]{{1,40}}$"


CampaignId = Annotated[str, Field(pattern=id_pattern("cmp"))]
HostId = Annotated[str, Field(pattern=id_pattern("hst"))]
FarmerId = Annotated[str, Field(pattern=id_pattern("frm"))]
BeneficiaryId = Annotated[str, Field(pattern=id_pattern("ben"))]
StreamId = Annotated[str, Field(pattern=id_pattern("str"))]

CampaignPath = Annotated[str, Path(pattern=id_pattern("cmp"))]
HostPath = Annotated[str, Path(pattern=id_pattern("hst"))]
FarmerPath = Annotated[str, Path(pattern=id_pattern("frm"))]
BeneficiaryPath = Annotated[str, Path(pattern=id_pattern("ben"))]
StreamPath = Annotated[str, Path(pattern=id_pattern("str"))]
PrincipalPath = Annotated[str, Path(pattern=id_pattern("prn"))]

StreamState = Literal["draft", "scheduled", "live", "ended", "settled"]
StaffRole = Literal["operator", "host", "farmer", "overlay", "moderator"]


class Body(BaseModel):
    """What a caller sends: exactly the fields named, each of exactly its type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Answer(BaseModel):
    """What a caller gets, read from a row's attributes."""

    model_config = ConfigDict(from_attributes=True)


def drop_default(schema: dict[str, Any]) -> None:
    """Leave a stand-in out of the published schema: a field that is not sent has no value at all."""
    schema.pop("default", None)


class NewCampaign(Body):
    """A campaign to be made; its mode is the deployment's, never the caller's choice."""

    name: Annotated[Name, Field(examples=["Philanthropy Week"])]
    name_zh: Annotated[Name | None, Field(examples=["公益周"])] = None
    currency: Currency
    goal_minor: GoalMinor = 0


PaymentMethod = Literal["card", "alipay", "wechat_pay"]
GiftFeePayer = Literal["platform", "beneficiary"]


class CampaignAnswer(Answer):
    """A fundraising sale over days, in one currency."""

    id: str
    name: str
    name_zh: str | None
    currency: str
    mode: Literal["sandbox", "live"]
    goal_minor: int
    gift_min_minor: int
    gift_max_minor: int | None
    gift_fee_payer: GiftFeePayer
    payment_methods: list[PaymentMethod]
    seller: str | None
    refund_terms: str | None
    refund_terms_zh: str | None
    created_at: Moment


class NewHost(Body):
    """A host to be made."""

    name: Annotated[Name, Field(examples=["Lin Yi"])]


class HostAnswer(Answer):
    """The influencer who runs streams."""

    id: str
    name: str
    created_at: Moment


class NewFarmer(Body):
    """A farmer to be made."""

    name: Annotated[Name, Field(examples=["Wang family farm"])]
    name_zh: Annotated[Name | None, Field(examples=["王家农场"])] = None
    place: Annotated[Name, Field(examples=["Zhengyang, Henan"])]


class FarmerAnswer(Answer):
    """The producer who is paid for goods."""

    id: str
    name: str
    name_zh: str | None
    place: str
    created_at: Moment


class NewBeneficiary(Body):
    """A beneficiary to be made."""

    name: Annotated[Name, Field(examples=["Basketball gear for 8,893 children"])]
    name_zh: Annotated[Name | None, Field(examples=["为8893名孩子添置篮球装备"])] = None


class BeneficiaryAnswer(Answer):
    """The charity project that receives shares and gifts."""

    id: str
    name: str
    name_zh: str | None
    created_at: Moment


class NewStream(Body):
    """A stream to be made; it begins as a draft, unseen by the public."""

    campaign_id: CampaignId
    host_id: HostId
    title: Annotated[Name, Field(examples=["Peanut night"])]
    title_zh: Annotated[Name | None, Field(examples=["花生之夜"])] = None
    goal_minor: GoalMinor = 0
    opens_at: Instant | None = None


class StreamChange(Body):
    """What may change of a stream; fields left out stay as they are."""

    title: Annotated[
        Name, Field(examples=["Peanut night, second round"], json_schema_extra=drop_default)
    ] = ""
    title_zh: Name | None = None
    goal_minor: Annotated[GoalMinor, Field(json_schema_extra=drop_default)] = 0
    opens_at: Instant | None = None


class HostName(Answer):
    """A host as others see them."""

    id: str
    name: str


class StreamAnswer(Answer):
    """One broadcast in a campaign."""

    id: str
    campaign_id: str
    host_id: str
    host: HostName
    title: str
    title_zh: str | None
    state: StreamState
    goal_minor: int
    opens_at: Moment | None
    live_at: Moment | None
    ended_at: Moment | None
    created_at: Moment


class NextState(Body):
    """The state a stream shall step into: the one that follows its own, no other."""

    state: Annotated[StreamState, Field(examples=["live"])]


class NewPrincipal(Body):
    """Somebody to be invited, with the one thing that is theirs: a host, a farmer or the stream of an overlay or a moderator."""

    role: StaffRole
    name: Annotated[Name, Field(examples=["Lin Yi's laptop"])]
    host_id: HostId | None = None
    farmer_id: FarmerId | None = None
    stream_id: StreamId | None = None

    @model_validator(mode="after")
    def _belongs_to_one(self) -> "NewPrincipal":
        owned: dict[tuple[str, ...], Any] = {
            ("host",): self.host_id,
            ("farmer",): self.farmer_id,
            ("overlay", "moderator"): self.stream_id,
        }
        if any(
            (self.role in roles) != (belongs_to is not None) for roles, belongs_to in owned.items()
        ):
            raise ValueError(
                "a host has a host_id, a farmer a farmer_id, an overlay or a moderator a stream_id,"
                " and no one another's"
            )
        return self


class PrincipalAnswer(Answer):
    """Somebody who may call the API."""

    id: str
    role: StaffRole
    name: str
    host_id: str | None
    farmer_id: str | None
    stream_id: str | None
    created_at: Moment
    disabled_at: Moment | None


class Invited(PrincipalAnswer):
    """A principal just made, with its first key."""

    key: Annotated[
        str, Field(description="Shown only now: we keep its hash.", examples=["se_host_9o1y…"])
    ]


class FreshKey(BaseModel):
    """A key, shown only now: we keep no more than its hash."""

    principal_id: str
    key: Annotated[str, Field(examples=["se_host_9o1y…"])]


class NewKey(Body):
    """How long the keys that a new one replaces go on working."""

    retire_old_after_s: Annotated[
        int, Field(ge=0, le=RETIRE_S_MAX, description="0 ends them at once.", examples=[600])
    ] = 0


class Me(BaseModel):
    """Who the presented credential belongs to."""

    id: str
    role: Literal["operator", "host", "farmer", "overlay", "moderator", "shopper"]
    name: str | None
    host_id: str | None
    farmer_id: str | None
    stream_id: str | None


class Shopper(BaseModel):
    """A fresh shopper and the token that proves it; whoever loses it is a new shopper."""

    shopper_id: str
    token: str
