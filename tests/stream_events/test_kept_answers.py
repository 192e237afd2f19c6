"""A crowd that asks the same costs one answer, and nobody's trouble becomes another's."""

import asyncio

import pytest

from stream_events.kept_answers import KeptAnswers


class Clock:
    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


class Source:
    """Counts how often it is asked; answers when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()
        self.broken = False

    async def __call__(self) -> int:
        self.asked += 1
        mine = self.asked
        await self.open.wait()
        if self.broken:
            raise OSError("away")
        return mine


async def test_a_crowd_costs_one_answer_and_the_next_second_another() -> None:
    clock, source = Clock(), Source()
    answers = KeptAnswers(1.0, clock_s=clock)
    source.open.clear()
    crowd = [asyncio.create_task(answers.get("a", source)) for _ in range(50)]
    await asyncio.sleep(0)
    crowd[0].cancel()
    source.open.set()
    rest = await asyncio.gather(*crowd, return_exceptions=True)
    assert rest[1:] == [1] * 49
    clock.s = 0.9
    assert await answers.get("a", source) == 1
    assert await answers.get("b", source) == 2
    clock.s = 1.0
    assert await answers.get("a", source) == 3


async def test_an_error_is_not_kept() -> None:
    source = Source()
    answers = KeptAnswers()
    source.broken = True
    with pytest.raises(OSError, match="away"):
        await answers.get("a", source)
    source.broken = False
    assert await answers.get("a", source) == 2


async def test_no_more_is_kept_than_fits() -> None:
    clock, source = Clock(), Source()
    answers = KeptAnswers(1.0, 3, clock)
    for name in "abcd":
        await answers.get(name, source)
    assert len(answers._made) == 3
    assert await answers.get("d", source) == 4
    assert await answers.get("a", source) == 5
