"""Card testing: what is refused and when, what it costs everybody else, and a whole attack played through."""

import asyncio
import itertools
import random
from collections import Counter as Count
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from sqlalchemy import text

from orders.payments import card_testing
from orders.payments.card_testing import CardTesting, Seen, prefix_of
from orders.payments.pace import Pace
from orders.payments.pay import Payer, pay
from orders.schemas import PayOut
from stream_events.access import Signer
from stream_events.errors import Problem
from stream_events.ids import new_id
from tests.orders.payments.counter import Counter
from tests.orders.payments.sandbox_process import running_sandbox

BAD_CARD = "pm_card_visa_chargeDeclined"


@dataclass
class Clock:
    now_ms: int = 1_790_000_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(redis: Redis, signer: Signer, clock: Clock) -> CardTesting:
    return CardTesting(redis, signer, clock_ms=clock)


async def decline(
    watch: CardTesting, session: str, address: str, card: str = "", times: int = 1
) -> None:
    for _ in range(times):
        await watch.count(watch.presented(session, address, card), declined=True)


async def succeed(watch: CardTesting, session: str, address: str, times: int = 1) -> None:
    for _ in range(times):
        await watch.count(watch.presented(session, address), declined=False)


async def refused(watch: CardTesting, session: str, address: str, card: str = "") -> bool:
    try:
        await watch.look(watch.presented(session, address, card))
    except Problem as problem:
        if (problem.status, problem.code) == (429, "pay_later"):
            return True
        raise
    return False


async def test_a_session_with_two_orders_worth_of_declines_has_to_wait(
    watch: CardTesting, clock: Clock
) -> None:
    for number in range(card_testing.SESSION_DECLINES_MAX):
        assert not await refused(watch, "shp_1", f"10.0.{number}.1")
        await decline(watch, "shp_1", f"10.0.{number}.1")
        await succeed(watch, "shp_2", "10.9.9.9", times=5)
    with pytest.raises(Problem) as found:
        await watch.look(watch.presented("shp_1", "10.1.0.1"))
    assert int(found.value.headers()["retry-after"]) > 60
    assert not await refused(watch, "shp_2", "10.0.0.1")
    clock.now_ms += found.value.members["retry_after_ms"]
    assert not await refused(watch, "shp_1", "10.1.0.1")


async def test_an_address_is_refused_when_most_of_its_cards_are_declined(
    watch: CardTesting,
) -> None:
    await succeed(watch, "shp_0", "8.8.8.8", times=100)
    # A village behind one address: many pay, some are declined.
    for number in range(40):
        await decline(watch, f"shp_v{number}", "1.2.3.4")
        await succeed(watch, f"shp_w{number}", "1.2.3.99", times=2)
    assert not await refused(watch, "shp_new", "1.2.3.77")
    for number in range(card_testing.ADDRESS_DECLINES_MAX):
        assert not await refused(watch, "shp_new", "5.6.7.77")
        await decline(watch, f"shp_t{number}", f"5.6.7.{number}")
        await succeed(watch, "shp_0", "8.8.8.8", times=3)
    assert await refused(watch, "shp_new", "5.6.7.77")
    assert not await refused(watch, "shp_new", "5.6.8.77")


async def test_a_card_is_the_same_whoever_holds_it(watch: CardTesting) -> None:
    for number in range(card_testing.CARD_DECLINES_MAX):
        assert not await refused(watch, "shp_x", "1.1.1.1", "card_1")
        await decline(watch, f"shp_{number}", f"10.{number}.0.1", "card_1")
    assert await refused(watch, "shp_x", "1.1.1.1", "card_1")
    assert not await refused(watch, "shp_x", "1.1.1.1", "card_2")


async def test_the_alarm_is_raised_by_the_share_of_declines_and_tightens_the_rest(
    watch: CardTesting, clock: Clock
) -> None:
    await succeed(watch, "shp_0", "8.8.8.8", times=60)
    for number in range(39):
        await decline(watch, f"shp_{number}", f"10.{number}.0.1", f"card_{number}")
    neutral = watch.presented("shp_n", "9.9.9.9")
    assert (await watch.look(neutral)).alarm_ms == 0
    assert not await refused(watch, "shp_1", "10.1.0.1", "card_1")
    await decline(watch, "shp_39", "10.39.0.1")
    seen = await watch.look(neutral)
    assert seen.alarm_ms == card_testing.ALARM_HOLD_MS
    assert seen.closer
    assert await refused(watch, "shp_n", "9.9.9.9", "card_1")
    # One decline is a shopper's, who may take another card.
    assert not await refused(watch, "shp_1", "10.1.0.1")
    await decline(watch, "shp_1", "10.1.0.1")
    assert await refused(watch, "shp_1", "10.1.0.1")
    clock.now_ms += card_testing.ALARM_HOLD_MS
    assert not (await watch.look(neutral)).closer
    assert not await refused(watch, "shp_1", "10.1.0.1")


