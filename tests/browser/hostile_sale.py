"""A sale on which everybody has a hostile name: 120 products, causes, sponsors, moderators, writers and letters.

What there are many of has a name each, in the order of ``HOSTILE``. What there is one of has all the names in one,
each on a line of its own, so that a page is read once for all of them.
"""

from typing import Any, Final

from tests.browser.desk import HOST, PATH, set_the_desk, written
from tests.browser.hostile_names import HOSTILE
from tests.browser.people import pot, tell
from tests.browser.scripted_backend import Backend
from tests.browser.story import BOARD, MATCH, ORDER, RICH_FRONT, order

ALL: Final = "\n".join(HOSTILE)
SKUS: Final = tuple(f"SKU-{n}" for n in range(len(HOSTILE)))
AT: Final = "2026-11-22T12:00:00.000Z"


def page_of(items: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
    """Return the answer to a list that ends on its first page."""
    return 200, {"items": items, "next": None}


def both(name: str, field: str = "name") -> dict[str, Any]:
    """Return a name that has no other in Chinese."""
    return {field: name, f"{field}_zh": None}


def _offer(sku: str, name: str) -> dict[str, Any]:
    first: dict[str, Any] = RICH_FRONT["offers"][0]
    farmer = first["farmer"] | both(name) | {"place": name}
    cause = first["beneficiary"] | both(name)
    named = both(name) | both(name, "unit")
    return first | named | {"sku": sku, "farmer": farmer, "beneficiary": cause}


OFFERS: Final = [_offer(sku, name) for sku, name in zip(SKUS, HOSTILE, strict=True)]
CAUSES: Final = [{"id": f"ben_{n}", **both(name)} for n, name in enumerate(HOSTILE)]
MATCHES: Final = [
    MATCH | both(name, "sponsor") | {"id": f"mat_{n}", "ends_at": None}
    for n, name in enumerate(HOSTILE)
]
POTS: Final = [pot(id=f"mat_{n}", **both(name, "sponsor")) for n, name in enumerate(HOSTILE)]
FRONT: Final[dict[str, Any]] = RICH_FRONT | {
    **both(ALL, "title"),
    "host": {"id": "hst_1", "name": ALL},
    "seller": ALL,
    **both(ALL, "refund_terms"),
    "gifts": RICH_FRONT["gifts"] | {"causes": CAUSES},
    "matches": MATCHES,
    "offers": OFFERS,
}
# One product and one cause, which a page tells in other words than many.
LONE_FRONT: Final[dict[str, Any]] = FRONT | {
    "gifts": RICH_FRONT["gifts"] | {"causes": [{"id": "ben_1", **both(ALL)}]},
    "matches": [MATCH | both(ALL, "sponsor")],
    "offers": [_offer(SKUS[0], ALL)],
}
MILESTONES: Final[dict[str, Any]] = {
    "seq": 4270,
    "currency": "CNY",
    "items": [
        {
            "id": f"mst_{n}",
            "counts": "money",
            "threshold": 100 * (n + 1),
            **both(name, "title"),
            "reached": False,
            "reached_at": None,
            "missing": 100,
        }
        for n, name in enumerate(HOSTILE)
    ],
}
LINES: Final = [
    {"sku": sku, "quantity": 1, "unit_minor": 2990, "amount_minor": 2990, "tax_minor": 0}
    for sku in SKUS
]
WANTED: Final = [{"sku": sku, "quantity": 1} for sku in SKUS]
STREAMS: Final = [
    {"id": f"str_{n}", **both(name, "title"), "state": "ended", "goal_minor": 0}
    | {"host_id": "hst_1", "host": {"id": "hst_1", "name": name}}
    for n, name in enumerate(HOSTILE)
]


def card(name: str) -> dict[str, Any]:
    """Return the first product's card on the board, under another name."""
    offer = _offer(SKUS[0], name)
    return {key: offer[key] for key in BOARD["cards"][0]}


def texts() -> list[dict[str, Any]]:
    """Return texts in review: of each, everything was written, flagged, passed on and looked at by its name."""
    whose = [{"id": f"prn_of_{n}", "name": name} for n, name in enumerate(HOSTILE)]
    return [
        written(f"ord_{n}", name, name, dedication=name, reading_s=9)
        | {"flags": [{"field": "message", "word": name, "kind": "blocked"}]}
        | {"passed_by": whose[n], "decided_by": whose[n], "claimed_by": whose[n]}
        for n, name in enumerate(HOSTILE)
    ]


def whole_order(state: str, **changes: Any) -> dict[str, Any]:
    """Return an order of every product, with a gift to every cause."""
    gifts = [
        {"kind": "gift", "beneficiary_id": cause["id"], "amount_minor": 100} | both(cause["name"])
        for cause in CAUSES
    ]
    words = {"seller": ALL, "refund_terms": ALL, "refund_terms_zh": None}
    return order(state, lines=LINES, gifts=gifts, contact_given=True, **(words | changes))


def wishes(state: str) -> list[dict[str, Any]]:
    """Return what was asked back: each product once, with its name for a reason."""
    return [
        {"id": f"rrq_{n}", "order_id": ORDER, "lines": [WANTED[n]], "reason": name}
        | {"state": state, "refund_id": None, "created_at": AT, "decided_at": None}
        for n, name in enumerate(HOSTILE)
    ]


async def set_the_hostile_desk(backend: Backend) -> str:
    """Let the backend say all of it to a host; returns the console's address."""
    address = await set_the_desk(backend)
    backend.storefront = FRONT
    await tell(backend, "board", **(BOARD | {"cards": [card(HOSTILE[0])], "pinned_sku": None}))
    live = {"id": FRONT["id"], **both("Peanuts", "title"), "state": "live", "goal_minor": 0}
    backend.reply("GET", "me", (200, HOST))
    backend.reply("GET", "streams", page_of([live | {"host_id": "hst_1"}, *STREAMS]))
    moderators = [
        {"id": f"prn_of_{n}", "role": "moderator", "name": name, "disabled_at": None}
        for n, name in enumerate(HOSTILE)
    ]
    backend.reply("GET", "principals", page_of(moderators))
    backend.reply("GET", f"{PATH}/review", page_of(texts()))
    everything = written("ord_all", ALL, ALL, dedication=ALL, reading_s=9)
    backend.reply("GET", f"{PATH}/reading", page_of([everything, *texts()]))
    backend.reply("GET", f"campaigns/{FRONT['campaign']['id']}/matches", page_of(MATCHES))
    everything = wishes("OPEN")[0] | {"id": "rrq_all", "lines": WANTED}
    backend.reply("GET", f"{PATH}/refund-requests", page_of([everything, *wishes("OPEN")]))
    backend.reply("GET", f"orders/{ORDER}", (200, whole_order("PAID")))
    left = {"items": [], "refundable": {"amount_minor": 5980, "currency": "CNY"}}
    backend.reply("GET", f"orders/{ORDER}/refunds", (200, left))
    life = [{"at": AT, "code": "placed", "text": name, "data": {}} for name in HOSTILE]
    sums = {"received_minor": 5980, "refunded_minor": 0, "disputed_minor": 0}
    told = {"order_id": ORDER, "kind": "goods", "state": "PAID", "contact_given": True}
    backend.reply(
        "GET", f"orders/{ORDER}/explain", (200, told | sums | {"complete": True, "items": life})
    )
    return address
