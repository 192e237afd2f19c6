"""Who is thanked: each giver once, by number, for as long as an approved name stands; and no total ever moves."""

import asyncio
from typing import Any

import msgspec
import pytest

from orders.ledger.seal import seal_once
from orders.personal_data import erase
from orders.settlement import settle
from realtime.moderation import naming
from realtime.moderation.name_states import name_states
from realtime.moderation.naming import name_once
from realtime.shapes import Leaders, Names
from tests.factories import make_stream
from tests.orders.payers import run
from tests.realtime.moderation.conftest import Approve, Desk

TALLIES = (
    "SELECT scope_id, seq, raised_minor, sales_minor, orders, units, gifts FROM tallies ORDER BY 1"
)


def numbered(names: Any) -> list[tuple[int, str]]:
    return [(one["n"], one["name"]) for one in names]


async def test_each_giver_has_one_number_in_the_order_of_approval(
    desk: Desk, approve: Approve
) -> None:
    first = await desk.say("First", shopper_id="shp_a")
    second = await desk.say("Second", shopper_id="shp_b")
    await desk.say("Never approved", shopper_id="shp_x")
    await desk.screen()
    assert await desk.decide("moderator", "show", second) == "SHOWN"
    assert await desk.decide("moderator", "show", first) == "SHOWN"
    await approve(None, "From somebody who is never named", shopper_id="shp_n")
    await approve(None, "A message without a name", shopper_id="shp_c")
    again = await approve("Second, newer", shopper_id="shp_b")
    await approve("Third", shopper_id="shp_c")
    state = await desk.state("names")
    msgspec.convert(state, Names)
    assert numbered(state["newest"]) == [(1, "Second, newer"), (2, "First"), (3, "Third")]
    assert state["count"] == 3
    # Hidden, the newer name gives way to the older one; with the older gone too, the number names nobody.
    assert await desk.decide("host", "hide", again) == "HIDDEN"
    assert numbered((await desk.state("names"))["newest"])[0] == (1, "Second")
    assert await desk.decide("host", "hide", second) == "HIDDEN"
    state = await desk.state("names")
    assert (state["count"], numbered(state["newest"])) == (2, [(2, "First"), (3, "Third")])
    assert await desk.decide("host", "show", second) == "SHOWN"
    assert numbered((await desk.state("names"))["newest"])[0] == (1, "Second")


async def test_numbers_have_no_gaps_whoever_approves_at_once(desk: Desk) -> None:
    for n in range(6):
        await desk.invite(f"m{n}")
    placed = [await desk.say(f"N{n}", shopper_id=f"shp_{n % 9}") for n in range(12)]
    await desk.screen()
    await asyncio.gather(
        *(desk.decide(f"m{n % 6}", "show", each, 1) for n, each in enumerate(placed))
    )
    numbers = await desk.rows("SELECT n FROM name_rolls ORDER BY n")
    assert numbers == [(n,) for n in range(1, 10)]
    assert await desk.rows("SELECT names FROM moderation_rules") == [(9,)]


async def test_names_are_read_on_by_number_by_anybody(desk: Desk, approve: Approve) -> None:
    for n in range(5):
        await approve(f"N{n}")
    hidden = await approve("Hidden")
    await approve("Last")
    await desk.decide("host", "hide", hidden)
    answer = await desk.call("nobody", "GET names?limit=4")
    assert answer.headers["cache-control"] == "public, max-age=1"
    page = answer.json()
    assert (numbered(page["items"])[-1], page["count"]) == ((4, "N3"), 6)
    rest = (await desk.call("nobody", "GET names?after=4")).json()
    assert numbered(rest["items"]) == [(5, "N4"), (7, "Last")]
    assert (await desk.call("nobody", "GET names?after=7")).json()["items"] == []


async def test_drafts_and_other_streams_have_no_names(desk: Desk, approve: Approve) -> None:
    await approve("Li Na")
    async with desk.database.begin() as sql:
        other = await make_stream(sql, desk.sale.campaign_id, desk.sale.host_id)
        draft = await make_stream(sql, desk.sale.campaign_id, desk.sale.host_id, state="draft")
    for part in ("names", "credits"):
        found = await desk.api.get(f"/v1/streams/{other.id}/{part}")
        assert found.json()["count"] == 0
        for stream_id in (draft.id, "str_0"):
            assert (await desk.api.get(f"/v1/streams/{stream_id}/{part}")).status_code == 404


async def test_leaders_are_what_the_ledger_says_of_approved_names(
    desk: Desk, approve: Approve
) -> None:
    cause = desk.sale.beneficiary_id
    await approve("Li Na", quantity=2, shopper_id="shp_a")
    await approve("Li Na", quantity=0, gifts=[(cause, 10_000)], shopper_id="shp_a")
    part = await approve("Wang", quantity=3, shopper_id="shp_b")
    whole = await approve("Zhao", quantity=5, shopper_id="shp_c")
    await desk.say("Anonymous yet", quantity=5)
    await desk.say(None, "Of Li Na, without her name", quantity=3, shopper_id="shp_a")
    await approve("Chen", quantity=1, shopper_id="shp_d")
    state = await desk.state("leaders")
    msgspec.convert(state, Leaders)
    expected = [
        ("Li Na", 2 * 2990 + 10_000, 2),
        ("Zhao", 5 * 2990, 1),
        ("Wang", 3 * 2990, 1),
        ("Chen", 2990, 1),
    ]
    for window in ("hour", "today", "stream"):
        found = [(one["name"], one["amount_minor"], one["orders"]) for one in state[window]]
        assert found == expected, window
    [(seq,)] = await desk.rows("SELECT seq FROM tallies WHERE scope_id = :s", s=desk.sale.stream_id)
    assert state["seq"] == seq
    await settle(desk.database, [part.refund("re_1", amount_minor=2990), whole.refund("re_2")])
    found = {one["name"]: one["amount_minor"] for one in (await desk.state("leaders"))["stream"]}
    assert found == {"Li Na": 15_980, "Wang": 2 * 2990, "Chen": 2990}
    # Given back in full, nobody is thanked for it either.
    assert "Zhao" not in str(await desk.state("names"))


