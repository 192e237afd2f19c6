"""Checkout Sessions: one order's payment on a page of the provider's, open until it is paid or its time is over."""

from orders.payments.sandbox.books import Books, new_id
from orders.payments.sandbox.calls import Call
from orders.payments.sandbox.cards import OTHER_METHODS, card_of_number, other_means
from orders.payments.sandbox.errors import ApiError, invalid, missing, no_such
from orders.payments.sandbox.forms import (
    Params,
    Spec,
    boolean,
    group,
    integer,
    refuse_unknown,
    required,
    text,
    text_map,
    url,
)
from orders.payments.sandbox.intents import make_canceled
from orders.payments.sandbox.methods import (
    OPTIONS_SPEC,
    read_method_options,
    read_method_types,
)
from orders.payments.sandbox.money import check_amount_minor, read_currency, read_metadata
from orders.payments.sandbox.records import (
    CheckoutSession,
    IntentRecord,
    PaymentIntent,
    SessionRecord,
)
from orders.payments.sandbox.tries import attempt, conclude, note_card

OPEN_S_MIN = 30 * 60
OPEN_S_MAX = 24 * 3600
NAME_CHARS_MAX = 250

# One line is all that our protocol sends: an order is one amount, and what is in it stays with us.
_ITEM: Spec = {
    "price_data": {
        "currency": "text",
        "product_data": {"name": "text", "description": "text"},
        "unit_amount": "text",
    },
    "quantity": "text",
}
_CREATE: Spec = {
    "adaptive_pricing": {"enabled": "text"},
    "cancel_url": "text",
    "client_reference_id": "text",
    "expand": "list",
    "expires_at": "text",
    "line_items": {"0": _ITEM},
    "locale": "text",
    "metadata": "map",
    "mode": "text",
    "payment_intent_data": {
        "description": "text",
        "metadata": "map",
    },
    "payment_method_options": OPTIONS_SPEC,
    "payment_method_types": "list",
    "submit_type": "text",
    "success_url": "text",
    "ui_mode": "text",
}


def create(books: Books, call: Call) -> CheckoutSession:
    """POST /v1/checkout/sessions, of mode payment with one line."""
    params = call.params
    refuse_unknown(params, _CREATE)
    if required(params, "mode") != "payment":
        raise invalid("mode", "The sandbox takes mode payment.")
    if text(params, "ui_mode") not in (None, "hosted_page"):
        raise invalid("ui_mode", "The sandbox takes ui_mode hosted_page.")
    currency, amount_minor, name = _line(params)
    boolean(group(params, "adaptive_pricing"), "enabled", default=True)
    types = read_method_types(params, currency)
    about_intent = group(params, "payment_intent_data")
    success_url = url(params, "success_url")
    if success_url is None:
        raise missing("success_url")
    if len(books.sessions) >= call.objects_max:
        raise ApiError(503, "The sandbox is full.", error_type="api_error")
    session_id = new_id("cs_test")
    session = CheckoutSession(
        id=session_id,
        amount_subtotal=amount_minor,
        amount_total=amount_minor,
        cancel_url=url(params, "cancel_url"),
        client_reference_id=_short(params, "client_reference_id", 200),
        created=call.now_s,
        currency=currency,
        expires_at=_expires_at(params, call.now_s),
        locale=text(params, "locale"),
        metadata=read_metadata(text_map(params, "metadata")),
        payment_method_options=read_method_options(params),
        payment_method_types=types or ("card",),
        success_url=success_url,
        url=f"{call.origin}/c/pay/{session_id}",
    )
    record = SessionRecord(
        session,
        item_name=name,
        description=text(about_intent, "description"),
        intent_metadata=read_metadata(text_map(about_intent, "metadata")),
    )
    books.put(record)
    return session


def expire(books: Books, call: Call) -> CheckoutSession:
    """POST /v1/checkout/sessions/:id/expire, of an open one alone."""
    refuse_unknown(call.params, {"expand": "list"})
    record = find(books, call.object_id)
    status = record.session.status
    if status != "open":
        message = (
            'Only Checkout Sessions with a status in ["open"] can be expired. '
            f"This Checkout Session has a status of `{status}`."
        )
        raise ApiError(400, message, param="session", stored=True)
    _expire(books, record, call.now_s)
    return record.session


def expire_due(books: Books, now_s: int) -> None:
    """Those whose time is over expire by themselves."""
    for record in books.expired_sessions(now_s):
        _expire(books, record, now_s)


