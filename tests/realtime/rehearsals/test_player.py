"""A rehearsal plays the earlier night as it was, where it should be by the clock, and touches nothing real."""

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import text
from structlog.testing import capture_logs

from realtime.rehearsals import player
from realtime.rehearsals.alerts import SAYING
from realtime.rehearsals.play import PARTS
from realtime.rehearsals.player import Plays, run_rehearsals, tick_once
from stream_events.database import Database
from tests.factories import Sale
from tests.realtime.announced import Listener, run_sql
from tests.realtime.conftest import until
from tests.realtime.rehearsals.conftest import Ask
from tests.realtime.rehearsals.earlier import (
    BAGS,
    GIFT_MINOR,
    STRANGER,
    Earlier,
    history,
    make_earlier,
    told,
    wind_to,
)

REAL = [
    "campaigns",
    "streams",
    "offers",
    "offer_terms",
    "stock",
    "stock_moves",
    "orders",
    "order_messages",
    "ledger_transactions",
    "ledger_entries",
    "seals",
    "tallies",
    "tally_history",
    "ledger_heads",
    "alerts",
    "alert_turns",
    "alert_groups",
    "alert_desks",
    "airings",
    "boards",
    "milestones",
    "matches",
]


async def _real(database: Database) -> dict[str, Any]:
    """Return a fingerprint of everything that is not a rehearsal."""
    found = {}
    async with database.begin() as sql:
        for table in [*REAL, "topics"]:
            but = "WHERE topic NOT LIKE 'rehearsal/%'" if table == "topics" else ""
            every = f"SELECT count(*), md5(string_agg(x::text, ';' ORDER BY x::text)) FROM {table} x {but}"
            found[table] = tuple((await sql.execute(text(every))).one())
    return found


async def _at(
    database: Database, redis: Redis, earlier: Earlier, seconds: float, plays: Plays | None = None
) -> dict[str, dict[str, Any]]:
    """Return what is told so far into the night."""
    await wind_to(database, earlier, seconds)
    await tick_once(database, redis, plays or Plays("http://testserver"))
    return await told(database, earlier)


def _sums(state: dict[str, Any]) -> dict[str, Any]:
    return {name: state[name] for name in state if name not in ("goal_minor", "currency")}


@pytest.mark.parametrize("speed", [1, 10])
async def test_every_topic_says_what_was_so_at_that_moment(
    database: Database, redis: Redis, earlier: Earlier, ask: Ask, speed: int
) -> None:
    body = {"of_stream_id": earlier.sale.stream_id, "speed": speed}
    assert (await ask("PUT", body)).status_code == 200
    tallies = await history(database, earlier.sale)
    assert len(tallies) == len(BAGS) + 1
    before = await _at(database, redis, earlier, 5)
    assert set(before) == set(PARTS)
    assert (before["tally"]["seq"], before["tally"]["raised_minor"]) == (0, 0)
    [item] = before["stock"]["items"]
    assert item.pop("sold_out_in_ms") is None
    assert item == {
        "sku": earlier.sale.sku,
        "total": 100,
        "left": 100,
        "reserved": 0,
        "sold": 0,
    }
    for n in range(1, len(BAGS) + 1):
        now = await _at(database, redis, earlier, 10 * n + 4)
        units = sum(BAGS[:n])
        assert _sums(now["tally"]) == tallies[n - 1]
        assert now["tally"]["units"] == units
        assert now["stock"]["items"][0]["sold"] == units
        assert now["stock"]["items"][0]["left"] == 100 - units
        assert now["farmers"]["items"][0]["units"] == units
        assert now["farmers"]["items"][0]["income_minor"] == sum(b * 2392 for b in BAGS[:n])
        assert now["names"]["count"] == n
        assert now["names"]["newest"][-1] == {"n": n, "name": f"Rehearsal {n}"}
        assert now["leaders"]["hour"] == now["leaders"]["stream"] == now["leaders"]["today"]
        assert now["leaders"]["stream"][0]["amount_minor"] == 2990 * max(BAGS[:n])
        assert now["milestones"]["items"][0]["reached"] == (units >= 6)
        assert now["alerts/main"]["on_air"]["name"].startswith("Rehearsal ")
        assert now["matches"]["items"][0]["left_minor"] == 20_000
    given = await _at(database, redis, earlier, 10 * len(tallies) + 4)
    assert _sums(given["tally"]) == tallies[-1]
    assert given["tally"]["matched_minor"] == GIFT_MINOR
    assert given["matches"]["items"][0]["left_minor"] == 20_000 - GIFT_MINOR


async def test_it_looks_like_tonight(
    database: Database, redis: Redis, earlier: Earlier, ask: Ask
) -> None:
    await ask("PUT", {"of_stream_id": earlier.sale.stream_id, "speed": 1})
    plays = Plays("http://testserver")
    now = await _at(database, redis, earlier, 35, plays)
    assert now["status"]["title"] == "Dress rehearsal"
    assert now["status"]["state"] == "live"
    assert now["tally"]["goal_minor"] == 777
    assert [card["sku"] for card in now["board"]["cards"]] == [earlier.sale.sku]
    assert now["board"]["shop_url"] == f"http://testserver/shop/{earlier.stage}"
    reached = datetime.fromisoformat(now["milestones"]["items"][0]["reached_at"])
    began = datetime.fromisoformat(now["status"]["live_at"])
    assert reached - began == timedelta(seconds=30), "1 + 3 + 2 bags"
    # What the host changes meanwhile is seen in the rehearsal too.
    await run_sql(database, "UPDATE streams SET goal_minor = 888 WHERE id = :id", id=earlier.stage)
    held = next(iter(plays.held.values()))
    held.reread_due = 0
    await tick_once(database, redis, plays)
    assert (await told(database, earlier))["tally"]["goal_minor"] == 888


