"""How a process reaches what it shares with others: Stripe and its budget, and Redis for what is not the gate.

Apart from ``server.app``, so that a worker need not know a single route to pay, refund and tell.
"""

from redis.asyncio import Redis

from orders.payments.pace import Pace
from orders.payments.stripe_gateway import StripeGateway
from server.settings import SANDBOX_SECRET_KEY, Settings


def stripe_gateway(settings: Settings) -> StripeGateway:
    """Make the way to Stripe, or to the local sandbox when no key is configured."""
    if settings.sandboxed:
        return StripeGateway(SANDBOX_SECRET_KEY, base_url=settings.sandbox_url)
    assert settings.stripe_secret_key is not None
    return StripeGateway(settings.stripe_secret_key)


def pace(settings: Settings, redis: Redis) -> Pace:
    """Make this process's view of the shared budget of Stripe calls."""
    return Pace(redis, rate_per_s=settings.pay_rate_per_s)


def redis_client(settings: Settings) -> Redis:
    """Make a client for what is not the gate: rate limits, the pace, frames."""
    return Redis.from_url(str(settings.redis_url), protocol=3, socket_timeout=2, max_connections=64)
