"""Looking things up: single objects, pages newest first, and the few expansions our gateway asks for."""

import hmac
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from orders.payments.sandbox.books import Books
from orders.payments.sandbox.calls import Call
from orders.payments.sandbox.checkouts import find as find_session
from orders.payments.sandbox.disputes import find as find_dispute
from orders.payments.sandbox.errors import ApiError, invalid, missing, no_such
from orders.payments.sandbox.forms import Spec, group, integer, refuse_unknown, text, texts
from orders.payments.sandbox.intents import find
from orders.payments.sandbox.records import (
    Charge,
    CheckoutSession,
    Dispute,
    Event,
    PaymentIntent,
    Refund,
)

_ONE: Spec = {"expand": "list", "client_secret": "text"}
_PAGE: Spec = {
    "created": {"gt": "text", "gte": "text", "lt": "text", "lte": "text"},
    "expand": "list",
    "limit": "text",
    "starting_after": "text",
}
_EXPANDABLE_OF_INTENT = ("latest_charge", "latest_charge.balance_transaction")
_EXPANDABLE_OF_CHARGE = ("balance_transaction",)

# Who asks for the events of an older gap is told less than happened, as with Stripe.
EVENTS_KEPT_S = 30 * 86_400

T = TypeVar("T")


class Page(msgspec.Struct):
    """Stripe's list object."""

    data: list[Any]
    has_more: bool
    url: str
    object: str = "list"


def intent(books: Books, call: Call) -> PaymentIntent:
    """A browser sees an intent only with its client secret, as with Stripe."""
    refuse_unknown(call.params, _ONE)
    record = find(books, call.object_id)
    if call.key_kind == "publishable":
        require_client_secret(call, record.intent)
    return record.intent


def require_client_secret(call: Call, intent: PaymentIntent) -> None:
    """A browser proves with it that it is the payer's. Raises ApiError."""
    given = text(call.params, "client_secret") or ""
    if not hmac.compare_digest(given.encode(), intent.client_secret.encode()):
        raise invalid("client_secret", "The client_secret does not match this PaymentIntent.")


def intents(books: Books, call: Call) -> Page:
    """GET /v1/payment_intents."""
    refuse_unknown(call.params, _PAGE)
    found = (record.intent for record in _newest(books.intents.newest_first, call))
    return _page(_within(found, call), call, "/v1/payment_intents")


def charge(books: Books, call: Call) -> Charge:
    """GET /v1/charges/:id."""
    refuse_unknown(call.params, _ONE)
    found = books.charges.get(call.object_id)
    if found is None:
        raise no_such("charge", call.object_id)
    return found


def refund(books: Books, call: Call) -> Refund:
    """GET /v1/refunds/:id."""
    refuse_unknown(call.params, _ONE)
    record = books.refunds.by_id.get(call.object_id)
    if record is None:
        raise no_such("refund", call.object_id)
    return record.refund


def refunds(books: Books, call: Call) -> Page:
    """GET /v1/refunds, all or those of one charge or intent."""
    refuse_unknown(call.params, {**_PAGE, "charge": "text", "payment_intent": "text"})
    of_charge, of_intent = text(call.params, "charge"), text(call.params, "payment_intent")
    found = (
        record.refund
        for record in _newest(books.refunds.newest_first, call)
        if of_charge in (None, record.refund.charge)
        and of_intent in (None, record.refund.payment_intent)
    )
    return _page(_within(found, call), call, "/v1/refunds")


def disputes(books: Books, call: Call) -> Page:
    """GET /v1/disputes, all or those of one charge or intent."""
    refuse_unknown(call.params, {**_PAGE, "charge": "text", "payment_intent": "text"})
    of_charge, of_intent = text(call.params, "charge"), text(call.params, "payment_intent")
    found = (
        dispute
        for dispute in _newest(books.disputes.newest_first, call)
        if of_charge in (None, dispute.charge) and of_intent in (None, dispute.payment_intent)
    )
    return _page(_within(found, call), call, "/v1/disputes")


def dispute(books: Books, call: Call) -> Dispute:
    """GET /v1/disputes/:id."""
    refuse_unknown(call.params, _ONE)
    return find_dispute(books, call.object_id)


def checkout_sessions(books: Books, call: Call) -> Page:
    """GET /v1/checkout/sessions, all or those of one status or intent."""
    refuse_unknown(call.params, {**_PAGE, "payment_intent": "text", "status": "text"})
    of_intent, status = text(call.params, "payment_intent"), text(call.params, "status")
    if status not in (None, "open", "complete", "expired"):
        raise invalid("status", "status is open, complete or expired.")
    found = (
        record.session
        for record in _newest(books.sessions.newest_first, call)
        if of_intent in (None, record.session.payment_intent)
        and status in (None, record.session.status)
    )
    return _page(_within(found, call), call, "/v1/checkout/sessions")


def checkout_session(books: Books, call: Call) -> CheckoutSession:
    """GET /v1/checkout/sessions/:id."""
    refuse_unknown(call.params, {"expand": "list"})
    return find_session(books, call.object_id).session


