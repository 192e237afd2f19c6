"""What scripts of other sites may read: the public feed and what is around it, never with their readers' cookies.

We set no cookies and take credentials in the ``Authorization`` header or in a ticket only, so a foreign page can do here
what any program can. It is still no more than what a foreign page has a use for: the rest answers as if nobody asked.
"""

import re
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN: Final = re.compile(
    r"GET /v1/(?:feed|feed/events|asyncapi\.json|schemas/[^/]+|streams/[^/]+/(?:storefront|text|qr\.svg))"
    r"|GET /client/[^/]+"
    r"|POST /v1/socket-tickets"
)
ANY_ORIGIN: Final = (b"access-control-allow-origin", b"*")
READABLE: Final = (
    b"access-control-expose-headers",
    b"etag, retry-after, x-feed-live, x-server-time",
)
PREFLIGHT: Final = (
    ANY_ORIGIN,
    (b"access-control-allow-methods", b"GET, POST"),
    (
        b"access-control-allow-headers",
        b"authorization, content-type, if-none-match, last-event-id",
    ),
    (b"access-control-max-age", b"7200"),
    (b"content-length", b"0"),
)


class CrossOrigin:
    """ASGI around the app: lets pages of any origin read what ``OPEN`` names."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = dict(scope["headers"]).get(b"access-control-request-method", b"").decode("latin-1")
        preflight = scope["method"] == "OPTIONS" and asked
        method = "GET" if scope["method"] == "HEAD" else asked if preflight else scope["method"]
        if OPEN.fullmatch(f"{method} {scope['path']}") is None:
            await self._app(scope, receive, send)
            return
        if preflight:
            await send({"type": "http.response.start", "status": 204, "headers": list(PREFLIGHT)})
            await send({"type": "http.response.body", "body": b""})
            return

        async def opened(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], ANY_ORIGIN, READABLE]
            await send(message)

        await self._app(scope, receive, opened)
