"""A payment that succeeds at each instant of expiry: PAID or EXPIRED, never both, and nothing payable after release.

Every instant is a place in the code, between two steps of whoever ends the order. The payment may be one that waits
for a bank, a page of Stripe's own, a second card, a call that is still on its way, or one that nobody could find.
Its webhook comes at once or after all was over; what was released is bought by a rival before that.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from inventory.gate import Gate
from inventory.offers import Catalogue
from orders.checkout import Checkout
from orders.donations import Donations
from orders.expiry import end_due
from orders.payments.checkout_mode import Buyer, open_checkout
from orders.payments.pay import Payer, pay
from tests.orders.payments.checkout_page import VISA
from tests.orders.payments.counter import Counter
from tests.orders.payments.deadline import Deadline, Held, OwnStripe
from tests.orders.payments.sandbox_process import until

ASKS = "pm_card_authenticationRequired"
DECLINED = "pm_card_visa_chargeDeclined"
PENDING = "pm_card_bypassPending"
PENDING_NUMBER = "4000000000000077"
KEY_IS_OLD_S = 13 * 3600

_IN_TIME = "SELECT pay_by > clock_timestamp() FROM orders WHERE id = :id"

EXPIRY = "orders.expiry:"
CANCEL = "orders.payments.stripe_gateway:StripeGateway.cancel"
CLOSE = "orders.payments.stripe_gateway:StripeGateway.expire_checkout"


@dataclass(frozen=True)
class Instant:
    """A place in the code, and what the order must become when the money comes there."""

    name: str
    place: str = ""
    ends: str = "PAID"
    after: bool = False
    locked: bool = False  # Whether the expirer holds the order's row there.
    unheard: bool = False  # Whether the answer of what is called there gets lost.


# Where there is something at Stripe to be made unpayable first.
ENDED = (
    Instant("before it is found"),
    Instant("found, not yet locked", f"{EXPIRY}lock_orders"),
    Instant("locked", "orders.payments.attempts:move", locked=True),
    Instant("decided, not yet committed", f"{EXPIRY}release_orders", after=True, locked=True),
    Instant("EXPIRING is committed", f"{EXPIRY}end_due", after=True),
    Instant("the attempts are read", f"{EXPIRY}_end_attempt"),
)
CANCELLED = (
    Instant("the cancel is decided", f"{EXPIRY}cancel"),
    Instant("the cancel is on its way", CANCEL),
    Instant("the cancel is refused, and nobody hears it", CANCEL, unheard=True),
    Instant("cancelled at Stripe", CANCEL, "EXPIRED", after=True),
    Instant("cancelled, and nobody hears it", CANCEL, "EXPIRED", after=True, unheard=True),
    Instant("Stripe's word is here, not yet settled", f"{EXPIRY}settle", "EXPIRED"),
    Instant("settled", f"{EXPIRY}settle", "EXPIRED", after=True),
    Instant("before the last look", f"{EXPIRY}release_if_dead", "EXPIRED"),
    Instant("after the last look", f"{EXPIRY}release_if_dead", "EXPIRED", after=True),
)
CLOSED = (
    Instant("the closing is decided", f"{EXPIRY}end_session"),
    Instant("the closing is on its way", CLOSE),
    Instant("the closing is refused, and nobody hears it", CLOSE, unheard=True),
    Instant("closed at Stripe", CLOSE, "EXPIRED", after=True),
    Instant("closed, and nobody hears it", CLOSE, "EXPIRED", after=True, unheard=True),
    Instant("its end is being read", "orders.payments.checkout_mode:take_in", "EXPIRED"),
    Instant("before the last look", f"{EXPIRY}release_if_dead", "EXPIRED"),
    Instant("after the last look", f"{EXPIRY}release_if_dead", "EXPIRED", after=True),
)
# The call is on its way, so the expirer makes it itself to learn its end: then it has succeeded.
FINISHED = (
    Instant("before the expirer makes it", f"{EXPIRY}_learn"),
    Instant("while the expirer makes it", "orders.payments.attempts:create"),
    Instant("the expirer made it", "orders.payments.attempts:create", after=True),
    Instant("the expirer made it, unheard", "orders.payments.attempts:create", unheard=True),
    Instant("before it is settled", "orders.payments.attempts:settle"),
)


async def at_the_bank(deadline: Deadline) -> None:
    """The bank asks, and the shopper's answer is a click away."""
    await deadline.counter.pay(deadline.order_id, ASKS)
    payment = await deadline.counter.one("SELECT payment_intent_id FROM pay_attempts")
    asked = await deadline.stripe.retrieve(payment)

    async def answer() -> None:
        await deadline.counter.sandbox.authenticate(asked, "succeed")

    deadline.succeed = answer


