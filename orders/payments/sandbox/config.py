"""How one sandbox is set up. Everything that could let it talk to the outside is refused here."""

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

EVENT_TYPES = frozenset(
    {
        "payment_intent.created",
        "payment_intent.succeeded",
        "payment_intent.payment_failed",
        "payment_intent.canceled",
        "payment_intent.processing",
        "payment_intent.requires_action",
        "refund.created",
        "refund.updated",
        "refund.failed",
        "charge.refunded",
        "charge.dispute.created",
        "charge.dispute.updated",
        "charge.dispute.closed",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.funds_reinstated",
        "checkout.session.completed",
        "checkout.session.expired",
        "checkout.session.async_payment_succeeded",
        "checkout.session.async_payment_failed",
    }
)


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """Settings of `create_app`. Without `secret_key` any sk_test_ key is taken; `rate_per_s` 0 means no limit.

    `webhook_secrets`: each signs, as Stripe does while a secret is being rolled. `webhook_events`: the types
    the endpoint subscribed to. `journal_path` None: forget everything at exit.
    """

    webhook_url: str | None = None
    webhook_secrets: tuple[str, ...] = ()
    webhook_events: frozenset[str] = EVENT_TYPES
    secret_key: str | None = None
    rate_per_s: int = 25
    journal_path: Path | None = None
    processing_delay_ms: int = 2_000
    refund_delay_ms: int = 1_000
    webhook_concurrency_max: int = 16
    webhook_attempts_max: int = 16
    webhook_retry_base_ms: int = 500
    webhook_retry_max_ms: int = 30_000
    webhook_timeout_ms: int = 10_000
    objects_max: int = 1_000_000
    dice_seed: int = 0

    def __post_init__(self) -> None:
        if self.secret_key is not None and not self.secret_key.startswith("sk_test_"):
            raise ValueError("the sandbox takes only a secret key that starts with sk_test_")
        if self.rate_per_s < 0:
            raise ValueError("rate_per_s is 0 (off) or more")
        if unknown := self.webhook_events - EVENT_TYPES:
            raise ValueError(f"the sandbox has no event type {min(unknown)}")
        if self.webhook_url is None:
            return
        if not any(secret.strip() for secret in self.webhook_secrets):
            raise ValueError("webhooks without a secret could be forged by anybody; give one")
        if urlsplit(self.webhook_url).scheme != "http" or not is_loopback(self.webhook_url):
            raise ValueError("the sandbox delivers webhooks to http:// loopback addresses alone")


def is_loopback(url: str) -> bool:
    """Whether the host of `url` is this machine, judged without asking a name server."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
