"""The reading queue: approved messages only, marked by the host, with an honest guess at how long they take."""

import pytest

from realtime.moderation.reading_time import reading_s
from tests.realtime.moderation.conftest import Approve, Desk


@pytest.mark.parametrize(
    ("texts", "seconds"),
    [
        (("花生真好吃",), 3),
        (("加油" * 20,), 11),
        (("x" * 150,), 11),
        (("x",), 2),
        ((None, "Play well, children!"), 3),
        (("李娜", "こんにちは", "안녕"), 4),
        ((None,), 1),
    ],
)
def test_reading_takes_as_long_as_its_script(texts: tuple[str | None, ...], seconds: int) -> None:
    assert reading_s(*texts) == seconds


async def test_approved_messages_are_read_marked_and_gone_when_hidden(
    desk: Desk, approve: Approve
) -> None:
    first = await approve("Li Na", "Hello")
    second = await approve(None, None, "For grandfather")
    await approve("Only a name")
    await desk.say("Waiting", "Not yet")
    await desk.screen()
    items = (await desk.get("reading"))["items"]
    assert [item["order_id"] for item in items] == [first.order_id, second.order_id]
    assert [item["reading_s"] for item in items] == [2, 2]
    for mark in ("pinned", "read", "skipped"):
        done = await desk.call("host", f"PUT reading/{first.order_id}", {"mark": mark})
        assert done.json() == {"order_id": first.order_id, "mark": mark}
        [item] = (await desk.get(f"reading?state={mark}"))["items"]
        assert item["order_id"] == first.order_id
    assert (await desk.state("review"))["unread"] == 1
    await desk.decide("host", "hide", first)
    assert (await desk.get("reading?state=skipped"))["items"] == []
    gone = await desk.call("host", f"PUT reading/{first.order_id}", {"mark": "unread"})
    assert gone.status_code == 404
    await desk.decide("host", "show", first)
    assert len((await desk.get("reading?state=skipped"))["items"]) == 1
    assert (await desk.call("moderator", "GET reading")).status_code == 403
