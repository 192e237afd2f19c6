"""docs/api.md held to the code: each route with who may call it, each refusal, each example as the code reads it."""

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import TypeAdapter

from orders.donation_routes import DonationBody, PlacedDonation
from orders.place_route import OrderBody, PlacedOrder
from server.app import create_app
from server.settings import Settings

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = (ROOT / "docs" / "api.md").read_text("utf-8")
PACKAGES: Final = ("stream_events", "inventory", "orders", "realtime", "server")

# Errors whose code becomes a 422's, and those of their codes that no request can bring out: a schema refuses what
# leads to them, or they are about Stripe's amounts and refunds.
CODED: Final = {"PricingError", "MoneyError", "SplitError"}
KEPT_IN: Final = {
    "amount_not_exact",
    "mixed_currencies",
    "no_lines",
    "no_units",
    "no_weight",
    "not_a_whole_number",
    "not_an_integer",
    "price_conflict",
    "refund_too_large",
    "too_many_lines",
    "unknown_currency",
}
# What the framework refuses by itself, or where a code is not written beside its status.
ELSEWHERE: Final = {(405, "method_not_allowed"), (422, "too_heavy"), (422, "invalid")}

# The hot routes are read and answered without FastAPI.
RAW: Final[dict[str, tuple[type, type]]] = {
    "/v1/streams/{stream_id}/orders": (OrderBody, PlacedOrder),
    "/v1/streams/{stream_id}/donations": (DonationBody, PlacedDonation),
}


@cache
def _app() -> FastAPI:
    app: Any = create_app(Settings())
    while not isinstance(app, FastAPI):
        app = app._app
    return app


def _roles(dependant: Any) -> set[str]:
    found: set[str] = set()
    for dependency in dependant.dependencies:
        found |= {role.value for role in getattr(dependency.call, "allowed_roles", ())}
        found |= _roles(dependency)
    return found


@cache
def _routes() -> dict[str, APIRoute]:
    return {
        f"{method} {context.path}": context.original_route
        for context in iter_route_contexts(_app().routes)
        if isinstance(context.original_route, APIRoute) and context.original_route.include_in_schema
        for method in context.methods or ()
    }


