"""What each farmer earned, folded from the sealed ledger: every entry is counted once, however often we look.

Adding up a farmer's whole ledger at each sale would cost more with each sale. Instead the books below remember up to
which number of each campaign's log they have read, and read on from there. They are kept in memory only: after a
start they read the log from its beginning, some thousand numbers a tick, and nothing is shown until they are through.
"""

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from orders.ledger.accounts import farmer as farmer_account
from orders.ledger.post import PAYOUT
from orders.ledger.seal import SALE_SIGNS
from realtime.topics import rfc3339
from stream_events.bulk import bulk

SEQS_PER_TICK_MAX: Final = 1_000
LAST_MAX: Final = 20
ORDER_CHARS: Final = 6

# One farmer, one mode, one currency: test money and real money, yuan and dollars are never added up.
Key = tuple[str, str, str]
# A stream has one mode and one currency; a farmer's part of it is units sold and income.
StreamKey = tuple[str, str]
Sum = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Sale:
    """A farmer's part of one ledger transaction; a refund has negative units and income."""

    at: datetime
    order: str
    sku: str
    quantity: int
    amount_minor: int
    kind: str


@dataclass(frozen=True, slots=True)
class Book:
    """A farmer's totals in one mode and currency, and the newest sales in them."""

    units: int = 0
    income_minor: int = 0
    last: tuple[Sale, ...] = ()

    def with_sale(self, sale: Sale) -> "Book":
        """Return the book after one more sale or refund."""
        last = sorted((sale, *self.last), key=lambda one: one.at, reverse=True)[:LAST_MAX]
        return Book(self.units + sale.quantity, self.income_minor + sale.amount_minor, tuple(last))


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read in a tick, to be kept once the tick is committed."""

    marks: Mapping[str, int]
    books: Mapping[Key, Book]
    sums: Mapping[StreamKey, Sum]
    through: bool


@dataclass(frozen=True, slots=True)
class StreamBooks:
    """What farmers sold in each stream, and up to which number of each campaign's log that was read."""

    marks: Mapping[str, int]
    sums: Mapping[StreamKey, Sum]

    def through(self, campaign_id: str) -> int:
        """Return the last ledger number that is in the sums."""
        return self.marks.get(campaign_id, 0)

    def of(self, stream_id: str, farmer_id: str) -> Sum:
        """Return a farmer's units and income in a stream."""
        return self.sums.get((stream_id, farmer_id), (0, 0))


@dataclass(slots=True)
class FarmerBooks:
    """All farmers' books and how far they have read. ``through`` is false until the whole log was read once."""

    marks: dict[str, int] = field(default_factory=dict)
    books: dict[Key, Book] = field(default_factory=dict)
    sums: dict[StreamKey, Sum] = field(default_factory=dict)
    through: bool = False

    async def read_on(self, sql: AsyncSession) -> Reading:
        """Read what was sealed since, at most ``SEQS_PER_TICK_MAX`` numbers a campaign, changing nothing here."""
        heads = {row.campaign_id: row.size for row in await sql.execute(_HEADS)}
        if any(heads.get(campaign, 0) < mark for campaign, mark in self.marks.items()):
            # The log is shorter than what we read of it: the database was put back. Begin again.
            self.marks, self.books, self.sums, self.through = {}, {}, {}, False
        behind = {
            campaign: self.marks.get(campaign, 0)
            for campaign, size in heads.items()
            if size > self.marks.get(campaign, 0)
        }
        marks = {
            campaign: min(heads[campaign], mark + SEQS_PER_TICK_MAX)
            for campaign, mark in behind.items()
        }
        books: dict[Key, Book] = {}
        sums: dict[StreamKey, Sum] = {}
        if behind:
            asked = {
                "campaigns": list(behind),
                "after": list(behind.values()),
                "upto": [marks[campaign] for campaign in behind],
                # What is paid on to a farmer was earned before, and is earned all the same.
                "paid_on": PAYOUT,
            }
            for row in await sql.execute(_SALES, asked):
                key = (row.farmer_id, row.mode, row.currency)
                book = books.get(key) or self.books.get(key) or Book()
                sale = _sale(row)
                books[key] = book.with_sale(sale)
                if row.stream_id is not None:
                    own = (row.stream_id, row.farmer_id)
                    units, income_minor = sums.get(own) or self.sums.get(own, (0, 0))
                    sums[own] = (units + sale.quantity, income_minor + sale.amount_minor)
        through = all(marks[campaign] == heads[campaign] for campaign in marks)
        return Reading(marks, books, sums, through)

    def keep(self, reading: Reading) -> None:
        """Remember what was read, now that its tick is committed."""
        self.marks.update(reading.marks)
        self.books.update(reading.books)
        self.sums.update(reading.sums)
        self.through = reading.through

    def by_stream(self, reading: Reading | None) -> StreamBooks:
        """Return what farmers sold in each stream after ``reading``, if there was one."""
        if reading is None:
            return StreamBooks(self.marks, self.sums)
        return StreamBooks(
            ChainMap(dict(reading.marks), self.marks), ChainMap(dict(reading.sums), self.sums)
        )

    def states(self, reading: Reading) -> dict[str, dict[str, Any]]:
        """Return the topics' states after ``reading``: all at first, then those of farmers it touched.

        A farmer with several modes or currencies sees the one of the newest sale.
        """
        if not reading.through:
            return {}
        books = {**self.books, **reading.books}
        touched = {key[0] for key in (reading.books if self.through else books)}
        newest: dict[str, Key] = {}
        for key in books:
            held = newest.get(key[0])
            if key[0] in touched and (
                held is None or books[held].last[0].at < books[key].last[0].at
            ):
                newest[key[0]] = key
        return {
            farmer_topic(farmer_id): _state(books[key], currency=key[2])
            for farmer_id, key in newest.items()
        }

    async def unsold_states(self, sql: AsyncSession) -> dict[str, dict[str, Any]]:
        """Return zeros for farmers who offer something, sold nothing and have no topic yet: 0 is an answer."""
        sold = {key[0] for key in self.books}
        return {
            farmer_topic(row.farmer_id): _state(Book(), currency=row.currency)
            for row in await sql.execute(_UNSOLD)
            if row.farmer_id not in sold
        }


