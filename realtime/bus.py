"""Frames on their way to the gateways: fast, and allowed to fail, because every gateway also reads the rows itself."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from realtime.frames import CHANNEL, Frame, pack

log = structlog.get_logger(__name__)

PUBLISH_S_MAX: Final = 1.0
ANNOUNCED_AT: Final = "announced_at"
ANNOUNCED_S: Final = 60


async def publish_frames(
    redis: Redis, frames: Sequence[Frame], *, looked_at_ms: int | None = None
) -> None:
    """Put committed frames on the bus. A failure is only logged: every gateway reads the rows by itself soon.

    ``looked_at_ms`` is when an announcer looked at the books, changed or not.
    """
    try:
        async with asyncio.timeout(PUBLISH_S_MAX), redis.pipeline(transaction=False) as batch:
            if looked_at_ms is not None:
                batch.set(ANNOUNCED_AT, looked_at_ms, ex=ANNOUNCED_S)
            for message in pack(list(frames)):
                batch.publish(CHANNEL, message)
            await batch.execute()
    except (RedisError, OSError, TimeoutError) as error:
        log.warning("frames_not_published", frames=len(frames), error=type(error).__name__)


async def announced_at_ms(redis: Redis) -> int | None:
    """Return when an announcer last looked, changed or not; None if that is long ago."""
    value: Any = await redis.get(ANNOUNCED_AT)
    return None if value is None else int(value)
