"""Peer (a): what FastAPI costs before anything is done. A typed order in, a typed order out, nothing in between."""

from typing import Annotated

from fastapi import FastAPI, Header
from pydantic import BaseModel, Field


class Line(BaseModel):
    """So many units of a SKU."""

    sku: Annotated[str, Field(min_length=1, max_length=64)]
    quantity: Annotated[int, Field(ge=1, le=10_000)]


class Order(BaseModel):
    """What a shopper wants."""

    lines: Annotated[list[Line], Field(min_length=1, max_length=20)]


class Placed(BaseModel):
    """What a shopper gets."""

    id: str
    state: str
    lines: list[Line]
    place: int


app = FastAPI()


@app.post("/v1/streams/{stream_id}/orders", status_code=201)
async def place(
    stream_id: str, order: Order, idempotency_key: Annotated[str, Header(max_length=255)]
) -> Placed:
    """Answer what was asked for."""
    return Placed(id=idempotency_key, state=stream_id, lines=order.lines, place=1)
