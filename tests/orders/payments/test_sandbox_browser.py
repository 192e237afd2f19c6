"""The stand-in for Stripe.js in a real browser, under the strict policy of the pay page."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from orders.payments.errors import Declined
from orders.payments.facts import PaymentFact
from tests.orders.payments.sandbox_process import PUBLISHABLE_KEY, RunningSandbox, running_sandbox

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH"),
]

PAGE = """<!doctype html><html lang="{lang}"><meta charset="utf-8"><title>Pay</title>
<main><div id="place"></div><button id="pay">Pay now</button><output id="result"></output></main>
<script src="{sandbox}/sandbox/stripe.js"></script><script src="/pay.js"></script></html>"""

SCRIPT = """"use strict";
const stripe = Stripe("%s");
const elements = stripe.elements({
  mode: "payment", amount: 5000, currency: "cny", paymentMethodTypes: ["card", "alipay"],
});
const result = document.getElementById("result");
const payment = elements.create("payment");
payment.on("ready", () => { document.body.dataset.ready = "yes"; });
payment.mount("#place");
document.getElementById("pay").addEventListener("click", async () => {
  result.textContent = "";
  const submitted = await elements.submit();
  if (submitted.error) { result.textContent = submitted.error.code; return; }
  const made = await stripe.createConfirmationToken({ elements });
  if (made.error) { result.textContent = made.error.code; return; }
  const answer = await payOnServer(made.confirmationToken.id);
  if (answer.status !== "requires_action") { result.textContent = answer.status; return; }
  const done = await stripe.handleNextAction({ clientSecret: answer.clientSecret });
  result.textContent = done.error ? done.error.code : done.paymentIntent.status;
});
"""


@dataclass
class PayPage:
    """The page, its origin, what the browser complained of, and what the server was paid."""

    page: "playwright.Page"
    complaints: list[str] = field(default_factory=list)
    facts: list[PaymentFact] = field(default_factory=list)

    async def pay(self, choice: str) -> str:
        await self.page.get_by_role("combobox").select_option(choice)
        return await self.press()

    async def press(self) -> str:
        await self.page.get_by_role("button", name="Pay now").click()
        await playwright.expect(self.page.locator("#result")).not_to_be_empty()
        return str(await self.page.locator("#result").text_content())


@asynccontextmanager
async def page_server(sandbox_url: str, lang: str) -> AsyncIterator[str]:
    policy = (
        f"default-src 'none'; script-src 'self' {sandbox_url}; connect-src 'self' {sandbox_url}; "
        "style-src 'self'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
    )
    files = {
        "/": ("text/html; charset=utf-8", PAGE.format(lang=lang, sandbox=sandbox_url)),
        "/pay.js": ("text/javascript", SCRIPT % PUBLISHABLE_KEY),
    }

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = (await reader.readuntil(b"\r\n\r\n")).decode().split(" ")[1]
        path = target.partition("?")[0]
        kind, body = files.get(path, ("text/plain", ""))
        writer.write(
            f"HTTP/1.1 {200 if path in files else 404} X\r\ncontent-type: {kind}\r\n"
            f"content-security-policy: {policy}\r\nconnection: close\r\n\r\n{body}".encode()
        )
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
    listener.close()


@pytest_asyncio.fixture(scope="module")
async def browser() -> AsyncIterator["playwright.Browser"]:
    async with playwright.async_playwright() as driver:
        found = await driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        await found.close()


@pytest_asyncio.fixture(scope="module")
async def paying_sandbox() -> AsyncIterator[RunningSandbox]:
    async with running_sandbox("--processing-delay-ms", "60000") as found:
        yield found


@asynccontextmanager
async def pay_page(
    browser: "playwright.Browser", sandbox: RunningSandbox, lang: str = "en"
) -> AsyncIterator[PayPage]:
    async with page_server(sandbox.base_url, lang) as origin:
        context = await browser.new_context(viewport={"width": 390, "height": 844})
        page = await context.new_page()
        opened = PayPage(page)
        page.on("console", lambda said: opened.complaints.append(said.text))
        page.on("pageerror", lambda error: opened.complaints.append(str(error)))

        async def pay_on_server(token: str) -> dict[str, str | None]:
            try:
                fact = await sandbox.pay(
                    token=token,
                    payment_method_types=("card", "alipay"),
                    return_url=origin,
                )
            except Declined as declined:
                fact = declined.fact
            opened.facts.append(fact)
            return {"status": fact.status, "clientSecret": fact.client_secret}

        await page.expose_function("payOnServer", pay_on_server)
        await page.goto(origin)
        await playwright.expect(page.locator("body[data-ready=yes]")).to_be_attached()
        yield opened
        await context.close()


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("4242 4242 4242 4242", "succeeded"),
        ("4000 0000 0000 0002", "requires_payment_method"),
        ("4000 0000 0000 9995", "requires_payment_method"),
        ("4000 0000 0000 0077", "processing"),
    ],
)
async def test_each_card_of_the_list_does_as_it_says(
    browser: "playwright.Browser", paying_sandbox: RunningSandbox, number: str, shown: str
) -> None:
    async with pay_page(browser, paying_sandbox) as opened:
        assert await opened.pay(number) == shown
        assert opened.facts[0].amount_minor == 5_000
        assert opened.complaints == []


@pytest.mark.parametrize(
    ("answer", "shown", "status"),
    [
        ("Approve", "succeeded", "succeeded"),
        ("Refuse", "payment_intent_authentication_failure", "requires_payment_method"),
        ("Escape", "payment_intent_authentication_failure", "requires_payment_method"),
    ],
)
async def test_the_bank_dialog_is_answered(
    browser: "playwright.Browser",
    paying_sandbox: RunningSandbox,
    answer: str,
    shown: str,
    status: str,
) -> None:
    async with pay_page(browser, paying_sandbox) as opened:
        page = opened.page
        await page.get_by_role("combobox").select_option("4000 0027 6000 3184")
        await page.get_by_role("button", name="Pay now").click()
        dialog = page.get_by_role("dialog")
        await playwright.expect(dialog).to_contain_text("TEST MONEY")
        if answer == "Escape":
            await page.keyboard.press("Escape")
        else:
            await dialog.get_by_role("button", name=answer).click()
        await playwright.expect(page.locator("#result")).to_have_text(shown)
        await playwright.expect(dialog).not_to_be_attached()
        fact = await paying_sandbox.gateway.retrieve(opened.facts[0].payment_intent_id)
        assert fact.status == status
        assert opened.complaints == []


async def test_a_mistyped_card_never_reaches_our_server(
    browser: "playwright.Browser", paying_sandbox: RunningSandbox
) -> None:
    async with pay_page(browser, paying_sandbox) as opened:
        number = opened.page.get_by_label("Card number")
        await number.fill("4242")
        assert await opened.press() == "incomplete_payment_details"
        await playwright.expect(number).to_have_attribute("aria-invalid", "true")
        await playwright.expect(opened.page.get_by_role("alert")).to_contain_text("Check the card")
        await number.fill("4242 4242 4242 4241")
        assert await opened.press() == "incorrect_number"
        await playwright.expect(opened.page.get_by_role("alert")).to_contain_text("incorrect")
        assert opened.facts == []
        await number.fill("4242424242424242")
        assert await opened.press() == "succeeded"


async def test_it_is_chinese_on_a_chinese_page(
    browser: "playwright.Browser", paying_sandbox: RunningSandbox
) -> None:
    async with pay_page(browser, paying_sandbox, "zh-CN") as opened:
        group = opened.page.get_by_role("group", name="测试资金")
        await playwright.expect(group).to_contain_text("不会扣款")
        await playwright.expect(opened.page.get_by_label("卡号")).to_have_value(
            "4242 4242 4242 4242"
        )
        # Styled although the page's policy forbids inline styles: 44 px is the size of a finger.
        box = await opened.page.get_by_label("卡号").bounding_box()
        assert box is not None
        assert box["height"] >= 44
        if folder := os.environ.get("SCREENSHOTS"):
            await opened.page.screenshot(path=f"{folder}/sandbox-pay-zh.png")
        assert opened.complaints == []


async def test_another_method_asks_for_no_card(
    browser: "playwright.Browser", paying_sandbox: RunningSandbox
) -> None:
    async with pay_page(browser, paying_sandbox) as opened:
        page = opened.page
        await page.get_by_role("combobox", name="Way to pay").select_option("Alipay")
        await playwright.expect(page.get_by_label("Card number")).to_be_hidden()
        await page.get_by_role("button", name="Pay now").click()
        await page.get_by_role("dialog").get_by_role("button", name="Approve").click()
        await playwright.expect(page.locator("#result")).to_have_text("succeeded")
        assert opened.complaints == []


async def test_the_checkout_page_is_paid_in_a_browser(
    browser: "playwright.Browser", paying_sandbox: RunningSandbox
) -> None:
    async with page_server(paying_sandbox.base_url, "en") as shop:
        session = await paying_sandbox.checkout(success_url=f"{shop}?paid=1", cancel_url=shop)
        context = await browser.new_context(viewport={"width": 390, "height": 844})
        page = await context.new_page()
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        assert session.url is not None
        await page.goto(session.url)
        await playwright.expect(page.get_by_text("TEST MONEY")).to_be_visible()
        await page.get_by_label("Test card that is declined").check()
        await page.get_by_role("button", name="Pay").click()
        await playwright.expect(page.get_by_role("alert")).to_contain_text("declined")
        await page.get_by_label("Test card whose bank asks").check()
        box = await page.get_by_role("button", name="Pay").bounding_box()
        assert box is not None
        assert box["height"] >= 44
        if folder := os.environ.get("SCREENSHOTS"):
            await page.screenshot(path=f"{folder}/sandbox-checkout.png")
        await page.get_by_role("button", name="Pay").click()
        # Chromium holds the redirect after a form to the page's policy too.
        await page.get_by_role("button", name="Approve").click()
        await page.wait_for_url(f"{shop}?paid=1")
        assert (await paying_sandbox.gateway.fetch_checkout(session.session_id)).paid
        other = await paying_sandbox.checkout(success_url=shop, cancel_url=shop)
        assert other.url is not None
        await page.goto(other.url)
        await page.get_by_role("link", name="Cancel and go back").click()
        await page.wait_for_url(shop)
        assert complaints == []
        await context.close()
