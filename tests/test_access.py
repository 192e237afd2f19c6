"""Who may call what, proved for every route: a route that forgets to say so, or says too much, must not ship.

The matrix is generated: each route of the event and of goods × each role × {one's own, somebody else's, missing}.
What the table does not grant is refused, and a new route without a row in the table fails.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from sqlalchemy import select, update

import inventory.routes
import stream_events.routes
from server.app import create_app
from server.settings import Settings
from stream_events.access import Role, Signer, allow, create_principal
from stream_events.database import Database
from stream_events.ids import new_id
from stream_events.tables import Key, Principal
from tests.factories import Sale, bearer, seed_sale

ROLES = ("operator", "host", "farmer", "overlay", "moderator", "shopper", "holder", "public")
# FastAPI's own route to the API's description, which is meant for everybody.
OPEN_BY_DESIGN = {"/openapi.json"}


def _names_its_callers(dependant: Any) -> bool:
    return any(
        getattr(dependency.call, "allowed_roles", None) or _names_its_callers(dependency)
        for dependency in dependant.dependencies
    )


def routes_without_callers(app: FastAPI | APIRouter) -> list[str]:
    """Return the routes on which nobody said who may call them; static mounts and the like count as such."""
    return [
        f"{sorted(context.methods or ())} {context.path}"
        for context in iter_route_contexts(app.routes)
        if context.path not in OPEN_BY_DESIGN
        and not (
            isinstance(context.original_route, APIRoute)
            and _names_its_callers(context.original_route.dependant)
        )
    ]


def _inner(app: Any) -> FastAPI:
    while not isinstance(app, FastAPI):
        app = app._app
    return app


def test_every_route_of_the_application_names_its_callers() -> None:
    app = _inner(create_app(Settings()))
    assert len(list(iter_route_contexts(app.routes))) > 40
    assert routes_without_callers(app) == []


def test_a_route_that_names_no_callers_is_found_out() -> None:
    router = APIRouter(prefix="/v1")

    @router.get("/planted")
    async def planted() -> None: ...

    @router.get("/guarded", dependencies=[Depends(allow(Role.OPERATOR))])
    async def guarded() -> None: ...

    app = FastAPI(docs_url=None, redoc_url=None)
    app.include_router(router)
    assert routes_without_callers(app) == ["['GET'] /v1/planted"]


# --- the matrix -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """A route's row: who may call it at all, whose things each role may touch, a body, and what success is."""

    method: str
    path: str
    roles: tuple[str, ...]
    body: dict[str, Any] | list[Any] | None = None
    owned: tuple[str, ...] = ()  # roles that get their own thing and 404 for another's
    status: int = 200
    own_status: dict[str, int] = field(
        default_factory=dict
    )  # where a role gets another answer for its own


