"""Everything that people do to a sale over HTTP, in the order of one night, and which topics tell of it.

A new action is one line: exactly the topics it moves, or why it moves none. ``{names}`` in addresses and bodies are
ids that an earlier action, or the sale itself, made known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from realtime.rehearsals.play import PARTS

# What Stripe's sandbox sends to the webhook by itself, and what a rehearsal does by itself.
HOOKS: Final = object()
PLAYS_ON: Final = ""


@dataclass(frozen=True)
class Action:
    """A request as the host (or whoever ``role`` is), and the parts that tell of it: no others do.

    ``why`` says of one that moves none why that is right. ``keeps`` is what the id in the answer is known as from then on.
    """

    name: str
    request: str
    changes: frozenset[str]
    body: Any = None
    role: str = "host"
    keeps: str = ""
    why: str = ""


def _does(
    name: str, request: str, changes: str, body: Any = None, role: str = "host", keeps: str = ""
) -> Action:
    return Action(name, request, frozenset(changes.split()), body, role, keeps)


def _quiet(why: str, request: str, body: Any = None, role: str = "host", keeps: str = "") -> Action:
    return Action(request, request, frozenset(), body, role, keeps, why)


STREAM: Final = "/v1/streams/{stream_id}"
CAMPAIGN: Final = "/v1/campaigns/{campaign_id}"
ORDER: Final = "/v1/orders/{order_id}"
GIVING: Final = "/v1/orders/{gift_id}"
PAID: Final = "/v1/orders/{paid_id}"
WEBHOOK: Final = "POST /v1/webhooks/stripe"
CARD: Final = {"confirmation_token": "{token}"}
BAGS: Final = {"lines": [{"sku": "{sku}", "quantity": 2}]}
BACK: Final = {"lines": [{"sku": "{sku}", "quantity": 1}], "reason": "goodwill", "restock": True}
AIRING: Final = {"airing": "{airing}"}
AGAIN: Final = {"of_stream_id": "{stream_id}", "speed": 10}
NOW: Final = {"ends_at": "2000-01-01T00:00:00Z"}
PLEDGE: Final = {"beneficiary_id": "{beneficiary_id}", "name": "For the children", "bp": 30}
BAG: Final = {"lines": [{"sku": "{sku}", "quantity": 1}]}
WORDS: Final = {"name": "Li Na", "message": "Play well, children!", "show": True}
OTHER_WORDS: Final = {**WORDS, "message": "Play very well!"}
GROUP: Final = {"show_ms": 20_000, "hold_s": 600, "hold_said_s": 3_600, "sound": "chime"}
RULES: Final = {"mode": "two_pass", "blocked": ["scam"]}
STEP: Final = {"counts": "units", "threshold": 5, "title": "Five bags", "title_zh": "五袋"}
MATCH: Final = {"sponsor": "Mill", "ratio_bp": 10_000, "pot_minor": 100_000, "covers": "all"}
GIFT: Final = {
    "amount_minor": 500,
    "causes": [{"beneficiary_id": "{beneficiary_id}", "share_bp": 10_000}],
    **WORDS,
}
SHARES: Final = {"farmer_bp": 8000, "beneficiary_bp": 1500, "fees_bp": 500}
TERMS: Final = {"per_shopper_max": 50, "beneficiary_id": "{beneficiary_id}", **SHARES}
NEW_OFFER: Final = {**TERMS, "price_minor": 990, "total": 10}
CONTACT: Final = {"name": "Wang Fang", "contact": "w@example.org", "address": "12 Peanut Road"}
PAYOUT: Final = {"kind": "payout", "account": "{account}", "amount_minor": 1, "reference": "17"}
OVERLAY: Final = {"role": "overlay", "name": "Second screen", "stream_id": "{stream_id}"}
PRODUCT: Final = {"farmer_id": "{farmer_id}", "sku": "NEW-1", "name": "Oil", "unit": "can"}

SALE: Final = "tally tonight campaign stock farmers sales leaders matches milestones "
SCREENS: Final = "alerts/main alerts/side "
NAMED: Final = "review names leaders "
SHOWN: Final = NAMED + SCREENS
REHEARSED: Final = " ".join(f"rehearsal/{part}" for part in PARTS)
REPLAYED: Final = " ".join(
    f"rehearsal/{part}" for part in PARTS if part not in ("board", "milestones", "alerts/main")
)
GIVEN: Final = "tally tonight campaign farmers leaders matches milestones "


def _decided(decision: str, revision: int, order_id: str = "{order_id}") -> dict[str, Any]:
    one = {"order_id": order_id, "revision": revision, "decision": decision}
    return {"decisions": [one]}


_UNOFFERED: Final = "what is not offered in a stream is on no screen"
_ACCESS: Final = "who may come in is no figure"
_PARCEL: Final = "parcels are between staff and a shopper"
_WISH: Final = "a wish moves nothing before staff grant it"

_BEHIND_THE_SCENES: Final = (
    _quiet(_UNOFFERED, "POST /v1/campaigns", {"name": "A", "currency": "CNY"}, "operator"),
    _quiet(_UNOFFERED, "POST /v1/hosts", {"name": "A"}, "operator"),
    _quiet(_UNOFFERED, "POST /v1/farmers", {"name": "A", "place": "B"}, "operator"),
    _quiet(_UNOFFERED, "POST /v1/beneficiaries", {"name": "A"}, "operator"),
    _quiet(_UNOFFERED, "POST /v1/products", PRODUCT, "operator"),
    _quiet(
        "a draft is shown to nobody",
        "POST /v1/streams",
        {"campaign_id": "{campaign_id}", "host_id": "{host_id}", "title": "A"},
        "operator",
    ),
    _quiet(
        "causes are read by the shop", f"PUT {CAMPAIGN}/causes", ["{beneficiary_id}"], "operator"
    ),
    _quiet("postage is read by the shop", f"PUT {STREAM}/shipping", {"type": "free"}),
    _quiet("a trial sum", "POST /v1/splits/preview", {"price_minor": 2990, **SHARES}),
    _quiet(_ACCESS, "POST /v1/principals", OVERLAY, "host", "other_id"),
    _quiet(_ACCESS, "POST /v1/principals/{other_id}/keys", {}),
    _quiet(_ACCESS, "DELETE /v1/principals/{other_id}/keys"),
    _quiet(_ACCESS, "DELETE /v1/principals/{other_id}"),
    _quiet(_ACCESS, "POST /v1/shoppers", None, "public"),
    _quiet(_ACCESS, "POST /v1/socket-tickets", {"topics": ["stream/{stream_id}/tally"]}, "public"),
    _quiet(_PARCEL, f"PUT {PAID}/contact", CONTACT, "shopper"),
    _quiet(_PARCEL, f"POST {PAID}/fulfilment", {"step": "PACK"}),
    _quiet(_PARCEL, f"POST {PAID}/fulfilment", {"step": "SHIP"}),
    _quiet(_PARCEL, f"DELETE {PAID}/contact", None, "shopper"),
    _quiet(_WISH, f"POST {PAID}/refund-requests", BAG, "shopper", "request_id"),
    _quiet(_WISH, f"POST {PAID}/refund-requests/{{request_id}}/decline"),
    _quiet(_WISH, f"POST {PAID}/refund-requests", BAG, "shopper"),
    _quiet(_WISH, f"DELETE {PAID}/refund-requests", None, "shopper"),
)
_BOARD: Final = (
    _does("the goal changes", f"PATCH {STREAM}", "tally", {"goal_minor": 77_700}),
    _does("the title changes", f"PATCH {STREAM}", "status", {"title": "Peanuts again"}),
    _does("a product is pinned", f"PATCH {STREAM}/board", "board", {"pinned_sku": "{sku}"}),
    _does("a pin is taken down", f"PATCH {STREAM}/board", "board", {"pinned_sku": None}),
    _does("a timer is set", f"PUT {STREAM}/timer", "board", {"what": "closes", "in_s": 600}),
    _does("a timer is taken down", f"DELETE {STREAM}/timer", "board"),
    _does("tonight begins", f"PUT {STREAM}/floor", "tonight"),
    _does("tonight is all again", f"DELETE {STREAM}/floor", "tonight"),
    _does("a milestone is set", f"POST {STREAM}/milestones", "milestones", STEP, keeps="step_id"),
    _does(
        "a milestone changes",
        f"PATCH {STREAM}/milestones/{{step_id}}",
        "milestones",
        {"threshold": 4},
    ),
    _does("a match begins", f"POST {CAMPAIGN}/matches", "matches", MATCH, "operator", "pot_id"),
    _does(
        "the campaign's goal changes",
        f"PATCH {CAMPAIGN}",
        "campaign",
        {"goal_minor": 5},
        "operator",
    ),
    _does("stock is added", f"POST {STREAM}/offers/{{sku}}/stock", "stock", {"add": 7}),
)
_SCREENS: Final = (
    _does("the screens are set", f"PUT {STREAM}/alert-groups/main", "alerts/main", GROUP),
    _does("a group is made", f"PUT {STREAM}/alert-groups/side", "alerts/side", GROUP),
    _does("screens are tried", f"POST {STREAM}/alerts/test", SCREENS, {}),
)
_PAYING: Final = (
    _does("an order is placed", f"POST {STREAM}/orders", "stock", BAG, "giver", "order_id"),
    _quiet("nobody reads what is not paid for", f"PUT {ORDER}/message", WORDS, "giver"),
    _quiet(
        "Stripe's page; Stripe tells what is paid there", f"POST {ORDER}/checkout", None, "giver"
    ),
    _quiet("Stripe's page, left unpaid", f"DELETE {ORDER}/checkout", None, "giver"),
    _quiet("paid is what Stripe says is paid", f"POST {ORDER}/pay", CARD, "giver"),
    _does("Stripe says so", WEBHOOK, SALE + "review", HOOKS, "public"),
)
_REVIEW: Final = (
    _does(
        "a text is claimed", f"PUT {STREAM}/review/{{order_id}}/claim", "review", None, "moderator"
    ),
    _does("two have to look", f"PUT {STREAM}/moderation", "review", RULES),
    _does("a text passes", f"POST {STREAM}/review", "review", _decided("pass", 1), "moderator"),
    _does("it is shown", f"POST {STREAM}/review", SHOWN, _decided("show", 2)),
    _does("it was read", f"PUT {STREAM}/reading/{{order_id}}", "review", {"mark": "read"}),
    _does("it is passed by", f"PUT {STREAM}/reading/{{order_id}}", "review", {"mark": "skipped"}),
    _does("it is hidden", f"POST {STREAM}/review", NAMED, _decided("hide", 3)),
    _does("it is shown again", f"POST {STREAM}/review", NAMED, _decided("show", 4)),
    _does("other words", f"PUT {ORDER}/message", NAMED, OTHER_WORDS, "giver"),
    _does("they are shown", f"POST {STREAM}/review", NAMED, _decided("show", 6)),
    _does("words are taken back", f"DELETE {ORDER}/message", NAMED, None, "giver"),
)
_MORE: Final = (
    _does("more is ordered", f"POST {STREAM}/orders", "stock", BAGS, "giver", "order_id"),
    _quiet("paid is what Stripe says is paid", f"POST {ORDER}/pay", CARD, "giver"),
    _quiet("promised is not paid", f"POST {STREAM}/donations", GIFT, "giver", "gift_id"),
    _does("Stripe says so", WEBHOOK, SALE + SCREENS, HOOKS, "public"),
    _does("a unit goes back", f"POST {ORDER}/refunds", SALE, BACK),
    _quiet("paid is what Stripe says is paid", f"POST {GIVING}/pay", CARD, "giver"),
    _does("Stripe says that a gift is paid", WEBHOOK, GIVEN + "review", HOOKS, "public"),
    _does("a giver is named", f"POST {STREAM}/review", SHOWN, _decided("show", 1, "{gift_id}")),
)
_ON_AIR: Final = (
    _does("alerts go on", f"PUT {STREAM}/alerts/muted", SCREENS, {"muted": False}),
    _does(
        "a screen shows it", f"POST {STREAM}/alerts/main/shown", "alerts/main", AIRING, "overlay"
    ),
    _does("it is skipped", f"POST {STREAM}/alerts/main/skip", "alerts/main", AIRING),
    _does("panic", f"PUT {STREAM}/alerts/panic", SCREENS, {"panic": True}),
    _does("back on air", f"PUT {STREAM}/alerts/panic", SCREENS, {"panic": False}),
    _does("a giver is forgotten", f"DELETE {GIVING}/data", NAMED + "alerts/main", None, "giver"),
    _does("alerts are muted", f"PUT {STREAM}/alerts/muted", SCREENS, {"muted": True}),
    _does("the last is skipped", f"POST {STREAM}/alerts/main/skip", "alerts/main", AIRING),
    _does("a group is taken away", f"DELETE {STREAM}/alert-groups/side", "alerts/side"),
)
_END: Final = (
    _does(
        "a price changes", f"PUT {STREAM}/offers/{{sku}}", "board", {**TERMS, "price_minor": 1990}
    ),
    _does("more is on offer", f"PUT {STREAM}/offers/NEW-1", "board stock farmers", NEW_OFFER),
    _does("a milestone is gone", f"DELETE {STREAM}/milestones/{{step_id}}", "milestones"),
    _does("a match ends", f"PATCH {CAMPAIGN}/matches/{{pot_id}}", "matches", NOW, "operator"),
    _quiet("it counts with the next sale", f"POST {CAMPAIGN}/pledges", PLEDGE, "operator"),
    _does("a farmer is paid", f"POST {CAMPAIGN}/transfers", "campaign", PAYOUT, "operator"),
    _does("an order is taken back", "POST /v1/orders/{first_id}/cancel", "stock", None, "shopper"),
    _does("the stream ends", f"POST {STREAM}/state", "status", {"state": "ended"}),
    _does("it is settled", f"POST {STREAM}/state", "status", {"state": "settled"}),
    _does("it is played again", "PUT /v1/streams/{stage_id}/rehearsal", REHEARSED, AGAIN),
    _does("ten minutes of that are a whole night", PLAYS_ON, REPLAYED),
    _does("it is stopped", "DELETE /v1/streams/{stage_id}/rehearsal", "rehearsal/status"),
)
ACTIONS: Final[Sequence[Action]] = (
    *_SCREENS,
    *_BEHIND_THE_SCENES,
    *_BOARD,
    *_PAYING,
    *_REVIEW,
    *_MORE,
    *_ON_AIR,
    *_END,
)
