"""Takes due mails out, at least once and not too many a second: by SMTP, or into the mailbox of test mode.

A mail is marked as tried before it goes, so a crash repeats it after a while instead of losing it; the repeat has
the same Message-ID. Into the mailbox it goes exactly once, being one transaction. Nothing waits for the network
while a row is locked, and the log names orders, never people.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from orders.mail.letters import Letter, write
from orders.mail.matters import matter_of
from orders.mail.outbox import queue_declined_once, queue_sealed_once
from orders.mail.smtp import Addressed, Fate, SmtpRoute, is_address, message_id, send_all
from stream_events.access import Signer
from stream_events.bulk import bulk
from stream_events.database import SNAPSHOT, Database
from stream_events.ids import new_id
from stream_events.links import Links
from stream_events.loops import go_round

log = structlog.get_logger(__name__)

TRIES_MAX: Final = 12
BACKOFF_S: Final = 60
BACKOFF_S_MAX: Final = 6 * 3600
# For an order without a contact: how long its mail waits for one, and how often that is looked at unasked.
WAIT_DAYS_MAX: Final = 7
WAIT_S: Final = 3600
UNADDRESSED_MAX: Final = 500
ROUND_S: Final = 1.0
FAILING_S_MAX: Final = 60.0


@dataclass(frozen=True, slots=True)
class Postman:
    """How mail goes out: by SMTP if there is a route, else into the mailbox, which live mode has none of."""

    signer: Signer
    links: Links
    smtp: SmtpRoute | None = None
    mails_per_second: int = 5


@dataclass(frozen=True, slots=True)
class _Due:
    """A mail in hand."""

    id: int
    order_id: str
    kind: str
    source_id: str
    tries: int
    to: str
    letter: Letter


async def deliver_once(database: Database, postman: Postman) -> int:
    """Send the mails that are due, a second's worth of them; return how many left."""
    if postman.smtp is None and postman.links.mode == "live":
        return 0
    async with database.begin() as sql:
        given = {"days": WAIT_DAYS_MAX, "seconds": WAIT_S, "rows_max": UNADDRESSED_MAX}
        await sql.execute(_PUT_OFF, given)
        due = await _take(sql, postman)
        if postman.smtp is None:
            await _put_into_mailbox(sql, due)
            return len(due)
    return await _send(database, postman.smtp, due)


async def run_mail(database: Database, postman: Postman, stop: asyncio.Event) -> None:
    """Queue and deliver mails until ``stop``; an error is logged and tried again after a growing pause."""
    if postman.smtp is None and postman.links.mode == "live":
        log.warning("mail_waits", why="there is no STREAM_EVENTS_SMTP_URL")
    done = ""

    async def go_out() -> float:
        nonlocal done
        [row] = await database.look(_WAITS)
        if row["is_due"] or row["snapshot"] != done:
            await queue_sealed_once(database)
            await queue_declined_once(database)
            await deliver_once(database, postman)
            done = row["snapshot"]
        return ROUND_S

    await go_round(
        go_out, stop, failure="mail_failed", backoff_s=ROUND_S, backoff_s_max=FAILING_S_MAX
    )


async def _take(sql: AsyncSession, postman: Postman) -> list[_Due]:
    """Mark the oldest due mails that have an address as tried, and write them."""
    rows = (await sql.execute(_PICK, {"mails_max": postman.mails_per_second})).all()
    await _drop(sql, [row.id for row in rows if not is_address(row.contact)], "no_address")
    taken = [row for row in rows if is_address(row.contact)]
    if taken:
        waits = [min(BACKOFF_S * 2**row.tries, BACKOFF_S_MAX) for row in taken]
        await sql.execute(_TRY, {"ids": [row.id for row in taken], "waits": waits})
    return [due for row in taken if (due := await _written(sql, postman, row))]


async def _written(sql: AsyncSession, postman: Postman, row: Row[Any]) -> _Due | None:
    """Return a mail with its text; None, and said aloud, for one that cannot be written: it holds no other up."""
    try:
        async with sql.begin_nested():
            matter = await matter_of(
                sql, postman.signer, postman.links, row.order_id, row.kind, row.source_id
            )
        letter = write(matter)
    except Exception:
        log.exception("mail_not_written", order_id=row.order_id, kind=row.kind)
        if row.tries + 1 >= TRIES_MAX:
            await _drop(sql, [row.id], "not_written")
        return None
    return _Due(row.id, row.order_id, row.kind, row.source_id, row.tries + 1, row.contact, letter)


