"""How much moved, by stream, kind of posting and class of account: what sums of any shape are made of.

The totals on screen are added up as the books are sealed, and kept. Here the same totals come from the entries
themselves by another way, so that one of the two being wrong is seen.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from orders.ledger import post

CLEARING: Final = "stripe/clearing"
BENEFICIARY: Final = "beneficiary"

_BACK: Final = frozenset({post.REFUND, post.DISPUTE})


@dataclass(frozen=True, slots=True)
class Movement:
    """What entries of one class of account add up to: debit > 0, credit < 0. ``part`` 0 comes first in time."""

    stream_id: str
    currency: str
    kind: str
    account_class: str
    part: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Counted:
    """What transactions counted: orders of goods and gifts that began to stand or fell, and units in either way."""

    stream_id: str
    currency: str
    kind: str
    part: int
    orders: int
    units: int
    gifts: int


@dataclass(frozen=True, slots=True)
class Derived:
    """The totals of a screen, from the entries."""

    raised_minor: int
    sales_minor: int
    orders: int
    units: int
    gifts: int
    gifts_minor: int
    matched_minor: int


async def read_movements(
    sql: AsyncSession,
    campaign_id: str,
    to_seq: int,
    *,
    bounds: tuple[int, int] = (0, 0),
    host_id: str | None = None,
) -> tuple[list[Movement], list[Counted]]:
    """Return what moved up to ``to_seq`` in three parts: up to the first bound, up to the second, and after.

    With ``host_id`` only in that host's streams.
    """
    given = {
        "campaign": campaign_id,
        "to_seq": to_seq,
        "first": bounds[0],
        "second": bounds[1],
        "host": host_id,
    }
    moved = [Movement(*row) for row in await sql.execute(_MOVEMENTS, given)]
    return moved, [Counted(*row) for row in await sql.execute(_COUNTED, given)]


def total(movements: Iterable[Movement], counts: Callable[[Movement], bool]) -> int:
    """Return the sum of the movements that count; credits are negative."""
    return sum(each.amount_minor for each in movements if counts(each))


def derive(movements: Iterable[Movement], counted: Iterable[Counted]) -> Derived:
    """Return the totals that these movements make."""
    moved = list(movements)
    raised = [
        each
        for each in moved
        if each.account_class == BENEFICIARY and each.kind in post.RAISED_KINDS
    ]
    counts = list(counted)
    return Derived(
        raised_minor=-total(raised, lambda _: True),
        sales_minor=total(
            moved, lambda each: each.account_class == CLEARING and each.kind in post.SALE_KINDS
        ),
        orders=sum(each.orders for each in counts),
        units=sum(
            -each.units if each.kind in _BACK else each.units
            for each in counts
            if each.kind in post.SALE_KINDS
        ),
        gifts=sum(each.gifts for each in counts),
        gifts_minor=-total(raised, lambda each: each.kind in post.DONATION_KINDS),
        matched_minor=-total(raised, lambda each: each.kind in post.MATCH_KINDS),
    )


_PART: Final = "CASE WHEN s.seq <= :first THEN 0 WHEN s.seq <= :second THEN 1 ELSE 2 END"
_WHERE: Final = """
    WHERE s.campaign_id = :campaign AND s.seq <= :to_seq
      AND (CAST(:host AS text) IS NULL
           OR t.stream_id IN (SELECT id FROM streams WHERE campaign_id = :campaign AND host_id = :host))
"""
# Added up by account first: telling classes apart is dear, and accounts are few where entries are many.
_MOVEMENTS = text(f"""
    SELECT stream_id, currency, kind,
           CASE WHEN split_part(account, '/', 1) IN ('farmer', 'beneficiary', 'sponsor', 'pledge')
                THEN split_part(account, '/', 1) ELSE account END AS account_class,
           part, CAST(sum(amount_minor) AS bigint) AS amount_minor
    FROM (
        SELECT t.stream_id, t.currency, t.kind, e.account, {_PART} AS part, sum(e.amount_minor) AS amount_minor
        FROM seals s
        JOIN ledger_transactions t ON t.id = s.transaction_id
        JOIN ledger_entries e ON e.transaction_id = t.id
        {_WHERE}
        GROUP BY t.stream_id, t.currency, t.kind, e.account, part
    ) by_account
    GROUP BY 1, 2, 3, 4, 5
""")
_COUNTED = text(f"""
    SELECT stream_id, currency, kind, part, CAST(sum(orders) AS bigint) AS orders,
           CAST(coalesce(sum(times * (SELECT sum(CAST(line ->> 1 AS bigint)) FROM jsonb_array_elements(lines) AS line)),
                         0) AS bigint) AS units,
           CAST(sum(gifts) AS bigint) AS gifts
    FROM (
        SELECT t.stream_id, t.currency, t.kind, t.lines, {_PART} AS part,
               count(*) AS times, sum(t.orders) AS orders, sum(t.gifts) AS gifts
        FROM seals s JOIN ledger_transactions t ON t.id = s.transaction_id
        {_WHERE}
        GROUP BY t.stream_id, t.currency, t.kind, t.lines, part
    ) alike
    GROUP BY 1, 2, 3, 4
""")
