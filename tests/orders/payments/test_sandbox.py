"""The sandbox behaves as Stripe's documentation says Stripe does, where our protocol leans on it."""

import asyncio
from pathlib import Path

import pytest

from orders.payments.errors import Declined, Refused
from orders.payments.sandbox import SandboxConfig
from tests.orders.payments.sandbox_process import (
    PUBLISHABLE_KEY,
    RunningSandbox,
    running_sandbox,
    until,
)

INTENTS = "/v1/payment_intents"
CREATE = {"amount": "5000", "currency": "cny"}


async def test_the_good_card_pays_at_once(sandbox: RunningSandbox) -> None:
    fact = await sandbox.pay(amount_minor=12_345)
    assert (fact.status, fact.amount_received_minor, fact.currency) == ("succeeded", 12_345, "CNY")
    assert not fact.livemode
    assert fact.metadata["stream_id"] == "str_1"
    assert fact.fee_minor == 388  # 2.9 % of 12,345 is 358.005
    charges = await sandbox.ask("GET", f"{INTENTS}/{fact.payment_intent_id}?expand[]=latest_charge")
    charge = charges.body["latest_charge"]
    assert (charge["status"], charge["amount_captured"]) == ("succeeded", 12_345)
    again = await sandbox.ask("GET", f"/v1/charges/{charge['id']}?expand[]=balance_transaction")
    assert again.body["balance_transaction"]["net"] == 12_345 - 388


@pytest.mark.parametrize(
    ("number", "decline_code"),
    [
        ("4000000000000002", "generic_decline"),
        ("4000000000009995", "insufficient_funds"),
        ("4111111111111111", "test_mode_live_card"),
    ],
)
async def test_a_declined_card_can_be_replaced_on_the_same_intent(
    sandbox: RunningSandbox, number: str, decline_code: str
) -> None:
    token = (await sandbox.card_token(number)).body["id"]
    with pytest.raises(Declined) as declined:
        await sandbox.pay(token=token)
    fact = declined.value.fact
    assert (fact.status, fact.decline_code) == ("requires_payment_method", decline_code)
    assert fact.amount_received_minor == 0
    good = (await sandbox.card_token("4242 4242 4242 4242".replace(" ", "+"))).body["id"]
    paid = await sandbox.gateway.confirm(fact.payment_intent_id, good, f"again:{number}")
    assert (paid.payment_intent_id, paid.status) == (fact.payment_intent_id, "succeeded")
    assert paid.decline_code is None


@pytest.mark.parametrize("outcome", ["succeed", "fail"])
async def test_the_3ds_card_waits_for_the_shopper(sandbox: RunningSandbox, outcome: str) -> None:
    fact = await sandbox.pay("pm_card_authenticationRequired")
    assert (fact.status, fact.next_action) == ("requires_action", True)
    stolen = await sandbox.ask(
        "POST",
        f"/sandbox/payment_intents/{fact.payment_intent_id}/authenticate",
        {"outcome": "succeed", "client_secret": "wrong"},
        bearer=PUBLISHABLE_KEY,
    )
    assert stolen.status == 400
    assert (await sandbox.authenticate(fact, outcome)).status == 200
    after = await sandbox.gateway.retrieve(fact.payment_intent_id)
    if outcome == "succeed":
        assert (after.status, after.amount_received_minor) == ("succeeded", 5_000)
    else:
        assert after.status == "requires_payment_method"
        assert after.decline_code == "payment_intent_authentication_failure"
    assert (await sandbox.authenticate(fact, "succeed")).status == 400


async def test_the_processing_card_succeeds_later(sandbox: RunningSandbox) -> None:
    fact = await sandbox.pay("pm_card_bypassPending")
    assert (fact.status, fact.amount_received_minor) == ("processing", 0)
    with pytest.raises(Refused):
        await sandbox.gateway.cancel(fact.payment_intent_id, "cancel-processing")

    async def succeeded() -> bool:
        return (await sandbox.gateway.retrieve(fact.payment_intent_id)).status == "succeeded"

    await until(succeeded)


