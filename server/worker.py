"""The worker: every loop that moves orders and money along when nobody is asking.

Exactly one process leads, by an advisory lock in PostgreSQL; others stand by. Each loop survives its own
errors; losing the lock or the database ends the process, and whoever is next takes over by state alone.
"""

import asyncio
import time
from typing import TypeAlias

import asyncpg
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from inventory.gate import Gate
from inventory.offers import Catalogue
from inventory.rebuild import run_tender
from orders.expiry import run_expiry
from orders.mail.postman import Postman, run_mail
from orders.payments.card_testing import CardTesting
from orders.payments.checkout_declines import CheckoutDeclines
from orders.payments.pacer import run_pacer
from orders.payments.reconciler import run_reconciler
from orders.payments.webhooks import Inbox
from orders.personal_data import run_retention
from orders.reaper import run_reaper
from orders.refunds import run_refunds
from orders.settlement_loop import run_settlement
from realtime.alerts.director import run_director
from realtime.announcer import run_announcer
from realtime.moderation.naming import run_naming
from realtime.moderation.screening import run_review
from realtime.rehearsals.player import run_rehearsals
from realtime.timers import run_timers
from server.resources import pace as make_pace
from server.resources import redis_client, stripe_gateway
from server.settings import Settings
from stream_events.access import Signer
from stream_events.database import Database

Sql: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
log = structlog.get_logger(__name__)

LEADER = "SELECT pg_try_advisory_lock(hashtextextended('stream-events worker', 0))"
STANDBY_S = 0.5
BEAT_S = 1.0


async def run_worker(settings: Settings, stop: asyncio.Event) -> None:
    """Lead or stand by until ``stop``."""
    database = Database(
        str(settings.database_url), connections_max=12, application_name="stream-events worker"
    )
    leader = await database.connect()
    try:
        while not await leader.fetchval(LEADER):
            if stop.is_set():
                return
            await asyncio.sleep(STANDBY_S)
        log.info("worker_leads")
        await _lead(settings, database, leader, stop)
    finally:
        await leader.close()
        await database.close()


async def _lead(settings: Settings, database: Database, leader: Sql, stop: asyncio.Event) -> None:
    redis = redis_client(settings)
    gate = Gate(str(settings.redis_url))
    catalogue = Catalogue(database)
    await catalogue.refresh()
    stripe, pace = stripe_gateway(settings), make_pace(settings, redis)
    inbox = Inbox(database)
    declines = CheckoutDeclines(
        database, stripe, pace, CardTesting(redis, Signer(settings.signing_secret()))
    )
    window_s = settings.pay_window_s
    try:
        async with asyncio.TaskGroup() as group:
            for loop in (
                _beat(redis, leader, stop),
                catalogue.run(stop),
                run_tender(database, gate, stop),
                run_reaper(database, gate, catalogue, stop),
                run_pacer(database, pace, stop, pay_window_s=window_s),
                run_expiry(database, stripe, pace, stop),
                run_settlement(database, stripe, stop, pace=pace, declines=declines),
                run_refunds(database, stripe, pace, stop),
                run_reconciler(database, stripe, pace, inbox, stop, every_s=settings.reconcile_s),
                run_announcer(database, redis, stop, public_url=settings.links().public_url),
                run_timers(database, catalogue, stop),
                run_director(database, redis, stop),
                run_review(database, redis, stop),
                run_naming(database, redis, stop),
                run_rehearsals(database, redis, stop, public_url=settings.links().public_url),
                run_mail(database, postman_of(settings), stop),
                run_retention(database, stop, days=settings.retention_days),
            ):
                group.create_task(loop)
    finally:
        await inbox.close()
        await stripe.aclose()
        await gate.close()
        await redis.aclose()


def postman_of(settings: Settings) -> Postman:
    """Make the way out for order mail."""
    return Postman(
        Signer(settings.signing_secret()),
        settings.links(),
        settings.smtp_route(),
        settings.mails_per_second,
    )


async def _beat(redis: Redis, leader: Sql, stop: asyncio.Event) -> None:
    """Leave a sign of life, so that readiness can tell a worker that stands still.

    The lock lives as long as its connection: an error there ends this worker before a second one leads.
    """
    while not stop.is_set():
        await leader.execute("SELECT 1")
        try:
            await redis.set("worker:beat", time.time_ns() // 1_000_000, ex=60)
        except RedisError as error:
            log.warning("beat_lost", error=type(error).__name__)
        await asyncio.sleep(BEAT_S)
