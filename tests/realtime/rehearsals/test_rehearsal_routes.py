"""Who may rehearse with what, and what stopping leaves behind."""

import httpx
from redis.asyncio import Redis
from sqlalchemy import text

from realtime.rehearsals.play import PARTS
from realtime.rehearsals.player import Plays, tick_once
from stream_events.access import Signer
from stream_events.database import Database
from tests.factories import make_stream, seed_sale
from tests.realtime.announced import Listener, run_sql
from tests.realtime.conftest import until
from tests.realtime.rehearsals.conftest import Ask
from tests.realtime.rehearsals.earlier import Earlier, pretending, told, wind_to

NOTHING = {
    "of_stream_id": None,
    "speed": None,
    "started_at": None,
    "position_s": None,
    "length_s": None,
    "finished": False,
}


async def test_a_rehearsal_tells_where_it_is(
    database: Database, redis: Redis, earlier: Earlier, ask: Ask
) -> None:
    assert (await ask("GET")).json() == NOTHING
    body = {"of_stream_id": earlier.sale.stream_id, "speed": 10}
    started = (await ask("PUT", body)).json()
    assert started == (await ask("GET", role="operator")).json()
    assert {name: started[name] for name in started if name != "started_at"} == {
        **body,
        "position_s": 0,
        "length_s": 80,
        "finished": False,
    }
    await wind_to(database, earlier, 47.5)
    assert (await ask("GET")).json()["position_s"] == 47
    await wind_to(database, earlier, 4_000)
    over = (await ask("GET")).json()
    assert (over["position_s"], over["finished"]) == (80, False)
    await tick_once(database, redis, Plays())
    assert (await ask("GET")).json()["finished"] is True
    again = (await ask("PUT", {**body, "speed": 1})).json()
    assert (again["position_s"], again["speed"], again["finished"]) == (0, 1, False)


async def test_it_plays_three_hours_at_most(database: Database, earlier: Earlier, ask: Ask) -> None:
    await run_sql(
        database,
        "UPDATE streams SET ended_at = live_at + interval '40 hours' WHERE id = :id",
        id=earlier.sale.stream_id,
    )
    for speed in (1, 10):
        body = {"of_stream_id": earlier.sale.stream_id, "speed": speed}
        assert (await ask("PUT", body)).json()["length_s"] == 10_800 * speed


async def test_what_is_paid_late_belongs_to_the_night_and_later_refunds_do_not(
    database: Database, earlier: Earlier, ask: Ask
) -> None:
    ended = "UPDATE streams SET ended_at = live_at + make_interval(secs => :s) WHERE id = :id"
    body = {"of_stream_id": earlier.sale.stream_id, "speed": 1}
    await run_sql(database, ended, s=50, id=earlier.sale.stream_id)
    assert (await ask("PUT", body)).json()["length_s"] == 70
    async with pretending(database) as sql:
        await sql.execute(
            text("UPDATE tally_history SET at = at + interval '3 days' WHERE gifts > 0")
        )
    assert (await ask("PUT", body)).json()["length_s"] == 50 + 900


async def test_stopping_leaves_nothing_but_word_that_it_is_over(
    database: Database, redis: Redis, earlier: Earlier, ask: Ask, bus: Listener
) -> None:
    plays, body = Plays(), {"of_stream_id": earlier.sale.stream_id, "speed": 1}
    await ask("PUT", body)
    await tick_once(database, redis, plays)
    assert set(await told(database, earlier)) == set(PARTS)
    before = await _epoch(database, earlier, "tally")
    assert (await ask("DELETE")).json() == NOTHING
    left = await told(database, earlier)
    assert set(left) == {"status"}
    assert (left["status"]["state"], left["status"]["live_at"]) == ("ended", None)
    await until(lambda: bus.of(earlier.topic("status"))[-1]["state"] == left["status"])
    bus.frames.clear()
    assert await tick_once(database, redis, plays) == 0
    assert (await ask("DELETE")).status_code == 200, "there is none to stop any more"
    assert (await told(database, earlier)) == left
    assert bus.frames == []
    # A new one replaces whatever gateways still hold of the old one.
    await ask("PUT", body)
    await tick_once(database, redis, plays)
    assert await _epoch(database, earlier, "tally") > before
    assert (await told(database, earlier))["status"]["state"] == "live"
    # So does one that is started over another: nothing of the night before is left under it.
    before = await _epoch(database, earlier, "tally")
    await ask("PUT", body)
    assert await told(database, earlier) == {}
    await tick_once(database, redis, plays)
    assert await _epoch(database, earlier, "tally") > before


