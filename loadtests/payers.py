"""Paying as a crowd does it: everybody waits for their turn, looks once when it should have come, and pays.

Thousands wait, so how often they look is what the API lives or dies by. The queue moves at one speed for all: a
scout looks where it is, and everybody else looks when their own turn should have come.
"""

import asyncio
import heapq
import itertools
import random
from collections import Counter
from dataclasses import dataclass
from time import perf_counter
from typing import Final, Literal, NamedTuple
from urllib.parse import urlencode, urlsplit

import msgspec

from loadtests.crowd import Placed
from loadtests.http import Address, Answer, Connection, Lost, encode_request

GOOD_CARD: Final = "4242424242424242"
DECLINED_CARD: Final = "4000000000000002"
ACTION_CARD: Final = "4000002760003184"

RATE_PER_S_FIRST: Final = 20.0
SCOUT_S: Final = 0.25
SCOUT_AHEAD: Final = 50

Will = Literal["pay", "decline", "act", "abandon"]


class Till(NamedTuple):
    """Where cards become tokens: Stripe's place in the shopper's browser, here the sandbox."""

    address: Address
    publishable_key: str

    @classmethod
    def of_meta(cls, meta: dict[str, str]) -> "Till":
        """Return the till that ``GET /v1/meta`` names; raises ValueError unless its money is play money."""
        key = meta["stripe_publishable_key"]
        if meta["mode"] != "sandbox" or not key.startswith("pk_test_"):
            raise ValueError("this server takes real money: no crowd goes there")
        url = urlsplit(meta["stripe_js_url"])
        if url.scheme != "http":
            raise ValueError(
                "no sandbox: a crowd of cards may not be sent to Stripe's own test mode"
            )
        return cls(Address.of(meta["stripe_js_url"]), key)


class Payment(msgspec.Struct):
    """Where a payment stands."""

    status: str
    client_secret: str | None = None


class Seen(msgspec.Struct):
    """The parts of an order, or of an answer to paying it, that a shopper looks at."""

    state: str = ""
    ahead: int | None = None
    minutes: int | None = None
    payment: Payment | None = None
    lines: list[dict[str, int | str]] = []
    total: dict[str, int | str] = {}
    code: str = ""
    retry_after_ms: int = 500


_decoder = msgspec.json.Decoder(Seen)


@dataclass(slots=True)
class Waiting:
    """An order on its way to being paid."""

    placed: Placed
    rank: int
    will: Will
    sends_contact: bool
    token: str = ""
    acted: bool = False
    """The bank was satisfied; the order says so as soon as the server hears it."""


class Mix(NamedTuple):
    """What part of the crowd does what, in percent."""

    abandon_percent: float
    decline_percent: float
    action_percent: float
    contact_percent: float = 3.0

    def will(self, placed: Placed) -> Will:
        """Decide what a shopper will do; who buys what came back does pay, or the sale would never end."""
        roll = random.uniform(0, 100)
        for will, percent in (
            ("decline", self.decline_percent),
            ("act", self.action_percent),
            ("abandon", 0.0 if placed.returned else self.abandon_percent),
        ):
            if roll < percent:
                return will  # type: ignore[return-value]
            roll -= percent
        return "pay"


class Queue:
    """How far the turns to pay have come, learnt from whoever looked last."""

    def __init__(self) -> None:
        self.front = 0
        self._rate_per_s = RATE_PER_S_FIRST
        self._at_s = perf_counter()

    def scout(self, ranks: int) -> int:
        """Return the rank whose look would tell most: about where the turns will be in two seconds."""
        return min(ranks, self.front + max(SCOUT_AHEAD, int(self._rate_per_s * 2)))

    def learn(self, rank: int, seen: Seen) -> None:
        """Take note of a look: who waits knows how many are ahead, whose turn has come is where the front is."""
        front = rank - seen.ahead if seen.ahead is not None else rank
        passed_s = perf_counter() - self._at_s
        if front > self.front:
            if passed_s > 0.2:
                self._rate_per_s = (self._rate_per_s + (front - self.front) / passed_s) / 2
                self._at_s = perf_counter()
            self.front = front


