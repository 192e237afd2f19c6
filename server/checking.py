"""``stream-events check``: the checker joined to this deployment's engines and to Stripe."""

from orders.invariants import Report, check
from server.resources import redis_client, stripe_gateway
from server.settings import Settings
from stream_events.database import Database

__all__ = ["Report", "check_deployment", "print_report"]


async def check_deployment(settings: Settings, *, at_rest: bool) -> Report:
    """Recompute every invariant against the engines that ``settings`` names; it only reads."""
    database = Database(
        str(settings.database_url), connections_max=2, application_name="stream-events check"
    )
    redis, stripe = redis_client(settings), stripe_gateway(settings)
    try:
        return await check(database, redis, stripe, at_rest=at_rest)
    finally:
        await stripe.aclose()
        await redis.aclose()
        await database.close()


def print_report(report: Report) -> None:
    """Print a line an invariant, its figures, and whatever contradicts it."""
    for finding in report.findings:
        print(finding)
    print(f"{report.checked} checked, {len(report.failed)} failed")
