"""What a giver wants said: a name, a message, a dedication. Kept apart from the order, so that it can be erased.

Nothing of it is shown unless the giver says so, and then only after somebody has looked at it. Hiding or erasing it
never touches the books: display is a matter of its own.
"""

from typing import Annotated, Final, NamedTuple

from pydantic import Field, model_validator
from sqlalchemy import case, delete, func, or_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from orders.locks import lock_orders
from orders.order_links import is_own
from orders.tables import OrderMessage
from stream_events.access import Caller
from stream_events.database import Database
from stream_events.errors import not_found
from stream_events.names import CODE_POINTS_MAX, clean_name, clean_words
from stream_events.schemas import Body

NAME_GRAPHEMES_MAX: Final = 32
MESSAGE_CHARS_MAX: Final = 200
DEDICATION_CHARS_MAX: Final = 100

ANONYMOUS: Final = "ANONYMOUS"
PENDING_REVIEW: Final = "PENDING_REVIEW"
PASSED: Final = "PASSED"
SHOWN: Final = "SHOWN"
HIDDEN: Final = "HIDDEN"


class Words(NamedTuple):
    """What is to be said, cleaned, and whether its giver wants it shown."""

    name: str | None
    message: str | None
    dedication: str | None
    show: bool


def giver_name(text: str) -> str:
    """Return a giver's name as it may stand on a screen, or raise ``ValueError``."""
    return clean_name(text, NAME_GRAPHEMES_MAX)


def giver_message(text: str) -> str:
    """Return a message as it may stand on a screen, or raise ``ValueError``."""
    return clean_words(text, MESSAGE_CHARS_MAX)


def giver_dedication(text: str) -> str:
    """Return to whom a gift is dedicated as it may stand on a screen, or raise ``ValueError``."""
    return clean_words(text, DEDICATION_CHARS_MAX)


def clean_said(
    name: str | None, message: str | None, dedication: str | None, *, show: bool
) -> Words | None:
    """Return what a giver said, or None when that is nothing. Raises ``ValueError`` for what cannot be shown."""
    words = Words(
        None if name is None else giver_name(name),
        None if message is None else giver_message(message),
        None if dedication is None else giver_dedication(dedication),
        show,
    )
    if words[:3] == (None, None, None):
        if show:
            raise ValueError("there is nothing to show: say a name, a message or a dedication")
        return None
    return words


class MessageIn(Body):
    """What to say with an order or a gift; it is shown only with `show`, and only once it was looked at."""

    name: Annotated[
        str | None,
        Field(min_length=1, max_length=CODE_POINTS_MAX, examples=["Li Na"]),
    ] = None
    message: Annotated[
        str | None,
        Field(min_length=1, max_length=2 * MESSAGE_CHARS_MAX, examples=["Play well, children!"]),
    ] = None
    dedication: Annotated[
        str | None,
        Field(min_length=1, max_length=2 * DEDICATION_CHARS_MAX, examples=["For grandfather"]),
    ] = None
    show: bool = False

    @model_validator(mode="after")
    def _says_something(self) -> "MessageIn":
        if self.words() is None:
            raise ValueError("say a name, a message or a dedication, or erase them with DELETE")
        return self

    def words(self) -> Words | None:
        """Return it cleaned."""
        return clean_said(self.name, self.message, self.dedication, show=self.show)


async def keep_message(database: Database, order_id: str, caller: Caller, words: Words) -> str:
    """Keep (or change) what is said with an order; return how it is displayed now.

    What was looked at and shown stays so only as long as not a word of it changes. Nothing here can show words:
    the review does, and what it says of one revision does not hold for the next.
    """
    display = PENDING_REVIEW if words.show else ANONYMOUS
    said = {"name": words.name, "message": words.message, "dedication": words.dedication}
    statement = insert(OrderMessage).values(
        order_id=order_id,
        display=display,
        consent_at=func.now() if words.show else None,
        **said,
    )
    new = statement.excluded
    changed = or_(*(getattr(OrderMessage, field).is_distinct_from(new[field]) for field in said))
    looked_at = OrderMessage.display.in_((PASSED, SHOWN, HIDDEN)) & (new.display == PENDING_REVIEW)
    keeps = looked_at & ~changed
    async with database.begin() as sql:
        await _own_order(sql, order_id, caller)
        stored = await sql.execute(
            statement.on_conflict_do_update(
                index_elements=["order_id"],
                set_={
                    **{field: new[field] for field in said},
                    "display": case((keeps, OrderMessage.display), else_=new.display),
                    "consent_at": case((keeps, OrderMessage.consent_at), else_=new.consent_at),
                },
            ).returning(OrderMessage.display)
        )
        return to_giver(stored.scalar_one())


def to_giver(display: str) -> str:
    """Return how a giver is told of a display: how many have looked at the words so far is the moderators' affair."""
    return PENDING_REVIEW if display == PASSED else display


async def erase_message(database: Database, order_id: str, caller: Caller) -> None:
    """Forget what was said with an order. Doing it twice is no mistake."""
    async with database.begin() as sql:
        await _own_order(sql, order_id, caller)
        await sql.execute(delete(OrderMessage).where(OrderMessage.order_id == order_id))


async def _own_order(sql: AsyncSession, order_id: str, caller: Caller) -> None:
    found = await lock_orders(sql, [order_id])
    if not found or not is_own(found[0], caller):
        raise not_found("order")
