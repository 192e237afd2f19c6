"""What is given to a bulk statement arrives as it was, whatever is in it."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_events.bulk import array_text, bulk
from stream_events.database import Database


class State(StrEnum):
    PAID = "PAID"


TEXTS = [
    "",
    "null",
    "NULL",
    "a,b",
    "{}",
    '"',
    "\\",
    '\\"',
    '[["peanuts, \\"raw\\"", 2]]',
    " a ",
    "\n\t",
    "花生",
    "😀",
    "'); DROP TABLE orders; --",
    '"},{"',
]
SAMPLES: list[tuple[str, list[Any]]] = [
    ("text", TEXTS),
    ("text", ["ord_1", "ord_2"]),
    ("text", ["a", None, 'say "no"']),
    ("text", [State.PAID]),
    ("text", []),
    ("bigint", [0, -1, 2**63 - 1, None]),
    ("int", [1, 2]),
    ("boolean", [True, False, None]),
    ("bytea", [b"", b"\0\xff\\", b"x" * 32]),
    ("timestamptz", [datetime(2026, 12, 1, 3, 4, 5, 678901, UTC)]),
]


async def _sent(database: Database, type_: str, values: list[Any]) -> list[Any]:
    statement = bulk(
        f"SELECT v FROM unnest(CAST(:values AS {type_}[])) WITH ORDINALITY AS u (v, n) ORDER BY n"
    )
    async with database.begin() as sql:
        return list(await sql.scalars(statement, {"values": values}))


@pytest.mark.parametrize(("type_", "values"), SAMPLES)
async def test_values_arrive_as_they_were(
    database: Database, type_: str, values: list[Any]
) -> None:
    assert await _sent(database, type_, values) == values


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | st.none())
)
async def test_any_text_arrives_as_it_was(database: Database, values: list[str | None]) -> None:
    assert await _sent(database, "text", values) == values


async def test_what_is_no_array_stays_what_it_is(database: Database) -> None:
    statement = bulk("SELECT :one || array_to_string(CAST(:many AS text[]), :one)")
    async with database.begin() as sql:
        given_ = {"one": "-", "many": iter(["a", "b"])}
        assert await sql.scalar(statement, given_) == "-a-b"
        assert await sql.scalar(statement, {"one": "-", "many": None}) is None


def test_other_values_are_refused() -> None:
    with pytest.raises(TypeError, match="no array of float"):
        array_text([1.5])
