"""The bytes of a ledger leaf: decided once, versioned, and re-implemented in an hour by anyone.

What is hashed is published for ever, so its encoding must never depend on a JSON library, a database or a
mood. One leaf is one ledger transaction with all its entries, as newline-terminated ``key=value`` lines of
ASCII in a fixed order, with exactly one way to write each leaf. ``docs/ledger-leaf.md`` is the specification;
its test vectors were written by another program in another language.

Only what is listed here gets in, and nothing of it is personal: the order is a salted commitment whose salt
lives in an erasable row, the outside fact is a digest of its id.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from orders.ledger.accounts import AccountError, parse

LEAF_VERSION: Final = 1
# An entry of a public tile carries its length in two bytes; the bounds below keep every leaf within.
LEAF_BYTES_MAX: Final = 65_535
ENTRIES_MAX: Final = 64
LINES_MAX: Final = 20
NAME_BYTES_MAX: Final = 128
INTEGER_MAX: Final = 2**53 - 1  # What a browser's numbers still hold exactly.
SALT_BYTES: Final = 32

_HEADER: Final = "stream-events/1"
_ESCAPED: Final = re.compile(r"(?:[A-Za-z0-9._~-]|%[0-9A-F]{2})+", re.ASCII)
_PLAIN: Final = re.compile(rf"[A-Za-z0-9._~-]{{1,{NAME_BYTES_MAX}}}", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_INTEGER: Final = re.compile(r"-?[1-9][0-9]{0,15}", re.ASCII)
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class LeafError(ValueError):
    """Something that has no place in a leaf, or bytes that are not the one way to write one."""


class LeafKind(StrEnum):
    """What a transaction is about. A new kind leaves the bytes of the old ones alone and needs no version."""

    CAPTURE = "capture"
    DONATION = "donation"
    MATCH = "match"
    FEE = "fee"
    REFUND = "refund"
    REFUND_FAILED = "refund_failed"
    DISPUTE = "dispute"
    REINSTATE = "reinstate"
    ADJUSTMENT = "adjustment"
    PAYOUT = "payout"
    DONATION_REFUND = "donation_refund"
    DONATION_REFUND_FAILED = "donation_refund_failed"
    DONATION_DISPUTE = "donation_dispute"
    DONATION_REINSTATE = "donation_reinstate"
    MATCH_REVERSED = "match_reversed"
    MATCH_RESTORED = "match_restored"
    PLEDGE = "pledge"
    SPONSOR_PAID = "sponsor_paid"
    SURPLUS = "surplus"
    SURPLUS_REFUND = "surplus_refund"
    SURPLUS_REFUND_FAILED = "surplus_refund_failed"
    SURPLUS_DISPUTE = "surplus_dispute"
    SURPLUS_REINSTATE = "surplus_reinstate"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One sealed transaction. Entries and lines may be given in any order and are kept sorted."""

    origin: str  # The log's name: the campaign's id.
    seq: int  # The number in that log, from 1 without gaps.
    transaction_id: str
    kind: LeafKind
    posted_at_ms: int  # Milliseconds since 1970-01-01 UTC.
    currency: str
    stream_id: str
    entries: tuple[tuple[str, int], ...]  # (account, amount_minor): debit > 0, credit < 0, sum 0.
    commitment: str  # ``commit(salt, order_id)``.
    source_digest: str  # ``digest_source(source_id)``.
    lines: tuple[tuple[str, int], ...] = ()  # (sku, quantity), where goods are concerned.
    version: int = LEAF_VERSION

    def __post_init__(self) -> None:
        if _integer(self.version, "version") != LEAF_VERSION:
            raise LeafError(f"Version {self.version} is not known here.")
        for name in (self.origin, self.transaction_id, self.stream_id):
            _escape(name)
        for number in (self.seq, self.posted_at_ms):
            _positive(number)
        _require(_CURRENCY, self.currency, "currency")
        _require(_DIGEST, self.commitment, "commitment")
        _require(_DIGEST, self.source_digest, "source digest")
        object.__setattr__(self, "kind", _kind(self.kind))
        object.__setattr__(self, "entries", _sorted_entries(self.entries))
        object.__setattr__(self, "lines", _sorted_lines(self.lines))


def _kind(value: str) -> LeafKind:
    try:
        return LeafKind(value)
    except ValueError:
        raise LeafError(f"{value!r} is no kind of transaction.") from None


def _integer(value: object, what: str) -> int:
    if type(value) is not int or abs(value) > INTEGER_MAX:
        raise LeafError(f"A {what} must be a whole number within ±(2^53 - 1), not {value!r}.")
    return value


def _positive(value: object) -> None:
    if _integer(value, "number") < 1:
        raise LeafError(f"{value!r} is not from 1 up.")


def _require(pattern: re.Pattern[str], value: object, what: str) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise LeafError(f"{value!r} is no {what}.")


def _utf8(text: object, what: str) -> bytes:
    if not isinstance(text, str) or not text:
        raise LeafError(f"{text!r} is no {what}.")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise LeafError(f"{text!r} is not valid Unicode.") from None


def _escape(name: object) -> str:
    """Return a name as ASCII: UTF-8, with each byte but ``A-Z a-z 0-9 - . _ ~`` as ``%`` and two digits."""
    if isinstance(name, str) and _PLAIN.fullmatch(name):
        return name
    raw = _utf8(name, "name")
    if len(raw) > NAME_BYTES_MAX:
        raise LeafError(f"A name is at most {NAME_BYTES_MAX} bytes.")
    if _CONTROL.search(raw.decode()):
        raise LeafError(f"{name!r} has control characters.")
    return quote_from_bytes(raw, safe="")


