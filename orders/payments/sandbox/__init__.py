"""Our own local Stripe in test mode, so that demo, tests and load run the real gateway without the outside.

It speaks over HTTP the calls the product makes, remembers them in a journal, and can fail on order. It listens
on loopback, takes test keys alone, and moves no money.
"""

from orders.payments.sandbox.app import SandboxApp, create_app
from orders.payments.sandbox.config import SandboxConfig

__all__ = ["SandboxApp", "SandboxConfig", "create_app"]
