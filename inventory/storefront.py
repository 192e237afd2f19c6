"""The shop window of a stream: from memory, cacheable, and asked for by every phone that follows the link.

It says what a shopper decides by: the price, what of it goes to the farmer and to the cause, the limit, and what is
left. Figures of stock are a fraction of a second old; only the gate and the guard decide who gets a unit.
"""

import hashlib
import time
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Request, Response

from inventory.offers import Catalogue, OfferView, StreamView
from inventory.schemas import (
    CampaignCard,
    CauseCard,
    FarmerCard,
    GiftTerms,
    MatchCard,
    ShippingTerms,
    ShopOffer,
    Storefront,
)
from inventory.tax import tax_part
from inventory.views import catalogue_of
from stream_events.access import Caller, Role, allow
from stream_events.errors import not_found, problems
from stream_events.money import charge_minor_max, charge_step_minor, format_minor
from stream_events.schemas import HostName, StreamPath
from stream_events.split import Shares, split

router: Final = APIRouter(prefix="/streams/{stream_id}", tags=["storefront"])

Anybody = Annotated[Caller, Depends(allow(Role.PUBLIC))]

LOW_ONE_IN: Final = 10
SETTLED_WINDOW_S: Final = 60.0
SETTLED_WINDOWS_MAX: Final = 200
PUBLIC_CACHE: Final = "public, max-age=1"
PRIVATE_CACHE: Final = "private, no-cache"


def _may_enter(caller: Caller, stream: StreamView) -> bool:
    """Whether a stream is for these eyes: a draft is its host's, its overlay's and the operators' alone."""
    if stream.state != "draft" or caller.role is Role.OPERATOR:
        return True
    if caller.role is Role.HOST:
        return caller.host_id == stream.host_id
    return caller.role is Role.OVERLAY and caller.stream_id == stream.id


def _band(offer: OfferView) -> Literal["plenty", "low", "gone"]:
    if offer.free <= 0:
        return "gone"
    return "low" if offer.free * LOW_ONE_IN <= offer.total else "plenty"


def _share_text(offer: OfferView, shares: Shares, currency: str) -> tuple[str, str]:
    """Say what of one unit goes to whom, in English and in Chinese; whoever gets nothing is not named."""
    parts = (
        (shares.farmer_minor, offer.farmer_name, offer.farmer_name_zh),
        (shares.beneficiary_minor, offer.beneficiary_name, offer.beneficiary_name_zh),
        (shares.fees_minor, "costs", "平台成本"),
    )
    price = f"{format_minor(offer.price_minor, currency)} {currency}"
    told = [
        (format_minor(amount_minor, currency), name, name_zh or name)
        for amount_minor, name, name_zh in parts
        if amount_minor
    ]
    english = ", ".join(f"{amount} to {name}" for amount, name, _ in told)
    chinese = "，".join(f"{name_zh} {amount}" for amount, _, name_zh in told)
    return f"Of {price}: {english}.", f"{price} 中：{chinese}。"


def _gift_terms(stream: StreamView) -> GiftTerms | None:
    settings = stream.settings
    if not settings.causes:
        return None
    most = charge_minor_max(stream.currency)
    return GiftTerms(
        min_minor=max(settings.gift_min_minor, charge_step_minor(stream.currency)),
        max_minor=min(settings.gift_max_minor or most, most),
        causes=[
            CauseCard(id=cause.id, name=cause.name, name_zh=cause.name_zh)
            for cause in settings.causes
        ],
    )


def _shipping_terms(stream: StreamView) -> ShippingTerms:
    words, words_zh = stream.shipping.in_words(stream.currency)
    return ShippingTerms(rule=stream.shipping, words=words, words_zh=words_zh)


