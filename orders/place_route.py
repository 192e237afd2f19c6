"""Placing an order over HTTP: what may be sent, what is answered.

Declared to FastAPI for its documentation; in earnest ``orders.hot_routes`` calls the same function without it.
"""

from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends
from fastapi import Request as HttpRequest
from fastapi.responses import Response

from inventory.tax import tax_part
from orders.baskets import Extras
from orders.checkout import Checkout, Request
from orders.gifts import GiftWish
from orders.placements import Placed
from orders.raw_requests import (
    Amount,
    Causes,
    GiftOut,
    Total,
    declared,
    moment,
    read_body,
    read_json,
    require_key,
    shares_in,
)
from stream_events.access import Caller, Role, allow
from stream_events.errors import problems

_SKU_CHARS_MAX = 64


class OrderLine(msgspec.Struct, forbid_unknown_fields=True):
    """So many units of a SKU."""

    sku: Annotated[str, msgspec.Meta(min_length=1, max_length=_SKU_CHARS_MAX)]
    quantity: Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class GiftBody(msgspec.Struct, forbid_unknown_fields=True):
    """A gift on top of the goods, to causes of the campaign; without ``causes`` to its first."""

    amount_minor: Amount
    causes: Causes | None = None


class OrderBody(msgspec.Struct, forbid_unknown_fields=True):
    """What a shopper wants. A price or a state is not the client's to send."""

    lines: Annotated[list[OrderLine], msgspec.Meta(min_length=1, max_length=20)]
    gift: GiftBody | None = None
    extra_minor: Amount | None = None
    round_up_to_minor: Amount | None = None


Lines = tuple[tuple[str, int], ...]


class PlacedLine(msgspec.Struct):
    """A line as it is answered; amounts are minor units."""

    sku: str
    quantity: int
    unit_minor: int
    amount_minor: int
    tax_minor: int


class PlacedOrder(msgspec.Struct):
    """The answer to a placed order: the same bytes for the same key, whenever it is asked."""

    id: str
    state: str
    lines: list[PlacedLine]
    gifts: list[GiftOut]
    shipping_minor: int
    total: Total
    place: int
    server_time: str


_decoder: Final = msgspec.json.Decoder(OrderBody)
_encoder: Final = msgspec.json.Encoder()


def read_order(body: bytes) -> tuple[Lines, Extras | None]:
    """Read the wanted lines and gifts out of a body. Raises ``Problem`` 400 for no JSON, 422 for what does not fit."""
    wanted = read_json(_decoder, body)
    lines = tuple((line.sku, line.quantity) for line in wanted.lines)
    if wanted.gift is None and wanted.extra_minor is None and wanted.round_up_to_minor is None:
        return lines, None
    gift = None
    if wanted.gift is not None:
        gift = GiftWish(wanted.gift.amount_minor, shares_in(wanted.gift.causes))
    return lines, Extras(gift, wanted.extra_minor or 0, wanted.round_up_to_minor or 0)


async def place_order(
    checkout: Checkout, stream_id: str, shopper_id: str, key: str, body: bytes
) -> tuple[int, bytes]:
    """Place an order from raw parts; return status and JSON body. Every refusal is a ``Problem``."""
    require_key(key)
    lines, extras = read_order(body)
    answer = await checkout.place(Request(stream_id, shopper_id, key, lines, extras))
    return answer.status, render(answer.order)


def render(order: Placed) -> bytes:
    """Return the JSON body that answers a placed order."""
    return _encoder.encode(
        PlacedOrder(
            order.order_id,
            "RESERVED",
            [
                PlacedLine(
                    line.sku,
                    line.quantity,
                    line.unit_minor,
                    line.unit_minor * line.quantity,
                    line.tax_bp and tax_part(line.unit_minor * line.quantity, line.tax_bp),
                )
                for line in order.lines
            ],
            [GiftOut(*gift) for gift in order.gifts],
            order.shipping_minor,
            Total(order.total_minor, order.currency),
            order.place,
            moment(order.placed_at),
        )
    )


router = APIRouter(prefix="/v1", tags=["orders"])


@router.post(
    "/streams/{stream_id}/orders",
    status_code=201,
    summary="Place an order",
    response_class=Response,
    responses=problems(400, 401, 403, 404, 409, 410, 413, 422, 425, 429, 503),
    openapi_extra=declared(
        OrderBody,
        PlacedOrder,
        {
            "lines": [{"sku": "PEANUT-5KG", "quantity": 2}],
            "gift": {"amount_minor": 1000},
            "extra_minor": 500,
            "round_up_to_minor": 1000,
        },
    ),
)
async def place(
    stream_id: str,
    request: HttpRequest,
    caller: Annotated[Caller, Depends(allow(Role.SHOPPER))],
) -> Response:
    """Hold units and place an order, all lines or none; durable when it answers 201.

    A `gift` goes to causes of the campaign, `extra_minor` to the beneficiaries of the goods, and
    `round_up_to_minor` makes the total a multiple by one more gift to the same causes. Send an
    `Idempotency-Key`: the same key with the same body always gives the same answer. 503 means that the
    outcome is not known yet: repeat with the same key.
    """

    async def once() -> Any:
        return {"type": "http.request", "body": await request.body()}

    body = await read_body(dict(request.scope["headers"]), once)
    status, answer = await place_order(
        request.state.checkout,
        stream_id,
        caller.id,
        request.headers.get("idempotency-key", ""),
        body,
    )
    return Response(answer, status, media_type="application/json")