async def on_stripes_page(deadline: Deadline, card: str = VISA) -> None:
    """Stripe's own page is open in the shopper's browser."""
    counter = deadline.counter
    buyer = Buyer(deadline.order_id, "http://127.0.0.1:9/back")
    url, _ = await open_checkout(counter.database, deadline.stripe, counter.pace, buyer)

    async def fill_in() -> None:
        await counter.sandbox.browse(url, {"means": card})

    deadline.succeed = fill_in


async def on_a_page_nobody_heard_of(deadline: Deadline) -> None:
    """Stripe opened the page, but its answer to us got lost."""
    counter, held = deadline.counter, Held(deadline.counter.sandbox.base_url)
    buyer = Buyer(deadline.order_id, "http://127.0.0.1:9/back")
    deadline.held = held
    opening = asyncio.create_task(open_checkout(counter.database, held, counter.pace, buyer))
    deadline.tasks.append(opening)
    await held.sent.wait()
    await held.arrive()
    listed = (await counter.sandbox.ask("GET", "/v1/checkout/sessions?limit=1")).body["data"]

    async def fill_in() -> None:
        await counter.sandbox.browse(listed[0]["url"], {"means": VISA})

    deadline.succeed = fill_in


async def with_a_second_card(deadline: Deadline) -> None:
    """The first card was declined; the call with the second one is on its way."""
    await deadline.counter.pay(deadline.order_id, DECLINED)
    await on_its_way(deadline)


async def on_its_way(deadline: Deadline, card: str = "pm_card_visa") -> None:
    """The call is on its way: we do not know what it will make, and Stripe does not know it yet."""
    counter, held = deadline.counter, Held(deadline.counter.sandbox.base_url)
    payer = Payer(deadline.order_id, counter.sale.shopper_id, await counter.sandbox.token(card))
    deadline.held, deadline.succeed = held, held.arrive
    deadline.tasks.append(asyncio.create_task(pay(counter.database, held, counter.pace, payer)))
    await held.sent.wait()


async def with_its_answer_lost(deadline: Deadline) -> None:
    """It has succeeded, and only Stripe knows."""
    await on_its_way(deadline)
    assert deadline.held is not None
    await deadline.held.arrive()


Way = Callable[[Deadline], Awaitable[None]]
WAYS: tuple[tuple[Way, tuple[Instant, ...]], ...] = (
    (at_the_bank, ENDED + CANCELLED),
    (on_stripes_page, ENDED + CLOSED),
    (on_a_page_nobody_heard_of, (ENDED[0], ENDED[4], *CLOSED[:6])),
    (with_a_second_card, ENDED + CANCELLED),
    (on_its_way, ENDED + FINISHED),
    (with_its_answer_lost, (ENDED[1], ENDED[4], FINISHED[0], FINISHED[2])),
)
HEARD = {True: "heard at once", False: "heard late"}


# The instants that are met each time, in one way at least.
MET: set[Instant] = set()


