"""Holds that nobody came back for: given back on an SQL fact, confirmed on an SQL fact, and never both."""

import asyncio
import random

from inventory.gate import Admitted, Gate
from inventory.offers import Catalogue
from orders.placements import KeyAborted, Placed
from orders.reaper import reap_once, settle_holds
from orders.writer import Writer
from stream_events.database import Database
from tests.factories import Sale
from tests.orders.placing import admission, books, gate_left, placement


async def test_the_hold_of_a_dead_writer_is_given_back(
    gate: Gate, sale: Sale, sale_catalogue: Catalogue, database: Database
) -> None:
    """Young holds are left alone; an old one becomes a tombstone first, and units again after it."""
    epoch = sale_catalogue.stream(sale.stream_id).epoch
    await gate.admit(admission(sale, placement(sale, "k", 3), epoch))
    assert await reap_once(database, gate, sale_catalogue) == 0
    assert await gate_left(gate, sale) == (97, 1)
    assert await reap_once(database, gate, sale_catalogue, age_ms=0) == 1
    assert await gate_left(gate, sale) == (100, 0)
    assert await books(database) == (100, 0, 0, 0, 0, 0, 1)


async def test_a_lost_credit_is_given_once_in_the_next_round(
    gate: Gate, sale: Sale, sale_catalogue: Catalogue, database: Database
) -> None:
    """The same holds are settled twice over, as after a crash between the fact and the gate."""
    epoch = sale_catalogue.stream(sale.stream_id).epoch
    await gate.admit(admission(sale, placement(sale, "k", 3), epoch))
    holds = await gate.old_holds(sale.stream_id, 0)
    for _ in range(2):
        await settle_holds(database, gate, sale.stream_id, [*holds, *holds])
    assert await gate_left(gate, sale) == (100, 0)


async def test_the_hold_of_a_placed_order_is_confirmed(
    gate: Gate, sale: Sale, sale_catalogue: Catalogue, database: Database
) -> None:
    """The process died after COMMIT and before it told the gate."""
    epoch = sale_catalogue.stream(sale.stream_id).epoch
    wanted = placement(sale, "k", 3, epoch=epoch)
    writer = Writer(database, gate)
    writer._settle_holds = lambda *_: None  # type: ignore[method-assign]
    await gate.admit(admission(sale, wanted, epoch))
    assert isinstance(await writer.record(wanted), Placed)
    await writer.close()
    assert await gate_left(gate, sale) == (97, 1)
    assert await reap_once(database, gate, sale_catalogue, age_ms=0) == 1
    assert await gate_left(gate, sale) == (97, 0)
    assert (await books(database)).aborted_keys == 0


async def test_a_hold_beside_the_one_that_was_placed_is_given_back(
    gate: Gate, sale: Sale, sale_catalogue: Catalogue, database: Database
) -> None:
    """PLACED under another admission is a fact too: these units are nobody's."""
    epoch = sale_catalogue.stream(sale.stream_id).epoch
    writer = Writer(database, gate)
    wanted = placement(sale, "k", 3, epoch=epoch)
    assert isinstance(await writer.record(wanted), Placed)
    await writer.close()
    await gate.admit(admission(sale, wanted._replace(adm="adm_other"), epoch))
    assert await reap_once(database, gate, sale_catalogue, age_ms=0) == 1
    assert await gate_left(gate, sale) == (100, 0)


async def test_writer_and_reaper_at_once_never_both_sell_and_give_back(
    gate: Gate, sale: Sale, sale_catalogue: Catalogue, database: Database
) -> None:
    """Forty races between a late writer and two reapers: at rest the gate has what SQL has free."""
    epoch = sale_catalogue.stream(sale.stream_id).epoch
    writer = Writer(database, gate)
    luck = random.Random(7)

    async def late(key: int) -> object:
        wanted = placement(sale, f"k{key}", epoch=epoch)
        assert isinstance(await gate.admit(admission(sale, wanted, epoch)), Admitted)
        await asyncio.sleep(luck.random() * 0.05)
        return await writer.record(wanted)

    async def reap() -> None:
        for _ in range(4):
            await asyncio.sleep(luck.random() * 0.01)
            await reap_once(database, gate, sale_catalogue, age_ms=0)

    outcomes, *_ = await asyncio.gather(
        asyncio.gather(*(late(key) for key in range(40))), reap(), reap()
    )
    await writer.close()
    await reap_once(database, gate, sale_catalogue, age_ms=0)
    placed = [one for one in outcomes if isinstance(one, Placed)]
    aborted = [one for one in outcomes if isinstance(one, KeyAborted)]
    assert len(placed) + len(aborted) == 40
    found = await books(database)
    assert found.sound
    assert (found.orders, found.aborted_keys) == (len(placed), len(aborted))
    assert await gate_left(gate, sale) == (100 - len(placed), 0)