def _unescape(text: str) -> str:
    if not _ESCAPED.fullmatch(text):
        raise LeafError(f"{text!r} is no escaped name.")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise LeafError(f"{text!r} is not UTF-8.") from None


def _pairs(value: object, count_max: int, what: str) -> list[tuple[str, int]]:
    if not isinstance(value, tuple | list) or len(value) > count_max:
        raise LeafError(f"There are at most {count_max} {what}, in a tuple.")
    if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
        raise LeafError(f"The {what} are pairs.")
    if not all(isinstance(pair[0], str) for pair in value):
        raise LeafError(f"The {what} are named by text.")
    if len({pair[0] for pair in value}) != len(value):
        raise LeafError(f"One name stands twice among the {what}: sum them first.")
    return list(value)


def _sorted_entries(value: object) -> tuple[tuple[str, int], ...]:
    entries = _pairs(value, ENTRIES_MAX, "entries")
    for account, amount_minor in entries:
        try:
            parse(account)
        except AccountError as error:
            raise LeafError(str(error)) from error
        if _integer(amount_minor, "amount") == 0:
            raise LeafError(f"The entry for {account} moves nothing.")
    if len(entries) < 2 or sum(amount_minor for _, amount_minor in entries) != 0:
        raise LeafError("A transaction has two entries or more, and they sum to 0.")
    return tuple(sorted(entries))


def _sorted_lines(value: object) -> tuple[tuple[str, int], ...]:
    lines = _pairs(value, LINES_MAX, "lines")
    for _, quantity in lines:
        _positive(quantity)
    return tuple(sorted(lines, key=lambda line: _escape(line[0])))


def encode(leaf: Leaf) -> bytes:
    """Return the one way to write this leaf."""
    fields = [
        ("leaf", _HEADER),
        ("origin", _escape(leaf.origin)),
        ("seq", str(leaf.seq)),
        ("transaction", _escape(leaf.transaction_id)),
        ("kind", leaf.kind.value),
        ("posted_at_ms", str(leaf.posted_at_ms)),
        ("currency", leaf.currency),
        ("stream", _escape(leaf.stream_id)),
        *(("line", f"{_escape(sku)}:{quantity}") for sku, quantity in leaf.lines),
        *(("entry", f"{account}:{amount_minor}") for account, amount_minor in leaf.entries),
        ("commitment", leaf.commitment),
        ("source", leaf.source_digest),
    ]
    return "".join(f"{key}={value}\n" for key, value in fields).encode("ascii")


class _Fields:
    """The ``key=value`` lines of an encoded leaf, taken in order."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")[::-1]

    def take(self, key: str) -> str:
        found, _, value = self._lines.pop().partition("=") if self._lines else ("", "", "")
        if found != key:
            raise LeafError(f"Here stands {key}=…, not {found!r}.")
        return value

    def take_all(self, key: str) -> Iterator[tuple[str, str]]:
        while self._lines and self._lines[-1].startswith(f"{key}="):
            name, _, number = self.take(key).partition(":")
            yield name, number


def _number(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise LeafError(f"{text!r} is not how a whole number is written here.")
    return int(text)


def decode(encoded: bytes) -> Leaf:
    """Return the leaf that is written in these bytes; raise ``LeafError`` unless it is written exactly so.

    The last step writes the leaf anew and compares: whatever a looser reader might let through, two different
    byte strings never decode to the same leaf.
    """
    if len(encoded) > LEAF_BYTES_MAX:
        raise LeafError(f"A leaf is at most {LEAF_BYTES_MAX} bytes.")
    if not encoded.isascii() or not encoded.endswith(b"\n"):
        raise LeafError("A leaf is lines of ASCII, each ended by a newline.")
    fields = _Fields(encoded[:-1].decode("ascii"))
    if fields.take("leaf") != _HEADER:
        raise LeafError("These bytes are no leaf of a version known here.")
    leaf = Leaf(
        origin=_unescape(fields.take("origin")),
        seq=_number(fields.take("seq")),
        transaction_id=_unescape(fields.take("transaction")),
        kind=_kind(fields.take("kind")),
        posted_at_ms=_number(fields.take("posted_at_ms")),
        currency=fields.take("currency"),
        stream_id=_unescape(fields.take("stream")),
        lines=tuple((_unescape(sku), _number(number)) for sku, number in fields.take_all("line")),
        entries=tuple((account, _number(number)) for account, number in fields.take_all("entry")),
        commitment=fields.take("commitment"),
        source_digest=fields.take("source"),
    )
    if encode(leaf) != encoded:
        raise LeafError("This leaf is written in another way than the one way.")
    return leaf


def commit(salt: bytes, order_id: str) -> str:
    """Return SHA-256(salt ‖ order id in UTF-8) in hex: with the salt it proves the order, without it nothing.

    The salt is ``SALT_BYTES`` random bytes of that order alone, kept in a row that can be erased.
    """
    if len(salt) != SALT_BYTES:
        raise LeafError(f"A salt is {SALT_BYTES} bytes.")
    return hashlib.sha256(salt + _utf8(order_id, "order id")).hexdigest()


def digest_source(source_id: str) -> str:
    """Return SHA-256(id in UTF-8) in hex of the outside fact, such as Stripe's id of a payment or a refund.

    Who has the id can find its leaf. The id must be unguessable, or the digest could be reversed by trial.
    """
    return hashlib.sha256(_utf8(source_id, "source id")).hexdigest()
