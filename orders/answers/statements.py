"""Statements: each transaction of the books that touches somebody, with the balance after it, and sums in plain words.

Whoever holds one can add it up on paper, find each row in the public log by its number, and put the next window
beside it: its opening is this one's closing.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from orders.answers.csv_text import BYTE_ORDER_MARK, Cell, csv_rows
from orders.answers.instants import sealed_before, take_turn
from orders.answers.movements import derive, read_movements
from orders.answers.schemas import RowOut, SalesSplitOut, StatementOut, StreamSumOut, SumOut
from orders.answers.statement_rows import (
    Party,
    account_parts,
    plan_anew,
    read_rows,
    read_sales_split,
    stream_titles,
)
from orders.answers.statement_sums import account_sums, scope_sums
from orders.answers.words import CLOSING, HEADINGS, KINDS, OPENING, Lang, said
from stream_events.database import Database
from stream_events.errors import Problem
from stream_events.money import format_minor
from stream_events.paging import cursor_after
from stream_events.schemas import instant_text

# A file is written in steps of so many numbers of the books, each a short transaction of its own.
NUMBERS_A_STEP: Final = 2_000

_CURSOR: Final = re.compile(r"seq_(0|[1-9][0-9]{0,15})x(0|[1-9][0-9]{0,15})", re.ASCII)
_COLUMNS: Final = (
    "seq", "sealed_at", "local_time", "kind", "words", "stream_id", "stream", "currency", "amount", "balance",
    "amount_minor", "balance_minor", "sales_minor", "leaf_hash",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Window:
    """Numbers above ``after_seq`` and up to ``to_seq``; a page of it begins above ``page_seq``."""

    after_seq: int
    to_seq: int
    page_seq: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What a window opens with, what its page begins with, what it closes with, and why."""

    opening_minor: int
    page_minor: int
    closing_minor: int
    sums: list[SumOut]
    streams: list[StreamSumOut]
    sales_split: SalesSplitOut | None


async def open_window(
    sql: AsyncSession,
    party: Party,
    from_at: datetime | None,
    to_at: datetime | None,
    cursor: str | None,
) -> Window:
    """Return the window from one instant to before another; its end stays where the first page found it."""
    if from_at is not None and to_at is not None and to_at < from_at:
        raise Problem(422, "invalid", "A window ends no earlier than it begins.")
    after_seq = 0 if from_at is None else await sealed_before(sql, party.campaign_id, from_at)
    if cursor is not None:
        read = _CURSOR.fullmatch(cursor)
        to_seq, page_seq = (int(read[1]), int(read[2])) if read else (0, -1)
        if not after_seq <= page_seq <= to_seq <= party.size:
            raise Problem(422, "invalid_cursor", "This cursor is none of this statement's.")
        return Window(after_seq, to_seq, page_seq)
    to_seq = party.size if to_at is None else await sealed_before(sql, party.campaign_id, to_at)
    return Window(after_seq, max(after_seq, to_seq), after_seq)


async def summarise(sql: AsyncSession, party: Party, window: Window, lang: Lang) -> Summary:
    """Add the window up; raises ``Problem`` 503 when too many others add up at once."""
    await take_turn(sql)
    bounds = (window.after_seq, window.page_seq)
    if not party.accounts:
        return await _summarise_scope(sql, party, window, lang)
    parts = await account_parts(sql, party, bounds, window.to_seq)
    opening_minor, page_minor = parts[0].total(), parts[0].total() + parts[1].total()
    # Not the union of the counters, which would leave out what went back.
    within = {kind: parts[1][kind] + parts[2][kind] for kind in {*parts[1], *parts[2]}}
    sales_split = None
    if party.kind == "farmer":
        sales_split = await read_sales_split(sql, party, window.after_seq, window.to_seq)
    return Summary(
        opening_minor=opening_minor,
        page_minor=page_minor,
        closing_minor=page_minor + parts[2].total(),
        sums=account_sums(within, lang),
        streams=[],
        sales_split=sales_split,
    )


async def _summarise_scope(sql: AsyncSession, party: Party, window: Window, lang: Lang) -> Summary:
    bounds = (window.after_seq, window.page_seq)
    everything, counted = await read_movements(
        sql, party.campaign_id, window.to_seq, bounds=bounds, host_id=party.host_id
    )
    moved = [each for each in everything if each.currency == party.currency]
    counts = [each for each in counted if each.currency == party.currency and each.part > 0]
    within = [each for each in moved if each.part > 0]

    def raised(part_max: int) -> int:
        return derive([each for each in moved if each.part <= part_max], ()).raised_minor

    titles = await stream_titles(sql, sorted({each.stream_id for each in within}))
    streams = []
    for stream_id in sorted({each.stream_id for each in within}):
        sums = derive(
            [each for each in within if each.stream_id == stream_id],
            [each for each in counts if each.stream_id == stream_id],
        )
        own_id = None if stream_id == party.campaign_id else stream_id
        title = _title(titles.get(stream_id), lang)
        streams.append(
            StreamSumOut(
                stream_id=own_id,
                title=title,
                **{name: getattr(sums, name) for name in _TALLY_FIELDS},
            )
        )
    return Summary(
        opening_minor=raised(0),
        page_minor=raised(1),
        closing_minor=raised(2),
        sums=scope_sums(within, moved, lang, owed=party.kind == "campaign"),
        streams=streams,
        sales_split=None,
    )


