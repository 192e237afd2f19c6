"""The tree is the one of RFC 9162: published vectors, the definition itself, and proofs that cannot be bent."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.ledger.tree import (
    EMPTY_ROOT,
    Frontier,
    TreeError,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)

# The eight leaves, the roots over the first n of them, and the proofs that implementations of Certificate
# Transparency (RFC 6962, unchanged in RFC 9162) have been tested with since its beginning.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): INCLUSION[0, 8],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
HASHES = [leaf_hash(leaf) for leaf in LEAVES]
SIZE_MAX = 70


def some_hashes(size: int) -> list[bytes]:
    return [leaf_hash(str(i).encode()) for i in range(size)]


def mth(hashes: list[bytes]) -> bytes:
    """MTH as the RFC words it, with nothing in it but SHA-256."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return hashlib.sha256(b"\x01" + mth(hashes[:k]) + mth(hashes[k:])).digest()


def path(m: int, hashes: list[bytes]) -> list[bytes]:
    """PATH(m, D_n) as the RFC words it."""
    if len(hashes) == 1:
        return []
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    if m < k:
        return [*path(m, hashes[:k]), mth(hashes[k:])]
    return [*path(m - k, hashes[k:]), mth(hashes[:k])]


def subproof(m: int, hashes: list[bytes], *, whole: bool) -> list[bytes]:
    """SUBPROOF(m, D_n, b) as the RFC words it."""
    if m == len(hashes):
        return [] if whole else [mth(hashes)]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    if m <= k:
        return [*subproof(m, hashes[:k], whole=whole), mth(hashes[k:])]
    return [*subproof(m - k, hashes[k:], whole=False), mth(hashes[:k])]


def test_the_published_roots() -> None:
    assert [root(HASHES[:size]).hex() for size in range(9)] == ROOTS
    assert EMPTY_ROOT.hex() == ROOTS[0]


def test_the_published_proofs() -> None:
    for (index, size), proof in INCLUSION.items():
        assert [part.hex() for part in inclusion_proof(HASHES[:size], index)] == proof
    for (old, new), proof in CONSISTENCY.items():
        assert [part.hex() for part in consistency_proof(HASHES[:new], old)] == proof


def test_a_frontier_has_every_root_on_its_way() -> None:
    frontier = Frontier()
    hashes = some_hashes(SIZE_MAX)
    for size, leaf in enumerate(hashes):
        assert frontier.root() == mth(hashes[:size])
        assert len(frontier.peaks) == size.bit_count()
        frontier = frontier.append(leaf)
    assert frontier == Frontier().extend(hashes)


@given(st.integers(0, 300), st.integers(0, 300))
def test_a_kept_frontier_goes_on_where_it_stopped(first: int, second: int) -> None:
    hashes = some_hashes(first + second)
    kept = Frontier().extend(hashes[:first])
    restored = Frontier(kept.size, tuple(bytes(peak) for peak in kept.peaks))
    assert restored.extend(hashes[first:]).root() == root(hashes) == mth(hashes)


@pytest.mark.parametrize("size", range(1, SIZE_MAX))
def test_every_leaf_has_its_proof_and_no_other(size: int) -> None:
    hashes = some_hashes(size)
    tree_root = root(hashes)
    for index, leaf in enumerate(hashes):
        proof = inclusion_proof(hashes, index)
        assert proof == path(index, hashes)
        assert verify_inclusion(leaf, index, size, proof, tree_root)
        assert not verify_inclusion(leaf_hash(b"other"), index, size, proof, tree_root)
        assert not verify_inclusion(leaf, index, size, proof, leaf_hash(b"other"))
        assert not verify_inclusion(leaf, index, size, [*proof, tree_root], tree_root)
        assert not verify_inclusion(leaf, index, size, [tree_root, *proof], tree_root)
        for wrong in {index ^ 1, index - 1, index + 1, size, -1} - {index}:
            assert not verify_inclusion(leaf, wrong, size, proof, tree_root)
        for i in range(len(proof)):
            bent = [*proof[:i], leaf_hash(proof[i]), *proof[i + 1 :]]
            assert not verify_inclusion(leaf, index, size, bent, tree_root)
            assert not verify_inclusion(leaf, index, size, proof[:i], tree_root)


@pytest.mark.parametrize("new_size", range(1, SIZE_MAX))
def test_every_older_tree_is_shown_to_be_the_beginning(new_size: int) -> None:
    hashes = some_hashes(new_size)
    new_root = root(hashes)
    for old_size in range(1, new_size + 1):
        old_root = root(hashes[:old_size])
        proof = consistency_proof(hashes, old_size)
        assert proof == subproof(old_size, hashes, whole=True)
        assert verify_consistency(old_size, new_size, old_root, new_root, proof)
        other = leaf_hash(b"other")
        assert not verify_consistency(old_size, new_size, other, new_root, proof)
        assert not verify_consistency(old_size, new_size, old_root, other, proof)
        assert not verify_consistency(old_size, new_size, old_root, new_root, [*proof, other])
        for i in range(len(proof)):
            bent = [*proof[:i], leaf_hash(proof[i]), *proof[i + 1 :]]
            assert not verify_consistency(old_size, new_size, old_root, new_root, bent)
            assert not verify_consistency(old_size, new_size, old_root, new_root, proof[:i])


def test_a_rewritten_past_has_no_proof() -> None:
    honest = some_hashes(21)
    forged = [*honest[:5], leaf_hash(b"forged"), *honest[6:]]
    for old_size in range(6, 21):
        proof = consistency_proof(forged, old_size)
        assert not verify_consistency(old_size, 21, root(honest[:old_size]), root(forged), proof)


def test_a_node_never_passes_for_a_leaf() -> None:
    left, right = some_hashes(2)
    assert leaf_hash(left + right) != node_hash(left, right)
    assert leaf_hash(b"") == hashlib.sha256(b"\x00").digest()
    assert not verify_inclusion(left[:16], 0, 2, [left[16:] + right], node_hash(left, right))


def test_what_no_tree_has_is_refused() -> None:
    hashes = some_hashes(3)
    for index in (-1, 3):
        with pytest.raises(TreeError):
            inclusion_proof(hashes, index)
    for old_size in (0, -1, 4):
        with pytest.raises(TreeError):
            consistency_proof(hashes, old_size)
    for size, peaks in ((1, ()), (0, (hashes[0],)), (3, (hashes[0],)), (-1, ()), (1, (b"short",))):
        with pytest.raises(TreeError):
            Frontier(size, peaks)
    with pytest.raises(TreeError):
        Frontier().append(b"a leaf that was not hashed")
    with pytest.raises(TreeError):
        Frontier().extend([b"two of them", b"make a node of the right length"])
    assert not verify_consistency(0, 3, EMPTY_ROOT, root(hashes), [])
    assert not verify_consistency(3, 2, root(hashes), root(hashes[:2]), [])
    assert not verify_consistency(3, 3, root(hashes), root(hashes), [root(hashes)])
    assert not verify_consistency(3, 4, root(hashes), root(some_hashes(4)), [])
