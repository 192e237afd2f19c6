"""The reading queue over HTTP: approved messages, to be read aloud in the order they were paid for."""

from typing import Annotated, Final, cast

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import text

from orders.schemas import OrderPath
from realtime.moderation.reading_time import reading_s
from realtime.moderation.rules import lock_rules
from realtime.moderation.schemas import Mark, Marked, MarkIn, ReadingItem
from stream_events.access import Caller, Role, allow
from stream_events.errors import not_found, problems
from stream_events.paging import Listing, Paged, cursor_after
from stream_events.requests import database_of
from stream_events.schemas import StreamPath
from stream_events.streams import own_stream

router: Final = APIRouter(prefix="/streams/{stream_id}", tags=["moderation"])

Staff = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.HOST))]


@router.get("/reading", responses=problems(401, 403, 404, 422))
async def list_reading(
    request: Request,
    caller: Staff,
    stream_id: StreamPath,
    page: Paged,
    state: Annotated[Mark, Query(description="Which messages.")] = "unread",
) -> Listing[ReadingItem]:
    """List messages on screen that somebody may read aloud, the oldest order first, with about how long that takes."""
    given = {
        "stream": stream_id,
        "mark": state,
        "after": page.after or "",
        "limit": page.limit + 1,
    }
    async with database_of(request).begin() as sql:
        await own_stream(sql, caller, stream_id)
        rows = (await sql.execute(_LIST, given)).all()
    items = [
        ReadingItem(**row._asdict(), reading_s=reading_s(row.name, row.message, row.dedication))
        for row in rows[: page.limit]
    ]
    return Listing(
        items=items, next=cursor_after(items[-1].order_id) if len(rows) > page.limit else None
    )


@router.put("/reading/{order_id}", responses=problems(400, 401, 403, 404, 413, 422))
async def mark_reading(
    request: Request, caller: Staff, stream_id: StreamPath, order_id: OrderPath, body: MarkIn
) -> Marked:
    """Mark a message as read, kept for later, passed by, or unread again."""
    async with database_of(request).begin() as sql:
        await own_stream(sql, caller, stream_id)
        rules = await lock_rules(sql, stream_id)
        given = {"stream": stream_id, "order": order_id, "mark": body.mark}
        found = await sql.scalar(_MARK, given)
        if found is None:
            raise not_found("message")
        rules.revision += 1
    return Marked(order_id=order_id, mark=cast("Mark", found))


_LIST = text("""
SELECT r.order_id, o.kind, o.total_minor AS amount_minor, o.currency, m.name, m.message, m.dedication, r.mark
FROM reviews r
JOIN order_messages m ON m.order_id = r.order_id
JOIN orders o ON o.id = r.order_id
WHERE r.stream_id = :stream AND r.mark = :mark AND m.display = 'SHOWN' AND r.order_id > :after
ORDER BY r.order_id LIMIT :limit
""")
_MARK = text("""
UPDATE reviews r SET mark = :mark
FROM order_messages m
WHERE m.order_id = r.order_id AND m.display = 'SHOWN' AND r.mark IS NOT NULL
  AND r.order_id = :order AND r.stream_id = :stream
RETURNING r.mark
""")
