"""The shapes of a host's board over HTTP: what may be put up, and what is up."""

from types import MappingProxyType
from typing import Annotated, Final, Literal

from fastapi import Path
from pydantic import BaseModel, Field, model_validator

from inventory.schemas import Sku
from stream_events.schemas import GOAL_MINOR_MAX, Body, Name, drop_default, id_pattern

# Long enough for viewers to gather, short enough to count down to on a screen.
IN_S: Final = MappingProxyType({"opens": (10, 300), "closes": (60, 1200)})
THRESHOLD_MAX: Final = GOAL_MINOR_MAX

MilestonePath = Annotated[str, Path(pattern=id_pattern("mst"))]
Counts = Annotated[
    Literal["money", "units"],
    Field(description="What must reach the threshold: money raised in minor units, or units sold."),
]
Threshold = Annotated[int, Field(ge=1, le=THRESHOLD_MAX, examples=[500_000])]
InstantText = Annotated[str, Field(examples=["2026-11-26T20:00:00.000Z"])]


class BoardChange(Body):
    """What is pinned: the SKU of an offer of the stream, or null for none."""

    pinned_sku: Sku | None


class NewTimer(Body):
    """When the sale opens (10 to 300 s from now) or closes (60 to 1,200 s from now)."""

    what: Literal["opens", "closes"]
    in_s: Annotated[int, Field(ge=10, le=1200, examples=[60])]

    @model_validator(mode="after")
    def _within_bounds(self) -> "NewTimer":
        least, most = IN_S[self.what]
        if not least <= self.in_s <= most:
            raise ValueError(f"a sale {self.what} in {least} to {most} seconds")
        return self


class NewMilestone(Body):
    """A step that viewers reach together."""

    counts: Counts
    threshold: Threshold
    title: Annotated[Name, Field(examples=["The host sings"])]
    title_zh: Annotated[Name | None, Field(examples=["主播唱歌"])] = None


class MilestoneChange(Body):
    """What may change of a milestone; fields left out stay as they are."""

    counts: Annotated[Counts, Field(json_schema_extra=drop_default)] = "money"
    threshold: Annotated[Threshold, Field(json_schema_extra=drop_default)] = 1
    title: Annotated[
        Name, Field(examples=["The host sings twice"], json_schema_extra=drop_default)
    ] = ""
    title_zh: Name | None = None


class TimerAnswer(BaseModel):
    """What is counted down to."""

    what: Literal["opens", "closes"]
    at: InstantText


class FloorAnswer(BaseModel):
    """Where tonight begins: after this ledger number."""

    seq: int
    at: InstantText


class FarmerAnswer(BaseModel):
    """The farmer of a card."""

    id: str
    name: str
    name_zh: str | None
    place: str


class CauseAnswer(BaseModel):
    """The beneficiary of a card."""

    id: str
    name: str
    name_zh: str | None


class CardAnswer(BaseModel):
    """An offer as a product card shows it: the price and what of one unit goes where."""

    sku: str
    name: str
    name_zh: str | None
    unit: str
    unit_zh: str | None
    price_minor: int
    farmer_minor: int
    beneficiary_minor: int
    farmer: FarmerAnswer
    beneficiary: CauseAnswer
    opens_at: InstantText | None


class BoardAnswer(BaseModel):
    """What the host put up: the pin, the timer, tonight's floor, every card, and where to buy."""

    currency: str
    pinned_sku: str | None
    timer: TimerAnswer | None
    floor: FloorAnswer | None
    cards: list[CardAnswer]
    shop_url: str


class MilestoneAnswer(BaseModel):
    """A milestone and how far it is; ``missing`` is exact, 0 once reached."""

    id: str
    counts: Literal["money", "units"]
    threshold: int
    title: str
    title_zh: str | None
    reached: bool
    reached_at: InstantText | None
    missing: int


class Ladder(BaseModel):
    """A stream's milestones, from the lowest up."""

    items: list[MilestoneAnswer]