async def _epoch(database: Database, earlier: Earlier, part: str) -> int:
    wanted = text("SELECT epoch FROM topics WHERE topic = :topic")
    async with database.begin() as sql:
        return int(await sql.scalar(wanted, {"topic": earlier.topic(part)}) or 0)


async def test_it_may_run_beside_a_live_sale(
    database: Database, earlier: Earlier, ask: Ask
) -> None:
    await run_sql(
        database,
        "UPDATE streams SET state = 'live', live_at = now() WHERE id = :id",
        id=earlier.stage,
    )
    assert (await ask("PUT", {"of_stream_id": earlier.sale.stream_id})).status_code == 200


async def test_only_an_own_stream_that_is_over_and_sold_something_is_played(
    database: Database, signer: Signer, earlier: Earlier, ask: Ask, api: httpx.AsyncClient
) -> None:
    other = await seed_sale(database, signer, sku="SAUCE-1")
    await run_sql(database, "UPDATE streams SET state = 'ended' WHERE id = :id", id=other.stream_id)
    foreign = await ask("PUT", {"of_stream_id": other.stream_id})
    missing = await ask("PUT", {"of_stream_id": "str_0"})
    assert (foreign.status_code, foreign.json()) == (404, missing.json())
    elsewhere = await api.put(
        earlier.path,
        headers=other.auth("host"),
        json={"of_stream_id": other.stream_id},
    )
    assert elsewhere.status_code == 404
    unsold = await ask("PUT", {"of_stream_id": other.stream_id}, "operator")
    assert (unsold.status_code, unsold.json()["code"]) == (409, "nothing_to_rehearse")
    unended = await ask("PUT", {"of_stream_id": earlier.stage})
    assert (unended.status_code, unended.json()["code"]) == (409, "illegal_state")
    for speed in (2, 0, "10", None):
        refused = await ask("PUT", {"of_stream_id": earlier.sale.stream_id, "speed": speed})
        assert refused.status_code == 422
    assert (await ask("GET")).json() == NOTHING


async def test_another_currency_is_refused(database: Database, earlier: Earlier, ask: Ask) -> None:
    await run_sql(
        database,
        "INSERT INTO campaigns (id, name, currency, mode, goal_minor)"
        " SELECT 'cmp_usd', 'Abroad', 'USD', mode, goal_minor FROM campaigns",
    )
    await run_sql(
        database,
        "UPDATE streams SET campaign_id = 'cmp_usd' WHERE id = :id",
        id=earlier.stage,
    )
    refused = await ask("PUT", {"of_stream_id": earlier.sale.stream_id})
    assert (refused.status_code, refused.json()["code"]) == (409, "nothing_to_rehearse")


async def test_only_so_many_rehearse_at_once(
    database: Database, earlier: Earlier, ask: Ask
) -> None:
    body = {"of_stream_id": earlier.sale.stream_id}
    await ask("PUT", body)
    async with database.begin() as sql:
        for _ in range(20):
            stream = await make_stream(sql, earlier.sale.campaign_id, earlier.sale.host_id)
            await sql.execute(
                text(
                    "INSERT INTO rehearsals (stream_id, of_stream_id, speed, from_at, to_at)"
                    " SELECT :id, of_stream_id, speed, from_at, to_at FROM rehearsals LIMIT 1"
                ),
                {"id": stream.id},
            )
    full = await ask("PUT", body)
    assert (full.status_code, full.json()["code"]) == (409, "too_many_rehearsals")
    await run_sql(database, "UPDATE rehearsals SET finished_at = now()")
    assert (await ask("PUT", body)).status_code == 200
