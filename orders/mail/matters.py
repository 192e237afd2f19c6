"""What a mail speaks of, read from the order and the books at the moment it is written.

Amounts come from the ledger's entries alone, so that no mail can name a sum that the books do not hold.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from inventory.tax import tax_part
from orders.ledger import accounts, post
from orders.mail.letters import BoughtLine, Matter, Named, Share, platform_name
from orders.mail.outbox import MailKind
from orders.order_links import link
from stream_events.access import Signer
from stream_events.links import Links

_OF_KIND: Final[dict[MailKind, tuple[str, ...]]] = {
    "paid": (post.CAPTURE, post.DONATION, post.MATCH),
    "sold_nothing": (post.SURPLUS,),
    "refunded": (post.REFUND, post.DONATION_REFUND, post.SURPLUS_REFUND),
    "cancelled": (),
    "refund_declined": (),
}


async def matter_of(
    sql: AsyncSession, signer: Signer, links: Links, order_id: str, kind: MailKind, source_id: str
) -> Matter:
    """Return what a mail of this kind on this fact says."""
    order = (await sql.execute(_ORDER, {"order": order_id})).one()
    given = {"order": order_id, "source": source_id, "kinds": list(_OF_KIND[kind])}
    entries = (await sql.execute(_ENTRIES, given)).all()
    told = Matter(
        kind=kind,
        order_id=order_id,
        placed_at=order.placed_at,
        campaign=Named(order.campaign, order.campaign_zh),
        seller=order.seller,
        refund_terms=Named(order.refund_terms, order.refund_terms_zh)
        if order.refund_terms
        else None,
        currency=order.currency,
        amount_minor=abs(_sum(entries, accounts.STRIPE_CLEARING)),
        link=link(signer, links, order_id),
        test=links.mode == "sandbox",
    )
    return told if kind != "paid" else await _receipt(sql, told, order, entries)


async def _receipt(
    sql: AsyncSession, told: Matter, order: Row[Any], entries: Sequence[Row[Any]]
) -> Matter:
    lines = await sql.execute(_LINES, {"order": told.order_id})
    gifts = (await sql.execute(_GIFTS, {"order": told.order_id})).all()
    return replace(
        told,
        total_minor=order.total_minor,
        lines=tuple(
            BoughtLine(
                Named(row.name, row.name_zh),
                Named(row.unit, row.unit_zh),
                row.quantity,
                row.amount_minor,
                tax_part(row.amount_minor, row.tax_bp),
            )
            for row in lines
        ),
        gifts=tuple(
            Share("beneficiary", Named(row.name, row.name_zh), row.amount_minor) for row in gifts
        ),
        shipping_minor=order.shipping_minor,
        shares=await _shares(sql, entries),
    )


async def _shares(sql: AsyncSession, entries: Sequence[Row[Any]]) -> tuple[Share, ...]:
    """Return who gets what: each account's credits, and what sponsors add on top."""
    sums: defaultdict[tuple[str, str], int] = defaultdict(int)
    for row in entries:
        if row.account != accounts.STRIPE_CLEARING:
            sums[accounts.parse(row.account)] -= row.amount_minor
    names = {
        (row.kind, row.id): Named(row.name, row.name_zh)
        for row in await sql.execute(_NAMES, {"ids": sorted(rest for _, rest in sums)})
    }
    return tuple(
        Share(kind, names.get((kind, rest)) or platform_name(rest), abs(amount_minor))
        for (kind, rest), amount_minor in sorted(sums.items())
        if amount_minor
    )


def _sum(entries: Sequence[Row[Any]], account: str) -> int:
    return sum(row.amount_minor for row in entries if row.account == account)


_ORDER = text("""
SELECT o.placed_at, o.currency, o.total_minor, o.shipping_minor, c.name AS campaign, c.name_zh AS campaign_zh,
       c.seller, c.refund_terms, c.refund_terms_zh
FROM orders o JOIN streams s ON s.id = o.stream_id JOIN campaigns c ON c.id = s.campaign_id
WHERE o.id = :order
""")
# A match posts under its cause's id and its own.
_ENTRIES = text("""
SELECT e.account, e.amount_minor
FROM ledger_transactions t JOIN ledger_entries e ON e.transaction_id = t.id
WHERE t.order_id = :order AND t.kind = ANY(CAST(:kinds AS text[]))
  AND (t.source_id = :source OR starts_with(t.source_id, CAST(:source AS text) || ':'))
ORDER BY t.id, e.account
""")
_LINES = text("""
SELECT p.name, p.name_zh, p.unit, p.unit_zh, l.quantity, l.amount_minor, t.tax_bp
FROM order_lines l
JOIN stock k ON k.id = l.stock_id
JOIN offers f ON f.id = k.offer_id
JOIN products p ON p.id = f.product_id
JOIN offer_terms t ON t.id = l.terms_id
WHERE l.order_id = :order
ORDER BY k.sku
""")
_GIFTS = text("""
SELECT b.name, b.name_zh, g.amount_minor
FROM order_gifts g JOIN beneficiaries b ON b.id = g.beneficiary_id
WHERE g.order_id = :order
ORDER BY g.n
""")
_NAMES = text("""
SELECT 'farmer' AS kind, id, name, name_zh FROM farmers WHERE id = ANY(CAST(:ids AS text[]))
UNION ALL
SELECT 'beneficiary', id, name, name_zh FROM beneficiaries WHERE id = ANY(CAST(:ids AS text[]))
UNION ALL
SELECT 'sponsor', id, sponsor, sponsor_zh FROM matches WHERE id = ANY(CAST(:ids AS text[]))
""")
