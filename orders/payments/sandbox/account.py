"""One test account at work: idempotency, faults, effects and their journal line, in the order Stripe has them."""

import asyncio
import hashlib
import os
from collections.abc import Callable
from typing import Any

import msgspec

from orders.payments.sandbox import checkouts, intents, refunds
from orders.payments.sandbox.books import Books
from orders.payments.sandbox.calls import Call
from orders.payments.sandbox.clock import Clock
from orders.payments.sandbox.config import SandboxConfig
from orders.payments.sandbox.deliveries import Deliveries
from orders.payments.sandbox.errors import ApiError, internal
from orders.payments.sandbox.faults import Faults, RateLimit
from orders.payments.sandbox.forms import texts
from orders.payments.sandbox.journal import FileJournal, NoJournal
from orders.payments.sandbox.reads import expanded, refuse_unexpandable
from orders.payments.sandbox.records import StoredAnswer

Effect = Callable[[Books, Call], Any]
SETTLE_EVERY_S = 0.05
KEY_CHARS_MAX = 255


class Answer(msgspec.Struct):
    """What goes back to the caller; `withheld_ms` above 0 means that it never arrives."""

    status: int
    body: bytes
    replayed: bool = False
    headers: tuple[tuple[bytes, bytes], ...] = ()
    withheld_ms: int = 0


class Account:
    """The sandbox's state and rules without any HTTP around them."""

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self.faults = Faults()
        self.rate = RateLimit(config.rate_per_s)
        self.replays = 0
        journal = FileJournal(config.journal_path) if config.journal_path else NoJournal()
        self.books = Books(journal, Clock())
        self.deliveries = Deliveries(config, self.books, self.faults)
        self._encoder = msgspec.json.Encoder()
        self._keys_in_use: set[str] = set()
        self._settling: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.deliveries.start()
        self._settling = asyncio.create_task(self._settle_for_ever())

    async def stop(self) -> None:
        if self._settling:
            self._settling.cancel()
            await asyncio.gather(self._settling, return_exceptions=True)
        await self.deliveries.stop()
        self.books.close()

    def set_faults(self, faults: Faults) -> None:
        self.faults = self.deliveries.faults = faults
        if not faults.webhook_hold:
            self.deliveries.release()

    def call(self, endpoint: str, object_id: str, params: dict[str, Any]) -> Call:
        return Call(
            endpoint=endpoint,
            object_id=object_id,
            params=params,
            now_s=self.books.clock.now_s(),
            request_id=f"req_{os.urandom(8).hex()}",
            objects_max=self.config.objects_max,
            processing_delay_ms=self.config.processing_delay_ms,
            refund_delay_ms=self.config.refund_delay_ms,
            expand=texts(params, "expand"),
        )

    def read(self, effect: Effect, call: Call) -> Answer:
        """A GET. Raises ApiError."""
        refuse_unexpandable(call)
        return Answer(200, self._encode(effect(self.books, call), call))

    async def write(self, effect: Effect, call: Call, key: str | None, form: bytes) -> Answer:
        """A POST: once per Idempotency-Key, whatever happens to the answer on its way. Raises ApiError."""
        if key is None:
            return await self._perform(effect, call, None, "")
        if not 1 <= len(key) <= KEY_CHARS_MAX:
            raise ApiError(400, "Idempotency-Key holds 1 to 255 characters.")
        fingerprint = hashlib.sha256(call.endpoint.encode() + b"\0" + form).hexdigest()
        fingerprint = f"{call.object_id}:{fingerprint}"
        if key in self._keys_in_use:
            raise ApiError(
                409,
                "There is currently another in-progress request using this Idempotent Key.",
                error_type="idempotency_error",
                code="idempotency_key_in_use",
                headers=((b"stripe-should-retry", b"true"),),
            )
        stored = self.books.answer_of(key)
        if stored is not None:
            return self._replay(stored, call, fingerprint)
        self._keys_in_use.add(key)
        try:
            return await self._perform(effect, call, key, fingerprint)
        finally:
            self._keys_in_use.discard(key)

    def _replay(self, stored: StoredAnswer, call: Call, fingerprint: str) -> Answer:
        if stored.endpoint != call.endpoint or stored.fingerprint != fingerprint:
            raise ApiError(
                400,
                "Keys for idempotent requests can only be used with the same endpoint and parameters "
                "they were first used with.",
                error_type="idempotency_error",
            )
        self.replays += 1
        return Answer(stored.status, stored.body.encode(), replayed=True)

    async def _perform(
        self, effect: Effect, call: Call, key: str | None, fingerprint: str
    ) -> Answer:
        if self.faults.latency_ms and call.ours:
            await asyncio.sleep(self.faults.latency_ms / 1000)
        answer, stored = self._effect(effect, call)
        failed, unanswered = False, False
        if stored and call.ours:
            failed, unanswered = self.faults.after_effect(call.endpoint)
        if failed:
            answer = Answer(500, internal(stored=True).body())
        kept = None
        if key is not None and stored:
            now_s = self.books.clock.now_s()
            body = answer.body.decode()
            kept = StoredAnswer(key, call.endpoint, fingerprint, now_s, answer.status, body)
        # From the first change in the effect to here nothing awaits: what is done is written down.
        self.deliveries.add(self.books.commit(call.request_id, kept))
        if unanswered:
            answer.withheld_ms = self.faults.timeout_hold_ms
        return answer

    def _effect(self, effect: Effect, call: Call) -> tuple[Answer, bool]:
        """The answer, and whether it is one that a key keeps."""
        try:
            refuse_unexpandable(call)
            if call.ours:
                self.faults.before_effect(call.endpoint)
            return Answer(200, self._encode(effect(self.books, call), call)), True
        except ApiError as error:
            if not error.stored and self.books.discard():
                raise RuntimeError(
                    "a call was refused on the doorstep after it changed something"
                ) from error
            return Answer(error.status, error.body(), headers=error.headers), error.stored
        except Exception:
            # A fault of the sandbox itself; its half-made notes must not join the next call's.
            self.books.discard()
            raise

    def _encode(self, found: Any, call: Call) -> bytes:
        return self._encoder.encode(expanded(self.books, found, call.expand))

    async def _settle_for_ever(self) -> None:
        """Bring to their end the intents that are processing and the refunds whose fate comes later."""
        while True:
            await asyncio.sleep(SETTLE_EVERY_S)
            self._settle_due(self.books.clock.now_ms())

    def _settle_due(self, now_ms: int) -> None:
        now_s = self.books.clock.now_s()
        for intent_id, record in self.books.waiting_intents():
            if record.settles_at_ms is not None and record.settles_at_ms <= now_ms:
                intents.settle_due(self.books, intent_id, now_s)
        for refund_id, waiting in self.books.waiting_refunds():
            if waiting.settles_at_ms is not None and waiting.settles_at_ms <= now_ms:
                refunds.settle_due(self.books, refund_id)
        checkouts.expire_due(self.books, now_s)
        self.deliveries.add(self.books.commit(None, None))

    def advance_clock(self, ahead_s: int) -> None:
        """Move the account's time, and with it at once all that was to happen by then."""
        self.books.advance_clock(ahead_s)
        self._settle_due(self.books.clock.now_ms())
