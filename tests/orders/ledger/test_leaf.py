"""A leaf has one way to be written: the vectors of another implementation, and every way to be wrong."""

import hashlib
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.ledger.accounts import beneficiary, farmer
from orders.ledger.leaf import (
    INTEGER_MAX,
    LEAF_BYTES_MAX,
    Leaf,
    LeafError,
    LeafKind,
    commit,
    decode,
    digest_source,
    encode,
)
from orders.ledger.tree import leaf_hash, root

HERE = Path(__file__).parent
VECTORS: dict[str, Any] = json.loads((HERE / "leaf_vectors.json").read_text("utf-8"))
DOCUMENT = (HERE.parents[2] / "docs" / "ledger-leaf.md").read_text("utf-8")


def leaf_of(vector: dict[str, Any]) -> Leaf:
    given = dict(vector["fields"])
    given["lines"] = tuple((sku, quantity) for sku, quantity in given["lines"])
    given["entries"] = tuple((account, amount) for account, amount in given["entries"])
    return Leaf(**given)


CAPTURE = leaf_of(VECTORS["leaves"][0])


@pytest.mark.parametrize("vector", VECTORS["leaves"], ids=lambda vector: vector["name"])
def test_the_published_leaves(vector: dict[str, Any]) -> None:
    encoded = vector["text"].encode("ascii")
    leaf = leaf_of(vector)
    assert encode(leaf) == encoded
    assert decode(encoded) == leaf
    assert leaf_hash(encoded).hex() == vector["leaf_hash"]


def test_the_published_roots() -> None:
    hashes = [leaf_hash(encode(leaf_of(vector))) for vector in VECTORS["leaves"]]
    for size, vector in enumerate(VECTORS["leaves"], start=1):
        assert root(hashes[:size]).hex() == vector["root"]


@pytest.mark.parametrize("vector", VECTORS["not_leaves"], ids=lambda vector: vector["why"])
def test_what_only_looks_like_a_leaf_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(LeafError):
        decode(vector["text"].encode("utf-8"))


def test_the_published_digests() -> None:
    for vector in VECTORS["digests"]["commitment"]:
        salt = bytes.fromhex(vector["salt_hex"])
        assert commit(salt, vector["order_id"]) == vector["commitment"]
    for vector in VECTORS["digests"]["source"]:
        assert digest_source(vector["source_id"]) == vector["source_digest"]


def test_the_page_says_what_the_code_does() -> None:
    example = encode(CAPTURE).decode("ascii")
    assert f"```\n{example}```" in DOCUMENT
    assert hashlib.sha256(b"\0" + example.encode()).hexdigest() + "  -" in DOCUMENT
    for kind in LeafKind:
        assert f"`{kind}`" in DOCUMENT


def test_nothing_but_the_listed_fields_gets_in() -> None:
    """A new field would be published for ever: it needs a new version, a new page and a second thought."""
    assert [field.name for field in fields(Leaf)] == [
        "origin", "seq", "transaction_id", "kind", "posted_at_ms", "currency", "stream_id", "entries",
        "commitment", "source_digest", "lines", "version",
    ]  # fmt: skip
    keys = [line.partition("=")[0] for line in encode(CAPTURE).decode().splitlines()]
    assert keys == [
        "leaf", "origin", "seq", "transaction", "kind", "posted_at_ms", "currency", "stream", "line",
        "entry", "entry", "entry", "entry", "commitment", "source",
    ]  # fmt: skip


ENTRIES = (("platform/fees", -1), ("stripe/clearing", 1))
WRONG: list[tuple[str, object]] = [
    *(("seq", value) for value in (0, -1, 1.0, True, "1", None, INTEGER_MAX + 1)),
    *(("posted_at_ms", value) for value in (0, -1, 1.5, True, INTEGER_MAX + 1)),
    *(
        (field, value)
        for field in ("origin", "transaction_id", "stream_id")
        for value in (
            "",
            "a\nb",
            "a\x00",
            "\x85",
            "\x7f",
            "\ud800",
            "x" * 129,
            "花" * 43,
            None,
            7,
            b"a",
        )
    ),
    *(("kind", value) for value in ("", "Capture", "gift", None, 1)),
    *(("currency", value) for value in ("cny", "CN", "CNYY", "CN1", "CNY\n", "ＣＮＹ", None)),
    *(
        (field, value)
        for field in ("commitment", "source_digest")
        for value in ("", "0" * 63, "0" * 65, "A" * 64, "g" * 64, "0" * 64 + "\n", None, b"0" * 64)
    ),
    ("entries", ()),
    ("entries", (("stripe/clearing", 0),)),
    ("entries", (("stripe/clearing", 1), ("platform/fees", -2))),
    ("entries", (("stripe/clearing", 0), ("platform/fees", 0))),
    ("entries", (("stripe/clearing", 1), ("stripe/clearing", -1))),
    ("entries", (("stripe/clearing", 1.0), ("platform/fees", -1.0))),
    ("entries", (("stripe/clearing", True), ("platform/fees", -1))),
    ("entries", (("shopper/li", 1), ("platform/fees", -1))),
    ("entries", ((None, 1), ("platform/fees", -1))),
    ("entries", ((["farmer/a"], 1), ("platform/fees", -1))),
    ("entries", (("stripe/clearing", INTEGER_MAX + 1), ("platform/fees", -INTEGER_MAX - 1))),
    ("entries", (("stripe/clearing", 1, 1), ("platform/fees", -1, 1))),
    ("entries", {"stripe/clearing": 1, "platform/fees": -1}),
    ("entries", (*((farmer(f"f{i}"), -1) for i in range(64)), ("stripe/clearing", 64))),
    *(("lines", ((sku, 1),)) for sku in ("", "a\tb", None, 7)),
    *(("lines", (("nuts", quantity),)) for quantity in (0, -1, 1.0, True, "1", None)),
    ("lines", (("nuts", 1), ("nuts", 2))),
    ("lines", tuple((f"s{i}", 1) for i in range(21))),
    ("lines", "ab"),
    *(("version", value) for value in (0, 2, True, 1.0, "1", None)),
]


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_what_does_not_belong_in_a_leaf_is_refused(field: str, value: Any) -> None:
    with pytest.raises(LeafError):
        replace(CAPTURE, **{field: value})