async def test_a_few_declines_and_old_ones_raise_no_alarm(watch: CardTesting, clock: Clock) -> None:
    for number in range(200):
        clock.now_ms += 2_500  # 24 a minute, each of them declined.
        await decline(watch, f"shp_{number}", f"10.{number}.0.1")
    assert (await watch.look(watch.presented("shp_n", "9.9.9.9"))).alarm_ms == 0


async def test_memory_is_bounded_and_vanishes(
    watch: CardTesting, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(card_testing, "NAMES_MAX", 50)
    for number in range(200):
        await decline(watch, f"shp_{number}", f"10.{number}.0.1", f"card_{number}")
    keys = [key async for key in redis.scan_iter("*")]
    assert len(keys) == 4
    for key in keys:
        assert await redis.hlen(key) <= 50
        assert 0 < await redis.pttl(key) <= 2 * card_testing.WINDOW_MS
    # Who was counted before is counted on.
    await decline(watch, "shp_0", "10.0.0.1", times=6)
    assert await refused(watch, "shp_0", "77.0.0.1")


async def test_nothing_in_redis_says_who_paid_from_where(watch: CardTesting, redis: Redis) -> None:
    await decline(watch, "shp_1", "203.0.113.9", "fingerprint1")
    kept = ""
    async for key in redis.scan_iter("*"):
        kept += f"{key!r} {await redis.hgetall(key)!r}"
    for secret in ("shp_1", "203.0", "fingerprint1"):
        assert secret not in kept


async def test_without_redis_nobody_is_refused(signer: Signer) -> None:
    away = Redis(host="127.0.0.1", port=1, protocol=3, retry=Retry(NoBackoff(), 0))
    blind = CardTesting(away, signer)
    await decline(blind, "shp_1", "1.1.1.1", times=20)
    assert await blind.look(blind.presented("shp_1", "1.1.1.1")) == Seen()


@pytest.mark.parametrize(
    ("address", "prefix"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ("testclient", "unknown"),
        (None, "unknown"),
    ],
)
def test_an_address_counts_with_its_network(address: str | None, prefix: str) -> None:
    assert prefix_of(address) == prefix


# --- paying ------------------------------------------------------------------------------------------------------


@dataclass
class Desk:
    """Pays as the route does, and counts what is asked of Stripe beside the payments."""

    counter: Counter
    watch: CardTesting
    looked_up: list[str] = field(default_factory=list)

    async def pay(
        self, order_id: str, token: str, *, shopper_id: str = "", address: str = "1.1.1.1"
    ) -> PayOut:
        payer = Payer(order_id, shopper_id or self.counter.sale.shopper_id, token, address)
        counter = self.counter
        return await pay(counter.database, counter.sandbox.gateway, counter.pace, payer, self.watch)


@pytest.fixture
def desk(counter: Counter, watch: CardTesting, monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(counter, watch)
    fetch_token = counter.sandbox.gateway.fetch_token

    async def noted(token: str) -> Any:
        made.looked_up.append(token)
        return await fetch_token(token)

    monkeypatch.setattr(counter.sandbox.gateway, "fetch_token", noted)
    return made


async def test_normal_traffic_costs_no_call(desk: Desk) -> None:
    for number in range(5):
        order_id = await desk.counter.offered()
        paid = await desk.pay(
            order_id, await desk.counter.sandbox.token(), address=f"10.{number}.0.1"
        )
        assert paid.payment.status == "succeeded"
    assert desk.looked_up == []


async def test_after_a_decline_the_card_is_known_before_it_is_tried(desk: Desk) -> None:
    counter = desk.counter
    first, second = await counter.offered(), await counter.offered()
    await desk.pay(first, await counter.sandbox.token(BAD_CARD))
    assert desk.looked_up == []
    for _ in range(2):
        await desk.pay(first, await counter.sandbox.token(BAD_CARD))
    await desk.pay(second, await counter.sandbox.token(BAD_CARD))
    assert len(desk.looked_up) == 3
    # Its fourth decline is known for that card, so it is refused before anything of it is touched …
    with pytest.raises(Problem) as found:
        await desk.pay(second, await counter.sandbox.token(BAD_CARD))
    assert (found.value.status, found.value.code) == (429, "pay_later")
    assert b"decline" not in found.value.body()
    assert await counter.attempts(second) == [(1, "DECLINED", 1)]
    # … and another card pays.
    assert (await desk.pay(second, await counter.sandbox.token())).payment.status == "succeeded"


async def test_a_refused_session_touches_neither_our_rows_nor_stripe(desk: Desk) -> None:
    counter = desk.counter
    order_id = await counter.offered()
    await decline(desk.watch, counter.sale.shopper_id, "9.9.9.9", times=6)
    with pytest.raises(Problem, match="slowed down"):
        await desk.pay(order_id, await counter.sandbox.token())
    assert await counter.attempts(order_id) == []
    assert desk.looked_up == []


async def test_tokens_that_are_none_count_as_declines(desk: Desk) -> None:
    for _ in range(2):
        order_id = await desk.counter.offered()
        for number in range(3):
            await desk.pay(order_id, f"ctoken_{order_id}{number}")
    order_id = await desk.counter.offered()
    with pytest.raises(Problem, match="slowed down"):
        await desk.pay(order_id, await desk.counter.sandbox.token())


# --- the attack --------------------------------------------------------------------------------------------------

TRIES = 5


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who comes: a network holds twenty testers, and every fiftieth shopper lives in one of theirs."""

    testers: int
    honest: int

    @property
    def networks(self) -> int:
        return self.testers // 20


def card_numbers() -> Iterator[str]:
    """Yield numbers that look like cards and are none of the test cards: each is declined."""
    for number in itertools.count(10**9):
        digits = f"41{number:013d}"
        total = sum(
            sum(divmod(int(digit) * (2 if place % 2 == 0 else 1), 10))
            for place, digit in enumerate(reversed(digits))
        )
        yield f"{digits}{-total % 10}"


async def orders_for(counter: Counter, shoppers: list[str]) -> list[str]:
    orders = [new_id("ord") for _ in shoppers]
    async with counter.database.begin() as sql:
        await sql.execute(
            text(
                "INSERT INTO orders (id, stream_id, shopper_id, state, total_minor, currency, place, placed_at, pay_by)"
                " SELECT o, :stream, s, 'AWAITING_PAYMENT', 2990, 'CNY', 1, now(), now() + interval '1 h'"
                " FROM unnest(CAST(:orders AS text[]), CAST(:shoppers AS text[])) AS u (o, s)"
            ),
            {"stream": counter.sale.stream_id, "orders": orders, "shoppers": shoppers},
        )
    return orders


@pytest.mark.parametrize(
    "crowd",
    [
        pytest.param(Crowd(100, 25), id="100"),
        pytest.param(Crowd(1_000, 250), id="1000", marks=pytest.mark.sweep),
    ],
)
async def test_an_attack_from_many_sessions_gets_little_and_costs_the_honest_nothing(
    counter: Counter, watch: CardTesting, clock: Clock, redis: Redis, crowd: Crowd
) -> None:
    """Testers try five times each at two a second with a new card each time; shoppers pay meanwhile."""
    counter.pace = Pace(redis, rate_per_s=100_000)
    async with running_sandbox() as own:  # Others need not wade through thousands of events.
        counter.sandbox = own
        await _attack(Desk(counter, watch), clock, crowd)


async def _attack(desk: Desk, clock: Clock, crowd: Crowd) -> None:
    counter = desk.counter
    chance = random.Random(7)
    testers = [new_id("shp") for _ in range(crowd.testers)]
    honest = [new_id("shp") for _ in range(crowd.honest)]
    orders = await orders_for(counter, [*testers, *honest])
    # A few shoppers live in the very networks the testers sit in.
    address = {
        who: f"10.0.{number % crowd.networks}.{number % 250}" for number, who in enumerate(testers)
    }
    address |= {
        who: f"10.0.{number // 50}.9" if number % 50 == 0 else f"172.16.{number}.9"
        for number, who in enumerate(honest)
    }
    order_of = dict(zip([*testers, *honest], orders, strict=True))
    numbers, unused = card_numbers(), dict[str, str]()
    outcomes: Count[str] = Count()
    paid: set[str] = set()
    began_ms, alarm_ms = clock.now_ms, list[int]()

    async def attempt(who: str, token: str) -> str:
        try:
            answer = await desk.pay(order_of[who], token, shopper_id=who, address=address[who])
        except Problem as problem:
            if problem.status != 429:
                raise
            return "refused"
        return answer.payment.status

    async def test_a_card(who: str) -> None:
        token = unused.pop(who, "") or (await counter.sandbox.card_token(next(numbers))).body["id"]
        outcome = await attempt(who, token)
        outcomes[outcome] += 1
        if outcome == "refused":
            unused[who] = token  # The card was not tried: it is still worth testing.
        elif not alarm_ms and (await desk.watch.look(desk.watch.presented("n", None))).alarm_ms:
            alarm_ms.append(clock.now_ms - began_ms)

    async def shop(who: str) -> None:
        cards = ["pm_card_visa"] if chance.random() > 0.08 else [BAD_CARD, "pm_card_visa"]
        for card in cards:
            if await attempt(who, await counter.sandbox.token(card)) == "succeeded":
                paid.add(who)

    steps = [(test_a_card, who) for who in testers * TRIES] + [(shop, who) for who in honest]
    chance.shuffle(steps)
    for start in range(0, len(steps), 10):
        batch = steps[start : start + 10]
        clock.now_ms += 500 * len(batch)
        await asyncio.gather(*(step(who) for step, who in batch))

    assert sum(outcomes.values()) == crowd.testers * TRIES
    assert alarm_ms[0] <= 60_000
    assert len(paid) >= 0.95 * crowd.honest
    tried = await counter.rows("SELECT order_id, sum(tries) AS tries FROM pay_attempts GROUP BY 1")
    assert max(row.tries for row in tried) <= 3
    # Of the three tries each order has, seven in ten were never shown to a bank.
    assert outcomes["declined"] <= 0.3 * 3 * crowd.testers, outcomes