async def read_statement(
    sql: AsyncSession, party: Party, window: Window, lang: Lang, limit: int
) -> StatementOut:
    """Return one page of a statement."""
    summary = await summarise(sql, party, window, lang)
    rows = await read_rows(sql, party, window.page_seq, window.to_seq, limit + 1)
    balance_minor, items = summary.page_minor, []
    for row in rows[:limit]:
        balance_minor += row.amount_minor
        items.append(_row(row, balance_minor, lang))
    more = len(rows) > limit
    return StatementOut(
        party=party.kind,
        party_id=party.id,
        campaign_id=party.campaign_id,
        currency=party.currency,
        after_seq=window.after_seq,
        to_seq=window.to_seq,
        opening_minor=summary.opening_minor,
        closing_minor=summary.closing_minor,
        sums=summary.sums,
        streams=summary.streams,
        sales_split=summary.sales_split,
        items=items,
        next=cursor_after(f"seq_{window.to_seq}x{items[-1].seq}") if more else None,
    )


async def statement_csv(
    database: Database, party: Party, window: Window, summary: Summary, lang: Lang, zone: ZoneInfo
) -> AsyncIterator[str]:
    """Yield a whole statement as CSV, a bounded piece at a time; it breaks off rather than close on another sum.

    What is sealed never changes, so the pieces belong together although each is read by itself.
    """
    currency = party.currency

    def line(kind: str, words: str, amount_minor: int | None, balance_minor: int | None) -> str:
        shown = [
            None if each is None else format_minor(each, currency)
            for each in (amount_minor, balance_minor)
        ]
        cells: list[Cell] = [None, None, None, kind, words, None, None, currency, *shown]
        return csv_rows([[*cells, amount_minor, balance_minor, None, None]])

    yield (BYTE_ORDER_MARK if lang == "zh" else "") + csv_rows([_COLUMNS])
    yield line("opening", said(OPENING, lang), None, summary.opening_minor)
    balance_minor = summary.opening_minor
    for after_seq in range(window.after_seq, window.to_seq, NUMBERS_A_STEP):
        to_seq = min(after_seq + NUMBERS_A_STEP, window.to_seq)
        async with database.begin() as sql:
            await plan_anew(sql)
            found = await read_rows(sql, party, after_seq, to_seq, NUMBERS_A_STEP)
        written = []
        for row in found:
            balance_minor += row.amount_minor
            written.append(_cells(_row(row, balance_minor, lang), currency, zone))
        if written:
            yield csv_rows(written)
    if balance_minor != summary.closing_minor:
        raise RuntimeError(f"the rows of {party.kind} {party.id} do not add up to their sum")
    yield line("closing", said(CLOSING, lang), None, summary.closing_minor)
    for each in summary.sums:
        yield line(f"sum_{each.heading}", each.words, each.amount_minor, None)
    if summary.sales_split is not None:
        gross_minor = summary.sales_split.gross_minor
        yield line("sum_gross", said(HEADINGS["gross"], lang), gross_minor, None)


def _cells(row: RowOut, currency: str, zone: ZoneInfo) -> list[Cell]:
    return [
        row.seq,
        instant_text(row.sealed_at),
        row.sealed_at.astimezone(zone).isoformat(timespec="seconds"),
        row.kind,
        row.words,
        row.stream_id,
        row.title,
        currency,
        format_minor(row.amount_minor, currency),
        format_minor(row.balance_minor, currency),
        row.amount_minor,
        row.balance_minor,
        row.sales_minor,
        row.leaf_hash,
    ]


def _row(row: Row[Any], balance_minor: int, lang: Lang) -> RowOut:
    return RowOut(
        seq=row.seq,
        sealed_at=row.sealed_at,
        kind=row.kind,
        words=said(KINDS[row.kind], lang),
        stream_id=row.stream_id,
        title=_title((row.title, row.title_zh), lang),
        amount_minor=row.amount_minor,
        balance_minor=balance_minor,
        sales_minor=row.sales_minor,
        leaf_hash=row.leaf_hash.hex(),
    )


def _title(titles: tuple[str | None, str | None] | None, lang: Lang) -> str | None:
    title, title_zh = titles or (None, None)
    return (title_zh or title) if lang == "zh" else title


_TALLY_FIELDS: Final = (
    "raised_minor", "sales_minor", "orders", "units", "gifts", "gifts_minor", "matched_minor",
)  # fmt: skip
