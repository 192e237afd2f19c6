"""Books to be read: what a campaign may go through, posted and sealed, and the same added up in plain Python."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from orders.ledger import post
from orders.ledger.post import Posting, post_many
from orders.ledger.seal import seal_once
from orders.settlement import settle
from stream_events.database import Database
from stream_events.ids import new_id
from tests.factories import Sale
from tests.orders.payers import Placed, place, rows, run

CLEARING, FEES, BANK = "stripe/clearing", "platform/fees", "bank/clearing"

PARTIES = ("farmer", "beneficiary", "host", "campaign")


def address(sale: Sale, party: str) -> str:
    """Return where the statement of a party of this sale is."""
    return f"/v1/statements/{party}/{getattr(sale, f'{party}_id')}"


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry with all that is known of its transaction."""

    seq: int
    kind: str
    stream_id: str
    account: str
    amount_minor: int
    gifts: int
    orders: int
    sealed_at: datetime
    leaf_hash: bytes


async def seal(database: Database) -> None:
    """Seal what is posted."""
    async with database.begin() as sql:
        await seal_once(sql)


async def entries_of(database: Database, campaign_id: str) -> list[Entry]:
    """Return every sealed entry of a campaign in order."""
    found = await rows(
        database,
        """SELECT s.seq, t.kind, t.stream_id, e.account, e.amount_minor, t.gifts, t.orders, s.sealed_at, s.leaf_hash
           FROM seals s JOIN ledger_transactions t ON t.id = s.transaction_id
           JOIN ledger_entries e ON e.transaction_id = t.id
           WHERE s.campaign_id = :campaign ORDER BY s.seq, e.account""",
        campaign=campaign_id,
    )
    return [Entry(*row) for row in found]


def posting(sale: Sale, kind: str, entries: Sequence[tuple[str, int]], **given: Any) -> Posting:
    """Return a posting in the sale's stream, under a source of its own."""
    fields: dict[str, Any] = {
        "campaign_id": sale.campaign_id,
        "stream_id": sale.stream_id,
        "kind": kind,
        "source_id": new_id("src"),
        "order_id": None,
        "currency": sale.currency,
        "entries": entries,
    }
    return Posting(**{**fields, **given})


async def post_all(database: Database, postings: Sequence[Posting]) -> None:
    """Post, and leave the sealing to the caller."""
    async with database.begin() as sql:
        await post_many(sql, postings)


def random_posting(chance: random.Random, sale: Sale, pledge_id: str) -> Posting:
    """Return any kind of posting, with amounts as they come."""
    ben, frm = f"beneficiary/{sale.beneficiary_id}", f"farmer/{sale.farmer_id}"
    a, b, c, d = (chance.randint(1, 5_000) for _ in range(4))
    sold = [(CLEARING, a + b + c + d), (frm, -a), (ben, -b), (FEES, -c), ("platform/shipping", -d)]
    gift, match = [(CLEARING, a), (ben, -a)], [("sponsor/mat_1", a), (ben, -a)]
    surplus = [(CLEARING, a), ("platform/due_back", -a)]
    line = ((sale.sku, chance.randint(1, 3)),)

    def back(entries: list[tuple[str, int]]) -> list[tuple[str, int]]:
        return [(account, -amount) for account, amount in entries]

    of_campaign = {"stream_id": sale.campaign_id}
    made: dict[str, tuple[list[tuple[str, int]], dict[str, Any]]] = {
        post.CAPTURE: (sold, {"lines": line, "orders": 1}),
        post.REFUND: (back(sold), {"lines": line, "orders": -1}),
        post.REFUND_FAILED: (sold, {"lines": line, "orders": 1}),
        post.DISPUTE: (back(sold), {"lines": line, "orders": -1}),
        post.REINSTATE: (sold, {"lines": line, "orders": 1}),
        post.DONATION: (gift, {"gifts": 1}),
        post.DONATION_REFUND: (back(gift), {"gifts": -1}),
        post.DONATION_REFUND_FAILED: (gift, {"gifts": 1}),
        post.DONATION_DISPUTE: (back(gift), {"gifts": -1}),
        post.DONATION_REINSTATE: (gift, {"gifts": 1}),
        post.MATCH: (match, {}),
        post.MATCH_REVERSED: (back(match), {}),
        post.MATCH_RESTORED: (match, {}),
        post.PLEDGE: ([("platform/pledges", a), (f"pledge/{pledge_id}", -a)], of_campaign),
        post.PAYOUT: (
            [(chance.choice([ben, frm, f"pledge/{pledge_id}"]), a), (BANK, -a)],
            of_campaign,
        ),
        post.SPONSOR_PAID: ([(BANK, a), ("sponsor/mat_1", -a)], of_campaign),
        post.SURPLUS: (surplus, {}),
        post.SURPLUS_REFUND: (back(surplus), {}),
        post.SURPLUS_REFUND_FAILED: (surplus, {}),
        post.SURPLUS_DISPUTE: (back(surplus), {}),
        post.SURPLUS_REINSTATE: (surplus, {}),
        post.STRIPE_FEE: ([(CLEARING, -a), (chance.choice([frm, ben, "stripe/fees"]), a)], {}),
    }
    assert made.keys() == post.KINDS
    kind = chance.choice(sorted(made))
    entries, given = made[kind]
    return posting(sale, kind, entries, **given)


