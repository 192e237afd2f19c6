"""Sealing: gives posted transactions their numbers and leaves, and moves the totals by exactly them.

Numbers are given under the lock of one row a campaign, to what is committed only, so the log has no gaps and no
reader can skip a late committer. Totals change in the same transaction: at every number that was ever shown, the
tally is what the ledger up to that number adds up to.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import add
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from orders.ledger import post
from orders.ledger.accounts import STRIPE_CLEARING, is_beneficiary
from orders.ledger.accrual import accrue
from orders.ledger.leaf import Leaf, LeafKind, digest_source, encode
from orders.ledger.tree import leaf_hash
from stream_events.bulk import bulk

# What one tick seals of a campaign, and how many campaigns one tick visits; the rest comes a tick later.
BATCH_MAX: Final = 2_048
CAMPAIGNS_MAX: Final = 100

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# Which way a transaction's lines count: a sale begins or comes back, or it is undone.
SALE_SIGNS: Final[Mapping[str, int]] = MappingProxyType(
    {post.CAPTURE: 1, post.REFUND_FAILED: 1, post.REINSTATE: 1, post.REFUND: -1, post.DISPUTE: -1}
)

# A posting is published under the word it was posted under, but for Stripe's fee, whose word is older.
LEAF_KINDS: Final[Mapping[str, LeafKind]] = MappingProxyType(
    {
        kind: LeafKind.FEE if kind == post.STRIPE_FEE else LeafKind(kind)
        for kind in sorted(post.KINDS)
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
    gifts: int
    gifts_minor: int
    matched_minor: int


class _Change(NamedTuple):
    """What transactions add to a scope. ``gifts_minor`` and ``matched_minor`` are parts of ``raised_minor``."""

    raised_minor: int = 0
    sales_minor: int = 0
    orders: int = 0
    units: int = 0
    gifts: int = 0
    gifts_minor: int = 0
    matched_minor: int = 0

    def plus(self, other: "_Change") -> "_Change":
        return _Change(*map(add, self, other))


def _change(row: Row[Any]) -> _Change:
    """Return what one transaction adds. Fees, payouts and pledges move accounts, and no total."""
    if row.kind not in post.RAISED_KINDS:
        return _Change()
    raised_minor = -sum(amount for account, amount in row.entries if is_beneficiary(account))
    if row.kind in post.DONATION_KINDS:
        return _Change(raised_minor, gifts=row.gifts, gifts_minor=raised_minor)
    if row.kind in post.MATCH_KINDS:
        return _Change(raised_minor, matched_minor=raised_minor)
    return _Change(
        raised_minor,
        sales_minor=sum(amount for account, amount in row.entries if account == STRIPE_CLEARING),
        orders=row.orders,
        units=SALE_SIGNS[row.kind] * sum(quantity for _, quantity in row.lines),
    )


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


async def lock_head(sql: AsyncSession, campaign_id: str) -> int:
    """Hold a campaign's log, so that nobody seals in it; return how many leaves it has."""
    await sql.execute(_ADD_HEAD, {"campaign": campaign_id})
    return int((await sql.scalars(_LOCK_HEAD, {"campaign": campaign_id})).one())


async def _seal_campaign(sql: AsyncSession, campaign_id: str) -> list[SealedScope]:
    size = await lock_head(sql, campaign_id)
    # A later statement than the lock, so that it sees what the sealer before us took away.
    given = {"campaign": campaign_id, "batch_max": BATCH_MAX}
    rows = list((await sql.execute(_UNSEALED, given)).all())
    if not rows:
        return []
    changes = [_change(row) for row in rows]
    sales_minor = sum(change.sales_minor for change in changes)
    if sales_minor:
        pledged = await accrue(sql, campaign_id, sales_minor, size + len(rows))
        if pledged:
            given = {"sources": pledged, "batch_max": len(pledged)}
            rows += (await sql.execute(_UNSEALED_BY_SOURCE, given)).all()
            changes += [_Change()] * len(pledged)
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
    return await _add_to_tallies(sql, campaign_id, _by_scope(campaign_id, leaves, changes))


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


