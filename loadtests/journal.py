"""The crowd's own record of what it was told, written as it hears it: what the server is held to afterwards.

No token and nothing about a person stands in it: ids of a simulated crowd, quantities and amounts.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self


@dataclass(frozen=True, slots=True)
class Ack:
    """A shopper saw 201 (or 200) for this key."""

    key: str
    shopper: str
    order: str
    quantity: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """A shopper was told that this key got nothing; ``final``: and that nothing will come back."""

    key: str
    shopper: str
    quantity: int
    code: str
    final: bool


class Journal:
    """An append-only file of acknowledgements and refusals, and the same in memory for the oracle."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self.acks: list[Ack] = []
        self.refusals: list[Refusal] = []

    def __enter__(self) -> Self:
        self._file = self._path.open("w", encoding="utf-8")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def acknowledged(self, ack: Ack) -> None:
        """Record an acknowledgement."""
        self.acks.append(ack)
        self._write({"t": "ack", **asdict(ack)})

    def refused(self, refusal: Refusal) -> None:
        """Record a refusal; only a final one is worth a line, the others a place in memory."""
        self.refusals.append(refusal)
        if refusal.final:
            self._write({"t": "refused", **asdict(refusal)})

    def _write(self, line: dict[str, object]) -> None:
        assert self._file is not None, "the journal is open while the crowd is out"
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")


def read_journal(path: Path) -> Iterator[Ack | Refusal]:
    """Yield what a journal holds; a last line that a crash cut short is passed over."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if not line.endswith("\n"):
                return
            fields = json.loads(line)
            kind = fields.pop("t")
            yield Ack(**fields) if kind == "ack" else Refusal(**fields)
