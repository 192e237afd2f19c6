"""Who may watch what: each role's own things, and nothing to be learnt by asking for other people's."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from websockets.exceptions import ConnectionClosed

from realtime.frames import (
    MESSAGE_BYTES_MAX,
    TICKET_CHARS_MAX,
    TOPIC_CHARS_MAX,
    TOPICS_MAX,
    Pass,
    first_message,
)
from realtime.tickets import admit, ended_keys, make_ticket, read_ticket
from stream_events.access import PUBLIC, Caller, Role, Signer
from stream_events.database import Database
from stream_events.errors import Problem
from stream_events.ids import new_id
from stream_events.tables import Key, Principal
from tests.factories import Sale, make_host, make_stream
from tests.realtime.conftest import Served


async def verdict(
    database: Database, caller: Caller, topics: list[str], kind: str | None = None
) -> int | str:
    """Return the kind a pass is for, or the status of the refusal."""
    async with database.begin() as sql:
        try:
            return (await admit(sql, caller, topics, kind)).kind
        except Problem as problem:
            return problem.status


async def test_each_role_watches_its_own(database: Database, sale: Sale) -> None:
    async with database.begin() as sql:
        other_host = await make_host(sql)
        other = await make_stream(sql, sale.campaign_id, other_host.id)
    own = [f"stream/{sale.stream_id}/tally", f"campaign/{sale.campaign_id}/tally"]
    others = [f"stream/{other.id}/tally"]
    farmer, other_farmer = [f"farmer/{sale.farmer_id}/sales"], ["farmer/frm_other/sales"]
    callers = {
        "public": PUBLIC,
        "shopper": Caller("shp_1", Role.SHOPPER),
        "farmer": Caller("p", Role.FARMER, farmer_id=sale.farmer_id),
        "overlay": Caller("p", Role.OVERLAY, stream_id=sale.stream_id),
        "moderator": Caller("p", Role.MODERATOR, stream_id=sale.stream_id),
        "host": Caller("p", Role.HOST, host_id=sale.host_id),
        "operator": Caller("p", Role.OPERATOR),
    }
    seen = {
        name: [
            await verdict(database, caller, topics)
            for topics in (own, others, farmer, other_farmer, own + others, own + other_farmer)
        ]
        for name, caller in callers.items()
    }
    assert seen == {
        "public": ["shop", "shop", 404, 404, "shop", 404],
        "shopper": ["shop", "shop", 404, 404, "shop", 404],
        "farmer": ["farmer", "farmer", "farmer", 404, "farmer", 404],
        "overlay": ["overlay", 404, 404, 404, 404, 404],
        "moderator": ["moderator", 404, 404, 404, 404, 404],
        "host": ["console", 404, 404, 404, 404, 404],
        "operator": ["console"] * 6,
    }


async def test_what_is_not_for_the_audience_is_not_found_by_it(
    database: Database, sale: Sale
) -> None:
    async with database.begin() as sql:
        other_host = await make_host(sql)
        other = await make_stream(sql, sale.campaign_id, other_host.id)
    own = sale.stream_id
    topics = {
        "review": f"stream/{own}/review",
        "alerts": f"stream/{own}/alerts/main",
        "rehearsal": f"rehearsal/{own}/tally",
        "rehearsed alerts": f"rehearsal/{own}/alerts/main",
        "rehearsed review": f"rehearsal/{own}/review",
        "other's review": f"stream/{other.id}/review",
        "other's alerts": f"stream/{other.id}/alerts/main",
        "other's rehearsal": f"rehearsal/{other.id}/tally",
        "names": f"stream/{own}/names",
    }
    callers = {
        "public": PUBLIC,
        "shopper": Caller("shp_1", Role.SHOPPER),
        "farmer": Caller("p", Role.FARMER, farmer_id=sale.farmer_id),
        "overlay": Caller("p", Role.OVERLAY, stream_id=own),
        "moderator": Caller("p", Role.MODERATOR, stream_id=own),
        "host": Caller("p", Role.HOST, host_id=sale.host_id),
        "operator": Caller("p", Role.OPERATOR),
    }
    seen = {
        role: {
            name
            for name, topic in topics.items()
            if await verdict(database, caller, [topic]) != 404
            and await verdict(database, caller, [f"stream/{own}/tally", topic]) != 404
        }
        for role, caller in callers.items()
    }
    on_stage = {"alerts", "rehearsal", "rehearsed alerts", "names"}
    assert seen == {
        "public": {"names"},
        "shopper": {"names"},
        "farmer": {"names"},
        "overlay": on_stage,
        "moderator": {"review", "names"},
        "host": on_stage | {"review", "rehearsed review"},
        "operator": set(topics),
    }


KEY_ENDS: dict[str, Callable[[Key, Principal], object]] = {
    "revoked": lambda key, _: setattr(key, "revoked_at", datetime.now(UTC)),
    "expired": lambda key, _: setattr(key, "expires_at", datetime.now(UTC)),
    "of one disabled": lambda _, owner: setattr(owner, "disabled_at", datetime.now(UTC)),
}


@pytest.mark.parametrize("how", KEY_ENDS)
async def test_a_key_ends_in_each_way_it_can(database: Database, sale: Sale, how: str) -> None:
    async with database.begin() as sql:
        keys = {key.id: key for key in await sql.scalars(select(Key))}
        asked = [*keys, "key_never_was"]
        # One that will end stays alive until then.
        later = next(reversed(keys.values()))
        later.expires_at = datetime.now(UTC) + timedelta(hours=1)
        await sql.flush()
        assert await ended_keys(sql, asked) == {"key_never_was"}
        ending = next(iter(keys.values()))
        KEY_ENDS[how](ending, await sql.get_one(Principal, ending.principal_id))
        await sql.flush()
    async with database.begin() as sql:
        assert await ended_keys(sql, asked) == {"key_never_was", ending.id}


@pytest.mark.parametrize(
    "topics",
    [["nothing"], ["stream/str_1/tally/"], ["stream/str_1/tally", "x/y/z"], ["topics"]],
)
async def test_what_is_no_topic_is_not_found(database: Database, topics: list[str]) -> None:
    assert await verdict(database, Caller("p", Role.OPERATOR), topics) == 404


async def test_a_ticket_is_for_some_topics_but_not_for_many(database: Database) -> None:
    topics = [f"stream/str_{n}/tally" for n in range(TOPICS_MAX + 1)]
    assert await verdict(database, PUBLIC, topics) == 422
    assert await verdict(database, PUBLIC, []) == 422
    assert await verdict(database, PUBLIC, topics[:1] * 50) == "shop"


async def test_viewers_are_counted_as_what_they_may_be(database: Database, sale: Sale) -> None:
    topics = [f"stream/{sale.stream_id}/tally"]
    host = Caller("p", Role.HOST, host_id=sale.host_id)
    assert await verdict(database, host, topics, "overlay") == "overlay"
    assert await verdict(database, PUBLIC, topics, "overlay") == 403
    assert await verdict(database, host, topics, "king") == 403


async def test_a_public_ticket_costs_no_query(sale: Sale) -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/nothing")
    assert await verdict(away, PUBLIC, [f"stream/{sale.stream_id}/tally"]) == "shop"
    await away.close()


def test_the_largest_ticket_fits(signer: Signer) -> None:
    topics = tuple(sorted(f"campaign/{new_id('campaign')}/tally" for _ in range(TOPICS_MAX)))
    admitted = Pass("moderator", topics, new_id("key"))
    ticket = make_ticket(signer, admitted)
    assert len(ticket) <= TICKET_CHARS_MAX
    assert read_ticket(signer, ticket) == admitted
    have = {f"{n:x<{TOPIC_CHARS_MAX}}": [2**53, 2**53] for n in range(TOPICS_MAX)}
    message = json.dumps({"ticket": "t" * TICKET_CHARS_MAX, "have": have})
    assert len(message) <= MESSAGE_BYTES_MAX
    assert first_message(message) is not None


async def test_a_ticket_says_what_its_holder_gets_and_no_more(served: Served) -> None:
    topics = ("stream/str_1/stock",)
    client = await served.watch(*topics)
    (viewer,) = served.hub.viewers()
    assert viewer.group.admitted == Pass("overlay", topics)
    await client.send('{"ticket": "another"}')
    with pytest.raises(ConnectionClosed):
        await client.recv()