STAFF = ("operator", "host")
OFFER = {
    "price_minor": 1990,
    "per_shopper_max": 5,
    "beneficiary_id": "{beneficiary}",
    "farmer_bp": 8000,
    "beneficiary_bp": 1500,
    "fees_bp": 500,
}
RULES = (
    Rule("POST", "/v1/campaigns", ("operator",), {"name": "A", "currency": "CNY"}, status=201),
    Rule("GET", "/v1/campaigns", STAFF),
    Rule("GET", "/v1/campaigns/{campaign_id}", STAFF),
    Rule("PATCH", "/v1/campaigns/{campaign_id}", ("operator",), {"goal_minor": 5}),
    Rule("PUT", "/v1/campaigns/{campaign_id}/causes", ("operator",), ["{beneficiary}"]),
    Rule("GET", "/v1/campaigns/{campaign_id}/causes", ROLES),
    Rule("POST", "/v1/hosts", ("operator",), {"name": "A"}, status=201),
    Rule("GET", "/v1/hosts", ("operator",)),
    Rule("GET", "/v1/hosts/{host_id}", STAFF, owned=("host",)),
    Rule("POST", "/v1/farmers", ("operator",), {"name": "A", "place": "B"}, status=201),
    Rule("GET", "/v1/farmers", STAFF),
    Rule("GET", "/v1/farmers/{farmer_id}", (*STAFF, "farmer"), owned=("farmer",)),
    Rule("POST", "/v1/beneficiaries", ("operator",), {"name": "A"}, status=201),
    Rule("GET", "/v1/beneficiaries", STAFF),
    Rule("GET", "/v1/beneficiaries/{beneficiary_id}", STAFF),
    Rule(
        "POST",
        "/v1/streams",
        ("operator",),
        {"campaign_id": "{campaign}", "host_id": "{host}", "title": "A"},
        status=201,
    ),
    Rule("GET", "/v1/streams", ROLES),
    Rule("GET", "/v1/streams/{stream_id}", (*STAFF, "overlay"), owned=("host", "overlay")),
    Rule("PATCH", "/v1/streams/{stream_id}", STAFF, {"goal_minor": 5}, owned=("host",)),
    Rule("POST", "/v1/streams/{stream_id}/state", STAFF, {"state": "ended"}, owned=("host",)),
    Rule("PUT", "/v1/streams/{stream_id}/shipping", STAFF, {"type": "free"}, owned=("host",)),
    Rule("GET", "/v1/streams/{stream_id}/storefront", ROLES),
    Rule("GET", "/v1/streams/{stream_id}/offers", STAFF, owned=("host",)),
    Rule("PUT", "/v1/streams/{stream_id}/offers/{sku}", STAFF, OFFER, owned=("host",)),
    Rule("POST", "/v1/streams/{stream_id}/offers/{sku}/stock", STAFF, {"add": 1}, owned=("host",)),
    Rule(
        "POST",
        "/v1/splits/preview",
        STAFF,
        {"price_minor": 1990, "farmer_bp": 8000, "beneficiary_bp": 1500, "fees_bp": 500},
    ),
    Rule(
        "POST",
        "/v1/products",
        ("operator",),
        {"farmer_id": "{farmer}", "sku": "NEW-1", "name": "A", "unit": "bag"},
        status=201,
    ),
    Rule("GET", "/v1/products", (*STAFF, "farmer")),
    Rule("GET", "/v1/products/{product_id}", (*STAFF, "farmer"), owned=("farmer",)),
    Rule("POST", "/v1/principals", ("operator",), {"role": "operator", "name": "A"}, status=201),
    Rule("GET", "/v1/principals", STAFF),
    # The thing here is the overlay's principal of a stream: an operator's, its host's, nobody else's.
    Rule(
        "POST",
        "/v1/principals/{principal_id}/keys",
        (*STAFF, "farmer"),
        {},
        owned=("host", "farmer"),
        status=201,
        own_status={"farmer": 404},
    ),
    Rule("DELETE", "/v1/principals/{principal_id}/keys", STAFF, owned=("host",), status=204),
    Rule("DELETE", "/v1/principals/{principal_id}", STAFF, owned=("host",), status=204),
    Rule("GET", "/v1/me", ROLES[:-2]),
    Rule("POST", "/v1/shoppers", ROLES, status=201),
)


def _filled(value: Any, sale: Sale) -> Any:
    if isinstance(value, dict):
        return {key: _filled(part, sale) for key, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, sale) for part in value]
    if isinstance(value, str):
        for name in ("campaign", "host", "farmer", "beneficiary"):
            value = value.replace("{" + name + "}", getattr(sale, f"{name}_id"))
    return value


MISSING = {
    "campaign_id": "cmp_0",
    "host_id": "hst_0",
    "farmer_id": "frm_0",
    "beneficiary_id": "ben_0",
    "stream_id": "str_0",
    "product_id": "prd_0",
    "principal_id": "prn_0",
    "sku": "NOT-THERE",
}


def _address(rule: Rule, things: dict[str, str]) -> str:
    path = rule.path
    for name, value in things.items():
        path = path.replace("{" + name + "}", value)
    return path


def _expected(rule: Rule, role: str, whose: str) -> int:
    if role not in rule.roles:
        return 401 if role == "public" else 403
    if "{" in rule.path:
        if whose == "missing" or (whose == "other" and role in rule.owned):
            return 404
        if whose == "own" and role in rule.own_status:
            return rule.own_status[role]
    return rule.status


async def _things(database: Database, sale: Sale) -> dict[str, str]:
    overlay = select(Principal.id).where(
        Principal.stream_id == sale.stream_id, Principal.role == Role.OVERLAY
    )
    async with database.begin() as sql:
        principal_id = (await sql.execute(overlay)).scalar_one()
    found = {name: getattr(sale, name) for name in MISSING if name not in ("principal_id", "sku")}
    return {**found, "principal_id": principal_id, "sku": sale.sku}


def _cells() -> Iterator[tuple[Rule, str, str]]:
    for rule in RULES:
        for role in ROLES:
            for whose in ("own", "other", "missing") if "{" in rule.path else ("own",):
                yield rule, role, whose


