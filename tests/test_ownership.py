"""What is somebody's is nobody else's: every route of an order, a stream, a farmer or a host, called by strangers.

A stranger holds a good credential of the right kind, for other things. The answer is the one for what does not
exist, byte for byte, and nothing has changed. Routes come from the description: a new one is tried by itself.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Final

import pytest_asyncio
from redis.asyncio import Redis

from stream_events.access import new_shopper, order_token
from stream_events.database import Database
from stream_events.ids import new_id
from tests.bad_requests import Describer
from tests.factories import bearer, seed_sale
from tests.good_bodies import good_body
from tests.orders.payers import rows
from tests.served import Served, roles_of, serving

# Whose a thing is, where a route may be called by that role at all: operators may touch everything.
OWNERS: Final[Mapping[str, frozenset[str]]] = {
    "{order_id}": frozenset({"shopper", "holder", "host"}),
    "{stream_id}": frozenset({"host", "overlay", "moderator"}),
    "{farmer_id}": frozenset({"farmer"}),
    "{host_id}": frozenset({"host"}),
    "{product_id}": frozenset({"farmer"}),
    "{principal_id}": frozenset({"host", "farmer"}),
}
# They know shoppers alone and look nobody else up.
HOT: Final = ("POST /v1/streams/{stream_id}/orders", "POST /v1/streams/{stream_id}/donations")
STANDING: Final = (
    "SELECT id, state, fulfilment, state_at FROM orders ORDER BY id",
    "SELECT count(*) FROM order_contacts",
    "SELECT count(*) FROM order_messages",
    "SELECT count(*) FROM order_salts",
    "SELECT count(*) FROM refunds",
    "SELECT count(*) FROM refund_requests",
    "SELECT count(*) FROM pay_attempts",
    "SELECT count(*) FROM offer_terms",
    "SELECT total FROM stock ORDER BY id",
    "SELECT state, title, shipping::text FROM streams ORDER BY id",
    "SELECT count(*) FROM boards",
    "SELECT count(*) FROM milestones",
    "SELECT count(*) FROM keys WHERE revoked_at IS NULL AND expires_at IS NULL",
    "SELECT count(*) FROM principals WHERE disabled_at IS NULL",
)


@pytest_asyncio.fixture(loop_scope="session")
async def service(
    database: Database, redis: Redis, database_url: str, redis_url: str
) -> AsyncIterator[Served]:
    async with serving(database, redis, database_url, redis_url) as served:
        yield served


async def _strangers(service: Served, database: Database) -> dict[str, dict[str, str]]:
    other = await seed_sale(database, service.signer, sku="SAUCE-1")
    _, token = new_shopper(service.signer)
    return {
        **{role: other.auth(role) for role in ("host", "farmer", "overlay", "moderator")},
        "shopper": bearer(token),
        "holder": bearer(order_token(service.signer, new_id("ord"))),
        "public": {},
    }


def _expected(name: str, path: str, role: str, allowed: set[str]) -> int | None:
    if role not in allowed:
        return 401 if role == "public" or name in HOT else 403
    mine = any(role in roles for thing, roles in OWNERS.items() if thing in path)
    return 404 if mine and "public" not in allowed else None


async def test_strangers_reach_nothing(service: Served, database: Database) -> None:
    strangers = await _strangers(service, database)
    document = service.app.openapi()
    before = [await rows(database, query) for query in STANDING]
    refused = 0
    for name, allowed in roles_of(service.app).items():
        method, _, path = name.partition(" ")
        missing = {thing.strip("{}"): service.ids[thing.strip("{}")][:4] + "0" for thing in OWNERS}
        for role, credential in strangers.items():
            expected = _expected(name, path, role, allowed)
            if expected is None:
                continue
            answers = []
            for ids in (
                service.ids,
                {**service.ids, "order_id": service.paid_id},
                {**service.ids, **missing},
            ):
                headers = [(k.encode(), v.encode()) for k, v in credential.items()]
                sent = Describer(document, ids).good(method, path, headers, good_body(name, ids))
                answers.append(
                    await service.client.request(
                        method, sent.target, headers=sent.headers, content=sent.body
                    )
                )
            assert {answer.status_code for answer in answers} == {expected}, (
                name,
                role,
                answers[0].text,
            )
            assert len({answer.content for answer in answers}) == 1, (name, role)
            refused += 1
    assert refused > 200
    assert [await rows(database, query) for query in STANDING] == before
