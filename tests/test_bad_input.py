"""Whatever is sent to whichever route, it is refused in our words, never broken: no 5xx, and a problem with a code.

The requests come from the application's own description, so a new route is tried without being named here. It is
the whole application, edge and hot routes included, in front of the real engines.
"""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import httpx
import pytest_asyncio
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from redis.asyncio import Redis
from sqlalchemy import select
from starlette.types import Receive, Scope, Send

from inventory.gate import Gate
from inventory.rebuild import tend_once
from server.app import create_app
from server.settings import Settings
from stream_events.database import Database
from stream_events.ids import new_id
from stream_events.tables import Principal
from tests.bad_requests import GOOD, Describer, Try
from tests.factories import Sale, bearer, seed_sale
from tests.orders.mail.paid_orders import paid
from tests.orders.payments.test_webhook_signature import sign
from tests.orders.placing import run_sql

REQUESTS_MIN: Final = 5_000
LET_IN_MIN: Final = 20
OF_PAID: Final = re.compile("refund|fulfilment")
# No more than may add the books up at once.
AT_ONCE: Final = 4
# Whoever may most is asked to try, so that requests get as far as they can.
BY_REACH: Final = ("operator", "shopper", "host", "holder", "farmer", "overlay", "public")
# These bound gifts and end the order, the stream and its overlay: what needs them goes first.
LAST: Final = (
    "PATCH /v1/campaigns/{campaign_id}",
    "POST /v1/orders/{order_id}/cancel",
    "POST /v1/streams/{stream_id}/state",
    "DELETE /v1/principals/{principal_id}",
    "DELETE /v1/principals/{principal_id}/keys",
)
# Good bodies where the description has no fields, for they are read without the framework, or too many that exclude
# each other.
GOODS: Final[Mapping[str, Any]] = {
    "POST /v1/streams/{stream_id}/orders": {
        "lines": [{"sku": "PEANUT-5KG", "quantity": 1}],
        "gift": {
            "amount_minor": 100,
            "causes": [{"beneficiary_id": "{beneficiary_id}", "share_bp": 10_000}],
        },
        "extra_minor": 100,
        "round_up_to_minor": 100,
    },
    "POST /v1/streams/{stream_id}/donations": {
        "amount_minor": 500,
        "causes": [{"beneficiary_id": "{beneficiary_id}", "share_bp": 10_000}],
        "name": "Li Na",
        "message": "Play well!",
        "dedication": "For grandfather",
        "show": True,
    },
    "POST /v1/webhooks/stripe": {
        "id": "evt_1",
        "object": "event",
        "type": "charge.refunded",
        "created": 1_800_000_000,
        "livemode": False,
        "data": {"object": {"id": "ch_1", "object": "charge", "amount": 5}},
    },
    "POST /v1/orders/{order_id}/refunds": {
        "lines": [{"sku": "PEANUT-5KG", "quantity": 1}],
        "reason": "goodwill",
        "restock": True,
    },
    "PUT /v1/streams/{stream_id}/offers/{sku}": {
        "price_minor": 2990,
        "per_shopper_max": 5,
        "beneficiary_id": "{beneficiary_id}",
        "farmer_bp": 8000,
        "beneficiary_bp": 1500,
        "fees_bp": 500,
        "farmer_fixed_minor": 100,
        "beneficiary_cap_minor": 1000,
        "farmer_floor_minor": 100,
        "fee_payer": "farmer",
        "tax_bp": 900,
    },
    "POST /v1/streams/{stream_id}/offers/{sku}/stock": {"add": 200},
    "POST /v1/splits/preview": {
        "price_minor": 2990,
        "units": 3,
        "farmer_bp": 8000,
        "beneficiary_bp": 1500,
        "fees_bp": 500,
        "beneficiary_fixed_minor": 100,
        "beneficiary_cap_minor": 1000,
        "farmer_floor_minor": 100,
    },
    "PUT /v1/campaigns/{campaign_id}/causes": ["{beneficiary_id}"],
    "POST /v1/campaigns/{campaign_id}/matches": {
        "sponsor": "Golden Mill",
        "covers": "shares",
        "skus": ["PEANUT-5KG"],
        "ratio_bp": 10_000,
        "pot_minor": 5_000_000,
        "per_giver_max_minor": 20_000,
        "ends_at": "2100-01-01T00:00:00Z",
    },
    "POST /v1/campaigns/{campaign_id}/transfers": {
        "kind": "payout",
        "account": "farmer/{farmer_id}",
        "amount_minor": 1,
        "reference": "Bank 17",
    },
    "POST /v1/products": {
        "farmer_id": "{farmer_id}",
        "sku": "NEW-1",
        "name": "A",
        "unit": "bag",
        "weight_g": 5,
    },
    "POST /v1/orders/{order_id}/refund-requests": {
        "lines": [{"sku": "PEANUT-5KG", "quantity": 1}],
        "reason": "The bag was torn.",
    },
    "POST /v1/principals": {"role": "operator", "name": "A"},
    "POST /v1/streams/{stream_id}/state": {"state": "ended"},
}


