"""What the books' terms are called in plain words, in English and in Chinese.

Who is paid, who gave and who looks over our shoulder should not need to know our terms to read a statement.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

from orders.ledger import post
from stream_events.money import format_minor

Lang = Literal["en", "zh"]
Words = tuple[str, str]  # English, Chinese.


def said(words: Words, lang: Lang) -> str:
    """Return the words in one language."""
    return words[0] if lang == "en" else words[1]


def money(amount_minor: int, currency: str) -> str:
    """Return an amount as it is said in a sentence: ``CNY 19.40``."""
    return f"{currency} {format_minor(amount_minor, currency)}"


KINDS: Final[Mapping[str, Words]] = MappingProxyType(
    {
        post.CAPTURE: ("Sale paid", "销售入账"),
        post.REFUND: ("Sale refunded", "销售退款"),
        post.REFUND_FAILED: ("Refund of a sale failed, money kept", "销售退款失败，款项保留"),
        post.DISPUTE: ("Sale disputed", "销售被拒付"),
        post.REINSTATE: ("Dispute over a sale won", "销售拒付争议胜诉"),
        post.DONATION: ("Gift received", "捐赠入账"),
        post.DONATION_REFUND: ("Gift refunded", "捐赠退款"),
        post.DONATION_REFUND_FAILED: (
            "Refund of a gift failed, money kept",
            "捐赠退款失败，款项保留",
        ),
        post.DONATION_DISPUTE: ("Gift disputed", "捐赠被拒付"),
        post.DONATION_REINSTATE: ("Dispute over a gift won", "捐赠拒付争议胜诉"),
        post.MATCH: ("Matched by a sponsor", "赞助方配捐"),
        post.MATCH_REVERSED: ("Match taken back", "配捐撤回"),
        post.MATCH_RESTORED: ("Match given again", "配捐恢复"),
        post.PLEDGE: ("Standing pledge", "承诺捐赠计提"),
        post.PAYOUT: ("Paid out", "已付款"),
        post.SPONSOR_PAID: ("Sponsor paid in", "赞助方付款"),
        post.SURPLUS: ("Paid without a sale, owed back", "多收款项，待退还"),
        post.SURPLUS_REFUND: ("Surplus given back", "多收款项退还"),
        post.SURPLUS_REFUND_FAILED: ("Giving back a surplus failed", "多收款项退还失败"),
        post.SURPLUS_DISPUTE: ("Surplus disputed", "多收款项被拒付"),
        post.SURPLUS_REINSTATE: ("Dispute over a surplus won", "多收款项争议胜诉"),
        post.STRIPE_FEE: ("Fee of the payment service", "支付手续费"),
    }
)

HEADINGS: Final[Mapping[str, Words]] = MappingProxyType(
    {
        "gross": ("Paid by shoppers and givers", "顾客及捐赠者付款总额"),
        "shares": ("Shares of sales", "销售分成"),
        "shares_farmer": ("Farmers' shares of sales", "农户销售分成"),
        "shares_beneficiary": ("Causes' shares of sales", "公益项目销售分成"),
        "gifts": ("Gifts", "捐赠"),
        "matches": ("Matched by sponsors", "赞助方配捐"),
        "raised_back": ("Went back out of what was raised", "从已筹款项中退回"),
        "pledges": ("Standing pledges", "承诺捐赠"),
        "refunds": ("Refunds", "退款"),
        "disputes": ("Disputes", "拒付争议"),
        "fees": ("Our part of sales", "平台分成"),
        "payment_fees": ("Fees of the payment service", "支付手续费"),
        "shipping": ("Shipping", "运费"),
        "paid_out": ("Paid out", "已付款"),
        "sponsors_paid": ("Sponsors paid in", "赞助方付款"),
        "surplus": ("Paid without a sale", "多收款项"),
        "raised": ("Raised", "已筹款项"),
        "sales": ("Sales", "销售额"),
        "owed_farmers": ("Owed to farmers", "应付农户"),
        "owed_beneficiaries": ("Owed to causes", "应付公益项目"),
        "owed_pledges": ("Owed on standing pledges", "应付承诺捐赠"),
        "due_from_sponsors": ("Due from sponsors", "应收赞助方"),
    }
)

OPENING: Final[Words] = ("Opening balance", "期初余额")
CLOSING: Final[Words] = ("Closing balance", "期末余额")
