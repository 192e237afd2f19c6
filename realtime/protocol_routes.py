"""The published protocol: what a program needs to read the feed, from the deployment it reads."""

import hashlib
from functools import lru_cache
from typing import Annotated, Any, Final, cast

import msgspec
from fastapi import APIRouter, Depends, Header, Path, Request
from fastapi.responses import Response

from realtime.asyncapi import PARTS, asyncapi, schema_of
from stream_events.access import Caller, Role, allow
from stream_events.errors import not_found, problems
from stream_events.links import Links

router = APIRouter(prefix="/v1", tags=["feed"])

KEPT: Final = "public, max-age=300"
Anybody = Annotated[Caller, Depends(allow(Role.PUBLIC))]
Etag = Annotated[str | None, Header(alias="if-none-match", max_length=1_000)]

_DOCUMENT: Final[dict[str, Any]] = {"type": "object"}


@router.get(
    "/asyncapi.json",
    summary="Get the protocol of the feed as an AsyncAPI document",
    response_class=Response,
    responses={
        200: {
            "description": "AsyncAPI 3.0",
            "content": {"application/json": {"schema": _DOCUMENT}},
        },
        304: {"description": "It has not changed."},
        **problems(401),
    },
)
def get_asyncapi(request: Request, _: Anybody, if_none_match: Etag = None) -> Response:
    """Describe the websocket, the event stream and the long-poll of this very deployment."""
    return _kept(*_protocol(cast("Links", request.state.links)), if_none_match)


@router.get(
    "/schemas/{part}.json",
    summary="Get the JSON Schema of a state or a message",
    response_class=Response,
    responses={
        200: {
            "description": "JSON Schema 2020-12",
            "content": {"application/schema+json": {"schema": _DOCUMENT}},
        },
        304: {"description": "It has not changed."},
        **problems(401, 404, 422),
    },
)
def get_schema(
    part: Annotated[str, Path(max_length=32, description=f"One of {', '.join(PARTS)}.")],
    _: Anybody,
    if_none_match: Etag = None,
) -> Response:
    """Describe the state of the topics whose name ends in ``part``, or a whole ``frame``."""
    found = _schema(part) if part in PARTS else None
    if found is None:
        raise not_found("schema")
    return _kept(*found, if_none_match, media_type="application/schema+json")


@lru_cache(maxsize=4)
def _protocol(links: Links) -> tuple[bytes, str]:
    return _with_etag(asyncapi(links))


@lru_cache(maxsize=len(PARTS))
def _schema(part: str) -> tuple[bytes, str]:
    return _with_etag(schema_of(part))


def _with_etag(document: Any) -> tuple[bytes, str]:
    body = msgspec.json.encode(document)
    return body, f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def _kept(
    body: bytes, etag: str, if_none_match: str | None, media_type: str = "application/json"
) -> Response:
    headers = {"cache-control": KEPT, "etag": etag}
    if etag in (if_none_match or ""):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=media_type)
