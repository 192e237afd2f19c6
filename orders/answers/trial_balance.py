"""The trial balance: what each account of a campaign adds up to at a number of its books, and that it sums to zero.

It is public, because a total that nobody outside can check is only a claim. It names accounts, which hold ids and
nothing of a person, and stands at a number: asked for that number again, in any year, the answer is the same.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from orders.answers.csv_text import Cell, csv_rows
from orders.answers.instants import (
    read_campaign,
    require_sealed,
    seal_instant,
    sealed_at,
    take_turn,
)
from orders.answers.movements import Derived, derive, read_movements
from orders.answers.schemas import AccountOut, BalanceOut, TallyOut, TrialBalanceOut
from stream_events.errors import Problem
from stream_events.money import format_minor
from stream_events.schemas import instant_text

# A campaign has an account for each farmer, beneficiary, match and pledge, and seven more.
ACCOUNTS_MAX: Final = 10_000

_COLUMNS: Final = (
    "campaign_id", "seq", "sealed_at", "currency", "account", "debit", "credit", "balance", "balance_minor", "entries",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Standpoint:
    """A number of a campaign's books to look from; ``newest`` unless it was asked for by its number."""

    campaign_id: str
    seq: int


async def stand(
    sql: AsyncSession, campaign_id: str, *, at: datetime | None, seq: int | None
) -> Standpoint:
    """Return where to stand: at a number, at an instant's number, or at the end of the books."""
    if at is not None and seq is not None:
        raise Problem(422, "invalid", "Ask for an instant or for a number, not for both.")
    size = (await read_campaign(sql, campaign_id)).size
    if seq is not None:
        require_sealed(seq, size)
        return Standpoint(campaign_id, seq)
    return Standpoint(campaign_id, size if at is None else await sealed_at(sql, campaign_id, at))


async def read_balance(sql: AsyncSession, standpoint: Standpoint) -> TrialBalanceOut:
    """Add everything up to this number; raises ``Problem`` 503 when too many others do so, too."""
    await take_turn(sql)
    campaign_id, seq = standpoint.campaign_id, standpoint.seq
    given = {"campaign": campaign_id, "seq": seq, "accounts_max": ACCOUNTS_MAX + 1}
    rows = (await sql.execute(_ACCOUNTS, given)).all()
    if len(rows) > ACCOUNTS_MAX:
        raise Problem(422, "too_many_accounts", f"An answer has at most {ACCOUNTS_MAX} accounts.")
    moved, counted = await read_movements(sql, campaign_id, seq)
    return TrialBalanceOut(
        campaign_id=campaign_id,
        seq=seq,
        sealed_at=await seal_instant(sql, campaign_id, seq),
        currencies=[
            _balance(
                currency,
                [row for row in rows if row.currency == currency],
                derive(
                    [each for each in moved if each.currency == currency],
                    [each for each in counted if each.currency == currency],
                ),
            )
            for currency in sorted({row.currency for row in rows})
        ],
    )


def _balance(currency: str, rows: list[Row[Any]], derived: Derived) -> BalanceOut:
    debit_minor = sum(row.debit_minor for row in rows)
    credit_minor = sum(row.credit_minor for row in rows)
    return BalanceOut(
        currency=currency,
        debit_minor=debit_minor,
        credit_minor=credit_minor,
        total_minor=debit_minor - credit_minor,
        tally=TallyOut.model_validate(derived),
        accounts=[
            AccountOut(
                account=row.account,
                debit_minor=row.debit_minor,
                credit_minor=row.credit_minor,
                balance_minor=row.debit_minor - row.credit_minor,
                entries=row.entries,
            )
            for row in rows
        ],
    )


def balance_csv(balance: TrialBalanceOut) -> str:
    """Return the accounts as CSV, each currency ended by its total and by the tally that the entries make."""
    sealed = "" if balance.sealed_at is None else instant_text(balance.sealed_at)
    rows: list[tuple[Cell, ...]] = [_COLUMNS]
    for each in balance.currencies:
        currency = each.currency
        before = (balance.campaign_id, balance.seq, sealed, currency)

        def sums(name: str, debit: int, credit: int, entries: int | None) -> None:
            parts = [format_minor(part, currency) for part in (debit, credit, debit - credit)]  # noqa: B023 - called here only.
            rows.append((*before, name, *parts, debit - credit, entries))  # noqa: B023 - the same.

        for account in each.accounts:
            sums(account.account, account.debit_minor, account.credit_minor, account.entries)
        sums("(total)", each.debit_minor, each.credit_minor, None)
        for name in ("raised_minor", "sales_minor", "gifts_minor", "matched_minor"):
            amount_minor = getattr(each.tally, name)
            shown = format_minor(amount_minor, currency)
            word = f"(tally {name.removesuffix('_minor')})"
            rows.append((*before, word, None, None, shown, amount_minor, None))
    return csv_rows(rows)


_ACCOUNTS = text("""
    SELECT t.currency, e.account,
           CAST(coalesce(sum(e.amount_minor) FILTER (WHERE e.amount_minor > 0), 0) AS bigint) AS debit_minor,
           CAST(coalesce(-sum(e.amount_minor) FILTER (WHERE e.amount_minor < 0), 0) AS bigint) AS credit_minor,
           count(*) AS entries
    FROM seals s
    JOIN ledger_transactions t ON t.id = s.transaction_id
    JOIN ledger_entries e ON e.transaction_id = t.id
    WHERE s.campaign_id = :campaign AND s.seq <= :seq
    GROUP BY t.currency, e.account
    ORDER BY t.currency, e.account COLLATE "C"
    LIMIT :accounts_max
""")
