"""What the end of a payment means for the Checkout Session in which it was made."""

from orders.payments.sandbox.books import Books
from orders.payments.sandbox.records import IntentRecord


def follow(books: Books, intent_record: IntentRecord) -> None:
    """Complete the session of an intent that was paid or is being paid, and tell what became of the latter."""
    if intent_record.session_id is None:
        return
    record = books.sessions.by_id[intent_record.session_id]
    session, status = record.session, intent_record.intent.status
    was_open = session.status == "open"
    if status in ("succeeded", "processing"):
        session.status = "complete"
        session.url = None
        session.payment_status = "paid" if status == "succeeded" else "unpaid"
        event = "completed" if was_open else "async_payment_succeeded"
    elif session.status == "complete":
        event = "async_payment_failed"
    else:
        # A declined card: the page stays open for another.
        return
    books.put(record)
    books.emit(f"checkout.session.{event}", session)