def pay(books: Books, call: Call) -> PaymentIntent:
    """What the page's form does: `means` is a card number or another method. Raises ApiError for a decline."""
    refuse_unknown(call.params, {"means": "text"})
    record = find(books, call.object_id)
    _require_open(record, call.now_s)
    intent_record = _intent_of(books, record)
    if intent_record is not None and intent_record.intent.status == "requires_action":
        raise ApiError(400, "The bank is being asked already.")
    means = required(call.params, "means")
    if means not in OTHER_METHODS and not (means.isascii() and means.isdecimal()):
        raise invalid("means", "Not a means of this page.")
    card = other_means(means) if means in OTHER_METHODS else card_of_number(means)
    if card.method not in record.session.payment_method_types:
        raise invalid("means", "This session does not take that method.")
    if intent_record is None:
        intent_record = _new_intent(books, call, record)
    note_card(intent_record, card)
    intent_record.return_url = record.session.success_url
    attempt(books, call, intent_record)
    return intent_record.intent


def answer_bank(books: Books, call: Call) -> PaymentIntent:
    """The page's second form: the shopper's `outcome` at the bank, succeed or fail."""
    refuse_unknown(call.params, {"outcome": "text"})
    record = find(books, call.object_id)
    _require_open(record, call.now_s)
    intent_record = _intent_of(books, record)
    if intent_record is None or intent_record.intent.status != "requires_action":
        raise ApiError(400, "The bank asks nothing.")
    outcome = text(call.params, "outcome")
    if outcome not in ("succeed", "fail"):
        raise invalid("outcome", "outcome is succeed or fail")
    conclude(books, intent_record, call.now_s, succeeds=outcome == "succeed")
    return intent_record.intent


def find(books: Books, session_id: str) -> SessionRecord:
    """The session of that id. Raises ApiError."""
    record = books.sessions.by_id.get(session_id)
    if record is None:
        raise no_such("checkout.session", session_id, "session")
    return record


def _require_open(record: SessionRecord, now_s: int) -> None:
    if record.session.status != "open" or record.session.expires_at <= now_s:
        raise ApiError(400, "This Checkout Session is not open any more.")


def _intent_of(books: Books, record: SessionRecord) -> IntentRecord | None:
    intent_id = record.session.payment_intent
    return None if intent_id is None else books.intents.by_id[intent_id]


def _new_intent(books: Books, call: Call, record: SessionRecord) -> IntentRecord:
    """The intent comes with the first try to pay, as with Stripe: until then there is none to list."""
    session, intent_id = record.session, new_id("pi")
    made = IntentRecord(
        PaymentIntent(
            id=intent_id,
            amount=session.amount_total,
            client_secret=new_id(f"{intent_id}_secret"),
            created=call.now_s,
            currency=session.currency,
            description=record.description,
            metadata=dict(record.intent_metadata),
            payment_method_options=session.payment_method_options,
            payment_method_types=session.payment_method_types,
            status="requires_payment_method",
        ),
        session_id=session.id,
    )
    session.payment_intent = intent_id
    books.put(made)
    books.put(record)
    books.emit("payment_intent.created", made.intent)
    return made


def _expire(books: Books, record: SessionRecord, now_s: int) -> None:
    intent_record = _intent_of(books, record)
    if intent_record is not None:
        make_canceled(books, intent_record, now_s, "automatic")
    record.session.status = "expired"
    record.session.url = None
    books.put(record)
    books.emit("checkout.session.expired", record.session)


def _line(params: Params) -> tuple[str, int, str]:
    item = group(group(params, "line_items"), "0")
    if not item:
        raise missing("line_items")
    price = group(item, "price_data")
    currency = read_currency(price)
    name = required(group(price, "product_data"), "name")
    if len(name) > NAME_CHARS_MAX:
        raise invalid("line_items[0][price_data][product_data][name]", "The name is too long.")
    quantity = integer(required(item, "quantity"), "line_items[0][quantity]")
    if not 1 <= quantity <= 999_999:
        raise invalid("line_items[0][quantity]", "quantity is from 1 to 999999.")
    unit_minor = integer(required(price, "unit_amount"), "line_items[0][price_data][unit_amount]")
    amount_minor = check_amount_minor(unit_minor * quantity, currency)
    return currency, amount_minor, name


def _expires_at(params: Params, now_s: int) -> int:
    given = text(params, "expires_at")
    if given is None:
        return now_s + OPEN_S_MAX
    expires_at = integer(given, "expires_at")
    if expires_at < now_s + OPEN_S_MIN:
        message = (
            "The `expires_at` timestamp must be at least 30 minutes from Checkout Session creation."
        )
        raise invalid("expires_at", message)
    if expires_at > now_s + OPEN_S_MAX:
        message = (
            "The `expires_at` timestamp must be less than 24 hours from Checkout Session creation."
        )
        raise invalid("expires_at", message)
    return expires_at


def _short(params: Params, name: str, chars_max: int) -> str | None:
    value = text(params, name)
    if value is not None and len(value) > chars_max:
        raise invalid(name, f"{name} holds {chars_max} characters.")
    return value
