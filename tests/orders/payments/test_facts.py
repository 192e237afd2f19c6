"""Facts are read strictly: what is missing or of another shape is refused, never guessed."""

from typing import Any

import pytest

from orders.payments.facts import (
    UnreadableSnapshotError,
    checkout_fact,
    dispute_fact,
    event_fact,
    payment_fact,
    refund_fact,
    token_fact,
)

INTENT: dict[str, Any] = {
    "object": "payment_intent",
    "id": "pi_1",
    "status": "succeeded",
    "amount": 5_000,
    "amount_received": 5_000,
    "currency": "cny",
    "livemode": False,
    "created": 1_800_000_000,
    "metadata": {"order_id": "ord_1"},
}
BALANCE = {"currency": "cny", "fee": 175}
REFUND: dict[str, Any] = {
    "object": "refund",
    "id": "re_1",
    "payment_intent": {"id": "pi_1", "object": "payment_intent"},
    "charge": "ch_1",
    "amount": 100,
    "currency": "cny",
    "status": "pending",
    "created": 1_800_000_000,
    "metadata": None,
}


def test_a_payment_is_read() -> None:
    fact = payment_fact(INTENT)
    assert (fact.payment_intent_id, fact.currency, fact.amount_received_minor) == (
        "pi_1",
        "CNY",
        5_000,
    )
    assert fact.created_at.isoformat() == "2027-01-15T08:00:00+00:00"
    assert (fact.fee_minor, fact.client_secret, fact.decline_code) == (None, None, None)
    with pytest.raises(TypeError):
        fact.metadata["order_id"] = "ord_2"  # type: ignore[index]


@pytest.mark.parametrize(
    ("charge", "fee_minor"),
    [
        ("ch_1", None),
        (None, None),
        ({"balance_transaction": "txn_1"}, None),
        ({"balance_transaction": None}, None),
        ({"balance_transaction": BALANCE}, 175),
        ({"balance_transaction": BALANCE | {"currency": "usd"}}, None),
    ],
)
def test_the_fee_is_known_only_in_the_same_currency(charge: object, fee_minor: int | None) -> None:
    assert payment_fact(INTENT | {"latest_charge": charge}).fee_minor == fee_minor


@pytest.mark.parametrize(
    "changes",
    [
        {"object": "charge"},
        {"id": None},
        {"status": "paid"},
        {"status": None},
        {"amount": "5000"},
        {"amount": 50.0},
        {"amount": True},
        {"amount": -1},
        {"amount_received": None},
        {"currency": None},
        {"livemode": 0},
        {"livemode": None},
        {"created": "1800000000"},
        {"created": 10**30},
        {"metadata": {"order_id": 1}},
        {"metadata": ["x"]},
        {"client_secret": 1},
        {"latest_charge": {"balance_transaction": {"currency": "cny", "fee": 1.5}}},
    ],
)
def test_an_odd_payment_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(UnreadableSnapshotError):
        payment_fact(INTENT | changes)


def test_refunds_and_disputes_are_read() -> None:
    refund = refund_fact(REFUND)
    assert (refund.payment_intent_id, refund.charge_id) == ("pi_1", "ch_1")
    assert dict(refund.metadata) == {}
    dispute = dispute_fact(REFUND | {"object": "dispute", "id": "dp_1", "status": "lost"})
    assert (dispute.dispute_id, dispute.status, dispute.amount_minor) == ("dp_1", "lost", 100)
    with pytest.raises(UnreadableSnapshotError):
        dispute_fact(REFUND)


DISPUTE = REFUND | {"object": "dispute", "id": "dp_1", "status": "lost"}


@pytest.mark.parametrize(
    ("moves", "fee_minor"),
    [
        (None, None),
        ([], None),
        (["txn_1"], None),
        ([{"currency": "usd", "fee": 1_500}], None),
        ([{"currency": "cny", "fee": 1_500}], 1_500),
        ([{"currency": "cny", "fee": 1_500}, {"currency": "cny", "fee": 0}], 1_500),
        ([{"currency": "cny", "fee": 1_500}, {"currency": "cny", "fee": -1_500}], 0),
    ],
)
def test_the_dispute_fee_is_known_only_in_the_same_currency(
    moves: object, fee_minor: int | None
) -> None:
    assert dispute_fact(DISPUTE | {"balance_transactions": moves}).fee_minor == fee_minor


@pytest.mark.parametrize(
    "move", [{"fee": 1}, {"currency": "cny", "fee": "1"}, {"currency": "cny", "fee": -1}]
)
def test_an_odd_dispute_fee_is_refused(move: dict[str, object]) -> None:
    with pytest.raises(UnreadableSnapshotError):
        dispute_fact(DISPUTE | {"balance_transactions": [move]})


CHECKOUT: dict[str, Any] = {
    "object": "checkout.session",
    "id": "cs_test_1",
    "status": "open",
    "payment_status": "unpaid",
    "url": "https://checkout.example/1",
    "payment_intent": None,
    "expires_at": 1_800_000_000,
    "metadata": {"order_id": "ord_1"},
}


def test_a_checkout_is_read() -> None:
    fact = checkout_fact(CHECKOUT)
    assert (fact.session_id, fact.status, fact.paid) == ("cs_test_1", "open", False)
    assert (fact.url, fact.payment_intent_id) == ("https://checkout.example/1", None)
    assert fact.expires_at.isoformat() == "2027-01-15T08:00:00+00:00"
    assert "https" not in repr(fact)
    paid = CHECKOUT | {"status": "complete", "payment_status": "paid", "url": None}
    fact = checkout_fact(paid | {"payment_intent": {"id": "pi_1"}})
    assert (fact.paid, fact.url, fact.payment_intent_id) == (True, None, "pi_1")


@pytest.mark.parametrize(
    "changes",
    [
        {"object": "payment_intent"},
        {"id": None},
        {"status": "paid"},
        {"status": None},
        {"payment_status": None},
        {"url": 1},
        {"payment_intent": 1},
        {"expires_at": None},
        {"expires_at": 10**30},
        {"metadata": {"order_id": 1}},
    ],
)
def test_an_odd_checkout_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(UnreadableSnapshotError):
        checkout_fact(CHECKOUT | changes)


def test_a_token_is_read() -> None:
    def read(preview: object) -> tuple[str | None, str]:
        fact = token_fact({"object": "confirmation_token", "payment_method_preview": preview})
        return fact.fingerprint, fact.method

    assert read({"type": "card", "card": {"fingerprint": "abc"}}) == ("abc", "card")
    assert read({"type": "card", "card": {}}) == (None, "card")
    assert read({"type": "alipay", "alipay": {}}) == (None, "alipay")
    for odd in (None, {}, {"type": 1}, {"type": "card", "card": {"fingerprint": 1}}):
        with pytest.raises(UnreadableSnapshotError):
            read(odd)


@pytest.mark.parametrize(
    ("status", "trusted"),
    [
        ("succeeded", True),
        ("canceled", True),
        ("processing", False),
        ("requires_action", False),
        ("requires_payment_method", False),
    ],
)
def test_only_final_payments_are_trusted_from_a_webhook(status: str, trusted: bool) -> None:
    event = {
        "object": "event",
        "id": "evt_1",
        "type": "payment_intent.x",
        "created": 1_800_000_000,
        "livemode": False,
        "data": {"object": INTENT | {"status": status}},
    }
    assert (event_fact(event).trusted() is not None) == trusted
    for broken in ({"data": None}, {"data": {"object": []}}, {"livemode": None}, {"id": 1}):
        with pytest.raises(UnreadableSnapshotError):
            event_fact(event | broken)
