"""Moderation over HTTP: the rules, the queue that moderators share, and what they decide.

Whoever looks at a text claims it for half a minute, so that two do not read the same one; a claim forbids nobody
anything, because what decides is the revision.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from orders.schemas import OrderPath
from realtime.moderation.decisions import Wish, decide, forejudge
from realtime.moderation.filter import Flag
from realtime.moderation.rules import (
    STANDING,
    Words,
    flagged,
    lock_rules,
    read_rules,
    screen_anew,
    terms_of,
)
from realtime.moderation.rulings import Mode
from realtime.moderation.schemas import (
    ClaimOut,
    DecisionsIn,
    FlagOut,
    OutcomeOut,
    OutcomesOut,
    ReviewItem,
    RulesIn,
    RulesOut,
    Somebody,
    Waiting,
)
from realtime.moderation.screening import FILTER
from realtime.moderation.tables import ModerationRules, Review
from stream_events.access import Caller, Role, allow
from stream_events.errors import not_found, problems
from stream_events.paging import Listing, Paged, cursor_after
from stream_events.requests import database_of
from stream_events.schemas import StreamPath
from stream_events.streams import own_stream
from stream_events.tables import Principal

router: Final = APIRouter(prefix="/streams/{stream_id}", tags=["moderation"])

Staff = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.HOST))]
Reviewer = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.HOST, Role.MODERATOR))]

CLAIM_S: Final = 30
_DISPLAYS: Final = {
    "pending": "PENDING_REVIEW",
    "passed": "PASSED",
    "shown": "SHOWN",
    "hidden": "HIDDEN",
}


@router.get("/moderation", responses=problems(401, 403, 404, 422))
async def show_rules(request: Request, caller: Staff, stream_id: StreamPath) -> RulesOut:
    """Read a stream's rules of moderation."""
    async with database_of(request).begin() as sql:
        await own_stream(sql, caller, stream_id)
        return _rules(await read_rules(sql, stream_id))


@router.put("/moderation", responses=problems(400, 401, 403, 404, 413, 422))
async def put_rules(
    request: Request, caller: Staff, stream_id: StreamPath, body: RulesIn
) -> RulesOut:
    """Set the rules. The filter looks again at whatever is not decided yet; what is shown stays shown."""
    async with database_of(request).begin() as sql:
        await own_stream(sql, caller, stream_id)
        rules = await lock_rules(sql, stream_id)
        rules.mode, rules.message_graphemes_max = body.mode, body.message_graphemes_max
        rules.blocked = list(dict.fromkeys(body.blocked))
        rules.allowed = list(dict.fromkeys(body.allowed))
        rules.revision += 1
        await sql.flush()
        await screen_anew(sql, stream_id)
        return _rules(rules)


@router.get("/review", responses=problems(401, 403, 404, 422))
async def list_review(
    request: Request,
    caller: Reviewer,
    stream_id: StreamPath,
    page: Paged,
    state: Annotated[Waiting, Query(description="Which texts.")] = "pending",
) -> Listing[ReviewItem]:
    """List paid texts, the oldest order first. What is still to be screened comes a moment later."""
    async with database_of(request).begin() as sql:
        await own_stream(sql, caller, stream_id)
        given = {
            "stream": stream_id,
            "display": _DISPLAYS[state],
            "waits": state in ("pending", "passed"),
            "after": page.after or "",
            "limit": page.limit + 1,
        }
        rows = (await sql.execute(_LIST, given)).all()
        terms = terms_of(await read_rules(sql, stream_id))
        people = await _people(sql, rows)
    shown = rows[: page.limit]
    said = (await flagged(terms, map(_said, shown))).flags
    items = [_item(row, said[_said(row)], people) for row in shown]
    return Listing(
        items=items, next=cursor_after(items[-1].order_id) if len(rows) > page.limit else None
    )


