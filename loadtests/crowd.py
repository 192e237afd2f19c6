"""The shoppers of a rush: they come all at once, repeat what went unanswered, and come back when units come back.

A key whose answer was lost is repeated with the same key until it is answered; a refusal that is not final is
tried again later with a new key. Every hand is one connection with one request in flight.
"""

import asyncio
import heapq
import itertools
import random
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Final

import msgspec

from loadtests.figures import Figures
from loadtests.http import Address, Answer, Connection, Lost, encode_request
from loadtests.journal import Ack, Journal, Refusal

QUANTITIES: Final = (1, 2, 3)
REPEATS_MAX: Final = 400
REPEAT_S_MAX: Final = 3.0
BACK_S: Final = (0.3, 1.5)
GATHER_CONNECTIONS_MAX: Final = 64


class Body(msgspec.Struct):
    """The parts that a shopper looks at in any answer to an order."""

    id: str = ""
    total: dict[str, int | str] = {}
    lines: list[dict[str, int | str]] = []
    code: str = ""
    left: int = 0
    final: bool = False
    retry_after_ms: int = 500


_decoder = msgspec.json.Decoder(Body)


def _read(answer: bytes) -> Body:
    """Read an answer; one that is no JSON comes from something broken on the way, and says nothing."""
    try:
        return _decoder.decode(answer)
    except msgspec.DecodeError:
        return Body(code="no_json")


@dataclass(slots=True)
class Shopper:
    """Who buys: an id, and the token that proves it."""

    id: str
    token: str


@dataclass(slots=True)
class Try:
    """One key, from its first request until it is answered."""

    shopper: Shopper
    quantity: int
    key: str
    due_s: float = 0.0
    sent: int = 0


@dataclass(frozen=True, slots=True)
class Placed:
    """An order that was acknowledged, and to whom."""

    order_id: str
    shopper: Shopper
    quantity: int
    amount_minor: int
    returned: bool
    """Placed with units that another shopper had given up, or after the rush."""