@dataclass(frozen=True, slots=True)
class Served:
    """The whole application, who may do what in it, and what there is to do it to."""

    client: httpx.AsyncClient
    app: FastAPI
    credentials: Mapping[str, Mapping[str, str]]
    ids: Mapping[str, str]
    paid_id: str
    webhook_secret: str


@pytest_asyncio.fixture(loop_scope="session")
async def service(
    database: Database, redis: Redis, database_url: str, redis_url: str
) -> AsyncIterator[Served]:
    """The application as it is served, with a live sale and an order in it."""
    settings = Settings(
        DATABASE_URL=database_url,
        REDIS_URL=redis_url,
        secret_key="5a" * 32,
        shoppers_per_minute=0,
        orders_per_second_per_shopper=0,
    )
    asgi: Any = create_app(settings)
    app: Any = asgi
    while not isinstance(app, FastAPI):
        app = app._app
    async with AsyncExitStack() as stack:
        state: Any = await stack.enter_async_context(app.router.lifespan_context(app))
        sale = await seed_sale(database, state["signer"])
        gate = Gate(redis_url, timeout_s=1.0)
        stack.push_async_callback(gate.close)
        await tend_once(database, gate)
        await run_sql(
            database,
            "INSERT INTO campaign_causes VALUES ($1, $2, 1)",
            sale.campaign_id,
            sale.beneficiary_id,
        )
        await state["catalogue"].refresh()

        async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
            await asgi({**scope, "state": dict(state)}, receive, send)

        transport = httpx.ASGITransport(with_state, raise_app_exceptions=False)
        client = await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://testserver")
        )
        await redis.set("worker:beat", 2**53)
        yield await _furnished(client, app, database, sale, state["webhook_secrets"][0])


async def _furnished(
    client: httpx.AsyncClient, app: FastAPI, database: Database, sale: Sale, webhook_secret: str
) -> Served:
    placed = await client.post(
        f"/v1/streams/{sale.stream_id}/orders",
        json={"lines": [{"sku": sale.sku, "quantity": 2}]},
        headers=sale.auth("shopper") | {"idempotency-key": "first"},
    )
    assert placed.status_code == 201, placed.text
    order_id = placed.json()["id"]
    link = await client.get(f"/v1/orders/{order_id}/link", headers=sale.auth("shopper"))
    credentials = {role: sale.auth(role) for role in BY_REACH if role != "holder"}
    credentials["holder"] = bearer(link.json()["url"].partition("#")[2])
    async with database.begin() as sql:
        overlay = select(Principal.id).where(Principal.role == "overlay")
        overlay_id = (await sql.execute(overlay)).scalar_one()
    ids = {
        "order_id": order_id,
        "principal_id": overlay_id,
        "request_id": new_id("rrq"),
        "match_id": new_id("mat"),
        "account": f"farmer/{sale.farmer_id}",
        "sku": sale.sku,
    }
    owned = ("campaign_id", "host_id", "farmer_id", "beneficiary_id", "stream_id", "product_id")
    ids |= {name: getattr(sale, name) for name in owned}
    bought = await paid(database, sale, quantity=3)
    return Served(client, app, credentials, ids, bought.order_id, webhook_secret)


def _roles(dependant: Any) -> set[str]:
    found: set[str] = set()
    for dependency in dependant.dependencies:
        found |= {role.value for role in getattr(dependency.call, "allowed_roles", ())}
        found |= _roles(dependency)
    return found


def _routes(app: FastAPI) -> dict[str, str]:
    """Return the routes in the order to try them in, each with the role that gets farthest."""
    found: dict[str, str] = {}
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if isinstance(route, APIRoute) and route.include_in_schema:
            roles = _roles(route.dependant)
            reach = next(role for role in BY_REACH if role in roles or roles == {"public"})
            found |= {f"{method} {context.path}": reach for method in context.methods or ()}
    return dict(sorted(found.items(), key=lambda item: (item[0] in LAST, item[0])))


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


async def test_no_input_breaks_any_route(service: Served) -> None:
    document = service.app.openapi()
    found: dict[tuple[str, str, str], Try] = {}
    seen: Counter[int] = Counter()
    goods: dict[str, httpx.Response] = {}
    for name, role in _routes(service.app).items():
        method, _, path = name.partition(" ")
        ids = {**service.ids, **({"order_id": service.paid_id} if OF_PAID.search(path) else {})}
        credential = [(k.encode(), v.encode()) for k, v in service.credentials[role].items()]
        good = json.dumps(GOODS.get(name))
        for thing in ("beneficiary_id", "farmer_id"):
            good = good.replace("{" + thing + "}", ids[thing])
        tries = Describer(document, ids).tries(method, path, credential, json.loads(good))
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
    assert seen.total() > REQUESTS_MIN, seen
    assert {200, 201, 204, 400, 401, 404, 409, 413, 422} <= set(seen), seen
    # Where even a good body is refused, the wrong ones were not tried on much.
    assert sum(answer.is_success for answer in goods.values()) >= LET_IN_MIN, {
        name: answer.text for name, answer in goods.items() if not answer.is_success
    }
