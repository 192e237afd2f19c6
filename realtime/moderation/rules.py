"""A stream's rules of moderation: read by anybody who lists texts, locked by whoever decides about one.

The filter takes up to seconds for a hundred texts and long lists. So it is asked in a thread, and before anything is
locked; whoever holds the lock asks it again only about what changed meanwhile.
"""

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from orders.messages import MESSAGE_CHARS_MAX
from realtime.moderation.filter import GRAVE, Flag, WordFilter
from realtime.moderation.tables import ModerationRules

# Money was received for the order and some of it is still here; as ``o`` in a query.
STANDING: Final = (
    "o.state IN ('PAID', 'PART_REFUNDED', 'REFUND_PENDING', 'REFUND_FAILED', 'DISPUTED')"
    " AND o.received_minor > o.refunded_minor + o.disputed_minor"
)


# A giver's name, message and dedication.
Words = tuple[str | None, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Terms:
    """What of the rules the filter goes by."""

    blocked: tuple[str, ...]
    allowed: tuple[str, ...]
    message_graphemes_max: int


@dataclass(frozen=True, slots=True)
class Flagged:
    """What the filter has to say of some words, on some terms."""

    terms: Terms
    flags: dict[Words, list[Flag]]

    def is_grave(self, said: Words) -> bool:
        """Return whether words are not to be shown unless a host says so."""
        return any(flag.kind in GRAVE for flag in self.flags[said])

    async def brought_up_to(self, terms: Terms, said: Collection[Words]) -> "Flagged":
        """Return the same for ``said`` on these terms, asking about no more than is not known."""
        known = self.flags if terms == self.terms else {}
        missing = [words for words in said if words not in known]
        if not missing:
            return self if terms == self.terms else Flagged(terms, {})
        return Flagged(terms, {**known, **(await flagged(terms, missing)).flags})


async def read_rules(sql: AsyncSession, stream_id: str) -> ModerationRules:
    """Return a stream's rules; what was never said is as the table's defaults say."""
    found = await sql.get(ModerationRules, stream_id)
    return found or ModerationRules(
        stream_id=stream_id,
        mode="one_pass",
        blocked=[],
        allowed=[],
        message_graphemes_max=MESSAGE_CHARS_MAX,
        revision=0,
        names=0,
    )


async def lock_rules(sql: AsyncSession, stream_id: str) -> ModerationRules:
    """Return a stream's rules with their row locked: one decision about a stream at a time.

    Whoever also locks orders locks them before; messages and reviews come after.
    """
    await sql.execute(insert(ModerationRules).values(stream_id=stream_id).on_conflict_do_nothing())
    locked = select(ModerationRules).where(ModerationRules.stream_id == stream_id)
    found = await sql.execute(
        locked.with_for_update(key_share=True).execution_options(populate_existing=True)
    )
    return found.scalar_one()


async def screen_anew(sql: AsyncSession, stream_id: str) -> None:
    """Have the filter look again at whatever is not decided yet: what it hid before stays hidden."""
    await sql.execute(_UNSCREEN, {"stream": stream_id})


def terms_of(rules: ModerationRules) -> Terms:
    """Return what the filter is to go by."""
    return Terms(tuple(rules.blocked), tuple(rules.allowed), rules.message_graphemes_max)


async def flagged(terms: Terms, said: Iterable[Words]) -> Flagged:
    """Return what the filter says of each of these words; while it thinks, others get their turn."""
    wanted = set(said)
    return Flagged(terms, await asyncio.to_thread(_ask, terms, wanted) if wanted else {})


def _ask(terms: Terms, said: Collection[Words]) -> dict[Words, list[Flag]]:
    words = WordFilter(terms.blocked, terms.allowed, terms.message_graphemes_max)
    return {each: words.flags(*each) for each in said}


_UNSCREEN = text("""
UPDATE order_messages SET screened_at = NULL
WHERE display IN ('PENDING_REVIEW', 'PASSED') AND screened_at IS NOT NULL
  AND order_id IN (SELECT order_id FROM reviews WHERE stream_id = :stream)
""")
