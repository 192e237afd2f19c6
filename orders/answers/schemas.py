"""The wire shapes of answers: trial balance, statements, and the life of an order.

Amounts are signed. In the books a debit is positive; in a statement what is owed to its reader is.
"""

from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from stream_events.schemas import Moment

SEQ_MAX = 2**53 - 1
SeqQuery = Annotated[
    int | None,
    Query(ge=0, le=SEQ_MAX, description="A number of the books; 0 is before the first entry."),
]


class AccountOut(BaseModel):
    """What an account adds up to; ``balance_minor`` is debit less credit."""

    account: str
    debit_minor: int
    credit_minor: int
    balance_minor: int
    entries: int


class TallyOut(BaseModel):
    """The totals of a screen, derived from the entries."""

    model_config = ConfigDict(from_attributes=True)

    raised_minor: int
    sales_minor: int
    orders: int
    units: int
    gifts: int
    gifts_minor: int
    matched_minor: int


class BalanceOut(BaseModel):
    """All accounts in one currency. ``total_minor`` is 0, or the books are broken."""

    currency: str
    debit_minor: int
    credit_minor: int
    total_minor: int
    tally: TallyOut
    accounts: list[AccountOut]


class TrialBalanceOut(BaseModel):
    """A campaign's books at one number: everything sealed up to it, and nothing else."""

    campaign_id: str
    seq: int
    sealed_at: Annotated[
        Moment | None, Field(description="When that number was sealed; null for 0.")
    ]
    currencies: list[BalanceOut]


PartyKind = Literal["beneficiary", "farmer", "host", "campaign"]


class SumOut(BaseModel):
    """What one heading adds up to within the window."""

    heading: str
    words: str
    amount_minor: int


class StreamSumOut(TallyOut):
    """What one stream added within the window; null is what belongs to no stream."""

    stream_id: str | None
    title: str | None


class SalesSplitOut(BaseModel):
    """What shoppers paid for a farmer's goods within the window, and who got what of it; before anything went back."""

    gross_minor: int
    farmer_minor: int
    beneficiary_minor: int
    fees_minor: int


class RowOut(BaseModel):
    """One transaction of the books, as far as it touches the statement's party."""

    seq: int
    sealed_at: Moment
    kind: str
    words: str
    stream_id: str | None
    title: str | None
    amount_minor: int
    balance_minor: int
    sales_minor: Annotated[
        int | None, Field(description="What it added to sales; of hosts and campaigns only.")
    ]
    leaf_hash: str


class StatementOut(BaseModel):
    """A party's statement over ``after_seq`` < number ≤ ``to_seq``. Windows that meet add up.

    The balance of a farmer or beneficiary is what they are owed; of a host or campaign, what was raised.
    """

    party: PartyKind
    party_id: str
    campaign_id: str
    currency: str
    after_seq: int
    to_seq: int
    opening_minor: int
    closing_minor: int
    sums: list[SumOut]
    streams: list[StreamSumOut]
    sales_split: SalesSplitOut | None
    items: list[RowOut]
    next: Annotated[str | None, Field(description="Send it back as `cursor` to go on.")]


class HappeningOut(BaseModel):
    """One thing that happened to an order: ``code`` and ``data`` for programs, ``text`` for people."""

    at: Moment
    code: str
    text: str
    data: dict[str, Any]


class ExplanationOut(BaseModel):
    """The whole life of an order or gift, in the order it happened. Nothing in it is personal."""

    order_id: str
    kind: str
    state: str
    fulfilment: str
    stream_id: str
    campaign_id: str
    currency: str
    total_minor: int
    received_minor: int
    refunded_minor: int
    disputed_minor: int
    contact_given: bool
    complete: Annotated[
        bool, Field(description="False when more happened than an answer can hold.")
    ]
    items: list[HappeningOut]
