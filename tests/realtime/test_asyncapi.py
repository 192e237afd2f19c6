"""The published protocol held against what really comes: every topic has a schema, and live frames fit theirs."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import msgspec
import pytest
from fastapi import APIRouter
from redis.asyncio import Redis

from realtime import protocol_routes
from realtime.announcer import Known, tick_once
from realtime.asyncapi import CLOSE_CODES, PARTS, asyncapi, schema_of, topic_pattern
from realtime.frames import SLOW_CONSUMER, UNAUTHORIZED, Beat, Hello, State, owner_of, part_of
from realtime.shapes import SHAPES
from stream_events.database import Database
from stream_events.links import Links
from tests.factories import Sale
from tests.realtime.announced import Listener, sell
from tests.realtime.conftest import until


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (protocol_routes.router,)


def example(part: str) -> str:
    """Return a name of a topic of ``part``."""
    scope = "farmer" if part == "sales" else "stream"
    return f"{scope}/x_1/{part}" + ("/main" if part == "alerts" else "")


def references(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        if "$ref" in document:
            yield document["$ref"]
        for value in document.values():
            yield from references(value)
    elif isinstance(document, list):
        for value in document:
            yield from references(value)


def found(document: Any, reference: str) -> Any:
    assert reference.startswith("#/"), reference
    for step in reference[2:].split("/"):
        document = document[step]
    return document


@pytest.mark.parametrize("part", SHAPES)
def test_every_topic_has_a_schema_and_a_channel_message(part: str, links: Links) -> None:
    assert owner_of(example(part)) is not None
    assert part_of(example(part)) == part
    assert re.fullmatch(topic_pattern(part).strip("^$"), example(part))
    schema = schema_of(part)
    assert schema is not None
    shape = SHAPES[part]
    assert set(schema["properties"]) == set(shape.__struct_fields__)
    assert schema["additionalProperties"] is False
    assert schema["description"]
    document = asyncapi(links)
    message = document["components"]["messages"][part]
    payload = found(document, message["payload"]["$ref"])
    assert payload["properties"]["t"] == {"enum": ["state"]}
    assert payload["properties"]["topic"]["pattern"] == topic_pattern(part)
    assert found(document, payload["properties"]["state"]["$ref"])["title"] == shape.__name__
    for channel in ("gateway", "events", "poll"):
        assert part in document["channels"][channel]["messages"]


@pytest.mark.parametrize("part", PARTS)
def test_no_schema_leads_nowhere(part: str) -> None:
    schema = schema_of(part)
    assert schema is not None
    assert schema["$schema"].endswith("2020-12/schema")
    used = set(references(schema))
    assert {found(schema, reference)["title"] for reference in used} == set(schema.get("$defs", {}))


def test_the_document_is_whole_and_says_how_connections_end(links: Links) -> None:
    document = asyncapi(links)
    assert document["asyncapi"] == "3.0.0"
    for reference in references(document):
        assert found(document, reference)
    assert document["servers"]["gateway"]["host"] == "testserver:8001"
    channel = document["channels"]["gateway"]
    assert channel["x-heartbeat-s"] == 5
    codes = {each["code"] for each in channel["x-close-codes"]}
    assert codes == {1008, 1009, 1012, SLOW_CONSUMER, UNAUTHORIZED}
    assert ("revoked" in {reason for _, reason, _ in CLOSE_CODES}) is True
    first = document["components"]["schemas"]["FirstMessage"]
    assert set(first["properties"]) == {"ticket", "have"}
    for operation in document["operations"].values():
        for message in operation["messages"]:
            assert found(document, message["$ref"])


def test_an_instant_and_an_amount_are_named_as_such() -> None:
    tally, status = schema_of("tally"), schema_of("status")
    assert tally is not None
    assert status is not None
    assert "minor units" in tally["properties"]["raised_minor"]["description"]
    assert status["properties"]["live_at"]["format"] == "date-time"
    hello = schema_of("hello")
    assert hello is not None
    assert "format" not in hello["properties"]["at"]


async def test_the_documents_are_public_and_kept(api: httpx.AsyncClient) -> None:
    for path in ("/v1/asyncapi.json", *(f"/v1/schemas/{part}.json" for part in PARTS)):
        answer = await api.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["cache-control"].startswith("public")
        again = await api.get(path, headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    for missing in ("nothing", "Tally", "tally.json", "x" * 32):
        assert (await api.get(f"/v1/schemas/{missing}.json")).status_code == 404
    assert (await api.get(f"/v1/schemas/{'x' * 33}.json")).status_code == 422


async def live_frames(
    bus: Listener, database: Database, redis: Redis, sale: Sale
) -> list[dict[str, Any]]:
    """Return every frame of a sale's first minutes, as it went over the bus."""
    known = Known()
    await tick_once(database, redis, known)
    await sell(database, sale, 2)
    await tick_once(database, redis, known)
    topic = f"stream/{sale.stream_id}/tally"
    await until(lambda: len(bus.of(topic)) == 2)
    return bus.frames


async def test_live_frames_fit_their_shapes(
    bus: Listener, database: Database, redis: Redis, sale: Sale
) -> None:
    frames = await live_frames(bus, database, redis, sale)
    assert {part_of(frame["topic"]) for frame in frames} >= {"tally", "stock", "status", "sales"}
    for frame in frames:
        msgspec.convert({**frame}, State, strict=True)
        assert re.match(topic_pattern(part_of(frame["topic"])), frame["topic"])
        msgspec.convert(frame["state"], SHAPES[part_of(frame["topic"])], strict=True)


async def test_live_frames_fit_the_published_schemas(
    bus: Listener, database: Database, redis: Redis, sale: Sale
) -> None:
    validators = pytest.importorskip("jsonschema_rs")
    whole = validators.Draft202012Validator(schema_of("frame"))
    for frame in await live_frames(bus, database, redis, sale):
        validators.Draft202012Validator(schema_of(part_of(frame["topic"]))).validate(frame["state"])
        whole.validate(frame)
        # The schema can refuse: a frame under another topic's name, and one with something unknown in it.
        assert not whole.is_valid({**frame, "topic": "stream/x_1/nothing"})
        assert not whole.is_valid({**frame, "state": {**frame["state"], "name": "a stranger"}})
    for message in (Hello(1, 5, "b", 2), Beat(3)):
        told = json.loads(msgspec.json.encode(message))
        validators.Draft202012Validator(schema_of(told["t"])).validate(told)
    first = validators.Draft202012Validator(schema_of("first-message"))
    first.validate({"ticket": "t", "have": {"stream/x/tally": [1, 2]}})
    assert not first.is_valid({"ticket": "t", "topics": []})
