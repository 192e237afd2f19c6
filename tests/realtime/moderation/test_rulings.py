"""Who may do what with a text in which mode: each case, and what must never be."""

from itertools import product
from typing import Any

import pytest

from realtime.moderation.rulings import Case, Ruling, rule

DISPLAYS = ("ANONYMOUS", "PENDING_REVIEW", "PASSED", "SHOWN", "HIDDEN")


def ruled(**given: Any) -> str | None:
    case: dict[str, Any] = {
        "mode": "one_pass",
        "is_staff": False,
        "by": "b",
        "decision": "show",
        "display": "PENDING_REVIEW",
        "passed_by": None,
        "grave": False,
        "standing": True,
    }
    ruling = rule(Case(**{**case, **given}))
    assert (ruling.display is None) != (ruling.refused is None)
    return ruling.display or ruling.refused


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "SHOWN"),
        ({"decision": "pass"}, "SHOWN"),
        ({"decision": "hide"}, "HIDDEN"),
        ({"display": "SHOWN", "decision": "hide"}, "HIDDEN"),
        ({"display": "HIDDEN"}, "host_only"),
        ({"display": "HIDDEN", "is_staff": True}, "SHOWN"),
        ({"display": "ANONYMOUS", "is_staff": True}, "withdrawn"),
        ({"grave": True}, "blocked"),
        ({"grave": True, "decision": "hide"}, "HIDDEN"),
        ({"grave": True, "is_staff": True}, "SHOWN"),
        ({"standing": False, "is_staff": True}, "returned"),
        ({"standing": False, "decision": "hide"}, "HIDDEN"),
        ({"mode": "host"}, "host_only"),
        ({"mode": "host", "decision": "hide"}, "host_only"),
        ({"mode": "host", "is_staff": True}, "SHOWN"),
        ({"mode": "host", "is_staff": True, "decision": "pass"}, "SHOWN"),
        ({"mode": "two_pass"}, "PASSED"),
        ({"mode": "two_pass", "decision": "pass"}, "PASSED"),
        ({"mode": "two_pass", "display": "PASSED", "passed_by": "a"}, "SHOWN"),
        (
            {"mode": "two_pass", "display": "PASSED", "passed_by": "a", "decision": "pass"},
            "SHOWN",
        ),
        ({"mode": "two_pass", "display": "PASSED", "passed_by": "b"}, "second_person"),
        ({"mode": "two_pass", "display": "PASSED", "passed_by": "b", "decision": "hide"}, "HIDDEN"),
        ({"mode": "two_pass", "display": "PASSED", "passed_by": "a", "grave": True}, "blocked"),
        ({"mode": "two_pass", "is_staff": True, "decision": "pass"}, "PASSED"),
        ({"mode": "two_pass", "is_staff": True}, "SHOWN"),
        (
            {
                "mode": "two_pass",
                "is_staff": True,
                "display": "PASSED",
                "passed_by": "b",
                "decision": "pass",
            },
            "second_person",
        ),
        ({"mode": "two_pass", "display": "SHOWN"}, "SHOWN"),
    ],
)
def test_each_case(given: dict[str, Any], expected: str) -> None:
    assert ruled(**given) == expected


def test_nothing_comes_on_screen_past_the_rules() -> None:
    """Over all cases: a moderator alone, or against the filter, or without the money, shows nothing."""
    shown = 0
    for mode, is_staff, decision, display, passed_by, grave, standing in product(
        ("host", "one_pass", "two_pass"),
        (False, True),
        ("pass", "show", "hide"),
        DISPLAYS,
        (None, "a", "b"),
        (False, True),
        (False, True),
    ):
        case = Case(mode, is_staff, "b", decision, display, passed_by, grave, standing)  # type: ignore[arg-type]
        ruling = rule(case)
        assert ruling != Ruling()
        if ruling.display != "SHOWN":
            continue
        shown += 1
        assert decision != "hide"
        assert standing
        assert display != "ANONYMOUS"
        if is_staff:
            continue
        assert not grave
        assert mode != "host"
        assert display != "HIDDEN"
        if mode == "two_pass" and display != "SHOWN":
            assert display == "PASSED"
            assert passed_by != "b"
    assert shown > 50
