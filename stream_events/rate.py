"""Rate limits by a token bucket in Redis, so that all processes of a deployment count together.

A bucket is named by a keyed hash, never by an address: nobody who reads Redis learns who was here. A bucket is one
instant that expires by itself, so a flood of addresses costs memory for one period only.
"""

import hashlib
import ipaddress
from functools import cache
from importlib import resources
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from stream_events.access import Signer
from stream_events.errors import Problem, unavailable

IPV6_PREFIX_BITS: Final = 64  # what one household or one rented machine is given


@cache
def _script() -> tuple[str, str]:
    source = resources.files("stream_events").joinpath("rate.lua").read_text("utf-8")
    return source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


def bucket_of(signer: Signer, purpose: str, address: str | None) -> str:
    """Return the bucket of an address: an IPv4 address, an IPv6 /64, or the one of all that have none."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        origin = "unknown"
    else:
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
            found = found.ipv4_mapped
        bits = found.max_prefixlen if found.version == 4 else IPV6_PREFIX_BITS
        origin = str(ipaddress.ip_network((found, bits), strict=False))
    # A claim has no dot; of the signature only the MAC is kept, which tells nothing without our secret.
    keyed = signer.sign("rate", hashlib.sha256(origin.encode()).hexdigest()).rpartition(".")[2]
    return f"rate:{purpose}:{keyed}"


async def take(redis: Redis, bucket: str, *, tokens_max: int, period_ms: int) -> int:
    """Take a token; return 0, or the milliseconds until there is one. ``tokens_max`` of 0 is no limit."""
    if tokens_max == 0:
        return 0
    source, sha = _script()
    arguments = (1, bucket, str(tokens_max), str(period_ms))
    try:
        wait_ms = await redis.evalsha(sha, *arguments)
    except NoScriptError:
        wait_ms = await redis.eval(source, *arguments)
    return int(wait_ms)


async def require(redis: Redis, bucket: str, *, tokens_max: int, period_ms: int) -> None:
    """Take a token; raises ``Problem`` 429 when there is none, and 503 when Redis cannot tell."""
    try:
        wait_ms = await take(redis, bucket, tokens_max=tokens_max, period_ms=period_ms)
    except (RedisError, OSError):
        raise unavailable("Requests cannot be counted right now; try again.") from None
    if wait_ms > 0:
        raise Problem(
            429, "rate_limited", "Too many requests; wait, then try again.", retry_after_ms=wait_ms
        )
