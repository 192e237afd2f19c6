"""Posting: writes balanced entries for outside facts, inside the transaction that settles those facts.

An outside fact (a capture, a refund, a fee) posts once, by its own id: the unique key on (source, kind) decides,
not a check before it. Numbers and totals are the sealer's work, so that posting takes no hot lock.
"""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from orders.ledger import accounts
from orders.ledger.leaf import SALT_BYTES, commit
from stream_events.bulk import bulk
from stream_events.ids import new_id

POSTINGS_MAX: Final = 8_192

CAPTURE: Final = "capture"
REFUND: Final = "refund"
REFUND_FAILED: Final = "refund_failed"
DISPUTE: Final = "dispute"
REINSTATE: Final = "reinstate"
DONATION: Final = "donation"
DONATION_REFUND: Final = "donation_refund"
DONATION_REFUND_FAILED: Final = "donation_refund_failed"
DONATION_DISPUTE: Final = "donation_dispute"
DONATION_REINSTATE: Final = "donation_reinstate"
MATCH: Final = "match"
MATCH_REVERSED: Final = "match_reversed"
MATCH_RESTORED: Final = "match_restored"
PLEDGE: Final = "pledge"
PAYOUT: Final = "payout"
SPONSOR_PAID: Final = "sponsor_paid"
# Money that sold nothing (a second payment for one order, late money without stock) is owed back from its first
# moment: its postings have kinds of their own and move neither the tally nor anybody's income.
SURPLUS: Final = "surplus"
SURPLUS_REFUND: Final = "surplus_refund"
SURPLUS_REFUND_FAILED: Final = "surplus_refund_failed"
SURPLUS_DISPUTE: Final = "surplus_dispute"
SURPLUS_REINSTATE: Final = "surplus_reinstate"
STRIPE_FEE: Final = "stripe_fee"

SALE_KINDS: Final = frozenset({CAPTURE, REFUND, REFUND_FAILED, DISPUTE, REINSTATE})
SURPLUS_KINDS: Final = frozenset(
    {SURPLUS, SURPLUS_REFUND, SURPLUS_REFUND_FAILED, SURPLUS_DISPUTE, SURPLUS_REINSTATE}
)
DONATION_KINDS: Final = frozenset(
    {DONATION, DONATION_REFUND, DONATION_REFUND_FAILED, DONATION_DISPUTE, DONATION_REINSTATE}
)
MATCH_KINDS: Final = frozenset({MATCH, MATCH_REVERSED, MATCH_RESTORED})
# Credits to beneficiaries in these are what was raised.
RAISED_KINDS: Final = SALE_KINDS | DONATION_KINDS | MATCH_KINDS
KINDS: Final = RAISED_KINDS | SURPLUS_KINDS | {STRIPE_FEE, PLEDGE, PAYOUT, SPONSOR_PAID}


class PostingError(ValueError):
    """Entries that no book may hold: they do not sum to zero, or name no account or kind of ours."""


@dataclass(frozen=True, slots=True)
class Posting:
    """One outside fact as entries: debit > 0, credit < 0. Entries of one account are added up.

    ``lines`` are the (sku, quantity) whose sale this fact begins or undoes; its kind says which of the two.
    ``gifts`` is 1 where a gift begins or comes back, −1 where it is undone; ``orders`` the same of an order of
    goods, which stands as long as one of its units is sold. What is of no order has no ``order_id``, and the
    campaign's id as its stream unless it is of one.
    """

    campaign_id: str
    stream_id: str
    kind: str
    source_id: str
    order_id: str | None
    currency: str
    entries: Sequence[tuple[str, int]]
    lines: Sequence[tuple[str, int]] = ()
    gifts: int = 0
    orders: int = 0

    def amounts(self) -> list[tuple[str, int]]:
        """Return one non-zero amount an account, sorted by account; raise ``PostingError`` unless they balance."""
        if self.kind not in KINDS:
            raise PostingError(f"{self.kind!r} is no kind of posting.")
        if self.gifts and self.kind not in DONATION_KINDS:
            raise PostingError(f"{self.kind} is of no gift.")
        sums: defaultdict[str, int] = defaultdict(int)
        for account, amount_minor in self.entries:
            accounts.parse(account)
            if type(amount_minor) is not int:
                raise PostingError(
                    f"{account} was given {amount_minor!r}, which is no whole amount."
                )
            sums[account] += amount_minor
        amounts = sorted(
            (account, amount_minor) for account, amount_minor in sums.items() if amount_minor
        )
        if not amounts or sum(amount_minor for _, amount_minor in amounts) != 0:
            raise PostingError(f"The entries of {self.kind} {self.source_id} do not balance.")
        return amounts


async def post(
    sql: AsyncSession,
    *,
    campaign_id: str,
    stream_id: str,
    kind: str,
    source_id: str,
    order_id: str | None,
    currency: str,
    entries: Sequence[tuple[str, int]],
    lines: Sequence[tuple[str, int]] = (),
    gifts: int = 0,
    orders: int = 0,
) -> bool:
    """Post one fact; False when (source_id, kind) was posted before, and then nothing is written."""
    posting = Posting(
        campaign_id, stream_id, kind, source_id, order_id, currency, entries, lines, gifts, orders
    )
    return (await post_many(sql, [posting]))[0]


