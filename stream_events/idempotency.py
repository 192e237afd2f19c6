"""The same answer for the same request, so that staff who click twice move money or stock once.

A repeat must not be told apart from the first by looking before acting: two clicks at once would both look first.
So the first thing a request does in its own transaction is to insert its key's row. Whoever comes second waits on
that row until the first is committed and then gets the stored answer; if the first was refused or broke, its row
went with it and the second is the first.

    async with database_of(request).begin() as sql:
        turn = await once(sql, request, caller, key, body)
        if turn.replay is not None:
            return turn.replay
        ...
        return await turn.answer(201, made)
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from fastapi import Depends, Header, Request
from fastapi.responses import Response
from pydantic import BaseModel
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from stream_events.access import Caller
from stream_events.errors import Problem
from stream_events.tables import AnsweredRequest

KEY_CHARS_MAX: Final = 255
REPLAYED: Final = "Idempotent-Replay"

_KEY: Final = re.compile(rf"[\x21-\x7e]{{1,{KEY_CHARS_MAX}}}")


async def idempotency_key(
    idempotency_key: Annotated[
        str | None,
        Header(
            description="Of your own making, a new one for each thing you mean; send it again with every repeat.",
            examples=["7f9c2ba4-e88f-4e6c-9c1b-2f1d1c1a9b1e"],
        ),
    ] = None,
) -> str:
    """Read the ``Idempotency-Key`` header; raises ``Problem`` 400 where it is missing or is no key."""
    if idempotency_key is None or not _KEY.fullmatch(idempotency_key):
        raise Problem(
            400,
            "idempotency_key",
            f"Send an Idempotency-Key of 1 to {KEY_CHARS_MAX} visible ASCII characters.",
        )
    return idempotency_key


IdempotencyKey = Annotated[str, Depends(idempotency_key)]


@dataclass(frozen=True, slots=True)
class Turn:
    """A request's hold on its key: it is a repeat and ``replay`` its answer, or it acts and then answers."""

    sql: AsyncSession
    op: bytes
    replay: Response | None = None

    async def answer(self, status: int, made: BaseModel) -> Response:
        """Store the answer in the same transaction as what was done, and return it."""
        body = made.model_dump(mode="json")
        stored = update(AnsweredRequest).where(AnsweredRequest.op == self.op)
        await self.sql.execute(stored.values(status=status, answer=body))
        return _response(status, body)


async def once(
    sql: AsyncSession, request: Request, caller: Caller, key: str, body: BaseModel | None = None
) -> Turn:
    """Take the turn of this caller, route and key, waiting while another request has it.

    Call it first in the transaction: nothing may be locked by whoever waits. Raises ``Problem`` 422 when the key
    came before with another body.
    """
    asked = [caller.id, request.method, request.url.path, key]
    op = hashlib.sha256(msgspec.json.encode(asked)).digest()
    said = body.model_dump_json().encode() if body is not None else b""
    fingerprint = hashlib.sha256(said).digest()
    row = {"op": op, "fingerprint": fingerprint, "status": 0, "answer": {}}
    taken = insert(AnsweredRequest).values(row).on_conflict_do_nothing()
    if (await sql.execute(taken.returning(AnsweredRequest.op))).first() is not None:
        return Turn(sql, op)
    # In a later statement, which sees what the request that we waited for has committed.
    stored = select(AnsweredRequest).where(AnsweredRequest.op == op)
    found = (await sql.execute(stored)).scalar_one()
    if found.fingerprint != fingerprint:
        raise Problem(
            422, "idempotency_conflict", "This Idempotency-Key came before with another request."
        )
    return Turn(sql, op, _response(found.status, found.answer, {REPLAYED: "true"}))


def _response(status: int, body: object, headers: dict[str, str] | None = None) -> Response:
    # Sorted: the stored answer has lost the order of its members, and a repeat gets the same bytes.
    return Response(msgspec.json.encode(body, order="sorted"), status, headers, "application/json")
