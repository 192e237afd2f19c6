"""A name is what an audience reads; whatever would hide in it, turn it around or black out the screen is refused."""

import pytest

from stream_events.names import clean_name


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("  Peanuts \n", "Peanuts"),
        ("Cafe\u0301", "Café"),
        ("王家农场", "王家农场"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("Robert'); DROP TABLE students;--", "Robert'); DROP TABLE students;--"),
        ("{{7*7}} ${x}", "{{7*7}} ${x}"),
        ("مزرعة", "مزرعة"),
        ("🥜❤️", "🥜❤️"),
        ("é" * 80, "é" * 80),
        ("e\u0301" * 80, "é" * 80),
    ],
)
def test_readable_text_is_kept_in_normal_form(given: str, kept: str) -> None:
    assert clean_name(given) == kept


@pytest.mark.parametrize(
    "given",
    [
        "",
        "   ",
        "\u3164",  # Hangul filler
        "\u2800",  # blank braille
        "a\u202eb",  # right-to-left override
        "a\u2066b",  # isolate
        "a\u200bb",  # zero-width space
        "a\u200db",  # zero-width joiner
        "a\ufeffb",  # byte order mark
        "a\u00adb",  # soft hyphen
        "a\x00b",
        "a\x1b[31mb",
        "a\nb",
        "a\u2028b",
        "a\ud800",
        "a\ue000",
        "a\U000e0041",  # tag character
        "a" + "\u0301" * 6,
        "Z" + "\u0335\u0336\u0337\u0338\u0489" * 200,
        "\u0301a",
        "a" * 81,
        "e\u0301" * 81,
        "a" * 1_000_000,
    ],
)
def test_what_hides_reorders_or_floods_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="a name has"):
        clean_name(given)
