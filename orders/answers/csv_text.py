"""CSV that a spreadsheet shows and never runs.

A cell that begins like a formula is a program to the spreadsheet of whoever opens it, and titles and names come
from people. So such a cell gets an apostrophe in front, unless it is a plain number.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Final

MEDIA_TYPE: Final = "text/csv; charset=utf-8"
# Spreadsheets take UTF-8 for Latin unless a file begins with this.
BYTE_ORDER_MARK: Final = "\ufeff"

_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
# The second four are the full-width forms, which some spreadsheets read alike.
_FORMULA: Final = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")

Cell = str | int | None


def safe_cell(cell: Cell) -> str:
    """Return a cell as text that no spreadsheet takes for a formula."""
    if cell is None:
        return ""
    text = str(cell)
    if text.lstrip(" \u3000").startswith(_FORMULA) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def csv_rows(rows: Iterable[Sequence[Cell]]) -> str:
    """Return rows as RFC 4180 writes them, each ended by CR LF."""
    written = io.StringIO()
    csv.writer(written, lineterminator="\r\n").writerows(
        [safe_cell(cell) for cell in row] for row in rows
    )
    return written.getvalue()


def wants_csv(chosen: str | None, accept: str | None) -> bool:
    """Whether the answer is to be CSV: by ``?format=`` first, else by what ``Accept`` names."""
    if chosen is not None:
        return chosen == "csv"
    offered = [part.partition(";")[0].strip().lower() for part in (accept or "").split(",")]
    return "text/csv" in offered and "application/json" not in offered
