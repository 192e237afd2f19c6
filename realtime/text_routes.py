"""What other tools show of a sale without a script: a line of text for chat bots, and the QR code of its shop."""

import hashlib
from functools import lru_cache
from typing import Annotated, Any, Final, cast

import msgspec
import segno
from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response

from realtime.feed_routes import newest_of
from realtime.text_template import (
    PLACEHOLDERS,
    TEMPLATE_CHARS_MAX,
    Language,
    Line,
    unknown_placeholders,
)
from stream_events.access import Caller, Role, allow
from stream_events.errors import Problem, not_found, problems
from stream_events.links import Links
from stream_events.schemas import StreamPath

router = APIRouter(prefix="/v1/streams/{stream_id}", tags=["feed"])

TEMPLATE: Final = "{raised} / {goal} · {url}"
PARTS: Final = ("tally", "tonight", "stock", "status", "board", "milestones", "matches", "leaders")
QUIET_ZONE: Final = 4  # Modules on each side; the standard asks for them, and phones do too.
SIZE_PX: Final = (64, 2_048)

Anybody = Annotated[Caller, Depends(allow(Role.PUBLIC))]
Color = Annotated[str, Query(pattern=r"^(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})$")]


@router.get(
    "/text",
    summary="Get a line of text with the figures of a sale in it",
    response_class=Response,
    responses={
        200: {
            "description": "One line.",
            "content": {"text/plain; charset=utf-8": {"schema": {"type": "string"}}},
        },
        **problems(401, 404, 422),
    },
)
def get_text(
    stream_id: StreamPath,
    request: Request,
    _: Anybody,
    tpl: Annotated[
        str,
        Query(
            max_length=TEMPLATE_CHARS_MAX,
            description=f"The line; `{{name}}` is filled in: {', '.join(PLACEHOLDERS)}.",
        ),
    ] = TEMPLATE,
    lang: Language = "en",
) -> Response:
    """Fill a template with the newest states. What is not known is a dash."""
    if unknown := unknown_placeholders(tpl):
        raise Problem(
            422,
            "unknown_placeholder",
            f"There is no placeholder {{{unknown[0]}}}.",
            placeholder=unknown[0],
            known=list(PLACEHOLDERS),
        )
    states = _states(request, stream_id)
    line = Line(states, _shop_url(request, stream_id), lang).fill(tpl)
    headers = {"cache-control": "public, max-age=1"}
    return Response(line.encode(), headers=headers, media_type="text/plain; charset=utf-8")


@router.get(
    "/qr.svg",
    summary="Get the QR code of a sale's shop",
    response_class=Response,
    responses={
        200: {
            "description": "An image with its quiet zone.",
            "content": {"image/svg+xml": {"schema": {"type": "string"}}},
        },
        304: {"description": "It has not changed."},
        **problems(401, 404, 422),
    },
)
def get_qr(
    stream_id: StreamPath,
    request: Request,
    _: Anybody,
    size: Annotated[int, Query(ge=SIZE_PX[0], le=SIZE_PX[1], description="Pixels a side.")] = 512,
    dark: Color = "000000",
    light: Color = "ffffff",
    if_none_match: Annotated[str | None, Header(max_length=1_000)] = None,
) -> Response:
    """Draw the address of the shop; error correction M survives a logo's worth of dirt on a screen."""
    if newest_of(request).newest(f"stream/{stream_id}/status") is None:
        raise not_found("stream")
    body = qr_svg(_shop_url(request, stream_id), size, f"#{dark}", f"#{light}")
    etag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    headers = {"cache-control": "public, max-age=300", "etag": etag}
    if etag in (if_none_match or ""):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="image/svg+xml")


def qr_svg(text: str, size_px: int, dark: str, light: str) -> bytes:
    """Return a QR code as an SVG of exactly ``size_px`` pixels a side."""
    modules, path = _symbol(text)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size_px}" height="{size_px}"'
        f' viewBox="0 0 {modules} {modules}" shape-rendering="crispEdges">'
        f'<path fill="{light}" d="M0 0h{modules}v{modules}H0z"/><path fill="{dark}" d="{path}"/></svg>'
    ).encode()


@lru_cache(maxsize=256)
def _symbol(text: str) -> tuple[int, str]:
    """Return how many modules a side a code has, and its dark ones as a path; colours and sizes share it."""
    code = segno.make_qr(text, error="m", boost_error=False)
    path = "".join(
        f"M{column + QUIET_ZONE} {row + QUIET_ZONE}h1v1h-1z"
        for row, line in enumerate(code.matrix)
        for column, is_dark in enumerate(line)
        if is_dark
    )
    return int(code.symbol_size(border=QUIET_ZONE)[0]), path


def _shop_url(request: Request, stream_id: str) -> str:
    return f"{cast('Links', request.state.links).public_url}/shop/{stream_id}"


def _states(request: Request, stream_id: str) -> dict[str, Any]:
    """Return the newest states of a stream by part; 404 for one that was never announced."""
    frames = newest_of(request).frames_of([f"stream/{stream_id}/{part}" for part in PARTS])
    states = {
        frame.topic.split("/")[2]: msgspec.json.decode(frame.payload)["state"] for frame in frames
    }
    if "status" not in states:
        raise not_found("stream")
    return states