async def test_processing_can_be_ended_by_order(sandbox: RunningSandbox) -> None:
    async with running_sandbox("--processing-delay-ms", "600000") as slow:
        fact = await slow.pay("pm_card_bypassPending")
        path = f"/sandbox/payment_intents/{fact.payment_intent_id}/settle"
        assert (await slow.ask("POST", path, {"outcome": "fail"})).status == 200
        after = await slow.gateway.retrieve(fact.payment_intent_id)
        assert after.status == "requires_payment_method"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"amount": ""}, "parameter_missing"),
        ({"amount": "0"}, "parameter_invalid_integer"),
        ({"amount": "-1"}, "parameter_invalid_integer"),
        ({"amount": "1.5"}, "parameter_invalid_integer"),
        ({"amount": "1e3"}, "parameter_invalid_integer"),
        ({"amount": "5_000"}, "parameter_invalid_integer"),
        ({"amount": "+5000"}, "parameter_invalid_integer"),
        ({"amount": "%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94"}, "parameter_invalid_integer"),
        ({"amount": "9" * 400}, "parameter_invalid_integer"),
        ({"amount": "399"}, "amount_too_small"),
        ({"amount": "49", "currency": "usd"}, "amount_too_small"),
        ({"amount": "100000000"}, "amount_too_large"),
        ({"amount": "1001", "currency": "bhd"}, None),
        ({"amount": "10001", "currency": "isk"}, None),
        ({"currency": ""}, "parameter_missing"),
        ({"currency": "xxx"}, None),
        ({"currency": "cny "}, None),
        ({"amuont": "5000"}, "parameter_unknown"),
        ({"automatic_payment_methods[enabeld]": "true"}, "parameter_unknown"),
        ({"metadata": "text"}, None),
        ({"metadata[" + "k" * 41 + "]": "v"}, None),
        ({"metadata[k]": "v" * 501}, None),
        ({"confirm": "yes"}, None),
        ({"confirm": "true"}, "parameter_missing"),
        ({"confirmation_token": "ctoken_1"}, None),
        ({"confirm": "true", "payment_method": "pm_card_visa"}, None),
        ({"capture_method": "manual"}, None),
        ({"error_on_requires_action": "1"}, None),
        ({"payment_method_types[]": "klarna"}, "payment_intent_invalid_parameter"),
        ({"payment_method_types[]": "bank_of_nobody"}, "payment_intent_invalid_parameter"),
        ({"expand[]": "customer"}, None),
        ({"amount[x]": "5"}, None),
    ],
)
async def test_bad_parameters_are_refused_and_leave_nothing(
    sandbox: RunningSandbox, changes: dict[str, str], code: str | None
) -> None:
    before = (await sandbox.state())["payment_intents"]
    answer = await sandbox.ask("POST", INTENTS, CREATE | changes, key=f"bad:{changes}"[:60])
    assert answer.status == 400, answer.body
    assert answer.error.get("code") == code
    assert (await sandbox.state())["payment_intents"] == before


async def test_largest_and_smallest_amounts_are_taken(sandbox: RunningSandbox) -> None:
    for amount, currency in [("99999999", "cny"), ("400", "CNY"), ("50", "jpy"), ("50", "usd")]:
        answer = await sandbox.ask("POST", INTENTS, {"amount": amount, "currency": currency})
        assert (answer.status, answer.body["amount"]) == (200, int(amount))
        assert answer.body["currency"] == currency.lower()


async def test_a_token_serves_once_and_for_twelve_hours() -> None:
    async with running_sandbox() as sandbox:
        token = await sandbox.token()
        await sandbox.pay(token=token)
        with pytest.raises(Refused, match="confirmation_token_already_used"):
            await sandbox.pay(token=token)
        late = await sandbox.token()
        await sandbox.advance(12 * 3600)
        with pytest.raises(Refused, match="confirmation_token_expired"):
            await sandbox.pay(token=late)
        with pytest.raises(Refused, match="resource_missing"):
            await sandbox.pay(token="ctoken_unknown")
        # A refused token leaves no intent behind that could be paid later.
        assert (await sandbox.state())["payment_intents"] == {"succeeded": 1}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"number": "4242424242424241"}, "incorrect_number"),
        ({"number": "42424242"}, "incorrect_number"),
        ({"number": "x"}, "incorrect_number"),
        ({"exp_month": "13"}, "invalid_expiry_month"),
        ({"exp_year": "2020"}, "invalid_expiry_year"),
        ({"cvc": "12"}, "invalid_cvc"),
        ({"cvc": "1234567"}, "invalid_cvc"),
    ],
)
async def test_a_mistyped_card_makes_no_token(
    sandbox: RunningSandbox, changes: dict[str, str], code: str
) -> None:
    number = changes.pop("number", "4242424242424242")
    answer = await sandbox.card_token(number, **changes)
    assert (answer.status, answer.error["code"]) == (402, code)


