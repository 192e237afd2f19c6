"""Who may call what: principals, their keys, and the rule that every route names its callers.

Operators, hosts, farmers, overlays and moderators prove themselves with a 256-bit random key of which we keep the SHA-256.
Shoppers carry a token of their id and our MAC, checked without any I/O, because a rush is made of them; whoever
holds an order's secret link carries a token of that order. Whatever is wrong with a credential, the answer is the
same.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from stream_events.database import Database
from stream_events.errors import Problem
from stream_events.ids import new_id
from stream_events.tables import Key, Principal

KEY_BYTES = 32
SIGNATURE_BYTES = 16
TOKEN_CHARS_MAX = 512

_SHOPPER = "shopper"
_ORDER = "order"


class Role(StrEnum):
    """The kinds of callers. ``PUBLIC`` is a caller without a credential.

    An ``OVERLAY`` and a ``MODERATOR`` belong to one stream: the one may look, the other decide what is shown.
    A ``HOLDER`` holds the secret link of one order: its id is the order's, and it may touch nothing else.
    """

    OPERATOR = "operator"
    HOST = "host"
    FARMER = "farmer"
    OVERLAY = "overlay"
    MODERATOR = "moderator"
    SHOPPER = "shopper"
    HOLDER = "holder"
    PUBLIC = "public"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling: a principal with what it belongs to, a shopper or an order by id, or the public.

    ``key_id`` is the key a principal presented, so that what was opened with it can be closed when it ends.
    """

    id: str
    role: Role
    host_id: str | None = None
    farmer_id: str | None = None
    stream_id: str | None = None
    key_id: str | None = None


PUBLIC = Caller("", Role.PUBLIC)

_BEARER = HTTPBearer(
    auto_error=False,
    description="A key (`se_…`) of an operator, host, farmer, overlay or moderator, a shopper's token, or an order's.",
)


