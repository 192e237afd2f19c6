"""Every process of the payment path is killed at each named point: nobody loses an order, nobody pays twice.

Night after night a process dies in the middle of it, each time elsewhere, and is replaced: orders are paid, declined
and paid, left, abandoned at the bank's question or on Stripe's page, cancelled, refunded, and given without goods.
Whoever was not answered asks again. Afterwards all of it must have ended as it would have without the deaths, and the
checker must find nothing.
"""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from orders.invariants import check
from orders.payments.stripe_gateway import StripeGateway
from server.settings import SANDBOX_SECRET_KEY
from stream_events.database import Database
from stream_events.tables import CampaignCause
from tests.factories import Sale
from tests.fire.deployment import Fire, on_fire
from tests.fire.guests import House, house
from tests.fire.stories import STORIES
from tests.orders.mail.post_office import PostOffice, open_post_office

REST_S = 60.0
# A unit that nobody placed an order for, as its process had died, is given back when it was held for half a minute.
GATE_S = 45.0
DEATH_S = 60.0

INBOX = "orders.payments.webhooks:Inbox._insert"
GATEWAY = "orders.payments.stripe_gateway:StripeGateway"


@dataclass(frozen=True)
class Sweep:
    """Who is killed at which points, one after the other, and what else goes wrong meanwhile."""

    victim: str
    points: tuple[str, ...]
    webhooks_lost: bool = False
    by_smtp: bool = False


SWEEPS = {
    "a card is tried": Sweep(
        "api",
        (
            "committed orders.payments.pay:pay 1",
            f"after {GATEWAY}.create_and_confirm",
            "uncommitted orders.payments.attempts:record",
            "committed orders.payments.attempts:record",
            f"after {GATEWAY}.confirm",
        ),
    ),
    "a page is opened, a gift is taken": Sweep(
        "api",
        (
            "committed orders.payments.checkout_mode:_open 1",
            f"after {GATEWAY}.create_checkout",
            "uncommitted orders.payments.checkout_mode:_record",
            "before orders.donations:_transact",
            "after orders.donations:_transact",
        ),
    ),
    "Stripe, a shopper and staff speak": Sweep(
        "api",
        (
            "uncommitted orders.cancelling:cancel_order",
            "committed orders.cancelling:cancel_order",
            f"uncommitted {INBOX}",
            f"committed {INBOX}",
            "uncommitted orders.refund_routes:post_refund",
            "committed orders.refund_routes:post_refund",
        ),
    ),
    "turns are given, money is settled": Sweep(
        "worker",
        (
            "uncommitted orders.payments.pacer:offer_once",
            "committed orders.payments.pacer:offer_once",
            "uncommitted orders.settlement:_settle_patiently",
            "committed orders.settlement:_settle_patiently",
            "after inventory.guard:commit_sold",
        ),
    ),
    "time is over": Sweep(
        "worker",
        (
            "after orders.expiry:release_orders",
            "committed orders.expiry:end_due once orders.expiry:release_orders",
            f"after {GATEWAY}.cancel",
            f"after {GATEWAY}.expire_checkout",
            "committed orders.payments.checkout_mode:_close",
            "uncommitted orders.expiry:release_if_dead",
            "committed orders.expiry:release_if_dead",
        ),
    ),
    "money goes back, books are sealed, letters are put down": Sweep(
        "worker",
        (
            f"before {GATEWAY}.refund",
            f"after {GATEWAY}.refund",
            "after inventory.guard:restock_many",
            "after orders.ledger.seal:_seal_campaign",
            "committed realtime.announcer:tick_once once orders.ledger.seal:_seal_campaign",
            "committed orders.mail.outbox:queue_sealed_once 1",
            "uncommitted orders.mail.postman:deliver_once once orders.mail.postman:_written",
            "committed orders.mail.postman:deliver_once once orders.mail.postman:_written",
        ),
    ),
    "no webhook comes, letters are sent": Sweep(
        "worker",
        (
            f"committed {INBOX}",
            f"after orders.payments.reconciler:look_for_returns once {INBOX}",
            "after orders.mail.postman:send_all",
            "committed orders.mail.postman:_send",
        ),
        webhooks_lost=True,
        by_smtp=True,
    ),
}

# A try that nobody finishes is asked after when it is two minutes old, a letter that was tried goes again after one.
_TIME_PASSES = (
    text("""
        UPDATE pay_attempts SET updated_at = updated_at - interval '3 minutes'
        WHERE state = 'CREATING'
          AND updated_at BETWEEN now() - interval '2 minutes' AND now() - interval '2 seconds'
    """),
    text("UPDATE mail_outbox SET due_at = now() WHERE state = 'DUE' AND tries > 0"),
)
_RESTLESS = text("""
    SELECT (SELECT count(*) FROM orders WHERE state NOT IN
              ('PAID', 'EXPIRED', 'CANCELLED', 'REFUNDED', 'PART_REFUNDED'))
         + (SELECT count(*) FROM stripe_events WHERE state = 'NEW')
         + (SELECT count(*) FROM ledger_unsealed)
         + (SELECT count(*) FROM refunds WHERE state IN ('CREATING', 'PENDING'))
         + (SELECT count(*) FROM ledger_heads h LEFT JOIN mail_positions p USING (campaign_id)
            WHERE h.size > coalesce(p.seq, 0))
         + (SELECT count(*) FROM mail_outbox m JOIN order_contacts c USING (order_id) WHERE m.state = 'DUE')
""")
_WRITTEN_TO = text("""
    SELECT m.id FROM mail_outbox m JOIN order_contacts c USING (order_id) WHERE m.state = 'SENT'
""")
# What somebody did at Stripe without us; here nobody did.
_STRANGE = text("SELECT id, order_id, amount_minor FROM refunds WHERE reason = 'external'")
_LETTERS = text("SELECT order_id, subject FROM mailbox_letters")


