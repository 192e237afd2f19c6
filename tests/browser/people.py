"""The people of the peanut night, as the topics tell them: who is thanked, who leads, who matches, who grows."""

import time
from typing import Any

from playwright.async_api import Page

from tests.browser.conftest import Open
from tests.browser.scripted_backend import Backend
from tests.browser.story import FRONT, STREAM

GROWERS: dict[str, Any] = {
    "id": "frm_1",
    "name": "Zhengyang Growers",
    "name_zh": "正阳农户",
    "place": "Zhengyang, Henan",
}
BOARD: dict[str, Any] = {
    "currency": "CNY",
    "pinned_sku": "PEANUT-5KG",
    "timer": None,
    "cards": [
        {
            key: offer[key]
            for key in (
                "sku",
                "name",
                "name_zh",
                "unit",
                "unit_zh",
                "price_minor",
                "farmer_minor",
                "beneficiary_minor",
                "beneficiary",
                "opens_at",
            )
        }
        | {"farmer": GROWERS}
        for offer in FRONT["offers"]
    ],
    "shop_url": "https://stall.example/shop/str_peanuts",
}
FARMERS: dict[str, Any] = {
    "seq": 4270,
    "currency": "CNY",
    "items": [
        GROWERS | {"units": 9064, "income_minor": 21_672_024, "skus": ["PEANUT-5KG"]},
        {
            "id": "frm_2",
            "name": "Qianxi Chestnut Families",
            "name_zh": "迁西栗农",
            "place": "Qianxi, Hebei",
            "units": 1,
            "income_minor": 3500,
            "skus": ["CHESTNUT-2KG"],
        },
    ],
}
BUYERS = (
    "Li Na",
    "张伟",
    "Amara O.",
    "王芳",
    "João P.",
    "陈静",
    "Søren K.",
    "刘洋",
    "Fatima Z.",
    "赵磊",
    "Grandma Wu",
    "孙丽",
)


def leaders(*amounts: int) -> list[dict[str, Any]]:
    """Return givers by name for ``amounts``."""
    return [
        {"name": BUYERS[n % len(BUYERS)], "amount_minor": minor, "orders": 1}
        for n, minor in enumerate(amounts)
    ]


LEADERS: dict[str, Any] = {
    "seq": 4270,
    "currency": "CNY",
    "hour": leaders(88_800, 52_000),
    "today": leaders(520_000, 260_000, 88_800),
    "stream": leaders(888_800, 520_000, 288_850, 131_400, 99_900, 52_000),
}


def named(first: int, last: int) -> list[dict[str, Any]]:
    """Return the names numbered ``first`` to ``last``."""
    return [{"n": n, "name": f"{BUYERS[n % len(BUYERS)]} {n}"} for n in range(first, last + 1)]


NAMES: dict[str, Any] = {"count": 3066, "newest": named(3055, 3066)}
CREDITS: dict[str, Any] = {
    "count": 3066,
    "givers": 3412,
    "orders": 3597,
    "raised_minor": 1_284_560,
    "currency": "CNY",
    "seq": 4270,
}


def instant(in_s: float) -> str:
    """Return the moment that many seconds from now, as the wire has it."""
    at = time.time() + in_s
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03}Z"


def pot(**changes: Any) -> dict[str, Any]:
    """Return a match of Golden Mill's that is on."""
    return {
        "id": "mat_1",
        "sponsor": "Golden Mill",
        "sponsor_zh": "金磨坊",
        "covers": "gifts",
        "ratio_bp": 10_000,
        "pot_minor": 5_000_000,
        "left_minor": 4_321_000,
        "starts_at": instant(-600),
        "ends_at": instant(754),
        "on": True,
        **changes,
    }


def on_air(airing: str = "air_1", **changes: Any) -> dict[str, Any]:
    """Return an alert on air for two bags of peanuts."""
    return {
        "id": airing,
        "kind": "order",
        "name": "Li Na",
        "message": None,
        "dedication": None,
        "amount_minor": 5980,
        "currency": "CNY",
        "units": 2,
        "sku": "PEANUT-5KG",
        "count": 1,
        "within_s": 0,
        "biggest_minor": 0,
        "starts_at": instant(0),
        "ends_at": instant(6),
        "shown": False,
        **changes,
    }


def alerts(alert: dict[str, Any] | None, **changes: Any) -> dict[str, Any]:
    """Return the main group's state with ``alert`` on air."""
    return {
        "group": "main",
        "on_air": alert,
        "waiting": 0,
        "muted": False,
        "panic": False,
        "sound": None,
        **changes,
    }


BURST: dict[str, Any] = {
    "kind": "burst",
    "units": 214,
    "count": 131,
    "within_s": 3,
    "amount_minor": 639_860,
    "biggest_minor": 59_800,
}
GIFT: dict[str, Any] = {
    "kind": "gift",
    "name": "Grandma Wu 吴奶奶",
    "units": 0,
    "sku": None,
    "amount_minor": 520_000,
    "dedication": "the children of Liangshan",
    "message": "I sold peanuts on this very street in 1962. Play well, little ones, and pass the ball!",
}


async def tell(backend: Backend, part: str, **state: Any) -> None:
    """Publish the next state of a part of the stream."""
    await backend.say(f"stream/{STREAM}/{part}", **state)


async def tell_all(backend: Backend) -> None:
    """Publish the whole night, and let the key be the main overlay's."""
    me = {"id": "prn_1", "role": "overlay", "stream_id": STREAM}
    backend.reply("GET", "me", (200, me))
    backend.reply("GET", f"streams/{STREAM}/credits", (200, CREDITS))
    backend.reply("GET", f"streams/{STREAM}/names", (200, {"items": named(1, 60), "count": 60}))
    backend.reply("POST", f"streams/{STREAM}/alerts/main/shown", (200, {"first": True}))
    await tell(backend, "alerts/main", **alerts(None))
    await tell(backend, "matches", currency="CNY", items=[pot()])
    for part, state in (
        ("board", BOARD),
        ("farmers", FARMERS),
        ("leaders", LEADERS),
        ("names", NAMES),
    ):
        await tell(backend, part, **state)


async def overlay(
    open_page: Open,
    backend: Backend,
    widget: str,
    size: tuple[int, int] = (960, 540),
    before: str = "",
) -> Page:
    """Open a widget, with its parameters behind a question mark."""
    return await open_page(f"{backend.base}/overlay/{widget}#se_overlay_key", *size, before=before)