def by_turns(name: str, cases: Iterable[tuple[Any, Instant]]) -> pytest.MarkDecorator:
    """Have every eighth case heard, by turns at once and late, and each instant somewhere; in the sweep all, both ways."""
    params = []
    for n, (one, instant) in enumerate(cases):
        each_time = n % 8 == 0 or instant not in MET
        MET.update({instant} if each_time else ())
        for at_once, said in HEARD.items():
            mine = each_time and at_once is (n % 2 == 0)
            case = f"{said}-{getattr(one, '__name__', one)}-{instant.name}"
            marks = [] if mine else [pytest.mark.sweep]
            params.append(pytest.param(one, instant, at_once, id=case, marks=marks))
    return pytest.mark.parametrize((name, "instant", "at_once"), params, indirect=["at_once"])


@pytest.fixture(params=HEARD, ids=HEARD.get)
def at_once(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest_asyncio.fixture
async def deadline(
    counter: Counter,
    gate: Gate,
    redis: Redis,
    sale_catalogue: Catalogue,
    checkout: Checkout,
    giving: Donations,
    causes: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    at_once: bool,
) -> Deadline:
    assert causes
    stripe = OwnStripe(counter.sandbox.base_url)
    mine = replace(counter, sandbox=replace(counter.sandbox, gateway=stripe))
    return Deadline(
        mine, stripe, gate, redis, sale_catalogue, checkout, giving, monkeypatch, at_once
    )


async def pass_by(deadline: Deadline, instant: Instant) -> None:
    """Let the time to pay end, the money come at that instant, and all workers come to rest."""
    await deadline.counter.end_time(deadline.order_id)
    comes = partial(deadline.money, locked=instant.locked)
    if instant.place:
        deadline.at(instant.place, comes, after=instant.after, unheard=instant.unheard)
    else:
        await comes()
    await deadline.expire()
    assert deadline.reached or not instant.place, "the instant was never reached"
    await deadline.rival()
    await deadline.rest()
    await deadline.rival()


@by_turns("way", ((way, instant) for way, instants in WAYS for instant in instants))
async def test_goods(deadline: Deadline, way: Way, instant: Instant) -> None:
    await deadline.place("goods")
    await way(deadline)
    await pass_by(deadline, instant)
    assert deadline.rival_has == (0 if instant.ends == "PAID" else 2)
    await deadline.judge(instant.ends)


@by_turns("way", ((at_the_bank, instant) for instant in ENDED + CANCELLED))
async def test_a_gift(deadline: Deadline, way: Way, instant: Instant) -> None:
    await deadline.place("gift")
    await way(deadline)
    await pass_by(deadline, instant)
    await deadline.judge(instant.ends)


# Two looks found nothing under a key too old to be asked with; and then the call arrives after all.
GIVEN_UP = (
    Instant("between the two looks"),
    Instant("given up, not yet looked at", f"{EXPIRY}release_if_dead", "PAID or LATE"),
    Instant("the attempts are read, under lock", f"{EXPIRY}release_orders", "LATE", locked=True),
    Instant(
        "released, not yet committed", f"{EXPIRY}release_orders", "LATE", after=True, locked=True
    ),
    Instant("released", f"{EXPIRY}release_if_dead", "LATE", after=True),
    Instant("long after it was released", "", "LATE"),
)


KINDS = ("units left", "units gone", "gift")


@by_turns("kind", ((kind, instant) for kind in KINDS for instant in GIVEN_UP))
async def test_what_nobody_could_find(
    deadline: Deadline, instant: Instant, kind: str, *, at_once: bool
) -> None:
    """Money that comes when the units went back: sold again where there are any left, else given back by itself."""
    await deadline.place("gift" if kind == "gift" else "goods")
    await on_its_way(deadline)
    await deadline.counter.age(deadline.order_id, KEY_IS_OLD_S)
    await deadline.counter.end_time(deadline.order_id)
    await deadline.expire()
    assert await deadline.counter.state(deadline.order_id) == "EXPIRING"
    await deadline.reconciler.reconcile_once()
    if instant is GIVEN_UP[0]:
        await deadline.money()
    await deadline.reconciler.reconcile_once()
    if instant.place:
        comes = partial(deadline.money, locked=instant.locked)
        deadline.at(instant.place, comes, after=instant.after)
    await deadline.expire()
    assert deadline.reached or not instant.place
    if kind == "units gone":
        await deadline.rival()
    if instant is GIVEN_UP[-1]:
        await deadline.money()
    await deadline.rest()
    ends = instant.ends if instant.ends != "PAID or LATE" else "PAID" if at_once else "LATE"
    # A word that waited for the row is the first to have it; every later one finds the rival's order.
    outrun = ends == "LATE" and (instant is GIVEN_UP[-1] or not at_once)
    assert bool(deadline.rival_has) == (outrun and kind == "units gone")
    await deadline.judge(ends)


async def test_processing_before_its_time_is_over(deadline: Deadline) -> None:
    await deadline.place("goods")
    paid = await deadline.counter.pay(deadline.order_id, PENDING)
    assert paid.state == "PROCESSING"
    await deadline.counter.end_time(deadline.order_id)
    await deadline.expire()
    await _money_comes_later(deadline)


async def test_processing_and_nobody_heard_it(deadline: Deadline) -> None:
    await deadline.place("goods")
    await on_its_way(deadline, PENDING)
    assert deadline.held is not None
    await deadline.held.arrive()
    await deadline.counter.end_time(deadline.order_id)
    await deadline.expire()
    await _money_comes_later(deadline)


async def test_processing_on_stripes_page_when_it_is_to_be_closed(deadline: Deadline) -> None:
    await deadline.place("goods")
    await on_stripes_page(deadline, PENDING_NUMBER)
    await deadline.counter.end_time(deadline.order_id)
    deadline.at(CLOSE, deadline.money)
    await deadline.expire()
    assert deadline.reached
    await _money_comes_later(deadline)


async def _money_comes_later(deadline: Deadline) -> None:
    assert await deadline.counter.state(deadline.order_id) in {"PROCESSING", "PAID"}
    await deadline.rival()

    async def succeeded() -> bool:
        return await deadline.counter.intents(deadline.order_id) == ["succeeded"]

    await until(succeeded)
    if deadline.at_once:
        await deadline.hear()
    await deadline.rest()
    await deadline.judge("PAID")


async def test_a_payment_that_began_in_time_is_seen_under_the_lock(deadline: Deadline) -> None:
    """Its row is not committed when the order is found to be over; the expirer looks after it has the lock."""
    order_id, counter = await deadline.place("goods"), deadline.counter
    token = await counter.sandbox.token()
    ending: list[asyncio.Task[int]] = []

    async def time_is_over() -> bool:
        return not await counter.one(_IN_TIME, id=order_id)

    async def time_ends() -> None:
        await until(time_is_over)
        ending.append(asyncio.create_task(end_due(counter.database)))
        await asyncio.sleep(0.05)
        assert not ending[0].done()

    await counter.end_time(order_id, ago_s=-0.5)
    deadline.at("orders.payments.pay:_open_try", time_ends, after=True)
    await counter.pay(order_id, token=token)
    assert await ending[0] == 1
    await deadline.rival()
    await deadline.rest()
    await deadline.judge("PAID")


async def test_a_payment_that_begins_under_the_expirers_lock_never_reaches_stripe(
    deadline: Deadline,
) -> None:
    order_id = await deadline.place("goods")
    token = await deadline.counter.sandbox.token()
    await deadline.counter.end_time(order_id)

    async def tries() -> None:
        paying = asyncio.create_task(deadline.counter.pay(order_id, token=token))
        deadline.tasks.append(paying)
        await asyncio.sleep(0.05)

    deadline.at(f"{EXPIRY}release_orders", tries, after=True)
    await deadline.expire()
    await deadline.rival()
    await deadline.rest()
    assert await deadline.counter.intents(order_id) == []
    await deadline.judge("EXPIRED")
