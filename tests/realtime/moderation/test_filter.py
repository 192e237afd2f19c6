"""The filter as a table: what must be found however it is dressed up, and what must be left alone."""

import time

import pytest

from realtime.moderation.filter import WordFilter, contacts_in, is_usable
from realtime.moderation.folding import fold
from realtime.moderation.graphemes import count_graphemes

BLOCKED = (
    "fuck",
    "ass",
    "penis",
    "shit",
    "scam",
    "傻逼",
    "他妈的",
    "сука",
    "8964",
    "kill",
    "hell no",
)
ALLOWED = (
    "class",
    "glass",
    "Scunthorpe",
    "grass",
    "Assam",
    "passion",
    "傻逼山",
    "pen is",
    "skills",
)

HITS = {
    "plain": "fuck",
    "capitals": "FUCK you",
    "within": "motherfucker",
    "full width": "ＦＵＣＫ",
    "Cyrillic letters": "fцск",
    "Greek and Cyrillic": "аss",
    "accents": "fück",
    "marks on top": "f\u0336u\u0336c\u0336k",
    "mathematical": "𝓯𝓾𝓬𝓴",
    "circled": "ⓕⓤⓒⓚ",
    "squared": "🅵🆄🅲🅺",
    "flag letters": "🇫🇺🇨🇰",
    "small capitals": "ꜰᴜᴄᴋ",
    "dots": "f.u.c.k",
    "dashes": "f-u-c-k",
    "underscores": "f_u_c_k",
    "one dash": "fu-ck",
    "spaces": "f u c k",
    "space after one": "f uck",
    "spaces and dots": "f. u. c. k.",
    "after another word": "if f u c k",
    "emoji between": "f😀u😀c😀k",
    "joiners": "f\u200du\u200cc\u200dk",
    "drawn out": "fuuuuuckkkkk",
    "drawn out double": "asssss",
    "one star": "f*ck",
    "two stars": "f**k",
    "hash": "sh#t",
    "stars between": "f*u*c*k",
    "leet": "sh1t",
    "leet and sign": "a$$",
    "leet four": "4ss",
    "leet exclamation": "sh!t",
    "ell for eye": "shlt",
    "long s": "\u017fcam",
    "in brackets": "(scam)",
    "quoted": "'scam'",
    "double ell": "kill",
    "in a name of two": "Hans Scamander-Ass",
    "Chinese": "你是傻逼吗",
    "Chinese spaced": "傻 逼",
    "Chinese dotted": "傻.逼",
    "Chinese emoji": "傻😂逼",
    "Chinese starred between": "傻*逼",
    "Chinese three": "他妈的!",
    "Chinese three spaced": "他 妈 的",
    "traditional form by compatibility": "傻\ufe0f逼",
    "Russian": "сука",
    "Russian in Latin": "cyka",
    "Russian capitals": "СУКА",
    "digits": "8964",
    "digits full width": "８９６４",
    "two words": "hell no",
    "two words run together": "hellno",
    "beside an allowed word": "class ass",
    "an allowed word drawn out is none": "cl a s s ass",
    "an allowed word with a digit is none": "cla5s",
    "not allowed run together": "penis",
}
MISSES = {
    "nothing": "hello everybody",
    "allowed": "first class",
    "allowed capitals": "FIRST CLASS",
    "allowed within": "classical glasses",
    "the town": "Greetings from Scunthorpe",
    "tea": "Assam tea with passion",
    "two words": "this hit song",
    "was hit": "it was hit by rain",
    "the pen": "the pen is red",
    "as usual": "as sure as sunrise",
    "one s": "as",
    "bass with one": "bas",
    "price": "455 bags for 5175",
    "date": "2026-11-26",
    "stars": "***** five stars",
    "bold": "**great** peanuts",
    "hashtag": "#peanuts #1",
    "one letter and stars": "f***",
    "split in two": "fu ck",
    "kil": "kilo",
    "skills": "great skills",
    "scan": "scan the code",
    "Chinese one": "真傻",
    "Chinese other end": "逼真",
    "Chinese sentence": "他好傻。逼真的画面",
    "Chinese place": "傻逼山",
    "Chinese greeting": "主播加油，花生真好吃！",
    "Japanese": "がんばれ、落花生",
    "Korean": "땅콩 맛있어요",
    "Arabic": "السلام عليكم",
    "Hindi": "नमस्ते दोस्तों",
    "Thai": "สวัสดี",
    "Russian": "скука бывает",
    "digits": "8 9 6 5",
    "emoji": "👨‍👩‍👧‍👦🥜❤️",
    "empty of letters": "…!?",
}


@pytest.fixture(scope="module")
def words() -> WordFilter:
    return WordFilter(BLOCKED, ALLOWED, 200)


