"""What can go wrong with gifts, matches, pledges, fees and transfers, done on purpose."""

from tests.orders.damages import CAPTURE, damages, sql_damage
from tests.orders.sound_world import World

# Where a transaction's entries move by so many minor units, one account gives what the other gets.
_MOVE = (
    "UPDATE ledger_entries e SET amount_minor = amount_minor + CASE WHEN account LIKE '{}%' THEN 5 ELSE -5 END"
    " FROM ledger_transactions t WHERE t.id = e.transaction_id AND t.kind = '{}'"
    " AND (account LIKE '{}%' OR account LIKE '{}%')"
)


def moved(kind: str, gets: str, gives: str) -> str:
    return _MOVE.format(gets, kind, gets, gives)


def entries_of(kind: str, order: str = "gift") -> str:
    return (
        "DELETE FROM ledger_entries WHERE transaction_id IN"
        f" (SELECT id FROM ledger_transactions WHERE kind = '{kind}' AND order_id = :{order})"
    )


sql_damage("I16", "a gift's refund that the ledger does not have", entries_of("donation_refund"))
sql_damage(
    "I17",
    "gifts and goods paid by two payments",
    "UPDATE ledger_transactions SET source_id = 'pi_other' WHERE order_id = :paid AND kind = 'donation'",
)
sql_damage(
    "I17",
    "a gift paid twice",
    "INSERT INTO ledger_transactions (id, campaign_id, stream_id, kind, source_id, order_id, currency, lines, commitment)"
    " SELECT 'txn_again', campaign_id, stream_id, kind, 'pi_again', order_id, currency, lines, commitment"
    " FROM ledger_transactions WHERE order_id = :gift AND kind = 'donation'",
)
sql_damage(
    "I18",
    "a gift in an order that vanished from the ledger",
    entries_of("donation", "paid"),
)
sql_damage(
    "I21",
    "the carrier's money taken for fees",
    "UPDATE ledger_entries SET amount_minor = amount_minor - 150 WHERE account = 'platform/fees'"
    f" AND transaction_id = {CAPTURE}",
    f"DELETE FROM ledger_entries WHERE account = 'platform/shipping' AND transaction_id = {CAPTURE}",
)
sql_damage("I21", "a floor that was not kept", "UPDATE offer_terms SET farmer_floor_minor = 2900")
sql_damage("I21", "a cap that was not kept", "UPDATE offer_terms SET beneficiary_cap_minor = 1")
sql_damage(
    "I21",
    "a fixed part that was not given",
    "UPDATE offer_terms SET farmer_fixed_minor = 1000",
)
sql_damage(
    "I21",
    "a gift kept by us",
    "UPDATE ledger_entries SET account = 'platform/fees' WHERE account LIKE 'beneficiary/%' AND transaction_id IN"
    " (SELECT id FROM ledger_transactions WHERE kind = 'donation')",
)
sql_damage(
    "I21",
    "a payout out of what is at Stripe",
    "UPDATE ledger_entries SET account = 'stripe/clearing' WHERE account = 'bank/clearing'",
)
sql_damage(
    "I21",
    "more taken back from a farmer than the farmer had",
    "UPDATE ledger_entries SET amount_minor = amount_minor * 20 WHERE account <> 'x' AND transaction_id IN"
    " (SELECT id FROM ledger_transactions WHERE kind = 'refund')",
)
sql_damage(
    "I21",
    "a gift that went back at our cost",
    "INSERT INTO ledger_transactions (id, campaign_id, stream_id, kind, source_id, order_id, currency, lines, commitment)"
    " SELECT 'txn_again', campaign_id, stream_id, 'donation_refund', 're_again', order_id, currency, lines, commitment"
    " FROM ledger_transactions WHERE order_id = :gift AND kind = 'donation'",
    "INSERT INTO ledger_entries VALUES ('txn_again', 'stripe/clearing', -599), ('txn_again', 'platform/fees', 599)",
)
sql_damage(
    "I23",
    "a gift uncounted",
    "UPDATE ledger_transactions SET gifts = 0 WHERE order_id = :gift AND kind = 'donation'",
)
sql_damage(
    "I23",
    "an order uncounted everywhere",
    "UPDATE ledger_transactions SET orders = 0 WHERE kind = 'capture'",
    "UPDATE tallies SET orders = 0",
    "UPDATE tally_history SET orders = 0",
)
sql_damage(
    "I23",
    "a gift uncounted everywhere",
    "UPDATE ledger_transactions SET gifts = 0",
    "UPDATE tallies SET gifts = 0",
    "UPDATE tally_history SET gifts = 0",
)
for column in ("gifts", "gifts_minor", "matched_minor"):
    sql_damage("I23", f"another tally of {column}", f"UPDATE tallies SET {column} = {column} + 1")
    sql_damage(
        "I23",
        f"another published {column}",
        f"UPDATE tally_history SET {column} = {column} + 1 WHERE scope_id LIKE 'str_%'",
    )

