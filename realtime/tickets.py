"""Socket tickets: what a caller may watch, decided once over HTTP, proven to a gateway without any I/O.

A ticket is good for a minute and for the topics it names, and says nothing about its holder. It is the kind and
the topics in the clear, and behind them the signer's proof over their digest, which keeps the signed claim short
however many topics there are.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from realtime.frames import KINDS, TICKET_CHARS_MAX, TOPICS_MAX, Pass, owner_of
from stream_events.access import Caller, Role, Signer
from stream_events.errors import Problem, not_found
from stream_events.tables import Stream

PURPOSE: Final = "socket"
TICKET_S: Final = 60

# As what a caller's viewers may be counted; the first is meant when it does not say.
KINDS_OF: Final[dict[Role, tuple[str, ...]]] = {
    Role.PUBLIC: ("shop",),
    Role.SHOPPER: ("shop",),
    Role.HOLDER: ("shop",),
    Role.FARMER: ("farmer", "shop"),
    Role.OVERLAY: ("overlay",),
    Role.HOST: ("console", "overlay", "shop"),
    Role.OPERATOR: ("console", "overlay", "shop", "farmer"),
}


def make_ticket(signer: Signer, admitted: Pass) -> str:
    """Return a ticket for ``admitted``, good for ``TICKET_S`` seconds."""
    said = base64.urlsafe_b64encode(msgspec.json.encode([admitted.kind, admitted.topics]))
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
        kind, topics = msgspec.json.decode(raw, type=tuple[str, tuple[str, ...]])
    except (binascii.Error, msgspec.DecodeError):
        return None
    return Pass(kind, topics)


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
    seen = {owner for owner in owners if owner is not None}
    if caller.role in (Role.HOST, Role.OVERLAY):
        allowed = await _own_scopes(sql, caller, {scope_id for _, scope_id in seen})
    elif caller.role is Role.OPERATOR:
        allowed = seen
    else:
        mine = ("farmer", caller.farmer_id)
        allowed = {owner for owner in seen if owner[0] != "farmer" or owner == mine}
    if not seen <= allowed:
        raise not_found("topic")
    return Pass(kind_of(caller, kind), wanted)


async def _own_scopes(sql: AsyncSession, caller: Caller, asked: set[str]) -> set[tuple[str, str]]:
    """Return a host's or an overlay's streams and their campaigns, as far as they were asked for."""
    own = Stream.host_id == caller.host_id
    if caller.role is Role.OVERLAY:
        own = Stream.id == caller.stream_id
    rows = await sql.execute(
        select(Stream.id, Stream.campaign_id).where(
            own, Stream.id.in_(asked) | Stream.campaign_id.in_(asked)
        )
    )
    return {scope for row in rows for scope in (("stream", row.id), ("campaign", row.campaign_id))}


def _digest(said: bytes) -> str:
    return hashlib.sha256(said).hexdigest()
