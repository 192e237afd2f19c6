"""The entries a statement is made of: whose they are, and the rows of the books between two numbers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from orders.answers.instants import read_campaign
from orders.answers.schemas import PartyKind, SalesSplitOut
from orders.ledger import accounts, post
from stream_events.errors import not_found
from stream_events.split import ShareRule, split

# Accounts of one beneficiary in one campaign: its own and those of the pledges to it.
PLEDGES_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Party:
    """Whose statement it is: a farmer or beneficiary by their accounts, a host by their streams, or a campaign."""

    kind: PartyKind
    id: str
    campaign_id: str
    currency: str
    size: int  # How far the campaign's books are sealed.
    accounts: tuple[str, ...] = ()

    @property
    def host_id(self) -> str | None:
        """Return the host whose streams alone count, if it is a host's statement."""
        return self.id if self.kind == "host" else None


async def find_party(sql: AsyncSession, kind: PartyKind, party_id: str, campaign_id: str) -> Party:
    """Return the party with its accounts in this campaign; raises ``Problem`` 404 where either does not exist."""
    await plan_anew(sql)
    if kind != "campaign" and not await sql.scalar(_EXISTS[kind], {"id": party_id}):
        raise not_found(kind)
    campaign = await read_campaign(sql, campaign_id)
    own: tuple[str, ...] = ()
    if kind == "farmer":
        own = (accounts.farmer(party_id),)
    elif kind == "beneficiary":
        given = {"campaign": campaign_id, "id": party_id, "pledges_max": PLEDGES_MAX}
        pledges = (await sql.scalars(_PLEDGES, given)).all()
        own = (accounts.beneficiary(party_id), *(accounts.pledge(each) for each in pledges))
    return Party(kind, party_id, campaign_id, campaign.currency, campaign.size, own)


async def plan_anew(sql: AsyncSession) -> None:
    """Have this transaction's statements planned for their own values.

    One farmer has half of all entries and another ten: the plan that suits both is right for neither.
    """
    await sql.execute(_PLAN_ANEW)


async def read_rows(
    sql: AsyncSession, party: Party, after_seq: int, to_seq: int, rows_max: int
) -> Sequence[Row[Any]]:
    """Return the party's transactions with numbers above ``after_seq`` and up to ``to_seq``, in order."""
    given = {
        "campaign": party.campaign_id,
        "currency": party.currency,
        "after": after_seq,
        "to_seq": to_seq,
        "rows_max": rows_max,
    }
    if party.accounts:
        return (await sql.execute(_ACCOUNT_ROWS, {**given, "accounts": party.accounts})).all()
    given |= {
        "host": party.host_id,
        "raised": sorted(post.RAISED_KINDS),
        "sales": sorted(post.SALE_KINDS),
    }
    return (await sql.execute(_SCOPE_ROWS, given)).all()


async def account_parts(
    sql: AsyncSession, party: Party, bounds: tuple[int, int], to_seq: int
) -> dict[int, Counter[str]]:
    """Return what each kind of posting credited: up to the first bound, up to the second, and up to ``to_seq``."""
    rows = await sql.execute(
        _ACCOUNT_PARTS,
        {
            "campaign": party.campaign_id,
            "currency": party.currency,
            "accounts": party.accounts,
            "first": bounds[0],
            "second": bounds[1],
            "to_seq": to_seq,
        },
    )
    parts: dict[int, Counter[str]] = {0: Counter(), 1: Counter(), 2: Counter()}
    for row in rows:
        parts[row.part][row.kind] += row.amount_minor
    return parts


async def read_sales_split(
    sql: AsyncSession, party: Party, after_seq: int, to_seq: int
) -> SalesSplitOut:
    """Return what shoppers paid for a farmer's goods and who got what of it, line by line as they were sold.

    Lines on the same terms, of the same number and price, are split once and counted.
    """
    rows = await sql.execute(
        _SOLD,
        {
            "campaign": party.campaign_id,
            "after": after_seq,
            "to_seq": to_seq,
            "farmer": party.id,
            "currency": party.currency,
        },
    )
    gross_minor = farmer_minor = beneficiary_minor = fees_minor = 0
    for row in rows:
        shares = split(row.amount_minor, row.quantity, ShareRule.of(row))
        gross_minor += row.times * row.amount_minor
        farmer_minor += row.times * shares.farmer_minor
        beneficiary_minor += row.times * shares.beneficiary_minor
        fees_minor += row.times * shares.fees_minor
    return SalesSplitOut(
        gross_minor=gross_minor,
        farmer_minor=farmer_minor,
        beneficiary_minor=beneficiary_minor,
        fees_minor=fees_minor,
    )