def _shop_offer(offer: OfferView, currency: str) -> ShopOffer:
    shares = split(offer.price_minor, 1, offer.rule)
    share_text, share_text_zh = _share_text(offer, shares, currency)
    return ShopOffer(
        sku=offer.sku,
        name=offer.name,
        name_zh=offer.name_zh,
        unit=offer.unit,
        unit_zh=offer.unit_zh,
        price_minor=offer.price_minor,
        farmer_minor=shares.farmer_minor,
        beneficiary_minor=shares.beneficiary_minor,
        fees_minor=shares.fees_minor,
        share_text=share_text,
        share_text_zh=share_text_zh,
        tax_bp=offer.tax_bp,
        tax_minor=tax_part(offer.price_minor, offer.tax_bp),
        weight_g=offer.weight_g,
        per_shopper_max=offer.per_shopper_max,
        opens_at=offer.opens_at,
        total=offer.total,
        reserved=offer.reserved,
        sold=offer.sold,
        left=offer.free,
        stock_band=_band(offer),
        farmer=FarmerCard(
            id=offer.farmer_id,
            name=offer.farmer_name,
            name_zh=offer.farmer_name_zh,
            place=offer.place,
        ),
        beneficiary=CauseCard(
            id=offer.beneficiary_id,
            name=offer.beneficiary_name,
            name_zh=offer.beneficiary_name_zh,
        ),
    )


def dress(stream: StreamView) -> Storefront:
    """Return a stream as its shop shows it."""
    return Storefront.model_validate(
        {
            "id": stream.id,
            "title": stream.title,
            "title_zh": stream.title_zh,
            "state": stream.state,
            "opens_at": stream.opens_at,
            "live_at": stream.live_at,
            "ended_at": stream.ended_at,
            "goal_minor": stream.goal_minor,
            "currency": stream.currency,
            "mode": stream.mode,
            "host": HostName(id=stream.host_id, name=stream.host_name),
            "campaign": CampaignCard(
                id=stream.campaign_id, name=stream.campaign_name, name_zh=stream.campaign_name_zh
            ),
            "seller": stream.settings.seller,
            "refund_terms": stream.settings.refund_terms,
            "refund_terms_zh": stream.settings.refund_terms_zh,
            "payment_methods": list(stream.settings.payment_methods),
            "shipping": _shipping_terms(stream),
            "gifts": _gift_terms(stream),
            "matches": [MatchCard.model_validate(match) for match in stream.settings.matches],
            "offers": [_shop_offer(offer, stream.currency) for offer in stream.offers.values()],
        }
    )


def _window(stream: StreamView) -> tuple[bytes, str]:
    """Return the body of a stream's storefront and its ETag."""
    body = dress(stream).model_dump_json().encode()
    return body, f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


async def _settled_window(catalogue: Catalogue, stream_id: str) -> tuple[bytes, str]:
    """Return the window of a settled stream: whoever still has its page open reads what was sold, and buys nothing."""
    now = time.monotonic()
    kept = catalogue.settled_windows.get(stream_id)
    if kept is None or kept[0] < now:
        window = _window(await catalogue.settled(stream_id))
        if len(catalogue.settled_windows) >= SETTLED_WINDOWS_MAX:
            catalogue.settled_windows.clear()
        kept = catalogue.settled_windows[stream_id] = (now + SETTLED_WINDOW_S, window)
    return kept[1]


def _is_known(etag: str, if_none_match: str | None) -> bool:
    """Whether the caller has this very body: ``If-None-Match`` compares weakly, so ``W/`` does not count."""
    asked = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    return etag in asked or "*" in asked


@router.get(
    "/storefront",
    response_model=Storefront,
    responses={304: {"description": "It has not changed."}, **problems(401, 404, 422)},
)
async def get_storefront(request: Request, caller: Anybody, stream_id: StreamPath) -> Response:
    """Show the stream's shop; one that is settled is there to be read, and sells nothing any more.

    Drafts are seen with the key of their host, their overlay or an operator only.
    """
    catalogue = catalogue_of(request)
    stream = catalogue.find(stream_id)
    if stream is None:
        body, etag = await _settled_window(catalogue, stream_id)
    elif not _may_enter(caller, stream):
        raise not_found("stream")
    else:
        window = catalogue.windows.get(stream_id)
        if window is None:
            window = catalogue.windows[stream_id] = _window(stream)
        body, etag = window
    private = stream is not None and stream.state == "draft"
    headers = {
        "etag": etag,
        "cache-control": PRIVATE_CACHE if private else PUBLIC_CACHE,
        "vary": "authorization",
    }
    if _is_known(etag, request.headers.get("if-none-match")):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")
