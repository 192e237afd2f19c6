"""While the filter thinks nobody waits for it, and what it thought of other rules or other words counts for nothing."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest
import pytest_asyncio

from realtime.moderation.filter import WordFilter
from stream_events.database import Database
from tests.realtime.moderation.conftest import Desk

LOCKS = """
SELECT FROM moderation_rules FOR UPDATE NOWAIT;
SELECT FROM orders FOR UPDATE NOWAIT;
SELECT FROM order_messages FOR UPDATE NOWAIT;
"""

Meanwhile = Callable[[Callable[[], Awaitable[object]]], None]


@pytest_asyncio.fixture(loop_scope="session")
async def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Let something happen on the loop, once, while the filter is asked; it stands still if that is on the loop."""
    loop, true_flags = asyncio.get_running_loop(), WordFilter.flags
    due: list[Callable[[], Awaitable[object]]] = []

    def flags(self: WordFilter, *said: str | None) -> object:
        assert threading.current_thread() is not threading.main_thread(), "everybody waits for it"

        async def do() -> None:
            await happening()

        while due:
            happening = due.pop()
            asyncio.run_coroutine_threadsafe(do(), loop).result(5)
        return true_flags(self, *said)

    monkeypatch.setattr(WordFilter, "flags", flags)
    return due.append


async def test_nothing_is_locked_while_the_filter_thinks(
    desk: Desk, database: Database, meanwhile: Meanwhile
) -> None:
    looked = 0

    async def look() -> None:
        nonlocal looked
        other = await database.connect()
        await other.execute(LOCKS)
        await other.close()
        looked += 1

    placed = await desk.say("Li Na", "Hello")
    meanwhile(look)
    assert await desk.screen() == 1
    meanwhile(look)
    assert len(await desk.listed("pending")) == 1
    meanwhile(look)
    assert await desk.decide("moderator", "show", placed) == "SHOWN"
    assert looked == 3


async def test_rules_that_change_while_the_filter_thinks_are_the_ones_that_count(
    desk: Desk, meanwhile: Meanwhile
) -> None:
    placed = await desk.say("Li Na", "Hello")
    meanwhile(lambda: desk.rules(blocked=["hallo"]))
    assert await desk.screen() == 1
    assert await desk.listed("pending") == [], "it is left for the next round"
    assert await desk.screen() == 1
    assert len(await desk.listed("pending")) == 1
    meanwhile(lambda: desk.rules(blocked=["hello"]))
    assert await desk.decide("moderator", "show", placed) == "blocked"


async def test_words_that_change_while_the_filter_thinks_are_the_ones_that_count(
    desk: Desk, meanwhile: Meanwhile
) -> None:
    await desk.rules(blocked=["scam"])
    placed = await desk.say("Li Na", "Hello")
    await desk.screen()
    revision = await desk.revision(placed)
    change = "UPDATE order_messages SET message = 'scam' WHERE message = 'Hello' RETURNING revision"

    async def write() -> None:
        assert await desk.rows(change) == [(revision + 1,)]

    meanwhile(write)
    assert await desk.decide("moderator", "show", placed, revision) == "changed"
    meanwhile(write)
    # Whoever guesses the revision that follows has not seen the words, and shows none that are blocked.
    change = change.replace("'scam' WHERE message = 'Hello'", "'a scam' WHERE message = 'scam'")
    revision += 1
    assert await desk.decide("moderator", "show", placed, revision + 1) == "blocked"
