"""What a machine can say about a giver's words: blocked ones, ways to be reached, and too much of it.

A blocked word is found wherever it stands in the folded text, run together, drawn out, spaced out or starred. So it is
found in harmless longer words too; the allow-list lifts a hit that an allowed word covers to the letter. To find too
much is the cheaper mistake: a person looks at it, where nobody looks at what was let through.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from orders.messages import NAME_GRAPHEMES_MAX
from realtime.moderation.folding import Letter, fold, letters_of, squeeze
from realtime.moderation.graphemes import count_graphemes

Field = Literal["name", "message", "dedication"]
FlagKind = Literal["blocked", "long", "link", "email", "phone"]
# With these nothing is shown unless a host says so; the others only tell whoever decides.
GRAVE: Final[frozenset[FlagKind]] = frozenset({"blocked", "long"})

_WILD: Final = frozenset("*#")
# No word behind stars is longer; what is has to be looked at anyway.
STARRED_MAX: Final = 80
_DATE: Final = re.compile(r"\b(?:19|20)\d\d([-./])\d{1,2}\1\d{1,2}\b")
_EMAIL: Final = re.compile(
    r"[\w.+-]{1,64}\s?(?:@|[(\[{]\s?at\s?[)\]}])\s?[\w-]{1,63}"
    r"(?:(?:\.|\s?[(\[{]\s?dot\s?[)\]}]\s?)[\w-]{1,63}){1,4}"
)
_TOP_LEVELS: Final = (
    "com|net|org|info|biz|cn|hk|tw|jp|kr|ru|ua|de|fr|uk|eu|us|io|ai|app|dev|gg|ly|cc|tv|xyz|top|vip|site|shop|store"
    "|online|live|link|club|page|wang|中国|公司|网络"
)
_LINK: Final = re.compile(
    r"\b[a-z][a-z0-9+.-]{1,15}://\S|\bwww\s?[.。]\s?\w|\bt\.me/\w"
    r"|[\w-]{1,63}(?:\s?[.。．]|\s?[(\[{]\s?(?:dot|点)\s?[)\]}]|\s+dot|点)\s?"
    rf"(?:{_TOP_LEVELS})(?![^\W_])"
)
_HANDLE: Final = re.compile(
    r"(?:微信|薇信|威信|加微|加v|\bv信|\bvx|\bwx|\bqq|whatsapp|telegram)[\s号:是+]{0,4}[a-z0-9_-]{5,20}"
)
_DIGITS: Final = re.compile(r"\+?\(?\d(?:[\s().-]{0,3}\d){9,14}(?!\d)")
_NUMERALS: Final = str.maketrans("零〇一幺二三四五六七八九", "001123456789")


class Flag(NamedTuple):
    """What was found in which field: the list's word, or the place that looks like an address or a number."""

    field: Field
    word: str
    kind: FlagKind


@dataclass(frozen=True, slots=True)
class _Word:
    """A word of a list, folded: its runs are squeezed to ``letters``, each at least ``counts`` long."""

    written: str
    folded: str
    letters: str
    counts: tuple[int, ...]
    gaps: tuple[int, ...]
    literal: str | None


class WordFilter:
    """The rules of one stream, made ready to be asked many times."""

    def __init__(
        self, blocked: Sequence[str], allowed: Sequence[str], message_graphemes_max: int
    ) -> None:
        self._blocked = [_word(entry) for entry in blocked]
        self._allowed = [_word(entry) for entry in allowed]
        self._message_graphemes_max = message_graphemes_max

    def flags(self, name: str | None, message: str | None, dedication: str | None) -> list[Flag]:
        """Return all that is to be said about these words."""
        said: tuple[tuple[Field, str | None, int | None], ...] = (
            ("name", name, NAME_GRAPHEMES_MAX),
            ("message", message, self._message_graphemes_max),
            ("dedication", dedication, None),
        )
        found: list[Flag] = []
        for field, text, graphemes_max in said:
            if text is None:
                continue
            found += [Flag(field, word, "blocked") for word in self.blocked_in(text)]
            if graphemes_max is not None and (length := count_graphemes(text)) > graphemes_max:
                found.append(Flag(field, f"{length} > {graphemes_max}", "long"))
            found += [Flag(field, place, kind) for kind, place in contacts_in(text)]
        return found

    def blocked_in(self, text: str) -> list[str]:
        """Return the blocked words that are in ``text`` and not covered by an allowed one."""
        letters = letters_of(text)
        plain = _without_wild(letters)
        folded = "".join(letter.folded for letter in plain)
        squeezed, runs = _runs(plain)
        found = any(word.letters and word.letters in squeezed for word in self._blocked)
        covered = [
            span
            for word in (self._allowed if found else ())
            for span in _exact(word, plain, folded)
        ]
        literal = unicodedata.normalize("NFKC", text)
        starred = [
            part[:STARRED_MAX]
            for part in _parts(letters)
            if any(letter.folded in _WILD for letter in part)
        ]
        return [
            word.written
            for word in self._blocked
            if _is_hit(word, plain, squeezed, runs, covered)
            or (word.literal is not None and word.literal in literal)
            or any(_is_starred(word, part) for part in starred)
            or (any(word.gaps) and any(_exact(word, plain, folded)))
        ]


