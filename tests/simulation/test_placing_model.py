"""Every interleaving of the placing protocol's core, within small bounds; and what goes wrong without each part.

The model knows nothing of our code. It has SQL (free units, keys, an epoch, numbered releases), the gate (units,
holds, an epoch) and everybody who may act at any time or never: shoppers who repeat, a writer that may be slow or
dead, a reaper, a rebuilder, a relay that repeats itself, and a Redis that is wiped or set back to an older state.
"""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import pytest

ABORTED = -1
UNKNOWN = 0


class Shop(NamedTuple):
    """The bounds of one exploration, and the parts of the protocol that are left out."""

    units: int
    ops: int
    tries: int
    rebuilds: int
    without: str = ""


class Gate(NamedTuple):
    """The Redis side; ``holds`` has an admission, or 0, for each op."""

    epoch: int
    avail: int
    holds: tuple[int, ...]
    relseq: int


class State(NamedTuple):
    """One instant. A key is UNKNOWN, ABORTED, or the admission under which it was placed."""

    free: int
    epoch: int
    rel_seq: int
    keys: tuple[int, ...]
    released: int  # the op whose units were given back, or -1
    gate: Gate | None
    queue: frozenset[tuple[int, int, int]]  # op, admission, epoch: admitted, not yet written
    facts: frozenset[
        tuple[str, int, int]
    ]  # confirm or credit, op, admission: on the way, perhaps again
    installs: frozenset[Gate]
    tries: tuple[int, ...]
    acked: frozenset[int]
    rebuilds: int
    fault: str  # "", "saved" (an older state lies ready), "done"
    saved: Gate | None
    in_doubt: bool  # set back unnoticed: only the guard stands until the next install


def start(shop: Shop) -> State:
    """A sale just opened."""
    nobody = (0,) * shop.ops
    gate = Gate(1, shop.units, nobody, 0)
    none: frozenset[tuple[str, int, int]] = frozenset()
    return State(
        shop.units, 1, 0, nobody, -1, gate, frozenset(), none, frozenset(), nobody, frozenset(), 0, "",
        None, in_doubt=False,
    )  # fmt: skip


def put(row: tuple[int, ...], place: int, value: int) -> tuple[int, ...]:
    """Replace one value of a tuple."""
    return (*row[:place], value, *row[place + 1 :])


def admissions(shop: Shop, s: State) -> Iterator[State]:
    """A shopper asks, or asks again; the process that was told may die before it queues the order."""
    gate = s.gate
    if gate is None:
        return
    for op in range(shop.ops):
        if s.tries[op] == shop.tries:
            continue
        adm = gate.holds[op]
        after = s._replace(tries=put(s.tries, op, s.tries[op] + 1))
        if not adm:
            if gate.avail < 1:
                continue
            adm = s.tries[op] + 1
            holds = put(gate.holds, op, adm)
            after = after._replace(gate=gate._replace(avail=gate.avail - 1, holds=holds))
        if shop.without == "durable ack":
            after = after._replace(acked=after.acked | {op})
        yield after
        yield after._replace(queue=after.queue | {(op, adm, gate.epoch)})


def writes(shop: Shop, s: State) -> Iterator[State]:
    """The writer takes any admitted order, at any time: its one transaction, and the fact it sends to the gate."""
    for item in s.queue:
        op, adm, epoch = item
        after = s._replace(queue=s.queue - {item})
        if s.keys[op] == UNKNOWN:
            in_force = epoch == s.epoch or shop.without == "epoch"
            if not in_force or (s.free < 1 and shop.without != "guard"):
                yield after
                continue
            after = after._replace(free=s.free - 1, keys=put(s.keys, op, adm))
        if after.keys[op] != ABORTED:
            after = after._replace(acked=after.acked | {op})
        yield after
        fact = ("confirm" if after.keys[op] == adm else "credit", op, adm)
        yield after._replace(facts=after.facts | {fact})


def settlements(shop: Shop, s: State) -> Iterator[State]:
    """The reaper makes a fact for any hold; facts reach the gate late, twice or never."""
    gate = s.gate
    if gate is None:
        return
    for op, adm in enumerate(gate.holds):
        if adm:
            after = s
            if s.keys[op] == UNKNOWN and shop.without != "tombstone":
                after = s._replace(keys=put(s.keys, op, ABORTED))
            fact = ("confirm" if after.keys[op] == adm else "credit", op, adm)
            if fact not in s.facts or after is not s:
                yield after._replace(facts=after.facts | {fact})
    for kind, op, adm in s.facts:
        held = gate.holds[op]
        if held == adm or (held and shop.without == "very hold"):
            avail = gate.avail + (kind == "credit")
            yield s._replace(gate=gate._replace(avail=avail, holds=put(gate.holds, op, 0)))


