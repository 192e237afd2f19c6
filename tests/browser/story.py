"""The sale that the pages are looked at with: a county's peanuts, chestnuts, and a hot sauce that is gone."""

import time
from typing import Any

STREAM = "str_peanuts"
ORDER = "ord_01jd3k8f3h2m5abc"


def _offer(
    sku: str, name: tuple[str, str], prices: tuple[int, int, int], stock: tuple[int, int, int]
) -> dict[str, Any]:
    price, gift, income = prices
    total, reserved, sold = stock
    return {
        "sku": sku,
        "name": name[0],
        "name_zh": name[1],
        "unit": "bag",
        "unit_zh": "袋",
        "price_minor": price,
        "farmer_minor": income,
        "beneficiary_minor": gift,
        "fees_minor": price - gift - income,
        "per_shopper_max": 2,
        "opens_at": None,
        "total": total,
        "reserved": reserved,
        "sold": sold,
        "left": total - reserved - sold,
        "farmer": {
            "id": "frm_1",
            "name": "Zhengyang Growers",
            "name_zh": "正阳农户",
            "place": "Henan",
        },
        "beneficiary": {
            "id": "ben_1",
            "name": "Basketball gear for 8,893 children",
            "name_zh": "篮球装备",
        },
    }


FRONT: dict[str, Any] = {
    "id": STREAM,
    "title": "Zhengyang peanuts, live with the county",
    "title_zh": "正阳花生专场",
    "state": "live",
    "opens_at": None,
    "live_at": None,
    "ended_at": None,
    "goal_minor": 5_000_000,
    "currency": "CNY",
    "mode": "sandbox",
    "host": {"id": "hst_1", "name": "Lin Xiao"},
    "campaign": {"id": "cmp_1", "name": "Philanthropy Week", "name_zh": "公益周"},
    "offers": [
        _offer(
            "PEANUT-5KG",
            ("Red-skin peanuts, 5 kg", "红皮花生"),
            (2990, 200, 2391),
            (11483, 1204, 3066),
        ),
        _offer(
            "CHESTNUT-2KG",
            ("Mountain chestnuts, 2 kg", "山栗子"),
            (4580, 400, 3500),
            (4330, 20, 3998),
        ),
        _offer(
            "HOT-SAUCE", ("Grandma's hot sauce", "奶奶辣酱"), (1900, 150, 1400), (2000, 0, 2000)
        ),
    ],
}
TALLY: dict[str, Any] = {
    "seq": 4270,
    "raised_minor": 1_284_560,
    "sales_minor": 19_201_200,
    "goal_minor": 5_000_000,
    "currency": "CNY",
    "orders": 3066,
    "units": 9064,
}
STOCK: dict[str, Any] = {
    "items": [
        {key: offer[key] for key in ("sku", "total", "left", "reserved", "sold")}
        for offer in FRONT["offers"]
    ],
    "sold_out_at": None,
}
STATUS: dict[str, Any] = {
    "state": "live",
    "title": FRONT["title"],
    "title_zh": FRONT["title_zh"],
    "opens_at": None,
    "live_at": None,
    "ended_at": None,
    "campaign_id": "cmp_1",
    "campaign": "Philanthropy Week",
    "campaign_zh": "公益周",
}


def rfc3339(at_s: float) -> str:
    """Return an instant as it goes on the wire."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s)) + ".000Z"


def order(state: str, **changes: Any) -> dict[str, Any]:
    """Return an order of two bags of peanuts in ``state``, as ``GET /v1/orders/{id}`` answers."""
    now = rfc3339(time.time())
    return {
        "id": ORDER,
        "stream_id": STREAM,
        "state": state,
        "fulfilment": "NONE",
        "lines": [{"sku": "PEANUT-5KG", "quantity": 2, "unit_minor": 2990, "amount_minor": 5980}],
        "total": {"amount_minor": 5980, "currency": "CNY"},
        "place": 812,
        "placed_at": now,
        "ahead": None,
        "minutes": None,
        "pay_by": None,
        "attempts_left": 3,
        "contact_given": False,
        "payment": None,
        "server_time": now,
        **changes,
    }
