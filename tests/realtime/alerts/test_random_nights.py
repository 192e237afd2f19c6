"""Nights at random on PostgreSQL: payments, verdicts, words of overlays, skips, and directors that die.

Whatever happens, the five promises hold: nothing is acknowledged twice, no order stands in two acknowledged airings of
a group, nothing goes on air after its hold, every alert is accounted for, and whoever has a turn of their own is never
merged and never starves.
"""

import itertools
import random
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from realtime.alerts import director
from realtime.alerts.airing import SKIPPED, airing_of, end, mark_shown
from realtime.alerts.director import Round, tick_once
from stream_events.database import Database
from tests.factories import Sale
from tests.realtime.alerts.paid import Paid, after, judge, pay, run_sql

GROUPS: dict[str, dict[str, Any]] = {
    "main": {"hold_s": 20, "hold_said_s": 60, "large_minor": 50_000, "show_ms": 3_000},
    "small": {"hold_s": 8, "hold_said_s": 30, "min_minor": 200, "waiting_max": 4, "show_ms": 2_000},
    "plain": {"hold_s": 30, "hold_said_s": 40, "compress": "off", "waiting_max": 12},
}
DISPLAYS = [None] * 7 + ["ANONYMOUS", "PENDING_REVIEW", "PENDING_REVIEW", "SHOWN", "HIDDEN"]


class _Killed(BaseException):
    """A director that died in the middle of its work."""


@pytest.mark.parametrize(
    ("seed", "steps"),
    [(0, 30), (1, 30), *(pytest.param(n, 100, marks=pytest.mark.sweep) for n in range(12))],
)
async def test_the_promises_hold_whatever_happens(
    database: Database,
    redis: Redis,
    sale: Sale,
    seed: int,
    steps: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chance = random.Random(seed)
    await tick_once(database, redis, Round(), after(0), slow=True)
    for name, fields in GROUPS.items():
        await _group(database, sale, name, fields)
    killing = _deaths(chance, monkeypatch)
    round_, seconds, words = Round(), 0.0, []
    for step in range(steps):
        seconds += chance.choice([0.1, 0.3, 0.5, 1.0, 2.5])
        if step < 0.7 * steps:
            words += await _pay_some(database, sale, chance, seconds)
        if words and chance.random() < 0.4:
            order = words.pop(chance.randrange(len(words)))
            await judge(database, order, chance.choice(["SHOWN", "SHOWN", "HIDDEN", "PASSED"]))
        killing["on"] = chance.random() < 0.15
        try:
            await tick_once(database, redis, round_, after(seconds), slow=chance.random() < 0.2)
        except _Killed:
            round_ = Round()
        killing["on"] = False
        if chance.random() < 0.1:
            round_ = Round()
        await _overlays_speak(database, sale, chance, seconds)
    for more in range(0, 100, 5):
        await tick_once(database, redis, round_, after(seconds + more), slow=True)
        await _overlays_speak(database, sale, chance, seconds + more)
    for name in GROUPS:
        await _hold_to_account(database, name, at_least=steps)


def _deaths(chance: random.Random, monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Let a director die between any two of its statements' helpers, when told so."""
    killing = {"on": False}
    for name in ("take_in", "drop_late", "put_next_on_air", "publish_groups", "publish_frames"):
        sound: Any = getattr(director, name)

        async def dying(*given: Any, _sound: Any = sound, **named: Any) -> Any:
            done = await _sound(*given, **named)
            if killing["on"] and chance.random() < 0.3:
                raise _Killed
            return done

        monkeypatch.setattr(director, name, dying)
    return killing


async def _group(database: Database, sale: Sale, name: str, fields: dict[str, Any]) -> None:
    await run_sql(
        database,
        "INSERT INTO alert_groups (stream_id, name) VALUES (:stream, :name) ON CONFLICT DO NOTHING",
        stream=sale.stream_id,
        name=name,
    )
    columns = ", ".join(f"{field} = :{field}" for field in fields)
    await run_sql(
        database,
        f"UPDATE alert_groups SET {columns} WHERE name = :name",
        name=name,
        **fields,
    )


async def _pay_some(
    database: Database, sale: Sale, chance: random.Random, seconds: float
) -> list[str]:
    paid = []
    for _ in range(chance.choice([0, 0, 1, 1, 3, 25])):
        display = chance.choice(DISPLAYS)
        gift = chance.random() < 0.2
        amount = chance.choice([100, 2_990, 2_990, 80_000])
        paid.append(
            Paid(
                after(seconds - chance.random() / 10),
                sku=None if gift else chance.choice(["PEANUT-5KG", "SAUCE-1", "HONEY-1"]),
                amount_minor=amount,
                gift_minor=amount if gift else 0,
                display=display,
                name="N" if display else None,
                message="M" if display and chance.random() < 0.7 else None,
            )
        )
    await pay(database, sale, paid)
    return [one.order_id for one in paid if one.display == "PENDING_REVIEW"]


async def _overlays_speak(
    database: Database, sale: Sale, chance: random.Random, seconds: float
) -> None:
    """Let overlays say (some twice, some never) what they show, and a host skip now and then."""
    for name in GROUPS:
        async with database.begin() as sql:
            airing = await airing_of(sql, sale.stream_id, name)
            if airing is None:
                continue
            if chance.random() < 0.05:
                await end(sql, airing.id, SKIPPED, after(seconds))
            elif chance.random() < 0.4:
                was_shown = airing.shown_at is not None
                assert await mark_shown(sql, airing, after(seconds)) is not was_shown
                assert not await mark_shown(sql, airing, after(seconds))


async def _hold_to_account(database: Database, group: str, at_least: int) -> None:
    fields = GROUPS[group]
    turns = await run_sql(
        database,
        "SELECT t.*, a.order_id, r.outcome, r.kind AS airing_kind, r.starts_at FROM alert_turns t"
        " JOIN alerts a ON a.id = t.alert_id LEFT JOIN airings r ON r.id = t.airing_id"
        " WHERE t.group_name = :group",
        group=group,
    )
    airings = await run_sql(
        database, "SELECT * FROM airings WHERE group_name = :group ORDER BY starts_at", group=group
    )
    (alerts,) = await run_sql(
        database, "SELECT count(*) AS n, count(DISTINCT order_id) AS o FROM alerts"
    )
    assert alerts.n == alerts.o == len(turns) > at_least
    # Shown or skipped ones stay with their airing, lost ones went back: each order is in one airing at most.
    assert {turn.outcome for turn in turns if turn.state == "TAKEN"} <= {"SHOWN", "SKIPPED"}
    assert {turn.state for turn in turns} <= {"TAKEN", "DROPPED", "PASSED_OVER"}
    counted = sum(row.count for row in airings if row.outcome in {"SHOWN", "SKIPPED"})
    elsewhere = sum(turn.state != "TAKEN" for turn in turns)
    assert counted + elsewhere == len(turns)
    for turn in turns:
        if turn.state == "TAKEN":
            hold_s = fields["hold_said_s"] if turn.said else fields["hold_s"]
            assert turn.starts_at < turn.since + timedelta(seconds=hold_s)
            if turn.lane == "turn":
                assert turn.airing_kind != "burst"
    # One at a time, and something whenever somebody waits: nobody starves before its hold is over.
    for before, now in itertools.pairwise(airings):
        assert before.ended_at <= now.starts_at
    bursts = sum(row.kind == "burst" for row in airings)
    assert bursts == 0 if group == "plain" else bursts > 0 or group != "main"
    assert any(turn.lane == "turn" and turn.state == "TAKEN" for turn in turns)
