"""The shapes of what others give along: matches, standing pledges, and transfers outside Stripe."""

from typing import Annotated, Final, Literal

from fastapi import Path
from pydantic import BaseModel, Field

from inventory.schemas import Sku
from stream_events.schemas import (
    GOAL_MINOR_MAX,
    Answer,
    BeneficiaryId,
    Body,
    Instant,
    Moment,
    Name,
    StreamId,
    id_pattern,
)
from stream_events.split import WHOLE_BP

RATIO_BP_MAX: Final = 1_000_000
POSITION_MAX: Final = 1_000
SKUS_MAX: Final = 100

MatchPath = Annotated[str, Path(pattern=id_pattern("mat"))]
SumMinor = Annotated[int, Field(ge=1, le=GOAL_MINOR_MAX)]
Covers = Literal["gifts", "shares", "all"]


class NewMatch(Body):
    """A sponsor's promise. Orders placed in its window are matched, whenever they are paid.

    It adds `ratio_bp` basis points of what an order gives: of its gifts, of the beneficiaries' shares of what is
    bought (only of `skus`, where given), or of both.
    """

    sponsor: Annotated[Name, Field(examples=["Golden Mill"])]
    sponsor_zh: Annotated[Name | None, Field(examples=["金磨坊"])] = None
    stream_id: Annotated[StreamId | None, Field(description="Of this stream only.")] = None
    covers: Covers = "gifts"
    skus: Annotated[list[Sku] | None, Field(min_length=1, max_length=SKUS_MAX)] = None
    ratio_bp: Annotated[
        int, Field(ge=1, le=RATIO_BP_MAX, examples=[10_000], description="10,000 doubles a gift.")
    ]
    pot_minor: Annotated[SumMinor, Field(examples=[5_000_000])]
    per_giver_max_minor: Annotated[SumMinor | None, Field(examples=[20_000])] = None
    position: Annotated[
        int | None,
        Field(ge=1, le=POSITION_MAX, description="Which match comes first; left out: the last."),
    ] = None
    starts_at: Annotated[Instant | None, Field(description="Left out: now.")] = None
    ends_at: Instant | None = None


class MatchChange(Body):
    """The sooner end of a match. An instant that has passed ends it now."""

    ends_at: Instant


class MatchAnswer(Answer):
    """A sponsor's promise, and what is left of it."""

    id: str
    campaign_id: str
    stream_id: str | None
    sponsor: str
    sponsor_zh: str | None
    covers: Covers
    skus: list[str] | None
    ratio_bp: int
    pot_minor: int
    left_minor: int
    per_giver_max_minor: int | None
    position: int
    starts_at: Moment
    ends_at: Moment | None


class NewPledge(Body):
    """A standing promise of a part of all sales from now on; what it comes to is posted by itself."""

    beneficiary_id: BeneficiaryId
    name: Annotated[Name, Field(examples=["0.3 % of revenue for the children"])]
    name_zh: Annotated[Name | None, Field(examples=["营收的千分之三"])] = None
    bp: Annotated[int, Field(ge=1, le=WHOLE_BP, examples=[30], description="Of the sales.")]


class PledgeAnswer(BaseModel):
    """A standing pledge: what it has come to by the ledger, and what of that was paid on.

    `owed_minor` follows the sales both ways: returns make it less.
    """

    id: str
    campaign_id: str
    beneficiary_id: str
    name: str
    name_zh: str | None
    bp: int
    owed_minor: int
    paid_minor: int
    created_at: Moment


class NewTransfer(Body):
    """Money that moved outside Stripe: paid on to a payee, or paid in by a sponsor."""

    kind: Literal["payout", "sponsor_paid"]
    account: Annotated[
        str,
        Field(
            min_length=1,
            max_length=80,
            examples=["farmer/frm_1"],
            description="Whose: `farmer/…`, `beneficiary/…` or `pledge/…` of a payout, `sponsor/…` of a match.",
        ),
    ]
    amount_minor: Annotated[SumMinor, Field(examples=[250_000])]
    reference: Annotated[
        Name, Field(examples=["Bank transfer 2026-12-01/17"], description="No personal data.")
    ]


class TransferAnswer(Answer):
    """A transfer as recorded; it is never edited."""

    id: str
    campaign_id: str
    kind: Literal["payout", "sponsor_paid"]
    account: str
    amount_minor: int
    reference: str
    created_by: str
    created_at: Moment
