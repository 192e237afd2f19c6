"""Lists in pages of bounded size, newest first, continued by a cursor that clients cannot read anything into.

Ids begin with the time they were made, so "after this id" is a page that stays right while rows are being added,
which "skip the first 100" would not be.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, Select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from stream_events.errors import Problem

LIMIT_MAX: Final = 100
LIMIT_DEFAULT: Final = 50

_ID: Final = re.compile(r"[a-z]{3}_[0-9a-z]{1,40}")

Item = TypeVar("Item")
Row = TypeVar("Row")


class Listing(BaseModel, Generic[Item]):
    """One page of a list, and the cursor of the next one where there is more."""

    items: list[Item]
    next: Annotated[
        str | None,
        Field(
            description="Send it back as `cursor` to go on; null on the last page.", examples=[None]
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for: at most ``limit`` rows whose id stands below ``after``."""

    limit: int = LIMIT_DEFAULT
    after: str | None = None


async def page_of(
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX, description="Rows a page.")] = LIMIT_DEFAULT,
    cursor: Annotated[
        str | None, Query(max_length=64, description="The `next` of the page before this one.")
    ] = None,
) -> Page:
    """Read ``?limit=`` and ``?cursor=``; raises ``Problem`` 422 for a cursor that we did not make."""
    return Page(limit, None if cursor is None else _read(cursor))


Paged = Annotated[Page, Depends(page_of)]


def cursor_after(row_id: str) -> str:
    """Return the cursor of the page that follows the row of this id."""
    return base64.urlsafe_b64encode(row_id.encode()).rstrip(b"=").decode()


async def read_page(
    sql: AsyncSession, statement: Select[Row], row_id: InstrumentedAttribute[str], page: Page
) -> tuple[Sequence[Row], str | None]:
    """Return the rows of ``page`` in ``statement``, newest first, and the cursor that goes on from there."""
    below: list[ColumnElement[Any]] = [] if page.after is None else [row_id < page.after]
    rows = (
        (await sql.execute(statement.where(*below).order_by(row_id.desc()).limit(page.limit + 1)))
        .scalars()
        .all()
    )
    shown = rows[: page.limit]
    return shown, cursor_after(getattr(shown[-1], row_id.key)) if len(rows) > page.limit else None


def _read(cursor: str) -> str:
    try:
        row_id = base64.b64decode(
            cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True
        ).decode()
    except (binascii.Error, UnicodeError, ValueError):
        row_id = ""
    if not _ID.fullmatch(row_id):
        raise Problem(
            422, "invalid_cursor", "This cursor is none of ours; begin again without one."
        )
    return row_id
