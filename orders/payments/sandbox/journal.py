"""The append-only file that lets the sandbox be killed and started again without forgetting a payment.

The sandbox is the oracle of our fault tests: what it took in must outlive it. Each line goes to the kernel
before its answer goes to the caller, which survives a killed process; it does not sync to disk, because a lost
machine takes the books under test along with it.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from orders.payments.sandbox.records import JournalLine

LINE_BYTES_MAX = 1_048_576


class Journal(Protocol):
    """Where the lines go."""

    def append(self, line: JournalLine, /) -> None: ...

    def replay(self) -> Iterator[JournalLine]: ...

    def close(self) -> None: ...


class NoJournal:
    """For a sandbox that may forget: nothing is written."""

    def append(self, _line: JournalLine, /) -> None:
        return

    def replay(self) -> Iterator[JournalLine]:
        return iter(())

    def close(self) -> None:
        return


class FileJournal:
    """One JSON line per call in a file that only its owner may read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._encoder = msgspec.json.Encoder()

    def append(self, line: JournalLine, /) -> None:
        data = self._encoder.encode(line) + b"\n"
        written = os.write(self._file, data)
        if written != len(data):
            raise OSError(
                f"the sandbox journal took {written} of {len(data)} bytes; is the disk full?"
            )

    def replay(self) -> Iterator[JournalLine]:
        """Yield every whole line and cut off a torn last one. Raises ValueError for damage in the middle."""
        decoder = msgspec.json.Decoder(JournalLine)
        whole_bytes = 0
        with self._path.open("rb") as lines:
            while data := lines.readline(LINE_BYTES_MAX):
                if not data.endswith(b"\n"):
                    break
                try:
                    yield decoder.decode(data)
                except msgspec.MsgspecError as error:
                    raise ValueError(f"sandbox journal damaged at byte {whole_bytes}") from error
                whole_bytes += len(data)
        os.ftruncate(self._file, whole_bytes)

    def close(self) -> None:
        os.close(self._file)