async def test_cancel_and_confirm_keep_to_the_states(sandbox: RunningSandbox) -> None:
    paid = await sandbox.pay()
    for verb in ("cancel", "confirm"):
        answer = await sandbox.ask("POST", f"{INTENTS}/{paid.payment_intent_id}/{verb}")
        assert (answer.status, answer.error["code"]) == (400, "payment_intent_unexpected_state")
        assert answer.error["payment_intent"]["status"] == "succeeded"
    created = (await sandbox.ask("POST", INTENTS, CREATE)).body
    assert created["status"] == "requires_payment_method"
    cancel = f"{INTENTS}/{created['id']}/cancel"
    answer = await sandbox.ask("POST", cancel, {"cancellation_reason": "abandoned"})
    assert (answer.body["status"], answer.body["cancellation_reason"]) == ("canceled", "abandoned")
    assert (await sandbox.ask("POST", cancel)).status == 400
    token = await sandbox.token()
    with pytest.raises(Refused) as refused:
        await sandbox.gateway.confirm(created["id"], token, "confirm-canceled")
    assert refused.value.code == "payment_intent_unexpected_state"
    with pytest.raises(Refused, match="successful charge"):
        await sandbox.gateway.refund(created["id"], 1, "refund-canceled", {})
    # The token was not used up by the refusal.
    assert (await sandbox.pay(token=token)).status == "succeeded"
    held = CREATE | {"payment_method": "pm_card_visa", "return_url": "https://shop.test/"}
    waiting = (await sandbox.ask("POST", INTENTS, held)).body
    assert waiting["status"] == "requires_confirmation"
    confirm = f"{INTENTS}/{waiting['id']}/confirm"
    answer = await sandbox.ask("POST", confirm, {"return_url": "https://shop.test/"})
    assert answer.body["status"] == "succeeded"


async def test_refunds_never_exceed_the_charge(sandbox: RunningSandbox) -> None:
    fact = await sandbox.pay()
    refund = sandbox.gateway.refund
    part = await refund(fact.payment_intent_id, 2_000, "r1", {"reason": "late"})
    assert (part.status, part.amount_minor, part.metadata["reason"]) == ("succeeded", 2_000, "late")
    with pytest.raises(Refused, match="greater than unrefunded"):
        await refund(fact.payment_intent_id, 3_001, "r2", {})
    await refund(fact.payment_intent_id, 3_000, "r3", {})
    with pytest.raises(Refused, match="charge_already_refunded"):
        await refund(fact.payment_intent_id, 1, "r4", {})
    open_intent = (await sandbox.ask("POST", INTENTS, CREATE)).body
    with pytest.raises(Refused, match="successful charge"):
        await refund(open_intent["id"], 1, "r5", {})


@pytest.mark.parametrize(
    ("payment_method", "first", "last"),
    [
        ("pm_card_refundFail", "succeeded", "failed"),
        ("pm_card_pendingRefund", "pending", "succeeded"),
    ],
)
async def test_a_refund_may_turn_out_otherwise_later(
    sandbox: RunningSandbox, payment_method: str, first: str, last: str
) -> None:
    fact = await sandbox.pay(payment_method)
    made = await sandbox.gateway.refund(fact.payment_intent_id, 5_000, f"r:{last}", {})
    assert made.status == first
    path = f"/v1/refunds/{made.refund_id}"

    async def settled() -> bool:
        return bool((await sandbox.ask("GET", path)).body["status"] == last)

    await until(settled)
    now = (await sandbox.ask("GET", path)).body
    assert (now["failure_reason"] is not None) == (last == "failed")


async def test_the_rate_limit_counts_each_endpoint_apart() -> None:
    async with running_sandbox("--rate", "5") as sandbox:
        answers = [await sandbox.ask("GET", "/v1/balance") for _ in range(6)]
        assert [answer.status for answer in answers] == [200] * 5 + [429]
        assert answers[5].error["code"] == "rate_limit"
        assert answers[5].headers["retry-after"] == "1"
        assert answers[5].headers["stripe-should-retry"] == "false"
        assert (await sandbox.ask("GET", INTENTS)).status == 200
        await asyncio.sleep(1.05)
        assert (await sandbox.ask("GET", "/v1/balance")).status == 200