class Crowd:
    """All shoppers of one offer."""

    def __init__(
        self,
        address: Address,
        stream_id: str,
        sku: str,
        *,
        units_total: int,
        journal: Journal,
        on_placed: Callable[[Placed], None],
    ) -> None:
        self._address = address
        self._path = f"/v1/streams/{stream_id}/orders"
        self._sku = sku
        self._units_total = units_total
        self._journal = journal
        self._on_placed = on_placed
        self._ready: deque[Try] = deque()
        self._later: list[tuple[float, int, Try]] = []
        self._count = itertools.count()
        self._loop = asyncio.get_running_loop()
        self.shoppers: list[Shopper] = []
        self.figures = Figures()
        self.emptied = False
        """A refusal said that nothing is left right now."""
        self.over = False
        """A refusal said that nothing will come back."""
        self.open_tries = 0
        self.patient = False
        self.free_units: Callable[[], int | None] = lambda: None

    def body_of(self, quantity: int) -> bytes:
        """Return the body that asks for so many units."""
        return b'{"lines":[{"sku":"%s","quantity":%d}]}' % (self._sku.encode(), quantity)

    def request_of(self, token: str, key: str, quantity: int) -> bytes:
        """Return the request that places, or repeats, an order."""
        return encode_request("POST", self._path, self.body_of(quantity), token=token, key=key)

    async def gather(self, shoppers: int, seconds_max: float) -> None:
        """Let shoppers get their tokens, as many as come in time; raises RuntimeError when none do."""
        ask = encode_request("POST", "/v1/shoppers", b"")
        until = self._loop.time() + seconds_max

        async def arrive(connection: Connection) -> None:
            while len(self.shoppers) < shoppers and self._loop.time() < until:
                try:
                    answer = await connection.request(ask)
                except Lost:
                    await asyncio.sleep(0.2)
                    continue
                if answer.status == 201:
                    got = msgspec.json.decode(answer.body)
                    self.shoppers.append(Shopper(got["shopper_id"], got["token"]))
                elif answer.status in (429, 503):
                    await asyncio.sleep(_read(answer.body).retry_after_ms / 1000)
                else:
                    raise RuntimeError(f"POST /v1/shoppers answers {answer.status}")
            connection.close()

        hands = min(GATHER_CONNECTIONS_MAX, shoppers)
        await asyncio.gather(*(arrive(Connection(self._address)) for _ in range(hands)))
        if not self.shoppers:
            raise RuntimeError("no shopper got a token: is the limit of tokens a minute off?")

    async def rush(self, connections: int, attempts_min: int, until_s: float) -> None:
        """Come all at once; return when enough was tried and every unit was placed, or at ``until_s``."""
        random.shuffle(self.shoppers)
        self._ready.extend(self._new(shopper) for shopper in self.shoppers)
        self.figures.started_at = perf_counter()
        hands = [Connection(self._address) for _ in range(connections)]

        def done() -> bool:
            enough = self.figures.attempts >= attempts_min and self.open_tries == 0
            return (enough and (self.emptied or self.over)) or self._loop.time() > until_s

        async def keep_coming(hand: Connection) -> None:
            while not done():
                attempt = self._next(attempts_min)
                if attempt is None:
                    await asyncio.sleep(0.01)
                else:
                    await self._try(hand, attempt)
            hand.close()

        await asyncio.gather(*(keep_coming(hand) for hand in hands))

    async def come_back(self, connections: int, stop: asyncio.Event) -> None:
        """After the rush: buy what comes back, a few at a time, as the shop's page shows it to be free."""
        self.patient = True
        hands = [Connection(self._address) for _ in range(connections)]

        async def watch(hand: Connection, number: int) -> None:
            while not stop.is_set():
                free = self.free_units()
                attempt = self._next(0)
                if attempt is None and (free or 0) > number and self.shoppers:
                    attempt = self._new(random.choice(self.shoppers))
                if attempt is not None:
                    await self._try(hand, attempt)
                await asyncio.sleep(random.uniform(0.1, 0.3))
            hand.close()

        await asyncio.gather(*(watch(hand, number) for number, hand in enumerate(hands)))

    def _new(self, shopper: Shopper, quantity_max: int = QUANTITIES[-1]) -> Try:
        """Begin a try with a new key; near the end nobody asks for more than there can be."""
        left = max(1, self._units_total - self.figures.placed_units)
        free = self.free_units() if self.patient else None
        if self.patient:
            left = max(1, free or 1)
        quantity = min(random.choice(QUANTITIES), quantity_max, left)
        return Try(shopper, quantity, secrets.token_hex(16))

    def _next(self, attempts_min: int) -> Try | None:
        now = self._loop.time()
        if self._later and self._later[0][0] <= now:
            return heapq.heappop(self._later)[2]
        if self._ready:
            return self._ready.popleft()
        if self.figures.attempts < attempts_min:
            return self._new(random.choice(self.shoppers))
        return None

    async def _try(self, hand: Connection, attempt: Try) -> None:
        figures = self.figures
        if attempt.sent == 0:
            figures.attempts += 1
            self.open_tries += 1
            attempt.due_s = perf_counter()
        else:
            figures.repeats += 1
        attempt.sent += 1
        raw = self.request_of(attempt.shopper.token, attempt.key, attempt.quantity)
        try:
            answer = await hand.request(raw, attempt.due_s)
        except Lost as lost:
            figures.by_status[str(lost).partition(":")[0]] += 1
            self._again(attempt, 200)
            return
        figures.by_status[str(answer.status)] += 1
        if answer.status in (201, 200):
            self._on_order(attempt, answer)
        else:
            self._on_refusal(attempt, answer)

    def _again(self, attempt: Try, wait_ms: int) -> None:
        """Repeat the same key later, jittered, ever more slowly."""
        if attempt.sent >= REPEATS_MAX:
            self.open_tries -= 1
            self.figures.by_code["gave_up"] += 1
            return
        wait_s = min(wait_ms / 1000 * (1 + attempt.sent / 4), REPEAT_S_MAX)
        due = self._loop.time() + wait_s * random.uniform(0.5, 1.5)
        heapq.heappush(self._later, (due, next(self._count), attempt))

    def _on_order(self, attempt: Try, answer: Answer) -> None:
        self.open_tries -= 1
        figures = self.figures
        body = _decoder.decode(answer.body)
        if answer.status == 200:  # an open order of the same lines, which was acknowledged before
            figures.by_code["open_order"] += 1
            return
        quantity = sum(int(line["quantity"]) for line in body.lines)
        amount_minor = int(body.total["amount_minor"])
        self._journal.acknowledged(
            Ack(attempt.key, attempt.shopper.id, body.id, quantity, amount_minor)
        )
        figures.acknowledged += 1
        figures.ack.add(answer.ms)
        figures.placed_units += quantity
        if figures.sold_out_at is None:
            figures.placed_before_sold_out += 1
            if figures.placed_units >= self._units_total:
                figures.sold_out_at = perf_counter()
        self._on_placed(Placed(body.id, attempt.shopper, quantity, amount_minor, self.patient))

    def _on_refusal(self, attempt: Try, answer: Answer) -> None:
        figures, body = self.figures, _read(answer.body)
        figures.by_code[body.code] += 1
        if answer.status == 429 or answer.status >= 500:
            self._again(attempt, body.retry_after_ms)
            return
        if answer.status in (401, 403, 404, 422) and not figures.acknowledged:
            raise RuntimeError(f"orders are refused with {answer.status} {body.code}")
        self.open_tries -= 1
        final = body.final or answer.status not in (409, 425) or body.code == "limit_exceeded"
        self._journal.refused(
            Refusal(attempt.key, attempt.shopper.id, attempt.quantity, body.code, final)
        )
        if body.code == "sold_out":
            figures.refused.add(answer.ms)
            self.over = body.final
            self.emptied = body.left == 0
            if body.left > 0:  # too few for this shopper's wish, so wish for less
                self._ready.append(self._new(attempt.shopper, body.left))
        elif body.code == "key_aborted":
            self._ready.append(self._new(attempt.shopper))
        elif answer.status == 425:
            due = self._loop.time() + random.uniform(*BACK_S)
            again = self._new(attempt.shopper)
            heapq.heappush(self._later, (due, next(self._count), again))
