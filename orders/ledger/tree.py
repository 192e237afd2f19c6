"""The Merkle tree over a campaign's leaves, as RFC 9162 section 2.1 defines it, standard library only.

One root stands for every leaf that was ever sealed; with a few hashes anyone can prove that a receipt is in it
and that a newer root only added to an older one. The sealer keeps a ``Frontier`` of O(log n) hashes, so that a
new leaf costs no reading of old ones.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


class TreeError(ValueError):
    """A position, size or hash that no tree has."""


def leaf_hash(leaf: bytes) -> bytes:
    """Return SHA-256(0x00 ‖ leaf): the prefix keeps a leaf from ever passing for a node."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """The roots of the perfect subtrees a tree of ``size`` leaves is made of, largest (leftmost) first.

    There is one for each 1 in the binary form of ``size``. This is all that is needed to go on appending, and
    all that a sealer has to keep.
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if type(self.size) is not int or self.size < 0 or len(self.peaks) != self.size.bit_count():
            raise TreeError(f"A tree of size {self.size!r} does not have {len(self.peaks)} peaks.")
        if any(len(peak) != HASH_BYTES for peak in self.peaks):
            raise TreeError(f"A hash is {HASH_BYTES} bytes.")

    def append(self, leaf: bytes) -> "Frontier":
        """Return the frontier after one more *leaf hash*: O(1) amortised, O(log n) at worst."""
        return self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> "Frontier":
        """Return the frontier after more *leaf hashes*, in order."""
        peaks, size = list(self.peaks), self.size
        for leaf in leaves:
            if len(leaf) != HASH_BYTES:
                raise TreeError(f"A leaf hash is {HASH_BYTES} bytes: hash the leaf first.")
            carried, bits = leaf, size
            while (
                bits & 1
            ):  # A trailing 1 is a perfect subtree as large as the one carried: merge them.
                carried = node_hash(peaks.pop(), carried)
                bits >>= 1
            peaks.append(carried)
            size += 1
        return Frontier(size, tuple(peaks))

    def root(self) -> bytes:
        """Return the root of the whole tree in O(log n)."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root


def root(leaf_hashes: Iterable[bytes]) -> bytes:
    """Return the root over all the leaf hashes, in order: MTH of RFC 9162 section 2.1.1."""
    return Frontier().extend(leaf_hashes).root()


def _split_point(size: int) -> int:
    """Return the largest power of two smaller than ``size`` (≥ 2): where RFC 9162 parts a tree."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_proof(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Return PATH(index, D_n) of RFC 9162 section 2.1.3.1, lowest sibling first; ``index`` counts from 0.

    Entry number ``seq`` of a log, which counts from 1, has index ``seq`` − 1.
    """
    if not 0 <= index < len(leaf_hashes):
        raise TreeError(f"A tree of {len(leaf_hashes)} leaves has none at {index}.")
    start, end, upwards = 0, len(leaf_hashes), list[bytes]()
    while end - start > 1:
        middle = start + _split_point(end - start)
        if index < middle:
            upwards.append(root(leaf_hashes[middle:end]))
            end = middle
        else:
            upwards.append(root(leaf_hashes[start:middle]))
            start = middle
    return upwards[::-1]


def consistency_proof(leaf_hashes: Sequence[bytes], old_size: int) -> list[bytes]:
    """Return PROOF(old_size, D_n) of RFC 9162 section 2.1.4.1; empty when nothing was added."""
    if not 0 < old_size <= len(leaf_hashes):
        raise TreeError(f"A tree of {len(leaf_hashes)} leaves never had {old_size}.")
    start, end, upwards = 0, len(leaf_hashes), list[bytes]()
    while old_size != end:
        middle = start + _split_point(end - start)
        if old_size <= middle:
            upwards.append(root(leaf_hashes[middle:end]))
            end = middle
        else:
            upwards.append(root(leaf_hashes[start:middle]))
            start = middle
    if start > 0:  # At start 0 the subtree is the old tree itself, whose root the verifier has.
        upwards.append(root(leaf_hashes[start:end]))
    return upwards[::-1]


def _hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_BYTES for value in values)


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], tree_root: bytes
) -> bool:
    """Return whether ``proof`` shows the *leaf hash* at ``index`` of the tree (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size or not _hashes(leaf, tree_root, *proof):
        return False
    position, last, carried = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if position & 1 or position == last:
            carried = node_hash(sibling, carried)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            carried = node_hash(carried, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and carried == tree_root


def verify_consistency(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Return whether ``proof`` shows that the new tree begins with all of the old (RFC 9162 section 2.1.4.2)."""
    if not 0 < old_size <= new_size or not _hashes(old_root, new_root, *proof):
        return False
    if old_size == new_size:
        return not proof and old_root == new_root
    path = list(proof)
    if (
        old_size & (old_size - 1) == 0
    ):  # A perfect old tree is a subtree of the new one: its root comes first.
        path.insert(0, old_root)
    if not path:
        return False
    position, last = old_size - 1, new_size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old_carried = new_carried = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old_carried, new_carried = (
                node_hash(sibling, old_carried),
                node_hash(sibling, new_carried),
            )
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            new_carried = node_hash(new_carried, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and old_carried == old_root and new_carried == new_root
