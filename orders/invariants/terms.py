"""I21 and I32: what came in was divided as its terms say, and Stripe's fee was borne by whom they name.

The divisions are worked out here anew from the order's lines and gifts and the terms they were made on, with none
of the code that posted them.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from orders.invariants.finding import Finding, breaches, capped

CLEARING: Final = "stripe/clearing"
CHUNK: Final = 2_000

# Which accounts each kind of transaction may touch, by the beginning of their names.
_SALE: Final = ("stripe/clearing", "farmer/", "beneficiary/", "platform/fees", "platform/shipping")
_GIFT: Final = ("stripe/clearing", "beneficiary/", "platform/fees")
_DUE: Final = ("stripe/clearing", "platform/due_back", "platform/fees")
_TOUCHED: Final[Mapping[str, Sequence[str]]] = {
    **dict.fromkeys(("capture", "refund", "refund_failed", "dispute", "reinstate"), _SALE),
    "donation": _GIFT,
    **{f"donation_{turn}": _GIFT for turn in ("refund", "refund_failed", "dispute", "reinstate")},
    "surplus": _DUE,
    **{f"surplus_{turn}": _DUE for turn in ("refund", "refund_failed", "dispute", "reinstate")},
    **dict.fromkeys(("match", "match_reversed", "match_restored"), ("sponsor/", "beneficiary/")),
    "stripe_fee": ("stripe/clearing", "stripe/fees", "farmer/", "beneficiary/"),
    "pledge": ("platform/pledges", "pledge/"),
    "payout": ("bank/clearing", "farmer/", "beneficiary/", "pledge/"),
    "sponsor_paid": ("bank/clearing", "sponsor/"),
}


@dataclass(slots=True)
class _Made:
    """What an order was made of."""

    lines: list[Row[Any]] = field(default_factory=list)
    gifts: list[Row[Any]] = field(default_factory=list)
    shipping_minor: int = 0


async def i21(sql: AsyncSession) -> Finding:
    """Each payment is split as its lines' terms and its gifts say, to the last minor unit, and in one currency."""
    lines: list[str] = []
    figures = {"captures": 0, "donations": 0, "amount_minor": 0}
    async for transaction, made in _transactions(sql, ("capture", "donation")):
        entries = dict(transaction.entries or ())
        figures[f"{transaction.kind}s"] += 1
        figures["amount_minor"] += entries.get(CLEARING, 0)
        expected = _captured(made) if transaction.kind == "capture" else _donated(made)
        if entries != expected:
            lines.append(
                f"{transaction.kind} of order {transaction.order_id}: posted {entries},"
                f" its terms give {expected}"
            )
    return Finding(
        "I21",
        "payments are split by their terms, in one currency",
        figures,
        [
            *capped(lines),
            *await breaches(sql, "currencies mixed", _MIXED),
            *await breaches(sql, "no such account", _FOREIGN),
            *await breaches(
                sql,
                "an account that this kind never touches",
                _TRESPASSING,
                kinds=[kind for kind, names in _TOUCHED.items() for _ in names],
                names=[name for names in _TOUCHED.values() for name in names],
            ),
            *await breaches(sql, "more taken back from a share than it had", _OVERTAKEN),
            *await breaches(sql, "all went back, and a share stayed", _LEFT_OVER),
        ],
    )


async def i32(sql: AsyncSession) -> Finding:
    """Stripe's fee of each payment is borne by whom the terms name, in proportion to what was paid for what."""
    lines: list[str] = []
    figures = {"fees": 0, "fees_minor": 0}
    async for transaction, made in _transactions(sql, ("stripe_fee",)):
        entries = dict(transaction.entries or ())
        fee_minor = -entries.get(CLEARING, 0)
        figures["fees"] += 1
        figures["fees_minor"] += fee_minor
        if not transaction.of_sale:
            right = [{CLEARING: -fee_minor, "stripe/fees": fee_minor}]
        else:
            # Who bears it for gifts is a campaign's setting and may have changed since: either is right.
            right = [_borne(made, fee_minor, payer) for payer in ("platform", "beneficiary")]
        if entries not in right:
            lines.append(f"fee {transaction.source_id}: posted {entries}, due {right[0]}")
    return Finding("I32", "Stripe's fees are borne as the terms say", figures, capped(lines))