def test_every_route_of_event_and_goods_has_its_row_in_the_matrix() -> None:
    served = set()
    for module in (stream_events.routes, inventory.routes):
        for context in iter_route_contexts(module.router.routes):
            served |= {
                (method, context.path) for method in context.methods or () if method != "HEAD"
            }
    assert served == {(rule.method, rule.path) for rule in RULES}
    assert len(list(_cells())) > 300


@pytest.mark.parametrize("rule", RULES, ids=[f"{rule.method} {rule.path}" for rule in RULES])
async def test_the_matrix(
    api: httpx.AsyncClient, database: Database, signer: Signer, catalogue: Any, rule: Rule
) -> None:
    """A refusal changes nothing, so all of them are tried on the same things; who is let in gets fresh ones."""
    fresh = count()
    mine = theirs = None
    for role in sorted(ROLES, key=lambda role: role in rule.roles):
        if mine is None or theirs is None or (role in rule.roles and rule.method != "GET"):
            mine = await seed_sale(database, signer, sku=f"PEANUT-{next(fresh)}")
            theirs = await seed_sale(database, signer, sku=f"SAUCE-{next(fresh)}")
            await catalogue.refresh()
        targets = {
            "own": await _things(database, mine),
            "other": await _things(database, theirs),
            "missing": MISSING,
        }
        # The missing first and one's own last, since calling some routes uses their thing up.
        for whose in ("missing", "other", "own") if "{" in rule.path else ("own",):
            answer = await api.request(
                rule.method,
                _address(rule, targets[whose]),
                headers=mine.auth(role),
                json=_filled(rule.body, mine) if rule.body is not None else None,
            )
            expected = _expected(rule, role, whose)
            assert answer.status_code == expected, (role, whose, answer.text)


# --- credentials ------------------------------------------------------------------------------------------------


async def _spoilt_keys(database: Database) -> dict[str, str]:
    """Return keys that once were good, each spoilt in its own way."""
    now = datetime.now(UTC)
    spoilt = {}
    async with database.begin() as sql:
        for way in ("expired", "revoked", "disabled"):
            principal_id, spoilt[way] = await create_principal(sql, Role.OPERATOR, way)
            if way == "disabled":
                statement: Any = (
                    update(Principal).where(Principal.id == principal_id).values(disabled_at=now)
                )
            else:
                ended = (
                    {"expires_at": now - timedelta(seconds=1)}
                    if way == "expired"
                    else {"revoked_at": now}
                )
                statement = update(Key).where(Key.principal_id == principal_id).values(**ended)
            await sql.execute(statement)
    return spoilt


async def test_bad_credentials_are_refused_alike(
    api: httpx.AsyncClient, database: Database, sale: Sale
) -> None:
    headers = {way: f"Bearer {key}" for way, key in (await _spoilt_keys(database)).items()}
    headers |= {
        "unknown": "Bearer se_operator_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "shortened": f"Bearer {sale.operator_key[:-1]}",
        "forged shopper": f"Bearer {sale.shopper_id}.AAAAAAAAAAAAAAAAAAAAAA",
        "foreign deployment": "Bearer " + Signer(b"x" * 32).sign("shopper", new_id("shp")),
        "hash": "Bearer " + hashlib.sha256(sale.operator_key.encode()).hexdigest(),
        "empty": "Bearer ",
        "no scheme": sale.operator_key,
        "basic": "Basic b3BlcmF0b3I6",
        "blank": " ",
        "too long": "Bearer " + "a" * 600,
        "latin": "Bearer \xff\xfe",
    }
    answers = {
        way: await api.get("/v1/hosts", headers=[(b"authorization", value.encode("latin-1"))])
        for way, value in headers.items()
    }
    answers["none"] = await api.get("/v1/hosts")
    assert {way: answer.status_code for way, answer in answers.items()} == dict.fromkeys(
        answers, 401
    )
    assert len({answer.content for answer in answers.values()}) == 1
    assert {answer.headers["www-authenticate"] for answer in answers.values()} == {"Bearer"}
    assert answers["none"].json()["code"] == "unauthorized"


async def test_a_good_key_passes_where_the_bad_ones_failed(
    api: httpx.AsyncClient, sale: Sale
) -> None:
    answer = await api.get("/v1/hosts", headers=sale.auth("operator"))
    assert answer.status_code == 200
    assert (await api.get("/v1/me", headers=bearer(sale.shopper_token))).json()[
        "id"
    ] == sale.shopper_id
