"""What Stripe tells us, kept before anything is done about it: verify the raw bytes, store, and only then say 200.

A webhook is a hint that may come twice, late, out of order or forged, so nothing is decided here. Hundreds a
second arrive while a sale is being paid; they share transactions, and each is answered when its own has committed.
"""

import base64
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError, IntegrityError

from orders.tables import StripeEvent
from stream_events.batching import Batch
from stream_events.database import Database
from stream_events.errors import Problem

log = structlog.get_logger(__name__)

BODY_BYTES_MAX = 256 * 1024
BATCH_MAX = 128
QUEUE_MAX = 4_096
ID_CHARS_MAX = 255

# Who paid, with which card, from where, and the secret or address that lets a browser pay: none of it is needed to
# keep books. A declined payment names its means to pay in full (``last_payment_error``).
_FORGOTTEN = frozenset(
    {
        "billing_details",
        "client_secret",
        "collected_information",
        "custom_fields",
        "customer_details",
        "customer_email",
        "evidence",
        "mandate_data",
        "next_action",
        "payer_details",
        "payment_method",
        "payment_method_details",
        "payment_method_preview",
        "receipt_email",
        "receipt_url",
        "shipping",
        "shipping_details",
        "source",
        "url",
    }
)


@dataclass(frozen=True, slots=True)
class Received:
    """An event as it will be stored; with a ``reason`` it is set apart for a person instead of being settled."""

    event_id: str
    type: str
    object_id: str
    livemode: bool
    payload: dict[str, Any]
    reason: str | None = None


class _Object(msgspec.Struct):
    id: str


class _Data(msgspec.Struct):
    object: _Object


class _Envelope(msgspec.Struct):
    id: str
    type: str
    livemode: bool
    data: _Data


class Inbox:
    """The way into ``stripe_events``, shared by the webhook route and the reconciler. ``close`` works it off."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batch: Batch[Received, bool] = Batch(
            self._store, batch_max=BATCH_MAX, queue_max=QUEUE_MAX, flights_max=2
        )

    async def keep(self, event: Received) -> bool:
        """Return once the event is durable; False if it was known. Raises ``QueueFull`` or ``Closed``."""
        return await self._batch.add(event)

    async def close(self) -> None:
        """Store what is queued, then take nothing more."""
        await self._batch.close()

    async def _store(self, events: Sequence[Received]) -> Sequence[bool | BaseException]:
        try:
            return await self._insert(events)
        except DBAPIError as error:
            if len(events) > 1:
                # One event that SQL cannot hold must not turn the others away.
                return [(await self._store([event]))[0] for event in events]
            if error.connection_invalidated or not _is_about_data(error):
                return [error]
            return await self._insert([_unreadable(msgspec.json.encode(events[0].payload))])

    async def _insert(self, events: Sequence[Received]) -> list[bool]:
        # Sorted, so that two transactions with the same new ids wait for each other in one order only.
        rows = [
            {
                "event_id": event.event_id,
                "type": event.type,
                "object_id": event.object_id,
                "livemode": event.livemode,
                "payload": event.payload,
                "state": "QUARANTINED" if event.reason else "NEW",
                "reason": event.reason,
            }
            for event in sorted(events, key=lambda event: event.event_id)
        ]
        async with self._database.begin() as sql:
            statement = insert(StripeEvent).on_conflict_do_nothing()
            stored = await sql.scalars(statement.returning(StripeEvent.event_id), rows)
            new = set(stored)
        return [event.event_id in new for event in events]


def read_event(body: bytes) -> Received:
    """Read a body that Stripe signed. One that makes no sense is kept whole, for a person to look at."""
    try:
        payload = msgspec.json.decode(body, type=dict[str, Any])
        envelope = msgspec.convert(payload, _Envelope)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _unreadable(body)
    names = (envelope.id, envelope.type, envelope.data.object.id)
    if not all(name.isascii() and 0 < len(name) <= ID_CHARS_MAX for name in names):
        return _unreadable(body)
    return Received(*names, envelope.livemode, without_personal_data(payload))


def without_personal_data(value: Any) -> Any:
    """Return a copy of a Stripe object without what says who paid."""
    if isinstance(value, dict):
        return {
            name: without_personal_data(item)
            for name, item in value.items()
            if name not in _FORGOTTEN
        }
    if isinstance(value, list):
        return [without_personal_data(item) for item in value]
    return value


async def read_body(chunks: AsyncIterator[bytes]) -> bytes:
    """Return the raw bytes of a request, or refuse as soon as they are too many."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise Problem(413, "body_too_large", f"A webhook has at most {BODY_BYTES_MAX} bytes.")
    return bytes(body)


def _unreadable(body: bytes) -> Received:
    """Set apart what is signed and yet no event: Stripe is told 200, for repeating it would mend nothing."""
    digest = hashlib.sha256(body).hexdigest()
    log.error("webhook_unreadable", digest=digest, body_bytes=len(body))
    kept = {"base64": base64.b64encode(body).decode()}
    return Received(
        f"unreadable_{digest}", "unreadable", "", livemode=False, payload=kept, reason="unreadable"
    )


def _is_about_data(error: DBAPIError) -> bool:
    """Whether SQL can never hold the row: class 22 of SQLSTATE; anything else may pass when tried again."""
    code = getattr(error.orig, "sqlstate", None) or ""
    return code.startswith("22") and not isinstance(error, IntegrityError)
