"""Good bodies of routes where the description alone makes none, for the tests that call every route."""

import json
from collections.abc import Mapping
from typing import Any, Final

# Where the description has no fields, for they are read without the framework, or too many that exclude
# each other.
GOODS: Final[Mapping[str, Any]] = {
    "POST /v1/streams/{stream_id}/orders": {
        "lines": [{"sku": "PEANUT-5KG", "quantity": 1}],
        "gift": {
            "amount_minor": 100,
            "causes": [{"beneficiary_id": "{beneficiary_id}", "share_bp": 10_000}],
        },
        "extra_minor": 100,
        "round_up_to_minor": 100,
    },
    "POST /v1/streams/{stream_id}/donations": {
        "amount_minor": 500,
        "causes": [{"beneficiary_id": "{beneficiary_id}", "share_bp": 10_000}],
        "name": "Li Na",
        "message": "Play well!",
        "dedication": "For grandfather",
        "show": True,
    },
    "POST /v1/webhooks/stripe": {
        "id": "evt_1",
        "object": "event",
        "type": "charge.refunded",
        "created": 1_800_000_000,
        "livemode": False,
        "data": {"object": {"id": "ch_1", "object": "charge", "amount": 5}},
    },
    "POST /v1/orders/{order_id}/refunds": {
        "lines": [{"sku": "PEANUT-5KG", "quantity": 1}],
        "reason": "goodwill",
        "restock": True,
    },
    "PUT /v1/streams/{stream_id}/offers/{sku}": {
        "price_minor": 2990,
        "per_shopper_max": 5,
        "beneficiary_id": "{beneficiary_id}",
        "farmer_bp": 8000,
        "beneficiary_bp": 1500,
        "fees_bp": 500,
        "farmer_fixed_minor": 100,
        "beneficiary_cap_minor": 1000,
        "farmer_floor_minor": 100,
        "fee_payer": "farmer",
        "tax_bp": 900,
    },
    "POST /v1/streams/{stream_id}/offers/{sku}/stock": {"add": 200},
    "PUT /v1/streams/{stream_id}/timer": {"what": "closes", "in_s": 600},
    "POST /v1/splits/preview": {
        "price_minor": 2990,
        "units": 3,
        "farmer_bp": 8000,
        "beneficiary_bp": 1500,
        "fees_bp": 500,
        "beneficiary_fixed_minor": 100,
        "beneficiary_cap_minor": 1000,
        "farmer_floor_minor": 100,
    },
    "PUT /v1/campaigns/{campaign_id}/causes": ["{beneficiary_id}"],
    "POST /v1/campaigns/{campaign_id}/matches": {
        "sponsor": "Golden Mill",
        "covers": "shares",
        "skus": ["PEANUT-5KG"],
        "ratio_bp": 10_000,
        "pot_minor": 5_000_000,
        "per_giver_max_minor": 20_000,
        "ends_at": "2100-01-01T00:00:00Z",
    },
    "POST /v1/campaigns/{campaign_id}/transfers": {
        "kind": "payout",
        "account": "farmer/{farmer_id}",
        "amount_minor": 1,
        "reference": "Bank 17",
    },
    "POST /v1/products": {
        "farmer_id": "{farmer_id}",
        "sku": "NEW-1",
        "name": "A",
        "unit": "bag",
        "weight_g": 5,
    },
    "POST /v1/orders/{order_id}/refund-requests": {
        "lines": [{"sku": "PEANUT-5KG", "quantity": 1}],
        "reason": "The bag was torn.",
    },
    "PUT /v1/streams/{stream_id}/moderation": {
        "mode": "two_pass",
        "blocked": ["scam"],
        "allowed": ["Scamander"],
        "message_graphemes_max": 100,
    },
    "POST /v1/streams/{stream_id}/review": {
        "decisions": [{"order_id": "{order_id}", "revision": 1, "decision": "show"}]
    },
    "PUT /v1/streams/{stream_id}/reading/{order_id}": {"mark": "read"},
    "POST /v1/principals": {"role": "operator", "name": "A"},
    "POST /v1/streams/{stream_id}/state": {"state": "ended"},
}


def good_body(name: str, ids: Mapping[str, str]) -> Any:
    """Return the body of a route ("POST /v1/…") with the ids there are, or None where the description makes one."""
    text = json.dumps(GOODS.get(name))
    for thing, value in ids.items():
        text = text.replace("{" + thing + "}", value)
    return json.loads(text)
