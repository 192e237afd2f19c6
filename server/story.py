"""The story the demo plays: a Philanthropy Week with three streams, told to the server through its own API."""

import secrets
from dataclasses import dataclass
from typing import Any

import httpx

PEANUTS_TOTAL = 11_483
"""Bags of a county's peanuts that sold out in two minutes in the story."""


@dataclass(frozen=True, slots=True)
class Story:
    """What was set up: the stream of the rush, and a credential for every page."""

    campaign_id: str
    stream_id: str
    sku: str
    units_total: int
    operator_key: str
    host_key: str
    farmer_key: str
    overlay_key: str
    other_streams: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Goods:
    """One product of the story, with its farmer and the stream it is sold in."""

    sku: str
    name: str
    name_zh: str
    unit: str
    unit_zh: str
    farmer: str
    farmer_zh: str
    place: str
    title: str
    title_zh: str
    host: str
    price_minor: int
    total: int
    per_shopper_max: int
    goal_minor: int
    farmer_bp: int
    beneficiary_bp: int
    beneficiary_fixed_minor: int | None = None


_PEANUTS = _Goods(
    sku="PEANUT-5KG",
    name="Zhengyang peanuts",
    name_zh="正阳花生",
    unit="5 kg bag",
    unit_zh="5 公斤袋装",
    farmer="Zhengyang peanut growers",
    farmer_zh="正阳花生合作社",
    place="Zhengyang, Henan",
    title="Peanut night: a county on air",
    title_zh="花生之夜：县长来直播",
    host="Lin Yi",
    price_minor=2990,
    total=PEANUTS_TOTAL,
    per_shopper_max=5,
    goal_minor=2_500_000,
    farmer_bp=9300,
    beneficiary_bp=0,
    beneficiary_fixed_minor=200,
)
_OTHERS = (
    _Goods(
        sku="CHESTNUT-2KG",
        name="Kuancheng chestnuts",
        name_zh="宽城板栗",
        unit="2 kg box",
        unit_zh="2 公斤盒装",
        farmer="433 families of Kuancheng",
        farmer_zh="宽城 433 户栗农",
        place="Kuancheng, Hebei",
        title="Chestnuts: a year's income in an evening",
        title_zh="板栗专场：一晚卖出一年的收成",
        host="Chen Jie",
        price_minor=4900,
        total=6_000,
        per_shopper_max=4,
        goal_minor=3_000_000,
        farmer_bp=8200,
        beneficiary_bp=1200,
    ),
    _Goods(
        sku="HOTSAUCE-3",
        name="Grandmother's hot sauce",
        name_zh="外婆辣酱",
        unit="3 jars",
        unit_zh="3 瓶装",
        farmer="Shizhu pepper workshop",
        farmer_zh="石柱辣椒工坊",
        place="Shizhu, Chongqing",
        title="Hot sauce for cold nights",
        title_zh="辣酱暖冬夜",
        host="Zhao Ke",
        price_minor=3600,
        total=3_000,
        per_shopper_max=6,
        goal_minor=1_000_000,
        farmer_bp=8000,
        beneficiary_bp=1500,
    ),
)

_CAUSES = (
    ("Basketball gear for 8,893 children", "为 8,893 个孩子送篮球装备"),
    ("College places for students from the counties", "县域学子的大学名额"),
)
_TERMS = {
    "seller": "Philanthropy Week Cooperative, Zhengyang, Henan",
    "refund_terms": "Ask within 7 days of delivery; what is spoilt or never came is paid back in full.",
    "refund_terms_zh": "签收后 7 天内可申请退款；变质或未收到的商品全额退款。",
    "gift_min_minor": 100,
    "payment_methods": ["card", "alipay", "wechat_pay"],
}


