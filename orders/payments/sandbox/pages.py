"""The HTML of the sandbox's own pages. All that anybody wrote is escaped; there is no script on them at all."""

from collections.abc import Iterable, Mapping
from html import escape
from types import MappingProxyType

from orders.payments.sandbox.records import CheckoutSession
from stream_events.money import format_minor, from_stripe_amount

Words = Mapping[str, str]

_EN: Words = MappingProxyType(
    {
        "lang": "en",
        "money": "TEST MONEY",
        "note": "This is a sandbox. No card is charged and no money moves.",
        "choose": "Pay with",
        "pay": "Pay",
        "cancel": "Cancel and go back",
        "declined": "The payment was declined. Nothing was charged; choose another way to pay.",
        "title": "Your bank asks",
        "ask": "Approve this test payment?",
        "approve": "Approve",
        "refuse": "Refuse",
        "complete": "This payment is complete.",
        "expired": "This payment page has expired. Nothing was charged on it.",
        "back": "Back to the shop",
        "done": "Thank you. You may close this page.",
        "outage": "The sandbox plays a provider outage. Nothing was charged.",
        "missing": "There is no such page.",
        "odd": "That was not understood. Nothing was charged.",
        "4242424242424242": "Test card that pays",
        "4000000000000002": "Test card that is declined",
        "4000000000009995": "Test card without enough funds",
        "4000002760003184": "Test card whose bank asks (3-D Secure)",
        "4000000000000077": "Test card that is processing first",
        "4000000000000259": "Test card that pays and is disputed",
        "alipay": "Alipay",
        "wechat_pay": "WeChat Pay",
    }
)
_ZH: Words = MappingProxyType(
    {
        "lang": "zh-CN",
        "money": "测试资金",
        "note": "这是沙盒环境，不会扣款，也没有真实资金流动。",
        "choose": "付款方式",
        "pay": "付款",
        "cancel": "取消并返回",
        "declined": "付款被拒绝。没有扣款，请换一种方式。",
        "title": "银行验证",
        "ask": "是否批准这笔测试付款？",
        "approve": "批准",
        "refuse": "拒绝",
        "complete": "付款已完成。",
        "expired": "付款页面已过期，没有扣款。",
        "back": "返回商店",
        "done": "谢谢，可以关闭此页面。",
        "outage": "沙盒正在模拟支付服务中断，没有扣款。",
        "missing": "没有这个页面。",
        "odd": "无法识别该操作，没有扣款。",
        "4242424242424242": "付款成功的测试卡",
        "4000000000000002": "被拒绝的测试卡",
        "4000000000009995": "余额不足的测试卡",
        "4000002760003184": "需要银行验证的测试卡（3-D Secure）",
        "4000000000000077": "先处理中的测试卡",
        "4000000000000259": "付款后产生争议的测试卡",
        "alipay": "支付宝",
        "wechat_pay": "微信支付",
    }
)
CARDS = (
    "4242424242424242",
    "4000000000000002",
    "4000000000009995",
    "4000002760003184",
    "4000000000000077",
    "4000000000000259",
)


def words_for(language: str | None) -> Words:
    """The words of the first language of a `locale` or an Accept-Language header."""
    return _ZH if (language or "").strip().lower().startswith("zh") else _EN


def pay_page(words: Words, session: CheckoutSession, name: str, *, declined: bool) -> bytes:
    """The form of an open session: ways to pay, and the way back."""
    means = [
        *(CARDS if "card" in session.payment_method_types else ()),
        *(method for method in session.payment_method_types if method != "card"),
    ]
    choices = "".join(
        f'<label><input type="radio" name="means" value="{escape(value)}" required'
        f"{' checked' if position == 0 else ''}> <span>{escape(words[value])}</span></label>"
        for position, value in enumerate(means)
    )
    problem = f'<p class="problem" role="alert">{escape(words["declined"])}</p>' if declined else ""
    back = (
        f'<a class="button" href="{escape(session.cancel_url)}">{escape(words["cancel"])}</a>'
        if session.cancel_url
        else ""
    )
    return _page(
        words,
        f"<h1>{escape(name)}</h1>"
        f'<p class="amount">{escape(_shown(session.amount_total, session.currency))}</p>'
        f'{problem}<form method="post"><fieldset><legend>{escape(words["choose"])}</legend>'
        f'{choices}</fieldset><button class="yes">{escape(words["pay"])}</button></form>{back}',
    )


def ask_page(
    words: Words, amount: int, currency: str, hidden: Iterable[tuple[str, str]] = ()
) -> bytes:
    """The bank's (or wallet's) question. `hidden` goes back with the answer."""
    kept = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in hidden
    )
    return _page(
        words,
        f"<h1>{escape(words['title'])}</h1>"
        f'<p class="amount">{escape(_shown(amount, currency))}</p><p>{escape(words["ask"])}</p>'
        f'<form method="post">{kept}'
        f'<button class="yes" name="outcome" value="succeed">{escape(words["approve"])}</button>'
        f'<button name="outcome" value="fail">{escape(words["refuse"])}</button></form>',
    )


def notice_page(words: Words, what: str, back_url: str | None = None) -> bytes:
    """A page that only says something."""
    back = (
        f'<a class="button" href="{escape(back_url)}">{escape(words["back"])}</a>'
        if back_url
        else ""
    )
    return _page(words, f"<h1>{escape(words[what])}</h1>{back}")


def _shown(amount: int, currency: str) -> str:
    code = currency.upper()
    return f"{format_minor(from_stripe_amount(amount, code), code)} {code}"


def _page(words: Words, body: str) -> bytes:
    return (
        f'<!doctype html><html lang="{words["lang"]}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(words['money'])}</title>"
        '<link rel="stylesheet" href="/c/hosted.css"></head><body><main>'
        f'<p class="money">{escape(words["money"])}</p><p>{escape(words["note"])}</p>{body}'
        "</main></body></html>"
    ).encode()
