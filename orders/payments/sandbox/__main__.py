"""`python -m orders.payments.sandbox`: the sandbox as a process of its own, on 127.0.0.1."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn

from orders.payments.sandbox.app import create_app
from orders.payments.sandbox.config import EVENT_TYPES, SandboxConfig

# The name of a setting, so that the value need not show up in the list of processes.
SECRET_VARIABLE = "STRIPE_SANDBOX_WEBHOOK_SECRET"  # noqa: S105


def serve(make_app: Callable[[SandboxConfig], Any] = create_app) -> None:
    """Read the options and serve what ``make_app`` makes of them until SIGTERM."""
    options = _parser().parse_args()
    secrets = options.webhook_secret or [os.environ.get(SECRET_VARIABLE, "")]
    events = frozenset(options.webhook_events.split(",")) if options.webhook_events else EVENT_TYPES
    try:
        config = SandboxConfig(
            webhook_url=options.webhook_url,
            webhook_secrets=tuple(secret for secret in secrets if secret),
            webhook_events=events,
            secret_key=options.secret_key,
            rate_per_s=options.rate,
            journal_path=options.journal,
            processing_delay_ms=options.processing_delay_ms,
            refund_delay_ms=options.refund_delay_ms,
            webhook_retry_base_ms=options.webhook_retry_ms,
            dice_seed=options.seed,
        )
        app = make_app(config)
    except ValueError as error:
        raise SystemExit(f"sandbox: {error}") from error
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=options.port,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=3,
        timeout_keep_alive=75,
        server_header=False,
        ws="none",
        lifespan="on",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m orders.payments.sandbox", description=__doc__)
    add = parser.add_argument
    add("--port", type=int, required=True, help="on 127.0.0.1")
    add("--webhook-url", help="our endpoint, on loopback; without it nothing is delivered")
    add("--webhook-secret", action="append", help=f"whsec_…; or {SECRET_VARIABLE}; repeat to roll")
    add("--webhook-events", help="comma-separated types the endpoint subscribed to; default all")
    add("--webhook-retry-ms", type=int, default=500, help="first pause before a repeat, doubling")
    add("--secret-key", help="take this sk_test_ key alone; default any sk_test_ key")
    add("--rate", type=int, default=25, help="calls a second for each endpoint; 0 = no limit")
    add("--journal", type=Path, help="file to remember everything in; default forgets")
    add("--processing-delay-ms", type=int, default=2_000)
    add("--refund-delay-ms", type=int, default=1_000)
    add("--seed", type=int, default=0, help="of the dice that lose and reorder webhooks")
    return parser


if __name__ == "__main__":
    serve()