async def _transactions(
    sql: AsyncSession, kinds: Sequence[str]
) -> AsyncIterator[tuple[Row[Any], _Made]]:
    """Yield every transaction of these kinds that is of an order, with what the order was made of."""
    after = ""
    given = {"kinds": list(kinds), "chunk": CHUNK}
    while rows := (await sql.execute(_TRANSACTIONS, {**given, "after": after})).all():
        after = rows[-1].id
        made: defaultdict[str, _Made] = defaultdict(_Made)
        orders = {"orders": sorted({row.order_id for row in rows})}
        for line in await sql.execute(_LINES, orders):
            made[line.order_id].lines.append(line)
        for gift in await sql.execute(_GIFTS, orders):
            made[gift.order_id].gifts.append(gift)
        for row in rows:
            made[row.order_id].shipping_minor = row.shipping_minor
            yield row, made[row.order_id]


def _captured(made: _Made) -> dict[str, int]:
    """Return the entries of a capture: each line by its terms, and what the carrier gets."""
    parts: Counter[str] = Counter()
    for line in made.lines:
        farmer, beneficiary, fees = _shares(line)
        parts[CLEARING] += line.amount_minor
        parts[f"farmer/{line.farmer_id}"] -= farmer
        parts[f"beneficiary/{line.beneficiary_id}"] -= beneficiary
        parts["platform/fees"] -= fees
    parts[CLEARING] += made.shipping_minor
    parts["platform/shipping"] -= made.shipping_minor
    return {account: amount for account, amount in parts.items() if amount}


def _donated(made: _Made) -> dict[str, int]:
    parts: Counter[str] = Counter()
    for gift in made.gifts:
        parts[CLEARING] += gift.amount_minor
        parts[f"beneficiary/{gift.beneficiary_id}"] -= gift.amount_minor
    return dict(parts)


def _shares(line: Row[Any]) -> tuple[int, int, int]:
    """Return the farmer's, the beneficiary's and the fees' part of a line."""
    units = line.quantity
    farmer = (line.farmer_fixed_minor or 0) * units
    beneficiary = (line.beneficiary_fixed_minor or 0) * units
    by_bp = (line.farmer_bp, line.beneficiary_bp, line.fees_bp)
    rest = _divided(line.amount_minor - farmer - beneficiary, by_bp)
    farmer, beneficiary, fees = farmer + rest[0], beneficiary + rest[1], rest[2]
    if line.beneficiary_cap_minor is not None:
        beneficiary, above = min(beneficiary, line.beneficiary_cap_minor * units), beneficiary
        farmer += above - beneficiary
    missing = max(0, (line.farmer_floor_minor or 0) * units - farmer)
    given_up = min(missing, beneficiary)
    return farmer + missing, beneficiary - given_up, fees - (missing - given_up)


def _borne(made: _Made, fee_minor: int, gift_payer: str) -> dict[str, int]:
    """Return the entries of a fee: divided over lines by SKU, shipping and gifts, then put on who bears each."""
    bearers = [(line.amount_minor, _bearer(line, line.fee_payer)) for line in made.lines]
    bearers.append((made.shipping_minor, "stripe/fees"))
    bearers += [(gift.amount_minor, _bearer(gift, gift_payer)) for gift in made.gifts]
    parts: Counter[str] = Counter({CLEARING: -fee_minor})
    divided = _divided(fee_minor, [amount for amount, _ in bearers])
    for (_, account), part in zip(bearers, divided, strict=True):
        parts[account] += part
    return {account: amount for account, amount in parts.items() if amount}


def _bearer(part: Row[Any], payer: str) -> str:
    if payer == "platform":
        return "stripe/fees"
    return f"farmer/{part.farmer_id}" if payer == "farmer" else f"beneficiary/{part.beneficiary_id}"


