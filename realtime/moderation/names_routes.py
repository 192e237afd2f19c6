"""Who is thanked, for everybody: names by number, and what all of them together made possible.

Nothing here is added up anew for a screen: the sums are the sealed tally's, under the ledger number they belong to.
Answers are kept for a second: these are queries over all names of a stream, and anybody may ask.
"""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from realtime.moderation.name_states import count_givers, read_names
from realtime.moderation.schemas import CreditsOut, NamesOut, ThankedName
from stream_events.access import Caller, Role, allow
from stream_events.errors import not_found, problems
from stream_events.paging import LIMIT_DEFAULT, LIMIT_MAX
from stream_events.requests import database_of, kept_answers_of
from stream_events.schemas import StreamPath

router: Final = APIRouter(prefix="/streams/{stream_id}", tags=["moderation"])

Anybody = Annotated[Caller, Depends(allow(Role.PUBLIC))]
CACHE: Final = "public, max-age=1"


@router.get("/names", responses=problems(401, 404, 422))
async def list_names(
    request: Request,
    response: Response,
    _caller: Anybody,
    stream_id: StreamPath,
    after: Annotated[int, Query(ge=0, le=2**31 - 1, description="Names after this number.")] = 0,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX, description="Names a page.")] = LIMIT_DEFAULT,
) -> NamesOut:
    """List those who agreed to be named and were approved, each once. Whoever is hidden again is left out."""

    async def read() -> NamesOut:
        async with database_of(request).begin() as sql:
            await _public_stream(sql, stream_id)
            rows, count = await read_names(sql, stream_id, after, limit)
        return NamesOut(items=[ThankedName(n=row.n, name=row.name) for row in rows], count=count)

    response.headers["cache-control"] = CACHE
    return await kept_answers_of(request).get(("names", stream_id, after, limit), read)


@router.get("/credits", responses=problems(401, 404, 422))
async def show_credits(
    request: Request, response: Response, _caller: Anybody, stream_id: StreamPath
) -> CreditsOut:
    """Sum the stream up, as sealed: what was raised, by how many orders, gifts and givers."""

    async def read() -> CreditsOut:
        async with database_of(request).begin() as sql:
            row = await _public_stream(sql, stream_id)
            _, count = await read_names(sql, stream_id, 0, 1)
            givers = await count_givers(sql, stream_id, row.seq)
        return CreditsOut(
            count=count,
            givers=givers,
            orders=row.orders,
            gifts=row.gifts,
            raised_minor=row.raised_minor,
            currency=row.currency,
            seq=row.seq,
        )

    response.headers["cache-control"] = CACHE
    return await kept_answers_of(request).get(("credits", stream_id), read)


async def _public_stream(sql: AsyncSession, stream_id: str) -> Row[Any]:
    """Return a stream that is announced, with its sealed tally; a draft is nobody's to see here."""
    row = (await sql.execute(_STREAM, {"stream": stream_id})).one_or_none()
    if row is None:
        raise not_found("stream")
    return row


_STREAM = text("""
SELECT c.currency, coalesce(t.seq, 0) AS seq, coalesce(t.raised_minor, 0) AS raised_minor,
       coalesce(t.orders, 0) AS orders, coalesce(t.gifts, 0) AS gifts
FROM streams s JOIN campaigns c ON c.id = s.campaign_id LEFT JOIN tallies t ON t.scope_id = s.id
WHERE s.id = :stream AND s.state <> 'draft'
""")
