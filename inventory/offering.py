"""Putting a product on sale in a stream, changing its terms, and changing how many units there are.

Terms are never edited: a change is a new row, so every order keeps the price and shares its shopper saw. Nothing here
talks to the gate. A new offer starts a new epoch in SQL, which shuts the gate until it has been installed with it;
a changed total is a numbered adjustment that the relay carries there.
"""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from inventory import guard, rebuild
from inventory.schemas import (
    UNITS_MAX,
    OfferAnswer,
    OfferTermsBody,
    SkuPath,
    SplitAnswer,
    StockAnswer,
    StockChange,
)
from inventory.tables import Offer, OfferTerms, Product, Stock, StreamGate
from inventory.views import catalogue_of
from stream_events.access import Caller, Role, allow
from stream_events.errors import Problem, not_found, problems
from stream_events.ids import new_id
from stream_events.money import MoneyError, require_chargeable
from stream_events.paging import Listing
from stream_events.requests import database_of
from stream_events.schemas import StreamPath
from stream_events.split import ShareRule, SplitError, one_unit
from stream_events.streams import illegal_state, own_stream
from stream_events.tables import Beneficiary, Campaign, Stream

router: Final = APIRouter(prefix="/streams/{stream_id}/offers", tags=["offers"])

Staff = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.HOST))]

OPEN_STATES: Final = frozenset({"draft", "scheduled", "live"})
OFFERS_PER_STREAM_MAX: Final = 100

_TERMS: Final = (
    "price_minor",
    "per_shopper_max",
    "farmer_id",
    "beneficiary_id",
    "farmer_bp",
    "beneficiary_bp",
    "fees_bp",
    "beneficiary_fixed_minor",
    "farmer_fixed_minor",
    "beneficiary_cap_minor",
    "farmer_floor_minor",
    "fee_payer",
    "tax_bp",
)


async def _open_stream(sql: AsyncSession, caller: Caller, stream_id: str) -> Stream:
    stream = await own_stream(sql, caller, stream_id, lock=True)
    if stream.state not in OPEN_STATES:
        raise illegal_state(stream, f"Nothing changes on sale in a stream that is {stream.state}.")
    return stream


def _require_sound(body: OfferTermsBody, currency: str) -> None:
    """Refuse a price that cannot be charged and shares that do not divide it, each by its own code."""
    try:
        require_chargeable(body.price_minor, currency)
        one_unit(body.price_minor, ShareRule.of(body))
    except (MoneyError, SplitError) as error:
        raise Problem(422, error.code, str(error)) from None


async def _newest_terms(sql: AsyncSession, offer_id: str) -> OfferTerms | None:
    newest = (
        select(OfferTerms).where(OfferTerms.offer_id == offer_id).order_by(OfferTerms.id.desc())
    )
    return (await sql.execute(newest.limit(1))).scalar_one_or_none()


async def _state_terms(
    sql: AsyncSession, offer: Offer, product: Product, body: OfferTermsBody
) -> OfferTerms:
    """Return the terms that now count: the newest ones where nothing changed, else a new row."""
    wanted = {
        **body.model_dump(include=set(_TERMS)),
        "farmer_id": product.farmer_id,
    }
    newest = await _newest_terms(sql, offer.id)
    if newest is not None and all(getattr(newest, name) == wanted[name] for name in _TERMS):
        return newest
    terms = OfferTerms(offer_id=offer.id, **wanted)
    sql.add(terms)
    await sql.flush()
    return terms


async def _add_stock(sql: AsyncSession, offer: Offer, total: int) -> Stock:
    """Give a new offer its units, under a new epoch that is taken with the gate row locked."""
    gate = insert(StreamGate).values(
        stream_id=offer.stream_id, epoch=func.extract("epoch", func.clock_timestamp()) * 1000
    )
    await sql.execute(gate.on_conflict_do_nothing())
    epoch, _ = await rebuild.mark_stale(sql, offer.stream_id)
    stock = Stock(
        offer_id=offer.id,
        stream_id=offer.stream_id,
        sku=offer.sku,
        total=total,
        reserved=0,
        sold=0,
        gate_epoch=epoch,
    )
    sql.add(stock)
    await sql.flush()
    return stock


async def _make_offer(
    sql: AsyncSession, stream: Stream, product: Product, body: OfferTermsBody
) -> tuple[Offer, Stock]:
    if body.total is None:
        raise Problem(
            422, "total_missing", "A new offer needs the number of units on sale.", field="total"
        )
    held = select(func.count()).select_from(Offer).where(Offer.stream_id == stream.id)
    if (await sql.execute(held)).scalar_one() >= OFFERS_PER_STREAM_MAX:
        raise Problem(
            409, "too_many_offers", f"A stream has at most {OFFERS_PER_STREAM_MAX} offers."
        )
    offer = Offer(
        id=new_id("off"),
        stream_id=stream.id,
        product_id=product.id,
        sku=product.sku,
        opens_at=body.opens_at,
    )
    sql.add(offer)
    await sql.flush()
    return offer, await _add_stock(sql, offer, body.total)


