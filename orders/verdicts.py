"""What the tables of states say of an input that changes nothing: two very different things."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ignore:
    """Change nothing, neither state nor stock nor books: the reason is for the log and the caller."""

    reason: str


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Change nothing, count it nowhere, and call a person: this cannot have happened as told."""

    reason: str
