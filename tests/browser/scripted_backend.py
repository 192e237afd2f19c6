"""A backend that says exactly what a test tells it to, so that every state of a page can be looked at.

It speaks our HTTP and socket contract on one port and serves the real pages. What the pages make of a real server
is the journey's business (``journeys``); this one shows the rare moments: sold out while held, an answer that
never came, a declined card, a gateway that falls silent.
"""

import asyncio
import contextlib
import json
import socket as socketlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import segno
import uvicorn
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse, Response, StreamingResponse

from realtime.pages_routes import install
from stream_events.access import Signer
from stream_events.links import Links
from tests.browser.story import OPTIONS, ORDER

STREAM = "str_peanuts"
EPOCH = 1_700_000_000_000

RULES = {"mode": "one_pass", "blocked": [], "allowed": [], "message_graphemes_max": 200}
STRIPE_JS = """
window.Stripe = () => ({
  elements: (options) => {
    document.documentElement.dataset.methods = options.paymentMethodTypes.join();
    return {
      create: () => ({ mount: (node) => node.append(document.createElement("input")) }),
      submit: async () => ({}),
    };
  },
  createConfirmationToken: async () => ({ confirmationToken: { id: "ctoken_test" } }),
  handleNextAction: async () => ({ paymentIntent: { status: "succeeded" } }),
});
"""

HELLO = json.dumps({"t": "hello", "epoch": 1, "build": "b", "at": 0})
Reply = tuple[int, dict[str, Any]]


@dataclass
class Backend:
    """What the server says now, and what it was asked. Tests change it while a page is open."""

    base: str = ""
    storefront: dict[str, Any] = field(default_factory=dict)
    topics: dict[str, dict[str, Any]] = field(default_factory=dict)
    replies: dict[tuple[str, str], Callable[[dict[str, Any]], Reply]] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    silent: bool = False
    # "open", "dumb" (taken, and not a word said), or "refused"; how many were asked for, and event streams that go on.
    socket: str = "open"
    sockets_asked: int = 0
    streams: int = 0
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    sockets: dict[WebSocket, list[str]] = field(default_factory=dict)

    async def say(self, topic: str, **state: Any) -> None:
        """Publish the next version of a topic to all who watch it."""
        version = self.topics.get(topic, {}).get("version", 0) + 1
        await self.send(topic, EPOCH, version, state)

    async def send(self, topic: str, epoch: int, version: int, state: dict[str, Any]) -> None:
        """Publish a frame as it is given, also one that is older than the last."""
        frame = {
            "t": "state",
            "topic": topic,
            "epoch": epoch,
            "version": version,
            "at": int(time.time() * 1000),
            "seq": state.get("seq"),
            "state": state,
        }
        self.topics[topic] = frame
        for socket, topics in list(self.sockets.items()):
            if topic in topics:
                with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                    await socket.send_text(json.dumps(frame))

    async def cut(self) -> None:
        """Close all sockets, as a gateway does that stops."""
        for socket in list(self.sockets):
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await socket.close(1012)

    def reply(self, method: str, path: str, *answers: Reply) -> None:
        """Answer a call with each of ``answers`` in turn, the last one for ever."""
        left = list(answers)
        self.replies[method, path] = lambda _: left.pop(0) if len(left) > 1 else left[0]

    def calls(self, method: str, path: str) -> list[tuple[dict[str, str], Any]]:
        """Return headers and body of every call of that kind so far."""
        return [(headers, body) for m, p, headers, body in self.asked if (m, p) == (method, path)]


