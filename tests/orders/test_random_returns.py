"""Random lives of paid orders: returns of every sort, failing and coming back, and books that are exact throughout."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from orders.order_books import OrderBooks
from orders.order_parts import Parts
from orders.order_rows import RefundRow
from tests.orders.pure_books import PI, Told, dispute, new_books, payment, refund
from tests.orders.test_order_parts import parts


def room(books: OrderBooks) -> int:
    return books.received_minor - books.refunded_minor


def ask(books: OrderBooks, draw: Any, name: str) -> RefundRow | None:
    """Plan a refund by line, by gift or by amount, as far as money and units allow."""
    sort = draw(st.sampled_from(["line", "gift", "amount", "amount"]))
    lines: list[tuple[str, int, int]] = []
    gift_minor = None
    if sort == "line" and books.lines:
        line = draw(st.sampled_from(list(books.lines)))
        units = draw(st.integers(1, line.quantity))
        amount = units * line.amount_minor // line.quantity
        lines = [(line.sku, units, amount)]
    else:
        amount = draw(st.integers(1, max(1, room(books))))
        gift_minor = amount if sort == "gift" else None
    if not 0 < amount <= room(books):
        return None
    return RefundRow(name, PI, amount, "quality", "CREATING", None, lines, gift_minor)


def turn(told: Told, draw: Any, number: int) -> None:
    """Let one thing happen."""
    books = told.books
    sort = draw(st.sampled_from(["refund", "refund", "external", "fail", "dispute", "close"]))
    if sort == "refund":
        row = ask(books, draw, f"rfd_{number}")
        if row is not None:
            books.refunds.append(row)
            told.tell(refund(f"re_{number}", row.amount_minor, row=row.id))
    elif sort == "external" and room(books):
        told.tell(refund(f"re_{number}", draw(st.integers(1, room(books)))))
    elif sort == "fail" and books.refunds:
        row = draw(st.sampled_from(books.refunds))
        assert row.stripe_refund_id is not None
        told.tell(refund(row.stripe_refund_id, row.amount_minor, "failed"))
    elif sort == "dispute":
        amount = draw(st.integers(1, books.total_minor))
        fee = draw(st.sampled_from([None, 0, 1500]))
        told.tell(dispute(f"dp_{number}", amount, "needs_response", fee))
    elif sort == "close" and books.disputes:
        row_ = draw(st.sampled_from(books.disputes))
        end = draw(st.sampled_from(["won", "lost"]))
        told.tell(dispute(row_.id, row_.amount_minor, end, draw(st.sampled_from([None, 0, 1500]))))


def assert_exact(told: Told) -> None:
    """The ledger is what the rows say, no share is overdrawn, and what is gone is gone to the last unit."""
    books = told.books
    net = told.net()
    gone = books.refunded_minor + sum(
        row.amount_minor for row in books.disputes if row.state in {"OPEN", "LOST"}
    )
    clearing = sum(
        minor
        for (group, account), minor in net.items()
        if account == "stripe/clearing" and group in {"goods", "gifts"}
    )
    assert clearing == books.received_minor - gone
    for (_, account), minor in net.items():
        if account.startswith(("farmer/", "beneficiary/", "platform/shipping")):
            assert minor < 0
    lost = max(0, gone - books.total_minor)
    fees = sum(minor for (_, account), minor in net.items() if account == "platform/fees")
    assert fees <= lost
    if gone >= books.total_minor:
        shares = {key for key in net if key[0] in {"goods", "gifts"}}
        assert shares <= {
            (group, account)
            for group in ("goods", "gifts")
            for account in ("stripe/clearing", "platform/fees")
        }
        assert (fees, clearing) == (lost, -lost)
        assert (told.units(), told.counts()) == ({}, (0, 0))
        assert books.state == "REFUNDED" or books.open_disputes()
    left = books.left()
    assert told.units() == left.units
    assert told.counts() == (int(bool(left.units)), int(bool(left.gifts_minor)))
    assert sum(books.raised_base_left("all").values()) == -sum(
        minor for (_, account), minor in net.items() if account.startswith("beneficiary/")
    )


@settings(max_examples=300, deadline=None)
@given(st.data(), parts)
def test_books_are_exact_after_every_step_of_any_life(data: st.DataObject, made: Parts) -> None:
    total = made.goods_minor + made.gifts_minor
    told = Told(new_books(made))
    told.tell(payment(total=total, fee_minor=None))
    assert_exact(told)
    for number in range(data.draw(st.integers(1, 10))):
        turn(told, data.draw, number)
        assert_exact(told)
    if room(told.books):
        told.tell(refund("re_last", room(told.books)))
    assert_exact(told)
    assert told.books.refunded_minor == total
