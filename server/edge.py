"""What every HTTP answer has in common, put on at the edge in plain ASGI.

A bound on bodies, the server's clock for countdowns, and headers that keep browsers from guessing.
"""

import time

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stream_events.errors import Problem, respond

BODY_BYTES_MAX = 256 * 1024


class Edge:
    """ASGI around the app: bounds bodies, adds the headers that every answer carries."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > BODY_BYTES_MAX:
            problem = Problem(413, "too_long", f"A body has at most {BODY_BYTES_MAX} bytes.")
            await respond(problem)(scope, receive, send)
            return
        read = 0

        async def bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > BODY_BYTES_MAX:
                # Of what is raised inside ``receive`` FastAPI lets only its own kind through.
                raise HTTPException(413, f"A body has at most {BODY_BYTES_MAX} bytes.")
            return message

        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"x-server-time", b"%d" % (time.time_ns() // 1_000_000)),
                    *_missing(message["headers"], scope["path"]),
                ]
            await send(message)

        await self._app(scope, bounded, stamped)


def _missing(headers: list[tuple[bytes, bytes]], path: str) -> list[tuple[bytes, bytes]]:
    names = {name.lower() for name, _ in headers}
    wanted = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
    if path.startswith("/v1/"):
        # Answers may hold a client secret or an address: whoever wants one kept says so itself.
        wanted.append((b"cache-control", b"no-store"))
    return [(name, value) for name, value in wanted if name not in names]