def _divided(total: int, weights: Sequence[int]) -> list[int]:
    """Divide a total by weights; what rounding down leaves over goes out singly, to who lost most, ties as listed."""
    whole = sum(weights)
    if not whole:
        return [0] * len(weights)
    parts = [total * weight // whole for weight in weights]
    losers = sorted(range(len(weights)), key=lambda index: -(total * weights[index] % whole))
    for index in losers[: total - sum(parts)]:
        parts[index] += 1
    return parts


_MIXED: Final = """
    SELECT t.id AS transaction_id, t.currency, c.currency AS campaign, o.currency AS order_currency
    FROM ledger_transactions t
    JOIN campaigns c ON c.id = t.campaign_id
    LEFT JOIN orders o ON o.id = t.order_id
    WHERE t.currency <> c.currency OR (o.id IS NOT NULL AND o.currency <> t.currency)
"""
_FOREIGN: Final = """
    SELECT e.transaction_id, e.account FROM ledger_entries e
    WHERE e.account NOT IN ('stripe/clearing', 'stripe/fees', 'platform/fees', 'platform/shipping',
                            'platform/pledges', 'platform/due_back', 'bank/clearing')
      AND NOT EXISTS (SELECT 1 FROM farmers f WHERE e.account = 'farmer/' || f.id)
      AND NOT EXISTS (SELECT 1 FROM beneficiaries b WHERE e.account = 'beneficiary/' || b.id)
      AND NOT EXISTS (SELECT 1 FROM matches m WHERE e.account = 'sponsor/' || m.id)
      AND NOT EXISTS (SELECT 1 FROM pledges p WHERE e.account = 'pledge/' || p.id)
"""
_TRESPASSING: Final = """
    SELECT found.kind, found.name, found.transaction_id FROM (
        SELECT t.kind, CASE WHEN e.account ~ '^(farmer|beneficiary|sponsor|pledge)/'
                            THEN split_part(e.account, '/', 1) || '/' ELSE e.account END AS name,
               min(t.id) AS transaction_id
        FROM ledger_transactions t JOIN ledger_entries e ON e.transaction_id = t.id
        GROUP BY 1, 2
    ) found
    WHERE NOT EXISTS (
        SELECT 1 FROM unnest(CAST(:kinds AS text[]), CAST(:names AS text[])) AS a (kind, name)
        WHERE a.kind = found.kind AND a.name = found.name)
"""
# What an order's goods and gifts brought each account, and what is left of it.
_KEPT: Final = """
    SELECT t.order_id, e.account, -sum(e.amount_minor) AS kept_minor
    FROM ledger_transactions t JOIN ledger_entries e ON e.transaction_id = t.id
    WHERE t.order_id IS NOT NULL
      AND (t.kind LIKE 'donation%' OR t.kind IN ('capture', 'refund', 'refund_failed', 'dispute', 'reinstate'))
    GROUP BY t.order_id, e.account
"""
_OVERTAKEN: Final = f"""
    SELECT k.order_id, k.account, k.kept_minor FROM ({_KEPT}) k
    WHERE k.kept_minor < 0 AND k.account NOT IN ('stripe/clearing', 'platform/fees')
"""
_LEFT_OVER: Final = f"""
    SELECT k.order_id, k.account, k.kept_minor FROM ({_KEPT}) k
    WHERE k.kept_minor <> 0 AND k.account <> 'stripe/clearing'
      AND NOT EXISTS (
        SELECT 1 FROM ({_KEPT}) c
        WHERE c.order_id = k.order_id AND c.account = 'stripe/clearing' AND c.kept_minor <> 0)
"""
_TRANSACTIONS = text("""
SELECT t.id, t.kind, t.source_id, t.order_id, o.shipping_minor,
       EXISTS (SELECT 1 FROM ledger_transactions s WHERE s.order_id = t.order_id AND s.source_id = t.source_id
                 AND s.kind IN ('capture', 'donation')) AS of_sale,
       (SELECT jsonb_agg(jsonb_build_array(e.account, e.amount_minor))
        FROM ledger_entries e WHERE e.transaction_id = t.id) AS entries
FROM ledger_transactions t JOIN orders o ON o.id = t.order_id
WHERE t.kind = ANY(CAST(:kinds AS text[])) AND t.id > :after ORDER BY t.id LIMIT :chunk
""")
_LINES = text("""
SELECT l.order_id, l.quantity, l.amount_minor, t.farmer_id, t.beneficiary_id, t.fee_payer,
       t.farmer_bp, t.beneficiary_bp, t.fees_bp, t.beneficiary_fixed_minor, t.farmer_fixed_minor,
       t.beneficiary_cap_minor, t.farmer_floor_minor
FROM order_lines l
JOIN stock s ON s.id = l.stock_id
JOIN offer_terms t ON t.id = l.terms_id
WHERE l.order_id = ANY(CAST(:orders AS text[]))
ORDER BY l.order_id, s.sku
""")
_GIFTS = text("""
SELECT order_id, beneficiary_id, amount_minor FROM order_gifts
WHERE order_id = ANY(CAST(:orders AS text[]))
ORDER BY order_id, n
""")
