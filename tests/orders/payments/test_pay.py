"""Paying an order: one object at Stripe whatever breaks in between, and a shopper who is never told a guess."""

import asyncio

import pytest

from orders.payments.pay import Payer, pay
from stream_events.errors import Problem
from stream_events.ids import new_id
from tests.orders.payments.counter import Counter
from tests.orders.payments.sandbox_process import PUBLISHABLE_KEY, until

CREATE = "POST /v1/payment_intents"


async def test_a_good_card_pays_once(counter: Counter) -> None:
    order_id = await counter.offered(2)
    paid = await counter.pay(order_id)
    assert (paid.payment.status, paid.state) == ("succeeded", "AWAITING_PAYMENT")
    assert paid.payment.client_secret is None
    assert await counter.attempts(order_id) == [(1, "SUCCEEDED", 1)]
    assert await counter.intents(order_id) == ["succeeded"]
    # Money is settled by what Stripe tells, never by the pay route.
    assert await counter.stock() == (2, 0)


async def test_a_declined_card_may_be_tried_three_times_in_all(counter: Counter) -> None:
    order_id = await counter.offered()
    for left in (2, 1, 0):
        answer = await counter.pay(order_id, "pm_card_visa_chargeDeclinedInsufficientFunds")
        assert (answer.payment.status, answer.tries_left) == ("declined", left)
        assert "insufficient" not in answer.model_dump_json()
    answer = await counter.pay(order_id)
    assert (answer.payment.status, answer.tries_left) == ("declined", 0)
    assert await counter.attempts(order_id) == [(1, "DECLINED", 3)]
    assert await counter.intents(order_id) == ["requires_payment_method"]


async def test_a_second_card_pays_after_a_decline_on_the_same_object(counter: Counter) -> None:
    order_id = await counter.offered()
    await counter.pay(order_id, "pm_card_visa_chargeDeclined")
    assert (await counter.pay(order_id)).payment.status == "succeeded"
    assert await counter.attempts(order_id) == [(1, "SUCCEEDED", 2)]
    assert await counter.intents(order_id) == ["succeeded"]


async def test_a_repeated_token_is_not_tried_again(counter: Counter) -> None:
    order_id = await counter.offered()
    token = await counter.sandbox.token("pm_card_visa_chargeDeclined")
    first = await counter.pay(order_id, token=token)
    assert await counter.pay(order_id, token=token) == first
    assert await counter.attempts(order_id) == [(1, "DECLINED", 1)]


async def test_a_step_for_the_bank_hands_its_secret_to_the_shopper(counter: Counter) -> None:
    order_id = await counter.offered()
    token = await counter.sandbox.token("pm_card_authenticationRequired")
    asked = await counter.pay(order_id, token=token)
    assert asked.payment.status == "requires_action"
    secret = asked.payment.client_secret
    assert secret
    assert (await counter.pay(order_id, token=token)).payment.client_secret == secret
    # Another card instead, while the bank still waits: the same object, a second try.
    assert (await counter.pay(order_id)).payment.status == "succeeded"
    assert await counter.attempts(order_id) == [(1, "SUCCEEDED", 2)]
    assert await counter.intents(order_id) == ["succeeded"]


async def test_processing_is_stripes_word_alone(counter: Counter) -> None:
    order_id = await counter.offered()
    answer = await counter.pay(order_id, "pm_card_bypassPending")
    assert (answer.state, answer.payment.status) == ("PROCESSING", "processing")
    assert await counter.state(order_id) == "PROCESSING"


async def test_two_payments_at_once_make_one_object(counter: Counter) -> None:
    order_id = await counter.offered()
    await counter.sandbox.faults(latency_ms=150)
    answers = await asyncio.gather(*(counter.pay(order_id) for _ in range(4)))
    statuses = sorted(answer.payment.status for answer in answers)
    assert statuses == ["checking", "checking", "checking", "succeeded"]
    assert await counter.intents(order_id) == ["succeeded"]


@pytest.mark.parametrize("fault", ["next_500_after_effect", "next_500_stored"])
async def test_an_unclear_answer_is_checking_and_never_tried_anew(
    counter: Counter, fault: str
) -> None:
    order_id = await counter.offered()
    await counter.sandbox.faults(**{fault: 1}, endpoint=CREATE)
    for _ in range(2):
        assert (await counter.pay(order_id)).payment.status == "checking"
    assert await counter.attempts(order_id) == [(1, "CREATING", 1)]
    assert len(await counter.intents(order_id)) == (fault == "next_500_after_effect")


