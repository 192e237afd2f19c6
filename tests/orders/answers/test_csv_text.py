"""A cell is text in every spreadsheet: what looks like a formula is disarmed, and a number stays one."""

import csv
import io

import pytest

from orders.answers.csv_text import csv_rows, safe_cell, wants_csv


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\tx", "\r=1", "\n=1", "＝1+1", "＋1", "－1", "＠a", "  =1",
        "\u3000=1", "-", "+5", "-1.5e3", "--1", "-1,5",
    ],
)  # fmt: skip
def test_what_begins_like_a_formula_gets_an_apostrophe(cell: str) -> None:
    assert safe_cell(cell) == f"'{cell}"


@pytest.mark.parametrize(
    "cell", ["-1", "-0.05", "12", "-12.340", "a=b", "花生", "", "a-b", "(total)"]
)
def test_plain_numbers_and_words_stay_as_they_are(cell: str) -> None:
    assert safe_cell(cell) == cell


def test_numbers_and_nothing() -> None:
    assert [safe_cell(cell) for cell in (None, 0, -5, 2**53)] == ["", "0", "-5", "9007199254740992"]


def test_rows_come_back_as_they_were_whatever_is_in_them() -> None:
    rows = [['a,"b"', "c\r\nd", "; e"], ["花 生", "", "'"]]
    written = csv_rows(rows)
    assert written.endswith("\r\n")
    assert list(csv.reader(io.StringIO(written, newline=""))) == rows


@pytest.mark.parametrize(
    ("chosen", "accept", "wanted"),
    [
        ("csv", "application/json", True),
        ("json", "text/csv", False),
        (None, "text/csv", True),
        (None, "text/csv; q=0.9, */*", True),
        (None, "TEXT/CSV", True),
        (None, "application/json, text/csv", False),
        (None, "*/*", False),
        (None, None, False),
    ],
)
def test_who_wants_csv(chosen: str | None, accept: str | None, wanted: bool) -> None:
    assert wants_csv(chosen, accept) is wanted