@pytest.mark.parametrize("text", HITS.values(), ids=HITS)
def test_what_must_be_found(words: WordFilter, text: str) -> None:
    assert words.blocked_in(text), fold(text)


@pytest.mark.parametrize("text", MISSES.values(), ids=MISSES)
def test_what_must_be_left_alone(words: WordFilter, text: str) -> None:
    assert words.blocked_in(text) == [], fold(text)


CONTACTS = {
    "https://example.com/x": "link",
    "HTTPS://EXAMPLE.COM": "link",
    "www.peanuts.example": "link",
    "buy at peanuts.com now": "link",
    "peanuts．com": "link",
    "peanuts。cn": "link",
    "peanuts (dot) com": "link",
    "peanuts dot com": "link",
    "花生点com": "link",
    "t.me/peanuts": "link",
    "li.na@example.com": "email",
    "li.na ＠ example.com": "email",
    "li (at) example (dot) com": "email",
    "13800138000": "phone",
    "138-0013-8000": "phone",
    "+86 138 0013 8000": "phone",
    "+1 (555) 123-4567": "phone",
    "１３８００１３８０００": "phone",
    "幺三八零零一三八零零零": "phone",
    "加微信: peanut_2026": "phone",
    "QQ 1234567": "phone",
    "vx:abc12345": "phone",
}
NO_CONTACTS = (
    "2026-11-26",
    "2026.11.26 20:00",
    "1,000 bags for ¥29,900.00",
    "I love it.So good",
    "peanuts... come on",
    "Well done.Common sense",
    "第一百二十三号",
    "@LiNa thank you",
    "9999999",
    "微信支付真方便",
    "a.m. or p.m.",
)


@pytest.mark.parametrize(("text", "kind"), CONTACTS.items())
def test_ways_to_be_reached_are_found(text: str, kind: str) -> None:
    assert kind in {found for found, _ in contacts_in(text)}


@pytest.mark.parametrize("text", NO_CONTACTS)
def test_what_is_no_way_to_be_reached_is_left_alone(text: str) -> None:
    assert list(contacts_in(text)) == []


def test_each_field_is_looked_at_and_only_the_message_is_bounded() -> None:
    words = WordFilter(["bad"], [], 5)
    flags = words.flags("Mr Bad", "b a d!!", "for bad@example.com")
    assert {(flag.field, flag.kind) for flag in flags} == {
        ("name", "blocked"),
        ("message", "blocked"),
        ("message", "long"),
        ("dedication", "blocked"),
        ("dedication", "email"),
    }
    assert words.flags(None, None, None) == []
    assert words.flags("n" * 32, "👨‍👩‍👧‍👦" * 5, "d" * 100) == []
    assert [flag.kind for flag in words.flags("n" * 33, "👨‍👩‍👧‍👦" * 6, None)] == ["long", "long"]


@pytest.mark.parametrize(
    ("entry", "usable"),
    [
        ("a", False),
        ("1", False),
        ("!", False),
        ("aa", True),
        ("傻", True),
        ("...", False),
        ("no", True),
    ],
)
def test_an_entry_that_would_be_in_everything_is_no_entry(entry: str, usable: bool) -> None:
    assert is_usable(entry) is usable


LENGTHS = {
    "": 0,
    "peanut": 6,
    "花生": 2,
    "e\u0301": 1,
    "ạ̈": 1,
    "👨‍👩‍👧‍👦": 1,
    "👨‍👩‍👧‍👦👩🏽‍🚀": 2,
    "👍🏽": 1,
    "❤️‍🔥": 1,
    "1️⃣": 1,
    "🇨🇳": 1,
    "🇨🇳🇺🇸🇨": 3,
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f": 1,
    "a\u200db": 2,
    "क्षि": 1,
    "नमस्ते": 3,
    "நி": 1,
    "สวัสดี": 4,
    "한국": 2,
    "\u1112\u1161\u11ab\u1100\u116e\u11a8": 2,
    "ｶﾞ": 1,
    "가\u11a8나": 2,
}


@pytest.mark.parametrize(("text", "length"), LENGTHS.items())
def test_characters_are_counted_as_people_count_them(text: str, length: int) -> None:
    assert count_graphemes(text) == length


def test_five_hundred_words_and_the_worst_text_take_no_time() -> None:
    words = WordFilter([f"a{'b' * (n % 20)}c{n}x" for n in range(500)], ["abc"] * 500, 200)
    started = time.perf_counter()
    for text in (
        "a" * 320,
        "*" * 320,
        "ab" * 160,
        "a*" * 160,
        "a b c " * 50,
        "1" * 320,
        "@." * 160,
    ):
        words.flags(None, text, None)
    assert time.perf_counter() - started < 1.0
