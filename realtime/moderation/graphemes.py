"""How long a text is as people count: a family emoji is one character, and so is a letter with its accents.

The rules of Unicode's extended grapheme clusters (UAX #29) as far as they matter in words that were cleaned before
(no controls, no line breaks). What is a pictograph is told by blocks, not by the full property table: no other
character of those blocks is ever joined.
"""

import unicodedata
from typing import Final

_ZWJ: Final = "\u200d"
_EXTENDING: Final = frozenset("\u200c\uff9e\uff9f")
_VIRAMAS: Final = frozenset("\u094d\u09cd\u0acd\u0b4d\u0c4d\u0d4d")
# Blocks (first and last code point) of scripts whose consonants a virama joins into one character.
_CONJUNCT_BLOCKS: Final = (
    (0x0915, 0x0939),
    (0x0958, 0x095F),
    (0x0978, 0x097F),
    (0x0995, 0x09B9),
    (0x0A95, 0x0AB9),
    (0x0B15, 0x0B39),
    (0x0C15, 0x0C39),
    (0x0D15, 0x0D3A),
)
_PICTOGRAPH_BLOCKS: Final = (
    (0x2190, 0x21FF),
    (0x2300, 0x23FF),
    (0x25A0, 0x27BF),
    (0x2B00, 0x2BFF),
    (0x1F000, 0x1F1E5),
    (0x1F200, 0x1F3FA),
    (0x1F400, 0x1FAFF),
)
_PICTOGRAPHS: Final = frozenset("\u00a9\u00ae\u203c\u2049\u2122\u2139\u3030\u303d\u3297\u3299")


def count_graphemes(text: str) -> int:
    """Return how many characters people count in ``text``."""
    counted = 0
    cluster = ""
    for character in text:
        if cluster and _continues(cluster, character):
            cluster += character
        else:
            counted, cluster = counted + 1, character
    return counted


def _continues(cluster: str, character: str) -> bool:
    """Return whether ``character`` belongs to what stands before it."""
    if _extends(character) or unicodedata.category(character) == "Mc":
        return True
    last = cluster[-1]
    if last == _ZWJ and _is_pictograph(character):
        return _is_pictograph(cluster[0])
    if _is_regional(character):
        return _is_regional(last) and sum(map(_is_regional, cluster)) % 2 == 1
    if _within(character, _CONJUNCT_BLOCKS):
        marks = cluster.rstrip(_ZWJ + "\u200c")
        return marks[-1:] in _VIRAMAS and _within(cluster[0], _CONJUNCT_BLOCKS)
    return _hangul_continues(ord(last), ord(character))


def _extends(character: str) -> bool:
    code = ord(character)
    return (
        character == _ZWJ
        or character in _EXTENDING
        or 0x1F3FB <= code <= 0x1F3FF  # skin tones
        or 0xE0020 <= code <= 0xE007F  # tags, of the flags of England and the like
        or unicodedata.category(character) in ("Mn", "Me")
    )


def _hangul_continues(last: int, code: int) -> bool:
    """Syllables that come as single letters: leading ones, vowels, trailing ones."""
    leads, vowels, trails = (
        0x1100 <= last <= 0x115F,
        0x1160 <= last <= 0x11A7,
        0x11A8 <= last <= 0x11FF,
    )
    whole = 0xAC00 <= last <= 0xD7A3
    open_ = whole and (last - 0xAC00) % 28 == 0
    if 0x1100 <= code <= 0x115F or 0xAC00 <= code <= 0xD7A3:
        return leads
    if 0x1160 <= code <= 0x11A7:
        return leads or vowels or open_
    return 0x11A8 <= code <= 0x11FF and (vowels or trails or whole)


def _is_pictograph(character: str) -> bool:
    return character in _PICTOGRAPHS or _within(character, _PICTOGRAPH_BLOCKS)


def _is_regional(character: str) -> bool:
    return 0x1F1E6 <= ord(character) <= 0x1F1FF


def _within(character: str, blocks: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= ord(character) <= last for first, last in blocks)