async def _change_offer(sql: AsyncSession, offer: Offer, body: OfferTermsBody) -> Stock:
    stock = (await sql.execute(select(Stock).where(Stock.offer_id == offer.id))).scalar_one()
    if body.total is not None and body.total != stock.total:
        raise Problem(
            409,
            "total_differs",
            "Terms do not change the units on sale; add units with POST …/stock.",
            total=stock.total,
        )
    if "opens_at" in body.model_fields_set:
        offer.opens_at = body.opens_at
    return stock


@router.get("", responses=problems(401, 403, 404, 422))
async def list_offers(
    request: Request, caller: Staff, stream_id: StreamPath
) -> Listing[OfferAnswer]:
    """List what is on sale, whole and by SKU, with the terms that count now: who changes one states all of them."""
    newest = (
        select(OfferTerms.id)
        .where(OfferTerms.offer_id == Offer.id)
        .order_by(OfferTerms.id.desc())
        .limit(1)
        .correlate(Offer)
        .scalar_subquery()
    )
    offered = (
        select(Offer, OfferTerms, Stock)
        .join(Stock, Stock.offer_id == Offer.id)
        .join(OfferTerms, OfferTerms.id == newest)
        .where(Offer.stream_id == stream_id)
        .order_by(Offer.sku)
        .limit(OFFERS_PER_STREAM_MAX)
    )
    async with database_of(request).begin() as sql:
        stream = await own_stream(sql, caller, stream_id)
        currency = (await sql.get_one(Campaign, stream.campaign_id)).currency
        rows = (await sql.execute(offered)).all()
    items = [_answer(offer, terms, stock, currency) for offer, terms, stock in rows]
    return Listing(items=items, next=None)


@router.put(
    "/{sku}",
    responses={201: {"model": OfferAnswer}, **problems(400, 401, 403, 404, 409, 413, 422)},
)
async def put_offer(
    request: Request,
    response: Response,
    caller: Staff,
    stream_id: StreamPath,
    sku: SkuPath,
    body: OfferTermsBody,
) -> OfferAnswer:
    """Put a product on sale in a stream (201), or change its terms for the orders to come (200)."""
    async with database_of(request).begin() as sql:
        stream = await _open_stream(sql, caller, stream_id)
        campaign = await sql.get_one(Campaign, stream.campaign_id)
        _require_sound(body, campaign.currency)
        product = (
            await sql.execute(select(Product).where(Product.sku == sku))
        ).scalar_one_or_none()
        if product is None:
            raise not_found("product")
        if await sql.get(Beneficiary, body.beneficiary_id) is None:
            raise Problem(
                422, "unknown_reference", "There is no such beneficiary.", field="beneficiary_id"
            )
        offered = select(Offer).where(Offer.stream_id == stream_id, Offer.sku == sku)
        offer = (await sql.execute(offered)).scalar_one_or_none()
        if offer is None:
            offer, stock = await _make_offer(sql, stream, product, body)
            response.status_code = 201
        else:
            stock = await _change_offer(sql, offer, body)
        terms = await _state_terms(sql, offer, product, body)
        answer = _answer(offer, terms, stock, campaign.currency)
    await catalogue_of(request).refresh()
    return answer


@router.post("/{sku}/stock", responses=problems(400, 401, 403, 404, 409, 413, 422))
async def change_stock(
    request: Request, caller: Staff, stream_id: StreamPath, sku: SkuPath, body: StockChange
) -> StockAnswer:
    """Put more units on sale, or take off some that are neither reserved nor sold."""
    if body.add == 0:
        raise Problem(422, "nothing_to_add", "Add at least one unit, or take one off.", field="add")
    async with database_of(request).begin() as sql:
        await _open_stream(sql, caller, stream_id)
        row = select(Stock).where(Stock.stream_id == stream_id, Stock.sku == sku)
        stock = (await sql.execute(row.with_for_update(key_share=True))).scalar_one_or_none()
        if stock is None:
            raise not_found("offer")
        if body.total_before is not None and body.total_before != stock.total:
            raise Problem(
                409, "total_differs", "The total has changed meanwhile.", total=stock.total
            )
        if stock.total + body.add > UNITS_MAX:
            raise Problem(409, "too_many_units", f"An offer has at most {UNITS_MAX} units.")
        total = await guard.change_total(sql, stream_id, sku, body.add)
        answer = StockAnswer(
            sku=sku,
            total=total,
            reserved=stock.reserved,
            sold=stock.sold,
            left=total - stock.reserved - stock.sold,
        )
    await catalogue_of(request).refresh()
    return answer


def _answer(offer: Offer, terms: OfferTerms, stock: Stock, currency: str) -> OfferAnswer:
    return OfferAnswer(
        stream_id=offer.stream_id,
        sku=offer.sku,
        product_id=offer.product_id,
        currency=currency,
        opens_at=offer.opens_at,
        total=stock.total,
        reserved=stock.reserved,
        sold=stock.sold,
        one_unit=SplitAnswer.model_validate(one_unit(terms.price_minor, ShareRule.of(terms))),
        **{name: getattr(terms, name) for name in _TERMS},
    )
