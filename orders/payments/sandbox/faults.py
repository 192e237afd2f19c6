"""The failures a test can order: what Stripe does on its bad days, on demand and counted."""

import random
from collections import deque

import msgspec

from orders.payments.sandbox.errors import ApiError, internal, outage, rate_limited


class HungUp(Exception):  # noqa: N818 - it says what the sandbox did
    """The connection is to end without an answer."""


class Faults(msgspec.Struct, forbid_unknown_fields=True):
    """All faults in force.

    `next_*` count down per call they hit; `endpoint` limits them to one, such as "POST /v1/payment_intents".
    `webhook_hold` keeps all new webhooks back, to be sent one by one in an order of the test's own choice; what is
    still held when it ends is sent at once. `outage_hangs_up` ends connections instead of answering 503.
    POST /sandbox/faults replaces the members it names and leaves the others.
    """

    webhook_loss: float = 0.0
    webhook_repeat: int = 0
    webhook_reorder: bool = False
    webhook_delay_ms: int = 0
    webhook_hold: bool = False
    next_timeout_after_effect: int = 0
    next_500_stored: int = 0
    next_500_after_effect: int = 0
    next_429: int = 0
    timeout_hold_ms: int = 60_000
    latency_ms: int = 0
    outage: bool = False
    outage_hangs_up: bool = False
    endpoint: str | None = None

    def changed_by(self, body: bytes) -> "Faults":
        """These faults with the members of a JSON body. Raises ApiError for anything that does not fit."""
        try:
            given = msgspec.json.decode(body, type=dict[str, object])
            faults = msgspec.convert(msgspec.structs.asdict(self) | given, Faults)
        except msgspec.MsgspecError as error:
            raise ApiError(400, f"Invalid faults: {error}") from error
        counts = (faults.next_timeout_after_effect, faults.next_500_stored, faults.next_429)
        more = (faults.next_500_after_effect, faults.webhook_repeat, faults.webhook_delay_ms)
        if (
            not 0 <= faults.webhook_loss <= 1
            or min(counts + more) < 0
            or faults.webhook_repeat > 100
        ):
            raise ApiError(400, "Invalid faults: a value is out of range.")
        if min(faults.latency_ms, faults.timeout_hold_ms) < 0 or faults.latency_ms > 600_000:
            raise ApiError(400, "Invalid faults: a value is out of range.")
        return faults

    def on_the_doorstep(self, endpoint: str) -> None:
        """Refuse the call before any work, when an outage or a 429 is ordered for it."""
        if not self._hits(endpoint):
            return
        if self.outage and self.outage_hangs_up:
            raise HungUp
        if self.outage:
            raise outage()
        if self.next_429 > 0:
            self.next_429 -= 1
            raise rate_limited(b"endpoint-rate")

    def before_effect(self, endpoint: str) -> None:
        """Answer 500 without any effect; an Idempotency-Key replays it all the same."""
        if self.next_500_stored > 0 and self._hits(endpoint):
            self.next_500_stored -= 1
            raise internal(stored=True)

    def after_effect(self, endpoint: str) -> tuple[bool, bool]:
        """Whether the call, having had its effect, (answers 500, gives no answer at all)."""
        if not self._hits(endpoint):
            return False, False
        if self.next_500_after_effect > 0:
            self.next_500_after_effect -= 1
            return True, False
        if self.next_timeout_after_effect > 0:
            self.next_timeout_after_effect -= 1
            return False, True
        return False, False

    def loses_webhook(self, dice: random.Random) -> bool:
        return self.webhook_loss > 0 and dice.random() < self.webhook_loss

    def _hits(self, endpoint: str) -> bool:
        return self.endpoint is None or self.endpoint == endpoint


class RateLimit:
    """At most `rate_per_s` calls of each endpoint in any second, counted exactly; 0 switches it off."""

    def __init__(self, rate_per_s: int) -> None:
        self._rate_per_s = rate_per_s
        self._recent: dict[str, deque[float]] = {}
        self.refused = 0

    def admit(self, endpoint: str, now_s: float) -> None:
        if self._rate_per_s == 0:
            return
        recent = self._recent.get(endpoint)
        if recent is None:
            recent = self._recent[endpoint] = deque(maxlen=self._rate_per_s)
        if len(recent) == self._rate_per_s and recent[0] > now_s - 1.0:
            self.refused += 1
            raise rate_limited(b"endpoint-rate")
        recent.append(now_s)
