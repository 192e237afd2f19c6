"""The mailbox of test mode: what would have been mailed, to be read by operators. Live mode has no such thing."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel
from sqlalchemy import select

from orders.mail.tables import MailboxLetter
from stream_events.access import Caller, Role, allow
from stream_events.errors import not_found, problems
from stream_events.paging import Listing, Paged, read_page
from stream_events.requests import database_of, mode_of
from stream_events.schemas import Moment

router: Final = APIRouter(prefix="/v1", tags=["mail"])

Operator = Annotated[Caller, Depends(allow(Role.OPERATOR))]


class LetterOut(BaseModel):
    """A mail as its recipient would have got it."""

    id: str
    order_id: str
    to: str
    subject: str
    body: str
    created_at: Moment


@router.get("/mailbox", responses=problems(401, 403, 404, 422))
async def list_letters(request: Request, _caller: Operator, page: Paged) -> Listing[LetterOut]:
    """List the letters of test mode, newest first."""
    if mode_of(request) == "live":
        raise not_found("mailbox")
    async with database_of(request).begin() as sql:
        rows, following = await read_page(sql, select(MailboxLetter), MailboxLetter.id, page)
    items = [
        LetterOut(
            id=row.id,
            order_id=row.order_id,
            to=row.to,
            subject=row.subject,
            body=row.body,
            created_at=row.created_at,
        )
        for row in rows
    ]
    return Listing(items=items, next=following)
