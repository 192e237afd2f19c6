"""Giving without goods over HTTP, and what is said with a gift or an order.

A gift is an order without lines: it is paid, cancelled and asked for like one, under the same id.
"""

from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy import select

from orders.donation_view import show_donation
from orders.donations import Donations, Wish
from orders.gifts import GiftWish
from orders.messages import (
    DEDICATION_CHARS_MAX,
    MESSAGE_CHARS_MAX,
    MessageIn,
    clean_said,
    erase_message,
    keep_message,
)
from orders.order_links import own_orders
from orders.placements import Placed
from orders.raw_requests import (
    Amount,
    Causes,
    Total,
    declared,
    moment,
    read_body,
    read_json,
    require_key,
    shares_in,
)
from orders.requests import Owner, Reader, Shopper, pace_of, small_router
from orders.schemas import DisplayOut, DonationOut, OrderPath
from orders.tables import Order
from stream_events.access import Role
from stream_events.errors import Problem, not_found, problems
from stream_events.names import CODE_POINTS_MAX
from stream_events.requests import database_of
from stream_events.schemas import StreamPath


class DonationBody(msgspec.Struct, forbid_unknown_fields=True):
    """What somebody gives, to which causes, and what to say with it."""

    amount_minor: Amount
    causes: Causes | None = None
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=CODE_POINTS_MAX)] | None = None
    message: Annotated[str, msgspec.Meta(min_length=1, max_length=2 * MESSAGE_CHARS_MAX)] | None = (
        None
    )
    dedication: (
        Annotated[str, msgspec.Meta(min_length=1, max_length=2 * DEDICATION_CHARS_MAX)] | None
    ) = None
    show: bool = False


class CausePart(msgspec.Struct):
    """What of a gift goes to one cause."""

    beneficiary_id: str
    amount_minor: int


class PlacedDonation(msgspec.Struct):
    """The answer to a gift: the same bytes for the same key, whenever it is asked."""

    id: str
    state: str
    amount: Total
    causes: list[CausePart]
    place: int
    server_time: str


_decoder: Final = msgspec.json.Decoder(DonationBody)
_encoder: Final = msgspec.json.Encoder()


async def place_donation(
    donations: Donations, stream_id: str, shopper_id: str, key: str, body: bytes
) -> tuple[int, bytes]:
    """Take a gift from raw parts; return status and JSON body. Every refusal is a ``Problem``."""
    require_key(key)
    wanted = read_json(_decoder, body)
    try:
        words = clean_said(wanted.name, wanted.message, wanted.dedication, show=wanted.show)
    except ValueError as error:
        raise Problem(422, "invalid", str(error)) from None
    gift = GiftWish(wanted.amount_minor, shares_in(wanted.causes))
    return 201, _render(await donations.give(Wish(stream_id, shopper_id, key, gift, words)))


def _render(order: Placed) -> bytes:
    return _encoder.encode(
        PlacedDonation(
            order.order_id,
            "PLEDGED",
            Total(order.total_minor, order.currency),
            [CausePart(gift.beneficiary_id, gift.amount_minor) for gift in order.gifts],
            order.place,
            moment(order.placed_at),
        )
    )


router: Final = APIRouter(prefix="/v1", tags=["donations"])
_small: Final = small_router()


@router.post(
    "/streams/{stream_id}/donations",
    status_code=201,
    summary="Give without goods",
    response_class=Response,
    responses=problems(400, 401, 403, 404, 410, 413, 422, 429, 503),
    openapi_extra=declared(
        DonationBody,
        PlacedDonation,
        {
            "amount_minor": 5000,
            "causes": [
                {"beneficiary_id": "ben_1", "share_bp": 7500},
                {"beneficiary_id": "ben_2", "share_bp": 2500},
            ],
            "name": "Li Na",
            "message": "Play well, children!",
            "dedication": "For grandfather",
            "show": True,
        },
    ),
)
async def give(
    stream_id: StreamPath,
    request: Request,
    caller: Shopper,
) -> Response:
    """Give an amount to causes of the campaign, anonymously unless `show` is true; durable when it answers 201.

    Send an `Idempotency-Key`: the same key with the same body always gives the same answer. 503 means that the
    outcome is not known yet: repeat with the same key. Then it is paid like an order, under the id of the answer.
    """

    async def once() -> Any:
        return {"type": "http.request", "body": await request.body()}

    body = await read_body(dict(request.scope["headers"]), once)
    status, answer = await place_donation(
        request.state.donations,
        stream_id,
        caller.id,
        request.headers.get("idempotency-key", ""),
        body,
    )
    return Response(answer, status, media_type="application/json")


@_small.get("/donations/{order_id}", responses=problems(401, 403, 404, 422))
async def get_donation(request: Request, caller: Reader, order_id: OrderPath) -> DonationOut:
    """Read how a gift stands: its place in the queue to pay, its causes, and its numbers in the public ledger."""
    rate_per_s = await pace_of(request).rate_per_s()
    wanted = select(Order).where(Order.id == order_id, Order.kind == "gift", own_orders(caller))
    async with database_of(request).begin() as sql:
        order = await sql.scalar(wanted)
        if order is None:
            raise not_found("donation")
        secrets = caller.role is Role.SHOPPER
        return await show_donation(sql, order, rate_per_s, secrets=secrets)


@_small.put("/orders/{order_id}/message", responses=problems(400, 401, 403, 404, 413, 422))
async def put_message(
    request: Request, caller: Owner, order_id: OrderPath, body: MessageIn
) -> DisplayOut:
    """Say something with an order or a gift, or change it; changed words are looked at again before they are shown."""
    words = body.words()
    assert words is not None  # MessageIn sees to it
    return DisplayOut(display=await keep_message(database_of(request), order_id, caller, words))


@_small.delete(
    "/orders/{order_id}/message", status_code=204, responses=problems(401, 403, 404, 422)
)
async def delete_message(request: Request, caller: Owner, order_id: OrderPath) -> None:
    """Erase name, message and dedication of an order or a gift."""
    await erase_message(database_of(request), order_id, caller)


router.include_router(_small)
