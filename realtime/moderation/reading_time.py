"""How long it takes to say a message: an estimate for whoever has to fit it between two products.

Hosts read Chinese, Japanese and Korean at about four characters a second, and letters at about fifteen, blanks and
marks included; a breath comes before each message.
"""

import unicodedata
from typing import Final

WIDE_PER_S: Final = 4
NARROW_PER_S: Final = 15
BREATH_S: Final = 1

_WIDE: Final = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO")


def reading_s(*texts: str | None) -> int:
    """Return whole seconds, rounded up, to say all of ``texts``; at least one."""
    said = " ".join(text for text in texts if text)
    wide = sum(unicodedata.name(character, "").startswith(_WIDE) for character in said)
    narrow = len(said) - wide
    # In sixtieths of a second, so that no fraction is lost before it is rounded.
    sixtieths = wide * (60 // WIDE_PER_S) + narrow * (60 // NARROW_PER_S)
    return BREATH_S + -(-sixtieths // 60)
