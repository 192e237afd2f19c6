"""What a shopper wants, made comparable, and what it comes to on the terms of the moment.

Nothing here asks SQL: prices, limits, shipping and bounds come from the catalogue. Most of a rush asks for the same
few plain baskets, so these are quoted once a reading of the catalogue; gifts are reckoned for each order.
"""

import hashlib
from collections import defaultdict
from datetime import UTC, datetime
from typing import Final, NamedTuple

from inventory.offers import StreamView
from inventory.shipping import TooHeavyError
from orders.gifts import (
    EXTRA,
    GIFT,
    ROUND_UP,
    GiftWish,
    require_gift_max,
    require_gift_min,
    require_total,
    shares_of,
    spread,
)
from orders.placements import Gift, Line
from orders.pricing import PricingError, QuotedLine, price, sum_lines
from stream_events.errors import Problem
from stream_events.schemas import instant_text

BASKETS_MAX: Final = 4096

Lines = tuple[tuple[str, int], ...]


class Extras(NamedTuple):
    """What a shopper gives on top of the goods: to causes, more than the price, up to a round total; 0 is nothing."""

    gift: GiftWish | None
    extra_minor: int
    round_up_to_minor: int


class Basket(NamedTuple):
    """A wish made comparable: lines summed per SKU and sorted, and their fingerprint."""

    lines: Lines
    skus: tuple[str, ...]
    fingerprint: bytes
    extras: Extras | None = None


class Quote(NamedTuple):
    """What a basket comes to on the terms of the moment, as the gate and as the writer want it."""

    asked: tuple[tuple[str, int, int], ...]
    lines: tuple[Line, ...]
    total_minor: int
    opens_at: datetime | None
    shipping_minor: int = 0
    gifts: tuple[Gift, ...] = ()


class Baskets:
    """The baskets and quotes of one process, remembered as long as they hold."""

    def __init__(self) -> None:
        self._baskets: dict[Lines, Basket] = {}
        self._quotes: dict[str, tuple[StreamView, dict[Lines, Quote]]] = {}

    def basket(self, lines: Lines, extras: Extras | None) -> Basket:
        """Sum the lines. Raises ``Problem`` 422 for what cannot be summed."""
        basket = self._baskets.get(lines)
        if basket is None:
            try:
                summed = sum_lines(lines)
            except PricingError as error:
                raise Problem(422, error.code, str(error)) from error
            fingerprint = digest(*(f"{sku}={quantity}" for sku, quantity in summed))
            basket = Basket(summed, tuple(sku for sku, _ in summed), fingerprint)
            if len(self._baskets) >= BASKETS_MAX:
                self._baskets.clear()
            self._baskets[lines] = basket
        if extras is None:
            return basket
        return basket._replace(
            # A line of a plain basket has a "=" in it, and this one has none: no plain basket has this print.
            fingerprint=digest(basket.fingerprint.hex(), *_told(extras)),
            extras=extras,
        )

    def quote(self, stream: StreamView, basket: Basket) -> Quote:
        """Quote a basket. Raises ``Problem`` 422 for what this stream does not sell, send, take or charge.

        Quotes are kept as long as the very view of the stream they were made of.
        """
        view, quotes = self._quotes.get(stream.id, (None, {}))
        if view is not stream or len(quotes) >= BASKETS_MAX:
            quotes = {}
            self._quotes[stream.id] = (stream, quotes)
        quote = quotes.get(basket.lines)
        if quote is None:
            quote = quotes[basket.lines] = _quote(stream, basket)
        return quote if basket.extras is None else _add_gifts(stream, quote, basket.extras)


def digest(*parts: str) -> bytes:
    """Return the SHA-256 of these parts, one a line."""
    return hashlib.sha256("\n".join(parts).encode()).digest()


def _told(extras: Extras) -> tuple[str, ...]:
    gift = extras.gift or GiftWish(0, ())
    return (
        f"gift={gift.amount_minor}",
        *(f"{beneficiary_id}={share_bp}" for beneficiary_id, share_bp in gift.causes),
        f"extra={extras.extra_minor}",
        f"round_up_to={extras.round_up_to_minor}",
    )


def require_open(stream: StreamView, quote: Quote) -> None:
    """Refuse outside the sale's hours; a SKU may open later than its stream."""
    if stream.state == "ended":
        raise Problem(410, "sale_closed", "This sale is over.")
    live = stream.state == "live"
    if live and (quote.opens_at is None or quote.opens_at <= datetime.now(UTC)):
        return
    opens_at = quote.opens_at if live else stream.opens_at
    raise Problem(
        425,
        "not_open",
        "This sale has not opened yet.",
        opens_at=instant_text(opens_at) if opens_at else None,
    )


def _quote(stream: StreamView, basket: Basket) -> Quote:
    unknown = [sku for sku in basket.skus if sku not in stream.offers]
    if unknown:
        raise Problem(422, "unknown_sku", "This stream does not sell that.", sku=unknown[0])
    offers = stream.offers
    try:
        priced = price(
            [
                QuotedLine(sku, quantity, offers[sku].price_minor, stream.currency)
                for sku, quantity in basket.lines
            ]
        )
        weight_g = sum(offers[sku].weight_g * quantity for sku, quantity in basket.lines)
        shipping_minor = stream.shipping.cost(priced.total_minor, weight_g)
    except PricingError as error:
        raise Problem(422, error.code, str(error)) from error
    except TooHeavyError as error:
        raise Problem(422, "too_heavy", str(error), weight_g_max=error.weight_g_max) from error
    if shipping_minor:
        require_total(priced.total_minor + shipping_minor, stream.currency)
    openings = [offers[sku].opens_at for sku in basket.skus]
    return Quote(
        tuple((sku, quantity, offers[sku].per_shopper_max) for sku, quantity in basket.lines),
        tuple(
            Line(
                offers[line.sku].stock_id,
                offers[line.sku].terms_id,
                line.sku,
                line.quantity,
                line.unit_price_minor,
                offers[line.sku].per_shopper_max,
                offers[line.sku].tax_bp,
            )
            for line in priced.lines
        ),
        priced.total_minor + shipping_minor,
        max((at for at in openings if at is not None), default=None),
        shipping_minor,
    )


def _add_gifts(stream: StreamView, quote: Quote, extras: Extras) -> Quote:
    """Put the gifts on top: what is rounded up goes where the gift goes, or else where the goods' shares go."""
    settings = stream.settings
    given: list[Gift] = []
    sharing = _beneficiaries(stream, quote)
    rounding = sharing
    if extras.gift is not None:
        rounding = shares_of(extras.gift, settings)
        require_gift_min(extras.gift.amount_minor, settings)
        given += spread(GIFT, extras.gift.amount_minor, rounding)
    if extras.extra_minor:
        given += spread(EXTRA, extras.extra_minor, sharing)
    total_minor = quote.total_minor + sum(gift.amount_minor for gift in given)
    if extras.round_up_to_minor:
        missing = -total_minor % extras.round_up_to_minor
        given += spread(ROUND_UP, missing, rounding)
        total_minor += missing
    require_gift_max(total_minor - quote.total_minor, settings)
    require_total(total_minor, stream.currency)
    return quote._replace(total_minor=total_minor, gifts=tuple(given))


def _beneficiaries(stream: StreamView, quote: Quote) -> tuple[tuple[str, int], ...]:
    """Weigh the beneficiaries of the goods by what their lines come to."""
    weights: dict[str, int] = defaultdict(int)
    for line in quote.lines:
        weights[stream.offers[line.sku].beneficiary_id] += line.quantity * line.unit_minor
    return tuple(weights.items())
