"""What can go wrong with books, stock and gate, done on purpose: at least one damage for each invariant."""

from collections.abc import Awaitable, Callable
from typing import Any

from inventory.gate import Admission
from stream_events.ids import new_id
from tests.orders.payers import add_attempt, rows
from tests.orders.sound_world import World

Damage = Callable[[World], Awaitable[None]]
DAMAGES: list[tuple[str, str, Damage]] = []


def damages(code: str) -> Callable[[Damage], Damage]:
    def note(damage: Damage) -> Damage:
        DAMAGES.append((code, damage.__name__, damage))
        return damage

    return note


def sql_damage(code: str, name: str, *statements: str) -> None:
    async def damage(world: World) -> None:
        given = {
            "paid": world.paid.order_id,
            "waiting": world.waiting.order_id,
            "expired": world.expired.order_id,
            "part": world.part_refunded.order_id,
            "late": world.late.order_id,
            "gift": world.gift.order_id,
            "shopper": world.paid.shopper_id,
            "stock": world.sale.stock_id,
        }
        for statement in statements:
            used = {key: value for key, value in given.items() if f":{key}" in statement}
            await world.damage(statement, **used)

    DAMAGES.append((code, name, damage))


CAPTURE = "(SELECT id FROM ledger_transactions WHERE order_id = :paid AND kind = 'capture')"

sql_damage(
    "I1",
    "a total below what is sold",
    "ALTER TABLE stock DROP CONSTRAINT ck_stock_never_oversold",
    "UPDATE stock SET total = 6",
)
sql_damage("I2", "a sold counter one too high", "UPDATE stock SET sold = sold + 1")
sql_damage("I2", "a reserved counter one too low", "UPDATE stock SET reserved = reserved - 1")
sql_damage("I2", "a move deleted", "DELETE FROM stock_moves WHERE source_id = :paid AND kind = 'C'")
sql_damage(
    "I3", "a release deleted", "DELETE FROM stock_moves WHERE source_id = :expired AND kind = 'X'"
)
sql_damage(
    "I3", "a state without its moves", "UPDATE orders SET state = 'PAID' WHERE id = :waiting"
)
sql_damage(
    "I3",
    "a move of another quantity",
    "UPDATE stock_moves SET quantity = 3 WHERE source_id = :paid AND kind = 'C'",
)
sql_damage("I3", "an order without lines", "DELETE FROM order_lines WHERE order_id = :waiting")
sql_damage(
    "I4", "a gap in the numbers", "UPDATE stock_moves SET rel_seq = rel_seq + 1 WHERE rel_seq > 1"
)
sql_damage("I4", "a number never used", "UPDATE stream_gate SET rel_seq = rel_seq + 1")
sql_damage(
    "I8", "a counter forgotten", "UPDATE shopper_units SET units = 0 WHERE shopper_id = :shopper"
)
sql_damage(
    "I8",
    "more than the limit",
    "UPDATE offer_terms SET per_shopper_max = 1",
)
sql_damage("I10", "an acknowledged order gone", "DELETE FROM orders WHERE id = :waiting")
sql_damage("I10", "an order without a key", "DELETE FROM order_keys WHERE order_id = :waiting")
sql_damage(
    "I10",
    "two keys of one order",
    "INSERT INTO order_keys (op, stream_id, fingerprint, outcome, adm, order_id)"
    " SELECT 'x', stream_id, fingerprint, outcome, adm, order_id FROM order_keys WHERE order_id = :paid",
)
sql_damage(
    "I13",
    "an order that nobody expires",
    "UPDATE orders SET pay_by = now() - interval '10 min' WHERE id = :waiting",
)
sql_damage(
    "I13",
    "an order that expires for ever",
    "UPDATE orders SET state = 'EXPIRING', state_at = now() - interval '1 day' WHERE id = :waiting",
)
sql_damage("I14", "a step deleted", "DELETE FROM order_transitions WHERE order_id = :paid")
sql_damage(
    "I14",
    "a step that does not exist",
    "INSERT INTO order_transitions (order_id, from_state, to_state) VALUES (:waiting, 'AWAITING_PAYMENT', 'REFUNDED')",
    "UPDATE orders SET state = 'REFUNDED' WHERE id = :waiting",
)
sql_damage(
    "I15",
    "an entry changed",
    f"UPDATE ledger_entries SET amount_minor = amount_minor + 1 WHERE account = 'platform/fees' AND transaction_id = {CAPTURE}",
)
sql_damage(
    "I15", "an entry deleted", f"DELETE FROM ledger_entries WHERE transaction_id = {CAPTURE}"
)
sql_damage(
    "I17",
    "an order captured twice",
    "INSERT INTO ledger_transactions (id, campaign_id, stream_id, kind, source_id, order_id, currency, lines, commitment)"
    " SELECT 'txn_again', campaign_id, stream_id, kind, 'pi_again', order_id, currency, lines, commitment"
    f" FROM ledger_transactions WHERE id = {CAPTURE}",
)
sql_damage(
    "I17",
    "more given back than received",
    "UPDATE ledger_entries SET amount_minor = amount_minor * 100 WHERE transaction_id IN"
    " (SELECT id FROM ledger_transactions WHERE kind = 'refund')",
)
sql_damage(
    "I18",
    "money on an order that has none",
    "UPDATE orders SET received_minor = 1 WHERE id = :waiting",
)
sql_damage(
    "I18",
    "a capture that vanished",
    f"DELETE FROM ledger_entries WHERE transaction_id = {CAPTURE}",
    f"DELETE FROM seals WHERE transaction_id = {CAPTURE}",
    "DELETE FROM ledger_transactions WHERE order_id = :paid AND kind = 'capture'",
)
sql_damage(
    "I18",
    "surplus that nobody gives back",
    f"UPDATE ledger_transactions SET kind = 'surplus' WHERE id = {CAPTURE}",
)
sql_damage(
    "I21",
    "a share moved from the charity to us",
    "UPDATE ledger_entries SET amount_minor = amount_minor + 5 WHERE account LIKE 'beneficiary/%'"
    f" AND transaction_id = {CAPTURE}",
    "UPDATE ledger_entries SET amount_minor = amount_minor - 5 WHERE account = 'platform/fees'"
    f" AND transaction_id = {CAPTURE}",
)
sql_damage(
    "I21",
    "another currency",
    "UPDATE ledger_transactions SET currency = 'USD' WHERE kind = 'refund'",
)
sql_damage(
    "I21",
    "an account of nobody",
    "UPDATE ledger_entries SET account = 'farmer/frm_nobody' WHERE account LIKE 'farmer/%'"
    f" AND transaction_id = {CAPTURE}",
)
sql_damage("I22", "an event left lying", "UPDATE stripe_events SET state = 'NEW'")
sql_damage(
    "I22", "an event lost", "DELETE FROM stripe_events WHERE type = 'payment_intent.succeeded'"
)
sql_damage(
    "I22",
    "a mismatch counted after all",
    "UPDATE stripe_events SET state = 'QUARANTINED', reason = 'amount_mismatch' WHERE type = 'payment_intent.succeeded'",
)
sql_damage(
    "I23",
    "a published number changed",
    "UPDATE tally_history SET raised_minor = raised_minor + 1",
)
sql_damage("I23", "the newest tally changed", "UPDATE tallies SET units = units + 1")
sql_damage("I23", "a tally dropped", "DELETE FROM tallies")
sql_damage("I23", "a number missing", "DELETE FROM seals WHERE seq = 2")
sql_damage(
    "I23",
    "a transaction never sealed",
    "DELETE FROM seals WHERE seq = (SELECT max(seq) FROM seals)",
)
sql_damage(
    "I20",
    "a payment without its attempt",
    "DELETE FROM pay_attempts WHERE order_id = :paid",
)
sql_damage(
    "I16",
    "a refund that the ledger does not have",
    "DELETE FROM ledger_entries WHERE transaction_id = (SELECT id FROM ledger_transactions WHERE kind = 'refund')",
)


