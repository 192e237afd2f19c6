"""The words of a mail: plain text, Chinese and English in one, from what the books say at that moment.

Pure. Nothing of the shopper's is repeated in it, neither name nor address: a mail that goes astray tells of an
order, and of nobody.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from orders.mail.outbox import MailKind
from stream_events.money import format_minor


@dataclass(frozen=True, slots=True)
class Named:
    """A name in English, and in Chinese where there is one."""

    en: str
    zh: str | None = None

    @property
    def chinese(self) -> str:
        """Return the Chinese name, or the one there is."""
        return self.zh or self.en


@dataclass(frozen=True, slots=True)
class BoughtLine:
    """What was bought, for how much, and the tax within that."""

    name: Named
    unit: Named
    quantity: int
    amount_minor: int
    tax_minor: int


@dataclass(frozen=True, slots=True)
class Share:
    """What somebody gets of a payment. ``kind`` is that of the account: farmer, beneficiary, platform, sponsor."""

    kind: str
    name: Named
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Matter:
    """All that a mail may speak of: the order, who sells it, and how much money moved."""

    kind: MailKind
    order_id: str
    placed_at: datetime
    campaign: Named
    seller: str | None
    refund_terms: Named | None
    currency: str
    amount_minor: int
    link: str
    test: bool
    total_minor: int = 0
    lines: tuple[BoughtLine, ...] = ()
    gifts: tuple[Share, ...] = ()
    shipping_minor: int = 0
    shares: tuple[Share, ...] = ()


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail without its addresses."""

    subject: str
    body: str


_SUBJECTS: Final[dict[MailKind, tuple[str, str]]] = {
    "paid": ("付款收据", "Receipt"),
    "sold_nothing": ("款项将全额退回", "Your money goes back"),
    "refunded": ("已退款", "Refund"),
    "cancelled": ("订单已取消", "Order cancelled"),
    "refund_declined": ("退款申请的答复", "About your refund request"),
}
_OPENINGS: Final[dict[MailKind, tuple[str, str]]] = {
    "paid": ("我们已收到您的付款 {amount}，谢谢！", "We have received {amount}. Thank you!"),
    "sold_nothing": (
        "您的付款 {amount} 到达时订单已无法成交（已过期、已取消或已付过款），将自动全额退回，您无需操作。",
        "Your payment of {amount} came too late to buy anything, or was a second one. All of it goes back by itself.",
    ),
    "refunded": (
        "已退款 {amount}，将退回您付款时使用的账户；银行入账可能需要几天。",
        "{amount} went back to where you paid from; your bank may take some days to show it.",
    ),
    "cancelled": (
        "您的订单已取消，不会扣款。",
        "Your order is cancelled; you will not be charged for it.",
    ),
    "refund_declined": (
        "您的退款申请未获同意。如有疑问，请回复卖家。",
        "Your request for a refund was declined. Please ask the seller if you have questions.",
    ),
}
_PLATFORM: Final = {
    "fees": Named("The platform, for its costs", "平台费用"),
    "shipping": Named("Shipping", "运费"),
}


def platform_name(rest: str) -> Named:
    """Return what a platform account is for, in words."""
    return _PLATFORM.get(rest, Named(rest))


def write(matter: Matter) -> Letter:
    """Return the letter on a matter."""
    subject_zh, subject_en = _SUBJECTS[matter.kind]
    test = "[测试 TEST] " if matter.test else ""
    parts = [_chinese(matter), "—" * 20, _english(matter)]
    return Letter(f"{test}{subject_zh} {subject_en} · {matter.order_id}", "\n\n".join(parts) + "\n")


def _chinese(matter: Matter) -> str:
    opening = _OPENINGS[matter.kind][0].format(amount=_money(matter.amount_minor, matter))
    blocks = [f"您好！\n\n{opening}", f"订单：{matter.order_id}\n活动：{matter.campaign.chinese}"]
    if matter.kind == "paid":
        rows = [_line_zh(line, matter) for line in matter.lines]
        if matter.shipping_minor:
            rows.append(f"运费：{_money(matter.shipping_minor, matter)}")
        rows += [
            f"捐赠给{gift.name.chinese}：{_money(gift.amount_minor, matter)}"
            for gift in matter.gifts
        ]
        rows.append(f"合计：{_money(matter.total_minor, matter)}")
        blocks.append(_block("明细", rows))
        blocks.append(_block("这笔钱的去向", [_share_zh(share, matter) for share in matter.shares]))
    if matter.seller:
        blocks.append(f"卖家：{matter.seller}")
    if matter.refund_terms:
        blocks.append(f"退款条款：{matter.refund_terms.chinese}")
    blocks.append(f"查看或管理此订单（此链接等同密码，请勿转发）：\n{matter.link}")
    return _joined(blocks, matter, "这是测试邮件：没有真实的款项。")


def _english(matter: Matter) -> str:
    opening = _OPENINGS[matter.kind][1].format(amount=_money(matter.amount_minor, matter))
    blocks = [f"Hello,\n\n{opening}", f"Order: {matter.order_id}\nCampaign: {matter.campaign.en}"]
    if matter.kind == "paid":
        rows = [_line_en(line, matter) for line in matter.lines]
        if matter.shipping_minor:
            rows.append(f"Shipping: {_money(matter.shipping_minor, matter)}")
        rows += [
            f"Gift to {gift.name.en}: {_money(gift.amount_minor, matter)}" for gift in matter.gifts
        ]
        rows.append(f"Total: {_money(matter.total_minor, matter)}")
        blocks.append(_block("What you bought and gave", rows))
        blocks.append(
            _block("Where this money goes", [_share_en(share, matter) for share in matter.shares])
        )
    if matter.seller:
        blocks.append(f"Seller: {matter.seller}")
    if matter.refund_terms:
        blocks.append(f"Refund terms: {matter.refund_terms.en}")
    blocks.append(
        f"See or manage this order (this link is like a password, do not share it):\n{matter.link}"
    )
    return _joined(blocks, matter, "This is a test mail: no real money moved.")


def _joined(blocks: list[str], matter: Matter, test: str) -> str:
    return "\n\n".join([*filter(None, blocks), *([test] if matter.test else [])])


def _block(title: str, rows: list[str]) -> str:
    return "\n".join([f"{title}:", *(f"  {row}" for row in rows)]) if rows else ""


def _line_zh(line: BoughtLine, matter: Matter) -> str:
    tax = f"（含税 {_money(line.tax_minor, matter)}）" if line.tax_minor else ""
    name = f"{line.name.chinese} {line.unit.chinese} × {line.quantity}"
    return f"{name}：{_money(line.amount_minor, matter)}{tax}"


def _line_en(line: BoughtLine, matter: Matter) -> str:
    tax = f" (tax included: {_money(line.tax_minor, matter)})" if line.tax_minor else ""
    name = f"{line.name.en}, {line.unit.en} × {line.quantity}"
    return f"{name}: {_money(line.amount_minor, matter)}{tax}"


def _share_zh(share: Share, matter: Matter) -> str:
    amount = _money(share.amount_minor, matter)
    if share.kind == "sponsor":
        return f"赞助商 {share.name.chinese} 另外配捐：{amount}"
    return f"{share.name.chinese}：{amount}"


def _share_en(share: Share, matter: Matter) -> str:
    amount = _money(share.amount_minor, matter)
    if share.kind == "sponsor":
        return f"{share.name.en} adds as a sponsor: {amount}"
    return f"{share.name.en}: {amount}"


def _money(amount_minor: int, matter: Matter) -> str:
    return f"{format_minor(amount_minor, matter.currency)} {matter.currency}"