async def test_no_stranger_is_in_it(
    database: Database, redis: Redis, earlier: Earlier, ask: Ask
) -> None:
    await ask("PUT", {"of_stream_id": earlier.sale.stream_id, "speed": 10})
    said = set()
    for seconds in range(5, 95, 6):
        states = await _at(database, redis, earlier, seconds)
        assert STRANGER not in json.dumps(states)
        assert "shp_" not in json.dumps(states)
        if on_air := states["alerts/main"]["on_air"]:
            said.add((on_air["name"].split(" ")[0], on_air["message"]))
    assert said == {("Rehearsal", None), ("Rehearsal", SAYING)}


async def test_ten_times_as_fast_and_nothing_real_is_touched(
    database: Database, redis: Redis, sale: Sale, api: Any, bus: Listener
) -> None:
    """The loop itself: 1.5 s of the night are 150 ms."""
    earlier = await make_earlier(database, redis, sale, timedelta(seconds=1.5))
    tallies, before = await history(database, sale), await _real(database)
    bus.frames.clear()
    stop = asyncio.Event()
    loop = asyncio.create_task(run_rehearsals(database, redis, stop, tick_s=0.02))
    body = {"of_stream_id": sale.stream_id, "speed": 10}
    started = (await api.put(earlier.path, headers=sale.auth("host"), json=body)).json()
    assert (started["length_s"], started["finished"]) == (12, False)

    async def finished() -> bool:
        return bool((await api.get(earlier.path, headers=sale.auth("host"))).json()["finished"])

    await until(finished, within_s=5)
    stop.set()
    await asyncio.wait_for(loop, 2)
    assert await _real(database) == before
    assert all(frame["topic"].startswith(f"rehearsal/{earlier.stage}/") for frame in bus.frames)
    played = [frame for frame in bus.of(earlier.topic("tally")) if frame["state"]["seq"]]
    assert len(played) >= 3
    assert _sums(played[-1]["state"]) == tallies[-1]
    began_ms = datetime.fromisoformat(started["started_at"]).timestamp() * 1000
    for frame in played:
        # Exactly what was newest at the instant of the frame, ten times as fast; milliseconds are cut off.
        reached = {int(frame["at"] - began_ms + more) // 150 for more in (-2, 0, 2)}
        assert tallies.index(_sums(frame["state"])) + 1 in reached, frame["at"] - began_ms
    assert [frame["state"]["seq"] for frame in played] == sorted(
        {frame["state"]["seq"] for frame in played}
    )
    last = await told(database, earlier)
    assert (last["status"]["state"], last["alerts/main"]["on_air"]) == ("ended", None)
    assert last["status"]["live_at"] == started["started_at"]
    assert _sums(last["tally"]) == tallies[-1]
    assert await tick_once(database, redis, Plays()) == 0, "what has finished costs nothing more"


async def test_another_player_goes_on_where_the_last_one_was(
    database: Database, redis: Redis, earlier: Earlier, ask: Ask, bus: Listener
) -> None:
    await ask("PUT", {"of_stream_id": earlier.sale.stream_id, "speed": 1})
    now = await _at(database, redis, earlier, 63)
    bus.frames.clear()
    await tick_once(database, redis, Plays("http://testserver"))
    assert await told(database, earlier) == now
    await asyncio.sleep(0.05)
    assert bus.frames == [], "it tells nothing that is told already"


async def test_it_reads_piece_by_piece_and_tells_nothing_before_it_is_there(
    database: Database,
    redis: Redis,
    earlier: Earlier,
    ask: Ask,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("realtime.rehearsals.night.HISTORY_ROWS_MAX", 2)
    monkeypatch.setattr("realtime.rehearsals.play.PIECES_MAX", 1)
    await ask("PUT", {"of_stream_id": earlier.sale.stream_id, "speed": 1})
    plays = Plays("http://testserver")
    for _ in range(2):
        assert await _at_once(database, redis, earlier, 54, plays) == {}
    whole = await _at_once(database, redis, earlier, 54, plays)
    assert whole["tally"]["units"] == sum(BAGS[:5])
    assert whole["names"]["count"] == 5


async def _at_once(
    database: Database, redis: Redis, earlier: Earlier, seconds: float, plays: Plays
) -> dict[str, Any]:
    if not plays.held:
        await wind_to(database, earlier, seconds)
    await tick_once(database, redis, plays)
    return await told(database, earlier)


async def test_only_one_plays(database: Database, redis: Redis, earlier: Earlier, ask: Ask) -> None:
    await ask("PUT", {"of_stream_id": earlier.sale.stream_id, "speed": 1})
    async with database.begin() as sql:
        assert await sql.scalar(player._ALONE)
        await tick_once(database, redis, Plays())
        assert await told(database, earlier) == {}
    await tick_once(database, redis, Plays())
    assert set(await told(database, earlier)) == set(PARTS)


async def test_one_that_fails_is_told_and_tried_anew(
    database: Database,
    redis: Redis,
    earlier: Earlier,
    ask: Ask,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await ask("PUT", {"of_stream_id": earlier.sale.stream_id, "speed": 1})
    plays = Plays()
    await tick_once(database, redis, plays)
    with monkeypatch.context() as broken, capture_logs() as logs:
        broken.setattr(player, "_states", None)
        await tick_once(database, redis, plays)
        assert [line["event"] for line in logs] == ["rehearsal_failed"]
    assert not plays.held
    now = await _at(database, redis, earlier, 34, plays)
    assert now["tally"]["units"] == sum(BAGS[:3])
