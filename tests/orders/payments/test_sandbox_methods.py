"""Which means pay what, and by which mark the same card is known again."""

from typing import Any

import pytest

from orders.payments.errors import Declined, Refused
from orders.payments.stripe_gateway import TokenFact
from tests.orders.payments.sandbox_process import PUBLISHABLE_KEY, RunningSandbox, running_sandbox

RETURN_URL = "https://shop.test/order?x=1"


async def test_the_same_card_has_the_same_fingerprint(sandbox: RunningSandbox) -> None:
    async def fact_of(number: str) -> TokenFact:
        token = (await sandbox.card_token(number)).body["id"]
        return await sandbox.gateway.fetch_token(token)

    first = await fact_of("4242424242424242")
    assert first.method == "card"
    assert first.fingerprint
    assert await fact_of("4242424242424242") == first
    magic = await sandbox.gateway.fetch_token(await sandbox.token("pm_card_visa"))
    assert magic == first
    numbers = ["4000000000000002", "4000000000009995", "4111111111111111", "4222222222222"]
    others = [await fact_of(number) for number in numbers]
    assert len({fact.fingerprint for fact in others} | {first.fingerprint}) == 5
    assert await fact_of("4111111111111111") == others[2]


async def test_a_used_token_can_still_be_looked_at(sandbox: RunningSandbox) -> None:
    token = await sandbox.token()
    await sandbox.pay(token=token)
    assert (await sandbox.gateway.fetch_token(token)).method == "card"
    with pytest.raises(Refused, match="resource_missing"):
        await sandbox.gateway.fetch_token("ctoken_unknown")
    path = f"/v1/confirmation_tokens/{token}"
    assert (await sandbox.ask("GET", path, bearer=PUBLISHABLE_KEY)).status == 401


async def test_a_real_cards_fingerprint_differs_from_run_to_run() -> None:
    marks = set()
    for _ in range(2):
        async with running_sandbox() as sandbox:
            token = (await sandbox.card_token("4111111111111111")).body["id"]
            marks.add((await sandbox.gateway.fetch_token(token)).fingerprint)
    assert len(marks) == 2


@pytest.mark.parametrize("method", ["alipay", "wechat_pay"])
@pytest.mark.parametrize("outcome", ["succeed", "fail"])
async def test_a_wallet_asks_elsewhere_first(
    sandbox: RunningSandbox, method: str, outcome: str
) -> None:
    token = await sandbox.other_token(method)
    chosen = await sandbox.gateway.fetch_token(token)
    assert (chosen.method, chosen.fingerprint) == (method, None)
    types = ("card", "alipay", "wechat_pay")
    fact = await sandbox.pay(token=token, payment_method_types=types, return_url=RETURN_URL)
    assert (fact.status, fact.next_action) == ("requires_action", True)
    shown = (await sandbox.ask("GET", f"/v1/payment_intents/{fact.payment_intent_id}")).body
    action = shown["next_action"]
    url = _page_url(action)
    assert b'value="succeed"' in (await sandbox.browse(url)).body
    assert (await sandbox.browse(url.partition("?")[0])).status == 400
    fields = {"outcome": outcome, "client_secret": fact.client_secret or ""}
    answer = await sandbox.browse(url.partition("?")[0], fields)
    assert answer.status == 303
    assert answer.headers["location"].startswith(RETURN_URL + "&payment_intent=pi_")
    after = await sandbox.gateway.retrieve(fact.payment_intent_id)
    paid = outcome == "succeed"
    assert answer.headers["location"].endswith("succeeded" if paid else "failed")
    assert (after.status, after.amount_received_minor) == (
        ("succeeded", 5_000) if paid else ("requires_payment_method", 0)
    )


def _page_url(action: Any) -> str:
    if action["type"] == "alipay_handle_redirect":
        assert action["alipay_handle_redirect"]["return_url"] == RETURN_URL
        return str(action["alipay_handle_redirect"]["url"])
    return str(action["wechat_pay_display_qr_code"]["hosted_instructions_url"])


async def test_a_method_that_is_not_allowed_is_refused(sandbox: RunningSandbox) -> None:
    before = (await sandbox.state())["payment_intents"]
    token = await sandbox.other_token("alipay")
    with pytest.raises(Refused) as refused:
        await sandbox.pay(token=token, return_url=RETURN_URL)
    assert refused.value.code == "payment_intent_incompatible_payment_method"
    card = await sandbox.token()
    with pytest.raises(Refused) as refused:
        await sandbox.pay(token=card, payment_method_types=("alipay",), return_url=RETURN_URL)
    assert refused.value.code == "payment_intent_incompatible_payment_method"
    assert (await sandbox.state())["payment_intents"] == before
    # Neither token was used up by the refusal.
    assert (await sandbox.pay(token=card)).status == "succeeded"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"payment_method_types": ("klarna",)}, "payment_intent_invalid_parameter"),
        ({"payment_method_types": ("card", "card")}, "invalid_request_error"),
        (
            {"payment_method_types": ("card", "alipay"), "currency": "BRL"},
            "payment_intent_invalid_parameter",
        ),
        ({"return_url": "shop.test"}, "url_invalid"),
    ],
)
async def test_method_lists_that_stripe_refuses(
    sandbox: RunningSandbox, changes: dict[str, Any], code: str
) -> None:
    with pytest.raises(Refused) as refused:
        await sandbox.pay(**changes)
    assert refused.value.code == code


async def test_alipay_needs_to_know_the_way_back(sandbox: RunningSandbox) -> None:
    token = await sandbox.other_token("alipay")
    with pytest.raises(Refused, match="return_url"):
        await sandbox.pay(token=token, payment_method_types=("alipay",))


async def test_types_and_automatic_methods_exclude_each_other(sandbox: RunningSandbox) -> None:
    fields = {
        "amount": "5000",
        "currency": "cny",
        "payment_method_types[]": "card",
        "automatic_payment_methods[enabled]": "true",
    }
    assert (await sandbox.ask("POST", "/v1/payment_intents", fields)).status == 400


async def test_a_declined_card_is_replaced_by_one_of_the_allowed(sandbox: RunningSandbox) -> None:
    types = ("card", "alipay")
    with pytest.raises(Declined) as declined:
        await sandbox.pay(
            "pm_card_visa_chargeDeclined", payment_method_types=types, return_url=RETURN_URL
        )
    intent_id = declined.value.fact.payment_intent_id
    token = await sandbox.other_token("wechat_pay")
    with pytest.raises(Refused, match="not allowed"):
        await sandbox.gateway.confirm(intent_id, token, "wechat:1")
    paid = await sandbox.gateway.confirm(intent_id, await sandbox.token(), "card:2")
    assert paid.status == "succeeded"


async def test_checkout_pages_offer_what_the_session_takes(sandbox: RunningSandbox) -> None:
    opened = await sandbox.checkout(payment_method_types=("alipay", "wechat_pay"))
    page = await sandbox.browse(opened.url)
    assert b"WeChat Pay" in page.body
    assert b"4242" not in page.body
    assert (await sandbox.browse(opened.url, {"means": "4242424242424242"})).status == 400
    assert b'value="succeed"' in (await sandbox.browse(opened.url, {"means": "wechat_pay"})).body
    assert (await sandbox.browse(opened.url, {"outcome": "succeed"})).status == 303
    assert (await sandbox.gateway.fetch_checkout(opened.session_id)).paid