@router.post("/review", responses=problems(400, 401, 403, 404, 413, 422))
async def review(
    request: Request, caller: Reviewer, stream_id: StreamPath, body: DecisionsIn
) -> OutcomesOut:
    """Let texts pass, show them or hide them, each by the revision that was looked at.

    Sent again, it changes nothing and answers the same. Where a decision is not done, `refused` says why: `unknown`,
    `changed` (the words or the display, meanwhile), `withdrawn`, `returned` (the money), `host_only`, `blocked` (by the
    word filter: only a host overrules it) or `second_person`.
    """
    wishes = [Wish(each.order_id, each.revision, each.decision) for each in body.decisions]
    database = database_of(request)
    async with database.begin() as sql:
        await own_stream(sql, caller, stream_id)
    known = await forejudge(database, stream_id, wishes)
    async with database.begin() as sql:
        await own_stream(sql, caller, stream_id)
        outcomes = await decide(sql, stream_id, caller, wishes, known)
    return OutcomesOut(
        outcomes=[OutcomeOut.model_validate(outcome._asdict()) for outcome in outcomes]
    )


@router.put("/review/{order_id}/claim", responses=problems(401, 403, 404, 422))
async def claim(
    request: Request, caller: Reviewer, stream_id: StreamPath, order_id: OrderPath
) -> ClaimOut:
    """Say that one looks at a text, for 30 seconds; the answer tells who does, if somebody was before."""
    async with database_of(request).begin() as sql:
        await own_stream(sql, caller, stream_id)
        rules = await lock_rules(sql, stream_id)
        free = or_(
            Review.claimed_by.is_(None),
            Review.claimed_by == caller.id,
            Review.claimed_until < func.now(),
        )
        mine = (
            update(Review)
            .where(Review.order_id == order_id, Review.stream_id == stream_id, free)
            .values(claimed_by=caller.id, claimed_until=func.now() + timedelta(seconds=CLAIM_S))
            .returning(Review.order_id)
        )
        if (await sql.execute(mine)).first() is not None:
            rules.revision += 1
        found = (
            await sql.execute(
                select(Review.claimed_by, Review.claimed_until, Principal.name)
                .join(Principal, Principal.id == Review.claimed_by)
                .where(Review.order_id == order_id, Review.stream_id == stream_id)
            )
        ).one_or_none()
    if found is None:
        raise not_found("text")
    return ClaimOut(
        order_id=order_id,
        claimed_by=Somebody(id=found.claimed_by, name=found.name),
        claimed_until=found.claimed_until,
        mine=found.claimed_by == caller.id,
    )


def _rules(rules: ModerationRules) -> RulesOut:
    return RulesOut(
        mode=cast("Mode", rules.mode),
        blocked=rules.blocked,
        allowed=rules.allowed,
        message_graphemes_max=rules.message_graphemes_max,
    )


async def _people(sql: AsyncSession, rows: Any) -> dict[str, Somebody]:
    ids = {each for row in rows for each in (row.passed_by, row.decided_by, row.claimed_by)}
    found = await sql.execute(select(Principal.id, Principal.name).where(Principal.id.in_(ids)))
    people = {row.id: Somebody(id=row.id, name=row.name) for row in found}
    return {FILTER: Somebody(id=FILTER, name=FILTER), **people}


def _said(row: Any) -> Words:
    return row.name, row.message, row.dedication


def _item(row: Any, flags: Sequence[Flag], people: dict[str, Somebody]) -> ReviewItem:
    plain = {name: getattr(row, name) for name in _PLAIN}
    return ReviewItem(
        **plain,
        flags=[FlagOut.model_validate(flag._asdict()) for flag in flags],
        passed_by=people.get(row.passed_by),
        decided_by=people.get(row.decided_by),
        claimed_by=people.get(row.claimed_by),
    )


_PLAIN: Final = (
    "order_id",
    "kind",
    "amount_minor",
    "currency",
    "name",
    "message",
    "dedication",
    "display",
    "revision",
    "waiting_since",
    "reason",
    "decided_at",
    "claimed_until",
)
_LIST = text(f"""
SELECT r.order_id, o.kind, o.total_minor AS amount_minor, o.currency, m.name, m.message, m.dedication,
       m.display, m.revision, r.entered_at AS waiting_since, r.reason, r.passed_by, r.decided_by, r.decided_at,
       CASE WHEN r.claimed_until > now() THEN r.claimed_by END AS claimed_by,
       CASE WHEN r.claimed_until > now() THEN r.claimed_until END AS claimed_until
FROM reviews r
JOIN order_messages m ON m.order_id = r.order_id
JOIN orders o ON o.id = r.order_id
WHERE r.stream_id = :stream AND r.order_id > :after AND m.display = :display
  AND (NOT :waits OR m.screened_at IS NOT NULL AND {STANDING})
ORDER BY r.order_id LIMIT :limit
""")
