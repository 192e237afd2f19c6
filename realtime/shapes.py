"""What each topic says: one typed shape per topic, from which the published schemas are generated.

Producers make plain dictionaries, because they go into SQL as they are; the tests hold every live frame against its
shape here. Amounts are whole minor units of the ``currency`` beside them, instants RFC 3339 in UTC with milliseconds.
A state is whole: whoever has the newest one needs no other.
"""

from typing import Final, Literal

import msgspec


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The base of all shapes: nothing in it may change, and nothing unknown may be in it."""


class Counted(Shape, frozen=True):
    """What the ledger adds up to as of ``seq``. ``gifts_minor`` and ``matched_minor`` are parts of what was raised."""

    seq: int
    raised_minor: int
    sales_minor: int
    orders: int
    units: int
    gifts: int
    gifts_minor: int
    matched_minor: int
    currency: str


class Tally(Counted, frozen=True):
    """Everything so far, and the goal (0 is none)."""

    goal_minor: int


class Tonight(Counted, frozen=True):
    """The same since the host set a floor ("tonight only"); without one, since the stream began.

    ``seq`` is where the sums end, ``since_seq`` the ledger number they begin after.
    """

    since_seq: int
    since_at: str | None


class StockItem(Shape, frozen=True):
    """Units of one offer: ``left`` is total − reserved − sold.

    ``sold_out_in_ms`` is how long the offer was open until its last unit was taken, by the books' own instants: from
    when the stream was live, the offer was put up and its own opening had come. Null while units are left.
    """

    sku: str
    total: int
    left: int
    reserved: int
    sold: int
    sold_out_in_ms: int | None


class Stock(Shape, frozen=True):
    """All offers of a stream; ``sold_out_at`` is since when none has a unit left."""

    items: list[StockItem]
    sold_out_at: str | None


class Status(Shape, frozen=True):
    """A stream's life and names."""

    state: Literal["scheduled", "live", "ended", "settled"]
    title: str
    title_zh: str | None
    opens_at: str | None
    live_at: str | None
    ended_at: str | None
    campaign_id: str
    campaign: str
    campaign_zh: str | None


class Named(Shape, frozen=True):
    """Somebody with a name in two languages."""

    id: str
    name: str
    name_zh: str | None


class Producer(Named, frozen=True):
    """A farmer, and where the farm is."""

    place: str


class Card(Shape, frozen=True):
    """An offer as a product card shows it: the price and what of one unit goes where."""

    sku: str
    name: str
    name_zh: str | None
    unit: str
    unit_zh: str | None
    price_minor: int
    farmer_minor: int
    beneficiary_minor: int
    farmer: Producer
    beneficiary: Named
    opens_at: str | None


class Timer(Shape, frozen=True):
    """What the host counts down to: the sale ``opens`` or ``closes`` ``at``."""

    what: Literal["opens", "closes"]
    at: str


class Board(Shape, frozen=True):
    """What the host put up: the pinned product, the countdown, every card, and where to buy."""

    currency: str
    pinned_sku: str | None
    timer: Timer | None
    cards: list[Card]
    shop_url: str


class Step(Shape, frozen=True):
    """A milestone: reached once the stream's tally (money raised, or units sold) is at ``threshold``.

    ``missing`` is the exact gap, 0 once reached. ``reached_at`` stays even if a refund takes the tally back below;
    ``reached`` then says false.
    """

    id: str
    counts: Literal["money", "units"]
    threshold: int
    title: str
    title_zh: str | None
    reached: bool
    reached_at: str | None
    missing: int


class Milestones(Shape, frozen=True):
    """The ladder from the lowest step up, as of ledger number ``seq``."""

    seq: int
    currency: str
    items: list[Step]


class Pot(Shape, frozen=True):
    """A sponsor's match: what it adds per unit given (10,000 bp doubles), and what is left of its pot."""

    id: str
    sponsor: str
    sponsor_zh: str | None
    covers: Literal["gifts", "shares", "all"]
    ratio_bp: int
    pot_minor: int
    left_minor: int
    starts_at: str
    ends_at: str | None
    on: bool


class Matches(Shape, frozen=True):
    """The matches that cover a stream, in the order they are drawn from."""

    currency: str
    items: list[Pot]


class FarmerCard(Shape, frozen=True):
    """What a farmer sold in this stream and earned by it, as posted in the ledger."""

    id: str
    name: str
    name_zh: str | None
    place: str
    units: int
    income_minor: int
    skus: list[str]


class Farmers(Shape, frozen=True):
    """The farmers of a stream, as of ledger number ``seq``."""

    seq: int
    currency: str
    items: list[FarmerCard]


class Leader(Shape, frozen=True):
    """A giver who agreed to be named, and what they paid for goods and gave, less what went back."""

    name: str
    amount_minor: int
    orders: int


class Leaders(Shape, frozen=True):
    """The largest givers by name in three windows; only names that were approved are in it."""

    seq: int
    currency: str
    hour: list[Leader]
    today: list[Leader]
    stream: list[Leader]


class NewName(Shape, frozen=True):
    """A name to be thanked, numbered without gaps in the order names were approved."""

    n: int
    name: str


class Names(Shape, frozen=True):
    """How many buyers and givers agreed to be named and were approved, and the newest of them, oldest first.

    Whoever needs all of them reads on from a number with ``GET /v1/streams/{id}/names?after=n``.
    """

    count: int
    newest: list[NewName]


class OnAir(Shape, frozen=True):
    """The alert that is on the screens of a group.

    A ``burst`` stands for ``count`` orders of one product at once. ``shown`` turns true when an overlay of the group
    said that it shows it: an overlay that finds it so when it starts does not show it again.
    """

    id: str
    kind: Literal["order", "gift", "burst", "test"]
    name: str | None
    message: str | None
    dedication: str | None
    amount_minor: int
    currency: str
    units: int
    sku: str | None
    count: int
    within_s: int
    biggest_minor: int
    starts_at: str
    ends_at: str
    shown: bool


class Alerts(Shape, frozen=True):
    """An overlay group's alert queue. While ``panic`` is on, overlays show nothing but the totals."""

    group: str
    on_air: OnAir | None
    waiting: int
    muted: bool
    panic: bool
    sound: str | None


class Review(Shape, frozen=True):
    """How many texts wait for moderators: what they are, is asked for with ``revision`` over HTTP.

    It names nobody, so that what was never approved is in no frame.
    """

    revision: int
    waiting: int
    passed: int
    unread: int
    oldest_at: str | None


class Sale(Shape, frozen=True):
    """A farmer's part of an order or a refund."""

    order: str
    sku: str
    quantity: int
    amount_minor: int
    kind: str
    at: str


class Sales(Shape, frozen=True):
    """What a farmer sold and earned over all streams, and the newest sales. Only the farmer may see it."""

    units: int
    income_minor: int
    currency: str | None
    last: list[Sale]


# By the last part of a topic's name; ``alerts`` is followed by the name of the overlay group.
SHAPES: Final[dict[str, type[Shape]]] = {
    "tally": Tally,
    "tonight": Tonight,
    "stock": Stock,
    "status": Status,
    "board": Board,
    "milestones": Milestones,
    "matches": Matches,
    "farmers": Farmers,
    "leaders": Leaders,
    "names": Names,
    "alerts": Alerts,
    "review": Review,
    "sales": Sales,
}
