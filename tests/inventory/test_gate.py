"""The gate's scripts on every engine they must run on: all answers, all faults, and no unit twice."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from inventory.gate import (
    Admission,
    Admitted,
    Conflict,
    Gate,
    GateDamaged,
    GateKeys,
    GateShut,
    GateSteppedBack,
    GateUnclear,
    LimitReached,
    SoldOut,
)
from tests.inventory.gate_engines import KINDS, DeafProxy, Engine, engine_of, find

S = "str_1"
KEYS = GateKeys.of(S)


@pytest.fixture(scope="module", params=KINDS)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    program = find(request.param)
    if program is None:
        pytest.skip(f"this machine has no {request.param}")
    with engine_of(program) as started:
        yield started


@pytest_asyncio.fixture
async def client(engine: Engine) -> AsyncIterator[Redis]:
    await engine.up()
    async with engine.client() as made:
        await made.flushall()
        yield made


@pytest_asyncio.fixture
async def gate(engine: Engine, client: Redis) -> AsyncIterator[Gate]:
    """A gate in force: ten peanuts, three chestnuts, epoch 7, and two units that ``ann`` has already."""
    made = Gate(engine.url, timeout_s=1.0)
    assert await made.install(S, 7, 4, {"nut": 10, "chest": 3}, {"ann:nut": 2}) == 7
    yield made
    await made.close()


def ask(key: str, *lines: tuple[str, int], shopper: str = "bob", **given: object) -> Admission:
    op = hashlib.sha256(key.encode()).digest()
    fingerprint = hashlib.sha256(repr(lines).encode()).digest()
    asked = tuple((sku, quantity, 5) for sku, quantity in lines)
    return Admission(S, 7, op, fingerprint, f"adm_{key}", shopper, asked)._replace(**given)


async def held(client: Redis) -> tuple[dict[bytes, bytes], int, dict[bytes, bytes]]:
    """Everything that a refusal must leave as it was."""
    return (
        await client.hgetall(KEYS.avail),
        await client.hlen(KEYS.hold),
        await client.hgetall(KEYS.limit),
    )


async def test_every_answer_of_admit(gate: Gate, client: Redis) -> None:
    """In one batch, each order against what the ones before it left."""
    answers = await asyncio.gather(
        *(
            gate.admit(one)
            for one in (
                ask("a", ("nut", 4)),
                ask("a", ("nut", 4), adm="adm_again"),
                ask("a", ("nut", 3)),
                ask("b", ("nut", 4), shopper="ann"),
                ask("c", ("chest", 2), ("nut", 1), shopper="cay"),
                ask("d", ("nut", 1), ("chest", 2), shopper="dan"),
                ask("e", ("nut", 5), shopper="eve"),
                ask("f", ("nut", 1), shopper="fay"),
            )
        )
    )
    assert answers == [
        Admitted("adm_a", repeat=False),
        Admitted("adm_a", repeat=True),
        Conflict(),
        LimitReached(2),
        Admitted("adm_c", repeat=False),
        SoldOut(1),
        Admitted("adm_e", repeat=False),
        SoldOut(0),
    ]
    assert await held(client) == (
        {b"nut": b"0", b"chest": b"1"},
        3,
        {
            b"ann:nut": b"2",
            b"bob:nut": b"4",
            b"cay:chest": b"2",
            b"cay:nut": b"1",
            b"eve:nut": b"5",
        },
    )
    assert await gate.left(S) == ({"nut": 0, "chest": 1}, 3, (7, 4))


@pytest.mark.parametrize(
    "wish", [ask("a", ("nut", 1), epoch=6), ask("a", ("nut", 1), epoch=8), ask("a", ("pear", 1))]
)
async def test_another_epoch_or_sku_is_shut_out(gate: Gate, client: Redis, wish: Admission) -> None:
    before = await held(client)
    with pytest.raises(GateShut):
        await gate.admit(wish)
    with pytest.raises(GateShut):
        await gate.admit(wish._replace(stream_id="str_never"))
    assert await held(client) == before


async def test_confirm_forgets_and_credit_gives_back_the_very_hold(
    gate: Gate, client: Redis
) -> None:
    """Another admission's name opens nothing, and a replay of either does nothing more."""
    a, b = ask("a", ("nut", 2)), ask("b", ("nut", 3), ("chest", 1), shopper="ann")
    await asyncio.gather(gate.admit(a), gate.admit(b))
    before = await held(client)
    wrong = [(a.op, "adm_b"), (b.op, "adm_a"), (b"?", "adm_a")]
    assert await gate.confirm(S, wrong) == 0
    assert await gate.credit(S, wrong) == 0
    assert await held(client) == before
    for expected in (1, 0):
        assert await gate.confirm(S, [(a.op, a.adm)]) == expected
        assert await gate.credit(S, [(b.op, b.adm), (b.op, b.adm), (a.op, a.adm)]) == expected
    assert await held(client) == (
        {b"nut": b"8", b"chest": b"3"},
        0,
        {b"ann:nut": b"2", b"bob:nut": b"2", b"ann:chest": b"0"},
    )


