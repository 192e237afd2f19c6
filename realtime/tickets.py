"""Socket tickets: what a caller may watch, decided once over HTTP, proven to a gateway without any I/O.

A ticket is good for a minute and for the topics it names, and says of its holder only which key it presented, if any:
the key's id, which opens nothing, so that what was opened with a key can be closed when the key ends. It is all this in
the clear, and behind it the signer's proof over its digest, which keeps the signed claim short however many topics there
are.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from realtime.frames import KINDS, TICKET_CHARS_MAX, TOPICS_MAX, Pass, owner_of, part_of
from stream_events.access import Caller, Role, Signer
from stream_events.errors import Problem, not_found
from stream_events.tables import Key, Principal, Stream

PURPOSE: Final = "socket"
TICKET_S: Final = 60

# As what a caller's viewers may be counted; the first is meant when it does not say.
KINDS_OF: Final[dict[Role, tuple[str, ...]]] = {
    Role.PUBLIC: ("shop",),
    Role.SHOPPER: ("shop",),
    Role.HOLDER: ("shop",),
    Role.FARMER: ("farmer", "shop"),
    Role.OVERLAY: ("overlay",),
    Role.MODERATOR: ("moderator",),
    Role.HOST: ("console", "overlay", "shop"),
    Role.OPERATOR: ("console", "overlay", "shop", "farmer"),
}


# Who may watch what is not for the audience; whoever is not named is told there is no such topic.
ON_STAGE: Final = frozenset({Role.OVERLAY, Role.HOST, Role.OPERATOR})
BACKSTAGE: Final = frozenset({Role.MODERATOR, Role.HOST, Role.OPERATOR})

_SAID: Final = tuple[str, tuple[str, ...], str | None]


def make_ticket(signer: Signer, admitted: Pass) -> str:
    """Return a ticket for ``admitted``, good for ``TICKET_S`` seconds."""
    said = base64.urlsafe_b64encode(
        msgspec.json.encode([admitted.kind, admitted.topics, admitted.key_id])
    )
    said = said.rstrip(b"=")
    return f"{said.decode()}.{signer.sign_until(PURPOSE, _digest(said), TICKET_S)}"


def read_ticket(signer: Signer, ticket: str) -> Pass | None:
    """Return what a ticket admits to, or None for one that is expired, forged, or none at all."""
    if len(ticket) > TICKET_CHARS_MAX or not ticket.isascii():
        return None
    said, _, proof = ticket.partition(".")
    if signer.read_until(PURPOSE, proof) != _digest(said.encode()):
        return None
    try:
        raw = base64.urlsafe_b64decode(said + "=" * (-len(said) % 4))
        kind, topics, key_id = msgspec.json.decode(raw, type=_SAID)
    except (binascii.Error, msgspec.DecodeError):
        return None
    return Pass(kind, topics, key_id)


def kind_of(caller: Caller, wanted: str | None) -> str:
    """Return as what this caller's viewer counts; 403 for a kind that is not its own."""
    kinds = KINDS_OF[caller.role]
    if wanted is not None and (wanted not in KINDS or wanted not in kinds):
        raise Problem(403, "forbidden", "This credential may not be counted as that.")
    return wanted or kinds[0]


async def admit(sql: AsyncSession, caller: Caller, topics: Iterable[str], kind: str | None) -> Pass:
    """Return the pass of a caller who asks for ``topics``; 404 for one that is not its to see.

    What is public needs no query, so that an audience that reconnects costs the database nothing.
    """
    wanted = tuple(sorted(set(topics)))
    if not 0 < len(wanted) <= TOPICS_MAX:
        raise Problem(422, "invalid", f"Ask for 1 to {TOPICS_MAX} topics.")
    owners = {owner_of(topic) for topic in wanted}
    if None in owners:
        raise not_found("topic")
    if not all(_may_know(caller.role, topic) for topic in wanted):
        raise not_found("topic")
    seen = {owner for owner in owners if owner is not None}
    if caller.role in (Role.HOST, Role.OVERLAY, Role.MODERATOR):
        allowed = await _own_scopes(sql, caller, {scope_id for _, scope_id in seen})
    elif caller.role is Role.OPERATOR:
        allowed = seen
    else:
        mine = ("farmer", caller.farmer_id)
        allowed = {owner for owner in seen if owner[0] != "farmer" or owner == mine}
    if not seen <= allowed:
        raise not_found("topic")
    return Pass(kind_of(caller, kind), wanted, caller.key_id)


async def ended_keys(sql: AsyncSession, key_ids: Sequence[str]) -> set[str]:
    """Return which of these keys prove nobody any more: revoked, expired, of somebody disabled, or gone."""
    alive = await sql.scalars(
        select(Key.id)
        .join(Principal, Principal.id == Key.principal_id)
        .where(
            Key.id.in_(key_ids),
            Key.revoked_at.is_(None),
            or_(Key.expires_at.is_(None), Key.expires_at > func.now()),
            Principal.disabled_at.is_(None),
        )
    )
    return set(key_ids).difference(alive)


def _may_know(role: Role, topic: str) -> bool:
    """Return whether a role may see topics of this sort at all; whose they are is another question."""
    scope, _, part = topic.split("/", 2)
    if part_of(topic) == "review" and role not in BACKSTAGE:
        return False
    on_stage = scope == "rehearsal" or part.startswith("alerts/")
    return not on_stage or role in ON_STAGE


async def _own_scopes(sql: AsyncSession, caller: Caller, asked: set[str]) -> set[tuple[str, str]]:
    """Return the streams of a host, an overlay or a moderator and their campaigns, as far as they were asked for."""
    own = Stream.id == caller.stream_id
    if caller.role is Role.HOST:
        own = Stream.host_id == caller.host_id
    rows = await sql.execute(
        select(Stream.id, Stream.campaign_id).where(
            own, Stream.id.in_(asked) | Stream.campaign_id.in_(asked)
        )
    )
    return {
        scope
        for row in rows
        for scope in (("stream", row.id), ("rehearsal", row.id), ("campaign", row.campaign_id))
    }


def _digest(said: bytes) -> str:
    return hashlib.sha256(said).hexdigest()
