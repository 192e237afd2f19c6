"""The checker: recomputes what must always be true from outside the code that wrote it.

It reads tables, the gate and Stripe, with SQL and arithmetic of its own; of the domain's code it uses only the
state machine as data. Each invariant keeps its number from the list that it was first written down in.
"""

from collections.abc import Sequence
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import text

from orders.invariants import gate, giving, money, oracle, placed, plumbing, stock, tally, terms
from orders.invariants.finding import Finding, Report
from orders.payments.errors import PaymentError
from orders.payments.stripe_gateway import StripeGateway
from stream_events.database import Database

__all__ = ["Finding", "Report", "check"]

# How long a fact may be on its way from Stripe to our books: a lost webhook is made good every minute.
LAG_S: Final = 150
STATEMENT_TIMEOUT: Final = "60s"


async def check(
    database: Database,
    redis: Redis,
    stripe: StripeGateway | None,
    *,
    at_rest: bool,
    lag_s: int = LAG_S,
) -> Report:
    """Check every invariant; ``at_rest`` says that nothing is in flight, and asks for what holds only then.

    Without ``stripe`` what needs Stripe's word is left out. What could not be judged is reported as failed.
    """
    borrowed = database.engine.pool.checkedout()  # type: ignore[attr-defined]
    findings = await _check_gate(database, redis, at_rest=at_rest)
    word = await _ask(database, stripe, lag_s=0 if at_rest else lag_s) if stripe else None
    async with database.begin() as sql:
        # One snapshot for all: what is committed while we read is not half-seen.
        await sql.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        await sql.execute(text(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'"))
        findings += [await each(sql) for each in (stock.i1, stock.i2, stock.i3, stock.i4, stock.i8)]
        findings += [await each(sql) for each in (placed.i10, placed.i13, placed.i14)]
        findings += [await each(sql) for each in (money.i15, money.i17, money.i18)]
        findings += [await each(sql) for each in (terms.i21, terms.i32)]
        findings += [await each(sql) for each in (giving.i30, giving.i31, giving.i33)]
        heard = word if isinstance(word, oracle.Word) else None
        if heard is not None:
            findings += [await oracle.i16(sql, heard), await oracle.i19(sql, heard)]
            findings.append(await oracle.i20(sql, heard, at_rest=at_rest))
        findings.append(await oracle.i22(sql, heard, at_rest=at_rest, lag_s=lag_s))
        findings.append(await tally.i23(sql, at_rest=at_rest))
        findings.append(await plumbing.i29(sql, at_rest=at_rest, borrowed=borrowed))
    if isinstance(word, PaymentError):
        unknown = f"Stripe did not tell: {type(word).__name__}"
        findings += [Finding(code, "needs Stripe's word", unknown=unknown) for code in _BY_STRIPE]
    return Report(sorted(findings, key=lambda finding: int(finding.code[1:])))


_BY_STRIPE: Final = ("I16", "I19", "I20")


async def _ask(
    database: Database, stripe: StripeGateway, *, lag_s: int
) -> oracle.Word | PaymentError:
    try:
        return await oracle.ask(database, stripe, lag_s=lag_s)
    except PaymentError as error:
        return error


async def _check_gate(database: Database, redis: Redis, *, at_rest: bool) -> list[Finding]:
    try:
        readings, busy = await gate.read_gates(database, redis)
        findings = [gate.i5(readings, busy), await gate.i7(redis, readings)]
    except RedisError as error:
        return _unread(f"Redis did not answer: {type(error).__name__}", at_rest=at_rest)
    return findings + ([gate.i6(readings, busy)] if at_rest else [])


def _unread(unknown: str, *, at_rest: bool) -> list[Finding]:
    codes: Sequence[str] = ("I5", "I6", "I7") if at_rest else ("I5", "I7")
    return [Finding(code, "the gate could not be read", unknown=unknown) for code in codes]
