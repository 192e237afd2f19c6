"""How fast we may speak with Stripe, and whether it is there: one budget and one breaker for all processes.

Stripe answers a fixed number of calls a second, and a sale makes far more payers than that. So shoppers' turns,
their payments and our own refunds, cancels and look-ups all draw on one token bucket in Redis. Nothing here is
truth: with Redis lost, the pace starts over at its first rate and the longest harm is a slower minute.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal, TypeVar

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from orders.payments.stripe_gateway import RateLimited, UnknownOutcome, Unreachable

log = structlog.get_logger(__name__)

KEY = "pace:stripe"
# Without Redis each process paces itself, slowly, because it does not know what the others do.
BLIND_SHARE = 5
# How long anybody waits for Redis, whatever its client would do.
PATIENCE_S = 1.0

Kind = Literal["pay", "keep"]
Report = Literal["ok", "limited", "failed", "look", "moved"]
Answer = TypeVar("Answer")


class Busy(Exception):  # noqa: N818 - a state of the budget.
    """The next free call is further away than the caller would wait; nothing was taken."""

    def __init__(self, retry_after_ms: int) -> None:
        super().__init__(f"the next call to Stripe is {retry_after_ms} ms away")
        self.retry_after_ms = retry_after_ms


class BreakerOpen(Exception):  # noqa: N818 - a state of the breaker.
    """Stripe has not answered for a while; only one probe in a while is let through to it."""

    def __init__(self, retry_after_ms: int) -> None:
        super().__init__("Stripe does not answer")
        self.retry_after_ms = retry_after_ms


@dataclass(frozen=True, slots=True)
class Outage:
    """Stripe was (or is) away, and deadlines have not been moved by the last ``due_ms`` of it yet.

    ``until_ms`` is by Redis's clock, for ``Pace.moved`` alone.
    """

    due_ms: int
    until_ms: int
    over: bool


class Pace:
    """Draw calls from the shared budget: ``take`` before each, ``report`` after, or ``call`` for both.

    ``pay`` is for calls a shopper waits for; ``keep`` for refunds, cancels and look-ups, which have a fifth of the
    rate to themselves. The rate halves on a 429 and rises again by a twentieth of ``rate_max_per_s`` (at least one
    call a second) every ten seconds.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        rate_per_s: int = 20,
        rate_max_per_s: int | None = None,
        failures_max: int = 5,
        probe_pause_ms: int = 2_000,
    ) -> None:
        self._rate_max = rate_max_per_s or rate_per_s
        self._rate = min(rate_per_s, self._rate_max)
        if self._rate < 1:
            raise ValueError("the pace is at least one call a second")
        self._failures_max = failures_max
        self._probe_pause_ms = probe_pause_ms
        self._take: Callable[..., Awaitable[Any]] = _script(redis, "pace")
        self._report: Callable[..., Awaitable[Any]] = _script(redis, "pace_report")
        self._blind_at_s = 0.0
        self._seen_rate: tuple[float, int] = (0.0, self._rate)

    async def take(self, kind: Kind, *, wait_ms_max: int = 5_000) -> int:
        """Take one call and return how many ms to wait before making it. Raises ``Busy`` or ``BreakerOpen``."""
        try:
            verdict, wait_ms = await self._ask(kind, wait_ms_max)
        except (RedisError, TimeoutError) as error:
            log.warning("pace_blind", error=type(error).__name__)
            return self._take_blind(wait_ms_max)
        if verdict == 2:
            raise BreakerOpen(wait_ms)
        if verdict == 1:
            raise Busy(wait_ms)
        return int(wait_ms)

    async def turns(self, turns_max: int) -> int:
        """Take up to ``turns_max`` turns to pay; none while Stripe is away or payers already queue."""
        return (await self._ask("turn", turns_max))[1]

    async def report(self, outcome: Literal["ok", "limited", "failed"]) -> None:
        """Tell the others how a call went. Losing a report costs pace only, so it never fails a payment."""
        try:
            await self._tell(outcome)
        except (RedisError, TimeoutError) as error:
            log.warning("pace_report_lost", outcome=outcome, error=type(error).__name__)

    async def call(
        self, kind: Kind, make: Callable[[], Awaitable[Answer]], *, wait_ms_max: int = 5_000
    ) -> Answer:
        """Wait for a call's time, make it, report how it went. What ``make`` raises is raised on."""
        await asyncio.sleep(await self.take(kind, wait_ms_max=wait_ms_max) / 1000)
        return await self.observed(make)

    async def observed(self, make: Callable[[], Awaitable[Answer]]) -> Answer:
        """Make a call that was taken before, and report how it went."""
        try:
            answer = await make()
        except RateLimited:
            await self.report("limited")
            raise
        except (Unreachable, UnknownOutcome):
            await self.report("failed")
            raise
        except Exception:
            # Declines and refusals are answers: Stripe is there.
            await self.report("ok")
            raise
        await self.report("ok")
        return answer

    async def pages(self, listing: AsyncIterator[Answer], page_size: int) -> AsyncIterator[Answer]:
        """Yield a listing's items, drawing one ``keep`` call for each page that it fetches."""
        count = 0
        while True:
            try:
                if count % page_size == 0:
                    item = await self.call("keep", lambda: anext(listing), wait_ms_max=60_000)
                else:
                    item = await anext(listing)
            except StopAsyncIteration:
                return
            count += 1
            yield item

    async def rate_per_s(self) -> int:
        """Return the rate now, at most a second old: for telling a shopper how long the queue takes."""
        at_s, rate = self._seen_rate
        if time.monotonic() - at_s > 1:
            try:
                rate = (await self._tell("look"))[0]
            except (RedisError, TimeoutError):
                log.warning("pace_unknown")
            self._seen_rate = (time.monotonic(), rate)
        return rate

    async def outage(self) -> Outage | None:
        """Return the outage that deadlines have not been moved past yet, if there is one."""
        _, now_ms, open_ms, moved_ms, closed_ms = await self._tell("look")
        if open_ms < 0:
            return None
        over = closed_ms >= 0
        until_ms = closed_ms if over else now_ms
        return Outage(max(0, until_ms - moved_ms), until_ms, over)

    async def moved(self, outage: Outage) -> None:
        """Record that every deadline has been moved past this outage's ``until_ms``."""
        await self._tell("moved", outage.until_ms)

    async def _ask(self, kind: Kind | Literal["turn"], amount: int) -> list[int]:
        async with asyncio.timeout(PATIENCE_S):
            answer = await self._take(
                keys=[KEY],
                args=[kind, amount, self._rate, self._rate_max, self._probe_pause_ms],
            )
        return [int(value) for value in answer]

    async def _tell(self, report: Report, *more: int) -> list[int]:
        async with asyncio.timeout(PATIENCE_S):
            answer = await self._report(
                keys=[KEY], args=[report, self._failures_max, self._rate, self._rate_max, *more]
            )
        return [int(value) for value in answer]

    def _take_blind(self, wait_ms_max: int) -> int:
        now_s = time.monotonic()
        at_s = max(now_s, self._blind_at_s)
        wait_ms = round((at_s - now_s) * 1000)
        if wait_ms > wait_ms_max:
            raise Busy(wait_ms)
        self._blind_at_s = at_s + BLIND_SHARE / self._rate
        return wait_ms


def _script(redis: Redis, name: str) -> Callable[..., Awaitable[Any]]:
    source = resources.files("orders.payments").joinpath(f"lua/{name}.lua").read_text("utf-8")
    return redis.register_script(source)
