"""What is on sale, in memory: the order path quotes prices and limits from here without asking SQL.

The catalogue is read whole every quarter of a second (a few rows a stream), so a change made by any process is
seen by all within that time. Stock figures in it are for showing; the gate and the guard decide.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, text

from inventory.shipping import FlatShipping, FreeShipping, ShippingByWeight, read_rule
from stream_events.database import SNAPSHOT, Database
from stream_events.errors import not_found
from stream_events.loops import go_round
from stream_events.split import ShareRule

REFRESH_S = 0.25
OFFERS_MAX = 10_000

# What is told once a stream, not once an offer, is one JSON text on its first row: long terms and many causes would
# otherwise go over the wire a hundred times in each reading.
_READ = """
    WITH causes AS (
        SELECT cc.campaign_id, json_agg(json_build_object('id', b.id, 'name', b.name, 'name_zh', b.name_zh)
                                        ORDER BY cc.position) AS causes
        FROM campaign_causes cc JOIN beneficiaries b ON b.id = cc.beneficiary_id GROUP BY cc.campaign_id
    )
    SELECT s.id AS stream_id, s.campaign_id, s.host_id, s.title, s.title_zh, s.state, s.goal_minor,
           s.opens_at AS stream_opens_at, s.live_at, s.ended_at, c.currency, c.mode, c.name AS campaign_name,
           c.name_zh AS campaign_name_zh, h.name AS host_name,
           g.epoch, g.rel_seq, o.id AS offer_id, o.sku, o.opens_at, t.id AS terms_id, t.price_minor,
           t.per_shopper_max, t.farmer_bp, t.beneficiary_bp, t.fees_bp, t.beneficiary_fixed_minor,
           t.farmer_fixed_minor, t.beneficiary_cap_minor, t.farmer_floor_minor, t.tax_bp,
           t.farmer_id, t.beneficiary_id, k.id AS stock_id, k.total, k.reserved, k.sold,
           p.name, p.name_zh, p.unit, p.unit_zh, f.name AS farmer_name, f.name_zh AS farmer_name_zh, f.place,
           p.weight_g, b.name AS beneficiary_name, b.name_zh AS beneficiary_name_zh,
           CASE WHEN row_number() OVER (PARTITION BY s.id ORDER BY o.sku) = 1 THEN json_build_object(
               'shipping', s.shipping, 'seller', c.seller, 'refund_terms', c.refund_terms,
               'refund_terms_zh', c.refund_terms_zh, 'payment_methods', c.payment_methods,
               'gift_min_minor', c.gift_min_minor, 'gift_max_minor', c.gift_max_minor,
               'causes', coalesce(u.causes, '[]'),
               'matches', (
                   SELECT coalesce(json_agg(json_build_object(
                       'id', m.id, 'sponsor', m.sponsor, 'sponsor_zh', m.sponsor_zh, 'covers', m.covers,
                       'skus', m.skus, 'ratio_bp', m.ratio_bp, 'pot_minor', m.pot_minor,
                       'left_minor', m.pot_minor - m.spent_minor, 'per_giver_max_minor', m.per_giver_max_minor,
                       'starts_at', m.starts_at, 'ends_at', m.ends_at) ORDER BY m.position, m.id), '[]')
                   FROM matches m
                   WHERE m.campaign_id = c.id AND (m.stream_id IS NULL OR m.stream_id = s.id)
                     AND m.starts_at <= now() AND (m.ends_at IS NULL OR m.ends_at > now()))
           )::text END AS settings
    FROM streams s
    JOIN campaigns c ON c.id = s.campaign_id
    JOIN hosts h ON h.id = s.host_id
    LEFT JOIN causes u ON u.campaign_id = c.id
    LEFT JOIN stream_gate g ON g.stream_id = s.id
    LEFT JOIN offers o ON o.stream_id = s.id
    LEFT JOIN LATERAL (
        SELECT * FROM offer_terms WHERE offer_id = o.id ORDER BY id DESC LIMIT 1
    ) t ON true
    LEFT JOIN stock k ON k.offer_id = o.id
    LEFT JOIN products p ON p.id = o.product_id
    LEFT JOIN farmers f ON f.id = t.farmer_id
    LEFT JOIN beneficiaries b ON b.id = t.beneficiary_id
    WHERE {which} ORDER BY s.id, o.sku LIMIT {offers_max}