@pytest.mark.parametrize(("fault", "refused"), [({"next_429": 1}, "429"), ({"outage": True}, "")])
async def test_what_stripe_never_saw_costs_no_try(
    counter: Counter, fault: dict[str, object], refused: str
) -> None:
    order_id = await counter.offered()
    await counter.sandbox.faults(**fault, endpoint=CREATE)
    if not refused:
        # A 503 may hide an effect, so it stays open; the row is not thrown away.
        assert (await counter.pay(order_id)).payment.status == "checking"
        assert await counter.attempts(order_id) == [(1, "CREATING", 1)]
        return
    with pytest.raises(Problem, match="stay held") as found:
        await counter.pay(order_id)
    assert (found.value.status, found.value.code) == (503, "pay_later")
    assert await counter.attempts(order_id) == []
    assert (await counter.pay(order_id)).tries_left == 2


async def test_a_429_on_a_second_card_leaves_the_first_decline_as_it_was(counter: Counter) -> None:
    order_id = await counter.offered()
    await counter.pay(order_id, "pm_card_visa_chargeDeclined")
    await counter.sandbox.faults(next_429=1, endpoint="POST /v1/payment_intents/:id/confirm")
    with pytest.raises(Problem, match="stay held"):
        await counter.pay(order_id)
    assert await counter.attempts(order_id) == [(1, "DECLINED", 1)]
    assert (await counter.pay(order_id)).payment.status == "succeeded"


async def test_a_token_of_another_order_is_refused_without_detail(counter: Counter) -> None:
    token = await counter.sandbox.token()
    first, second = await counter.offered(), await counter.offered()
    await counter.pay(first, token=token)
    answer = await counter.pay(second, token=token)
    assert answer.payment.status == "declined"
    assert await counter.attempts(second) == [(1, "ABSENT", 1)]
    assert (await counter.pay(second)).payment.status == "succeeded"
    assert await counter.attempts(second) == [(1, "ABSENT", 1), (2, "SUCCEEDED", 1)]
    assert await counter.intents(second) == ["succeeded"]


async def test_junk_tokens_run_out_as_well(counter: Counter) -> None:
    order_id = await counter.offered()
    answers = [await counter.pay(order_id, token=f"ctoken_junk{n}") for n in range(7)]
    assert [answer.payment.status for answer in answers] == ["declined"] * 7
    assert answers[-1].tries_left == 0
    assert len(await counter.attempts(order_id)) == 5


async def test_who_may_pay_what_and_when(counter: Counter) -> None:
    waiting, late, mine = await counter.place(), await counter.offered(), await counter.offered()
    await counter.end_time(late)
    for order_id, status, code in (
        (waiting, 409, "not_your_turn"),
        (late, 410, "order_expired"),
        ("ord_0", 404, "not_found"),
    ):
        with pytest.raises(Problem) as found:
            await counter.pay(order_id)
        assert (found.value.status, found.value.code) == (status, code)
    stranger = Payer(mine, new_id("shp"), await counter.sandbox.token())
    with pytest.raises(Problem, match="no such order"):
        await pay(counter.database, counter.sandbox.gateway, counter.pace, stranger)
    assert await counter.rows("SELECT 1 FROM pay_attempts") == []


async def test_the_row_is_there_before_stripe_is_called(counter: Counter) -> None:
    """Killed in the middle of the call, an attempt with all its parameters is left to be finished."""
    order_id = await counter.offered()
    await counter.sandbox.faults(next_timeout_after_effect=1, endpoint=CREATE)
    paying = asyncio.create_task(counter.pay(order_id))

    async def happened() -> bool:
        return bool(await counter.intents(order_id))

    await until(happened)
    paying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await paying
    [row] = await counter.rows("SELECT state, params FROM pay_attempts")
    assert row.state == "CREATING"
    assert row.params["amount"] == counter.sale.price_minor
    assert row.params["confirmation_token"].startswith("ctoken_")


async def test_a_wallet_is_a_means_like_any_other_where_the_campaign_takes_it(
    counter: Counter,
) -> None:
    first, second = await counter.offered(), await counter.offered()
    refused = await counter.pay(first, token=await counter.sandbox.other_token("alipay"))
    assert refused.payment.status == "declined"  # The campaign takes cards alone.
    await counter.rows("UPDATE campaigns SET payment_methods = '{card,alipay}' RETURNING 1")

    async def by_wallet(order_id: str, **fields: str) -> str:
        made = {"payment_method_data[type]": "alipay"} | fields
        path = "/v1/confirmation_tokens"
        answer = await counter.sandbox.ask("POST", path, made, bearer=PUBLISHABLE_KEY)
        token = str(answer.body["id"])
        payer = Payer(
            order_id, counter.sale.shopper_id, token, return_url="http://testserver/pay/1"
        )
        paid = await pay(counter.database, counter.sandbox.gateway, counter.pace, payer)
        return paid.payment.status

    assert await by_wallet(first) == "requires_action"
    # After a declined card the wallet's token says itself where the shopper comes back to.
    await counter.pay(second, "pm_card_visa_chargeDeclined")
    assert await by_wallet(second, return_url="http://testserver/pay/1") == "requires_action"
    assert await counter.attempts(second) == [(1, "REQUIRES_ACTION", 2)]
