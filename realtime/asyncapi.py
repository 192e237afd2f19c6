"""The protocol of the feed as programs read it: JSON Schemas and an AsyncAPI document, made from the models themselves.

Nothing is described a second time by hand: fields come from ``realtime.shapes`` and ``realtime.frames``, sentences from
their docstrings, names say the rest (``…_minor``, ``…_at``, ``…_bp``). Only what no model says, how a connection ends and
how to come back, is written here.
"""

import inspect
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from realtime.frames import (
    HEARTBEAT_S,
    REVOKED,
    SLOW_CONSUMER,
    SUBPROTOCOL,
    UNAUTHORIZED,
    Beat,
    FirstMessage,
    Hello,
    State,
    owner_of,
)
from realtime.shapes import SHAPES
from stream_events.links import Links

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
MESSAGES: Final[dict[str, type[msgspec.Struct]]] = {
    "hello": Hello,
    "beat": Beat,
    "first-message": FirstMessage,
}
PARTS: Final = (*SHAPES, "frame", *MESSAGES)
SCOPES: Final = ("stream", "rehearsal", "campaign", "farmer")

_BY_NAME: Final = {
    "_minor": "Whole minor units of the currency beside it.",
    "_bp": "Basis points: 10,000 are one whole.",
    "_s": "Seconds.",
}
CLOSE_CODES: Final = (
    (1008, "nothing more was expected", "The viewer said more than its first message. Do not."),
    (1009, "", "The first message was too long."),
    (1012, "restart", "The gateway goes. Come back with a jittered pause and `have`."),
    (
        SLOW_CONSUMER,
        "slow_consumer at=<ms>",
        "It did not read for too long; `at` is that of its last frame. Come back with a jittered pause and `have`.",
    ),
    (UNAUTHORIZED, "unauthorized", "No good ticket came in time. Ask for another one."),
    (
        UNAUTHORIZED,
        REVOKED,
        "The key behind the ticket has ended. Another ticket wants another key.",
    ),
)
_RECONNECT: Final = {
    "stale_after_ms": 2 * HEARTBEAT_S * 1000,
    "dead_after_ms": 3 * HEARTBEAT_S * 1000,
    "pause_ms_min": 500,
    "pause_ms_max": 20_000,
    "jitter": "full: a random pause between the least and a bound that doubles from 2 s with each failure",
}
_DESCRIPTION: Final = """
Live figures of a sale. Every frame carries the whole state of its topic under an epoch and a version: show the one with
the newest (epoch, version) and drop all others. Never add up. A frame may come late, twice, or not at all.

First comes `hello`, then the newest frame of each topic that has one, then every change; what changes faster than a
viewer reads is skipped. A `beat` comes every 5 s while the figures are known to be true now: after 10 s without a
word mark them as old, after 15 s reconnect with full jitter between 0.5 s and a bound that doubles up to 20 s.
"""


def schema_of(part: str) -> dict[str, Any] | None:
    """Return the JSON Schema of a topic's state, of a ``frame`` or of a message; None for no such part."""
    if part not in PARTS:
        return None
    definitions = _components("#/$defs/{name}")
    if part == "frame":
        root: dict[str, Any] = {
            "title": "Frame",
            "description": "A topic's whole state.",
            "oneOf": [{"$ref": f"#/$defs/{_frame_name(each)}"} for each in SHAPES],
        }
    else:
        root = definitions[_model(part).__name__]
    used = _used(root, definitions)
    document = {"$schema": DIALECT, "$id": f"/v1/schemas/{part}.json", **root}
    return document | (
        {"$defs": {name: definitions[name] for name in sorted(used)}} if used else {}
    )