async def post_many(sql: AsyncSession, postings: Sequence[Posting]) -> list[bool]:
    """Post many facts with few statements; for each, whether it is new. A repeat in one call counts once.

    The caller holds the row locks of the orders. Nothing is written unless every posting balances.
    """
    if not postings:
        return []
    if len(postings) > POSTINGS_MAX:
        raise PostingError(f"At most {POSTINGS_MAX} facts can be posted at once.")
    amounts = [posting.amounts() for posting in postings]
    of_orders = {posting.order_id for posting in postings if posting.order_id is not None}
    salts = await _salts(sql, sorted(of_orders)) if of_orders else {}
    # Sorted, so that what was posted together is sealed in the order it was given in.
    ids = sorted(new_id("txn") for _ in postings)
    posted = await _insert_transactions(sql, ids, postings, salts)
    entries = [
        (transaction_id, account, amount_minor)
        for transaction_id, parts in zip(ids, amounts, strict=True)
        if transaction_id in posted
        for account, amount_minor in parts
    ]
    if entries:
        await sql.execute(
            _INSERT_ENTRIES,
            {
                "ids": [entry[0] for entry in entries],
                "accounts": [entry[1] for entry in entries],
                "amounts": [entry[2] for entry in entries],
            },
        )
        await sql.execute(_INSERT_UNSEALED, {"ids": sorted(posted)})
    return [transaction_id in posted for transaction_id in ids]


async def _salts(sql: AsyncSession, order_ids: list[str]) -> dict[str, bytes]:
    """Return each order's salt, made here if this is its first posting (or its first since an erasure)."""
    salts = [os.urandom(SALT_BYTES) for _ in order_ids]
    await sql.execute(_INSERT_SALTS, {"ids": order_ids, "salts": salts})
    # Read in a later statement: an existing salt is not returned by the insert.
    rows = await sql.execute(_READ_SALTS, {"ids": order_ids})
    return {row.order_id: row.salt for row in rows}


async def _insert_transactions(
    sql: AsyncSession, ids: list[str], postings: Sequence[Posting], salts: dict[str, bytes]
) -> set[str]:
    rows = await sql.execute(
        _INSERT_TRANSACTIONS,
        {
            "ids": ids,
            "campaigns": [posting.campaign_id for posting in postings],
            "streams": [posting.stream_id for posting in postings],
            "kinds": [posting.kind for posting in postings],
            "sources": [posting.source_id for posting in postings],
            "orders": [posting.order_id for posting in postings],
            "currencies": [posting.currency for posting in postings],
            "lines": [msgspec.json.encode(posting.lines).decode() for posting in postings],
            "gifts": [posting.gifts for posting in postings],
            "standing": [posting.orders for posting in postings],
            "commitments": [_commitment(posting, salts) for posting in postings],
        },
    )
    return set(rows.scalars())


def _commitment(posting: Posting, salts: Mapping[str, bytes]) -> str:
    """Return what stands for the order; where there is none, for the fact, under a salt that nobody keeps."""
    if posting.order_id is None:
        return commit(os.urandom(SALT_BYTES), posting.source_id)
    return commit(salts[posting.order_id], posting.order_id)


_INSERT_SALTS = bulk("""
INSERT INTO order_salts (order_id, salt)
SELECT * FROM unnest(CAST(:ids AS text[]), CAST(:salts AS bytea[]))
ON CONFLICT (order_id) DO NOTHING
""")
_READ_SALTS = bulk(
    "SELECT order_id, salt FROM order_salts WHERE order_id = ANY(CAST(:ids AS text[]))"
)
_INSERT_TRANSACTIONS = bulk("""
INSERT INTO ledger_transactions
    (id, campaign_id, stream_id, kind, source_id, order_id, currency, lines, gifts, orders, commitment)
SELECT u.id, u.campaign_id, u.stream_id, u.kind, u.source_id, u.order_id, u.currency, CAST(u.lines AS jsonb), u.gifts,
       u.orders, u.commitment
FROM unnest(
    CAST(:ids AS text[]), CAST(:campaigns AS text[]), CAST(:streams AS text[]), CAST(:kinds AS text[]),
    CAST(:sources AS text[]), CAST(:orders AS text[]), CAST(:currencies AS text[]), CAST(:lines AS text[]),
    CAST(:gifts AS int[]), CAST(:standing AS int[]), CAST(:commitments AS text[])
) AS u (id, campaign_id, stream_id, kind, source_id, order_id, currency, lines, gifts, orders, commitment)
ON CONFLICT (source_id, kind) DO NOTHING
RETURNING id
""")
_INSERT_ENTRIES = bulk("""
INSERT INTO ledger_entries (transaction_id, account, amount_minor)
SELECT * FROM unnest(CAST(:ids AS text[]), CAST(:accounts AS text[]), CAST(:amounts AS bigint[]))
""")
_INSERT_UNSEALED = bulk("""
INSERT INTO ledger_unsealed (transaction_id, campaign_id)
SELECT id, campaign_id FROM ledger_transactions WHERE id = ANY(CAST(:ids AS text[]))
""")
