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
_JOINERS: Final = "\u200c\u200d"


def clean_name(text: str, graphemes_max: int = GRAPHEMES_MAX) -> str:
    """Return ``text`` in Unicode's form NFC without outer blanks; raise ``ValueError`` for what is no name.

    Characters that people count are at most 80: combining marks do not count, but only four may follow each other.
    """
    if len(text) > CODE_POINTS_MAX:
        raise ValueError(f"a name has at most {graphemes_max} characters")
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
    if not 0 < counted <= graphemes_max:
        raise ValueError(f"a name has from 1 to {graphemes_max} characters")
    return name


def clean_words(text: str, code_points_max: int, *, lines: bool = False) -> str:
    """Return a few sentences in form NFC; raise ``ValueError`` for what must not stand on a screen.

    Blanks and line breaks become one blank each, unless ``lines`` keeps the breaks. The joiners stay: scripts and
    emoji need them.
    """
    rows = [" ".join(row.split()) for row in unicodedata.normalize("NFC", text).splitlines()]
    words = "\n".join(rows).strip() if lines else " ".join(filter(None, rows))
    marks = 0
    for character in words:
        category = unicodedata.category(character)
        unseen = category in _HIDDEN_CATEGORIES or character in _BLANKS
        if unseen and character not in (_JOINERS + "\n" if lines else _JOINERS):
            raise ValueError("a text has no control, invisible or direction characters")
        marks = marks + 1 if category in _MARKS else 0
        if marks > MARKS_IN_A_ROW_MAX:
            raise ValueError("a text has no heaps of combining marks")
    if not 0 < len(words) <= code_points_max:
        raise ValueError(f"a text has from 1 to {code_points_max} characters")
    return words
