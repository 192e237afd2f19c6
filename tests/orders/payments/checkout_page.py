"""A shopper's browser on the way to Stripe's own page and on it."""

from typing import Any

import httpx

from orders.expiry import expire_once
from tests.orders.payments.counter import Counter

VISA = "4242424242424242"


class Page:
    """A shopper's browser: opens and closes Stripe's page, and pays there."""

    def __init__(self, api: httpx.AsyncClient, counter: Counter) -> None:
        self.api, self.counter = api, counter
        self.mine = counter.sale.auth("shopper")

    async def open(self, order_id: str) -> tuple[int, Any]:
        answer = await self.api.post(f"/v1/orders/{order_id}/checkout", headers=self.mine)
        return answer.status_code, answer.json().get("url") or answer.json()["code"]

    async def opened(self, order_id: str) -> str:
        status, url = await self.open(order_id)
        assert status == 200, url
        return str(url)

    async def close(self, order_id: str) -> int:
        answer = await self.api.delete(f"/v1/orders/{order_id}/checkout", headers=self.mine)
        return answer.status_code

    async def pay(self, url: str, card: str = VISA) -> None:
        async with httpx.AsyncClient() as browser:
            answer = await browser.post(url, data={"means": card})
            assert answer.status_code < 500, answer.text

    async def by_our_page(self, order_id: str) -> tuple[int, str]:
        token = {"confirmation_token": await self.counter.sandbox.token()}
        answer = await self.api.post(f"/v1/orders/{order_id}/pay", headers=self.mine, json=token)
        body = answer.json()
        return answer.status_code, body.get("code") or body["payment"]["status"]

    async def expire(self) -> None:
        await expire_once(self.counter.database, self.counter.sandbox.gateway, self.counter.pace)

    async def sessions(self, order_id: str) -> list[str]:
        listed = (await self.counter.sandbox.ask("GET", "/v1/checkout/sessions?limit=100")).body
        return [
            each["status"] for each in listed["data"] if each["metadata"]["order_id"] == order_id
        ]
