"""Matches: a sponsor adds to what others give, within a pot, and takes back exactly what falls away again.

Called by settlement when it saves, so that a gift and what a sponsor adds to it are one transaction. Which matches
an order has a claim on is judged by when it was placed, not by when a bank or a webhook got round to it. Pots are
locked by id, after orders and payments and before stock; without a match for the campaign it costs one statement.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from orders.ledger import accounts, post
from orders.ledger.post import Posting
from stream_events.bulk import bulk
from stream_events.split import WHOLE_BP, largest_remainder

MATCHES_PER_CAMPAIGN_MAX: Final = 20

_BEGINS: Final = frozenset({post.CAPTURE, post.DONATION})
_FALLS: Final = frozenset({post.REFUND, post.DISPUTE, post.DONATION_REFUND, post.DONATION_DISPUTE})
_MOVES: Final = post.SALE_KINDS | post.DONATION_KINDS
_RISES: Final = _MOVES - _BEGINS - _FALLS


class Entered(Protocol):
    """A ledger transaction of an order."""

    @property
    def kind(self) -> str: ...
    @property
    def source_id(self) -> str: ...
    @property
    def entries(self) -> Sequence[tuple[str, int]]: ...


class Books(Protocol):
    """What matching reads of an order's books.

    ``raised_base`` is what the order's payment brought to beneficiaries, by their ids, from what ``covers``
    names: its gift lines (``gifts``), the beneficiaries' shares of its lines, only those of ``skus`` where given
    (``shares``), or both (``all``). ``raised_base_left`` is what is left of that by now.
    """

    @property
    def order_id(self) -> str: ...
    @property
    def stream_id(self) -> str: ...
    @property
    def campaign_id(self) -> str: ...
    @property
    def currency(self) -> str: ...
    @property
    def shopper_id(self) -> str: ...
    @property
    def placed_at(self) -> datetime: ...
    @property
    def postings(self) -> Sequence[Posting]: ...
    @property
    def posted(self) -> Sequence[Entered]: ...
    def raised_base(self, covers: str, skus: Sequence[str] | None) -> Mapping[str, int]: ...
    def raised_base_left(self, covers: str, skus: Sequence[str] | None) -> Mapping[str, int]: ...


@dataclass(slots=True)
class Use:
    """What an order drew from a pot, and how much of it went back."""

    order_id: str
    shopper_id: str
    base_minor: int
    amount_minor: int
    returned_minor: int = 0
    new: bool = False
    changed: bool = False

    @property
    def net_minor(self) -> int:
        """What the order has of the pot now."""
        return self.amount_minor - self.returned_minor


@dataclass(slots=True)
class Pot:
    """A match under its row's lock, with the uses that matter now."""

    id: str
    campaign_id: str
    stream_id: str | None
    covers: str
    skus: Sequence[str] | None
    ratio_bp: int
    pot_minor: int
    spent_minor: int
    per_giver_max_minor: int | None
    starts_at: datetime
    ends_at: datetime | None
    uses: dict[str, Use] = field(default_factory=dict)
    # By giver, what orders besides those in ``uses`` have of the pot.
    elsewhere: Counter[str] = field(default_factory=Counter)
    changed: bool = False

    def is_open_to(self, books: Books) -> bool:
        """Return whether the order has a claim: of this campaign and stream, placed within the window."""
        return (
            books.campaign_id == self.campaign_id
            and self.stream_id in {None, books.stream_id}
            and self.starts_at <= books.placed_at
            and (self.ends_at is None or books.placed_at < self.ends_at)
        )

    def left_minor(self, shopper_id: str) -> int:
        """Return what this giver may still draw: no more than is in the pot, nor than the giver's bound allows."""
        left_minor = self.pot_minor - self.spent_minor
        if self.per_giver_max_minor is None:
            return left_minor
        own = sum(use.net_minor for use in self.uses.values() if use.shopper_id == shopper_id)
        used_minor = self.elsewhere[shopper_id] + own
        return max(0, min(left_minor, self.per_giver_max_minor - used_minor))

    def draw(self, order_id: str, shopper_id: str, base_minor: int) -> int:
        """Match a base for the first time; return by how much."""
        wanted_minor = base_minor * self.ratio_bp // WHOLE_BP
        drawn_minor = min(wanted_minor, self.left_minor(shopper_id))
        if drawn_minor > 0:
            self.uses[order_id] = Use(order_id, shopper_id, base_minor, drawn_minor, new=True)
            self._spend(drawn_minor)
        return drawn_minor

    def follow(self, use: Use, base_left_minor: int, *, rising: bool) -> int:
        """Take back what a smaller base no longer earns, or give again to one that came back; return the change.

        What was given to others meanwhile stays theirs: a base that comes back gets what the pot still has.
        """
        kept_minor = min(max(0, base_left_minor), use.base_minor)
        change_minor = use.amount_minor * kept_minor // use.base_minor - use.net_minor
        if change_minor > 0:
            change_minor = min(change_minor, self.left_minor(use.shopper_id)) if rising else 0
        if change_minor:
            use.returned_minor -= change_minor
            use.changed = True
            self._spend(change_minor)
        return change_minor

    def _spend(self, amount_minor: int) -> None:
        self.spent_minor += amount_minor
        self.changed = True


