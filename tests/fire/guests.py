"""Shoppers and staff who go on through everything: they repeat what was not answered, with the same key."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from stream_events.ids import new_id

PATIENCE_S = 60.0
# "Not yet", "not known" and "not now": asked again. Everything else is an answer.
AGAIN = frozenset({"not_your_turn", "pay_later", "unclear", "gate_shut", "unavailable"})


@dataclass
class House:
    """The two addresses a guest knows."""

    api: httpx.AsyncClient
    sandbox: httpx.AsyncClient

    async def ask(
        self, method: str, path: str, token: str = "", *, key: str = "", body: Any = None
    ) -> tuple[int, Any]:
        """Ask until there is an answer, and return its status and document."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        if key:
            headers["idempotency-key"] = key
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                answer = await self.api.request(method, f"/v1{path}", headers=headers, json=body)
            except httpx.TransportError:
                pass
            else:
                said = answer.json() if answer.content else None
                code = said.get("code") if isinstance(said, dict) else None
                if answer.status_code < 500 and code not in AGAIN:
                    return answer.status_code, said
                assert answer.status_code != 500, said
            assert time.monotonic() < deadline, f"{method} {path} was never answered"
            await asyncio.sleep(0.15)

    async def sandbox_is_up(self) -> None:
        """Wait until Stripe's stand-in answers."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    await self.sandbox.get("/sandbox/state")
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
                else:
                    return

    async def lose_webhooks(self) -> None:
        """Let no webhook arrive from now on."""
        answer = await self.sandbox.post("/sandbox/faults", json={"webhook_loss": 1.0})
        assert answer.status_code == httpx.codes.OK, answer.text

    async def browse(self, url: str, fields: dict[str, str]) -> None:
        """Send a form of a page of Stripe's, as the shopper's browser does."""
        answer = await self.sandbox.post(url, data=fields)
        assert answer.status_code < httpx.codes.BAD_REQUEST, answer.text

    async def token(self, payment_method: str) -> str:
        """Return a confirmation token, as the payment form would make one."""
        answer = await self.sandbox.post(
            "/v1/test_helpers/confirmation_tokens", data={"payment_method": payment_method}
        )
        assert answer.status_code == httpx.codes.OK, answer.text
        return str(answer.json()["id"])


@asynccontextmanager
async def house(api_url: str, sandbox_url: str, sandbox_key: str) -> AsyncIterator[House]:
    """Open the ways to the API and to the sandbox."""
    keyed = {"authorization": f"Bearer {sandbox_key}"}
    async with (
        httpx.AsyncClient(base_url=api_url, timeout=3) as api,
        httpx.AsyncClient(base_url=sandbox_url, timeout=5, headers=keyed) as sandbox,
    ):
        yield House(api, sandbox)


@dataclass
class Guest:
    """A shopper with one order."""

    house: House
    token: str
    order_id: str = ""

    async def read(self) -> Any:
        """Return the order as it stands."""
        status, order = await self.house.ask("GET", f"/orders/{self.order_id}", self.token)
        assert status == httpx.codes.OK, order
        return order

    async def until(self, *states: str) -> Any:
        """Wait until the order is in one of these states."""
        deadline = time.monotonic() + PATIENCE_S
        while (order := await self.read())["state"] not in states:
            assert time.monotonic() < deadline, f"{order} instead of {states}"
            await asyncio.sleep(0.1)
        return order

    async def pay(self, *cards: str) -> None:
        """Pay with one card after the other until one is taken; what is not known is waited for."""
        await self.until("AWAITING_PAYMENT")
        for card in cards:
            body = {"confirmation_token": await self.house.token(card)}
            path = f"/orders/{self.order_id}/pay"
            status, said = await self.house.ask("POST", path, self.token, body=body)
            assert status == httpx.codes.OK, said
            deadline = time.monotonic() + PATIENCE_S
            while (order := await self.read())["state"] in {"AWAITING_PAYMENT", "PROCESSING"}:
                payment = order["payment"]
                if payment and payment["status"] in {"declined", "requires_action"}:
                    break
                if payment is None:  # The try was taken back: Stripe never saw it.
                    await self.house.ask("POST", path, self.token, body=body)
                assert time.monotonic() < deadline, order
                await asyncio.sleep(0.1)

    async def pay_once(self, card: str) -> None:
        """Send a card, and do not ask again whatever is answered."""
        body = {"confirmation_token": await self.house.token(card)}
        headers = {"authorization": f"Bearer {self.token}"}
        await self.house.api.post(f"/v1/orders/{self.order_id}/pay", headers=headers, json=body)

    async def open_page(self) -> str:
        """Open Stripe's own page for the order, and return its address."""
        await self.until("AWAITING_PAYMENT")
        path = f"/orders/{self.order_id}/checkout"
        status, opened = await self.house.ask("POST", path, self.token)
        assert status == httpx.codes.OK, opened
        return str(opened["url"])

    async def leave_address(self) -> None:
        """Say where the goods go, and where letters do."""
        said = {
            "name": "Wang Fang",
            "contact": f"{self.order_id}@example.org",
            "address": "12 Peanut Road, Zhengyang",
        }
        path = f"/orders/{self.order_id}/contact"
        status, answer = await self.house.ask("PUT", path, self.token, body=said)
        assert status == httpx.codes.NO_CONTENT, answer


async def arrive(house_: House) -> Guest:
    """Return a new shopper."""
    status, shopper = await house_.ask("POST", "/shoppers")
    assert status == httpx.codes.CREATED, shopper
    return Guest(house_, shopper["token"])


async def order(house_: House, stream_id: str, sku: str, quantity: int = 1) -> Guest:
    """Return a new shopper with a placed order."""
    guest = await arrive(house_)
    status, placed = await house_.ask(
        "POST",
        f"/streams/{stream_id}/orders",
        guest.token,
        key=new_id("key"),
        body={"lines": [{"sku": sku, "quantity": quantity}]},
    )
    assert status == httpx.codes.CREATED, placed
    guest.order_id = placed["id"]
    return guest