# A night costs a dozen starts of processes, and each sweep has several: they run with ``dev.py test -m sweep``.
@pytest.mark.sweep
@pytest.mark.parametrize("name", SWEEPS)
async def test_killed(
    name: str,
    tmp_path: Path,
    database: Database,
    database_url: str,
    redis: Redis,
    redis_url: str,
    sale: Sale,
) -> None:
    sweep = SWEEPS[name]
    async with database.begin() as sql:
        sql.add(
            CampaignCause(
                campaign_id=sale.campaign_id, beneficiary_id=sale.beneficiary_id, position=1
            )
        )
        await sql.execute(text("UPDATE stock SET total = 10000"))
    async with AsyncExitStack() as stack:
        office = await stack.enter_async_context(open_post_office())
        settings = {"STREAM_EVENTS_PAY_RATE_PER_S": "200", "STREAM_EVENTS_RECONCILE_S": "1"}
        settings |= {"STREAM_EVENTS_SHOPPERS_PER_MINUTE": "10000"}
        if sweep.by_smtp:
            settings["STREAM_EVENTS_SMTP_URL"] = f"smtp://127.0.0.1:{office.port}?starttls=0"
            settings["STREAM_EVENTS_MAIL_FROM"] = "orders@example.org"
        fire = await stack.enter_async_context(
            on_fire(tmp_path, database_url, redis_url, **settings)
        )
        home = await stack.enter_async_context(
            house(fire.url, fire.sandbox_url, SANDBOX_SECRET_KEY)
        )
        deaths: list[str] = []
        time_passes = asyncio.create_task(_pass_time(database))
        try:
            await _sweep(sweep, fire, home, database, sale, tmp_path, deaths)
            await _at_rest(database)
            time_passes.cancel()
            await _sound(fire, database, redis)
            await _letters_arrived(database, office if sweep.by_smtp else None)
        except BaseException as error:
            error.add_note(f"{sweep.victim} was killed {len(deaths)} times: {deaths}")
            raise
        finally:
            time_passes.cancel()


async def _sweep(
    sweep: Sweep,
    fire: Fire,
    home: House,
    database: Database,
    sale: Sale,
    folder: Path,
    deaths: list[str],
) -> None:
    """Let a night pass for each point; the victim dies at it in the middle of everything, and is replaced."""
    await fire.start("sandbox")
    await fire.start("worker" if sweep.victim == "api" else "api")
    await fire.start(sweep.victim, sweep.points[0], folder / "lit-0")
    await home.sandbox_is_up()
    if sweep.webhooks_lost:
        await home.lose_webhooks()
    for night, point in enumerate(sweep.points):
        (folder / f"lit-{night}").touch()
        async with asyncio.TaskGroup() as group:
            for story in STORIES:
                group.create_task(story(home, database, sale))
            async with asyncio.timeout(DEATH_S):
                await fire.killed(sweep.victim)
            deaths.append(point)
            following = sweep.points[night + 1] if point != sweep.points[-1] else None
            await fire.start(sweep.victim, following, folder / f"lit-{night + 1}")


async def _pass_time(database: Database) -> None:
    """Let nobody wait for minutes: what was left behind is made older, again and again."""
    while True:
        async with database.begin() as sql:
            for statement in _TIME_PASSES:
                await sql.execute(statement)
        await asyncio.sleep(1)


async def _at_rest(database: Database) -> None:
    """Wait until nothing is in flight."""
    deadline = time.monotonic() + REST_S
    while True:
        async with database.begin() as sql:
            restless = (await sql.execute(_RESTLESS)).scalar_one()
        if not restless:
            return
        assert time.monotonic() < deadline, f"{restless} things never came to rest"
        await asyncio.sleep(0.1)


async def _sound(fire: Fire, database: Database, redis: Redis) -> None:
    """Have everything recomputed, with Stripe's own word on it."""
    async with database.begin() as sql:
        assert (await sql.execute(_STRANGE)).all() == [], "given back twice"
    deadline = time.monotonic() + GATE_S
    stripe = StripeGateway(SANDBOX_SECRET_KEY, base_url=fire.sandbox_url)
    try:
        while (report := await check(database, redis, stripe, at_rest=True)).failed:
            # The gate hears of the last release after SQL; everything else is at rest.
            assert time.monotonic() < deadline, "\n".join(map(str, report.failed))
            await asyncio.sleep(0.5)
    finally:
        await stripe.aclose()


async def _letters_arrived(database: Database, office: PostOffice | None) -> None:
    """Whoever left an address got each letter: once into the mailbox, at least once and under one name by SMTP."""
    async with database.begin() as sql:
        sent = (await sql.execute(_WRITTEN_TO)).all()
        letters = [tuple(row) for row in await sql.execute(_LETTERS)]
    assert sent
    if office is None:
        assert len(letters) == len(sent)
        assert len(set(letters)) == len(letters)
        return
    names = {
        line
        for _, _, said in office.handed_in
        for line in said.splitlines()
        if line.startswith("Message-ID:")
    }
    assert len(names) == len(sent) <= len(office.handed_in)
    assert letters == []
