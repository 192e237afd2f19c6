"""Ready-made things to test with, written straight into SQL so that a test of one route needs no other route."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from inventory.tables import Offer, OfferTerms, Product, Stock, StreamGate
from stream_events.access import Role, Signer, create_principal, new_shopper, order_token
from stream_events.database import Base, Database
from stream_events.ids import new_id
from stream_events.tables import Beneficiary, Campaign, Farmer, Host, Stream

SKU = "PEANUT-5KG"

Added = TypeVar("Added", bound=Base)


@dataclass(frozen=True, slots=True)
class Sale:
    """A seeded campaign with one stream and one offer, and the credential of each role in it."""

    campaign_id: str
    host_id: str
    farmer_id: str
    beneficiary_id: str
    stream_id: str
    product_id: str
    offer_id: str
    terms_id: int
    stock_id: int
    epoch: int
    operator_key: str = field(repr=False)
    host_key: str = field(repr=False)
    farmer_key: str = field(repr=False)
    overlay_key: str = field(repr=False)
    moderator_key: str = field(repr=False)
    shopper_id: str
    shopper_token: str = field(repr=False)
    holder_key: str = field(repr=False)  # the secret link of some order that nobody placed
    sku: str = SKU
    total: int = 100
    price_minor: int = 2990
    per_shopper_max: int = 5
    currency: str = "CNY"

    def auth(self, role: str) -> dict[str, str]:
        """Return the header that proves ``role`` in this sale; none for ``"public"``."""
        if role == "public":
            return {}
        return bearer(self.shopper_token if role == "shopper" else getattr(self, f"{role}_key"))


def bearer(secret: str) -> dict[str, str]:
    """Return the header that carries a key or token."""
    return {"authorization": f"Bearer {secret}"}


async def make_campaign(sql: AsyncSession, **given: Any) -> Campaign:
    """Add a sandbox campaign in CNY with a goal of ¥100,000."""
    return await _add(
        sql,
        Campaign,
        "cmp",
        {
            "name": "Philanthropy Week",
            "name_zh": "公益周",
            "currency": "CNY",
            "mode": "sandbox",
            "goal_minor": 10_000_000,
        },
        given,
    )


async def make_host(sql: AsyncSession, **given: Any) -> Host:
    """Add a host."""
    return await _add(sql, Host, "hst", {"name": "Lin Yi"}, given)


async def make_farmer(sql: AsyncSession, **given: Any) -> Farmer:
    """Add a farmer."""
    return await _add(
        sql,
        Farmer,
        "frm",
        {"name": "Wang's farm", "name_zh": "王家农场", "place": "Zhengyang"},
        given,
    )


async def make_beneficiary(sql: AsyncSession, **given: Any) -> Beneficiary:
    """Add a beneficiary."""
    return await _add(
        sql, Beneficiary, "ben", {"name": "Basketball gear", "name_zh": "篮球装备"}, given
    )


async def make_product(sql: AsyncSession, farmer_id: str, **given: Any) -> Product:
    """Add a product of a farmer; ``sku`` must be new."""
    fields = {
        "farmer_id": farmer_id,
        "sku": SKU,
        "name": "Peanuts",
        "name_zh": "花生",
        "unit": "5 kg bag",
        "unit_zh": "5公斤袋",
    }
    return await _add(sql, Product, "prd", fields, given)


async def make_stream(sql: AsyncSession, campaign_id: str, host_id: str, **given: Any) -> Stream:
    """Add a stream, live unless ``state`` says otherwise."""
    fields = {
        "campaign_id": campaign_id,
        "host_id": host_id,
        "title": "Peanut night",
        "title_zh": "花生之夜",
        "state": "live",
        "goal_minor": 1_000_000,
        "live_at": datetime.now(UTC),
    }
    return await _add(sql, Stream, "str", fields, given)


async def make_offer(
    sql: AsyncSession,
    stream_id: str,
    product: Product,
    beneficiary_id: str,
    *,
    total: int = 100,
    price_minor: int = 2990,
    per_shopper_max: int = 5,
    farmer_bp: int = 8000,
    beneficiary_bp: int = 1500,
    fees_bp: int = 500,
    beneficiary_fixed_minor: int | None = None,
) -> tuple[Offer, OfferTerms, Stock]:
    """Offer a product in a stream: offer, terms, stock, and the stream's gate row where it is missing."""
    offer = await _add(
        sql,
        Offer,
        "off",
        {"stream_id": stream_id, "product_id": product.id, "sku": product.sku},
        {},
    )
    terms = OfferTerms(
        offer_id=offer.id,
        price_minor=price_minor,
        per_shopper_max=per_shopper_max,
        farmer_id=product.farmer_id,
        beneficiary_id=beneficiary_id,
        farmer_bp=farmer_bp,
        beneficiary_bp=beneficiary_bp,
        fees_bp=fees_bp,
        beneficiary_fixed_minor=beneficiary_fixed_minor,
    )
    epoch = await sql.scalar(select(StreamGate.epoch).where(StreamGate.stream_id == stream_id))
    if epoch is None:
        epoch = time.time_ns() // 1_000_000
        sql.add(StreamGate(stream_id=stream_id, epoch=epoch))
    stock = Stock(
        offer_id=offer.id, stream_id=stream_id, sku=product.sku, total=total, gate_epoch=epoch
    )
    sql.add_all((terms, stock))
    await sql.flush()
    return offer, terms, stock


async def seed_sale(
    database: Database, signer: Signer, *, sku: str = SKU, total: int = 100
) -> Sale:
    """Write a whole sale. A second one beside it needs another ``sku``."""
    async with database.begin() as sql:
        campaign, host = await make_campaign(sql), await make_host(sql)
        farmer, beneficiary = await make_farmer(sql), await make_beneficiary(sql)
        product = await make_product(sql, farmer.id, sku=sku)
        stream = await make_stream(sql, campaign.id, host.id)
        offer, terms, stock = await make_offer(sql, stream.id, product, beneficiary.id, total=total)
        _, operator_key = await create_principal(sql, Role.OPERATOR, "Operator")
        _, host_key = await create_principal(sql, Role.HOST, "Host", host_id=host.id)
        _, farmer_key = await create_principal(sql, Role.FARMER, "Farmer", farmer_id=farmer.id)
        _, overlay_key = await create_principal(sql, Role.OVERLAY, "Overlay", stream_id=stream.id)
        _, moderator_key = await create_principal(
            sql, Role.MODERATOR, "Moderator", stream_id=stream.id
        )
    shopper_id, shopper_token = new_shopper(signer)
    return Sale(
        campaign_id=campaign.id,
        host_id=host.id,
        farmer_id=farmer.id,
        beneficiary_id=beneficiary.id,
        stream_id=stream.id,
        product_id=product.id,
        offer_id=offer.id,
        terms_id=terms.id,
        stock_id=stock.id,
        epoch=stock.gate_epoch,
        operator_key=operator_key,
        host_key=host_key,
        farmer_key=farmer_key,
        overlay_key=overlay_key,
        moderator_key=moderator_key,
        shopper_id=shopper_id,
        shopper_token=shopper_token,
        holder_key=order_token(signer, new_id("ord")),
        sku=sku,
        total=total,
    )


async def _add(
    sql: AsyncSession,
    table: type[Added],
    prefix: str,
    fields: dict[str, Any],
    given: dict[str, Any],
) -> Added:
    row = table(**{"id": new_id(prefix), **fields, **given})
    sql.add(row)
    await sql.flush()
    return row
