"""Giving without goods: an order without lines, in the same queue to pay, that no gate has to admit.

Thousands may give within a second, so gifts are written in batches like orders: one transaction, acknowledged only
after its COMMIT, exact when it must run again. A key is claimed under the same rule as an order's, so that no key
can ever mean two things.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from inventory.offers import Catalogue, StreamView
from orders.baskets import digest
from orders.checkout import SAME_KEY, Checkout
from orders.gifts import (
    GIFT,
    GiftWish,
    require_gift_max,
    require_gift_min,
    require_total,
    shares_of,
    spread,
)
from orders.messages import ANONYMOUS, PENDING_REVIEW, Words
from orders.own_connections import OwnConnections, Sql
from orders.placements import Gift, KeyConflict, Known, Placed, Unclear
from orders.refusals import known_refusal
from orders.writer_transaction import KeyRow, array, gift_arrays, known_keys
from stream_events.batching import Batch, Closed, QueueFull
from stream_events.database import Database
from stream_events.errors import Problem, not_found, unavailable
from stream_events.ids import new_id

BATCH_MAX: Final = 256
WAITING_MAX: Final = 4096
DEADLINE_S: Final = 2.0

# Keys are claimed in the one order that all writers keep; what a known key would have written is not written.
_GIVE: Final = """
    WITH claimed AS (
        INSERT INTO order_keys (op, stream_id, fingerprint, outcome, adm, order_id)
        SELECT decode(k.op, 'hex'), k.stream_id, decode(k.fingerprint, 'hex'), 'PLACED', k.order_id, k.order_id
        FROM unnest($1::text::text[], $2::text::text[], $3::text::text[], $4::text::text[])
          AS k (op, fingerprint, order_id, stream_id)
        ON CONFLICT (op) DO NOTHING RETURNING op, order_id
    ), placed AS (
        INSERT INTO orders (id, stream_id, shopper_id, state, total_minor, currency, place, placed_at, kind)
        SELECT o.id, o.stream_id, o.shopper_id, 'RESERVED', o.total_minor, o.currency, o.place, o.placed_at, 'gift'
        FROM unnest($3::text::text[], $4::text::text[], $5::text::text[], $6::text::bigint[], $7::text::text[],
                    $8::text::int[], $9::text::timestamptz[])
          AS o (id, stream_id, shopper_id, total_minor, currency, place, placed_at)
        JOIN claimed ON claimed.order_id = o.id
    ), given AS (
        INSERT INTO order_gifts (order_id, n, kind, beneficiary_id, amount_minor)
        SELECT g.*
        FROM unnest($10::text::text[], $11::text::int[], $12::text::text[], $13::text::text[], $14::text::bigint[])
          AS g (order_id, n, kind, beneficiary_id, amount_minor)
        JOIN claimed USING (order_id)
    ), said AS (
        INSERT INTO order_messages (order_id, name, message, dedication, display, consent_at)
        SELECT m.order_id, m.name, m.message, m.dedication, m.display,
               CASE WHEN m.display <> 'ANONYMOUS' THEN now() END
        FROM json_to_recordset($15::text::json)
          AS m (order_id text, name text, message text, dedication text, display text)
        JOIN claimed USING (order_id)
    )
    SELECT op FROM claimed
