"""Against card testing: thieves try stolen cards on small charities, and a crowd of payers is where they hide.

An order is good for three tries, and each try needs a held unit; beyond that it is counted here how tries end, for
a session, for an address and for a card, and over all. Normal traffic costs one look into Redis and no call to
Stripe; only where something looks wrong is a card's fingerprint asked for before the card is tried. Who is refused
hears nothing but "later". Names are keyed hashes, so that nobody who reads Redis learns who paid from where.

Memory is bounded: each kind is counted in two windows of at most ``NAMES_MAX`` names that vanish as a whole.
Nothing here is truth: without Redis nobody is refused.
"""

import hashlib
import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from stream_events.access import Signer
from stream_events.errors import Problem

log = structlog.get_logger(__name__)

WINDOW_MS: Final = 15 * 60_000
NAMES_MAX: Final = 20_000

# A shopper may have two orders whose three tries all fail; somebody with more has a pile of cards, not a bad one.
SESSION_DECLINES_MAX: Final = 6
# While cards are being tested a second card is still a shopper's, a third is not worth the risk.
SESSION_DECLINES_MAX_ALARMED: Final = 2
# Whole villages share an address, so only one whose cards are mostly declined is a tester's.
ADDRESS_DECLINES_MAX: Final = 20
ADDRESS_DECLINES_MAX_ALARMED: Final = 5
ADDRESS_DECLINED_PERCENT: Final = 50
# From here on an address is looked at more closely, which costs a call a payment.
ADDRESS_DECLINES_CLOSER: Final = 3
ADDRESS_DECLINED_PERCENT_CLOSER: Final = 25
# One card that its bank refused may be tried again; it is the same card for whoever holds it.
CARD_DECLINES_MAX: Final = 3
CARD_DECLINES_MAX_ALARMED: Final = 1
# About one card in ten is declined on a good day; of tested ones five in six.
ALARM_OUTCOMES_MIN: Final = 30
ALARM_DECLINED_PERCENT: Final = 40
ALARM_LOOK_MS: Final = 60_000
ALARM_HOLD_MS: Final = 120_000

# As much as is cheaply one tester's own: a rented IPv4 block, and the /48 that tunnels and hosts hand out for nothing
# and whose 65,536 networks would otherwise be as many addresses.
IPV4_PREFIX_BITS: Final = 24
IPV6_PREFIX_BITS: Final = 48

_KEYS: Final = "{card-testing}"


@dataclass(frozen=True, slots=True)
class Presented:
    """Who tries a card, from where, and which card (empty while nobody asked): keyed hashes."""

    session: str
    address: str
    card: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """How tries ended lately; ``alarm_ms`` is for how long the alarm over all stays up."""

    alarm_ms: int = 0
    session_declines: int = 0
    address_declines: int = 0
    address_outcomes: int = 0
    card_declines: int = 0

    @property
    def refused(self) -> str | None:
        """Return what is wrong, for our log, or None."""
        alarmed = self.alarm_ms > 0
        if self.session_declines >= (
            SESSION_DECLINES_MAX_ALARMED if alarmed else SESSION_DECLINES_MAX
        ):
            return "session"
        declines_max = ADDRESS_DECLINES_MAX_ALARMED if alarmed else ADDRESS_DECLINES_MAX
        if self.address_declines >= declines_max and self._declined(ADDRESS_DECLINED_PERCENT):
            return "address"
        if self.card_declines >= (CARD_DECLINES_MAX_ALARMED if alarmed else CARD_DECLINES_MAX):
            return "card"
        return None

    @property
    def closer(self) -> bool:
        """Return whether the card should be known before it is tried."""
        address = self.address_declines >= ADDRESS_DECLINES_CLOSER
        return (
            self.alarm_ms > 0
            or self.session_declines > 0
            or (address and self._declined(ADDRESS_DECLINED_PERCENT_CLOSER))
        )

    def _declined(self, percent: int) -> bool:
        return self.address_declines * 100 >= percent * self.address_outcomes


class CardTesting:
    """The breakers: ``look`` before a card is tried, ``count`` when it is known how that ended."""

    def __init__(
        self, redis: Redis, signer: Signer, *, clock_ms: Callable[[], int] | None = None
    ) -> None:
        self._redis = redis
        self._signer = signer
        self._clock_ms = clock_ms or _now_ms

    def presented(self, session: str, address: str | None, card: str | None = None) -> Presented:
        """Name who tries a card without saying who it is."""
        return Presented(
            self._hashed("session", session),
            self._hashed("address", prefix_of(address)),
            self._hashed("card", card) if card else "",
        )

    async def look(self, who: Presented) -> Seen:
        """Return how their tries ended. Raises ``Problem`` 429 ``pay_later`` when they must not try now."""
        now_ms = self._clock_ms()
        try:
            seen = Seen(*await self._run("look", who, now_ms))
        except (RedisError, OSError) as error:
            log.warning("card_testing_blind", error=type(error).__name__)
            return Seen()
        if (what := seen.refused) is not None:
            log.info("card_testing_refused", what=what, alarm=seen.alarm_ms > 0)
            # Declines of this window are forgotten with the end of the next one, at the latest.
            window_ms = 2 * WINDOW_MS - now_ms % WINDOW_MS
            raise Problem(
                429,
                "pay_later",
                "Paying is slowed down right now; your units stay held. Try again later.",
                retry_after_ms=min(seen.alarm_ms, window_ms) if seen.alarm_ms else window_ms,
            )
        return seen

    async def count(self, who: Presented, *, declined: bool) -> None:
        """Remember how a try ended. Losing it costs us an eye, so it never fails a payment."""
        try:
            [raised] = await self._run("count", who, self._clock_ms(), int(declined))
        except (RedisError, OSError) as error:
            log.warning("card_testing_uncounted", error=type(error).__name__)
            return
        if raised:
            log.error("card_testing_alarm", hold_ms=ALARM_HOLD_MS)

    def _hashed(self, kind: str, name: str) -> str:
        digest = hashlib.sha256(f"{kind}\n{name}".encode()).hexdigest()
        return self._signer.sign("card-testing", digest).rpartition(".")[2]

    async def _run(self, verb: str, who: Presented, now_ms: int, declined: int = 0) -> list[int]:
        window = now_ms // WINDOW_MS
        keys = [f"{_KEYS}:all"]
        for kind in ("session", "address", "card"):
            keys += [f"{_KEYS}:{kind}:{window}", f"{_KEYS}:{kind}:{window - 1}"]
        arguments = (
            verb,
            now_ms,
            who.session,
            who.address,
            who.card,
            declined,
            NAMES_MAX,
            2 * WINDOW_MS,
            ALARM_LOOK_MS,
            ALARM_HOLD_MS,
            ALARM_OUTCOMES_MIN,
            ALARM_DECLINED_PERCENT,
        )
        source, sha = _script()
        try:
            answer = await self._redis.evalsha(sha, len(keys), *keys, *map(str, arguments))
        except NoScriptError:
            answer = await self._redis.eval(source, len(keys), *keys, *map(str, arguments))
        return [int(value) for value in answer]


def prefix_of(address: str | None) -> str:
    """Return the network of an address that one tester may well have all of; one for all that have none."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    bits = IPV4_PREFIX_BITS if found.version == 4 else IPV6_PREFIX_BITS
    return str(ipaddress.ip_network((found, bits), strict=False))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@cache
def _script() -> tuple[str, str]:
    source = resources.files("orders.payments").joinpath("lua/card_testing.lua").read_text("utf-8")
    return source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
