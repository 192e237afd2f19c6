"""The sale that the pages are looked at with: a county's peanuts, chestnuts, and a hot sauce that is gone."""

import time
from typing import Any

STREAM = "str_peanuts"
CAMPAIGN = "cmp_1"
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
        "tax_bp": 0,
        "weight_g": 5000,
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


def shipping(rule: dict[str, Any]) -> dict[str, Any]:
    """Return what sending costs, as a storefront says it."""
    return {"rule": rule, "words": "Shipping is told in words.", "words_zh": "运费说明。"}


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
    "campaign": {"id": CAMPAIGN, "name": "Philanthropy Week", "name_zh": "公益周"},
    "seller": None,
    "refund_terms": None,
    "refund_terms_zh": None,
    "payment_methods": ["card"],
    "shipping": shipping({"type": "free"}),
    "gifts": None,
    "matches": [],
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
    line = {"sku": "PEANUT-5KG", "quantity": 2, "unit_minor": 2990, "amount_minor": 5980}
    return {
        "id": ORDER,
        "stream_id": STREAM,
        "kind": "goods",
        "state": state,
        "fulfilment": "NONE",
        "lines": [line | {"tax_minor": 0}],
        "gifts": [],
        "shipping_minor": 0,
        "total": {"amount_minor": 5980, "currency": "CNY"},
        "refunded_minor": 0,
        "refund_pending_minor": 0,
        "notice": None,
        "place": 812,
        "placed_at": now,
        "ahead": None,
        "minutes": None,
        "pay_by": None,
        "attempts_left": 3,
        "contact_given": False,
        "display": None,
        "payment": None,
        "seller": "Zhengyang Growers' Co-operative\nReg. 4117 2400 1234",
        "refund_terms": "Send it back within 7 days and get your money back.",
        "refund_terms_zh": "七天无理由退货。",
        "server_time": now,
        **changes,
    }


CHILDREN = {"id": "ben_1", "name": "Basketball gear for 8,893 children", "name_zh": "篮球装备"}
COLLEGE = {"id": "ben_2", "name": "College places", "name_zh": "大学学位"}
LEFT_BEHIND = {"id": "ben_3", "name": "Left-behind children", "name_zh": "留守儿童"}
MATCH: dict[str, Any] = {
    "id": "mat_1",
    "sponsor": "Golden Mill",
    "sponsor_zh": "金磨坊",
    "covers": "gifts",
    "skus": None,
    "ratio_bp": 10_000,
    "pot_minor": 5_000_000,
    "left_minor": 4_321_000,
    "per_giver_max_minor": 20_000,
    "starts_at": "2026-11-22T12:00:00.000Z",
    "ends_at": "2026-11-22T14:30:00.000Z",
}
# The same sale with all that a campaign can promise and ask.
RICH_FRONT: dict[str, Any] = FRONT | {
    "shipping": shipping({"type": "flat", "amount_minor": 1000, "free_from_minor": 9900}),
    "seller": "Zhengyang Growers' Co-operative\nReg. 4117 2400 1234",
    "refund_terms": "Send it back within 7 days and get your money back.",
    "refund_terms_zh": "七天无理由退货。",
    "payment_methods": ["card", "alipay"],
    "gifts": {
        "min_minor": 100,
        "max_minor": 1_000_000,
        "causes": [CHILDREN, COLLEGE, LEFT_BEHIND],
    },
    "matches": [MATCH],
    "offers": [offer | {"tax_bp": 900} for offer in FRONT["offers"]],
}
OPTIONS: dict[str, Any] = {
    "methods": ["card", "alipay"],
    "total": {"amount_minor": 5980, "currency": "CNY"},
    "return_url": f"http://127.0.0.1/pay/{ORDER}",
}


def gift(state: str, **changes: Any) -> dict[str, Any]:
    """Return a gift of fifty yuan without goods in ``state``, as ``GET /v1/orders/{id}`` answers."""
    to = {"kind": "gift", "beneficiary_id": "ben_1", "amount_minor": 5000}
    named = {"name": CHILDREN["name"], "name_zh": CHILDREN["name_zh"]}
    total = {"amount_minor": 5000, "currency": "CNY"}
    return order(state, kind="gift", lines=[], gifts=[to | named], total=total, **changes)
