"""An order's books without a database, told facts as the loop of settlement would tell them."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from orders.attempt_life import AttemptState
from orders.ledger import post
from orders.lifecycle import OrderState
from orders.order_books import OrderBooks
from orders.order_parts import GiftLine, Parts, SoldLine
from orders.order_rows import Attempt, RefundRow, Result, Ruling
from orders.payments.facts import DisputeFact, PaymentFact, RefundFact
from orders.rulings import Fact, apply, needs
from stream_events.split import ShareRule

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
PI = "pi_1"

GOODS = Parts(
    (
        SoldLine("A", 2, 5980, "frm_a", "ben_a", ShareRule(8000, 1500, 500)),
        SoldLine("B", 1, 1010, "frm_b", "ben_b", ShareRule(7001, 2001, 998, 7)),
    ),
    800,
    (GiftLine("ben_a", 333, "gift"), GiftLine("ben_c", 877, "round_up")),
)
GIFTS = Parts((), 0, (GiftLine("ben_a", 2001, "gift"), GiftLine("ben_c", 999, "gift")))


def new_books(parts: Parts = GOODS, state: str = "AWAITING_PAYMENT", **given: Any) -> OrderBooks:
    """Return an order with one attempt that is being made."""
    fields: dict[str, Any] = {
        "order_id": "ord_1",
        "stream_id": "str_1",
        "campaign_id": "cmp_1",
        "shopper_id": "shp_1",
        "placed_at": AT,
        "live": False,
        "currency": "CNY",
        "total_minor": parts.goods_minor + parts.gifts_minor,
        "state": OrderState(state),
        "received_minor": 0,
        "refunded_minor": 0,
        "disputed_minor": 0,
        "attempts": [Attempt(1, AttemptState.CREATING, None)],
        "gift": not parts.lines,
        "parts": parts,
    }
    return OrderBooks(**{**fields, **given})


def payment(status: str = "succeeded", total: int | None = None, **changed: Any) -> PaymentFact:
    """Return the PaymentIntent in ``status``."""
    amount = GOODS.goods_minor + GOODS.gifts_minor if total is None else total
    fields: dict[str, Any] = {
        "payment_intent_id": PI,
        "status": status,
        "amount_minor": amount,
        "amount_received_minor": amount if status == "succeeded" else 0,
        "currency": "CNY",
        "livemode": False,
        "metadata": {"order_id": "ord_1", "attempt": "1"},
        "client_secret": None,
        "next_action": False,
        "decline_code": None,
        "fee_minor": 277 if status == "succeeded" else None,
        "created_at": AT,
    }
    return PaymentFact(**{**fields, **changed})


def refund(
    refund_id: str,
    amount_minor: int,
    status: str = "succeeded",
    row: str | None = None,
    payment_intent_id: str = PI,
) -> RefundFact:
    """Return a refund; ``row``: of ours."""
    metadata = {} if row is None else {"refund_id": row}
    return RefundFact(
        refund_id, payment_intent_id, None, amount_minor, "CNY", status, None, metadata, AT
    )


def dispute(
    dispute_id: str,
    amount_minor: int,
    status: str,
    fee_minor: int | None = None,
    payment_intent_id: str = PI,
) -> DisputeFact:
    """Return a dispute."""
    return DisputeFact(
        dispute_id, payment_intent_id, None, amount_minor, "CNY", status, AT, fee_minor
    )


def asked(row_id: str, amount_minor: int, **given: Any) -> RefundRow:
    """Return a refund that we asked for."""
    return RefundRow(row_id, PI, amount_minor, "quality", "CREATING", None, **given)


def groups(kind: str) -> str:
    """Return which of the books a posting's kind is of."""
    if kind in post.SALE_KINDS:
        return "goods"
    if kind in post.DONATION_KINDS:
        return "gifts"
    return "surplus" if kind in post.SURPLUS_KINDS else kind


@dataclass
class Told:
    """Books, and what became of them on the way: the moves of stock and the rulings."""

    books: OrderBooks
    stock: bool = True
    proof: PaymentFact | None = None
    moves: list[str] = field(default_factory=list)
    restocked: Counter[str] = field(default_factory=Counter)
    results: list[Ruling] = field(default_factory=list)

    def tell(self, fact: Fact) -> Ruling:
        """Apply a fact; a refund or dispute whose payment is not in the books proves it, and it is told first."""
        books = self.books
        if not isinstance(fact, PaymentFact) and not books.has_money():
            self.tell(self.proof or payment(total=books.total_minor))
        needed = needs(books, fact)
        books.move = None
        ruling = apply(books, fact, sold_late=needed == "L" and self.stock)
        if needed == "L" and self.stock:
            self.moves.append("L")
        elif books.move and books.move != "L":
            assert books.move == needed
            self.moves.append(books.move)
        for lines in books.restocking:
            self.restocked.update(lines or {"all": 1})
        books.restocking = []
        self.results.append(ruling)
        return ruling

    def net(self) -> dict[tuple[str, str], int]:
        """Return what stands on each account in each of the books; every posting has to balance."""
        sums: Counter[tuple[str, str]] = Counter()
        for posting in self.books.postings:
            entries = posting.amounts()
            assert sum(amount for _, amount in entries) == 0
            for account, amount in entries:
                sums[groups(posting.kind), account] += amount
        return {key: sums[key] for key in sorted(sums) if sums[key]}

    def units(self) -> dict[str, int]:
        """Return the units that stand sold by the postings, at no moment less than none or more than there are."""
        standing: Counter[str] = Counter()
        sold = {line.sku: line.quantity for line in self.books.lines}
        for posting in self.books.postings:
            begins = posting.kind in {post.CAPTURE, post.REFUND_FAILED, post.REINSTATE}
            for sku, units in posting.lines:
                standing[sku] += units if begins else -units
                assert 0 <= standing[sku] <= sold[sku]
        return +standing

    def counts(self) -> tuple[int, int]:
        """Return how many orders and gifts stand by the postings: none or one, at every moment."""
        orders = gifts = 0
        for posting in self.books.postings:
            orders, gifts = orders + posting.orders, gifts + posting.gifts
            assert orders in {0, 1}
            assert gifts in {0, 1}
        return orders, gifts

    def end(self) -> dict[str, Any]:
        """Return all that an order of events must not change."""
        books = self.books
        return {
            "state": books.state,
            "columns": (books.received_minor, books.refunded_minor, books.disputed_minor),
            "attempts": [(attempt.n, attempt.state) for attempt in books.attempts],
            "net": self.net(),
            "units": self.units(),
            "counts": self.counts(),
            "moves": sorted(self.moves),
            "restocked": self.restocked,
            "refunds": sorted(
                (row.stripe_refund_id or "", row.amount_minor, row.reason, row.state)
                for row in books.refunds
            ),
            "disputes": sorted((row.id, row.amount_minor, row.state) for row in books.disputes),
        }


def is_news(ruling: Ruling) -> bool:
    """Return whether the fact changed anything."""
    return ruling.result is Result.APPLIED