"""


class Wish(NamedTuple):
    """A giver's wish: what to give where, under a key of the giver's own making, and what to say with it."""

    stream_id: str
    shopper_id: str
    key: str
    gift: GiftWish
    words: Words | None


class Donation(NamedTuple):
    """A gift on its way into SQL."""

    op: bytes
    fingerprint: bytes
    order_id: str
    stream_id: str
    shopper_id: str
    gifts: tuple[Gift, ...]
    total_minor: int
    currency: str
    place: int
    placed_at: datetime
    words: Words | None


class Donations:
    """Takes gifts: one a process, beside its checkout."""

    def __init__(self, database: Database, catalogue: Catalogue, checkout: Checkout) -> None:
        self._catalogue = catalogue
        self._checkout = checkout
        self._sql = OwnConnections(database)
        self._batch: Batch[Donation, Known] = Batch(
            self._record, batch_max=BATCH_MAX, queue_max=WAITING_MAX
        )

    async def give(self, wish: Wish) -> Placed:
        """Take a gift and return it once it is durable; every refusal is a ``Problem``.

        The same key gives the same answer, also after a crash. 503 means "repeat with the same key".
        """
        stream = self._catalogue.find(wish.stream_id)
        if stream is None or stream.state == "draft":
            raise not_found("stream")
        self._checkout.count(wish.shopper_id)
        op = digest(stream.id, wish.shopper_id, wish.key)
        fingerprint = _fingerprint(wish)
        try:
            gifts = _gifts(stream, wish.gift)
        except Problem as problem:
            known = await self._known(op, fingerprint)
            if known is None:
                raise problem from None
        else:
            known = await self._write(
                Donation(
                    op,
                    fingerprint,
                    new_id("ord"),
                    stream.id,
                    wish.shopper_id,
                    gifts,
                    wish.gift.amount_minor,
                    stream.currency,
                    self._checkout.next_place(),
                    datetime.now(UTC),
                    wish.words,
                )
            )
        if isinstance(known, Placed):
            return known
        raise known_refusal(known)

    async def close(self) -> None:
        """Work off what was taken."""
        await self._batch.close()
        await self._sql.close()

    async def _write(self, donation: Donation) -> Known:
        try:
            return await self._batch.add(donation)
        except (QueueFull, Closed):
            raise unavailable("Too many gifts at once; nothing was taken from this one.") from None
        except Unclear:
            raise unavailable(SAME_KEY, "unclear") from None

    async def _known(self, op: bytes, fingerprint: bytes) -> Known | None:
        """Return what SQL has under a key: no refusal is given before that was looked up."""
        try:
            return await self._checkout.writer.look_up(op, fingerprint)
        except (Unclear, QueueFull, Closed):
            raise unavailable(SAME_KEY, "unclear") from None

    async def _record(self, donations: Sequence[Donation]) -> list[Known | BaseException]:
        answers: list[Known | BaseException] = []
        deadline = time.monotonic() + DEADLINE_S
        for part, keys in await self._sql.write("donations", donations, _transact, deadline):
            if keys is None:
                answers += [Unclear()] * len(part)
            else:
                answers += [_outcome(each, keys) for each in part]
        return answers


def _gifts(stream: StreamView, wish: GiftWish) -> tuple[Gift, ...]:
    """Divide a gift among its causes. Raises ``Problem`` 422 for what the campaign does not take."""
    shares = shares_of(wish, stream.settings)
    require_gift_min(wish.amount_minor, stream.settings)
    require_gift_max(wish.amount_minor, stream.settings)
    require_total(wish.amount_minor, stream.currency)
    return spread(GIFT, wish.amount_minor, shares)


def _fingerprint(wish: Wish) -> bytes:
    """Return the fingerprint of a body.

    It outlives the erasure of a name, so nobody may try names against it: the giver's key, of which we keep only
    a hash, goes into it.
    """
    told = msgspec.json.encode(("donation", wish.key, wish.gift, wish.words))
    return digest(told.decode())


async def _transact(sql: Sql, donations: Sequence[Donation]) -> dict[bytes, KeyRow | Donation]:
    """Write a batch; return each key with the donation that claimed it, or with what SQL had under it before."""
    firsts: dict[bytes, Donation] = {}
    for donation in donations:
        firsts.setdefault(donation.op, donation)
    fresh = [firsts[op] for op in sorted(firsts)]
    async with sql.transaction():
        rows = await sql.fetch(
            _GIVE,
            array(each.op.hex() for each in fresh),
            array(each.fingerprint.hex() for each in fresh),
            array(each.order_id for each in fresh),
            array(each.stream_id for each in fresh),
            array(each.shopper_id for each in fresh),
            array(str(each.total_minor) for each in fresh),
            array(each.currency for each in fresh),
            array(str(each.place) for each in fresh),
            array(each.placed_at.isoformat() for each in fresh),
            *gift_arrays(fresh),
            _said(fresh),
        )
        claimed = {row["op"] for row in rows}
        known = await known_keys(sql, set(firsts) - claimed) if len(claimed) < len(firsts) else {}
    return {**known, **{op: firsts[op] for op in claimed}}


def _said(donations: Sequence[Donation]) -> str:
    """Return what givers say as JSON: the one text in a batch that is not of our own making."""
    return msgspec.json.encode(
        [
            {
                "order_id": each.order_id,
                "name": each.words.name,
                "message": each.words.message,
                "dedication": each.words.dedication,
                "display": PENDING_REVIEW if each.words.show else ANONYMOUS,
            }
            for each in donations
            if each.words is not None
        ]
    ).decode()


def _outcome(donation: Donation, keys: dict[bytes, KeyRow | Donation]) -> Known:
    """Return what a committed batch means for one of its donations."""
    row = keys[donation.op]
    if isinstance(row, Donation):
        if row.fingerprint != donation.fingerprint:
            return KeyConflict()
        return _placed(row, repeat=row is not donation)
    # An earlier request's, or this very one's, where the COMMIT of an earlier run was never heard of.
    return row.read(donation.fingerprint)


def _placed(donation: Donation, *, repeat: bool) -> Placed:
    return Placed(
        donation.order_id,
        (),
        donation.total_minor,
        donation.currency,
        donation.place,
        donation.placed_at,
        repeat,
        gifts=donation.gifts,
    )
