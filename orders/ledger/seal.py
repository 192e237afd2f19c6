"""Sealing: gives posted transactions their numbers and leaves, and moves the totals by exactly them.

Numbers are given under the lock of one row a campaign, to what is committed only, so the log has no gaps and no
reader can skip a late committer. Totals change in the same transaction: at every number that was ever shown, the
tally is what the ledger up to that number adds up to.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from orders.ledger import accounts, post
from orders.ledger.leaf import Leaf, LeafKind, digest_source, encode
from orders.ledger.tree import leaf_hash

# What one tick seals of a campaign, and how many campaigns one tick visits; the rest comes a tick later.
BATCH_MAX: Final = 2_048
CAMPAIGNS_MAX: Final = 100

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# Which way a transaction's lines count: a sale begins or comes back, or it is undone.
SALE_SIGNS: Final[Mapping[str, int]] = MappingProxyType(
    {post.CAPTURE: 1, post.REFUND_FAILED: 1, post.REINSTATE: 1, post.REFUND: -1, post.DISPUTE: -1}
)

# In the published leaf, money that sold nothing is an adjustment between clearing and ourselves: whoever adds
# up the leaves leaves adjustments and fees out of the sales and gets our totals.
LEAF_KINDS: Final[Mapping[str, LeafKind]] = MappingProxyType(
    {
        post.CAPTURE: LeafKind.CAPTURE,
        post.REFUND: LeafKind.REFUND,
        post.REFUND_FAILED: LeafKind.REFUND_FAILED,
        post.DISPUTE: LeafKind.DISPUTE,
        post.REINSTATE: LeafKind.REINSTATE,
        post.STRIPE_FEE: LeafKind.FEE,
        **dict.fromkeys(post.SURPLUS_KINDS, LeafKind.ADJUSTMENT),
    }
)


@dataclass(frozen=True, slots=True)
class SealedScope:
    """A campaign or stream whose total moved, and what it is now, at ledger number ``seq``."""

    scope_id: str
    campaign_id: str
    seq: int
    raised_minor: int
    sales_minor: int
    orders: int
    units: int


@dataclass(slots=True)
class _Change:
    """What a tick adds to one scope."""

    seq: int = 0
    raised_minor: int = 0
    sales_minor: int = 0
    orders: int = 0
    units: int = 0

    def add(self, leaf: Leaf, kind: str) -> None:
        self.seq = leaf.seq
        self.raised_minor -= sum(
            amount for account, amount in leaf.entries if accounts.is_beneficiary(account)
        )
        sign = SALE_SIGNS.get(kind, 0)
        if not sign:
            return
        self.sales_minor += sum(
            amount for account, amount in leaf.entries if account == accounts.STRIPE_CLEARING
        )
        self.orders += sign if leaf.lines else 0
        self.units += sign * sum(quantity for _, quantity in leaf.lines)


async def seal_once(sql: AsyncSession) -> list[SealedScope]:
    """Seal what is posted, in the caller's transaction; returns the scopes whose tally was written, sorted.

    At most ``BATCH_MAX`` transactions of each of at most ``CAMPAIGNS_MAX`` campaigns. Raises ``LeafError`` or
    ``AccountError`` when the books hold what no leaf may: sealing stops rather than publish it.
    """
    campaigns = (await sql.scalars(_CAMPAIGNS, {"campaigns_max": CAMPAIGNS_MAX})).all()
    scopes: list[SealedScope] = []
    for campaign_id in campaigns:
        scopes += await _seal_campaign(sql, campaign_id)
    return scopes


async def _seal_campaign(sql: AsyncSession, campaign_id: str) -> list[SealedScope]:
    await sql.execute(_ADD_HEAD, {"campaign": campaign_id})
    size = (await sql.scalars(_LOCK_HEAD, {"campaign": campaign_id})).one()
    # A later statement than the lock, so that it sees what the sealer before us took away.
    rows = (await sql.execute(_UNSEALED, {"campaign": campaign_id, "batch_max": BATCH_MAX})).all()
    if not rows:
        return []
    leaves = [_leaf(row, seq) for seq, row in enumerate(rows, start=size + 1)]
    ids = [leaf.transaction_id for leaf in leaves]
    await sql.execute(
        _INSERT_SEALS,
        {
            "campaign": campaign_id,
            "seqs": [leaf.seq for leaf in leaves],
            "ids": ids,
            "hashes": [leaf_hash(encode(leaf)) for leaf in leaves],
        },
    )
    await sql.execute(_DELETE_UNSEALED, {"ids": ids})
    await sql.execute(_MOVE_HEAD, {"campaign": campaign_id, "size": leaves[-1].seq})
    kinds = [row.kind for row in rows]
    return await _add_to_tallies(sql, campaign_id, _changes(campaign_id, leaves, kinds))


def _leaf(row: Row[Any], seq: int) -> Leaf:
    return Leaf(
        origin=row.campaign_id,
        seq=seq,
        transaction_id=row.id,
        kind=LEAF_KINDS[row.kind],
        posted_at_ms=instant_ms(row.posted_at),
        currency=row.currency,
        stream_id=row.stream_id,
        entries=tuple((account, amount_minor) for account, amount_minor in row.entries),
        commitment=row.commitment,
        source_digest=digest_source(row.source_id),
        lines=tuple((sku, quantity) for sku, quantity in row.lines),
    )


def instant_ms(at: datetime) -> int:
    """Return whole milliseconds since 1970, rounded down, without passing through a float."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