def _told_routes() -> dict[str, set[str]]:
    rows = re.findall(r"^\| `([A-Z]+ /[^`]*)` \| ([a-z, ]+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == len({route for route, _ in rows}), "a route is listed twice"
    return {route: set(who.split(", ")) for route, who in rows}


def test_every_route_is_listed_with_whoever_may_call_it() -> None:
    served = {}
    for name, route in _routes().items():
        roles = _roles(route.dependant)
        served[name] = {"public"} if "public" in roles else roles
    assert _told_routes() == served


def _literals(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def _refusals_of(source: str) -> Iterator[tuple[int, str]]:
    """Yield each (status, code) that a module may refuse with, as far as its text shows."""
    tree = ast.parse(source)
    pairs = [
        pair.elts[0].value
        for pair in ast.walk(tree)
        if isinstance(pair, ast.Tuple)
        and len(pair.elts) == 2
        and all(
            isinstance(part, ast.Constant) and isinstance(part.value, str) for part in pair.elts
        )
        and isinstance(pair.elts[0], ast.Constant)
        and re.fullmatch(r"[a-z]+(_[a-z]+)+", str(pair.elts[0].value))
    ]
    for call in ast.walk(tree):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
            continue
        name, arguments = call.func.id, call.args
        if name == "Problem" and isinstance(arguments[0], ast.Constant):
            status = int(str(arguments[0].value))
            if isinstance(arguments[1], ast.Starred):
                yield from ((status, str(code)) for code in pairs)
            else:
                yield from ((status, code) for code in _literals(arguments[1]))
        elif name == "unavailable":
            codes = list(_literals(arguments[1])) if len(arguments) > 1 else ["unavailable"]
            yield from ((503, code) for code in codes)
        elif name in CODED:
            yield from ((422, code) for code in _literals(arguments[0]) if code not in KEPT_IN)


def _refusals() -> set[tuple[int, str]]:
    files = [
        path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if "sandbox" not in path.parts
    ]
    found = {pair for path in files for pair in _refusals_of(path.read_text("utf-8"))}
    return found | ELSEWHERE


def _told_refusals() -> set[tuple[int, str]]:
    table = PAGE.partition("| status | codes |")[2]
    told = set()
    for status, codes in re.findall(r"^\| (\d{3})[a-z ]* \| (.*) \|$", table, re.MULTILINE):
        outside_brackets = re.sub(r"\([^)]*\)|, with `\w+`", "", codes)
        told |= {(int(status), code) for code in re.findall(r"`([a-z_]+)`", outside_brackets)}
    return told


def test_every_refusal_is_in_the_table_and_nothing_else() -> None:
    assert _told_refusals() == _refusals()


def test_a_planted_refusal_is_found() -> None:
    planted = (
        'raise Problem(409, "planted", "x")\nX = ("planted_too", "y")\nraise Problem(410, *X)\n'
    )
    planted += 'raise unavailable("x", "planted_also")\nraise PricingError("planted_price", "z")\n'
    assert set(_refusals_of(planted)) == {
        (409, "planted"),
        (410, "planted_too"),
        (503, "planted_also"),
        (422, "planted_price"),
    }


EXAMPLES: Final = re.findall(r"^```http\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.partition("\n")[0])
def test_an_example_is_what_the_code_reads_and_answers(example: str) -> None:
    request, status, answer = re.fullmatch(  # type: ignore[union-attr]
        r"(.*?)\n\n(\d{3})\n?(.*)", example, re.DOTALL
    ).groups()
    head, _, body = request.partition("\n\n")
    line, *headers = head.split("\n")
    name = _route_of(line)
    route = _routes()[name]
    raw = RAW.get(route.path)
    if raw is not None:
        msgspec.json.decode(body, type=raw[0])
        msgspec.json.decode(answer, type=raw[1])
    else:
        assert bool(body) == (route.body_field is not None), "a body where one is read"
        if route.body_field is not None:
            annotation: Any = route.body_field.field_info.annotation
            TypeAdapter(annotation).validate_json(body)
        _require_known(name, int(status), answer)
    needs_key = raw is not None or any(
        "idempotency" in str(each.call) for each in route.dependant.dependencies
    )
    assert needs_key == any(each.startswith("Idempotency-Key:") for each in headers)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 20


def _route_of(line: str) -> str:
    method, _, target = line.partition(" ")
    path = target.partition("?")[0]
    for name in _routes():
        its_method, _, template = name.partition(" ")
        if its_method == method and re.fullmatch(
            re.sub(r"\{\w+\}", r"[A-Za-z0-9_-]+", template), path
        ):
            return name
    raise AssertionError(f"no such route: {line}")


def _require_known(name: str, status: int, answer: str) -> None:
    """Refuse an answer with a status the route does not declare, or a field that it does not have."""
    method, _, path = name.partition(" ")
    schema = _app().openapi()
    declared = schema["paths"][path][method.lower()]["responses"][str(status)]
    if status == 204:
        assert not answer
        return
    told = json.loads(answer)
    if status >= 400:
        assert (status, told["code"]) in _told_refusals()
        assert told["status"] == status
        return
    _require_fields(told, declared["content"]["application/json"]["schema"], schema)


def _fits(told: Any, schema: dict[str, Any], whole: dict[str, Any]) -> bool:
    try:
        _require_fields(told, schema, whole)
    except AssertionError:
        return False
    return True


def _require_fields(told: Any, schema: dict[str, Any], whole: dict[str, Any]) -> None:
    if "$ref" in schema:
        schema = whole["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        assert any(_fits(told, choice, whole) for choice in choices), (told, choices)
        return
    kind = {
        dict: "object",
        list: "array",
        str: "string",
        bool: "boolean",
        int: "integer",
        type(None): "null",
    }
    assert schema.get("type", kind[type(told)]) == kind[type(told)], (told, schema)
    if isinstance(told, list):
        for each in told:
            _require_fields(each, schema["items"], whole)
    elif isinstance(told, dict) and "properties" in schema:
        for field, value in told.items():
            assert field in schema["properties"], field
            _require_fields(value, schema["properties"][field], whole)
    elif "enum" in schema or "const" in schema:
        assert told in schema.get("enum", [schema.get("const")]), told


@pytest.mark.parametrize(
    ("path", "wanted"), [("orders", {"lines"}), ("donations", {"amount_minor"})]
)
def test_the_hot_routes_are_described_like_any_other(path: str, wanted: set[str]) -> None:
    schema = _app().openapi()
    given = schema["paths"][f"/v1/streams/{{stream_id}}/{path}"]["post"]
    body = given["requestBody"]["content"]["application/json"]["schema"]
    assert wanted <= set(body["required"])
    assert body["additionalProperties"] is False
    answer = given["responses"]["201"]["content"]["application/json"]["schema"]
    assert "id" in answer["required"]
    assert {"name": "Idempotency-Key", "in": "header"}.items() <= given["parameters"][-1].items()
    # A reference within one part would lead nowhere in the whole document.
    assert "#/$defs" not in json.dumps(schema)