def contacts_in(text: str) -> Iterator[tuple[FlagKind, str]]:
    """Yield what looks like a link, a mail address or a number to call, at most one of each."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    if found := _EMAIL.search(plain):
        yield "email", found.group()
        plain = plain.replace(found.group(), " ")
    if found := _LINK.search(plain):
        yield "link", found.group()
    numbers = _DATE.sub(" / ", plain.translate(_NUMERALS))
    if found := _DIGITS.search(numbers) or _HANDLE.search(plain):
        yield "phone", found.group()


def is_usable(entry: str) -> bool:
    """Return whether a list may hold this: a single letter or digit would be in everything."""
    folded = fold(entry)
    return len(folded) > 1 or (len(folded) == 1 and (not folded.isascii() or len(entry) > 1))


def _word(entry: str) -> _Word:
    letters = _without_wild(letters_of(entry))
    folded = "".join(letter.folded for letter in letters)
    squeezed, runs = _runs(letters)
    plain = unicodedata.normalize("NFKC", entry)
    return _Word(
        written=entry,
        folded=folded,
        letters=squeezed,
        counts=tuple(last - first + 1 for first, last in runs),
        gaps=tuple(letter.gap for letter in letters[1:]),
        literal=None if any(letter.real for letter in letters) else plain,
    )


def _without_wild(letters: Sequence[Letter]) -> list[Letter]:
    """Return the letters alone: what may hide one is a gap here."""
    kept: list[Letter] = []
    gap = 0
    for letter in letters:
        gap = max(gap, letter.gap)
        if letter.folded in _WILD:
            gap = max(gap, 1)
            continue
        kept.append(Letter(letter.folded, letter.at, letter.real, gap if kept else 0))
        gap = 0
    return kept


def _runs(letters: Sequence[Letter]) -> tuple[str, list[tuple[int, int]]]:
    """Return the letters squeezed, and of each run the numbers of its first and last letter."""
    runs: list[tuple[int, int]] = []
    for n, letter in enumerate(letters):
        if runs and letters[n - 1].folded == letter.folded:
            runs[-1] = (runs[-1][0], n)
        else:
            runs.append((n, n))
    return squeeze("".join(letter.folded for letter in letters)), runs


def _parts(letters: Sequence[Letter]) -> Iterator[list[Letter]]:
    """Yield what stands together without a gap."""
    part: list[Letter] = []
    for letter in letters:
        if letter.gap and part:
            yield part
            part = []
        part.append(letter)
    if part:
        yield part


def _is_hit(
    word: _Word,
    letters: Sequence[Letter],
    squeezed: str,
    runs: Sequence[tuple[int, int]],
    covered: Sequence[tuple[int, int]],
) -> bool:
    if not word.letters or word.literal is not None:
        return False
    at = squeezed.find(word.letters)
    while at >= 0:
        found = runs[at : at + len(word.letters)]
        if all(
            last - first + 1 >= least
            for (first, last), least in zip(found, word.counts, strict=True)
        ):
            # The least that makes the word: a run at either end may be longer.
            first = found[0][1] - word.counts[0] + 1
            last = found[-1][0] + word.counts[-1] - 1 if len(found) > 1 else found[0][1]
            lifted = any(start <= first and last <= end for start, end in covered)
            real = any(letter.real for letter in letters[first : last + 1])
            # Of a run at either end, as many letters as the word has there must be within.
            starts = range(found[0][0], first + 1)
            ends = range(last, found[-1][1] + 1)
            if not lifted and real and _hangs_together(letters, starts, ends):
                return True
        at = squeezed.find(word.letters, at + 1)
    return False


def _hangs_together(letters: Sequence[Letter], starts: range, ends: range) -> bool:
    """Return whether letters with blanks between them are a word spaced out, and not parts of two words.

    Spaced out is what begins and ends where words do, with at least half of its pieces a single letter.
    """
    if all(letter.gap < 2 for letter in letters[starts[-1] + 1 : ends[0] + 1]):
        return True
    first = next(
        (n for n in reversed(starts) if n == 0 or letters[n].gap or not letters[n - 1].real), None
    )
    after = len(letters)
    last = next(
        (n for n in ends if n + 1 == after or letters[n + 1].gap or not letters[n + 1].real), None
    )
    if first is None or last is None:
        return False
    pieces = list(_parts(letters[first : last + 1]))
    single = sum(len({letter.folded for letter in piece}) == 1 for piece in pieces)
    return 2 * single >= len(pieces)


def _exact(word: _Word, letters: Sequence[Letter], text: str) -> Iterator[tuple[int, int]]:
    """Yield where a word stands in ``letters`` (``text`` in a row) just as the list has it.

    That is: not drawn out, not spaced out, no digits in it.
    """
    at = text.find(word.folded) if word.folded else -1
    while at >= 0:
        end = at + len(word.folded)
        gaps = tuple(letter.gap for letter in letters[at + 1 : end])
        if gaps == word.gaps and all(letter.real for letter in letters[at:end]):
            yield at, end - 1
        at = text.find(word.folded, at + 1)


def _is_starred(word: _Word, part: Sequence[Letter]) -> bool:
    """Return whether a word is hidden behind stars: its first letter and at least two, and half, of it are there."""
    for start in range(len(part) - len(word.folded) + 1 if word.folded else 0):
        if part[start].folded != word.folded[0]:
            continue
        shown = 0
        for letter, wanted in zip(part[start:], word.folded, strict=False):
            if letter.folded == wanted:
                shown += letter.real
            elif letter.folded not in _WILD:
                break
        else:
            if shown >= max(2, -(-len(word.folded) // 2)):
                return True
    return False