def _by_scope(
    campaign_id: str, leaves: Sequence[Leaf], changes: Sequence[_Change]
) -> dict[str, tuple[int, _Change]]:
    """Return each scope's newest number and what it gained. What is of no stream counts for the campaign once."""
    scopes: dict[str, tuple[int, _Change]] = {}
    for leaf, change in zip(leaves, changes, strict=True):
        for scope_id in {campaign_id, leaf.stream_id}:
            before = scopes[scope_id][1] if scope_id in scopes else _Change()
            scopes[scope_id] = (leaf.seq, before.plus(change))
    return scopes


async def _add_to_tallies(
    sql: AsyncSession, campaign_id: str, scopes: Mapping[str, tuple[int, _Change]]
) -> list[SealedScope]:
    scope_ids = sorted(scopes)
    moved = [scopes[scope_id][1] for scope_id in scope_ids]
    rows = await sql.execute(
        _ADD_TO_TALLIES,
        {
            "campaign": campaign_id,
            "scopes": scope_ids,
            "seqs": [scopes[scope_id][0] for scope_id in scope_ids],
            **{name: [getattr(change, name) for change in moved] for name in _Change._fields},
        },
    )
    sealed = [SealedScope(**row._asdict()) for row in rows]
    return sorted(sealed, key=lambda scope: scope.scope_id)


_CAMPAIGNS = text(
    "SELECT DISTINCT campaign_id FROM ledger_unsealed ORDER BY campaign_id LIMIT :campaigns_max"
)
_ADD_HEAD = text("INSERT INTO ledger_heads (campaign_id) VALUES (:campaign) ON CONFLICT DO NOTHING")
_LOCK_HEAD = text("SELECT size FROM ledger_heads WHERE campaign_id = :campaign FOR NO KEY UPDATE")
_WAITING: Final = """
SELECT t.id, t.campaign_id, t.stream_id, t.kind, t.source_id, t.currency, t.lines, t.gifts, t.orders,
       t.commitment, t.posted_at, e.entries
FROM (
    SELECT t.*
    FROM ledger_unsealed u JOIN ledger_transactions t ON t.id = u.transaction_id
    WHERE {which}
    ORDER BY t.posted_at, t.id
    LIMIT :batch_max
) t
CROSS JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_array(account, amount_minor) ORDER BY account) AS entries
    FROM ledger_entries WHERE transaction_id = t.id
) e
ORDER BY t.posted_at, t.id
"""
_UNSEALED = text(_WAITING.format(which="u.campaign_id = :campaign"))
_UNSEALED_BY_SOURCE = bulk(
    _WAITING.format(which="t.kind = 'pledge' AND t.source_id = ANY(CAST(:sources AS text[]))")
)
_INSERT_SEALS = bulk("""
INSERT INTO seals (campaign_id, seq, transaction_id, leaf_hash)
SELECT :campaign, u.* FROM unnest(CAST(:seqs AS bigint[]), CAST(:ids AS text[]), CAST(:hashes AS bytea[])) AS u
""")
_DELETE_UNSEALED = text(
    "DELETE FROM ledger_unsealed WHERE transaction_id = ANY(CAST(:ids AS text[]))"
)
_MOVE_HEAD = text("UPDATE ledger_heads SET size = :size WHERE campaign_id = :campaign")
# The columns of a tally, which history keeps as they are and a tick adds to.
_SUMS: Final = ", ".join(_Change._fields)
_ADD_TO_TALLIES = bulk(f"""
WITH now_is AS (
    INSERT INTO tallies AS t (scope_id, campaign_id, seq, {_SUMS})
    SELECT u.scope_id, :campaign, u.seq, {", ".join(f"u.{name}" for name in _Change._fields)}
    FROM unnest(
        CAST(:scopes AS text[]), CAST(:seqs AS bigint[]),
        {", ".join(f"CAST(:{name} AS bigint[])" for name in _Change._fields)}
    ) AS u (scope_id, seq, {_SUMS})
    ON CONFLICT (scope_id) DO UPDATE SET
        seq = excluded.seq, {", ".join(f"{name} = t.{name} + excluded.{name}" for name in _Change._fields)}
    RETURNING scope_id, campaign_id, seq, {_SUMS}
), history AS (
    INSERT INTO tally_history (scope_id, seq, {_SUMS}) SELECT scope_id, seq, {_SUMS} FROM now_is
)
SELECT * FROM now_is
""")