class Payers:
    """The shoppers who placed an order, and the hands that pay for them."""

    def __init__(self, address: Address, till: Till, mix: Mix) -> None:
        self._address = address
        self._till = till
        self._mix = mix
        self._ranks: list[Waiting] = []
        self._next = 0
        self._again: list[tuple[float, int, Waiting]] = []
        self._count = itertools.count()
        self._queue = Queue()
        self.paid = 0
        self.abandoned = 0
        self.outcomes: Counter[str] = Counter()
        self.looks = 0
        self.read: dict[str, tuple[int, int]] = {}
        """What ``GET /v1/orders/{id}`` said of quantity and amount, for the oracle."""

    def join(self, placed: Placed) -> None:
        """Put an order into the queue: turns come in the order of placing."""
        will = self._mix.will(placed)
        self.abandoned += will == "abandon"
        contact = random.uniform(0, 100) < self._mix.contact_percent
        self._ranks.append(Waiting(placed, len(self._ranks) + 1, will, contact))

    async def pay(self, connections: int, stop: asyncio.Event) -> None:
        """Pay for every order whose turn has come, until ``stop``."""
        hands = (self._serve(stop) for _ in range(connections))
        await asyncio.gather(self._look_ahead(stop), *hands)

    async def _look_ahead(self, stop: asyncio.Event) -> None:
        """Send somebody to look where the queue is, so that nobody else has to look too early."""
        api = Connection(self._address)
        while not stop.is_set():
            rank = self._queue.scout(len(self._ranks))
            if rank > self._queue.front:
                try:
                    await self._look(api, self._ranks[rank - 1])
                except Lost:
                    self.outcomes["lost connection"] += 1
            await asyncio.sleep(SCOUT_S)
        api.close()

    async def _serve(self, stop: asyncio.Event) -> None:
        api, till = Connection(self._address), Connection(self._till.address)
        while not stop.is_set():
            waiting = self._due()
            if waiting is None:
                await asyncio.sleep(0.02)
                continue
            try:
                await self._serve_one(api, till, waiting)
            except Lost:
                self.outcomes["lost connection"] += 1
                self._later(waiting, random.uniform(0.5, 2.0))
        api.close()
        till.close()

    def _due(self) -> Waiting | None:
        """Return whoever is to look again, or else the next whose turn should have come."""
        if self._again and self._again[0][0] <= perf_counter():
            return heapq.heappop(self._again)[2]
        while self._next < min(self._queue.front, len(self._ranks)):
            waiting = self._ranks[self._next]
            self._next += 1
            if waiting.will != "abandon":
                return waiting
        return None

    def _later(self, waiting: Waiting, wait_s: float) -> None:
        due = (perf_counter() + wait_s, next(self._count), waiting)
        heapq.heappush(self._again, due)

    async def _look(self, api: Connection, waiting: Waiting) -> Seen | None:
        """Read an order as its shopper; None when it cannot be read now."""
        placed = waiting.placed
        answer = await api.request(
            encode_request("GET", f"/v1/orders/{placed.order_id}", token=placed.shopper.token)
        )
        self.looks += 1
        if answer.status != 200:
            self.outcomes[f"look: {answer.status}"] += 1
            return None
        seen = _decoder.decode(answer.body)
        quantity = sum(int(line["quantity"]) for line in seen.lines)
        self.read[placed.order_id] = quantity, int(seen.total["amount_minor"])
        self._queue.learn(waiting.rank, seen)
        return seen

    async def _serve_one(self, api: Connection, till: Connection, waiting: Waiting) -> None:
        if waiting.sends_contact:
            await self._give_contact(api, waiting)
        seen = await self._look(api, waiting)
        if seen is None or seen.state == "RESERVED":
            self._later(waiting, random.uniform(0.5, 1.5))
        elif seen.state == "AWAITING_PAYMENT" and _may_try(waiting, seen):
            await self._pay_one(api, till, waiting)
        else:
            self._follow(waiting, seen.state)

    def _follow(self, waiting: Waiting, state: str) -> None:
        """An order that is at Stripe, or done, one way or the other."""
        if state == "PAID":
            self._on_paid(waiting)
        elif state in ("EXPIRED", "CANCELLED", "REFUNDED"):
            self.outcomes[state.lower()] += 1
        else:
            self._later(waiting, random.uniform(0.7, 1.5))

    async def _pay_one(self, api: Connection, till: Connection, waiting: Waiting) -> None:
        if not waiting.token:
            waiting.token = await self._card_token(till, waiting)
        placed = waiting.placed
        body = msgspec.json.encode({"confirmation_token": waiting.token})
        path = f"/v1/orders/{placed.order_id}/pay"
        answer = await api.request(encode_request("POST", path, body, token=placed.shopper.token))
        if answer.status != 200:
            self._trouble(waiting, answer)
            return
        seen = _decoder.decode(answer.body)
        assert seen.payment is not None, "an answer to paying says where the payment stands"
        self.outcomes[seen.payment.status] += 1
        if seen.payment.status == "succeeded":
            self._on_paid(waiting)
        elif seen.payment.status == "declined":
            waiting.will, waiting.token = "pay", ""
            self._later(waiting, 0.0)
        elif seen.payment.status == "requires_action" and seen.payment.client_secret:
            await self._authenticate(till, seen.payment.client_secret)
            waiting.acted = True
            self._later(waiting, 0.5)
        else:
            self._later(waiting, random.uniform(0.5, 1.5))

    def _on_paid(self, waiting: Waiting) -> None:
        self.paid += 1
        self.outcomes["paid_by_" + waiting.will] += 1

    def _trouble(self, waiting: Waiting, answer: Answer) -> None:
        try:
            seen = _decoder.decode(answer.body)
        except msgspec.DecodeError:  # from something broken on the way
            seen = Seen(code="no_json")
        self.outcomes[f"{answer.status} {seen.code}"] += 1
        if answer.status in (429, 503) or seen.code == "not_your_turn":
            self._later(waiting, seen.retry_after_ms / 1000 * random.uniform(1.0, 1.5))
        elif answer.status >= 500:
            self._later(waiting, 1.0)

    async def _card_token(self, till: Connection, waiting: Waiting) -> str:
        cards = {"decline": DECLINED_CARD, "act": ACTION_CARD}
        number = cards.get(waiting.will, GOOD_CARD)
        card = {"number": number, "exp_month": "12", "exp_year": "2040", "cvc": "123"}
        fields = {"payment_method_data[type]": "card"}
        fields |= {f"payment_method_data[card][{name}]": text for name, text in card.items()}
        answer = await self._till_call(till, "/v1/confirmation_tokens", fields)
        return str(msgspec.json.decode(answer.body)["id"])

    async def _authenticate(self, till: Connection, client_secret: str) -> None:
        intent = client_secret.partition("_secret_")[0]
        fields = {"outcome": "succeed", "client_secret": client_secret}
        await self._till_call(till, f"/sandbox/payment_intents/{intent}/authenticate", fields)

    async def _till_call(self, till: Connection, path: str, fields: dict[str, str]) -> Answer:
        raw = encode_request(
            "POST",
            path,
            urlencode(fields).encode(),
            token=self._till.publishable_key,
            content_type="application/x-www-form-urlencoded",
        )
        answer = await till.request(raw)
        if answer.status != 200:
            raise Lost(f"the sandbox answers {answer.status}")
        return answer

    async def _give_contact(self, api: Connection, waiting: Waiting) -> None:
        waiting.sends_contact = False
        contact = {
            "name": f"Shopper {waiting.rank}",
            "contact": f"shopper{waiting.rank}@example.org",
            "address": f"{waiting.rank} Peanut Road\nZhengyang, Henan 463600",
        }
        path = f"/v1/orders/{waiting.placed.order_id}/contact"
        body = msgspec.json.encode(contact)
        answer = await api.request(
            encode_request("PUT", path, body, token=waiting.placed.shopper.token)
        )
        self.outcomes[f"contact {answer.status}"] += 1


def _may_try(waiting: Waiting, seen: Seen) -> bool:
    """Whether a card may be tried: not while the last try is in doubt, or its extra step on its way."""
    if seen.payment is None or seen.payment.status == "declined":
        return True
    return seen.payment.status == "requires_action" and not waiting.acted
