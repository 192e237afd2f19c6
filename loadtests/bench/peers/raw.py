"""Peer (d): ASGI itself. A constant answer without looking at the request: the most that this server can answer."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

Message = MutableMapping[str, Any]

ANSWER: Final = b'{"id":"ord_0","state":"RESERVED","place":1}'
HEADERS: Final = [
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(ANSWER)),
]


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Answer."""
    if scope["type"] == "http":
        while (await receive()).get("more_body"):
            continue
        await send({"type": "http.response.start", "status": 201, "headers": HEADERS})
        await send({"type": "http.response.body", "body": ANSWER})
