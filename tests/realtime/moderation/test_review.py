"""The queue: what comes into it, who sees and decides what, and that nothing is decided about words nobody saw."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import msgspec
import pytest
from sqlalchemy import text

from orders.settlement import settle
from realtime.moderation import screening
from realtime.moderation.rules import lock_rules
from realtime.moderation.screening import Queues, run_review, tell_once
from realtime.shapes import Review as ReviewShape
from stream_events.access import Signer
from stream_events.ids import new_id
from tests.factories import seed_sale
from tests.orders.payers import run
from tests.realtime.announced import Listener
from tests.realtime.moderation.conftest import Desk


async def test_only_what_is_paid_for_and_meant_to_be_shown_comes_in(desk: Desk) -> None:
    unpaid = await desk.say("Unpaid", paid=False)
    await desk.say("Silent", show=False)
    paid = await desk.say("Li Na", "Hello", "For grandfather")
    refunded = await desk.say("Gone")
    await settle(desk.database, [refunded.refund("re_1")])
    assert await desk.screen() == 1
    [item] = await desk.listed("pending", "moderator")
    assert (item["order_id"], item["name"], item["message"], item["dedication"]) == (
        paid.order_id,
        "Li Na",
        "Hello",
        "For grandfather",
    )
    assert (item["amount_minor"], item["currency"], item["kind"]) == (2990, "CNY", "goods")
    assert (item["flags"], item["reason"], item["claimed_by"]) == ([], None, None)
    for other in (unpaid, refunded):
        assert await desk.decide("host", "show", other) == "unknown"
    await settle(desk.database, [unpaid.payment()])
    assert await desk.screen() == 1
    assert len(await desk.listed("pending")) == 2
    await settle(desk.database, [paid.refund("re_2")])
    assert [each["name"] for each in await desk.listed("pending")] == ["Unpaid"]
    assert await desk.decide("host", "show", paid) == "returned"
    # A bank that holds the whole of it has taken it away as well.
    await run(
        desk.database,
        "UPDATE orders SET state = 'DISPUTED', disputed_minor = received_minor WHERE id = :id",
        id=unpaid.order_id,
    )
    assert await desk.listed("pending") == []
    assert await desk.decide("host", "show", unpaid) == "returned"


async def test_texts_of_another_stream_are_none_of_ours(desk: Desk, signer: Signer) -> None:
    other = await seed_sale(desk.database, signer, sku="SAUCE")
    theirs = Desk(desk.api, desk.database, desk.redis, other)
    text_of_theirs = await theirs.say("Li Na", "Hello")
    assert await desk.screen() == 1
    assert await desk.listed("pending") == []
    for role in ("moderator", "host", "operator"):
        for decision in ("pass", "show", "hide"):
            assert await desk.decide(role, decision, text_of_theirs) == "unknown"
    assert (
        await desk.call("host", f"PUT review/{text_of_theirs.order_id}/claim")
    ).status_code == 404
    [item] = await theirs.listed("pending")
    assert (item["display"], item["revision"]) == ("PENDING_REVIEW", 1)
    assert await theirs.decide("host", "show", text_of_theirs) == "SHOWN"


async def test_one_pass_shows_takes_back_and_keeps_who_did(desk: Desk) -> None:
    placed = await desk.say("Li Na")
    await desk.screen()
    assert await desk.decide("moderator", "show", placed) == "SHOWN"
    assert await desk.decide("moderator", "hide", placed) == "HIDDEN"
    assert await desk.decide("moderator", "show", placed) == "host_only"
    assert await desk.decide("host", "show", placed) == "SHOWN"
    kept = await desk.rows(
        "SELECT p.role, decision, from_display, to_display, revision FROM review_decisions d"
        " JOIN principals p ON p.id = d.by ORDER BY d.id"
    )
    assert kept == [
        ("moderator", "show", "PENDING_REVIEW", "SHOWN", 1),
        ("moderator", "hide", "SHOWN", "HIDDEN", 2),
        ("host", "show", "HIDDEN", "SHOWN", 3),
    ]


async def test_two_pass_wants_two_people_at_once_or_after_each_other(desk: Desk) -> None:
    await desk.rules(mode="two_pass")
    await desk.invite("second")
    placed = await desk.say("Li Na", shopper_id=desk.sale.shopper_id)
    await desk.screen()
    assert await desk.decide("moderator", "pass", placed) == "PASSED"
    assert await desk.decide("moderator", "show", placed) == "second_person"
    # Said again word for word it stays half way, which is nothing the giver has to know.
    path, own = f"/v1/orders/{placed.order_id}/message", desk.sale.auth("shopper")
    same = await desk.api.put(path, json={"name": "Li Na", "show": True}, headers=own)
    assert same.json()["display"] == "PENDING_REVIEW"
    [item] = await desk.listed("passed", "second")
    assert item["passed_by"]["name"] == "Moderator"
    assert await desk.decide("second", "show", placed) == "SHOWN"
    both = await desk.say("Wang")
    await desk.screen()
    said = await asyncio.gather(
        desk.decide("moderator", "pass", both, 1), desk.decide("second", "pass", both, 1)
    )
    assert sorted(said) == ["PASSED", "changed"]


async def test_the_host_alone_decides_in_host_mode(desk: Desk) -> None:
    await desk.rules(mode="host")
    placed = await desk.say("Li Na")
    await desk.screen()
    assert await desk.decide("moderator", "show", placed) == "host_only"
    assert await desk.decide("operator", "show", placed) == "SHOWN"


async def test_words_that_changed_are_not_decided_about(desk: Desk) -> None:
    placed = await desk.say("Li Na", "Hello", shopper_id=desk.sale.shopper_id)
    await desk.screen()
    [item] = await desk.listed("pending")
    path, own = f"/v1/orders/{placed.order_id}/message", desk.sale.auth("shopper")
    changed = {"name": "Li Na", "message": "Something else", "show": True}
    assert (await desk.api.put(path, json=changed, headers=own)).status_code == 200
    assert await desk.listed("pending") == []
    assert await desk.decide("moderator", "show", placed, item["revision"]) == "changed"
    await desk.screen()
    [item] = await desk.listed("pending")
    assert item["message"] == "Something else"
    assert await desk.decide("moderator", "show", placed, item["revision"]) == "SHOWN"
    assert (await desk.api.put(path, json=changed, headers=own)).json()["display"] == "SHOWN"
    worse = await desk.api.put(path, json={**changed, "message": "Bad"}, headers=own)
    assert worse.json()["display"] == "PENDING_REVIEW"
    await desk.screen()
    [item] = await desk.listed("pending")
    assert (item["message"], item["passed_by"], item["decided_by"]) == ("Bad", None, None)


async def test_a_blocked_word_hides_and_only_a_host_overrules_it(desk: Desk) -> None:
    await desk.rules(blocked=["scam"], message_graphemes_max=10)
    placed = await desk.say("S.C.A.M", "see www.example.com")
    longer = await desk.say("Li", "x" * 11)
    fine = await desk.say("Wang", "x" * 10)
    await desk.screen()
    hidden = {item["order_id"]: item for item in await desk.listed("hidden")}
    assert [hidden[each.order_id]["reason"] for each in (placed, longer)] == ["blocked", "too_long"]
    flags = {(flag["field"], flag["kind"]) for flag in hidden[placed.order_id]["flags"]}
    assert flags == {("name", "blocked"), ("message", "link"), ("message", "long")}
    assert hidden[placed.order_id]["decided_by"]["name"] == "filter"
    assert [item["order_id"] for item in await desk.listed("pending")] == [fine.order_id]
    for each in (placed, longer):
        assert await desk.decide("moderator", "show", each) == "host_only"
        assert await desk.decide("host", "show", each) == "SHOWN"
    kept = await desk.rows("SELECT DISTINCT by, decision FROM review_decisions WHERE by = 'filter'")
    assert kept == [("filter", "hide")]


async def test_new_rules_count_for_what_is_still_pending_at_once(desk: Desk) -> None:
    placed, passed = await desk.say("Scammer"), await desk.say("Scammer two")
    await desk.rules(mode="two_pass")
    await desk.screen()
    assert await desk.decide("moderator", "pass", passed) == "PASSED"
    await desk.rules(mode="two_pass", blocked=["scam"])
    await desk.invite("second")
    # Before the loop comes round, they are neither listed nor can they be shown.
    assert await desk.listed("pending") == await desk.listed("passed") == []
    assert await desk.decide("second", "show", placed) == "blocked"
    assert await desk.decide("second", "show", passed) == "blocked"
    assert await desk.screen() == 2
    assert len(await desk.listed("hidden")) == 2


async def test_many_are_decided_at_once_each_by_itself(desk: Desk) -> None:
    placed = [await desk.say(f"Name {n}") for n in range(4)]
    await desk.screen()
    stranger = new_id("ord")
    decisions = [{"order_id": each.order_id, "revision": 1, "decision": "show"} for each in placed]
    decisions[2]["revision"] = 7
    decisions += [{"order_id": stranger, "revision": 1, "decision": "show"}, decisions[0]]
    answers = [
        (await desk.call("moderator", "POST review", {"decisions": decisions})).json()["outcomes"]
        for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert [one["refused"] or one["display"] for one in answers[0]] == [
        "SHOWN",
        "SHOWN",
        "changed",
        "SHOWN",
        "unknown",
        "SHOWN",
    ]
    assert len(await desk.rows("SELECT 1 FROM review_decisions")) == 3
    for many in ([], decisions * 17):
        refused = await desk.call("moderator", "POST review", {"decisions": many})
        assert refused.status_code == 422


async def test_pages_go_on_from_the_oldest(desk: Desk) -> None:
    placed = [await desk.say(f"Name {n}") for n in range(5)]
    await desk.screen()
    found: list[str] = []
    part = "review?limit=2"
    while part:
        page = await desk.get(part, "moderator")
        found += [item["order_id"] for item in page["items"]]
        part = f"review?limit=2&cursor={page['next']}" if page["next"] else ""
    assert found == [each.order_id for each in placed]


async def test_a_claim_is_seen_by_the_others_and_runs_out(desk: Desk) -> None:
    await desk.invite("second")
    placed = await desk.say("Li Na")
    path = f"PUT review/{placed.order_id}/claim"
    assert (await desk.call("second", path)).status_code == 404
    await desk.screen()
    before = (await desk.state("review"))["revision"]
    mine = (await desk.call("second", path)).json()
    assert (mine["mine"], mine["claimed_by"]["name"]) == (True, "second")
    until = datetime.fromisoformat(mine["claimed_until"]) - datetime.now(UTC)
    assert timedelta(seconds=25) < until <= timedelta(seconds=31)
    theirs = (await desk.call("moderator", path)).json()
    assert (theirs["mine"], theirs["claimed_by"]["name"]) == (False, "second")
    [item] = await desk.listed("pending", "moderator")
    assert item["claimed_by"]["name"] == "second"
    assert (await desk.state("review"))["revision"] > before
    await run(desk.database, "UPDATE reviews SET claimed_until = now() - interval '1 s'")
    [item] = await desk.listed("pending", "moderator")
    assert item["claimed_by"] is None
    assert (await desk.call("moderator", path)).json()["mine"] is True


async def test_the_topic_counts_and_names_nobody(desk: Desk, bus: Listener) -> None:
    placed = [await desk.say(f"Secret {n}", "Words") for n in range(3)]
    await desk.rules(mode="two_pass")
    state = await desk.state("review")
    assert (state["waiting"], state["passed"], state["unread"]) == (3, 0, 0)
    await desk.decide("moderator", "pass", placed[0])
    await desk.decide("host", "show", placed[1])
    state = await desk.state("review")
    msgspec.convert(state, ReviewShape)
    assert (state["waiting"], state["passed"], state["unread"]) == (1, 1, 1)
    await desk.decide("host", "hide", placed[0])
    await run(desk.database, "DELETE FROM order_messages WHERE display <> 'HIDDEN'")
    state = await desk.state("review")
    assert (state["waiting"], state["passed"], state["unread"], state["oldest_at"]) == (
        0,
        0,
        0,
        None,
    )
    reviews = bus.of(f"stream/{desk.sale.stream_id}/review")
    assert reviews
    assert "Secret" not in str(reviews)


async def test_a_decision_is_told_within_half_a_second(desk: Desk, bus: Listener) -> None:
    stop = asyncio.Event()
    loop = asyncio.create_task(run_review(desk.database, desk.redis, stop))
    topic = f"stream/{desk.sale.stream_id}/review"

    async def told(waiting: int) -> float:
        started = time.monotonic()
        while not [frame for frame in bus.of(topic) if frame["state"]["waiting"] == waiting][-1:]:
            assert time.monotonic() - started < 3
            await asyncio.sleep(0.005)
        return time.monotonic() - started

    placed = await desk.say("Li Na")
    assert await told(1) < 1.0
    bus.frames.clear()
    assert await desk.decide("moderator", "show", placed) == "SHOWN"
    assert await told(0) < 0.5
    stop.set()
    await loop


async def test_a_long_queue_is_counted_once_a_second_and_a_short_one_with_each_change(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues, at_s = Queues(), 1_000.0
    monkeypatch.setattr(screening, "time", SimpleNamespace(monotonic=lambda: at_s, time=time.time))

    async def waiting_after_a_change() -> list[int]:
        await desk.say("Li Na")
        await desk.screen()
        frames = await tell_once(desk.database, desk.redis, queues)
        return [msgspec.json.decode(frame.payload)["state"]["waiting"] for frame in frames]

    monkeypatch.setattr(screening, "COUNTED_AT_ONCE_MAX", 2)
    assert [await waiting_after_a_change() for _ in range(3)] == [[1], [2], [3]]
    at_s += 0.9
    assert await waiting_after_a_change() == []
    assert not queues.counted, "what nobody counted is not done with, whatever else happens"
    at_s += 0.1
    assert await waiting_after_a_change() == [5]
    assert queues.counted


@pytest.mark.parametrize("call", ["PUT review/{}/claim", "PUT reading/{}"])
async def test_who_waits_for_a_decision_about_a_text_holds_nothing_of_it(
    desk: Desk, call: str
) -> None:
    placed = await desk.say("Li Na", "Hello")
    await desk.screen()
    await desk.decide("host", "show", placed)
    body = {"mark": "read"} if "reading" in call else None
    async with desk.database.begin() as sql:
        await lock_rules(sql, desk.sale.stream_id)
        asked = asyncio.create_task(desk.call("host", call.format(placed.order_id), body))
        for _ in range(500):
            if await desk.rows("SELECT 1 FROM pg_locks WHERE NOT granted"):
                break
            await asyncio.sleep(0.01)
        # As a decision does after the rules: were the text held, each would wait for the other.
        await sql.execute(text("SELECT 1 FROM reviews FOR UPDATE NOWAIT"))
    assert (await asked).status_code == 200
