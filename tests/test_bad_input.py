"""Whatever is sent to whichever route, it is refused in our words, never broken: no 5xx, and a problem with a code.

The requests come from the application's own description, so a new route is tried without being named here. It is
the whole application, edge and hot routes included, in front of the real engines.
"""

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from itertools import islice
from typing import Final

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from redis.asyncio import Redis

from stream_events.database import Database
from tests.bad_requests import GOOD, Describer, Try
from tests.good_bodies import good_body
from tests.orders.payments.test_webhook_signature import sign
from tests.served import ROLES, Served, roles_of, serving

REQUESTS_MIN: Final = 5_000
LET_IN_MIN: Final = 20
OF_PAID: Final = re.compile("refund|fulfilment")
# No more than may add the books up at once.
AT_ONCE: Final = 4
# These bound gifts and end the order, the stream and its overlay: what needs them goes first.
LAST: Final = (
    "PATCH /v1/campaigns/{campaign_id}",
    "POST /v1/orders/{order_id}/cancel",
    "POST /v1/streams/{stream_id}/state",
    "DELETE /v1/principals/{principal_id}",
    "DELETE /v1/principals/{principal_id}/keys",
)


@pytest_asyncio.fixture(loop_scope="session")
async def service(
    database: Database, redis: Redis, database_url: str, redis_url: str
) -> AsyncIterator[Served]:
    async with serving(database, redis, database_url, redis_url) as served:
        yield served


def _routes(app: FastAPI) -> dict[str, str]:
    """Return the routes in the order to try them in, each with the role that gets farthest in it."""
    reach = {
        name: next(role for role in ROLES if role in roles) for name, roles in roles_of(app).items()
    }
    return dict(sorted(reach.items(), key=lambda item: (item[0] in LAST, item[0])))


def _broken(answer: httpx.Response) -> str | None:
    """Say what is wrong with an answer, if anything is."""
    if answer.status_code < 400:
        return None
    if answer.status_code >= 500:
        return f"{answer.status_code} {answer.text[:80]}"
    if answer.headers.get("content-type") != "application/problem+json":
        return f"{answer.status_code} as {answer.headers.get('content-type')}"
    problem = answer.json()
    if problem.get("status") != answer.status_code or not problem.get("code"):
        return f"no problem: {answer.text[:80]}"
    return None


async def _asked(service: Served, each: Try) -> httpx.Response:
    now = int(time.time())
    signature = f"t={now},v1={sign(each.body or b'', service.webhook_secret, now)}"
    headers = [*each.headers, (b"stripe-signature", signature.encode())]
    return await service.client.request(
        each.method, each.target, headers=headers, content=each.body
    )


@pytest.mark.parametrize("one_in", [6, pytest.param(1, marks=pytest.mark.sweep)])
async def test_no_input_breaks_any_route(service: Served, one_in: int) -> None:
    """Each time one bad request in six, every route in turn another one first; in the sweep all of them."""
    document = service.app.openapi()
    found: dict[tuple[str, str, str], Try] = {}
    seen: Counter[int] = Counter()
    goods: dict[str, httpx.Response] = {}
    for turn, (name, role) in enumerate(_routes(service.app).items()):
        method, _, path = name.partition(" ")
        ids = {**service.ids, **({"order_id": service.paid_id} if OF_PAID.search(path) else {})}
        credential = [(k.encode(), v.encode()) for k, v in service.credentials[role].items()]
        every = Describer(document, ids).tries(method, path, credential, good_body(name, ids))
        tries = (
            each for n, each in enumerate(every) if each.what == GOOD or (n + turn) % one_in == 0
        )
        while batch := list(islice(tries, AT_ONCE)):
            answers = await asyncio.gather(*(_asked(service, each) for each in batch))
            for each, answer in zip(batch, answers, strict=True):
                seen[answer.status_code] += 1
                if each.what == GOOD:
                    goods[name] = answer
                if (why := _broken(answer)) is not None:
                    found.setdefault((name, each.what, why), each)
    table = "\n".join(
        f"{at}\n    {each.target[-120:]!r} {(each.body or b'')[:300]!r}"
        for at, each in found.items()
    )
    assert not found, f"{len(found)} kinds of {seen}\n{table}"
    assert seen.total() > REQUESTS_MIN // one_in, seen
    assert {200, 201, 204, 400, 401, 404, 409, 413, 422} <= set(seen), seen
    # Where even a good body is refused, the wrong ones were not tried on much.
    assert sum(answer.is_success for answer in goods.values()) >= LET_IN_MIN, {
        name: answer.text for name, answer in goods.items() if not answer.is_success
    }