def releases(shop: Shop, s: State) -> Iterator[State]:
    """One order is given up in SQL; the relay carries its number, and repeats itself."""
    if s.released < 0:
        for op, adm in enumerate(s.keys):
            if adm > 0:
                yield s._replace(free=s.free + 1, rel_seq=s.rel_seq + 1, released=op)
    gate = s.gate
    if gate is not None:
        for number in range(1, s.rel_seq + 1):
            if number == gate.relseq + 1 or shop.without == "relseq":
                relseq = max(gate.relseq, number)
                yield s._replace(gate=gate._replace(avail=gate.avail + 1, relseq=relseq))


def recoveries(shop: Shop, s: State) -> Iterator[State]:
    """A rebuild in its two halves, either of which may be the last thing its process does."""
    if s.rebuilds < shop.rebuilds:
        epoch = s.epoch + 1
        install = Gate(epoch, s.free, (0,) * shop.ops, s.rel_seq)
        yield s._replace(epoch=epoch, rebuilds=s.rebuilds + 1, installs=s.installs | {install})
    for install in s.installs:
        after = s._replace(installs=s.installs - {install})  # late perhaps, but never twice
        if s.gate is None or install.epoch > s.gate.epoch:
            after = after._replace(gate=install, in_doubt=False)
        yield after


def faults(_: Shop, s: State) -> Iterator[State]:
    """Redis is wiped, or set back to what it was at any earlier time."""
    if s.fault != "done" and s.gate is not None:
        yield s._replace(gate=None, fault="done", saved=None)
    if not s.fault and s.gate is not None:
        yield s._replace(fault="saved", saved=s.gate)
    if s.saved is not None and s.saved != s.gate:
        yield s._replace(gate=s.saved, fault="done", saved=None, in_doubt=True)


def breach(shop: Shop, s: State) -> str | None:
    """What is wrong at this instant, if anything."""
    placed = [op for op, adm in enumerate(s.keys) if adm > 0]
    if s.free < 0 or len(placed) - (s.released >= 0) > shop.units:
        return "oversold"
    if not s.acked <= set(placed):
        return "lost ack"
    gate = s.gate
    if gate is not None and gate.epoch == s.epoch and not s.in_doubt:
        unsettled = sum(1 for op, adm in enumerate(gate.holds) if adm and s.keys[op] != adm)
        if gate.avail + unsettled + s.rel_seq - gate.relseq != s.free:
            return "I5"
    return None


def explore(shop: Shop, states_max: int = 400_000) -> tuple[int, str | None, int]:
    """Return the number of states, the first breach, and in how many steps it is reached."""
    first = start(shop)
    steps = {first: 0}
    waiting = deque([first])
    while waiting:
        state = waiting.popleft()
        wrong = breach(shop, state)
        if wrong is not None:
            return len(steps), wrong, steps[state]
        for actor in (admissions, writes, settlements, releases, recoveries, faults):
            for after in actor(shop, state):
                if after not in steps:
                    steps[after] = steps[state] + 1
                    waiting.append(after)
        assert len(steps) <= states_max, "the bounds are too wide to be explored"
    return len(steps), None, 0


@pytest.mark.parametrize(
    "shop",
    [Shop(1, 2, 1, 1), Shop(2, 2, 1, 1), Shop(1, 1, 2, 2), Shop(2, 3, 1, 1)],
    ids=["one unit for two", "one for each", "one repeats, two rebuilds", "two units for three"],
)
def test_no_interleaving_oversells_or_loses_an_acknowledgement(shop: Shop) -> None:
    states, wrong, _ = explore(shop)
    assert wrong is None
    assert states > 1000


@pytest.mark.parametrize(
    ("without", "expected"),
    [
        ("guard", "oversold"),
        ("epoch", "I5"),
        ("tombstone", "I5"),
        ("relseq", "I5"),
        ("very hold", "I5"),
        ("durable ack", "lost ack"),
    ],
)
def test_with_any_one_part_removed_a_counterexample_is_found(without: str, expected: str) -> None:
    found = [explore(Shop(*bounds, without)) for bounds in ((1, 2, 1, 1), (1, 1, 2, 2))]
    wrongs = {wrong for _, wrong, _ in found if wrong is not None}
    assert wrongs == {expected}
    assert all(steps <= 9 for _, wrong, steps in found if wrong is not None)
