"""The objects of the sandbox, field for field as Stripe nests them, and what it remembers about them privately.

Structs ending in `Record` are the journal's: they wrap a public object with what only the sandbox knows (how
its card behaves, when it settles). Nothing in a record is ever sent to a caller except the public object.
"""

from typing import Any

import msgspec

from orders.payments.sandbox.money import fee_minor

API_VERSION = "2026-10-28.endive"


class BalanceTransaction(msgspec.Struct):
    """What a charge leaves after the fee; derived from the charge whenever it is asked for."""

    id: str
    amount: int
    created: int
    currency: str
    fee: int
    fee_details: list[dict[str, Any]]
    net: int
    source: str
    object: str = "balance_transaction"
    available_on: int = 0
    description: str | None = None
    exchange_rate: None = None
    reporting_category: str = "charge"
    status: str = "pending"
    type: str = "charge"


class Charge(msgspec.Struct):
    """One try of a card: paid or failed."""

    id: str
    amount: int
    created: int
    currency: str
    payment_intent: str
    payment_method: str
    payment_method_details: dict[str, Any]
    status: str
    paid: bool
    captured: bool
    balance_transaction: str | BalanceTransaction | None
    object: str = "charge"
    amount_captured: int = 0
    amount_refunded: int = 0
    billing_details: dict[str, Any] = {}
    disputed: bool = False
    failure_code: str | None = None
    failure_message: str | None = None
    livemode: bool = False
    metadata: dict[str, str] = {}
    outcome: dict[str, Any] | None = None
    receipt_url: None = None
    refunded: bool = False

    def balance(self) -> BalanceTransaction:
        fee = fee_minor(self.amount)
        detail = {"amount": fee, "application": None, "currency": self.currency}
        detail |= {"description": "Stripe processing fees", "type": "stripe_fee"}
        return BalanceTransaction(
            id=transaction_id(self.id),
            amount=self.amount,
            created=self.created,
            currency=self.currency,
            fee=fee,
            fee_details=[detail],
            net=self.amount - fee,
            source=self.id,
            available_on=self.created + 7 * 86_400,
        )


class PaymentIntent(msgspec.Struct):
    """One order's payment through all its tries; the members are in Stripe's order."""

    id: str
    amount: int
    client_secret: str
    created: int
    currency: str
    status: str
    object: str = "payment_intent"
    amount_capturable: int = 0
    amount_details: dict[str, Any] = {}
    amount_received: int = 0
    application: None = None
    application_fee_amount: None = None
    automatic_payment_methods: dict[str, Any] | None = None
    canceled_at: int | None = None
    cancellation_reason: str | None = None
    capture_method: str = "automatic_async"
    confirmation_method: str = "automatic"
    customer: None = None
    description: str | None = None
    last_payment_error: dict[str, Any] | None = None
    latest_charge: str | Charge | None = None
    livemode: bool = False
    metadata: dict[str, str] = {}
    next_action: dict[str, Any] | None = None
    on_behalf_of: None = None
    payment_method: str | None = None
    payment_method_options: dict[str, Any] = {}
    payment_method_types: tuple[str, ...] = ("card",)
    processing: dict[str, Any] | None = None
    receipt_email: None = None
    setup_future_usage: None = None
    shipping: None = None
    statement_descriptor: str | None = None
    statement_descriptor_suffix: str | None = None
    transfer_data: None = None
    transfer_group: str | None = None


class Refund(msgspec.Struct):
    """Money going back from one charge."""

    id: str
    amount: int
    charge: str
    created: int
    currency: str
    payment_intent: str
    status: str
    object: str = "refund"
    balance_transaction: str | None = None
    destination_details: dict[str, Any] | None = None
    failure_reason: str | None = None
    metadata: dict[str, str] = {}
    reason: str | None = None
    receipt_number: None = None


