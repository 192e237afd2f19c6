"""The sandbox over HTTP: a lean ASGI app, because it has to carry 400 confirmed payments a second on a shared core."""

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, MutableMapping
from importlib.resources import files
from typing import Any

import msgspec

from orders.payments.sandbox.account import Account, Answer
from orders.payments.sandbox.calls import KeyKind
from orders.payments.sandbox.config import SandboxConfig
from orders.payments.sandbox.errors import ApiError, bad_key
from orders.payments.sandbox.faults import HungUp
from orders.payments.sandbox.forms import decode_form
from orders.payments.sandbox.hosted import Hosted
from orders.payments.sandbox.routes import ROUTES, Route, endpoint_of
from orders.payments.sandbox.summary import state_of

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

BODY_BYTES_MAX = 65_536
_JSON: Headers = (
    (b"content-type", b"application/json; charset=utf-8"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
)
_CORS: Headers = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, POST"),
    (b"access-control-allow-headers", b"authorization, content-type, idempotency-key"),
    (b"access-control-max-age", b"600"),
)


class SandboxApp:
    """The ASGI callable. `account` is open to in-process tests."""

    def __init__(self, config: SandboxConfig) -> None:
        self.account = Account(config)
        self._hosted = Hosted(self.account)
        self._script = files(__package__).joinpath("static/stripe.js").read_bytes()
        self._key = config.secret_key

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self.account.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.account.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        endpoint, object_id = endpoint_of(method, path)
        if path.startswith("/c/"):
            await _send(send, *await self._page(endpoint, object_id, scope, receive))
            return
        route = ROUTES.get(endpoint)
        extra: Headers = ()
        if route is not None and route.caller == "browser":
            extra = _CORS
        try:
            if route is not None:
                answer = await self._call(route, endpoint, object_id, scope, receive)
            elif method == "OPTIONS":
                answer, extra = Answer(204, b""), _preflight(path)
            elif endpoint == "GET /sandbox/stripe.js":
                await _send(send, 200, self._script, _SCRIPT)
                return
            else:
                answer = await self._control(endpoint, scope, receive)
        except ApiError as error:
            answer = Answer(error.status, error.body(), headers=error.headers)
        except HungUp:
            # A response begun and left makes the server close the connection, which nothing else here may do.
            await send({"type": "http.response.start", "status": 503, "headers": []})
            return
        if answer.withheld_ms:
            await _hold(receive, answer.withheld_ms)
        if answer.replayed:
            extra += ((b"idempotent-replayed", b"true"),)
        await _send(send, answer.status, answer.body, _JSON + extra + answer.headers)

    async def _page(
        self, endpoint: str, object_id: str, scope: Message, receive: Receive
    ) -> tuple[int, bytes, Headers]:
        """What a shopper's browser is shown under /c/."""
        try:
            form = scope["query_string"]
            if scope["method"] == "POST":
                form = await _body(receive)
            params = decode_form(form)
        except ApiError as error:
            return error.status, error.body(), _JSON
        return await self._hosted.answer(endpoint, object_id, params, dict(scope["headers"]))

    async def _call(
        self, route: Route, endpoint: str, object_id: str, scope: Message, receive: Receive
    ) -> Answer:
        headers = dict(scope["headers"])
        kind = self._key_kind(headers)
        if kind == "none" or (kind == "publishable" and route.caller != "browser"):
            raise bad_key()
        ours = route.ours and kind == "secret"
        if ours:
            self.account.faults.on_the_doorstep(endpoint)
            self.account.rate.admit(endpoint, time.monotonic())
        if scope["method"] == "GET":
            call = self.account.call(endpoint, object_id, decode_form(scope["query_string"]))
            call.key_kind = kind
            return self.account.read(route.effect, call)
        form = await _body(receive)
        call = self.account.call(endpoint, object_id, decode_form(form))
        call.key_kind = kind
        call.ours = ours
        call.origin = _origin(scope)
        key = headers.get(b"idempotency-key")
        answer = await self.account.write(
            route.effect, call, key.decode("latin-1") if key is not None else None, form
        )
        answer.headers += ((b"request-id", call.request_id.encode()),)
        return answer

    async def _control(self, endpoint: str, scope: Message, receive: Receive) -> Answer:
        """What only tests and oracles call, with the secret key: faults, state, the clock."""
        if endpoint not in _CONTROLS:
            raise ApiError(404, "Unrecognized request URL.")
        if self._key_kind(dict(scope["headers"])) != "secret":
            raise bad_key()
        account = self.account
        if endpoint == "POST /sandbox/faults":
            account.set_faults(account.faults.changed_by(await _body(receive)))
        elif endpoint == "POST /sandbox/clock":
            account.advance_clock(_ahead_s(await _body(receive)))
        elif endpoint == "POST /sandbox/webhooks":
            return Answer(200, await account.deliveries.obey(await _body(receive)))
        elif endpoint == "GET /sandbox/webhooks":
            return Answer(200, account.deliveries.shown())
        return Answer(200, msgspec.json.encode(state_of(account)))

    def _key_kind(self, headers: dict[bytes, bytes]) -> KeyKind:
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer":
            return "none"
        if key.startswith(b"pk_test_"):
            return "publishable"
        if not key.startswith(b"sk_test_"):
            return "none"
        if self._key is not None and not hmac.compare_digest(key, self._key.encode()):
            return "none"
        return "secret"


_CONTROLS = (
    "GET /sandbox/state",
    "GET /sandbox/webhooks",
    "POST /sandbox/clock",
    "POST /sandbox/faults",
    "POST /sandbox/webhooks",
)
_SCRIPT: Headers = (
    (b"content-type", b"text/javascript; charset=utf-8"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-cache"),
    (b"cross-origin-resource-policy", b"cross-origin"),
)


def create_app(config: SandboxConfig) -> SandboxApp:
    """An ASGI app that plays Stripe's test mode. Raises ValueError for a damaged journal."""
    return SandboxApp(config)


def _origin(scope: Message) -> str:
    """Where this very connection was taken, which no header can say otherwise."""
    host, port = scope["server"]
    return f"http://{host}:{port}"


def _preflight(path: str) -> Headers:
    for method in ("GET", "POST"):
        route = ROUTES.get(endpoint_of(method, path)[0])
        if route is not None and route.caller == "browser":
            return _CORS
    raise ApiError(404, "Unrecognized request URL.")


def _ahead_s(body: bytes) -> int:
    try:
        ahead_s = msgspec.json.decode(body, type=dict[str, int])["advance_s"]
    except (msgspec.MsgspecError, KeyError) as error:
        raise ApiError(400, "Give {advance_s: seconds}.") from error
    if not 0 <= ahead_s <= 366 * 86_400:
        raise ApiError(400, "advance_s is from 0 to a year.")
    return ahead_s


async def _body(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ApiError(400, "The client went away.")
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > BODY_BYTES_MAX:
            raise ApiError(413, "The body is too large.")
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)


async def _hold(receive: Receive, withheld_ms: int) -> None:
    """Give no answer until the caller has given up, for the fault "timeout after effect"."""
    try:
        async with asyncio.timeout(withheld_ms / 1000):
            while (await receive())["type"] != "http.disconnect":
                continue
    except TimeoutError:
        return


async def _send(send: Send, status: int, body: bytes, headers: Headers) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
