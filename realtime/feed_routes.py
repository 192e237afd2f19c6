"""The feed for those who cannot hold a socket: the same frames by long-poll and as an event stream.

Everything comes from this process's memory. A credential is looked at once, at the start, and no connection to SQL is
held while somebody waits; a viewer whose key ends meanwhile is let go like one of the gateway's.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response

from realtime.event_stream import EventStream, position_of
from realtime.frames import TICKET_CHARS_MAX, TOPIC_CHARS_MAX, TOPICS_MAX, Frame, Pass
from realtime.newest import Newest
from realtime.tickets import admit, read_ticket
from stream_events.access import Caller, Role, Signer, allow, unauthorized
from stream_events.database import Database
from stream_events.errors import not_found, problems

router = APIRouter(prefix="/v1/feed", tags=["feed"])

WAIT_S_MAX: Final = 25
LIST_CHARS_MAX: Final = TOPICS_MAX * (TOPIC_CHARS_MAX + 1)
POSITION_CHARS_MAX: Final = TOPICS_MAX * 42
# Of other people's states nothing may stay in a shared cache, and nothing anywhere be taken for new.
PRIVATE: Final = "private, no-cache"

Anybody = Annotated[Caller, Depends(allow(Role.PUBLIC))]
Topics = Annotated[
    str | None,
    Query(
        max_length=LIST_CHARS_MAX,
        description=f"Up to {TOPICS_MAX} topics with commas between them, as `stream/<id>/tally`.",
    ),
]
TicketText = Annotated[
    str | None,
    Query(
        max_length=TICKET_CHARS_MAX,
        description="A ticket of `POST /v1/socket-tickets`, where no header can be sent.",
    ),
]

_ANSWER: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["frames"],
    "properties": {
        "frames": {"type": "array", "items": {"$ref": "/v1/schemas/frame.json"}},
    },
}
_HEADERS: Final[dict[str, Any]] = {
    "etag": {"description": "Of epoch and version of each topic.", "schema": {"type": "string"}},
    "x-feed-live": {
        "description": "1 while the books are looked at; at 0 the states are the last known ones.",
        "schema": {"type": "string", "enum": ["0", "1"]},
    },
}


def newest_of(request: Request) -> Newest:
    """Return the newest frames as this process holds them."""
    return cast("Newest", request.state.newest)


@router.get(
    "",
    summary="Get the newest frames of some topics, or wait for newer ones",
    response_class=Response,
    responses={
        200: {
            "description": "The newest frame of each topic that has one.",
            "headers": _HEADERS,
            "content": {"application/json": {"schema": _ANSWER}},
        },
        304: {"description": "Nothing newer came within `wait`.", "headers": _HEADERS},
        **problems(401, 403, 404, 422, 503),
    },
)
async def poll_feed(
    request: Request,
    caller: Anybody,
    topics: Topics = None,
    wait: Annotated[
        int,
        Query(ge=0, le=WAIT_S_MAX, description="Seconds to wait with a matching If-None-Match."),
    ] = 0,
    ticket: TicketText = None,
    if_none_match: Annotated[str | None, Header(max_length=1_000)] = None,
) -> Response:
    """Answer at once, unless ``If-None-Match`` is what is newest: then with the next change, or 304 after ``wait``."""
    admitted = await _admitted(request, caller, topics, ticket)
    newest = newest_of(request)
    etag = _etag(admitted.topics, newest)
    if wait and _matches(etag, if_none_match):
        with newest.watching(admitted, reads=False) as watcher:
            await watcher.news(wait)
            if watcher.revoked:
                raise unauthorized()
        etag = _etag(admitted.topics, newest)
    headers = {
        "etag": etag,
        "cache-control": PRIVATE,
        "vary": "authorization",
        "x-feed-live": "1" if newest.is_live() else "0",
    }
    if _matches(etag, if_none_match):
        return Response(status_code=304, headers=headers)
    return Response(
        _body(newest.frames_of(admitted.topics)), headers=headers, media_type="application/json"
    )


@router.get(
    "/events",
    summary="Read the frames of some topics as server-sent events",
    response_class=Response,
    responses={
        200: {
            "description": "hello, the newest frame of each topic, then every change; a beat each 5 s.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **problems(401, 403, 404, 422, 503),
    },
)
async def read_feed(
    request: Request,
    caller: Anybody,
    topics: Topics = None,
    ticket: TicketText = None,
    have: Annotated[
        str | None,
        Query(
            max_length=POSITION_CHARS_MAX,
            description="The id of the last event seen, where `Last-Event-ID` cannot be sent.",
        ),
    ] = None,
    last_event_id: Annotated[str | None, Header(max_length=POSITION_CHARS_MAX)] = None,
) -> Response:
    """Send absolute states as they come, each as it is when the reader takes it: who reads slowly skips some."""
    admitted = await _admitted(request, caller, topics, ticket)
    known = position_of(last_event_id or have, admitted.topics)
    return EventStream(newest_of(request), admitted, known)


async def _admitted(
    request: Request, caller: Caller, topics: str | None, ticket: str | None
) -> Pass:
    """Return what the caller may watch, by its ticket or by the rule that tickets are made by."""
    wanted = [] if topics is None else [topic.strip() for topic in topics.split(",")]
    if ticket is not None:
        admitted = read_ticket(cast("Signer", request.state.signer), ticket)
        if admitted is None:
            raise unauthorized()
        if not set(wanted) <= set(admitted.topics):
            raise not_found("topic")
        return Pass(admitted.kind, tuple(sorted(set(wanted))) or admitted.topics, admitted.key_id)
    async with cast("Database", request.state.database).begin() as sql:
        return await admit(sql, caller, wanted, None)


def _etag(topics: Sequence[str], newest: Newest) -> str:
    """Return what changes whenever a topic's newest frame does."""
    ages = [(topic, frame.age if (frame := newest.newest(topic)) else None) for topic in topics]
    return f'"{hashlib.blake2b(repr(ages).encode(), digest_size=12).hexdigest()}"'


def _matches(etag: str, if_none_match: str | None) -> bool:
    """Return whether ``etag`` is among those the caller has; a proxy may have weakened them."""
    asked = re.split(r"\s*,\s*", (if_none_match or "").replace("W/", "").strip())
    return etag in asked or "*" in asked


def _body(frames: Sequence[Frame]) -> bytes:
    return b'{"frames":[' + b",".join(frame.payload for frame in frames) + b"]}"
