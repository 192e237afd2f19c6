"""What standing pledges come to: posted by the sealer itself, from the very sales it is about to publish.

A promise of a part of the revenue that somebody must remember to book is a promise half kept. So whenever a batch
moves a campaign's sales, what each pledge is owed by then is worked out anew and the difference becomes a
transaction of the same batch: at every published number the pledge is right to the last minor unit.
"""

from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from orders.ledger import accounts
from orders.ledger.post import PLEDGE, Posting, post_many
from stream_events.bulk import bulk
from stream_events.split import WHOLE_BP

PLEDGES_PER_CAMPAIGN_MAX: Final = 20


def owed_minor(sales_minor: int, base_minor: int, bp: int) -> int:
    """Return what a pledge has come to: rounded down, and below 0 once sales fall below where it began."""
    return (sales_minor - base_minor) * bp // WHOLE_BP


async def accrue(sql: AsyncSession, campaign_id: str, moved_minor: int, size: int) -> list[str]:
    """Post what the campaign's pledges gain now that its sales move; return the new postings' sources.

    The caller holds the head of the campaign's log, which will have ``size`` leaves before the first of these.
    """
    rows = (await sql.execute(_PLEDGES, {"campaign": campaign_id})).all()
    due = [
        (row, gained)
        for row in rows
        if (gained := _gained_minor(row, row.sales_minor + moved_minor))
    ]
    postings = [
        Posting(
            campaign_id=campaign_id,
            stream_id=campaign_id,
            kind=PLEDGE,
            source_id=f"{row.id}:{size + number}",
            order_id=None,
            currency=row.currency,
            entries=[(accounts.PLATFORM_PLEDGES, gained), (accounts.pledge(row.id), -gained)],
        )
        for number, (row, gained) in enumerate(due)
    ]
    if postings:
        await post_many(sql, postings)
        given = {"ids": [row.id for row, _ in due], "gained": [gained for _, gained in due]}
        await sql.execute(_ADD, given)
    return [posting.source_id for posting in postings]


def _gained_minor(row: Row[Any], sales_minor: int) -> int:
    return owed_minor(sales_minor, row.base_minor, row.bp) - int(row.accrued_minor)


_PLEDGES = text("""
SELECT p.id, p.bp, p.base_minor, p.accrued_minor, c.currency, coalesce(t.sales_minor, 0) AS sales_minor
FROM pledges p
JOIN campaigns c ON c.id = p.campaign_id
LEFT JOIN tallies t ON t.scope_id = p.campaign_id
WHERE p.campaign_id = :campaign
ORDER BY p.id
FOR NO KEY UPDATE OF p
""")
_ADD = bulk("""
UPDATE pledges p SET accrued_minor = p.accrued_minor + u.gained
FROM unnest(CAST(:ids AS text[]), CAST(:gained AS bigint[])) AS u (id, gained)
WHERE p.id = u.id
""")
