"""What an invariant found: its figures, so that a reader can check the checker, and what contradicts it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

# A breach is shown so that somebody can look; hundreds of them are counted, not listed.
BREACHES_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One invariant's verdict. ``unknown`` says why it could not be judged: that is no pass."""

    code: str
    title: str
    figures: Mapping[str, int] = field(default_factory=dict)
    breaches: Sequence[str] = ()
    unknown: str = ""

    @property
    def holds(self) -> bool:
        """Return whether the invariant was judged and nothing contradicts it."""
        return not self.breaches and not self.unknown

    def __str__(self) -> str:
        verdict = "holds" if self.holds else "UNKNOWN" if self.unknown else "BROKEN"
        figures = " ".join(f"{name}={value}" for name, value in self.figures.items())
        lines = [f"{self.code:<4} {verdict:<8} {self.title}  {figures}".rstrip()]
        lines += [f"       {breach}" for breach in self.breaches]
        return "\n".join(lines + ([f"       {self.unknown}"] if self.unknown else []))


@dataclass(frozen=True, slots=True)
class Report:
    """All findings of one check, in the order of their codes."""

    findings: Sequence[Finding]

    @property
    def checked(self) -> int:
        """Return how many invariants were judged."""
        return sum(not finding.unknown for finding in self.findings)

    @property
    def failed(self) -> list[Finding]:
        """Return the findings with a breach, and those that could not be judged."""
        return [finding for finding in self.findings if not finding.holds]

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {
            "checked": self.checked,
            "failed": [finding.code for finding in self.failed],
            "findings": [
                {
                    "code": finding.code,
                    "title": finding.title,
                    "holds": finding.holds,
                    "figures": dict(finding.figures),
                    "breaches": list(finding.breaches),
                    "unknown": finding.unknown or None,
                }
                for finding in self.findings
            ],
        }

    def __str__(self) -> str:
        return "\n".join(str(finding) for finding in self.findings)


async def figure(sql: AsyncSession, query: str, **given: Any) -> dict[str, int]:
    """Return the one row of ``query`` as figures."""
    row = (await sql.execute(text(query), given)).mappings().one()
    return {str(name): int(value or 0) for name, value in row.items()}


async def breaches(sql: AsyncSession, what: str, query: str, **given: Any) -> list[str]:
    """Return a line for each row of ``query``, which selects what contradicts the invariant."""
    bounded = f"SELECT * FROM ({query}) AS contradiction LIMIT {BREACHES_MAX + 1}"
    rows = (await sql.execute(text(bounded), given)).mappings().all()
    lines = [
        f"{what}: " + ", ".join(f"{name} {value}" for name, value in row.items())
        for row in rows[:BREACHES_MAX]
    ]
    return lines + ([f"{what}: and more"] if len(rows) > BREACHES_MAX else [])


def capped(lines: Sequence[str]) -> list[str]:
    """Return at most ``BREACHES_MAX`` lines and how many there are besides."""
    more = len(lines) - BREACHES_MAX
    return [*lines[:BREACHES_MAX], *([f"and {more} more"] if more > 0 else [])]
