"""Each invariant must report the damage that it exists for, and nothing before the damage is done."""

from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import text

from orders.invariants import Report, check
from orders.payments.stripe_gateway import StripeGateway
from stream_events.database import Database
from tests.orders import giving_damages
from tests.orders.damages import DAMAGES, LEAKED, Damage
from tests.orders.payers import run
from tests.orders.payments.sandbox_process import free_port
from tests.orders.sound_world import World, make_gate, make_sandbox, make_world

# The fixtures that every test here asks for by name.
__all__ = ["giving_damages", "make_gate", "make_sandbox", "make_world"]


def codes(report: Report) -> set[str]:
    return {finding.code for finding in report.failed}


ALL = [
    "I1",
    "I2",
    "I3",
    "I4",
    "I5",
    "I6",
    "I7",
    "I8",
    "I10",
    "I13",
    "I14",
    "I15",
    "I16",
    "I17",
    "I18",
    "I19",
    "I20",
    "I21",
    "I22",
    "I23",
    "I29",
    "I30",
    "I31",
    "I32",
    "I33",
]


async def test_a_sound_world_passes_with_its_figures(world: World) -> None:
    report = await world.check()
    assert codes(report) == set(), str(report)
    assert [finding.code for finding in report.findings] == ALL
    figures = {finding.code: finding.figures for finding in report.findings}
    assert figures["I1"] == {"skus": 1, "total": 100, "reserved": 1, "sold": 6}
    assert figures["I5"] == {"streams": 1, "shut": 0, "free": 93}
    # Three orders of goods with a gift and shipping in one of them, less 1000, and a gift of 900, less 301.
    assert figures["I16"] == {"stripe_minor": 18189, "ledger_minor": 18189, "orders": 4}
    assert figures["I23"]["raised_minor"] == 4177
    assert figures["I30"] == {"matches": 2, "uses": 5, "spent_minor": 1149}
    assert figures["I31"] == {"pledges": 1, "accrued_minor": 56}
    assert figures["I32"] == {"fees": 4, "fees_minor": 649}
    assert figures["I33"] == {"transfers": 2, "paid_out_minor": 700, "paid_in_minor": 90}
    assert report.checked == len(ALL)
    assert "I16  holds" in str(report)
    assert msgspec.json.decode(msgspec.json.encode(report.as_json()))["failed"] == []


async def test_while_things_move_only_rest_is_not_asked_for(world: World) -> None:
    await world.redis.hset(
        f"{{{world.sale.stream_id}}}:hold", "00" * 32, b"\x95\xa0\xa1a\xa0\x00\xa0"
    )
    await world.redis.hdel(f"{{{world.sale.stream_id}}}:hold", "00" * 32)
    report = await world.check(at_rest=False)
    assert codes(report) == set(), str(report)
    assert "I6" not in {finding.code for finding in report.findings}


@pytest_asyncio.fixture(loop_scope="session")
async def mended(database: Database) -> AsyncIterator[None]:
    """What a damage did to the schema or to connections must not outlive its test."""
    yield
    while LEAKED:
        await LEAKED.pop().close()
    async with database.begin() as sql:
        found = await sql.scalar(
            text("SELECT count(*) FROM pg_constraint WHERE conname = 'ck_stock_never_oversold'")
        )
        if not found:
            await sql.execute(text("DELETE FROM stock"))
            await sql.execute(
                text(
                    "ALTER TABLE stock ADD CONSTRAINT ck_stock_never_oversold"
                    " CHECK (reserved >= 0 AND sold >= 0 AND reserved + sold <= total)"
                )
            )
        if not await sql.scalar(
            text("SELECT count(*) FROM pg_constraint WHERE conname = 'ck_matches_pot'")
        ):
            await sql.execute(text("DELETE FROM match_uses"))
            await sql.execute(text("DELETE FROM matches"))
            await sql.execute(
                text(
                    "ALTER TABLE matches ADD CONSTRAINT ck_matches_pot"
                    " CHECK (pot_minor > 0 AND spent_minor BETWEEN 0 AND pot_minor)"
                )
            )


# Each time one damage of each invariant; in the sweep all.
FIRST = {code: name for code, name, _ in reversed(DAMAGES)}


@pytest.mark.parametrize(
    ("code", "damage"),
    [
        pytest.param(
            code,
            damage,
            id=f"{code}: {name}",
            marks=[] if FIRST[code] == name else [pytest.mark.sweep],
        )
        for code, name, damage in DAMAGES
    ],
)
async def test_damage_is_reported(world: World, mended: None, code: str, damage: Damage) -> None:
    before = await world.check()
    assert codes(before) == set(), str(before)
    await damage(world)
    after = await world.check()
    assert code in codes(after), str(after)
    [finding] = [finding for finding in after.failed if finding.code == code]
    assert finding.breaches


def test_each_invariant_has_a_damage_that_it_reports() -> None:
    tried = {code for code, _, _ in DAMAGES}
    assert tried == set(ALL)


@pytest.mark.parametrize(
    "table",
    ["ledger_transactions", "ledger_entries", "order_gifts", "orders", "seals", "transfers"],
)
async def test_a_trigger_switched_off_is_reported(world: World, table: str) -> None:
    assert codes(await world.check()) == set()
    await run(world.database, f"ALTER TABLE {table} DISABLE TRIGGER USER")
    try:
        assert "I15" in codes(await world.check())
    finally:
        await run(world.database, f"ALTER TABLE {table} ENABLE TRIGGER USER")


async def test_a_transaction_left_open_is_reported(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orders.invariants.plumbing.IDLE_S_MAX", 0)
    assert codes(await world.check()) == set()
    connection = await world.database.connect()
    await connection.execute("BEGIN; SELECT 1")
    try:
        assert codes(await world.check()) == {"I29"}
    finally:
        await connection.close()


async def test_an_evicting_server_is_reported(world: World) -> None:
    await world.redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert codes(await world.check()) == {"I7"}
    finally:
        await world.redis.config_set("maxmemory-policy", "noeviction")


async def test_what_cannot_be_judged_is_no_pass(world: World) -> None:
    silence = StripeGateway("sk_test_silence", f"http://127.0.0.1:{free_port()}", timeout_s=1)
    report = await check(world.database, world.redis, silence, at_rest=True)
    await silence.aclose()
    assert codes(report) == {"I16", "I19", "I20"}
    assert report.checked == len(ALL) - 3
    without = await check(world.database, world.redis, None, at_rest=True)
    assert codes(without) == set()