def test_order_of_entries_and_lines_does_not_matter() -> None:
    leaf = replace(
        CAPTURE, entries=CAPTURE.entries[::-1], lines=(("b", 1), ("花", 2), ("a", 3), ("a-", 4))
    )
    assert leaf.entries == CAPTURE.entries
    assert [sku for sku, _ in leaf.lines] == ["花", "a", "a-", "b"]


def test_the_longest_leaf_is_within_the_bound() -> None:
    name = "\u00a0" * 64  # Two bytes each, and both of them escaped.
    owners = [farmer(f"{i:064}") for i in range(64)]
    longest = Leaf(
        origin=name,
        seq=INTEGER_MAX,
        transaction_id=name,
        kind=LeafKind.REFUND_FAILED,
        posted_at_ms=INTEGER_MAX,
        currency="CNY",
        stream_id=name,
        entries=tuple((owner, (-1) ** i * INTEGER_MAX) for i, owner in enumerate(owners)),
        commitment="0" * 64,
        source_digest="0" * 64,
        lines=tuple((name[:-1] + chr(0xA1 + i), INTEGER_MAX) for i in range(20)),
    )
    assert len(encode(longest)) < LEAF_BYTES_MAX
    assert decode(encode(longest)) == longest
    with pytest.raises(LeafError, match="at most"):
        decode(b"\n" * (LEAF_BYTES_MAX + 1))


def test_a_salt_is_long_enough_that_nobody_tries_them_all() -> None:
    for salt in (b"", b"\0" * 31, b"\0" * 33):
        with pytest.raises(LeafError):
            commit(salt, "ord_1")
    with pytest.raises(LeafError):
        commit(b"\0" * 32, "")
    with pytest.raises(LeafError):
        digest_source("")


NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=30)
IDS = st.text("abcXYZ019_-", min_size=1, max_size=12)
ACCOUNTS = st.builds(farmer, IDS) | st.builds(beneficiary, IDS) | st.just("platform/fees")
DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)
POSITIVE = st.integers(1, INTEGER_MAX)


@st.composite
def leaves(draw: st.DrawFn) -> Leaf:
    amounts = st.integers(-(10**12), 10**12).filter(bool)
    entries = draw(st.dictionaries(ACCOUNTS, amounts, min_size=1, max_size=10))
    rest = -sum(entries.values())
    if rest == 0:
        entries.popitem()
        rest = -sum(entries.values()) or 1
        entries = entries or {"platform/fees": -1}
    entries["stripe/clearing"] = rest
    return Leaf(
        origin=draw(NAMES),
        seq=draw(POSITIVE),
        transaction_id=draw(NAMES),
        kind=draw(st.sampled_from(LeafKind)),
        posted_at_ms=draw(POSITIVE),
        currency=draw(st.sampled_from(["CNY", "EUR", "JPY"])),
        stream_id=draw(NAMES),
        entries=tuple(entries.items()),
        commitment=draw(DIGESTS),
        source_digest=draw(DIGESTS),
        lines=tuple(draw(st.dictionaries(NAMES, POSITIVE, max_size=5)).items()),
    )


@given(leaves())
def test_every_leaf_comes_back_exactly(leaf: Leaf) -> None:
    encoded = encode(leaf)
    assert encoded.isascii()
    assert decode(encoded) == leaf
    assert encode(decode(encoded)) == encoded


@given(leaves(), leaves())
def test_two_leaves_are_never_the_same_bytes(one: Leaf, other: Leaf) -> None:
    assert (encode(one) == encode(other)) == (one == other)


@given(leaves(), st.data())
def test_no_other_bytes_decode_to_a_leaf(leaf: Leaf, data: st.DataObject) -> None:
    encoded = encode(leaf)
    at = data.draw(st.integers(0, len(encoded)))
    cut = data.draw(st.integers(0, 3))
    changed = encoded[:at] + data.draw(st.binary(max_size=3)) + encoded[at + cut :]
    try:
        decoded = decode(changed)
    except LeafError:
        return
    assert encode(decoded) == changed  # Another leaf, then, and written in its one way.


@given(st.binary(max_size=200))
def test_junk_is_refused_and_nothing_else_goes_wrong(junk: bytes) -> None:
    for encoded in (junk, b"leaf=stream-events/1\n" + junk):
        with pytest.raises(LeafError):
            decode(encoded)