async def test_adjustments_apply_in_order_and_once(gate: Gate, client: Redis) -> None:
    """A gap stops them, a replay changes nothing, another epoch's are not for this gate."""
    rows = [(5, "nut", 2, "ann", -2), (6, "chest", -1, "", 0), (7, "pear", 9, "", 0)]
    assert await gate.adjust(S, 6, rows) == 4
    assert await gate.adjust(S, 7, rows[1:]) == 4
    assert await gate.adjust(S, 7, rows[:2]) == 6
    for _ in range(2):
        assert await gate.adjust(S, 7, rows) == 7
    assert await gate.adjust(S, 7, [(9, "nut", 50, "", 0)]) == 7
    assert await held(client) == ({b"nut": b"12", b"chest": b"2"}, 0, {b"ann:nut": b"0"})


async def test_only_a_newer_epoch_is_installed(gate: Gate, client: Redis) -> None:
    await gate.admit(ask("a", ("nut", 1)))
    before = await held(client)
    for epoch in (6, 7):
        assert await gate.install(S, epoch, 0, {"nut": 99}, {}) == 7
    assert await held(client) == before
    people = {f"shp_{n}:nut": 1 for n in range(9001)}
    assert await gate.install(S, 8, 5, {"nut": 1}, people) == 8
    assert await client.hlen(KEYS.limit) == 9001
    assert await gate.left(S) == ({"nut": 1}, 0, (8, 5))
    assert await gate.facts(S) == (8, 5, True)
    assert [await client.ttl(key) for key in (KEYS.avail, KEYS.limit, KEYS.gate)] == [-1, -1, -1]


async def test_a_flushed_script_is_sent_again_and_runs_once(gate: Gate, client: Redis) -> None:
    await gate.admit(ask("a", ("nut", 1)))
    await client.script_flush()
    assert await gate.admit(ask("b", ("nut", 1))) == Admitted("adm_b", repeat=False)
    assert (await gate.left(S)).units["nut"] == 8


async def test_a_wiped_gate_is_shut_until_it_is_rebuilt(gate: Gate, client: Redis) -> None:
    await gate.admit(ask("a", ("nut", 1)))
    await client.flushall()
    for _ in range(2):
        with pytest.raises(GateShut):
            await gate.admit(ask("b", ("nut", 1)))
    assert (await gate.facts(S)).epoch == 0
    assert await client.keys() == []
    await gate.install(S, 8, 4, {"nut": 9}, {})
    assert isinstance(await gate.admit(ask("b", ("nut", 1), epoch=8)), Admitted)


async def test_a_restarted_engine_is_shut_although_it_remembers(
    gate: Gate, client: Redis, engine: Engine
) -> None:
    """What it remembers may be a second old: units taken since would be sold twice."""
    await gate.admit(ask("a", ("nut", 1)))
    await client.save()
    engine.kill()
    with pytest.raises((GateShut, GateUnclear)):
        await gate.admit(ask("b", ("nut", 1)))
    engine.start()
    await engine.up()
    for _ in range(2):
        with pytest.raises(GateShut):
            await gate.admit(ask("b", ("nut", 1)))
    with pytest.raises(GateUnclear):  # the connection that was idle meanwhile
        await gate.facts(S)
    assert await gate.facts(S) == (7, 4, False)
    await gate.install(S, 8, 4, {"nut": 9}, {})
    assert isinstance(await gate.admit(ask("b", ("nut", 1), epoch=8)), Admitted)


