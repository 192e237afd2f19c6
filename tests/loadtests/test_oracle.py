"""The oracle is the one that must not be wrong: each fault planted here, it has to report, and nothing else."""

from typing import Any

import pytest

from loadtests.audience import StateFrame, Step, Witness
from loadtests.journal import Ack, Journal, Refusal, read_journal
from loadtests.oracle import Held, judge

ACKS = [Ack(f"key{n}", f"shp_{n}", f"ord_{n}", n, 2990 * n) for n in (1, 2, 3)]
REFUSALS = [
    Refusal("late", "shp_4", 1, "sold_out", final=True),
    Refusal("early", "shp_5", 2, "sold_out", final=False),
]
HELD = {ack.key: Held(ack.order, ack.quantity, ack.amount_minor) for ack in ACKS}
NOTHING: dict[str, Held | None] = {"late": None, "early": None}


def found(**changes: Any) -> dict[str, list[str]]:
    told = {"acks": ACKS, "refusals": REFUSALS, "repeated": {**HELD, **NOTHING}, "read": {}}
    verdict = judge(**{**told, **changes})
    assert verdict.good is not any(verdict.as_json()["findings"])  # type: ignore[arg-type]
    return verdict.as_json()["findings"]  # type: ignore[return-value]


def test_an_honest_server_is_found_good() -> None:
    read = {ack.order: HELD[ack.key] for ack in ACKS}
    verdict = judge(ACKS, REFUSALS, {**HELD, **NOTHING}, read)
    assert verdict.good
    assert (verdict.acks_checked, verdict.refusals_checked) == (3, 2)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"repeated": {**HELD, **NOTHING, "key2": None}}, "lost"),
        ({"read": {"ord_2": None}}, "lost"),
        ({"repeated": {**HELD, **NOTHING, "key2": Held("ord_2", 1, 5980)}}, "changed"),
        ({"repeated": {**HELD, **NOTHING, "key2": Held("ord_2", 2, 5979)}}, "changed"),
        ({"read": {"ord_2": Held("ord_2", 3, 5980)}}, "changed"),
        ({"repeated": {**HELD, **NOTHING, "key2": Held("ord_9", 2, 5980)}}, "duplicated"),
        ({"acks": [*ACKS, Ack("key2", "shp_2", "ord_9", 2, 5980)]}, "duplicated"),
        (
            {
                "acks": [*ACKS, Ack("key9", "shp_2", "ord_2", 2, 5980)],
                "repeated": {**HELD, **NOTHING, "key9": HELD["key2"]},
            },
            "duplicated",
        ),
        ({"repeated": {**HELD, **NOTHING, "late": Held("ord_9", 1, 2990)}}, "refused_but_placed"),
        ({"repeated": {**HELD, **NOTHING, "early": Held("ord_9", 2, 5980)}}, "refused_but_placed"),
        ({"version_breaches": ["viewer 1 saw the tally go back"]}, "versions_back"),
        ({"repeated": {"key1": HELD["key1"], "key3": HELD["key3"], **NOTHING}}, "unread"),
    ],
)
def test_a_planted_fault_is_reported(change: dict[str, Any], kind: str) -> None:
    assert list(found(**change)) == [kind]
    assert len(found(**change)[kind]) == 1


def frame(version: int, epoch: int = 7, raised_minor: int = 100) -> StateFrame:
    return StateFrame("state", "stream/s/tally", epoch, version, 0, 1, {"raised": raised_minor})


@pytest.mark.parametrize(
    ("first", "then", "fresh", "breach"),
    [
        (frame(5), frame(6), False, False),
        (frame(5), frame(9), False, False),
        (frame(5), frame(4), False, True),
        (frame(5), frame(4), True, True),
        (frame(5), frame(5), False, True),
        (frame(5), frame(5), True, False),
        (frame(5), frame(1, epoch=8), False, False),
        (frame(5), frame(9, epoch=6), False, True),
        (frame(5), frame(5, raised_minor=101), True, True),
    ],
)
def test_versions_grow_within_an_epoch(
    first: StateFrame, then: StateFrame, *, fresh: bool, breach: bool
) -> None:
    witness = Witness()
    step = witness.see("viewer 1", None, first, fresh=True)
    assert step == Step(first.epoch, first.version)
    witness.see("viewer 1", step, then, fresh=fresh)
    assert bool(witness.breaches) is breach


def test_two_viewers_must_see_the_same_at_a_version() -> None:
    witness = Witness()
    witness.see("viewer 1", None, frame(5), fresh=True)
    witness.see("viewer 2", None, frame(5), fresh=True)
    assert witness.breaches == []
    witness.see("viewer 3", None, frame(5, raised_minor=1), fresh=True)
    assert witness.breaches == ["viewer 3 saw another stream/s/tally at version 5"]


def test_a_journal_reads_back_what_was_written_even_cut_short(tmp_path: Any) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        for ack in ACKS:
            journal.acknowledged(ack)
        for refusal in REFUSALS:
            journal.refused(refusal)
    final = REFUSALS[0]
    assert list(read_journal(path)) == [*ACKS, final]
    path.write_text(path.read_text()[:-5])
    assert list(read_journal(path)) == ACKS
