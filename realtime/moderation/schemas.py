"""The shapes of moderation on the wire: rules, what waits, what was decided, what is read aloud, and who is thanked."""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, Field

from orders.messages import MESSAGE_CHARS_MAX
from realtime.moderation.filter import Field as TextField
from realtime.moderation.filter import FlagKind, is_usable
from realtime.moderation.rulings import Decision, Mode, Refused
from stream_events.names import clean_words
from stream_events.schemas import Body, Moment, id_pattern

ENTRIES_MAX: Final = 500
ENTRY_CHARS_MAX: Final = 40
DECISIONS_MAX: Final = 100

ReviewDisplay = Literal["PENDING_REVIEW", "PASSED", "SHOWN", "HIDDEN"]
Waiting = Literal["pending", "passed", "shown", "hidden"]
Mark = Literal["unread", "pinned", "read", "skipped"]


def _entry(text: str) -> str:
    entry = clean_words(text, ENTRY_CHARS_MAX)
    if not is_usable(entry):
        raise ValueError("an entry has at least two letters, or one character of Chinese")
    return entry


Entry = Annotated[str, Field(min_length=1, max_length=ENTRY_CHARS_MAX), AfterValidator(_entry)]


class RulesIn(Body):
    """How a stream's texts are looked at; what is left out is as it is before anybody said anything."""

    mode: Annotated[
        Mode,
        Field(
            description="Who lets a text pass: the host alone, one moderator, or two different people."
        ),
    ] = "one_pass"
    blocked: list[Entry] = Field(default_factory=list, max_length=ENTRIES_MAX, examples=[["scam"]])
    allowed: list[Entry] = Field(
        default_factory=list,
        max_length=ENTRIES_MAX,
        description="Words in which a blocked one is harmless.",
        examples=[["Scamander"]],
    )
    message_graphemes_max: Annotated[int, Field(ge=1, le=MESSAGE_CHARS_MAX)] = MESSAGE_CHARS_MAX


class RulesOut(BaseModel):
    """The rules as they count now."""

    mode: Mode
    blocked: list[str]
    allowed: list[str]
    message_graphemes_max: int


class Somebody(BaseModel):
    """Who looked, passed or decided: a principal, or the word filter."""

    id: str
    name: str


class FlagOut(BaseModel):
    """What the filter found: a word of the list (blocked), too many characters (long), or a way to be reached."""

    field: TextField
    word: str
    kind: FlagKind


class ReviewItem(BaseModel):
    """A paid text and all that was done about it. ``revision`` goes back with a decision."""

    order_id: str
    kind: Literal["goods", "gift"]
    amount_minor: int
    currency: str
    name: str | None
    message: str | None
    dedication: str | None
    flags: list[FlagOut]
    display: ReviewDisplay
    revision: int
    waiting_since: Moment
    reason: Literal["blocked", "too_long"] | None
    passed_by: Somebody | None
    decided_by: Somebody | None
    decided_at: Moment | None
    claimed_by: Somebody | None
    claimed_until: Moment | None


class DecisionIn(Body):
    """What is to be done with one text, as it was at ``revision``."""

    order_id: Annotated[str, Field(pattern=id_pattern("ord"))]
    revision: Annotated[int, Field(ge=1, le=2**31 - 1)]
    decision: Decision


class DecisionsIn(Body):
    """Decisions, done one after the other."""

    decisions: Annotated[list[DecisionIn], Field(min_length=1, max_length=DECISIONS_MAX)]


class OutcomeOut(BaseModel):
    """How the text is displayed now and under which revision, or why nothing was done with it."""

    order_id: str
    display: ReviewDisplay | None
    revision: int | None
    refused: Refused | None


class OutcomesOut(BaseModel):
    """What became of each decision, in the order they came."""

    outcomes: list[OutcomeOut]


class ClaimOut(BaseModel):
    """Who looks at a text, and until when; ``mine`` says whether it is whoever asks."""

    order_id: str
    claimed_by: Somebody
    claimed_until: Moment
    mine: bool


class ReadingItem(BaseModel):
    """An approved message to be read aloud; ``reading_s`` is about how long that takes."""

    order_id: str
    kind: Literal["goods", "gift"]
    amount_minor: int
    currency: str
    name: str | None
    message: str | None
    dedication: str | None
    mark: Mark
    reading_s: int


class MarkIn(Body):
    """What is to become of a message in the reading queue."""

    mark: Mark


class Marked(BaseModel):
    """What a message in the reading queue is marked as now."""

    order_id: str
    mark: Mark


class ThankedName(BaseModel):
    """A name and its number."""

    n: int
    name: str


class NamesOut(BaseModel):
    """Names in the order they were approved; no more of them means that these were the last."""

    items: list[ThankedName]
    count: int


class CreditsOut(BaseModel):
    """Sums of the sealed ledger as of ``seq``: ``givers`` are different people, ``count`` how many are named."""

    count: int
    givers: int
    orders: int
    gifts: int
    raised_minor: int
    currency: str
    seq: int
