"""A peer: Django Channels with channels_redis, a group of consumers, as its documentation and the best trackers have it."""

# Only the peers' own environment has these packages.
# mypy: disable-error-code="import-not-found,import-untyped,misc"

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from django.conf import settings

from loadtests.bench.peers.fanout_stdin import follow

GROUP = "stream"

settings.configure(
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            # It waits for messages in reads without end, which the client's own timeout would cut.
            "CONFIG": {
                "hosts": [{"address": os.environ["BENCH_REDIS_URL"], "socket_timeout": None}]
            },
        }
    }
)

Message = MutableMapping[str, Any]


class Viewer(AsyncWebsocketConsumer):
    """Somebody who watches."""

    async def connect(self) -> None:
        """Let it in, and into the group."""
        await self.channel_layer.group_add(GROUP, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:  # noqa: ARG002 - Channels names it so
        """Take it out of the group."""
        await self.channel_layer.group_discard(GROUP, self.channel_name)

    async def frame(self, event: dict[str, str]) -> None:
        """Pass on what was sent to the group."""
        await self.send(text_data=event["text"])


async def tell(text: str) -> None:
    """Send a frame to the group."""
    await get_channel_layer().group_send(GROUP, {"type": "frame", "text": text})


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Follow what there is to tell while the server runs, and serve viewers."""
    if scope["type"] == "websocket":
        await Viewer.as_asgi()(scope, receive, send)
    elif scope["type"] == "lifespan":
        await receive()
        following = asyncio.create_task(follow(tell))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        following.cancel()
        await send({"type": "lifespan.shutdown.complete"})