def _changes(campaign_id: str, leaves: Sequence[Leaf], kinds: Sequence[str]) -> dict[str, _Change]:
    changes: dict[str, _Change] = {}
    for leaf, kind in zip(leaves, kinds, strict=True):
        for scope_id in (campaign_id, leaf.stream_id):
            changes.setdefault(scope_id, _Change()).add(leaf, kind)
    return changes


async def _add_to_tallies(
    sql: AsyncSession, campaign_id: str, changes: Mapping[str, _Change]
) -> list[SealedScope]:
    scope_ids = sorted(changes)
    moved = [changes[scope_id] for scope_id in scope_ids]
    rows = await sql.execute(
        _ADD_TO_TALLIES,
        {
            "campaign": campaign_id,
            "scopes": scope_ids,
            "seqs": [change.seq for change in moved],
            "raised": [change.raised_minor for change in moved],
            "sales": [change.sales_minor for change in moved],
            "orders": [change.orders for change in moved],
            "units": [change.units for change in moved],
        },
    )
    scopes = [SealedScope(**row._asdict()) for row in rows]
    return sorted(scopes, key=lambda scope: scope.scope_id)


_CAMPAIGNS = text(
    "SELECT DISTINCT campaign_id FROM ledger_unsealed ORDER BY campaign_id LIMIT :campaigns_max"
)
_ADD_HEAD = text("INSERT INTO ledger_heads (campaign_id) VALUES (:campaign) ON CONFLICT DO NOTHING")
_LOCK_HEAD = text("SELECT size FROM ledger_heads WHERE campaign_id = :campaign FOR NO KEY UPDATE")
_UNSEALED = text("""
SELECT t.id, t.campaign_id, t.stream_id, t.kind, t.source_id, t.currency, t.lines, t.commitment, t.posted_at,
       e.entries
FROM (
    SELECT t.*
    FROM ledger_unsealed u JOIN ledger_transactions t ON t.id = u.transaction_id
    WHERE u.campaign_id = :campaign
    ORDER BY t.posted_at, t.id
    LIMIT :batch_max
) t
CROSS JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_array(account, amount_minor) ORDER BY account) AS entries
    FROM ledger_entries WHERE transaction_id = t.id
) e
ORDER BY t.posted_at, t.id
""")
_INSERT_SEALS = text("""
INSERT INTO seals (campaign_id, seq, transaction_id, leaf_hash)
SELECT :campaign, u.* FROM unnest(CAST(:seqs AS bigint[]), CAST(:ids AS text[]), CAST(:hashes AS bytea[])) AS u
""")
_DELETE_UNSEALED = text(
    "DELETE FROM ledger_unsealed WHERE transaction_id = ANY(CAST(:ids AS text[]))"
)
_MOVE_HEAD = text("UPDATE ledger_heads SET size = :size WHERE campaign_id = :campaign")
_ADD_TO_TALLIES = text("""
WITH now_is AS (
    INSERT INTO tallies AS t (scope_id, campaign_id, seq, raised_minor, sales_minor, orders, units)
    SELECT u.scope_id, :campaign, u.seq, u.raised_minor, u.sales_minor, u.orders, u.units
    FROM unnest(
        CAST(:scopes AS text[]), CAST(:seqs AS bigint[]), CAST(:raised AS bigint[]), CAST(:sales AS bigint[]),
        CAST(:orders AS bigint[]), CAST(:units AS bigint[])
    ) AS u (scope_id, seq, raised_minor, sales_minor, orders, units)
    ON CONFLICT (scope_id) DO UPDATE SET
        seq = excluded.seq,
        raised_minor = t.raised_minor + excluded.raised_minor,
        sales_minor = t.sales_minor + excluded.sales_minor,
        orders = t.orders + excluded.orders,
        units = t.units + excluded.units
    RETURNING scope_id, campaign_id, seq, raised_minor, sales_minor, orders, units
), history AS (
    INSERT INTO tally_history (scope_id, seq, raised_minor, sales_minor, orders, units)
    SELECT scope_id, seq, raised_minor, sales_minor, orders, units FROM now_is
)
SELECT * FROM now_is
""")