def matched(pots: Sequence[Pot], books: Books) -> list[Posting]:
    """Return what the pots add to or take back from one order for what it is about to post, in the pots' order."""
    causes = [posting for posting in books.postings if posting.kind in _MOVES]
    postings = []
    for pot in pots if causes else ():
        begun = _begin(pot, books, causes)
        use = pot.uses.get(books.order_id)
        followed = _follow(pot, use, books, causes, begun) if use is not None else []
        postings += [*begun, *followed]
    return postings


def _begin(pot: Pot, books: Books, causes: Sequence[Posting]) -> list[Posting]:
    begun = [posting for posting in causes if posting.kind in _BEGINS]
    if not begun or books.order_id in pot.uses or not pot.is_open_to(books):
        return []
    base = books.raised_base(pot.covers, pot.skus)
    drawn_minor = pot.draw(books.order_id, books.shopper_id, sum(base.values()))
    if drawn_minor <= 0:
        return []
    return [_posting(pot, books, post.MATCH, begun[0], drawn_minor, _parts(drawn_minor, base))]


def _follow(
    pot: Pot, use: Use, books: Books, causes: Sequence[Posting], begun: Sequence[Posting]
) -> list[Posting]:
    rises = [posting for posting in causes if posting.kind in _RISES]
    falls = [posting for posting in causes if posting.kind in _FALLS]
    if not rises and not falls:
        return []
    left = books.raised_base_left(pot.covers, pot.skus)
    change_minor = pot.follow(use, sum(left.values()), rising=bool(rises))
    if not change_minor:
        return []
    # Each beneficiary has the part of the match that its part of the base earns, also when one gift of several
    # went back; what it has by now is what the books say.
    parts = Counter(_parts(use.net_minor, left))
    parts.subtract(_credited(pot, [*books.posted, *begun]))
    kind, cause = (
        (post.MATCH_RESTORED, (rises or falls)[-1])
        if change_minor > 0
        else (post.MATCH_REVERSED, (falls or rises)[-1])
    )
    return [_posting(pot, books, kind, cause, change_minor, parts)]


def _credited(pot: Pot, posted: Sequence[Entered]) -> Counter[str]:
    """Return what each beneficiary has of this match by what was posted for the order."""
    credited: Counter[str] = Counter()
    for entered in posted:
        if entered.kind in post.MATCH_KINDS and entered.source_id.endswith(f":{pot.id}"):
            for account, amount_minor in entered.entries:
                if accounts.is_beneficiary(account):
                    credited[account] -= amount_minor
    return credited


def _parts(amount_minor: int, base: Mapping[str, int]) -> dict[str, int]:
    """Split an amount over the accounts of a base's beneficiaries, in proportion to what it has of each."""
    given = {accounts.beneficiary(key): minor for key, minor in sorted(base.items()) if minor > 0}
    if not given:
        return {}
    parts = largest_remainder(amount_minor, list(given.values()))
    return dict(zip(given, parts, strict=True))


def _posting(
    pot: Pot,
    books: Books,
    kind: str,
    cause: Posting,
    amount_minor: int,
    parts: Mapping[str, int],
) -> Posting:
    credits_ = [(account, -part) for account, part in sorted(parts.items())]
    return Posting(
        campaign_id=books.campaign_id,
        stream_id=books.stream_id,
        kind=kind,
        source_id=f"{cause.source_id}:{pot.id}",
        order_id=books.order_id,
        currency=books.currency,
        entries=[(accounts.sponsor(pot.id), amount_minor), *credits_],
    )


async def match_books(sql: AsyncSession, books: Sequence[Books]) -> list[Posting]:
    """Move the pots by what these orders are about to post; return the postings that go with it.

    The caller holds the orders' locks and posts what is returned in the same transaction.
    """
    moving = [each for each in books if any(posting.kind in _MOVES for posting in each.postings)]
    if not moving:
        return []
    pots = await _lock_pots(sql, moving)
    if not pots:
        return []
    postings = [posting for each in moving for posting in matched(pots, each)]
    await _save(sql, pots)
    return postings


async def lock_pots_early(sql: AsyncSession, campaign_ids: Collection[str]) -> None:
    """Lock all pots that orders of these campaigns may move, for whoever must lock stock before it knows which."""
    await sql.execute(_ALL_POTS, {"campaigns": sorted(set(campaign_ids))})


