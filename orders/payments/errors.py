"""What can come of asking the payment provider, named by what the caller may conclude from it."""

# The names say what happened, and are caught as such; "Error" behind each would add nothing.
# ruff: noqa: N818

from typing import Literal, TypeAlias

from orders.payments.facts import PaymentFact

ListedKind: TypeAlias = Literal[
    "payment_intents", "refunds", "events", "disputes", "checkout/sessions"
]


class PaymentError(Exception):
    """Any answer of the provider other than the one that was asked for."""


class Declined(PaymentError):
    """The card was refused; no money moved and none will for this try.

    `fact` is the PaymentIntent as it is now (requires_payment_method): confirm it again with another token,
    up to the limit of tries. Why it was declined stays on the server: it helps card testers most.
    """

    def __init__(self, fact: PaymentFact) -> None:
        super().__init__(f"{fact.payment_intent_id} was declined")
        self.fact = fact


class UnknownOutcome(PaymentError):
    """Nobody knows whether the call had its effect: keep the attempt open and ask again with the same key.

    The answer was lost, or it was a 5xx, or the first call with this key is still at work (409).
    `key_spent` is true when Stripe replayed a stored 5xx: the same key will never say more, so the object must
    be looked up by metadata, and only its proven absence allows a new attempt.
    """

    def __init__(self, reason: str, *, key_spent: bool = False) -> None:
        super().__init__(reason)
        self.key_spent = key_spent


class RateLimited(PaymentError):
    """Refused at the door, nothing done and nothing stored: slow down, and repeat with the same key."""

    def __init__(self, retry_after_ms: int) -> None:
        super().__init__(f"rate limited; try again after {retry_after_ms} ms")
        self.retry_after_ms = retry_after_ms


class Refused(PaymentError):
    """A definite no (4xx): the call had no effect, and repeating it will not change that.

    `code` is Stripe's (`payment_intent_unexpected_state`, `resource_missing`, `idempotency_error`,
    `authentication_error`, …). `fact` is the PaymentIntent when Stripe showed it: canceling one that succeeded
    meanwhile is refused, and the fact says that it succeeded. `message` is for our log, never for clients.
    """

    def __init__(self, code: str, message: str, fact: PaymentFact | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.fact = fact


class Unreachable(PaymentError):
    """No connection could be made, so the call certainly had no effect; counts for the breaker."""


class ListTruncated(PaymentError):
    """There was more to list than `pages_max` pages: what was not seen must not be taken for absent."""

    def __init__(self, kind: ListedKind) -> None:
        super().__init__(f"the list of {kind} goes on beyond the pages allowed")
        self.kind = kind