def event(books: Books, call: Call) -> Event:
    """GET /v1/events/:id."""
    refuse_unknown(call.params, _ONE)
    found = books.events.by_id.get(call.object_id)
    if found is None:
        raise no_such("event", call.object_id)
    return found


def events(books: Books, call: Call) -> Page:
    """GET /v1/events, of the given types or of all."""
    refuse_unknown(call.params, {**_PAGE, "type": "text", "types": "list"})
    one, several = text(call.params, "type"), texts(call.params, "types")
    if one and several:
        raise invalid("types", "You may pass either type or types, but not both.")
    if len(several) > 20:
        raise invalid("types", "types holds at most 20 names.")
    patterns = [one] if one else several
    found = (
        event
        for event in _newest(books.events.newest_first, call, call.now_s - EVENTS_KEPT_S)
        if not patterns or any(_matches(event.type, pattern) for pattern in patterns)
    )
    return _page(_within(found, call), call, "/v1/events")


def balance(_books: Books, call: Call) -> dict[str, Any]:
    """Stripe's cheapest authenticated read, which our gateway uses as its ping."""
    refuse_unknown(call.params, {"expand": "list"})
    return {"object": "balance", "available": [], "livemode": False, "pending": []}


def refuse_unexpandable(call: Call) -> None:
    """Raise ApiError for an expansion we do not have, before the call has any effect."""
    path = call.endpoint.partition(" ")[2]
    allowed: tuple[str, ...] = ()
    if path.startswith("/v1/payment_intents"):
        allowed = _EXPANDABLE_OF_INTENT
    elif path.startswith("/v1/charges"):
        allowed = _EXPANDABLE_OF_CHARGE
    prefix = "data." if call.endpoint == "GET /v1/payment_intents" else ""
    for name in call.expand:
        if name not in [prefix + known for known in allowed]:
            raise ApiError(400, f"This property cannot be expanded ({name[:60]}).", param="expand")


def expanded(books: Books, found: Any, expand: list[str], prefix: str = "") -> Any:
    """The object, or a copy of it with its charge and the charge's balance transaction in place of ids."""
    names = [name.removeprefix(prefix) for name in expand]
    if not names:
        return found
    if isinstance(found, Page):
        data = [expanded(books, item, names, "data.") for item in found.data]
        return msgspec.structs.replace(found, data=data)
    if isinstance(found, Charge):
        return _with_balance(found)
    if isinstance(found, PaymentIntent) and isinstance(found.latest_charge, str):
        charge_found = books.charges[found.latest_charge]
        if _EXPANDABLE_OF_INTENT[1] in names:
            charge_found = _with_balance(charge_found)
        return msgspec.structs.replace(found, latest_charge=charge_found)
    return found


def _with_balance(charge_found: Charge) -> Charge:
    if charge_found.balance_transaction is None:
        return charge_found
    return msgspec.structs.replace(charge_found, balance_transaction=charge_found.balance())


def _matches(event_type: str, pattern: str) -> bool:
    return event_type.startswith(pattern[:-1]) if pattern.endswith("*") else event_type == pattern


def _bound(call: Call, name: str) -> int | None:
    value = text(group(call.params, "created"), name)
    return None if value is None else integer(value, f"created[{name}]")


def _newest(newest_first: Any, call: Call, oldest_kept_s: int = 0) -> Iterator[Any]:
    gte_s, gt_s = _bound(call, "gte"), _bound(call, "gt")
    oldest_s = max(gte_s or 0, 0 if gt_s is None else gt_s + 1, oldest_kept_s)
    after_id = text(call.params, "starting_after")
    if "starting_after" in call.params and after_id is None:
        raise missing("starting_after")
    return _refusing_unknown_cursor(newest_first(oldest_s, after_id), after_id)


def _refusing_unknown_cursor(found: Iterator[T], after_id: str | None) -> Iterator[T]:
    try:
        yield from found
    except KeyError as error:
        raise no_such("object", after_id or "", "starting_after") from error


def _within(found: Iterable[T], call: Call) -> Iterator[T]:
    lte_s, lt_s = _bound(call, "lte"), _bound(call, "lt")
    bounds = [] if lte_s is None else [lte_s]
    bounds += [] if lt_s is None else [lt_s - 1]
    newest_s = min(bounds) if bounds else None
    for item in found:
        if newest_s is None or item.created <= newest_s:  # type: ignore[attr-defined]
            yield item


def _page(found: Iterator[Any], call: Call, url: str) -> Page:
    given = text(call.params, "limit")
    limit = 10 if given is None else integer(given, "limit")
    if not 1 <= limit <= 100:
        raise invalid("limit", "limit is from 1 to 100.", "parameter_invalid_integer")
    data: list[Any] = []
    for item in found:
        if len(data) == limit:
            return Page(data, has_more=True, url=url)
        data.append(item)
    return Page(data, has_more=False, url=url)
