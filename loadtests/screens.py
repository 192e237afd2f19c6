"""When viewers saw what: for every number of the ledger's log, at which instants it was on whose screen.

A total says up to which number it counts. A viewer who goes from one number to another sees everything between them at
that instant, whatever frames it was spared. Many see the same at nearly the same instant, so a count by the millisecond
keeps it small.
"""

from collections import Counter


class Screens:
    """At which millisecond how many viewers went from one number of the log to another."""

    def __init__(self) -> None:
        self._steps: dict[tuple[int, int], Counter[int]] = {}

    def see(self, before: int, now: int, at_ms: float) -> None:
        """Note that a viewer who saw up to ``before`` sees up to ``now``."""
        if now > before:
            self._steps.setdefault((before, now), Counter())[round(at_ms)] += 1

    def as_json(self) -> list[tuple[int, int, list[tuple[int, int]]]]:
        """Return ``[before, now, [[at_ms, viewers], …]]`` of every step."""
        return [
            (before, now, sorted(seen.items()))
            for (before, now), seen in sorted(self._steps.items())
        ]
