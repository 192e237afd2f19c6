"""The refusals of an order, each spelt once: programs rely on their codes, people on their words."""

from orders.placements import KeyAborted, KeyConflict
from stream_events.errors import Problem


def conflict() -> Problem:
    """The key was used with another body."""
    return Problem(422, "idempotency_conflict", "This Idempotency-Key was used with another body.")


def known_refusal(known: KeyConflict | KeyAborted) -> Problem:
    """What SQL has under the key is a refusal, and stays one."""
    if isinstance(known, KeyConflict):
        return conflict()
    return Problem(
        410, "key_aborted", "This key was given up before an order was placed; make a new key."
    )


def sold_out(left: int, *, final: bool) -> Problem:
    """No unit may be admitted now; ``final`` when none will come back."""
    words = "Everything is sold." if final else "Nothing is free right now; units may come back."
    return Problem(409, "sold_out", words, left=left, final=final)


def limit_exceeded(units: int) -> Problem:
    """The shopper has ``units`` already."""
    return Problem(409, "limit_exceeded", "That would pass the limit for one shopper.", yours=units)