class Dispute(msgspec.Struct):
    """A shopper's bank asks for money back; `balance_transactions` show what it took from us and gave back."""

    id: str
    amount: int
    charge: str
    created: int
    currency: str
    evidence_details: dict[str, Any]
    payment_intent: str
    reason: str
    status: str
    object: str = "dispute"
    balance_transactions: list[BalanceTransaction] = []
    enhanced_eligibility_types: tuple[str, ...] = ()
    evidence: dict[str, Any] = {}
    is_charge_refundable: bool = False
    livemode: bool = False
    metadata: dict[str, str] = {}
    network_reason_code: str | None = None


class CheckoutSession(msgspec.Struct):
    """A page of the provider's on which one order is paid."""

    id: str
    amount_total: int
    created: int
    currency: str
    expires_at: int
    success_url: str
    url: str | None
    object: str = "checkout.session"
    amount_subtotal: int = 0
    cancel_url: str | None = None
    client_reference_id: str | None = None
    customer: None = None
    customer_details: None = None
    customer_email: None = None
    livemode: bool = False
    locale: str | None = None
    metadata: dict[str, str] = {}
    mode: str = "payment"
    payment_intent: str | None = None
    payment_method_options: dict[str, Any] = {}
    payment_method_types: tuple[str, ...] = ("card",)
    payment_status: str = "unpaid"
    status: str = "open"
    ui_mode: str = "hosted_page"


class ConfirmationToken(msgspec.Struct):
    """A card as the shopper's browser hands it on, without its number."""

    id: str
    created: int
    expires_at: int
    payment_method_preview: dict[str, Any]
    object: str = "confirmation_token"
    livemode: bool = False
    mandate_data: None = None
    payment_intent: str | None = None
    return_url: str | None = None
    setup_future_usage: None = None
    setup_intent: None = None
    shipping: None = None
    use_stripe_sdk: bool = True


class EventData(msgspec.Struct):
    """The member of an event that holds the snapshot, encoded once."""

    object: msgspec.Raw


class EventRequest(msgspec.Struct):
    """Which call caused an event."""

    id: str | None
    idempotency_key: str | None


class Event(msgspec.Struct):
    """One change, with the whole object as it stood then: the body of a webhook and of GET /v1/events."""

    id: str
    created: int
    data: EventData
    request: EventRequest
    type: str
    object: str = "event"
    api_version: str = API_VERSION
    livemode: bool = False
    pending_webhooks: int = 1


class IntentRecord(msgspec.Struct):
    """An intent with its last card's behaviour, and when it settles by itself."""

    intent: PaymentIntent
    behaviour: str = ""
    last4: str = ""
    settles_at_ms: int | None = None
    method: str = "card"
    fingerprint: str | None = None
    return_url: str | None = None
    session_id: str | None = None


class RefundRecord(msgspec.Struct):
    """A refund with its later fate."""

    refund: Refund
    settles_at_ms: int | None = None
    settles_to: str = ""


class TokenRecord(msgspec.Struct):
    """A token with the behaviour of its card; used ones are kept, so that reuse is told from invention."""

    token: ConfirmationToken
    behaviour: str
    last4: str
    used: bool = False
    method: str = "card"
    fingerprint: str | None = None


class SessionRecord(msgspec.Struct):
    """A Checkout Session with what is known of its PaymentIntent before there is one."""

    session: CheckoutSession
    item_name: str
    intent_metadata: dict[str, str] = {}
    description: str | None = None


class StoredAnswer(msgspec.Struct):
    """What a used Idempotency-Key replays: the first status and body, for the same parameters alone."""

    key: str
    endpoint: str
    fingerprint: str
    at_s: int
    status: int
    body: str


class JournalLine(msgspec.Struct, omit_defaults=True):
    """All that one call changed, on one line, so that a torn last line undoes the whole call and no half of it."""

    intents: list[IntentRecord] = []
    charges: list[Charge] = []
    refunds: list[RefundRecord] = []
    tokens: list[TokenRecord] = []
    disputes: list[Dispute] = []
    sessions: list[SessionRecord] = []
    events: list[Event] = []
    answer: StoredAnswer | None = None
    delivered: str | None = None
    undelivered: str | None = None
    clock_ahead_s: int | None = None


def transaction_id(charge_id: str) -> str:
    """A charge's balance transaction is named after it."""
    return "txn_" + charge_id.removeprefix("ch_")
