"""The open order that a shopper has already when the limit refuses the same wish under a new key.

So nobody is blocked by oneself: whoever lost the answer, and the key with it, gets the order that stands.
"""

from sqlalchemy.ext.asyncio import AsyncSession

from orders.baskets import Basket, Quote
from orders.placements import Placed
from orders.writer_transaction import stored
from stream_events.bulk import bulk

_SAME = bulk("""
    SELECT o.id AS order_id, o.total_minor, o.currency, o.place, o.placed_at, o.shipping_minor,
           l.skus, l.quantities, l.amounts, l.taxes, g.kinds, g.beneficiaries, g.gifts_minor
    FROM orders o
    CROSS JOIN LATERAL (
        SELECT array_agg(s.sku ORDER BY s.sku COLLATE "C") AS skus,
               array_agg(x.quantity ORDER BY s.sku COLLATE "C") AS quantities,
               array_agg(x.amount_minor ORDER BY s.sku COLLATE "C") AS amounts,
               array_agg(t.tax_bp ORDER BY s.sku COLLATE "C") AS taxes
        FROM order_lines x JOIN stock s ON s.id = x.stock_id JOIN offer_terms t ON t.id = x.terms_id
        WHERE x.order_id = o.id
    ) l
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(x.kind ORDER BY x.n), '{}') AS kinds,
               coalesce(array_agg(x.beneficiary_id ORDER BY x.n), '{}') AS beneficiaries,
               coalesce(array_agg(x.amount_minor ORDER BY x.n), '{}') AS gifts_minor
        FROM order_gifts x WHERE x.order_id = o.id
    ) g
    WHERE o.shopper_id = :shopper_id AND o.stream_id = :stream_id
      AND o.state IN ('RESERVED', 'AWAITING_PAYMENT', 'PROCESSING')
      AND l.skus = CAST(:skus AS varchar[]) AND l.quantities = CAST(:quantities AS int[])
      AND g.kinds = CAST(:kinds AS varchar[]) AND g.beneficiaries = CAST(:beneficiaries AS varchar[])
      AND g.gifts_minor = CAST(:gifts_minor AS bigint[])
    ORDER BY o.id LIMIT 1
""")


async def find_same(
    sql: AsyncSession, stream_id: str, shopper_id: str, basket: Basket, quote: Quote
) -> Placed | None:
    """Return the shopper's oldest unpaid order of exactly these lines and gifts, or None."""
    found = await sql.execute(
        _SAME,
        {
            "shopper_id": shopper_id,
            "stream_id": stream_id,
            "skus": list(basket.skus),
            "quantities": [quantity for _, quantity in basket.lines],
            "kinds": [gift.kind for gift in quote.gifts],
            "beneficiaries": [gift.beneficiary_id for gift in quote.gifts],
            "gifts_minor": [gift.amount_minor for gift in quote.gifts],
        },
    )
    row = found.mappings().one_or_none()
    return None if row is None else stored(row)