async def _lock_pots(sql: AsyncSession, books: Sequence[Books]) -> list[Pot]:
    """Lock every pot that these orders may draw from or have drawn from; return them in the order they count."""
    orders = [each.order_id for each in books]
    locked = await sql.execute(
        _POTS,
        {
            "campaigns": sorted({each.campaign_id for each in books}),
            "orders": orders,
            "first_at": min(each.placed_at for each in books),
            "last_at": max(each.placed_at for each in books),
        },
    )
    rows = sorted(locked.all(), key=lambda row: (row.position, row.id))
    pots = {row.id: _pot(row) for row in rows}
    if not pots:
        return []
    # In a later statement than the lock, which sees what the last holder of the pot did.
    given = {
        "matches": list(pots),
        "orders": orders,
        "bounded": [row.id for row in rows if row.per_giver_max_minor is not None],
        "shoppers": sorted({each.shopper_id for each in books}),
    }
    own = set(orders)
    for row in await sql.execute(_USES, given):
        pot = pots[row.match_id]
        use = Use(
            row.order_id, row.shopper_id, row.base_minor, row.amount_minor, row.returned_minor
        )
        if use.order_id in own:
            pot.uses[use.order_id] = use
        else:
            pot.elsewhere[use.shopper_id] += use.net_minor
    return list(pots.values())


def _pot(row: Row[Any]) -> Pot:
    return Pot(
        id=row.id,
        campaign_id=row.campaign_id,
        stream_id=row.stream_id,
        covers=row.covers,
        skus=row.skus,
        ratio_bp=row.ratio_bp,
        pot_minor=row.pot_minor,
        spent_minor=row.spent_minor,
        per_giver_max_minor=row.per_giver_max_minor,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
    )


async def _save(sql: AsyncSession, pots: Sequence[Pot]) -> None:
    changed = [pot for pot in pots if pot.changed]
    if not changed:
        return
    columns: defaultdict[str, list[Any]] = defaultdict(list)
    for pot in changed:
        for use in pot.uses.values():
            if use.new or use.changed:
                columns["matches"].append(pot.id)
                columns["orders"].append(use.order_id)
                columns["shoppers"].append(use.shopper_id)
                columns["bases"].append(use.base_minor)
                columns["amounts"].append(use.amount_minor)
                columns["returned"].append(use.returned_minor)
    await sql.execute(_SAVE_USES, dict(columns))
    spent = {"ids": [pot.id for pot in changed], "spent": [pot.spent_minor for pot in changed]}
    await sql.execute(_SAVE_POTS, spent)


_ALL_POTS = bulk("""
SELECT id FROM matches WHERE campaign_id = ANY(CAST(:campaigns AS text[])) ORDER BY id FOR NO KEY UPDATE
""")
_POTS = bulk("""
SELECT m.id, m.campaign_id, m.stream_id, m.covers, m.skus, m.ratio_bp, m.pot_minor, m.spent_minor,
       m.per_giver_max_minor, m.position, m.starts_at, m.ends_at
FROM matches m
WHERE m.campaign_id = ANY(CAST(:campaigns AS text[]))
  AND ((m.spent_minor < m.pot_minor AND m.starts_at <= :last_at AND (m.ends_at IS NULL OR m.ends_at > :first_at))
       OR EXISTS (SELECT FROM match_uses u WHERE u.match_id = m.id AND u.order_id = ANY(CAST(:orders AS text[]))))
ORDER BY m.id
FOR NO KEY UPDATE OF m
""")
_USES = bulk("""
SELECT match_id, order_id, shopper_id, base_minor, amount_minor, returned_minor FROM match_uses
WHERE match_id = ANY(CAST(:matches AS text[])) AND order_id = ANY(CAST(:orders AS text[]))
UNION ALL
SELECT match_id, order_id, shopper_id, base_minor, amount_minor, returned_minor FROM match_uses
WHERE match_id = ANY(CAST(:bounded AS text[])) AND shopper_id = ANY(CAST(:shoppers AS text[]))
  AND NOT order_id = ANY(CAST(:orders AS text[]))
""")
_SAVE_USES = bulk("""
INSERT INTO match_uses (match_id, order_id, shopper_id, base_minor, amount_minor, returned_minor)
SELECT * FROM unnest(
    CAST(:matches AS text[]), CAST(:orders AS text[]), CAST(:shoppers AS text[]), CAST(:bases AS bigint[]),
    CAST(:amounts AS bigint[]), CAST(:returned AS bigint[])
)
ON CONFLICT (match_id, order_id) DO UPDATE SET returned_minor = excluded.returned_minor
""")
_SAVE_POTS = bulk("""
UPDATE matches m SET spent_minor = u.spent
FROM unnest(CAST(:ids AS text[]), CAST(:spent AS bigint[])) AS u (id, spent)
WHERE m.id = u.id
""")