async def _put_into_mailbox(sql: AsyncSession, due: Sequence[_Due]) -> None:
    # Sorted, so that the mailbox shows them in the order in which they were due.
    for letter_id, mail in zip(sorted(new_id("ltr") for _ in due), due, strict=True):
        letter = {"id": letter_id, "order": mail.order_id, "to": mail.to}
        said = {"subject": mail.letter.subject, "body": mail.letter.body}
        await sql.execute(_INTO_MAILBOX, letter | said)
    await _mark_sent(sql, [mail.id for mail in due])


async def _send(database: Database, route: SmtpRoute, due: Sequence[_Due]) -> int:
    if not due:
        return 0
    letters = [
        Addressed(mail.to, message_id(route, mail.order_id, mail.kind, mail.source_id), mail.letter)
        for mail in due
    ]
    fates = await asyncio.to_thread(send_all, route, letters)
    async with database.begin() as sql:
        return await _settle(sql, due, fates)


async def _settle(sql: AsyncSession, due: Sequence[_Due], fates: Sequence[tuple[Fate, str]]) -> int:
    sent = []
    for mail, (fate, why) in zip(due, fates, strict=True):
        if fate == "sent":
            sent.append(mail.id)
            continue
        spent = fate == "refused" or mail.tries >= TRIES_MAX
        log.warning(
            "mail_not_sent", order_id=mail.order_id, kind=mail.kind, why=why, given_up=spent
        )
        if spent:
            await _drop(sql, [mail.id], why)
        else:
            await sql.execute(_SAY_WHY, {"id": mail.id, "why": why})
    await _mark_sent(sql, sent)
    return len(sent)


async def _mark_sent(sql: AsyncSession, ids: Sequence[int]) -> None:
    if ids:
        await sql.execute(_SENT, {"ids": list(ids)})


async def _drop(sql: AsyncSession, ids: Sequence[int], why: str) -> None:
    if ids:
        await sql.execute(_DROP, {"ids": list(ids), "why": why})


# What is queued comes of what is committed; what was queued before is due by the clock.
_WAITS = f"""
SELECT {SNAPSHOT} AS snapshot,
       EXISTS (SELECT FROM mail_outbox WHERE state = 'DUE' AND due_at <= now()) AS is_due
"""
# Nobody said where to: what is too old is given up, what is not is looked at again later.
_PUT_OFF = text("""
UPDATE mail_outbox m
SET due_at = now() + make_interval(secs => :seconds),
    state = CASE WHEN late.is_late THEN 'DROPPED' ELSE 'DUE' END,
    reason = CASE WHEN late.is_late THEN 'no_address' END
FROM (
    SELECT id, created_at < now() - make_interval(days => :days) AS is_late
    FROM mail_outbox o
    WHERE state = 'DUE' AND due_at <= now()
      AND NOT EXISTS (SELECT FROM order_contacts c WHERE c.order_id = o.order_id)
    ORDER BY due_at LIMIT :rows_max
) late
WHERE m.id = late.id AND m.state = 'DUE'
""")
_PICK = text("""
SELECT m.id, m.order_id, m.kind, m.source_id, m.tries, c.contact
FROM mail_outbox m JOIN order_contacts c ON c.order_id = m.order_id
WHERE m.state = 'DUE' AND m.due_at <= now()
ORDER BY m.due_at, m.id
LIMIT :mails_max
FOR NO KEY UPDATE OF m SKIP LOCKED
""")
_TRY = bulk("""
UPDATE mail_outbox m SET tries = m.tries + 1, due_at = now() + make_interval(secs => u.wait_s)
FROM unnest(CAST(:ids AS bigint[]), CAST(:waits AS int[])) AS u (id, wait_s)
WHERE m.id = u.id
""")
_SENT = bulk("""
UPDATE mail_outbox SET state = 'SENT', sent_at = now(), reason = NULL
WHERE id = ANY(CAST(:ids AS bigint[])) AND state = 'DUE'
""")
_DROP = bulk("""
UPDATE mail_outbox SET state = 'DROPPED', reason = :why
WHERE id = ANY(CAST(:ids AS bigint[])) AND state = 'DUE'
""")
_SAY_WHY = text("UPDATE mail_outbox SET reason = :why WHERE id = :id AND state = 'DUE'")
_INTO_MAILBOX = text("""
INSERT INTO mailbox_letters (id, order_id, "to", subject, body)
VALUES (:id, :order, :to, :subject, :body)
""")
