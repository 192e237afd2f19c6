"""What a text looks like when nobody plays tricks: one letter for all that look like it, nothing between letters.

``FUCK``, ``ｆｕｃｋ``, ``fцck`` or ``f.u.c.k`` are to be found by one entry in a list. Both the text and the words of
the list are folded, so it need not be a good spelling, only the same one. Our own small table: letters that pass for
Latin ones in the scripts people have at hand, and the digits and signs that stand in for letters.
"""

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

# Each group folds to its first letter; they are in lower case, as ``casefold`` leaves them.
_ALIKE: Final = (
    "aаαɑᴀａ4@ª",
    "bвβьʙ8",
    "cсϲᴄ¢",
    "dԁđᴅ",
    "eеεєҽᴇ3€ə",
    "fƒꜰ",
    "gɡɢ9",
    "hһнʜհħ",
    "iіιıɪlӏ1!|ᴉʟł",
    "jјᴊ",
    "kкκᴋ",
    "mмᴍ",
    "nηпɴոŋ",
    "oоοσօᴏ0øө",
    "pрρᴘ",
    "qԛզ",
    "rгʀ",
    "sѕꜱ5$",
    "tтτᴛ7",
    "uυսᴜцμ",
    "vνѵᴠ",
    "wԝωшщᴡ",
    "xхχ",
    "yуγʏ¥",
    "zᴢ",
)
_TO_LATIN: Final = {alike: group[0] for group in _ALIKE for alike in group[1:]}
# Accents of Latin, Greek and Cyrillic letters, and marks that strike through or circle them. Those of other scripts
# are letters to their readers and stay.
_ACCENTS: Final = (
    (0x0300, 0x036F),
    (0x1AB0, 0x1AFF),
    (0x1DC0, 0x1DFF),
    (0x20D0, 0x20FF),
    (0xFE20, 0xFE2F),
)
# Letters in squares and circles that compatibility does not undo, and those that flags are made of.
_BOXED: Final = (0x1F130, 0x1F150, 0x1F170, 0x1F1E6)
_WILD: Final = "*#"
_SENTENCE_MARKS: Final = "。！？，、；：…"


@dataclass(frozen=True, slots=True)
class Letter:
    """A folded letter: where it stood, whether it was one by itself, and what came before it.

    ``gap`` is 0 right after the letter before, 1 after signs, 2 after blanks or the end of a sentence. ``real`` is
    false of digits and signs that only stand in for a letter.
    """

    folded: str
    at: int
    real: bool
    gap: int


def fold(text: str) -> str:
    """Return the skeleton of ``text``: folded letters, each run of the same as one, without what is between."""
    return squeeze("".join(letter.folded for letter in letters_of(text)))


def squeeze(folded: str) -> str:
    """Return ``folded`` with each run of a letter as one."""
    return "".join(letter for n, letter in enumerate(folded) if n == 0 or letter != folded[n - 1])


def letters_of(text: str) -> list[Letter]:
    """Return the folded letters of ``text``; ``*`` and ``#`` within a word stay, for they may hide a letter."""
    found: list[Letter] = []
    gap = 0
    for at, character in enumerate(text):
        if unicodedata.category(character) in ("Cf", "Cc") and not character.isspace():
            continue
        folded = _fold_character(character)
        if folded is None:
            continue
        letters, real = folded
        if not letters:
            hard = character.isspace() or character in _SENTENCE_MARKS
            gap = max(gap, 2 if hard else 1)
            continue
        for each in letters:
            found.append(Letter(each, at, real, gap if found else 0))
            gap = 0
    return found


@lru_cache(maxsize=16_384)
def _fold_character(character: str) -> tuple[str, bool] | None:
    """Return the letters a character folds to and whether it is one; no letters for a gap, None for a mark."""
    code = ord(character)
    for first in _BOXED:
        if first <= code < first + 26:
            character = chr(ord("a") + code - first)
    plain = unicodedata.normalize("NFKC", character).casefold()
    parts = unicodedata.normalize("NFKD", plain)
    kept = "".join(part for part in parts if not _is_accent(part))
    if parts and not kept:
        return None
    letters = "".join(
        _TO_LATIN.get(part, part)
        for part in unicodedata.normalize("NFC", kept).casefold()
        if part in _TO_LATIN or part in _WILD or unicodedata.category(part)[0] in "LNM"
    )
    return letters, unicodedata.category(plain[:1] or " ")[0] in "LM"


def _is_accent(character: str) -> bool:
    code = ord(character)
    return 0xFE00 <= code <= 0xFE0F or any(first <= code <= last for first, last in _ACCENTS)