async def tell(base_url: str, operator_key: str) -> Story:
    """Set the whole story up over HTTP, go live, and invite host, farmer and overlay."""
    headers = {"authorization": f"Bearer {operator_key}"}
    async with httpx.AsyncClient(base_url=base_url, headers=headers, timeout=10) as api:
        campaign_id, cause_id = await _begin(api)
        stream_id, host_id, farmer_id = await _sell(api, campaign_id, cause_id, _PEANUTS)
        others = []
        for goods in _OTHERS:
            other_id, _, _ = await _sell(api, campaign_id, cause_id, goods)
            others.append((goods.title, other_id))
        host = await _post(api, "/v1/principals", role="host", name=_PEANUTS.host, host_id=host_id)
        farmer = await _post(
            api, "/v1/principals", role="farmer", name=_PEANUTS.farmer, farmer_id=farmer_id
        )
        overlay = await _post(
            api, "/v1/principals", role="overlay", name="Main overlay", stream_id=stream_id
        )
    return Story(
        campaign_id,
        stream_id,
        _PEANUTS.sku,
        _PEANUTS.total,
        operator_key,
        host["key"],
        farmer["key"],
        overlay["key"],
        tuple(others),
    )


async def _begin(api: httpx.AsyncClient) -> tuple[str, str]:
    """Set up the campaign: who sells, what gifts may go to, a sponsor who doubles them, and a standing pledge."""
    campaign = await _post(
        api,
        "/v1/campaigns",
        name="Philanthropy Week",
        name_zh="公益周",
        currency="CNY",
        goal_minor=10_000_000,
    )
    causes = [
        (await _post(api, "/v1/beneficiaries", name=name, name_zh=name_zh))["id"]
        for name, name_zh in _CAUSES
    ]
    path = f"/v1/campaigns/{campaign['id']}"
    await _send(api, "PATCH", path, _TERMS)
    await _send(api, "PUT", f"{path}/causes", causes)
    await _post(
        api,
        f"{path}/matches",
        sponsor="Yangtze Credit Union",
        sponsor_zh="长江信用社",
        covers="gifts",
        ratio_bp=10_000,
        pot_minor=5_000_000,
    )
    await _post(
        api,
        f"{path}/pledges",
        name="0.3 % of all sales, for college places",
        name_zh="销售额的 0.3% 用于助学",
        beneficiary_id=causes[1],
        bp=30,
    )
    return campaign["id"], causes[0]


async def _sell(
    api: httpx.AsyncClient, campaign_id: str, cause_id: str, goods: _Goods
) -> tuple[str, str, str]:
    """Set up a product and the live stream that sells it; return stream, host and farmer ids."""
    host = await _post(api, "/v1/hosts", name=goods.host)
    farmer = await _post(
        api, "/v1/farmers", name=goods.farmer, name_zh=goods.farmer_zh, place=goods.place
    )
    await _post(
        api,
        "/v1/products",
        farmer_id=farmer["id"],
        sku=goods.sku,
        name=goods.name,
        name_zh=goods.name_zh,
        unit=goods.unit,
        unit_zh=goods.unit_zh,
    )
    stream = await _post(
        api,
        "/v1/streams",
        campaign_id=campaign_id,
        host_id=host["id"],
        title=goods.title,
        title_zh=goods.title_zh,
        goal_minor=goods.goal_minor,
    )
    await _send(
        api,
        "PUT",
        f"/v1/streams/{stream['id']}/offers/{goods.sku}",
        {
            "price_minor": goods.price_minor,
            "per_shopper_max": goods.per_shopper_max,
            "beneficiary_id": cause_id,
            "farmer_bp": goods.farmer_bp,
            "beneficiary_bp": goods.beneficiary_bp,
            "fees_bp": 10_000 - goods.farmer_bp - goods.beneficiary_bp,
            "beneficiary_fixed_minor": goods.beneficiary_fixed_minor,
            "total": goods.total,
        },
    )
    for state in ("scheduled", "live"):
        await _post(api, f"/v1/streams/{stream['id']}/state", state=state)
    return stream["id"], host["id"], farmer["id"]


async def _post(api: httpx.AsyncClient, path: str, **body: Any) -> dict[str, Any]:
    return await _send(api, "POST", path, body)


async def _send(api: httpx.AsyncClient, method: str, path: str, body: Any) -> dict[str, Any]:
    answer = await api.request(
        method, path, json=body, headers={"idempotency-key": secrets.token_hex(16)}
    )
    if answer.is_error:
        raise RuntimeError(f"{path} answered {answer.status_code}: {answer.text}")
    found: dict[str, Any] = answer.json()
    return found