@pytest.mark.parametrize(
    ("method", "path", "bearer", "status"),
    [
        ("GET", "/v1/balance", "sk_live_x", 401),
        ("GET", "/v1/balance", "", 401),
        ("GET", "/v1/balance", PUBLISHABLE_KEY, 401),
        ("POST", "/v1/payment_intents", PUBLISHABLE_KEY, 401),
        ("POST", "/v1/refunds", "pk_live_x", 401),
        ("GET", "/sandbox/state", PUBLISHABLE_KEY, 401),
        ("POST", "/sandbox/faults", PUBLISHABLE_KEY, 401),
        ("POST", "/sandbox/clock", "", 401),
        ("GET", "/v1/customers", "sk_test_x", 404),
        ("GET", "/sandbox/../v1/balance", "sk_test_x", 404),
        ("DELETE", "/v1/payment_intents", "sk_test_x", 404),
        ("OPTIONS", "/v1/refunds", "", 404),
        ("OPTIONS", "/v1/confirmation_tokens", "", 204),
        ("GET", "/v1/payment_intents/pi_unknown", "sk_test_x", 404),
        ("GET", "/v1/payment_intents?limit=101", "sk_test_x", 400),
        ("GET", "/v1/payment_intents?starting_after=pi_unknown", "sk_test_x", 404),
    ],
)
async def test_who_may_ask_for_what(
    sandbox: RunningSandbox, method: str, path: str, bearer: str, status: int
) -> None:
    answer = await sandbox.ask(method, path, bearer=bearer)
    assert answer.status == status
    assert "sk_live" not in str(answer.body)


async def test_a_browser_sees_an_intent_only_with_its_secret(sandbox: RunningSandbox) -> None:
    fact = await sandbox.pay()
    path = f"{INTENTS}/{fact.payment_intent_id}"
    assert (await sandbox.ask("GET", path, bearer=PUBLISHABLE_KEY)).status == 400
    with_secret = f"{path}?client_secret={fact.client_secret}"
    assert (await sandbox.ask("GET", with_secret, bearer=PUBLISHABLE_KEY)).status == 200


async def test_one_key_can_be_pinned_and_bodies_are_bounded() -> None:
    async with running_sandbox("--secret-key", "sk_test_sandbox") as sandbox:
        assert (await sandbox.ask("GET", "/v1/balance")).status == 200
        assert (await sandbox.ask("GET", "/v1/balance", bearer="sk_test_other")).status == 401
        assert (await sandbox.ask("POST", INTENTS, b"a=" + b"x" * 65_536)).status == 413
        assert (await sandbox.ask("POST", INTENTS, b"a=%ff")).status == 400
        assert (await sandbox.ask("POST", INTENTS, b"&".join([b"a=1"] * 201))).status == 400
        assert (await sandbox.ask("POST", INTENTS, b"a[b][c][d][e][f]=1")).status == 400


@pytest.mark.parametrize(
    "settings",
    [
        {"secret_key": "sk_live_x"},
        {"webhook_url": "https://example.com/hook", "webhook_secrets": ("whsec_x",)},
        {"webhook_url": "http://example.com/hook", "webhook_secrets": ("whsec_x",)},
        {"webhook_url": "http://127.0.0.1.example.com/", "webhook_secrets": ("whsec_x",)},
        {"webhook_url": "http://10.0.0.1/hook", "webhook_secrets": ("whsec_x",)},
        {"webhook_url": "http://127.0.0.1/hook", "webhook_secrets": (" ",)},
        {"webhook_events": frozenset({"customer.created"})},
        {"rate_per_s": -1},
    ],
)
def test_nothing_that_reaches_outside_can_be_configured(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"sandbox|webhook|rate_per_s"):
        SandboxConfig(**settings)  # type: ignore[arg-type]


async def test_no_card_number_is_ever_written(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    async with running_sandbox("--journal", str(journal)) as sandbox:
        for number in ("4242424242424242", "4111111111111111"):
            assert (await sandbox.card_token(number)).status == 200
    text = journal.read_text()
    assert "4242" in text
    assert "424242424" not in text
    assert "411111" not in text