async def test_an_older_dump_is_noticed(gate: Gate, client: Redis) -> None:
    """Somebody restores yesterday's keys under a running server: calls it answered are forgotten."""
    dump = {key: await client.dump(key) for key in await client.keys()}
    for key in "abcde":
        await gate.admit(ask(key, ("nut", 1)))
    for key, value in dump.items():
        await client.restore(key, 0, value, replace=True)
    for key in "fgh":
        with pytest.raises(GateSteppedBack):
            await gate.admit(ask(key, ("nut", 1)))


async def test_an_engine_out_of_memory_changes_nothing(gate: Gate, client: Redis) -> None:
    a = ask("a", ("nut", 1))
    await gate.admit(a)
    before = await held(client)
    await client.config_set("maxmemory", 1)
    try:
        with pytest.raises(GateShut):
            await gate.admit(ask("b", ("nut", 1)))
        with pytest.raises(GateShut):
            await gate.credit(S, [(a.op, a.adm)])
        with pytest.raises(GateShut):
            await gate.adjust(S, 7, [(5, "nut", 1, "", 0)])
        with pytest.raises(GateShut):
            await gate.install(S, 8, 5, {"nut": 99}, {})
        assert await held(client) == before
        assert await gate.facts(S) == (7, 4, True)
    finally:
        await client.config_set("maxmemory", 0)
    assert isinstance(await gate.admit(ask("b", ("nut", 1))), Admitted)


@pytest.mark.parametrize("key", ["avail", "hold", "limit", "gate"])
async def test_a_key_of_another_kind_shuts_the_gate_until_the_next_install(
    gate: Gate, client: Redis, key: str
) -> None:
    name = getattr(KEYS, key)
    await client.delete(name)
    await client.set(name, "what?")
    with pytest.raises(GateDamaged):
        await gate.admit(ask("a", ("nut", 1)))
    assert (await gate.facts(S)).epoch == (0 if key == "gate" else 7)
    assert await gate.install(S, 8, 4, {"nut": 9}, {}) == 8
    assert isinstance(await gate.admit(ask("a", ("nut", 1), epoch=8)), Admitted)
    assert (await gate.left(S)).units == {"nut": 8}


async def test_a_lost_reply_moves_stock_once(gate: Gate, client: Redis, engine: Engine) -> None:
    """The script ran, its answer did not come: unclear, and the same op again finds its own hold."""
    async with DeafProxy(engine) as proxy:
        deaf = Gate(proxy.url, timeout_s=0.15)
        await deaf.admit(ask("first", ("nut", 1)))
        await deaf.credit(S, [(b"none", "adm")])
        wish = ask("a", ("nut", 2))
        proxy.swallow = True
        with pytest.raises(GateUnclear):
            await deaf.admit(wish)
        assert (await gate.left(S)).units["nut"] == 7
        proxy.swallow = False
        again = await deaf.admit(wish._replace(adm="adm_new"))
        assert again == Admitted("adm_a", repeat=True)
        assert (await gate.left(S)).units["nut"] == 7
        proxy.swallow = True
        with pytest.raises(GateUnclear):
            await deaf._desk.call(
                deaf._scripts["credit"], KEYS_OF_CREDIT, [(wish.op.hex(), wish.adm)]
            )
        proxy.swallow = False
        assert await deaf.credit(S, [(wish.op, wish.adm)]) == 0
        assert (await gate.left(S)).units["nut"] == 9
        await deaf.close()


KEYS_OF_CREDIT = (KEYS.avail, KEYS.hold, KEYS.limit, KEYS.gate)


async def test_no_cancelled_call_leaves_its_reply_to_the_next(gate: Gate) -> None:
    """Hundreds of callers who give up at any instant: whoever stays gets the answer about their own stream."""
    for n in range(8):
        await gate.install(f"str_{n}x", 1000 + n, n, {"nut": n}, {})
    luck = random.Random(3)

    async def look(n: int) -> None:
        facts = await gate.facts(f"str_{n}x")
        assert (facts.epoch, facts.relseq) == (1000 + n, n)

    async def look_and_leave() -> None:
        task = asyncio.create_task(look(luck.randrange(8)))
        await asyncio.sleep(luck.random() * 0.003)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    for _ in range(30):
        stays = [asyncio.create_task(look(n)) for n in range(3)]
        await asyncio.gather(*(look_and_leave() for _ in range(10)))
        await asyncio.gather(*stays)
