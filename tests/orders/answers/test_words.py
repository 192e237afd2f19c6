"""Every word of the books has its plain words, in both languages: a new kind without them must not ship."""

from string import Formatter

import pytest

from orders.answers.explain_words import SENTENCES, STATES, entries_said, sentence
from orders.answers.statement_sums import ACCOUNT_HEADING, scope_headings
from orders.answers.words import HEADINGS, KINDS, Words, money
from orders.ledger import accounts, post
from orders.lifecycle import OrderState


def test_each_kind_of_posting_and_each_state_has_words() -> None:
    assert KINDS.keys() == post.KINDS
    assert STATES.keys() == {state.value for state in OrderState}
    assert ACCOUNT_HEADING.keys() == post.KINDS
    assert {kind for kind in post.KINDS if not scope_headings(kind)} == set()
    used = {
        *ACCOUNT_HEADING.values(),
        *(each for kind in post.KINDS for each in scope_headings(kind)),
    }
    assert used <= HEADINGS.keys()


@pytest.mark.parametrize("words", [KINDS, HEADINGS, STATES, SENTENCES])
def test_both_languages_are_there_and_say_the_same_fields(words: dict[str, Words]) -> None:
    for english, chinese in words.values():
        assert english.isascii() or "×" in english
        assert not chinese.isascii()
        fields = [
            {each[1] for each in Formatter().parse(text)} - {None} for text in (english, chinese)
        ]
        assert fields[0] == fields[1], english


def test_amounts_are_written_by_their_currency() -> None:
    assert [money(-5, "CNY"), money(1940, "JPY"), money(1940, "KWD")] == [
        "CNY -0.05",
        "JPY 1940",
        "KWD 1.940",
    ]


def test_entries_are_told_in_words_for_each_account_there_is() -> None:
    entries = [["farmer/frm_1", -1940], [accounts.STRIPE_CLEARING, 1940]]
    assert (
        entries_said(entries, "CNY", "en")
        == "farmer frm_1 was credited CNY 19.40; money at Stripe was debited CNY 19.40."
    )
    assert (
        entries_said(entries, "CNY", "zh")
        == "农户 frm_1贷记 CNY 19.40；Stripe 待结算款借记 CNY 19.40。"
    )
    fixed = sorted(accounts._FIXED)
    owned = [f"{kind}/x_1" for kind in sorted(accounts._OWNED)]
    for lang in ("en", "zh"):
        told = entries_said([[name, 1] for name in (*fixed, *owned)], "CNY", lang)  # type: ignore[arg-type]
        assert "/" not in told


def test_a_sentence_writes_amounts_out_and_shows_what_is_not_there() -> None:
    data = {"amount_minor": 2990, "reason": None, "refund_state": "PENDING"}
    assert (
        sentence("refund", data, "CNY", "en")
        == "A refund of CNY 29.90 was decided on (–); it is PENDING."
    )
    braces = {"sku": "{total.__class__}", "quantity": 2, "amount_minor": 1}
    assert "{total.__class__}" in sentence("line", braces, "CNY", "en")
