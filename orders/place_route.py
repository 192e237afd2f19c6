"""The one hot route, ``POST /v1/streams/{id}/orders``, in front of FastAPI.

FastAPI's request machinery costs more than everything else an order needs. This ASGI callable answers the route
itself, with the same errors and the same access rule, and passes every other request on. The route is declared
to FastAPI as well (``router``), which documents it and, behind a mount, serves it by the very same function.
"""

import re
import time
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends
from fastapi import Request as HttpRequest
from fastapi.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from orders.checkout import Checkout, Request
from orders.placements import Placed
from stream_events.access import Caller, Role, Signer, allow, bearer, unauthorized
from stream_events.errors import MEDIA_TYPE, Problem

BODY_BYTES_MAX = 16 * 1024
KEY_CHARS_MAX = 255

_PATH = re.compile(r"/v1/streams/([A-Za-z0-9_]{1,80})/orders")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_SKU_CHARS_MAX = 64


class OrderLine(msgspec.Struct, forbid_unknown_fields=True):
    """So many units of a SKU."""

    sku: Annotated[str, msgspec.Meta(min_length=1, max_length=_SKU_CHARS_MAX)]
    quantity: Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class OrderBody(msgspec.Struct, forbid_unknown_fields=True):
    """What a shopper wants. A price or a state is not the client's to send."""

    lines: Annotated[list[OrderLine], msgspec.Meta(min_length=1, max_length=20)]


Lines = tuple[tuple[str, int], ...]


class PlacedLine(msgspec.Struct):
    """A line as it is answered; amounts are minor units."""

    sku: str
    quantity: int
    unit_minor: int
    amount_minor: int


class Total(msgspec.Struct):
    """What the order costs, in minor units of its currency."""

    amount_minor: int
    currency: str


class PlacedOrder(msgspec.Struct):
    """The answer to a placed order: the same bytes for the same key, whenever it is asked."""

    id: str
    state: str
    lines: list[PlacedLine]
    total: Total
    place: int
    server_time: str


_decoder = msgspec.json.Decoder(OrderBody)
_encoder = msgspec.json.Encoder()


def read_lines(body: bytes) -> Lines:
    """Read the wanted lines out of a body. Raises ``Problem`` 400 for no JSON, 422 for what does not fit."""
    try:
        wanted = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Problem(422, "invalid", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem(400, "invalid_json", "The body is not JSON.") from None
    return tuple((line.sku, line.quantity) for line in wanted.lines)


async def place_order(
    checkout: Checkout, stream_id: str, shopper_id: str, key: str, body: bytes
) -> tuple[int, bytes]:
    """Place an order from raw parts; return status and JSON body. Every refusal is a ``Problem``."""
    if not _KEY.fullmatch(key):
        raise Problem(
            400,
            "idempotency_key",
            f"Send an Idempotency-Key of 1 to {KEY_CHARS_MAX} visible ASCII characters.",
        )
    answer = await checkout.place(Request(stream_id, shopper_id, key, read_lines(body)))
    return answer.status, render(answer.order)


def render(order: Placed) -> bytes:
    """Return the JSON body that answers a placed order."""
    return _encoder.encode(
        PlacedOrder(
            order.order_id,
            "RESERVED",
            [
                PlacedLine(
                    line.sku, line.quantity, line.unit_minor, line.unit_minor * line.quantity
                )
                for line in order.lines
            ],
            Total(order.total_minor, order.currency),
            order.place,
            order.placed_at.strftime("%Y-%m-%dT%H:%M:%S.")
            + f"{order.placed_at.microsecond // 1000:03d}Z",
        )
    )


class HotOrders:
    """ASGI in front of the app: answers the hot route, passes everything else on."""

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
        status, body, extra = await _answer(
            scope["state"]["checkout"],
            scope["state"]["signer"],
            path[1],
            dict(scope["headers"]),
            receive,
        )
        await send({"type": "http.response.start", "status": status, "headers": extra})
        await send({"type": "http.response.body", "body": body})


async def _answer(
    checkout: Checkout,
    signer: Signer,
    stream_id: str,
    headers: Mapping[bytes, bytes],
    receive: Receive,
) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    try:
        body = await _read(headers, receive)
        token = bearer(headers.get(b"authorization", b"").decode("latin-1"))
        shopper_id = signer.read("shopper", token) if token else None
        if shopper_id is None:
            raise unauthorized()
        key = headers.get(b"idempotency-key", b"").decode("latin-1")
        status, answer = await place_order(checkout, stream_id, shopper_id, key, body)
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


async def _read(headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
    """Read a small body; what is too long is refused before it is read."""
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > BODY_BYTES_MAX:
        raise _too_long()
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Problem(400, "incomplete", "The body ended early.")
        body += message.get("body", b"")
        if len(body) > BODY_BYTES_MAX:
            raise _too_long()
        if not message.get("more_body"):
            return bytes(body)


def _too_long() -> Problem:
    return Problem(413, "too_long", f"A body has at most {BODY_BYTES_MAX} bytes.")


router = APIRouter(prefix="/v1", tags=["orders"])


@router.post(
    "/streams/{stream_id}/orders",
    status_code=201,
    summary="Place an order",
    response_class=Response,
)
async def place(
    stream_id: str,
    request: HttpRequest,
    caller: Annotated[Caller, Depends(allow(Role.SHOPPER))],
) -> Response:
    """Hold units and place an order, all lines or none; durable when it answers 201.

    Send an `Idempotency-Key`: the same key with the same body always gives the same answer. 503 means that the
    outcome is not known yet: repeat with the same key.
    """

    async def once() -> Any:
        return {"type": "http.request", "body": await request.body()}

    body = await _read(dict(request.scope["headers"]), once)
    status, answer = await place_order(
        request.state.checkout,
        stream_id,
        caller.id,
        request.headers.get("idempotency-key", ""),
        body,
    )
    return Response(answer, status, media_type="application/json")