async def test_the_hour_passes(desk: Desk, approve: Approve) -> None:
    await approve("Li Na")
    assert (await desk.state("leaders"))["hour"]
    await run(desk.database, "ALTER TABLE ledger_transactions DISABLE TRIGGER USER")
    try:
        await run(
            desk.database, "UPDATE ledger_transactions SET posted_at = now() - interval '61 min'"
        )
    finally:
        await run(desk.database, "ALTER TABLE ledger_transactions ENABLE TRIGGER USER")
    state = await desk.state("leaders")
    assert (state["hour"], len(state["stream"])) == ([], 1)


async def test_credits_are_the_sealed_tally_and_add_up_from_the_ledger(
    desk: Desk, approve: Approve
) -> None:
    cause = desk.sale.beneficiary_id
    await approve("Li Na", quantity=2, shopper_id="shp_a")
    await approve("Li Na", quantity=0, gifts=[(cause, 10_000)], shopper_id="shp_a")
    await desk.say("Not shown", shopper_id="shp_b")
    gone = await desk.say("Gone", shopper_id="shp_c")
    await settle(desk.database, [gone.refund("re_1")])
    async with desk.database.begin() as sql:
        await seal_once(sql)
    found = await desk.get("credits", "nobody")
    assert (found["count"], found["givers"], found["orders"], found["gifts"]) == (1, 2, 2, 1)
    [(raised, seq)] = await desk.rows(
        "SELECT -sum(e.amount_minor), max(s.seq) FROM ledger_entries e JOIN seals s USING (transaction_id)"
        " WHERE e.account LIKE 'beneficiary/%'"
    )
    assert (found["raised_minor"], found["seq"], found["currency"]) == (raised, seq, "CNY")
    # What is posted and not sealed yet is in no sum.
    await desk.say("New", shopper_id="shp_d")
    assert await desk.get("credits", "nobody") == found


async def test_hiding_and_erasing_move_no_total_and_take_the_name_off(
    desk: Desk, approve: Approve
) -> None:
    hidden = await approve("Hidden", quantity=2)
    erased = await approve("Erased", quantity=3)
    kept = await approve("Kept")
    await desk.tell()
    before = await desk.rows(TALLIES)
    tally = await desk.state("tally")
    await desk.decide("host", "hide", hidden)
    async with desk.database.begin() as sql:
        assert (await erase(sql, erased.order_id)).messages == 1
    assert numbered((await desk.state("names"))["newest"]) == [(3, "Kept")]
    leaders = await desk.state("leaders")
    assert [one["name"] for one in leaders["stream"]] == ["Kept"]
    assert await desk.rows(TALLIES) == before
    assert await desk.state("tally") == tally
    assert kept.order_id


async def test_a_name_leaves_a_stream_that_ended_long_ago_as_fast(
    desk: Desk, approve: Approve
) -> None:
    placed = await approve("Li Na")
    await desk.tell()
    await run(
        desk.database,
        "UPDATE streams SET state = 'settled', ended_at = now() - interval '9 days'",
    )
    await run(desk.database, "UPDATE moderation_rules SET names = 0")  # no round visits it
    await desk.tell()
    await run(desk.database, "DELETE FROM order_messages WHERE order_id = :id", id=placed.order_id)
    assert await desk.state("names") == {"count": 0, "newest": []}
    assert await desk.rows("SELECT 1 FROM stale_names") == []


async def test_names_are_read_only_where_the_ledger_or_a_name_moved(
    desk: Desk, approve: Approve, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[set[str]] = []
    read = name_states

    async def noted(sql: Any, stream_ids: Any) -> Any:
        looks.append(set(stream_ids))
        return await read(sql, stream_ids)

    monkeypatch.setattr("realtime.moderation.naming.name_states", noted)
    placed = await approve("Li Na")
    await desk.tell()

    async def look() -> int:
        looks.clear()
        return await name_once(desk.database, desk.redis, desk.naming)

    assert (await look(), looks) == (0, [set()])
    await desk.say("Not seen yet")
    async with desk.database.begin() as sql:
        await seal_once(sql)
    assert (await look(), looks) == (1, [{desk.sale.stream_id}])  # The leaders, under a new number.
    await desk.decide("host", "hide", placed)
    assert (await look(), looks) == (2, [{desk.sale.stream_id}])
    assert (await look(), looks) == (0, [set()])


async def test_of_two_that_tell_names_one_does(desk: Desk, approve: Approve) -> None:
    await approve("Li Na")
    async with desk.database.begin() as sql:
        assert await sql.scalar(naming._ALONE)
        assert await name_once(desk.database, desk.redis, desk.naming) == 0
    assert await name_once(desk.database, desk.redis, desk.naming) == 2
