"""The sandbox as a real process, a webhook endpoint to receive from it, and short ways to speak with both."""

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from orders.payments.kept_connections import HttpAnswer, KeptConnections, NotSentError
from orders.payments.stripe_gateway import CheckoutFact, PaymentFact, StripeGateway

SECRET_KEY = "sk_test_sandbox"
PUBLISHABLE_KEY = "pk_test_sandbox"
WEBHOOK_SECRET = "whsec_test"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def until(true: Callable[[], Awaitable[bool]], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not await true():  # noqa: ASYNC110 - what is awaited happens in another process
            await asyncio.sleep(0.02)


def form(fields: Mapping[str, str]) -> bytes:
    return "&".join(f"{name}={value}" for name, value in fields.items()).encode()


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def error(self) -> Any:
        return self.body["error"]


@dataclass
class RunningSandbox:
    base_url: str
    process: asyncio.subprocess.Process
    connections: KeptConnections
    gateway: StripeGateway
    orders: int = 0

    async def ask(
        self,
        method: str,
        path: str,
        fields: Mapping[str, str] | bytes = b"",
        *,
        key: str | None = None,
        bearer: str = SECRET_KEY,
    ) -> Answer:
        headers = {"authorization": f"Bearer {bearer}"}
        if key is not None:
            headers["idempotency-key"] = key
        body = fields if isinstance(fields, bytes) else form(fields)
        answer: HttpAnswer = await self.connections.request(method, path, headers, body)
        return Answer(answer.status, answer.headers, json.loads(answer.body or b"null"))

    async def faults(self, **faults: object) -> None:
        answer = await self.ask("POST", "/sandbox/faults", json.dumps(faults).encode())
        assert answer.status == 200, answer.body

    async def state(self) -> Any:
        return (await self.ask("GET", "/sandbox/state")).body

    async def advance(self, seconds: int) -> None:
        await self.ask("POST", "/sandbox/clock", json.dumps({"advance_s": seconds}).encode())

    async def token(self, payment_method: str = "pm_card_visa") -> str:
        path = "/v1/test_helpers/confirmation_tokens"
        answer = await self.ask("POST", path, {"payment_method": payment_method})
        assert answer.status == 200, answer.body
        return str(answer.body["id"])

    async def other_token(self, method: str) -> str:
        path = "/v1/confirmation_tokens"
        fields = {"payment_method_data[type]": method}
        answer = await self.ask("POST", path, fields, bearer=PUBLISHABLE_KEY)
        assert answer.status == 200, answer.body
        return str(answer.body["id"])

    async def card_token(self, number: str, **changes: str) -> Answer:
        card = {"number": number, "exp_month": "12", "exp_year": "2040", "cvc": "123"} | changes
        fields = {f"payment_method_data[card][{name}]": value for name, value in card.items()}
        fields["payment_method_data[type]"] = "card"
        return await self.ask("POST", "/v1/confirmation_tokens", fields, bearer=PUBLISHABLE_KEY)

    async def pay(
        self, payment_method: str = "pm_card_visa", amount_minor: int = 5_000, **changes: Any
    ) -> PaymentFact:
        """One order paid through the real gateway."""
        self.orders += 1
        order_id = changes.pop("order_id", f"ord_{self.orders}")
        return await self.gateway.create_and_confirm(
            order_id=order_id,
            attempt=1,
            amount_minor=amount_minor,
            currency=changes.pop("currency", "CNY"),
            confirmation_token=changes.pop("token", None) or await self.token(payment_method),
            metadata={"stream_id": "str_1"},
            idempotency_key=changes.pop("key", f"pay:{order_id}:1"),
            **changes,
        )

    async def checkout(self, **changes: Any) -> CheckoutFact:
        """A session of one order, opened through the real gateway."""
        self.orders += 1
        order_id = changes.pop("order_id", f"ord_{self.orders}")
        wanted: dict[str, Any] = {
            "order_id": order_id,
            "attempt": 1,
            "amount_minor": 5_000,
            "currency": "CNY",
            "name": "Order",
            "expires_at": datetime.now(UTC) + timedelta(minutes=35),
            "success_url": "http://127.0.0.1:9/done?session={CHECKOUT_SESSION_ID}",
            "cancel_url": "http://127.0.0.1:9/back",
            "payment_method_types": ("card",),
            "metadata": {"stream_id": "str_1"},
            "idempotency_key": f"checkout:{order_id}:1",
        }
        return await self.gateway.create_checkout(**{**wanted, **changes})

    async def browse(
        self, url: str | None, fields: Mapping[str, str] | None = None, language: str = "en"
    ) -> HttpAnswer:
        """What a shopper's browser gets of a page, or for a form filled in on it."""
        assert url is not None
        target = url.removeprefix(self.base_url)
        headers = {"accept-language": language}
        if fields is None:
            return await self.connections.request("GET", target, headers, b"")
        return await self.connections.request("POST", target, headers, form(fields))

    async def dispute(self, payment_intent_id: str, **fields: str) -> Answer:
        path = f"/sandbox/payment_intents/{payment_intent_id}/dispute"
        return await self.ask("POST", path, fields)

    async def decide(self, dispute_id: str, outcome: str) -> Answer:
        path = f"/sandbox/disputes/{dispute_id}/decide"
        return await self.ask("POST", path, {"outcome": outcome})

    async def authenticate(self, fact: PaymentFact, outcome: str) -> Answer:
        path = f"/sandbox/payment_intents/{fact.payment_intent_id}/authenticate"
        fields = {"outcome": outcome, "client_secret": fact.client_secret or ""}
        return await self.ask("POST", path, fields, bearer=PUBLISHABLE_KEY)

    async def delivered(self, count: int, within_s: float = 10.0) -> Any:
        async def done() -> bool:
            hooks = (await self.state())["webhooks"]
            return bool(hooks["delivered"] >= count and hooks["pending"] == 0)

        await until(done, within_s)
        return await self.state()

    async def begin_anew(self) -> None:
        """Leave an empty account, with no fault and nothing under way; only the forgetful one can."""
        assert (await self.ask("POST", "/anew")).status == 200

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


REAL = "orders.payments.sandbox"
FORGETFUL = "tests.orders.payments.forgetful_sandbox"


@asynccontextmanager
async def running_sandbox(
    *options: str, port: int | None = None, timeout_s: float = 5.0, module: str = REAL
) -> AsyncIterator[RunningSandbox]:
    """A sandbox process with `options`; no rate limit unless they set one."""
    port = port or free_port()
    arguments = [sys.executable, "-m", module, "--port", str(port)]
    if "--rate" not in options:
        arguments += ["--rate", "0"]
    process = await asyncio.create_subprocess_exec(*arguments, *options)
    base_url = f"http://127.0.0.1:{port}"
    connections = KeptConnections(
        base_url, connections_max=64, timeout_s=timeout_s, connect_timeout_s=2.0
    )
    gateway = StripeGateway(SECRET_KEY, base_url, timeout_s=timeout_s)
    sandbox = RunningSandbox(base_url, process, connections, gateway)
    try:
        await _listening(sandbox)
        yield sandbox
    finally:
        await gateway.aclose()
        await connections.aclose()
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _listening(sandbox: RunningSandbox) -> None:
    async with asyncio.timeout(20):
        while sandbox.process.returncode is None:
            try:
                await sandbox.ask("GET", "/sandbox/state")
            except NotSentError:
                await asyncio.sleep(0.03)
            else:
                return
    raise AssertionError(f"the sandbox ended with {sandbox.process.returncode}")


@dataclass
class HookEndpoint:
    """A webhook endpoint that answers `statuses` in turn, then 200, and keeps all it got."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    received: list[tuple[str, bytes]] = field(default_factory=list)

    def events(self) -> list[Any]:
        return [json.loads(body) for _, body in self.received]

    def types(self) -> Sequence[str]:
        return [event["type"] for event in self.events()]

    async def got(self, count: int, within_s: float = 10.0) -> None:
        async def enough() -> bool:
            return len(self.received) >= count

        await until(enough, within_s)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                body = await reader.readexactly(int(headers["content-length"]))
                self.received.append((headers["stripe-signature"], body))
                status = self.statuses.pop(0) if self.statuses else 200
                writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nok".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def hook_endpoint() -> AsyncIterator[HookEndpoint]:
    endpoint = HookEndpoint()
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
    endpoint.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/webhooks/stripe?x=1"
    try:
        yield endpoint
    finally:
        server.close()


@asynccontextmanager
async def sandbox_with_hooks(*options: str) -> AsyncIterator[tuple[RunningSandbox, HookEndpoint]]:
    async with (
        hook_endpoint() as endpoint,
        running_sandbox(
            "--webhook-url", endpoint.url, "--webhook-secret", WEBHOOK_SECRET, *options
        ) as sandbox,
    ):
        yield sandbox, endpoint