class Signer:
    """Sign short claims with a MAC key of the deployment; a ``purpose`` keeps one use from serving another."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < KEY_BYTES:
            raise ValueError("the signing secret must have at least 32 bytes")
        self._key = hashlib.sha512(secret).digest()

    def sign(self, purpose: str, claim: str) -> str:
        """Return ``claim.mac``. The claim must not contain a dot."""
        return f"{claim}.{self._mac(purpose, claim)}"

    def read(self, purpose: str, token: str) -> str | None:
        """Return the claim of a token signed for ``purpose``, or None for any other text."""
        if len(token) > TOKEN_CHARS_MAX or not token.isascii():
            return None
        claim, _, mac = token.rpartition(".")
        return claim if hmac.compare_digest(mac, self._mac(purpose, claim)) else None

    def sign_until(self, purpose: str, claim: str, seconds: int) -> str:
        """Sign a claim that ``read_until`` accepts for ``seconds`` from now."""
        return self.sign(purpose, f"{claim}~{int(time.time()) + seconds}")

    def read_until(self, purpose: str, token: str) -> str | None:
        """Return the claim of a token of ``sign_until`` that has not run out, or None."""
        claim, _, until = (self.read(purpose, token) or "").rpartition("~")
        return claim if until.isdigit() and int(until) > time.time() else None

    def _mac(self, purpose: str, claim: str) -> str:
        """Keyed BLAKE2b (RFC 7693): a MAC by itself, at half the cost of HMAC, and a rush is made of these."""
        said = f"{purpose}\n{claim}".encode()
        return hashlib.blake2b(said, key=self._key, digest_size=SIGNATURE_BYTES).hexdigest()


def new_shopper(signer: Signer) -> tuple[str, str]:
    """Return a fresh shopper id and the token that proves it."""
    shopper_id = new_id("shp")
    return shopper_id, signer.sign(_SHOPPER, shopper_id)


def order_token(signer: Signer, order_id: str) -> str:
    """Return the token that lets whoever holds it act for this one order, and for nothing else."""
    return signer.sign(_ORDER, order_id)


def bearer(header: str | None) -> str | None:
    """Return the credential of an ``Authorization: Bearer`` header, or None."""
    scheme, _, token = (header or "").partition(" ")
    return token if scheme.lower() == "bearer" and 0 < len(token) <= TOKEN_CHARS_MAX else None


def unauthorized() -> Problem:
    """Refuse a missing, unknown, expired or foreign credential: all alike, in words and in work done."""
    return Problem(
        401, "unauthorized", "This needs a valid credential in the Authorization header."
    )


async def caller_of(authorization: str | None, signer: Signer, database: Database) -> Caller:
    """Return who presents this header. No header is the public; a bad credential raises 401."""
    if authorization is None:
        return PUBLIC
    token = bearer(authorization)
    if token is None:
        raise unauthorized()
    shopper_id = signer.read(_SHOPPER, token)
    if shopper_id is not None:
        return Caller(shopper_id, Role.SHOPPER)
    order_id = signer.read(_ORDER, token)
    if order_id is not None:
        return Caller(order_id, Role.HOLDER)
    digest = hashlib.sha256(token.encode()).digest()
    async with database.begin() as sql:
        row = (
            await sql.execute(
                select(Principal, Key.id.label("key_id"))
                .join(Key, Key.principal_id == Principal.id)
                .where(
                    Key.secret_sha256 == digest,
                    Key.revoked_at.is_(None),
                    (Key.expires_at.is_(None)) | (Key.expires_at > func.now()),
                    Principal.disabled_at.is_(None),
                )
            )
        ).one_or_none()
    if row is None:
        raise unauthorized()
    found = row.Principal
    return Caller(
        found.id, Role(found.role), found.host_id, found.farmer_id, found.stream_id, row.key_id
    )


def allow(*roles: Role) -> Callable[[Request], Coroutine[Any, Any, Caller]]:
    """Make the dependency that lets only ``roles`` call a route and yields the ``Caller``.

    Nobody is let in without being named, operators neither. A route without this dependency fails the tests.
    """
    allowed = frozenset(roles)

    # The scheme is there for OpenAPI alone: it reads the header and decides nothing.
    async def caller(
        request: Request,
        _scheme: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)] = None,
    ) -> Caller:
        state = request.state
        found = await caller_of(request.headers.get("authorization"), state.signer, state.database)
        if found.role in allowed or Role.PUBLIC in allowed:
            return found
        if found.role is Role.PUBLIC:
            raise unauthorized()
        raise Problem(403, "forbidden", "This credential may not do that.")

    caller.allowed_roles = allowed  # type: ignore[attr-defined]  # read by the test that walks the routes
    return caller


async def create_principal(
    sql: AsyncSession,
    role: Role,
    name: str,
    *,
    host_id: str | None = None,
    farmer_id: str | None = None,
    stream_id: str | None = None,
) -> tuple[str, str]:
    """Create a principal with its first key; return its id and the secret, which is shown only now."""
    principal_id = new_id("prn")
    sql.add(
        Principal(
            id=principal_id,
            role=role,
            name=name,
            host_id=host_id,
            farmer_id=farmer_id,
            stream_id=stream_id,
        )
    )
    await sql.flush()
    return principal_id, await add_key(sql, principal_id, role)


async def add_key(sql: AsyncSession, principal_id: str, role: str) -> str:
    """Give a principal another key and return its secret, which is shown only now."""
    secret = f"se_{role}_{secrets.token_urlsafe(KEY_BYTES)}"
    digest = hashlib.sha256(secret.encode()).digest()
    sql.add(Key(id=new_id("key"), principal_id=principal_id, secret_sha256=digest))
    await sql.flush()
    return secret


async def retire_keys(sql: AsyncSession, principal_id: str, after_s: int = 0) -> None:
    """Let every key of a principal end ``after_s`` seconds from now; one that ends sooner, or has, keeps its end."""
    end = func.now() + timedelta(seconds=after_s)
    await sql.execute(
        update(Key)
        .where(Key.principal_id == principal_id, Key.revoked_at.is_(None))
        .values(expires_at=func.least(Key.expires_at, end))  # PostgreSQL's LEAST passes over NULL
    )


async def revoke_keys(sql: AsyncSession, principal_id: str) -> None:
    """Revoke every key of a principal for good: what was leaked or lost stops working with this transaction."""
    await sql.execute(
        update(Key)
        .where(Key.principal_id == principal_id, Key.revoked_at.is_(None))
        .values(revoked_at=func.now())
    )
