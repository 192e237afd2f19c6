"""Cards that are tried on Stripe's own page count like those tried on ours."""

from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from redis.asyncio import Redis

from orders.payments.card_testing import CardTesting
from orders.payments.checkout_declines import CheckoutDeclines
from orders.payments.reconciler import Reconciler
from orders.routes import router
from stream_events.access import Signer
from tests.orders.payments.checkout_page import Page
from tests.orders.payments.counter import Counter

DECLINED = "4000000000000002"


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (router,)


@pytest.fixture
def app_state(app_state: dict[str, Any], counter: Counter) -> dict[str, Any]:
    return {
        **app_state,
        "inbox": counter.inbox,
        "pace": counter.pace,
        "stripe": counter.sandbox.gateway,
    }


async def test_three_declined_cards_close_the_page_and_count_for_whoever_opened_it(
    api: httpx.AsyncClient, counter: Counter, redis: Redis, signer: Signer
) -> None:
    page = Page(api, counter)
    reconciler = Reconciler(counter.database, counter.sandbox.gateway, counter.pace, counter.inbox)
    testing = CardTesting(redis, signer)
    counter.declines = CheckoutDeclines(
        counter.database, counter.sandbox.gateway, counter.pace, testing
    )
    order_id = await counter.offered()
    url = await page.opened(order_id)
    who = testing.presented(counter.sale.shopper_id, "127.0.0.1")
    for tries in (1, 2, 3):
        assert await page.sessions(order_id) == ["open"]
        await page.pay(url, DECLINED)
        await reconciler.reconcile_once()
        await counter.settle_stored()
        # Hearing of the same declines again counts nothing twice.
        await counter.rows("UPDATE stripe_events SET state = 'NEW', done_at = NULL RETURNING 1")
        await counter.settle_stored()
        seen = await testing.look(who)
        assert (seen.session_declines, seen.address_declines) == (tries, tries)
        assert [row[2] for row in await counter.attempts(order_id)] == [tries]
    assert await page.sessions(order_id) == ["expired"]
    assert await counter.attempts(order_id) == [(1, "CANCELED", 3)]
    assert await page.open(order_id) == (409, "no_tries_left")
    assert (await page.by_our_page(order_id))[0] in {200, 409}
    assert await counter.intents(order_id) == ["canceled"]
