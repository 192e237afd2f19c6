"""How many people watch: each gateway says it every two seconds, and what it said lapses when it falls silent."""

import time
from collections.abc import Mapping
from typing import Final

from redis.asyncio import Redis

from realtime.frames import KINDS

GATEWAYS: Final = "viewers"
LAPSE_S: Final = 10
GATEWAYS_MAX: Final = 1_000


async def report_viewers(
    redis: Redis, gateway_id: str, counts: Mapping[tuple[str, str], int]
) -> None:
    """Replace what ``gateway_id`` said of its viewers, ``{(stream id, kind): n}``, until it lapses."""
    key = f"{GATEWAYS}:{gateway_id}"
    now = int(time.time())
    async with redis.pipeline(transaction=True) as batch:
        batch.delete(key)
        if counts:
            batch.hset(key, mapping={f"{stream}|{kind}": n for (stream, kind), n in counts.items()})
            batch.expire(key, LAPSE_S)
        batch.zadd(GATEWAYS, {gateway_id: now})
        batch.zremrangebyscore(GATEWAYS, "-inf", now - LAPSE_S)
        await batch.execute()


async def viewers_of(redis: Redis, stream_id: str) -> dict[str, int]:
    """Return how many viewers of each kind watch a stream, over all gateways that spoke lately."""
    since = int(time.time()) - LAPSE_S
    gateways: list[bytes] = await redis.zrange(  # type: ignore[assignment]  # without scores it is a list of members
        GATEWAYS, since, "+inf", byscore=True, offset=0, num=GATEWAYS_MAX
    )
    totals = dict.fromkeys(KINDS, 0)
    async with redis.pipeline(transaction=False) as batch:
        for gateway in gateways:
            fields = [f"{stream_id}|{kind}" for kind in KINDS]
            batch.hmget(f"{GATEWAYS}:{gateway.decode()}", fields)
        for values in await batch.execute():
            for kind, value in zip(KINDS, values, strict=True):
                totals[kind] += int(value or 0)
    return totals