LEAKED: list[Any] = []


@damages("I5")
async def a_unit_too_many_in_the_gate(world: World) -> None:
    await world.redis.hincrby(f"{{{world.sale.stream_id}}}:avail", world.sale.sku, 1)


@damages("I5")
async def a_sku_missing_from_the_gate(world: World) -> None:
    await world.redis.hdel(f"{{{world.sale.stream_id}}}:avail", world.sale.sku)


@damages("I6")
async def a_hold_left_over(world: World) -> None:
    admission = Admission(
        world.sale.stream_id,
        (await rows(world.database, "SELECT epoch FROM stream_gate"))[0][0],
        b"o" * 32,
        b"f" * 32,
        "adm_1",
        "shp_1",
        ((world.sale.sku, 1, 5),),
    )
    await world.gate.admit(admission)


@damages("I6")
async def a_gate_of_another_epoch(world: World) -> None:
    await world.redis.hincrby(f"{{{world.sale.stream_id}}}:gate", "epoch", 1)


@damages("I6")
async def an_adjustment_never_relayed(world: World) -> None:
    await world.redis.hincrby(f"{{{world.sale.stream_id}}}:gate", "relseq", -1)


@damages("I7")
async def a_key_that_expires(world: World) -> None:
    await world.redis.expire(f"{{{world.sale.stream_id}}}:avail", 3600)


@damages("I16")
async def a_payment_that_never_reached_the_books(world: World) -> None:
    order_id = world.waiting.order_id
    fact = await world.sandbox.pay(amount_minor=2990, order_id=order_id)
    await add_attempt(world.database, world.waiting, 1, "SUCCEEDED", fact.payment_intent_id)


@damages("I16")
async def a_refund_made_behind_our_back(world: World) -> None:
    await world.sandbox.gateway.refund(world.paid.payment_intent_id, 10, new_id("behind"), {})


@damages("I19")
async def a_released_order_that_can_still_be_paid(world: World) -> None:
    fact = await world.sandbox.pay(
        "pm_card_authenticationRequired", amount_minor=2990, order_id=world.expired.order_id
    )
    await add_attempt(world.database, world.expired, 1, "REQUIRES_ACTION", fact.payment_intent_id)


@damages("I20")
async def a_payment_of_an_order_that_never_was(world: World) -> None:
    await world.sandbox.pay(amount_minor=2990, order_id=new_id("ord"))


@damages("I20")
async def an_attempt_that_stays_unclear(world: World) -> None:
    await add_attempt(world.database, world.waiting, 1, "CREATING", None)
    await world.damage(
        "UPDATE pay_attempts SET created_at = now() - interval '2 hours' WHERE state = 'CREATING'"
    )


@damages("I29")
async def a_lock_never_given_back(world: World) -> None:
    connection = await world.database.connect()
    await connection.execute("SELECT pg_advisory_lock(4711)")
    LEAKED.append(connection)
