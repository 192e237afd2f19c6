"""Holds the server to what it told the crowd, from outside: nothing it acknowledged may be missing or doubled.

Every key is sent once more: the same key must give the same answer for ever, so what comes back is what the books
hold. A sample of orders, and any that nobody has read since, are read by their shoppers as well.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec

from loadtests.crowd import Body, Crowd
from loadtests.http import Address, Connection, Lost, encode_request
from loadtests.journal import Ack, Refusal

CONNECTIONS: Final = 32
READ_SAMPLE: Final = 300
REFUSALS_MAX: Final = 5_000
REPEATS_MAX: Final = 40
LISTED_MAX: Final = 50

Asked = TypeVar("Asked", Ack, Ack | Refusal)


@dataclass(frozen=True, slots=True)
class Held:
    """What the server says it has: an order, how many units, how much."""

    order: str
    quantity: int
    amount_minor: int


@dataclass(slots=True)
class Verdict:
    """What was found; every list empty is what everybody hopes for."""

    lost: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    refused_but_placed: list[str] = field(default_factory=list)
    versions_back: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    acks_checked: int = 0
    refusals_checked: int = 0

    @property
    def good(self) -> bool:
        """Whether the server kept its word, and could be asked about all of it."""
        found = (self.lost, self.changed, self.duplicated, self.refused_but_placed)
        return not any(found) and not self.versions_back and not self.unread

    def as_json(self) -> dict[str, object]:
        """Return counts, and the first of each kind by name."""
        kinds = {
            "lost": self.lost,
            "changed": self.changed,
            "duplicated": self.duplicated,
            "refused_but_placed": self.refused_but_placed,
            "versions_back": self.versions_back,
            "unread": self.unread,
        }
        return {
            **{kind: len(found) for kind, found in kinds.items()},
            "findings": {kind: found[:LISTED_MAX] for kind, found in kinds.items() if found},
            "acks_checked": self.acks_checked,
            "refusals_checked": self.refusals_checked,
        }


def judge(
    acks: Sequence[Ack],
    refusals: Sequence[Refusal],
    repeated: Mapping[str, Held | None],
    read: Mapping[str, Held | None],
    version_breaches: Iterable[str] = (),
) -> Verdict:
    """Compare what was told with what is held.

    ``repeated`` says by key, and ``read`` by order id, what the server has now; None is that it has nothing, and
    a missing entry that it could not be asked. Breaks of I9: ``lost``, ``changed``; of I11: ``refused_but_placed``;
    two orders for one key, or one order acknowledged for two keys: ``duplicated``; of I24: ``versions_back``.
    """
    verdict = Verdict(versions_back=list(version_breaches))
    orders_of_key: dict[str, set[str]] = defaultdict(set)
    keys_of_order: dict[str, set[str]] = defaultdict(set)
    for ack in acks:
        verdict.acks_checked += 1
        told = Held(ack.order, ack.quantity, ack.amount_minor)
        orders_of_key[ack.key].add(ack.order)
        keys_of_order[ack.order].add(ack.key)
        if ack.key not in repeated:
            verdict.unread.append(f"key {ack.key}")
            continue
        held = repeated[ack.key]
        found = [held] if ack.order not in read else [held, read[ack.order]]
        if held is not None and held.order != ack.order:
            orders_of_key[ack.key].add(held.order)
        elif any(each is None for each in found):
            verdict.lost.append(f"order {ack.order} of key {ack.key}")
        elif any(each != told for each in found):
            verdict.changed.append(f"order {ack.order}: told {told}, found {found}")
    for key, orders in orders_of_key.items():
        if len(orders) > 1:
            verdict.duplicated.append(f"key {key} has orders {', '.join(sorted(orders))}")
    for order, keys in keys_of_order.items():
        if len(keys) > 1:
            verdict.duplicated.append(f"order {order} was given to keys {', '.join(sorted(keys))}")
    for refusal in refusals:
        if refusal.key in repeated:
            verdict.refusals_checked += 1
            held = repeated[refusal.key]
            if held is not None:
                verdict.refused_but_placed.append(f"key {refusal.key} has order {held.order}")
    return verdict


class Oracle:
    """Asks the server again about everything it said."""

    def __init__(self, address: Address, crowd: Crowd) -> None:
        self._address = address
        self._crowd = crowd
        self._tokens = {shopper.id: shopper.token for shopper in crowd.shoppers}

    async def examine(
        self,
        acks: Sequence[Ack],
        refusals: Sequence[Refusal],
        already_read: Mapping[str, tuple[int, int]],
        version_breaches: Iterable[str],
    ) -> Verdict:
        """Send every key once more, read orders as their shoppers, and judge.

        Only once nothing is left to sell: before that a refused key that is sent again may rightly buy.
        """
        final = [refusal for refusal in refusals if refusal.final]
        others = [refusal for refusal in refusals if not refusal.final]
        asked = final[:REFUSALS_MAX] + random.sample(others, min(len(others), REFUSALS_MAX))
        repeated: dict[str, Held | None] = {}
        read = {
            ack.order: Held(ack.order, *already_read[ack.order])
            for ack in acks
            if ack.order in already_read
        }
        unread = [ack for ack in acks if ack.order not in read]
        sample = unread + random.sample(acks, min(len(acks), READ_SAMPLE))
        seen: dict[str, Held | None] = {**read}

        async def repeat(connection: Connection, told: Ack | Refusal) -> None:
            await self._repeat(connection, told, repeated)

        async def look(connection: Connection, ack: Ack) -> None:
            await self._look(connection, ack, seen)

        told: list[Ack | Refusal] = [*acks, *asked]
        await self._for_all(told, repeat)
        await self._for_all(sample, look)
        return judge(acks, asked, repeated, seen, version_breaches)

    async def _for_all(
        self, items: Sequence[Asked], ask: Callable[[Connection, Asked], Awaitable[None]]
    ) -> None:
        waiting = list(items)

        async def hand() -> None:
            connection = Connection(self._address)
            while waiting:
                await ask(connection, waiting.pop())
            connection.close()

        await asyncio.gather(*(hand() for _ in range(CONNECTIONS)))

    async def _repeat(
        self, connection: Connection, told: Ack | Refusal, repeated: dict[str, Held | None]
    ) -> None:
        raw = self._crowd.request_of(self._tokens[told.shopper], told.key, told.quantity)
        status, body = await _ask(connection, raw)
        if status in (201, 200):
            quantity = sum(int(line["quantity"]) for line in body.lines)
            held = Held(body.id, quantity, int(body.total["amount_minor"]))
            # 200 is an open order of another key, which this one only points at.
            repeated[told.key] = held if status == 201 else None
        elif status in (409, 410, 425, 422):
            repeated[told.key] = None

    async def _look(self, connection: Connection, ack: Ack, seen: dict[str, Held | None]) -> None:
        raw = encode_request("GET", f"/v1/orders/{ack.order}", token=self._tokens[ack.shopper])
        status, body = await _ask(connection, raw)
        if status == 200:
            quantity = sum(int(line["quantity"]) for line in body.lines)
            seen[ack.order] = Held(body.id, quantity, int(body.total["amount_minor"]))
        elif status == 404:
            seen[ack.order] = None


async def _ask(connection: Connection, raw: bytes) -> tuple[int, Body]:
    """Ask until there is an answer that says something; (0, …) when there is none."""
    for _ in range(REPEATS_MAX):
        try:
            answer = await connection.request(raw)
        except Lost:
            await asyncio.sleep(random.uniform(0.2, 0.6))
            continue
        if answer.status in (429, 503):
            await asyncio.sleep(random.uniform(0.2, 0.8))
            continue
        return answer.status, msgspec.json.decode(answer.body, type=Body)
    return 0, Body()
