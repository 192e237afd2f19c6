"""The sentences of an order's life, in English and in Chinese.

Each thing that can happen has one sentence a language. Amounts are written out by their currency, accounts by what
they stand for; ids stay ids, for whoever wants to look further.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from orders.answers.words import KINDS, Lang, Words, money, said
from orders.ledger import accounts

STATES: Final[Mapping[str, Words]] = MappingProxyType(
    {
        "RESERVED": ("its goods are held; it waits for its turn to be paid", "商品已保留，排队等待付款"),
        "AWAITING_PAYMENT": ("it can be paid now", "现在可以付款"),
        "PROCESSING": ("the payment is on its way", "付款处理中"),
        "PAID": ("it is paid", "已付款"),
        "EXPIRING": ("its time to pay is over; open payments are being closed", "付款时间已过，正在关闭未完成的付款"),
        "EXPIRED": ("it expired unpaid", "逾期未付款，已失效"),
        "CANCELLING": ("it was cancelled; open payments are being closed", "已申请取消，正在关闭未完成的付款"),
        "CANCELLED": ("it is cancelled", "已取消"),
        "LATE_PAID": ("money came late; units are being looked for", "付款迟到，正在重新确认库存"),
        "REFUND_PENDING": ("its money is on the way back", "退款处理中"),
        "REFUNDED": ("all its money went back", "已全额退款"),
        "PART_REFUNDED": ("a part of its money went back", "已部分退款"),
        "REFUND_FAILED": ("a refund failed; its money is with us", "退款失败，款项仍在我方"),
        "DISPUTED": ("the payer's bank disputes the payment", "付款被银行提出争议"),
    }
)  # fmt: skip

SENTENCES: Final[Mapping[str, Words]] = MappingProxyType(
    {
        "placed": ("Placed for {total}, as number {place} of those waiting for their turn to pay.", "下单，合计 {total}，付款排队第 {place} 位。"),
        "gift_placed": ("A gift without goods was promised, for {total}.", "承诺捐赠 {total}（不含商品）。"),
        "key": ("Its idempotency key was answered for good: {outcome} (admission {admission}).", "幂等键结果已确定：{outcome}（准入号 {admission}）。"),
        "line": ("Ordered: {quantity} × {sku} for {amount}.", "商品：{sku} × {quantity}，{amount}。"),
        "gift": ("Given on top to {beneficiary_id}: {amount} ({gift_kind}).", "附加捐赠给 {beneficiary_id}：{amount}（{gift_kind}）。"),
        "shipping": ("Shipping: {amount}.", "运费：{amount}。"),
        "stock_R": ("{quantity} × {sku} were reserved for it.", "已为其保留 {sku} × {quantity}。"),
        "stock_C": ("{quantity} × {sku} became sold.", "{sku} × {quantity} 转为已售出。"),
        "stock_X": ("{quantity} × {sku} went back on sale.", "{sku} × {quantity} 已释放，重新可售。"),
        "stock_L": ("{quantity} × {sku} were sold to it after all, from free stock.", "付款迟到，{sku} × {quantity} 从可售库存中售出。"),
        "stock_T": ("{quantity} × {sku} came back and are on sale again.", "{sku} × {quantity} 退回，重新可售。"),
        "state": ("From {from_state} to {to_state}: {meaning}.", "状态由 {from_state} 变为 {to_state}：{meaning}。"),
        "attempt": ("Payment attempt {n} began ({way}); tries so far: {tries}.", "第 {n} 次付款尝试开始（{way}），已试 {tries} 次。"),
        "attempt_now": ("Payment attempt {n} was last written down as {attempt_state} ({payment_intent_id}).", "第 {n} 次付款尝试最近一次记录为 {attempt_state}（{payment_intent_id}）。"),
        "event": ("Stripe said {event_type} of {object_id}.", "Stripe 通知：{object_id} 发生 {event_type}。"),
        "event_done": ("What Stripe said ({event_type} of {object_id}) was dealt with: {outcome}.", "Stripe 通知（{object_id} 的 {event_type}）已处理：{outcome}。"),
        "posted": ("Posted to the books: {words}. {entries}", "记账：{words}。{entries}"),
        "sealed": ("Sealed as number {seq} of the books: {words}.", "封存为账本第 {seq} 号：{words}。"),
        "match": ("The sponsor's match {match_id} added {amount} to a base of {base}; {returned} of it went back.", "赞助方配捐 {match_id} 按基数 {base} 追加 {amount}，其中已退回 {returned}。"),
        "refund": ("A refund of {amount} was decided on ({reason}); it is {refund_state}.", "决定退款 {amount}（{reason}），现状：{refund_state}。"),
        "dispute": ("The payer's bank took {amount} back (dispute {dispute_id}); it is {dispute_state}.", "银行追回 {amount}（争议 {dispute_id}），现状：{dispute_state}。"),
        "refund_request": ("The shopper asked for money back.", "顾客申请退款。"),
        "refund_request_decided": ("The shopper's wish for money back was decided: {outcome}.", "顾客的退款申请已处理：{outcome}。"),
        "mail_due": ("A mail fell due: {mail_kind}.", "需发送邮件：{mail_kind}。"),
        "mail_sent": ("The mail was sent: {mail_kind}.", "邮件已发送：{mail_kind}。"),
        "mail_dropped": ("The mail was given up: {mail_kind}.", "邮件已放弃发送：{mail_kind}。"),
        "contact": ("Where it goes was given.", "已提供收货信息。"),
        "message": ("A message for the stream was given; it is {display}.", "已提供留言，展示状态：{display}。"),
        "delivered": ("It was delivered.", "已送达。"),
    }
)  # fmt: skip

_ACCOUNTS: Final[Mapping[str, Words]] = MappingProxyType(
    {
        accounts.STRIPE_CLEARING: ("money at Stripe", "Stripe 待结算款"),
        accounts.STRIPE_FEES: ("Stripe's fees", "Stripe 手续费"),
        accounts.PLATFORM_FEES: ("our part", "平台分成"),
        accounts.PLATFORM_SHIPPING: ("shipping", "运费"),
        accounts.PLATFORM_PLEDGES: ("our pledges", "平台承诺捐赠"),
        accounts.DUE_BACK: ("money due back", "待退还款"),
        accounts.BANK_CLEARING: ("money at the bank", "银行款项"),
        "farmer": ("farmer", "农户"),
        "beneficiary": ("cause", "公益项目"),
        "sponsor": ("sponsor of match", "赞助方配捐"),
        "pledge": ("pledge", "承诺捐赠"),
    }
)


def sentence(code: str, data: Mapping[str, Any], currency: str, lang: Lang) -> str:
    """Return what happened as a sentence; each ``…_minor`` in ``data`` is there for it as a written-out ``…``."""
    fields: dict[str, Any] = {name: "–" if value is None else value for name, value in data.items()}
    for name, value in data.items():
        if name.endswith("_minor"):
            fields[name.removesuffix("_minor")] = money(value, currency)
    if code == "state":
        fields["meaning"] = said(STATES[data["to_state"]], lang)
    if code in {"posted", "sealed"}:
        fields["words"] = said(KINDS[data["kind"]], lang)
    if code == "posted":
        fields["entries"] = entries_said(data["entries"], currency, lang)
    return said(SENTENCES[code], lang).format_map(fields)


def entries_said(entries: Sequence[Sequence[Any]], currency: str, lang: Lang) -> str:
    """Return entries in words: ``farmer frm_1 was credited CNY 19.40; …``."""
    told = []
    for account, amount_minor in entries:
        name, amount = _account_said(account, lang), money(abs(amount_minor), currency)
        if lang == "en":
            told.append(f"{name} was {'debited' if amount_minor > 0 else 'credited'} {amount}")
        else:
            told.append(f"{name}{'借记' if amount_minor > 0 else '贷记'} {amount}")
    return "; ".join(told) + "." if lang == "en" else "；".join(told) + "。"


def _account_said(account: str, lang: Lang) -> str:
    if account in _ACCOUNTS:
        return said(_ACCOUNTS[account], lang)
    kind, owner_id = accounts.parse(account)
    return f"{said(_ACCOUNTS[kind], lang)} {owner_id}"