sql_damage(
    "I30",
    "a pot spent on nothing",
    "UPDATE matches SET spent_minor = spent_minor + 1 WHERE id = 'mat_1'",
)
sql_damage(
    "I30",
    "a pot that gave more than it had",
    "ALTER TABLE matches DROP CONSTRAINT ck_matches_pot",
    "UPDATE matches SET pot_minor = spent_minor - 1",
)
sql_damage(
    "I30", "a use of another amount", "UPDATE match_uses SET amount_minor = amount_minor + 1"
)
sql_damage("I30", "a use forgotten", "DELETE FROM match_uses WHERE order_id = :gift")
sql_damage("I30", "a sponsor who owes more", moved("match", "sponsor/", "beneficiary/"))
sql_damage("I30", "a giver beyond the bound", "UPDATE matches SET per_giver_max_minor = 10")
sql_damage(
    "I30",
    "matched before the window",
    "UPDATE matches SET starts_at = now() + interval '1 hour'",
)
sql_damage(
    "I30",
    "matched after the window",
    "UPDATE matches SET ends_at = now() - interval '30 min'",
)
sql_damage("I30", "another giver", "UPDATE match_uses SET shopper_id = 'shp_other'")
sql_damage("I30", "a base that nobody gave", "UPDATE match_uses SET base_minor = base_minor + 1")
sql_damage("I30", "a better ratio than promised", "UPDATE matches SET ratio_bp = ratio_bp - 1")
sql_damage(
    "I30",
    "a gift that went back and left its match",
    "UPDATE matches m SET spent_minor = spent_minor + u.returned_minor FROM match_uses u"
    " WHERE u.match_id = m.id AND u.order_id = :gift",
    "UPDATE match_uses SET returned_minor = 0 WHERE order_id = :gift",
    entries_of("match_reversed"),
)
sql_damage(
    "I30",
    "a beneficiary who gave a match back that was another's",
    "UPDATE ledger_entries SET account = 'beneficiary/ben_other' WHERE account LIKE 'beneficiary/%'"
    " AND transaction_id IN (SELECT id FROM ledger_transactions WHERE kind = 'match_reversed')",
)
sql_damage("I31", "a pledge that counts otherwise", "UPDATE pledges SET accrued_minor = 1")
sql_damage("I31", "a pledge from another base", "UPDATE pledges SET base_minor = base_minor - 500")
sql_damage("I31", "a pledge of more by the ledger", moved("pledge", "platform/", "pledge/"))
sql_damage(
    "I32", "a fee that somebody else bears", "UPDATE offer_terms SET fee_payer = 'beneficiary'"
)
sql_damage("I32", "a fee that we take for ourselves", moved("stripe_fee", "farmer/", "stripe/fees"))
sql_damage("I33", "a transfer forgotten", "DELETE FROM transfers WHERE kind = 'payout'")
sql_damage(
    "I33",
    "a transfer never posted",
    "INSERT INTO transfers (id, campaign_id, kind, account, amount_minor, reference, created_by)"
    " SELECT 'trf_more', campaign_id, kind, account, 1, reference, created_by FROM transfers WHERE kind = 'payout'",
)
sql_damage("I33", "a transfer of another amount", "UPDATE transfers SET amount_minor = 1")
sql_damage(
    "I33", "a transfer to somebody else", "UPDATE transfers SET account = 'farmer/frm_other'"
)


@damages("I16")
async def a_dispute_that_never_reached_the_books(world: World) -> None:
    answer = await world.sandbox.dispute(world.paid.payment_intent_id)
    assert answer.status == 200
