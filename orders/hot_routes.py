"""The hot routes, ``POST /v1/streams/{id}/orders`` and ``…/donations``, in front of FastAPI.

FastAPI's request machinery costs more than everything else an order needs. This ASGI callable answers the two
itself, with the same errors and the same access rule, and passes every other request on. Both are declared to
FastAPI as well, which documents them and, behind a mount, serves them by the very same functions.
"""

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from starlette.types import ASGIApp, Receive, Scope, Send

from orders.donation_routes import place_donation
from orders.place_route import place_order
from orders.raw_requests import read_body
from stream_events.access import Signer, bearer, unauthorized
from stream_events.errors import MEDIA_TYPE, Problem

_PATH = re.compile(r"/v1/streams/([A-Za-z0-9_]{1,80})/(orders|donations)")


class HotRoutes:
    """ASGI in front of the app: answers the hot routes, passes everything else on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event stream."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        path = _PATH.fullmatch(scope["path"])
        if path is None:
            await self._app(scope, receive, send)
            return
        state = scope["state"]
        place = (
            partial(place_order, state["checkout"])
            if path[2] == "orders"
            else partial(place_donation, state["donations"])
        )
        status, body, extra = await _answer(
            place, state["signer"], path[1], dict(scope["headers"]), receive
        )
        await send({"type": "http.response.start", "status": status, "headers": extra})
        await send({"type": "http.response.body", "body": body})


async def _answer(
    place: Callable[[str, str, str, bytes], Awaitable[tuple[int, bytes]]],
    signer: Signer,
    stream_id: str,
    headers: Mapping[bytes, bytes],
    receive: Receive,
) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    try:
        body = await read_body(headers, receive)
        token = bearer(headers.get(b"authorization", b"").decode("latin-1"))
        shopper_id = signer.read("shopper", token) if token else None
        if shopper_id is None:
            raise unauthorized()
        key = headers.get(b"idempotency-key", b"").decode("latin-1")
        status, answer = await place(stream_id, shopper_id, key, body)
        return status, answer, _headers(answer, b"application/json")
    except Problem as problem:
        answer = problem.body()
        more = [(k.encode(), v.encode()) for k, v in problem.headers().items()]
        return problem.status, answer, _headers(answer, MEDIA_TYPE.encode()) + more


def _headers(body: bytes, media_type: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-type", media_type),
        (b"content-length", b"%d" % len(body)),
        (b"x-content-type-options", b"nosniff"),
        (b"x-server-time", b"%d" % (time.time_ns() // 1_000_000)),
    ]
