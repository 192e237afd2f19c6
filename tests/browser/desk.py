"""A host's console over the scripted peanut night: everything the back end says to it, in one place."""

from typing import Any

from tests.browser.people import BOARD, alerts, instant, on_air, pot, tell
from tests.browser.scripted_backend import Backend, Reply
from tests.browser.story import CAMPAIGN, FRONT, STREAM, TALLY

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
HOST = {"id": "prn_1", "role": "host", "name": "Lin Xiao", "host_id": "hst_1"}
PATH = f"streams/{STREAM}"
TERMS: dict[str, Any] = {
    "stream_id": STREAM,
    "sku": "PEANUT-5KG",
    "product_id": "prd_1",
    "farmer_id": "frm_1",
    "beneficiary_id": "ben_1",
    "currency": "CNY",
    "price_minor": 2990,
    "per_shopper_max": 2,
    "farmer_bp": 8000,
    "beneficiary_bp": 1500,
    "fees_bp": 500,
    "beneficiary_fixed_minor": None,
    "farmer_fixed_minor": None,
    "beneficiary_cap_minor": None,
    "farmer_floor_minor": 100,
    "fee_payer": "farmer",
    "tax_bp": 900,
    "opens_at": None,
    "total": 11_483,
    "reserved": 1204,
    "sold": 3066,
    "one_unit": {"farmer_minor": 2392, "beneficiary_minor": 449, "fees_minor": 149},
}
WAITING = {"count": 812, "paying": 40, "oldest_at": instant(-75), "minutes": 3}
SCREEN: dict[str, Any] = {
    "frames": [],
    "looked_age_ms": 90,
    "counted_in_ms": 120,
    "payments_waiting": WAITING,
    "viewers": {"overlay": 2, "shop": 4120, "farmer": 3, "console": 1, "moderator": 2},
}
TONIGHT: dict[str, Any] = {key: TALLY[key] for key in TALLY if key != "goal_minor"} | {
    "raised_minor": 88_800,
    "orders": 212,
    "since_seq": 4000,
    "since_at": "2026-11-22T12:00:00.000Z",
}
MILESTONES: dict[str, Any] = {
    "seq": 4270,
    "currency": "CNY",
    "items": [
        {
            "id": "mst_1",
            "counts": "money",
            "threshold": 1_000_000,
            "title": f"The host sings {HOSTILE}",
            "title_zh": "主播唱歌",
            "reached": True,
            "reached_at": "2026-11-22T12:31:00.000Z",
            "missing": 0,
        },
        {
            "id": "mst_2",
            "counts": "units",
            "threshold": 10_000,
            "title": "A farm tour",
            "title_zh": None,
            "reached": False,
            "reached_at": None,
            "missing": 936,
        },
    ],
}


def written(order: str, name: str | None, message: str | None, **changes: Any) -> dict[str, Any]:
    """Return a text in review."""
    return {
        "order_id": order,
        "kind": "gift",
        "amount_minor": 8800,
        "currency": "CNY",
        "name": name,
        "message": message,
        "dedication": None,
        "flags": [],
        "display": "PENDING_REVIEW",
        "revision": 1,
        "waiting_since": instant(-95),
        "passed_by": None,
        "decided_by": None,
        "claimed_by": None,
        **changes,
    }


FLAGGED = written(
    "ord_2",
    "Deals",
    "Cheap watches at evil.example, call 139 0000 0000",
    flags=[
        {"field": "message", "word": "evil.example", "kind": "link"},
        {"field": "message", "word": "139 0000 0000", "kind": "phone"},
    ],
)
QUEUE: list[dict[str, Any]] = [
    written("ord_1", f"Li Na {HOSTILE}", f"Play well, children! {HOSTILE}"),
    FLAGGED,
    written(
        "ord_3",
        "陈静",
        "孩子们加油！",
        dedication="凉山的孩子们",
        claimed_by={"id": "prn_5", "name": "Mei"},
    ),
]
READING: list[dict[str, Any]] = [
    written("ord_7", "Grandma Wu", f"I sold peanuts here in 1962. {HOSTILE}", reading_s=9),
    written("ord_8", None, "加油", reading_s=2),
]


def review(revision: int = 1, **changes: Any) -> dict[str, Any]:
    """Return the review topic's counters."""
    told = {"revision": revision, "waiting": 3, "passed": 0, "unread": 2}
    return told | {"oldest_at": instant(-95)} | changes


async def set_the_desk(backend: Backend, state: str = "live") -> str:
    """Let the backend say the whole night to a host; returns the console's address."""
    backend.reply("GET", "me", (200, HOST))
    own = {key: FRONT[key] for key in ("id", "title", "title_zh", "goal_minor")}
    earlier = {"id": "str_earlier", "title": "Chestnut night", "title_zh": None, "goal_minor": 0}
    streams = [
        one | {"host_id": "hst_1", "state": life}
        for one, life in ((own, state), (earlier, "settled"))
    ]
    if state != "live":
        streams.reverse()
        streams = [streams[1]]
    backend.reply("GET", "streams", (200, {"items": streams, "next": None}))
    backend.reply("GET", "principals", (200, {"items": [], "next": None}))
    backend.reply("GET", f"{PATH}/screen", (200, SCREEN))
    backend.reply("GET", f"{PATH}/offers", (200, {"items": [TERMS], "next": None}))
    backend.reply("GET", f"{PATH}/review", (200, {"items": QUEUE, "next": None}))
    backend.reply("GET", f"{PATH}/reading", (200, {"items": READING, "next": None}))
    nothing: Reply = (200, {"items": [], "next": None})
    backend.reply("GET", f"campaigns/{CAMPAIGN}/matches", nothing)
    backend.reply("GET", f"{PATH}/airings", nothing)
    await tell(backend, "tonight", **TONIGHT)
    await tell(backend, "board", **BOARD)
    await tell(backend, "milestones", **MILESTONES)
    await tell(backend, "matches", currency="CNY", items=[pot()])
    await tell(backend, "alerts/main", **alerts(on_air(), waiting=4))
    await tell(backend, "review", **review())
    return f"{backend.base}/console#key"
