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
    "gifts": 212,
    "gifts_minor": 180_000,
    "matched_minor": 60_000,
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

TONIGHT: dict[str, Any] = {key: value for key, value in TALLY.items() if key != "goal_minor"} | {
    "raised_minor": 412_880,
    "units": 2_011,
    "orders": 1_004,
    "since_seq": 3011,
    "since_at": "2026-11-22T12:00:00.000Z",
}
CARD_KEYS = (
    *("sku", "name", "name_zh", "unit", "unit_zh", "price_minor", "farmer_minor"),
    *("beneficiary_minor", "farmer", "beneficiary", "opens_at"),
)
BOARD: dict[str, Any] = {
    "currency": "CNY",
    "pinned_sku": "PEANUT-5KG",
    "timer": None,
    "cards": [{key: offer[key] for key in CARD_KEYS} for offer in FRONT["offers"]],
    "shop_url": f"https://give.example/shop/{STREAM}",
}


def _step(
    n: int, counts: str, threshold: int, titles: tuple[str, str], missing: int
) -> dict[str, Any]:
    return {
        "id": f"mst_{n}",
        "counts": counts,
        "threshold": threshold,
        "title": titles[0],
        "title_zh": titles[1],
        "reached": missing == 0,
        "reached_at": "2026-11-22T12:20:00.000Z" if missing == 0 else None,
        "missing": missing,
    }


MILESTONES: dict[str, Any] = {
    "seq": 4270,
    "currency": "CNY",
    "items": [
        _step(1, "units", 5000, ("Lin Xiao sings", "林晓唱歌"), 0),
        _step(2, "units", 9101, ("A second court for the school", "学校的第二个球场"), 37),
        _step(3, "money", 2_000_000, ("200 more basketballs", "再添200个篮球"), 715_440),
        _step(
            4, "money", 5_000_000, ("Gear for all 8,893 children", "8,893名孩子的装备"), 3_715_440
        ),
    ],
}
MATCHES: dict[str, Any] = {
    "currency": "CNY",
    "items": [
        {
            "id": "mat_1",
            "sponsor": "Golden Mill",
            "sponsor_zh": "金磨坊",
            "covers": "gifts",
            "ratio_bp": 10_000,
            "pot_minor": 5_000_000,
            "left_minor": 4_321_000,
            "starts_at": "2026-11-22T12:00:00.000Z",
            "ends_at": "2026-11-22T14:30:00.000Z",
            "on": True,
        }
    ],
}
FARMERS: dict[str, Any] = {
    "seq": 4270,
    "currency": "CNY",
    "items": [
        {
            "id": "frm_1",
            "name": "Zhengyang Growers",
            "name_zh": "正阳农户",
            "place": "Henan",
            "units": 9064,
            "income_minor": 21_672_000,
            "skus": ["PEANUT-5KG", "CHESTNUT-2KG", "HOT-SAUCE"],
        }
    ],
}
_GIVERS = (("Grandma Zhou", 88_800, 3), ("陈先生", 59_800, 2), ("Mei & family", 29_900, 1))
LEADERS: dict[str, Any] = {
    "seq": 4270,
    "currency": "CNY",
    **{
        window: [{"name": name, "amount_minor": minor, "orders": n} for name, minor, n in _GIVERS]
        for window in ("hour", "today", "stream")
    },
}
NAMES: dict[str, Any] = {
    "count": 214,
    "newest": [
        {"n": 212, "name": "Mei"},
        {"n": 213, "name": "陈先生"},
        {"n": 214, "name": "O’Neill"},
    ],
}
ALERTS: dict[str, Any] = {
    "group": "main",
    "on_air": None,
    "waiting": 0,
    "muted": False,
    "panic": False,
    "sound": None,
}
REVIEW: dict[str, Any] = {
    "revision": 12,
    "waiting": 3,
    "passed": 1,
    "unread": 2,
    "oldest_at": "2026-11-22T13:00:00.000Z",
}
# Every topic of the stream as it stands when a page opens.
TOPICS: dict[str, dict[str, Any]] = {
    "tally": TALLY,
    "tonight": TONIGHT,
    "stock": STOCK,
    "status": STATUS,
    "board": BOARD,
    "milestones": MILESTONES,
    "matches": MATCHES,
    "farmers": FARMERS,
    "leaders": LEADERS,
    "names": NAMES,
    "alerts/main": ALERTS,
    "review": REVIEW,
}


def on_air(kind: str = "order", **changes: Any) -> dict[str, Any]:
    """Return the state of alert group "main" with one alert on air, for six seconds from now."""
    now = time.time()
    alert = {
        "id": "air_1",
        "kind": kind,
        "name": "Mei",
        "message": None,
        "dedication": None,
        "amount_minor": 5980,
        "currency": "CNY",
        "units": 2,
        "sku": "PEANUT-5KG",
        "count": 1,
        "within_s": 0,
        "biggest_minor": 5980,
        "starts_at": rfc3339(now),
        "ends_at": rfc3339(now + 6),
        "shown": False,
        **changes,
    }
    return ALERTS | {"on_air": alert}


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
