"""Sends events to our webhook endpoint as Stripe does: signed, at least once, in no promised order.

Delivery is the sandbox's busiest work; the lean client of the gateway carries it too.
"""

import asyncio
import heapq
import hmac
import random
import time
from collections.abc import Iterable
from hashlib import sha256
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit

import msgspec

from orders.payments.kept_connections import AnswerLostError, KeptConnections, NotSentError
from orders.payments.sandbox.books import Books
from orders.payments.sandbox.config import SandboxConfig
from orders.payments.sandbox.errors import ApiError, no_such
from orders.payments.sandbox.faults import Faults
from orders.payments.sandbox.records import Event

REORDER_SPREAD_MS = 300
OUTAGE_PAUSE_MS = 200


class Script(msgspec.Struct, forbid_unknown_fields=True):
    """What POST /sandbox/webhooks asks for."""

    deliver: Annotated[list[str], msgspec.Meta(max_length=1_000)] = []
    drop: Annotated[list[str], msgspec.Meta(max_length=1_000)] = []


class _Named(msgspec.Struct):
    id: str = ""


class Due(NamedTuple):
    """One sending of one event: `repeat` marks the needless copies that the fault orders."""

    at_s: float
    tie: int
    event_id: str
    attempt: int
    repeat: bool


class Deliveries:
    """The schedule of sendings and the workers that send what is due, `webhook_concurrency_max` at a time."""

    def __init__(self, config: SandboxConfig, books: Books, faults: Faults) -> None:
        self._config = config
        self._books = books
        self.faults = faults
        self.attempts = 0
        self.refused = 0
        # Seeded, so that a run that found a fault can be repeated; nothing is kept secret by it.
        self._dice = random.Random(config.dice_seed)  # noqa: S311
        self._schedule: list[Due] = []
        self._ties = 0
        self._wake = asyncio.Event()
        self._ready: asyncio.Queue[Due] = asyncio.Queue(config.webhook_concurrency_max)
        self._in_flight = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.held: dict[str, None] = {}
        self._encoder = msgspec.json.Encoder()
        url = urlsplit(config.webhook_url or "http://127.0.0.1")
        # The name localhost is not resolved: nothing here may ask a name server.
        host = "127.0.0.1" if url.hostname == "localhost" else url.netloc.rpartition(":")[0]
        self._target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self._connections = KeptConnections(
            f"http://{host or url.netloc}:{url.port or 80}",
            connections_max=config.webhook_concurrency_max,
            timeout_s=config.webhook_timeout_ms / 1000,
            connect_timeout_s=config.webhook_timeout_ms / 1000,
        )

    def start(self) -> None:
        """Begin sending, first what an earlier run of the same journal left unsent."""
        if self._config.webhook_url is None:
            return
        self.add(
            event
            for event_id, event in self._books.events.by_id.items()
            if event_id not in self._books.delivered and event_id not in self._books.undelivered
        )
        self._tasks.append(asyncio.create_task(self._hand_out()))
        for _ in range(self._config.webhook_concurrency_max):
            self._tasks.append(asyncio.create_task(self._send_due()))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._connections.aclose()

    def pending(self) -> int:
        return len(self._schedule) + self._ready.qsize() + self._in_flight

    def add(self, events: Iterable[Event]) -> None:
        """Take events into the schedule, or lose them when the fault says so."""
        if self._config.webhook_url is None:
            return
        for event in events:
            if event.type not in self._config.webhook_events:
                continue
            if self.faults.loses_webhook(self._dice):
                self._books.note_undelivered(event.id)
                continue
            if self.faults.webhook_hold:
                self.held[event.id] = None
                continue
            self._push(event.id, attempt=1, delay_ms=self._delay_ms(), repeat=False)

    def release(self) -> None:
        """Send what was held back, in the order in which it happened."""
        for event_id in self.held:
            self._push(event_id, attempt=1, delay_ms=self._delay_ms(), repeat=False)
        self.held.clear()

    def shown(self) -> bytes:
        """What is held back, oldest first."""
        found = [self._books.events.by_id[event_id] for event_id in self.held]
        return self._encoder.encode(
            {
                "held": [
                    {
                        "id": event.id,
                        "type": event.type,
                        "object_id": msgspec.json.decode(event.data.object, type=_Named).id,
                    }
                    for event in found
                ]
            }
        )

    async def obey(self, body: bytes) -> bytes:
        """A test's own order of webhooks. Raises ApiError.

        Each of `deliver` is sent once, one after the other, held or sent before; each of `drop` is never sent.
        """
        try:
            script = msgspec.json.decode(body, type=Script)
        except msgspec.MsgspecError as error:
            raise ApiError(400, f"Invalid script: {error}") from error
        for event_id in (*script.deliver, *script.drop):
            if event_id not in self._books.events.by_id:
                raise no_such("event", event_id)
        if self._config.webhook_url is None:
            raise ApiError(400, "The sandbox has no webhook endpoint to deliver to.")
        statuses: list[int | None] = []
        for event_id in script.deliver:
            status = await self._sent(event_id)
            statuses.append(status)
            if status is not None and 200 <= status < 300:
                self.held.pop(event_id, None)
                self._books.note_delivered(event_id)
        for event_id in script.drop:
            self.held.pop(event_id, None)
            self._books.note_undelivered(event_id)
        return self._encoder.encode({"statuses": statuses, "held": list(self.held)})

    def _delay_ms(self) -> int:
        spread_ms = self._dice.randrange(REORDER_SPREAD_MS) if self.faults.webhook_reorder else 0
        return self.faults.webhook_delay_ms + spread_ms

    def _push(self, event_id: str, attempt: int, delay_ms: int, *, repeat: bool) -> None:
        self._ties += 1
        due = Due(time.monotonic() + delay_ms / 1000, self._ties, event_id, attempt, repeat)
        heapq.heappush(self._schedule, due)
        self._wake.set()

    async def _hand_out(self) -> None:
        while True:
            while self._schedule and self._schedule[0].at_s <= time.monotonic():
                await self._ready.put(heapq.heappop(self._schedule))
            self._wake.clear()
            wait_s = self._schedule[0].at_s - time.monotonic() if self._schedule else None
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _send_due(self) -> None:
        while True:
            due = await self._ready.get()
            self._in_flight += 1
            try:
                await self._send(due)
            finally:
                self._in_flight -= 1

    async def _send(self, due: Due) -> None:
        if self.faults.outage:
            self._push(due.event_id, due.attempt, OUTAGE_PAUSE_MS, repeat=due.repeat)
            return
        status = await self._sent(due.event_id)
        if status is not None and 200 <= status < 300:
            self._succeeded(due)
        else:
            self.refused += 1
            self._retry(due)

    async def _sent(self, event_id: str) -> int | None:
        """The endpoint's status, or None when it gave none."""
        body = self._encoder.encode(self._books.events.by_id[event_id])
        headers = {
            "accept": "*/*",
            "content-type": "application/json; charset=utf-8",
            "stripe-signature": self._signature(body),
            "user-agent": "Stripe/1.0 (sandbox)",
        }
        self.attempts += 1
        try:
            answer = await self._connections.request("POST", self._target, headers, body)
        except (NotSentError, AnswerLostError):
            return None
        return answer.status

    def _succeeded(self, due: Due) -> None:
        if due.repeat:
            return
        self._books.note_delivered(due.event_id)
        for _ in range(self.faults.webhook_repeat):
            self._push(due.event_id, 1, self._delay_ms(), repeat=True)

    def _retry(self, due: Due) -> None:
        if due.attempt >= self._config.webhook_attempts_max:
            if not due.repeat:
                self._books.note_undelivered(due.event_id)
            return
        delay_ms = self._config.webhook_retry_base_ms << (due.attempt - 1)
        delay_ms = min(delay_ms, self._config.webhook_retry_max_ms)
        self._push(due.event_id, due.attempt + 1, delay_ms, repeat=due.repeat)

    def _signature(self, body: bytes) -> str:
        """The Stripe-Signature header, in true time: a moved sandbox clock must not age a signature."""
        timestamp = str(int(time.time()))
        message = timestamp.encode() + b"." + body
        marks = [
            "v1=" + hmac.new(secret.encode(), message, sha256).hexdigest()
            for secret in self._config.webhook_secrets
        ]
        return ",".join([f"t={timestamp}", *marks])