async def make_pledge(database: Database, sale: Sale) -> str:
    """Write a standing pledge of a ten-thousandth of all sales; sealing accrues it."""
    pledge_id = new_id("plg")
    await run(
        database,
        "INSERT INTO pledges (id, campaign_id, beneficiary_id, name, bp, base_minor)"
        " VALUES (:id, :campaign, :beneficiary, 'Of all sales', 1, 0)",
        id=pledge_id,
        campaign=sale.campaign_id,
        beneficiary=sale.beneficiary_id,
    )
    return pledge_id


async def random_books(
    database: Database, sale: Sale, seed: int, *, count: int = 60, pledge_id: str = "plg_1"
) -> None:
    """Post anything and everything, sealed in batches whose clocks do not agree."""
    chance = random.Random(seed)
    left = count
    while left:
        batch = min(left, chance.randint(1, 9))
        await post_all(database, [random_posting(chance, sale, pledge_id) for _ in range(batch)])
        await seal(database)
        left -= batch
    await disagree(database, chance)


async def disagree(database: Database, chance: random.Random) -> None:
    """Give each number an instant of a clock that runs on, jumps back a little, and sometimes stands still."""
    found = await rows(database, "SELECT campaign_id, seq FROM seals ORDER BY campaign_id, seq")
    at, instants = datetime(2026, 11, 21, 12, tzinfo=UTC), []
    for _ in found:
        at += timedelta(microseconds=chance.choice([0, 400, 900, 3_000, -2_000, 1_000_000]))
        instants.append(at)
    async with database.begin() as sql:
        await sql.execute(text("ALTER TABLE seals DISABLE TRIGGER USER"))
        await sql.execute(
            text("UPDATE seals SET sealed_at = :at WHERE campaign_id = :campaign AND seq = :seq"),
            [
                {"at": at, "campaign": campaign_id, "seq": seq}
                for at, (campaign_id, seq) in zip(instants, found, strict=True)
            ],
        )
        await sql.execute(text("ALTER TABLE seals ENABLE TRIGGER USER"))


async def sold(database: Database, sale: Sale, quantity: int = 1) -> Placed:
    """Sell units and have them paid, with Stripe's fee."""
    placed = await place(database, sale, quantity=quantity)
    await settle(database, [placed.payment(fee_minor=117)])
    return placed


def balances(entries: Sequence[Entry], seq: int) -> dict[str, tuple[int, int]]:
    """Return each account's debits and credits up to a number."""
    debits: Counter[str] = Counter()
    credited: Counter[str] = Counter()
    for each in entries:
        if each.seq <= seq:
            debits[each.account] += max(each.amount_minor, 0)
            credited[each.account] += max(-each.amount_minor, 0)
    return {account: (debits[account], credited[account]) for account in debits}


def raised(entries: Sequence[Entry]) -> int:
    """Return what these entries raised."""
    return -sum(
        each.amount_minor
        for each in entries
        if each.account.startswith("beneficiary/") and each.kind in post.RAISED_KINDS
    )


def sales(entries: Sequence[Entry]) -> int:
    """Return what these entries sold for."""
    return sum(
        each.amount_minor
        for each in entries
        if each.account == CLEARING and each.kind in post.SALE_KINDS
    )
