"""What a decision does, as one pure function, so that a test can pin each case of who, what and in which mode.

Two passes want two different people. A host or operator counts as one of them with ``pass``, and overrules with
``show``: it is their stream, and every decision is kept. What they did not hide, moderators may; what is hidden,
only they bring back, and only they show what the word filter stopped.
"""

from dataclasses import dataclass
from typing import Final, Literal

from orders.messages import ANONYMOUS, HIDDEN, PASSED, PENDING_REVIEW, SHOWN

Mode = Literal["host", "one_pass", "two_pass"]
Decision = Literal["pass", "show", "hide"]
Refused = Literal[
    "unknown", "changed", "withdrawn", "host_only", "blocked", "second_person", "returned"
]

WAITING: Final = frozenset({PENDING_REVIEW, PASSED})


@dataclass(frozen=True, slots=True)
class Case:
    """Who decides what about which text: ``grave`` is whether the filter stopped it, ``standing`` that its money is here."""

    mode: Mode
    is_staff: bool
    by: str
    decision: Decision
    display: str
    passed_by: str | None
    grave: bool
    standing: bool


@dataclass(frozen=True, slots=True)
class Ruling:
    """The display that follows, or why none does."""

    display: str | None = None
    refused: Refused | None = None


def rule(case: Case) -> Ruling:
    """Return what becomes of a text."""
    refused = _refusal(case)
    if refused is not None:
        return Ruling(refused=refused)
    if case.decision == "hide":
        return Ruling(HIDDEN)
    if case.display == SHOWN or case.mode != "two_pass":
        return Ruling(SHOWN)
    if case.is_staff and case.decision == "show":
        return Ruling(SHOWN)
    if case.display != PASSED:
        return Ruling(PASSED)
    if case.passed_by == case.by:
        return Ruling(refused="second_person")
    return Ruling(SHOWN)


def _refusal(case: Case) -> Refused | None:
    if case.display == ANONYMOUS:
        return "withdrawn"
    if case.mode == "host" and not case.is_staff:
        return "host_only"
    if case.decision == "hide":
        return None
    if not case.standing:
        return "returned"
    if case.is_staff:
        return None
    if case.display == HIDDEN:
        return "host_only"
    return "blocked" if case.grave else None