def farmer_topic(farmer_id: str) -> str:
    """Return the name of a farmer's private topic."""
    return f"{farmer_account(farmer_id)}/sales"


def short_order(order_id: str) -> str:
    """Return the part of an order's id that people read to each other."""
    return order_id[-ORDER_CHARS:].upper()


def _sale(row: Any) -> Sale:
    return Sale(
        at=row.posted_at,
        order=short_order(row.order_id or ""),
        sku=row.skus or "",
        quantity=SALE_SIGNS.get(row.kind, 0) * row.units,
        amount_minor=row.income_minor,
        kind=row.kind,
    )


def _state(book: Book, *, currency: str) -> dict[str, Any]:
    return {
        "units": book.units,
        "income_minor": book.income_minor,
        "currency": currency,
        "last": [
            {
                "order": sale.order,
                "sku": sale.sku,
                "quantity": sale.quantity,
                "amount_minor": sale.amount_minor,
                "kind": sale.kind,
                "at": rfc3339(sale.at),
            }
            for sale in book.last
        ],
    }


_HEADS = text("SELECT campaign_id, size FROM ledger_heads")
_SALES = bulk("""
SELECT c.mode, t.currency, t.kind, t.order_id, t.stream_id, t.posted_at, f.farmer_id, own.units, own.skus,
       -e.amount_minor AS income_minor
FROM unnest(CAST(:campaigns AS text[]), CAST(:after AS bigint[]), CAST(:upto AS bigint[]))
    AS r (campaign_id, after, upto)
JOIN seals s ON s.campaign_id = r.campaign_id AND s.seq > r.after AND s.seq <= r.upto
JOIN ledger_transactions t ON t.id = s.transaction_id AND t.kind <> :paid_on
JOIN campaigns c ON c.id = s.campaign_id
JOIN ledger_entries e ON e.transaction_id = t.id AND e.account LIKE 'farmer/%'
CROSS JOIN LATERAL (SELECT split_part(e.account, '/', 2) AS farmer_id) f
CROSS JOIN LATERAL (
    SELECT coalesce(sum(CAST(line ->> 1 AS integer)), 0) AS units,
           string_agg(line ->> 0, ', ' ORDER BY line ->> 0) AS skus
    FROM jsonb_array_elements(t.lines) AS line
    JOIN products p ON p.sku = line ->> 0 AND p.farmer_id = f.farmer_id
) own
ORDER BY s.campaign_id, s.seq, e.account
""")
_UNSOLD = text("""
SELECT DISTINCT ON (p.farmer_id) p.farmer_id, c.currency
FROM offers o
JOIN products p ON p.id = o.product_id
JOIN streams s ON s.id = o.stream_id
JOIN campaigns c ON c.id = s.campaign_id
WHERE NOT EXISTS (SELECT FROM topics t WHERE t.topic = 'farmer/' || p.farmer_id || '/sales')
ORDER BY p.farmer_id, s.created_at DESC
LIMIT 500
""")