async def stream_titles(
    sql: AsyncSession, stream_ids: Sequence[str]
) -> dict[str, tuple[str | None, str | None]]:
    """Return the titles of these streams, English and Chinese."""
    rows = await sql.execute(_TITLES, {"streams": list(stream_ids)})
    return {row.id: (row.title, row.title_zh) for row in rows}


_PLAN_ANEW = text("SELECT set_config('plan_cache_mode', 'force_custom_plan', true)")
_TITLES = text("SELECT id, title, title_zh FROM streams WHERE id = ANY(CAST(:streams AS text[]))")
_EXISTS: Final = {
    "beneficiary": text("SELECT true FROM beneficiaries WHERE id = :id"),
    "farmer": text("SELECT true FROM farmers WHERE id = :id"),
    "host": text("SELECT true FROM hosts WHERE id = :id"),
}
_PLEDGES = text("""
    SELECT id FROM pledges WHERE campaign_id = :campaign AND beneficiary_id = :id ORDER BY id LIMIT :pledges_max
""")
_ROW: Final = """
    s.seq, s.sealed_at, s.leaf_hash, t.kind, nullif(t.stream_id, t.campaign_id) AS stream_id,
    st.title, st.title_zh
"""
_ACCOUNT_ROWS = text(f"""
    SELECT {_ROW}, CAST(NULL AS bigint) AS sales_minor,
           (SELECT CAST(-sum(e.amount_minor) AS bigint) FROM ledger_entries e
            WHERE e.transaction_id = t.id AND e.account = ANY(CAST(:accounts AS text[]))) AS amount_minor
    FROM seals s
    JOIN ledger_transactions t ON t.id = s.transaction_id
    LEFT JOIN streams st ON st.id = t.stream_id
    WHERE s.campaign_id = :campaign AND s.seq > :after AND s.seq <= :to_seq AND t.currency = :currency
      AND EXISTS (SELECT 1 FROM ledger_entries e
                  WHERE e.transaction_id = t.id AND e.account = ANY(CAST(:accounts AS text[])))
    ORDER BY s.seq
    LIMIT :rows_max
""")
_SCOPE_ROWS = text(f"""
    SELECT {_ROW},
           (SELECT CAST(coalesce(sum(e.amount_minor), 0) AS bigint) FROM ledger_entries e
            WHERE e.transaction_id = t.id AND e.account = 'stripe/clearing'
              AND t.kind = ANY(CAST(:sales AS text[]))) AS sales_minor,
           (SELECT CAST(coalesce(-sum(e.amount_minor), 0) AS bigint) FROM ledger_entries e
            WHERE e.transaction_id = t.id AND e.account LIKE 'beneficiary/%'
              AND t.kind = ANY(CAST(:raised AS text[]))) AS amount_minor
    FROM seals s
    JOIN ledger_transactions t ON t.id = s.transaction_id
    LEFT JOIN streams st ON st.id = t.stream_id
    WHERE s.campaign_id = :campaign AND s.seq > :after AND s.seq <= :to_seq AND t.currency = :currency
      AND (CAST(:host AS text) IS NULL OR st.host_id = :host)
    ORDER BY s.seq
    LIMIT :rows_max
""")
_ACCOUNT_PARTS = text("""
    SELECT t.kind, CASE WHEN s.seq <= :first THEN 0 WHEN s.seq <= :second THEN 1 ELSE 2 END AS part,
           CAST(-sum(e.amount_minor) AS bigint) AS amount_minor
    FROM ledger_entries e
    JOIN seals s ON s.transaction_id = e.transaction_id
    JOIN ledger_transactions t ON t.id = e.transaction_id
    WHERE e.account = ANY(CAST(:accounts AS text[])) AND s.campaign_id = :campaign AND s.seq <= :to_seq
      AND t.currency = :currency
    GROUP BY 1, 2
""")
_SOLD = text("""
    SELECT l.quantity, l.amount_minor, m.farmer_bp, m.beneficiary_bp, m.fees_bp, m.beneficiary_fixed_minor,
           m.farmer_fixed_minor, m.beneficiary_cap_minor, m.farmer_floor_minor, count(*) AS times
    FROM seals s
    JOIN ledger_transactions t ON t.id = s.transaction_id
    JOIN order_lines l ON l.order_id = t.order_id
    JOIN offer_terms m ON m.id = l.terms_id
    WHERE s.campaign_id = :campaign AND s.seq > :after AND s.seq <= :to_seq AND t.kind = 'capture'
      AND t.currency = :currency AND m.farmer_id = :farmer
    GROUP BY m.id, l.quantity, l.amount_minor
""")
