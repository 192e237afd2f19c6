"""A Locust shopper: gets a token, wants a few units, takes a refusal for what it says, and looks at the order."""

import os
import random
import secrets
import time
from typing import Any, ClassVar

from locust import FastHttpUser, between, task

REPEATS_MAX = 10


class Shopper(FastHttpUser):
    """Somebody who buys. STREAM and SKU in the environment say what; answers that mean "no" are no failures."""

    wait_time = between(0.2, 2.0)
    weight = 9
    network_timeout = 15.0
    connection_timeout = 5.0
    refusals: ClassVar[frozenset[str]] = frozenset({"sold_out", "limit_exceeded", "not_open"})

    def on_start(self) -> None:
        """Become a shopper; wait for one's turn if there are too many at once."""
        self.stream, self.sku = os.environ["STREAM"], os.environ["SKU"]
        self.orders: list[str] = []
        self.headers: dict[str, str] = {}
        for _ in range(REPEATS_MAX):
            with self.client.post("/v1/shoppers", catch_response=True) as answer:
                if answer.status_code == 201:
                    self.headers = {"Authorization": f"Bearer {answer.json()['token']}"}
                    return
                if answer.status_code in (429, 503):
                    answer.success()
            time.sleep(random.uniform(0.5, 3))
        raise RuntimeError("no token for this shopper: is the limit of tokens a minute off?")

    @task(8)
    def buy(self) -> None:
        """Place an order; after 503 or silence the same key is sent again, until there is an answer."""
        body = {"lines": [{"sku": self.sku, "quantity": random.choice((1, 2, 3))}]}
        key = secrets.token_hex(16)
        for _ in range(REPEATS_MAX):
            with self.client.post(
                f"/v1/streams/{self.stream}/orders",
                json=body,
                headers={**self.headers, "Idempotency-Key": key},
                name="POST /v1/streams/[id]/orders",
                catch_response=True,
            ) as answer:
                if not self._again(answer):
                    return
            time.sleep(random.uniform(0.3, 1.5))

    def _again(self, answer: Any) -> bool:
        """Judge an answer; whether to send the same key once more."""
        if answer.status_code in (200, 201):
            self.orders = [*self.orders[-9:], answer.json()["id"]]
            return False
        if answer.status_code == 409 and answer.json().get("code") in self.refusals:
            answer.success()
            return False
        if answer.status_code in (425, 429, 503):
            answer.success()
            return True
        answer.failure(f"{answer.status_code}")
        return bool(answer.status_code == 0)

    @task(1)
    def look(self) -> None:
        """See how an order stands."""
        if self.orders:
            path = f"/v1/orders/{random.choice(self.orders)}"
            self.client.get(path, headers=self.headers, name="GET /v1/orders/[id]")

    @task(2)
    def browse(self) -> None:
        """Open the shop."""
        path = f"/v1/streams/{self.stream}/storefront"
        self.client.get(path, name="GET /v1/streams/[id]/storefront")
