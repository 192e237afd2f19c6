"""The shapes of alerts over HTTP: how a group is set, what overlays and consoles say, and what was aired."""

from typing import Annotated, Final, Literal

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, Field

from inventory.schemas import Sku
from orders.messages import MESSAGE_CHARS_MAX, giver_message, giver_name
from stream_events.names import CODE_POINTS_MAX
from stream_events.schemas import GOAL_MINOR_MAX, Answer, Body, Moment, id_pattern

GROUP_PATTERN: Final = "^[a-z0-9-]{1,24}$"

GroupPath = Annotated[str, Path(pattern=GROUP_PATTERN, examples=["main"])]
GroupQuery = Annotated[str | None, Query(pattern=GROUP_PATTERN, examples=["main"])]
AiringId = Annotated[str, Field(pattern=id_pattern("air"), examples=["air_0197"])]
Compress = Literal["auto", "off"]
Sound = Literal["chime", "none"]
Outcome = Literal["ON_AIR", "SHOWN", "SKIPPED", "CLEARED", "LOST"]


class GroupSettings(Body):
    """How a group's alerts are shown. What is left out is as it is by default."""

    show_ms: int = Field(default=6_000, ge=2_000, le=20_000)
    hold_s: int = Field(
        default=30, ge=5, le=600, description="After so long an alert is too old to be shown."
    )
    hold_said_s: int = Field(
        default=300,
        ge=30,
        le=3_600,
        description="The same for words: from the payment until a verdict, and from there until their turn.",
    )
    min_minor: int = Field(
        default=0, ge=0, le=GOAL_MINOR_MAX, description="Smaller amounts are passed over."
    )
    large_minor: int = Field(
        default=0,
        ge=0,
        le=GOAL_MINOR_MAX,
        description="From here on an alert is never merged and has a turn of its own; 0 is never.",
    )
    burst_per_s: int = Field(default=2, ge=1, le=100, description="More than this are merged.")
    waiting_max: int = Field(default=50, ge=1, le=500)
    compress: Compress = "auto"
    sound: Sound | None = None


class Group(GroupSettings):
    """A group of overlays that show the same alert at the same time, as it is set."""

    name: str = Field(examples=["main"])


class Groups(BaseModel):
    """A stream's groups, by name, and the switches over all of them."""

    muted: bool
    panic: bool
    items: list[Group]


class Shown(Body):
    """Which airing an overlay shows now."""

    airing: AiringId


class First(BaseModel):
    """Whether this overlay was the first of its group to say so, while it was on air."""

    first: bool


class Skip(Body):
    """Which airing to end: whatever is on air when the click arrives may be another one."""

    airing: AiringId


class Skipped(BaseModel):
    """Whether it was still on air."""

    skipped: bool


class Muted(Body):
    """Whether nothing goes on air."""

    muted: bool


class Panic(Body):
    """Whether screens show nothing but the totals, from now on."""

    panic: bool


class Switches(BaseModel):
    """The switches over all groups of a stream."""

    muted: bool
    panic: bool


class NewTest(Body):
    """An alert to try the screens with. It is marked as a test and counts for nothing."""

    kind: Literal["order", "gift", "burst"] = "order"
    group: str | None = Field(
        default=None, pattern=GROUP_PATTERN, description="Which group; all of them if left out."
    )
    name: Annotated[
        str | None,
        Field(min_length=1, max_length=CODE_POINTS_MAX, examples=["Li Na"]),
        AfterValidator(lambda text: None if text is None else giver_name(text)),
    ] = None
    message: Annotated[
        str | None,
        Field(min_length=1, max_length=2 * MESSAGE_CHARS_MAX, examples=["Play well, children!"]),
        AfterValidator(lambda text: None if text is None else giver_message(text)),
    ] = None
    amount_minor: int = Field(default=2_990, ge=1, le=10**9)
    units: int = Field(default=1, ge=1, le=100_000, description="Of an order or a burst.")
    sku: Sku | None = None


class TestSent(BaseModel):
    """The groups in whose queues the test stands."""

    __test__ = False

    groups: list[str]


class AiringAnswer(Answer):
    """What was on air once in a group. ``order_ids`` are the newest 50 of a burst; a test has none."""

    id: str
    group: str = Field(validation_alias="group_name")
    kind: Literal["order", "gift", "burst", "test"]
    order_ids: list[str]
    count: int
    units: int
    amount_minor: int
    currency: str
    sku: str | None
    starts_at: Moment
    ends_at: Moment
    shown_at: Moment | None
    paid_to_shown_ms: int | None = Field(
        description="From the (oldest) payment's settlement until the first overlay showed it."
    )
    outcome: Outcome
