"""Long-poll: the very frames, an etag, and a wait that costs nobody anything."""

import asyncio
import json
import time

import httpx
import pytest
from redis.asyncio import Redis

from realtime import newest
from realtime.bus import ANNOUNCED_AT
from realtime.newest import Newest
from stream_events.database import Database
from tests.factories import Sale
from tests.realtime.conftest import frame, until
from tests.realtime.feed.readers import reading, tally

pytestmark = pytest.mark.usefixtures("redis")


async def test_a_poll_answers_with_the_very_frames_and_an_etag(
    api: httpx.AsyncClient, board: Newest, sale: Sale
) -> None:
    made = frame(3, topic=tally(sale))
    board.publish([made])
    path = f"/v1/feed?topics={tally(sale)},stream/{sale.stream_id}/stock"
    answer = await api.get(path)
    assert answer.json() == {"frames": [json.loads(made.payload)]}
    assert answer.headers["x-feed-live"] == "1"
    again = await api.get(path, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    board.publish([frame(4, topic=tally(sale))])
    newer = await api.get(path, headers={"if-none-match": answer.headers["etag"]})
    assert newer.json()["frames"][0]["version"] == 4
    assert newer.headers["etag"] != answer.headers["etag"]
    # After a restore the same version may say something else: the epoch is part of what is known.
    board.publish([frame(4, topic=tally(sale), epoch=2**52)])
    restored = await api.get(path, headers={"if-none-match": newer.headers["etag"]})
    assert (restored.status_code, restored.json()["frames"][0]["epoch"]) == (200, 2**52)


async def test_a_poll_waits_for_the_next_frame_and_no_longer(
    api: httpx.AsyncClient, board: Newest, sale: Sale
) -> None:
    path = f"/v1/feed?topics={tally(sale)}&wait=25"
    first = await api.get(path)
    known = {"if-none-match": first.headers["etag"]}
    waits = asyncio.create_task(api.get(path, headers=known))
    await asyncio.sleep(0.2)
    assert not waits.done()
    board.publish([frame(1, topic="stream/str_other/tally")])
    await asyncio.sleep(0.1)
    assert not waits.done()
    board.publish([frame(1, topic=tally(sale)), frame(2, topic=tally(sale))])
    answer = await asyncio.wait_for(waits, 1)
    assert [one["version"] for one in answer.json()["frames"]] == [2]
    started = time.monotonic()
    path = f"/v1/feed?topics={tally(sale)}&wait=1"
    nothing = await api.get(path, headers={"if-none-match": f"W/{answer.headers['etag']}"})
    assert nothing.status_code == 304
    assert 0.9 < time.monotonic() - started < 2


async def test_nobody_holds_a_connection_to_sql_while_waiting(
    api: httpx.AsyncClient, board: Newest, sale: Sale, database: Database
) -> None:
    path, headers = f"/v1/feed?topics={tally(sale)}&wait=25", sale.auth("host")
    headers["if-none-match"] = (await api.get(path, headers=headers)).headers["etag"]
    waits = [asyncio.create_task(api.get(path, headers=headers)) for _ in range(30)]
    await until(lambda: len(board.keys()) == 1)
    await until(lambda: database.engine.pool.checkedout() == 0)  # type: ignore[attr-defined]
    board.publish([frame(1, topic=tally(sale))])
    answers = await asyncio.gather(*waits)
    assert {answer.status_code for answer in answers} == {200}
    assert board.keys() == []


async def test_more_than_enough_waiters_are_sent_away_with_a_jittered_pause(
    api: httpx.AsyncClient, board: Newest, sale: Sale, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(newest, "WAITING_MAX", 1)
    monkeypatch.setattr(newest, "READING_MAX", 0)
    path = f"/v1/feed?topics={tally(sale)}&wait=25"
    known = {"if-none-match": (await api.get(path)).headers["etag"]}
    waits = asyncio.create_task(api.get(path, headers=known))
    await asyncio.sleep(0.1)
    refused = [await api.get(path, headers=known) for _ in range(5)]
    refused.append(await api.get(f"/v1/feed/events?topics={tally(sale)}"))
    assert {answer.status_code for answer in refused} == {503}
    assert len({answer.json()["retry_after_ms"] for answer in refused}) > 1
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    # Who need not wait is not refused.
    assert (await api.get(path)).status_code == 200
    board.publish([frame(1, topic=tally(sale))])
    assert (await waits).status_code == 200


async def test_at_the_end_of_the_process_everybody_is_let_go(
    web: httpx.AsyncClient, board: Newest, sale: Sale
) -> None:
    path = f"/v1/feed?topics={tally(sale)}&wait=25"
    known = {"if-none-match": (await web.get(path)).headers["etag"]}
    async with reading(web, topics=tally(sale)) as events:
        waits = asyncio.create_task(web.get(path, headers=known))
        await asyncio.sleep(0.1)
        leaving = asyncio.Event()
        leaving.set()
        await board.run_leaving(leaving)
        assert (await asyncio.wait_for(waits, 1)).status_code == 304
        with pytest.raises(EOFError):
            await events.next(1)
    assert (await web.get(f"/v1/feed/events?topics={tally(sale)}")).status_code == 503


async def test_it_says_when_nobody_looks_at_the_books(
    api: httpx.AsyncClient, board: Newest, sale: Sale, redis: Redis
) -> None:
    await redis.set(ANNOUNCED_AT, 1)
    await until(lambda: not board.is_live())
    assert (await api.get(f"/v1/feed?topics={tally(sale)}")).headers["x-feed-live"] == "0"