"""
# Without a parameter it is planned once a connection: that takes six times as long as reading does.
_CATALOGUE = text(_READ.format(which="s.state <> 'settled'", offers_max=OFFERS_MAX))
_SETTLED = text(
    _READ.format(which="s.state = 'settled' AND s.id = :stream_id", offers_max=OFFERS_MAX)
)
# What is committed, and how many matches have begun and ended: as long as all is the same, so is the catalogue.
_NOW = f"""
    SELECT {SNAPSHOT}, count(*) FILTER (WHERE starts_at <= now()),
           count(*) FILTER (WHERE ends_at <= now())
    FROM matches
"""
_IS_SETTLED = text(
    "SELECT EXISTS (SELECT FROM streams WHERE id = :stream_id AND state = 'settled')"
)


class CauseView(msgspec.Struct, frozen=True):
    """A beneficiary that gifts may go to."""

    id: str
    name: str
    name_zh: str | None


class MatchView(msgspec.Struct, frozen=True):
    """What a sponsor adds to gifts or shares at this time, and how much of the pot is left."""

    id: str
    sponsor: str
    sponsor_zh: str | None
    covers: str
    skus: tuple[str, ...] | None
    ratio_bp: int
    pot_minor: int
    left_minor: int
    per_giver_max_minor: int | None
    starts_at: datetime
    ends_at: datetime | None


class StreamSettings(msgspec.Struct, frozen=True):
    """What a stream and its campaign ask and promise, apart from its goods."""

    shipping: dict[str, Any]
    seller: str | None
    refund_terms: str | None
    refund_terms_zh: str | None
    payment_methods: tuple[str, ...]
    gift_min_minor: int
    gift_max_minor: int | None
    causes: tuple[CauseView, ...]
    matches: tuple[MatchView, ...]


@dataclass(frozen=True, slots=True)
class OfferView:
    """A product on the terms it is offered on now, with its stock as last read."""

    sku: str
    stock_id: int
    terms_id: int
    price_minor: int
    per_shopper_max: int
    rule: ShareRule
    tax_bp: int
    opens_at: datetime | None
    total: int
    reserved: int
    sold: int
    name: str
    name_zh: str | None
    unit: str
    unit_zh: str | None
    weight_g: int
    farmer_id: str
    farmer_name: str
    farmer_name_zh: str | None
    place: str
    beneficiary_id: str
    beneficiary_name: str
    beneficiary_name_zh: str | None

    @property
    def free(self) -> int:
        """Units neither reserved nor sold when last read."""
        return self.total - self.reserved - self.sold


_settings = msgspec.json.Decoder(StreamSettings)


@dataclass(frozen=True, slots=True)
class StreamView:
    """A stream with its offers by SKU. The catalogue has those that are not settled."""

    id: str
    campaign_id: str
    campaign_name: str
    campaign_name_zh: str | None
    host_id: str
    host_name: str
    title: str
    title_zh: str | None
    state: str
    currency: str
    mode: str
    goal_minor: int
    opens_at: datetime | None
    live_at: datetime | None
    ended_at: datetime | None
    epoch: int
    rel_seq: int
    settings: StreamSettings
    shipping: FreeShipping | FlatShipping | ShippingByWeight
    offers: Mapping[str, OfferView]


class Catalogue:
    """The streams and offers of this deployment as this process last read them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._streams: dict[str, StreamView] = {}
        # Readings overlap: what was begun earlier and comes later must not put anything back.
        self._begun = self._shown = 0
        # Each stream's shop window, dressed once a reading: a thousand phones cost what one does.
        self.windows: dict[str, tuple[bytes, str]] = {}
        # And those of settled streams that somebody asked for lately, until when they are good.
        self.settled_windows: dict[str, tuple[float, tuple[bytes, str]]] = {}

    def find(self, stream_id: str) -> StreamView | None:
        """Return a stream, or None when there is none of this id (or it is settled)."""
        return self._streams.get(stream_id)

    def stream(self, stream_id: str) -> StreamView:
        """Return a stream; raises ``Problem`` 404."""
        found = self._streams.get(stream_id)
        if found is None:
            raise not_found("stream")
        return found

    def streams(self) -> list[StreamView]:
        """Return all streams, in id order."""
        return list(self._streams.values())

    async def refresh(self) -> None:
        """Read everything anew; whoever changed something calls this to see it at once."""
        self._begun = begun = self._begun + 1
        async with self._database.begin() as sql:
            rows = (await sql.execute(_CATALOGUE)).all()
        if begun > self._shown:
            self._shown, self.windows, self._streams = begun, {}, _views(rows)

    async def settled(self, stream_id: str) -> StreamView:
        """Read a stream that is settled, for whoever looks back; raises ``Problem`` 404.

        It is not kept here: what is over for good would only fill the memory of every process.
        """
        async with self._database.begin() as sql:
            if not await sql.scalar(_IS_SETTLED, {"stream_id": stream_id}):
                raise not_found("stream")
            rows = (await sql.execute(_SETTLED, {"stream_id": stream_id})).all()
        return _views(rows)[stream_id]

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the catalogue fresh until ``stop``; an unreachable database leaves the last one standing.

        It is read only when something was committed, whatever it was, or the hour of a match has come or gone.
        """
        read: Any = None

        async def refresh() -> float:
            nonlocal read
            [now] = await self._database.look(_NOW)
            if now != read:
                await self.refresh()
                read = now
            return REFRESH_S

        await go_round(
            refresh,
            stop,
            failure="catalogue_stale",
            backoff_s=REFRESH_S,
            backoff_s_max=REFRESH_S,
        )


def _views(rows: Sequence[Row[Any]]) -> dict[str, StreamView]:
    offers: dict[str, dict[str, OfferView]] = {}
    firsts: dict[str, Row[Any]] = {}
    for row in rows:
        firsts.setdefault(row.stream_id, row)
        own = offers.setdefault(row.stream_id, {})
        if row.stock_id is not None and row.terms_id is not None:
            own[row.sku] = _offer(row)
    return {stream_id: _stream(row, offers[stream_id]) for stream_id, row in firsts.items()}


def _offer(row: Row[Any]) -> OfferView:
    return OfferView(
        sku=row.sku,
        stock_id=row.stock_id,
        terms_id=row.terms_id,
        price_minor=row.price_minor,
        per_shopper_max=row.per_shopper_max,
        rule=ShareRule.of(row),
        tax_bp=row.tax_bp,
        opens_at=row.opens_at,
        total=row.total,
        reserved=row.reserved,
        sold=row.sold,
        name=row.name,
        name_zh=row.name_zh,
        unit=row.unit,
        unit_zh=row.unit_zh,
        weight_g=row.weight_g,
        farmer_id=row.farmer_id,
        farmer_name=row.farmer_name,
        farmer_name_zh=row.farmer_name_zh,
        place=row.place,
        beneficiary_id=row.beneficiary_id,
        beneficiary_name=row.beneficiary_name,
        beneficiary_name_zh=row.beneficiary_name_zh,
    )


def _stream(row: Row[Any], offers: dict[str, OfferView]) -> StreamView:
    settings = _settings.decode(row.settings)
    return StreamView(
        id=row.stream_id,
        campaign_id=row.campaign_id,
        campaign_name=row.campaign_name,
        campaign_name_zh=row.campaign_name_zh,
        host_id=row.host_id,
        host_name=row.host_name,
        title=row.title,
        title_zh=row.title_zh,
        state=row.state,
        currency=row.currency,
        mode=row.mode,
        goal_minor=row.goal_minor,
        opens_at=row.stream_opens_at,
        live_at=row.live_at,
        ended_at=row.ended_at,
        epoch=row.epoch or 0,
        rel_seq=row.rel_seq or 0,
        settings=settings,
        shipping=read_rule(settings.shipping),
        offers=offers,
    )