def make_app(backend: Backend) -> FastAPI:
    """Make the ASGI application that plays ``backend``."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        yield {"signer": Signer(b"x" * 32), "database": None, "links": _links(backend)}

    app = FastAPI(lifespan=lifespan, openapi_url=None)

    @app.get("/stripe.js")
    def stripe_js() -> Response:
        return Response(STRIPE_JS, media_type="text/javascript")

    _add_socket(app, backend)
    _add_feed(app, backend)

    @app.api_route("/v1/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    async def api(path: str, request: Request) -> Response:
        raw = await request.body()
        body = json.loads(raw) if raw else None
        backend.asked.append((request.method, path, dict(request.headers), body))
        status, answer = _answer(backend, request.method, path, body)
        headers = {"x-server-time": str(int(time.time() * 1000))}
        return JSONResponse(answer, status, headers=headers)

    install(app)
    return app


def _links(backend: Backend) -> Links:
    return Links(
        public_url=backend.base,
        gateway_url=backend.base.replace("http", "ws") + "/socket",
        stripe_publishable_key="pk_test",
        stripe_js_url=backend.base + "/stripe.js",
        stripe_origins=(backend.base,),
        mode="sandbox",
    )


def _add_socket(app: FastAPI, backend: Backend) -> None:
    """Serve the socket: what stands first, then what is said, and a beat a second."""

    @app.websocket("/socket")
    async def socket(websocket: WebSocket) -> None:
        backend.sockets_asked += 1
        if backend.socket == "refused":
            await websocket.close()
            return
        await websocket.accept(subprotocol="stream-events.v1")
        topics = json.loads(await websocket.receive_text())["ticket"].split()
        while backend.socket == "dumb":  # noqa: ASYNC110 - a test tells by this word alone
            await asyncio.sleep(0.02)
        await websocket.send_text(HELLO)
        for topic in topics:
            if topic in backend.topics:
                await websocket.send_text(json.dumps(backend.topics[topic]))
        backend.sockets[websocket] = topics
        try:
            while not await _stops_within(backend, 1):
                if not backend.silent:
                    beat = {"t": "beat", "at": int(time.time() * 1000)}
                    await websocket.send_text(json.dumps(beat))
        except (RuntimeError, WebSocketDisconnect):
            return
        finally:
            backend.sockets.pop(websocket, None)


async def _stops_within(backend: Backend, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(backend.stopping.wait(), seconds)
    return backend.stopping.is_set()


def _add_feed(app: FastAPI, backend: Backend) -> None:
    """Serve the frames over plain HTTP too, and the code that leads to the shop."""

    @app.get("/v1/feed/events")
    async def events(topics: str = "", ticket: str = "") -> Response:
        backend.asked.append(("GET", "feed/events", {}, topics))
        watched = ticket.split() or topics.split(",")
        return StreamingResponse(_events(backend, watched), media_type="text/event-stream")

    @app.get("/v1/feed")
    async def feed(topics: str, request: Request, wait: float = 0) -> Response:
        backend.asked.append(("GET", "feed", dict(request.headers), topics))
        etag = ""
        for _ in range(int(wait * 20) + 1):
            frames = [backend.topics[name] for name in topics.split(",") if name in backend.topics]
            etag = '"' + ".".join(str(frame["version"]) for frame in frames) + '"'
            if request.headers.get("if-none-match") != etag:
                return JSONResponse({"frames": frames}, headers={"etag": etag})
            await asyncio.sleep(0.05)
        return Response(status_code=304, headers={"etag": etag})

    @app.get(f"/v1/streams/{STREAM}/qr.svg")
    def qr() -> Response:
        text = segno.make(f"{backend.base}/shop/{STREAM}", micro=False).svg_inline(
            scale=8, border=0
        )
        text = text.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        return Response(text, media_type="image/svg+xml")


async def _events(backend: Backend, topics: list[str]) -> AsyncIterator[str]:
    sent: dict[str, Any] = {}
    backend.streams += 1
    try:
        yield f"data: {HELLO}\n\n"
        while not backend.stopping.is_set():
            for name in topics:
                frame = backend.topics.get(name)
                if frame is not None and sent.get(name) != frame:
                    sent[name] = frame
                    yield f"data: {json.dumps(frame)}\n\n"
            await asyncio.sleep(0.05)
    finally:
        backend.streams -= 1


def _answer(backend: Backend, method: str, path: str, body: Any) -> Reply:
    scripted = backend.replies.get((method, path))
    if scripted is not None:
        return scripted(body)
    known: dict[tuple[str, str], Reply] = {
        ("GET", "meta"): (200, {"mode": "sandbox", "stripe_publishable_key": "pk_test"}),
        ("POST", "shoppers"): (201, {"shopper_id": "shp_1", "token": "shopper-token"}),
        ("POST", "socket-tickets"): (201, _ticket(backend, body)),
        ("GET", f"streams/{STREAM}/storefront"): (200, backend.storefront),
        ("GET", f"orders/{ORDER}/payment-options"): (200, OPTIONS),
        ("GET", f"orders/{ORDER}/refund-requests"): (200, {"items": [], "next": None}),
        ("GET", f"streams/{STREAM}/refund-requests"): (200, {"items": [], "next": None}),
        ("GET", f"streams/{STREAM}/review"): (200, {"items": [], "next": None}),
        ("GET", f"streams/{STREAM}/moderation"): (200, RULES),
        ("GET", f"streams/{STREAM}/reading"): (200, {"items": [], "next": None}),
        ("GET", f"streams/{STREAM}/alert-groups"): (200, {"items": [{"name": "main"}]}),
        ("GET", f"streams/{STREAM}/rehearsal"): (200, {"of_stream_id": None}),
    }
    missing = {"status": 404, "code": "not_found", "detail": "There is no such thing here."}
    return known.get((method, path), (404, missing))


def _ticket(backend: Backend, body: Any) -> dict[str, Any]:
    gateway_url = backend.base.replace("http", "ws") + "/socket"
    return {
        "ticket": " ".join((body or {}).get("topics", [])),
        "gateway_url": gateway_url,
        "expires_in_s": 60,
    }


@contextlib.asynccontextmanager
async def serving(backend: Backend) -> AsyncIterator[Backend]:
    """Serve ``backend`` on a port of its own until the block ends."""
    listening = socketlib.create_server(("127.0.0.1", 0))
    backend.base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    config = uvicorn.Config(
        make_app(backend), log_level="critical", ws="websockets-sansio", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:  # noqa: ASYNC110 - uvicorn tells by this flag alone
        await asyncio.sleep(0.01)
    try:
        yield backend
    finally:
        backend.stopping.set()
        await backend.cut()
        server.should_exit = True
        await task
        listening.close()
