"""What may stand as a name on a screen in front of an audience: readable text and nothing that hides or reorders it.

Names are shown as text, never as markup, so ``<script>`` is only ugly. But a bidi override can turn a name around,
a zero-width character can make two names look alike, and a thousand combining marks can black out the overlay.
"""

import unicodedata
from typing import Final

GRAPHEMES_MAX: Final = 80
CODE_POINTS_MAX: Final = 320
MARKS_IN_A_ROW_MAX: Final = 4

# Controls, format characters (bidi, zero-width), surrogates, private use, unassigned, line and paragraph breaks.
_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Letters and signs by their category, yet nothing is seen of them: the Hangul fillers and the blank braille cell.
_BLANKS: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")
_MARKS: Final = frozenset({"Mn", "Me"})


def clean_name(text: str) -> str:
    """Return ``text`` in Unicode's form NFC without outer blanks; raise ``ValueError`` for what is no name.

    Characters that people count are at most 80: combining marks do not count, but only four may follow each other.
    """
    if len(text) > CODE_POINTS_MAX:
        raise ValueError(f"a name has at most {GRAPHEMES_MAX} characters")
    name = unicodedata.normalize("NFC", text).strip()
    counted = marks = 0
    for character in name:
        category = unicodedata.category(character)
        if category in _HIDDEN_CATEGORIES or character in _BLANKS:
            raise ValueError("a name has no control, invisible or direction characters")
        if category in _MARKS:
            marks += 1
        else:
            counted, marks = counted + 1, 0
        if counted == 0 or marks > MARKS_IN_A_ROW_MAX:
            raise ValueError("a name has no heaps of combining marks, nor begins with one")
    if not 0 < counted <= GRAPHEMES_MAX:
        raise ValueError(f"a name has from 1 to {GRAPHEMES_MAX} characters")
    return name
