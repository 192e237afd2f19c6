"""Makes a small sale over the API with an operator's key, as an operator would: what load runs sell."""

import random
from dataclasses import dataclass
from typing import Any

import msgspec

from loadtests.http import Address, Connection, encode_request


@dataclass(frozen=True, slots=True)
class Sale:
    """A live stream with one offer."""

    stream_id: str
    sku: str
    units_total: int


class Operator:
    """An operator's hands on the API."""

    def __init__(self, address: Address, key: str) -> None:
        self._connection = Connection(address)
        self._key = key

    async def call(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Call the API and return its JSON; raises RuntimeError for a refusal."""
        raw = encode_request(method, f"/v1{path}", msgspec.json.encode(body), token=self._key)
        answer = await self._connection.request(raw)
        if answer.status >= 300:
            text = answer.body.decode(errors="replace")[:500]
            raise RuntimeError(f"{method} {path} answers {answer.status}: {text}")
        return dict(msgspec.json.decode(answer.body))

    def close(self) -> None:
        """Leave."""
        self._connection.close()


async def make_sale(
    address: Address, operator_key: str, units_total: int, *, per_shopper_max: int = 5
) -> Sale:
    """Make everything a sale needs and open it."""
    operator = Operator(address, operator_key)
    sku = f"LOAD-{random.randrange(16**8):08X}"
    campaign = await operator.call(
        "POST", "/campaigns", {"name": "Load test", "currency": "CNY", "goal_minor": 10_000_000}
    )
    host = await operator.call("POST", "/hosts", {"name": "Load host"})
    farmer = await operator.call("POST", "/farmers", {"name": "Load farmer", "place": "Zhengyang"})
    cause = await operator.call("POST", "/beneficiaries", {"name": "Load cause"})
    product = {"farmer_id": farmer["id"], "sku": sku, "name": "Peanuts", "unit": "5 kg bag"}
    await operator.call("POST", "/products", product)
    stream = await operator.call(
        "POST",
        "/streams",
        {
            "campaign_id": campaign["id"],
            "host_id": host["id"],
            "title": "Load test",
            "goal_minor": 10_000_000,
        },
    )
    terms = {
        "price_minor": 2990,
        "per_shopper_max": per_shopper_max,
        "beneficiary_id": cause["id"],
        "farmer_bp": 8000,
        "beneficiary_bp": 1500,
        "fees_bp": 500,
        "total": units_total,
    }
    await operator.call("PUT", f"/streams/{stream['id']}/offers/{sku}", terms)
    for state in ("scheduled", "live"):
        await operator.call("POST", f"/streams/{stream['id']}/state", {"state": state})
    operator.close()
    return Sale(stream["id"], sku, units_total)