def asyncapi(links: Links) -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document of a deployment."""
    servers = {"gateway": links.gateway_url, "api": links.public_url}
    messages = {name: _message(name) for name in (*MESSAGES, *SHAPES)}
    told = ["hello", "beat", *SHAPES]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "stream-events feed",
            "version": SUBPROTOCOL.rpartition(".v")[2] + ".0.0",
            "description": _DESCRIPTION.strip(),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {name: _server(url) for name, url in servers.items()},
        "channels": {
            "gateway": {
                "address": urlsplit(links.gateway_url).path or "/",
                "title": f"The websocket, with the subprotocol {SUBPROTOCOL}",
                "description": "One first message with a ticket of POST /v1/socket-tickets within 5 s, then only listen.",
                "servers": [{"$ref": "#/servers/gateway"}],
                "messages": _refs("#/components/messages/", ["first-message", *told]),
                "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
                "x-close-codes": [
                    {"code": code, "reason": reason, "description": meaning}
                    for code, reason, meaning in CLOSE_CODES
                ],
                "x-heartbeat-s": HEARTBEAT_S,
                "x-reconnect": _RECONNECT,
            },
            "events": {
                "address": "/v1/feed/events",
                "title": "Server-sent events",
                "description": "The same messages, each as the data of an event. Its id, sent back as Last-Event-ID, resumes.",
                "servers": [{"$ref": "#/servers/api"}],
                "messages": _refs("#/components/messages/", told),
                "x-heartbeat-s": HEARTBEAT_S,
                "x-reconnect": _RECONNECT,
            },
            "poll": {
                "address": "/v1/feed",
                "title": "Long-poll",
                "description": "The newest frames under an ETag; with If-None-Match and ?wait= the answer waits for a change.",
                "servers": [{"$ref": "#/servers/api"}],
                "messages": _refs("#/components/messages/", list(SHAPES)),
            },
        },
        "operations": {
            "readTicket": _operation("receive", "gateway", ["first-message"]),
            "tellOverSocket": _operation("send", "gateway", told),
            "tellAsEvents": _operation("send", "events", told),
            "answerPolls": _operation("send", "poll", list(SHAPES)),
        },
        "components": {
            "messages": messages,
            "schemas": _components("#/components/schemas/{name}"),
        },
    }


def topic_pattern(part: str) -> str:
    """Return the pattern of the names of topics that tell ``part``."""
    tail = f"{part}/main" if part == "alerts" else part
    scopes = [scope for scope in SCOPES if owner_of(f"{scope}/x/{tail}") is not None]
    group = "/[a-z0-9-]{1,24}" if part == "alerts" else ""
    return f"^(?:{'|'.join(scopes)})/[A-Za-z0-9_-]{{1,64}}/{part}{group}$"


def _model(part: str) -> type[msgspec.Struct]:
    return MESSAGES.get(part) or SHAPES[part]


def _frame_name(part: str) -> str:
    return f"{SHAPES[part].__name__}Frame"


def _components(template: str) -> dict[str, Any]:
    """Return the schema of every model, and of the frame of every topic, with references by ``template``."""
    models = [Hello, Beat, FirstMessage, State, *SHAPES.values()]
    _, found = msgspec.json.schema_components(models, ref_template=template)
    components = {name: _worded(schema) for name, schema in found.items()}
    frame = components.pop("State")
    for part, shape in SHAPES.items():
        name = _frame_name(part)
        told = {
            "topic": {"type": "string", "pattern": topic_pattern(part)},
            "state": {"$ref": template.format(name=shape.__name__)},
        }
        components[name] = {**frame, "title": name, "properties": frame["properties"] | told}
    return components


def _worded(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a model's schema with its docstring as a text, and with what the names of its fields say."""
    worded = {**schema, "description": inspect.cleandoc(schema.get("description", ""))}
    worded["properties"] = {
        name: _named(name, field) for name, field in schema.get("properties", {}).items()
    }
    return worded


def _named(name: str, field: dict[str, Any]) -> dict[str, Any]:
    kinds = {one.get("type") for one in (field, *field.get("anyOf", ()))}
    if name == "at" or name.endswith("_at"):
        said = (
            "RFC 3339, UTC, with milliseconds." if "string" in kinds else "Milliseconds since 1970."
        )
        return {**field, "description": said} | (
            {"format": "date-time"} if "string" in kinds else {}
        )
    said = next((text for end, text in _BY_NAME.items() if name.endswith(end)), "")
    return {**field, "description": said} if said and "integer" in kinds else field


def _used(schema: Any, definitions: dict[str, Any]) -> set[str]:
    """Return the names of the definitions a schema leads to."""
    found: set[str] = set()
    left = [schema]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            name = str(each.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found.add(name)
                left.append(definitions[name])
            left.extend(each.values())
        elif isinstance(each, list):
            left.extend(each)
    return found


def _message(name: str) -> dict[str, Any]:
    schema = _frame_name(name) if name in SHAPES else _model(name).__name__
    described = inspect.cleandoc(_model(name).__doc__ or "")
    return {
        "name": name,
        "title": schema,
        "summary": described.partition("\n")[0],
        "payload": {"$ref": f"#/components/schemas/{schema}"},
    }


def _server(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    return {"host": parts.netloc, "protocol": parts.scheme, "pathname": parts.path or "/"}


def _refs(base: str, names: list[str]) -> dict[str, dict[str, str]]:
    return {name: {"$ref": f"{base}{name}"} for name in names}


def _operation(action: str, channel: str, names: list[str]) -> dict[str, Any]:
    messages = list(_refs(f"#/channels/{channel}/messages/", names).values())
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": messages,
    }
