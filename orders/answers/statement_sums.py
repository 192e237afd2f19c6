"""The headings of a statement: which movement of money stands under which plain word.

A farmer or beneficiary reads their account: each posting to it has one heading, and opening, headings and closing
add up. A host or campaign reads what was raised; their headings divide the same money by where it came from and
where it went.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from orders.answers.movements import BENEFICIARY, CLEARING, Movement, derive
from orders.answers.schemas import SumOut
from orders.answers.words import HEADINGS, Lang, said
from orders.ledger import post

_REFUND_KINDS: Final = frozenset(
    {post.REFUND, post.REFUND_FAILED, post.DONATION_REFUND, post.DONATION_REFUND_FAILED}
)
_DISPUTE_KINDS: Final = frozenset(
    {post.DISPUTE, post.REINSTATE, post.DONATION_DISPUTE, post.DONATION_REINSTATE}
)
_BACK_KINDS: Final = _REFUND_KINDS | _DISPUTE_KINDS

# Under which heading a posting stands in the statement of an account it touches.
ACCOUNT_HEADING: Final[Mapping[str, str]] = MappingProxyType(
    {
        post.CAPTURE: "shares",
        post.DONATION: "gifts",
        **dict.fromkeys(sorted(post.MATCH_KINDS), "matches"),
        post.PLEDGE: "pledges",
        **dict.fromkeys(sorted(_REFUND_KINDS), "refunds"),
        **dict.fromkeys(sorted(_DISPUTE_KINDS), "disputes"),
        post.STRIPE_FEE: "payment_fees",
        post.PAYOUT: "paid_out",
        post.SPONSOR_PAID: "sponsors_paid",
        **dict.fromkeys(sorted(post.SURPLUS_KINDS), "surplus"),
    }
)

_BANK: Final = "bank/clearing"
# Under which heading (kind of posting, class of account) stands in the statement of a campaign or host, and with
# which sign: money that came to us is a debit, what is credited to somebody a credit.
_SCOPE_RULES: Final[tuple[tuple[frozenset[str], str, str, int], ...]] = (
    (frozenset({post.CAPTURE, post.DONATION}), CLEARING, "gross", 1),
    (frozenset({post.CAPTURE}), "farmer", "shares_farmer", -1),
    (frozenset({post.CAPTURE}), BENEFICIARY, "shares_beneficiary", -1),
    (frozenset({post.CAPTURE}), "platform/fees", "fees", -1),
    (frozenset({post.CAPTURE}), "platform/shipping", "shipping", -1),
    (frozenset({post.DONATION}), BENEFICIARY, "gifts", -1),
    (post.MATCH_KINDS, BENEFICIARY, "matches", -1),
    (_BACK_KINDS, BENEFICIARY, "raised_back", -1),
    (_REFUND_KINDS, CLEARING, "refunds", 1),
    (_DISPUTE_KINDS, CLEARING, "disputes", 1),
    (frozenset({post.STRIPE_FEE}), CLEARING, "payment_fees", 1),
    (frozenset({post.PLEDGE}), "pledge", "pledges", -1),
    (frozenset({post.PAYOUT}), _BANK, "paid_out", 1),
    (frozenset({post.SPONSOR_PAID}), _BANK, "sponsors_paid", 1),
    (post.SURPLUS_KINDS, CLEARING, "surplus", 1),
)
_OWED: Final = (
    ("owed_farmers", "farmer", -1),
    ("owed_beneficiaries", BENEFICIARY, -1),
    ("owed_pledges", "pledge", -1),
    ("due_from_sponsors", "sponsor", 1),
)


def scope_headings(kind: str) -> frozenset[str]:
    """Return the headings that a posting of this kind can stand under in a campaign's statement."""
    return frozenset(heading for kinds, _, heading, _ in _SCOPE_RULES if kind in kinds)


def account_sums(by_kind: Mapping[str, int], lang: Lang) -> list[SumOut]:
    """Return the headings of an account's statement; ``by_kind`` is what each kind of posting credited."""
    sums: Counter[str] = Counter()
    for kind, amount_minor in by_kind.items():
        sums[ACCOUNT_HEADING[kind]] += amount_minor
    wanted = dict.fromkeys(ACCOUNT_HEADING.values())
    return [_sum(heading, sums[heading], lang) for heading in wanted]


def scope_sums(
    window: Sequence[Movement], every: Sequence[Movement], lang: Lang, *, owed: bool
) -> list[SumOut]:
    """Return the headings of a campaign's or host's statement over ``window``.

    With ``owed`` also what is open at its end, for which ``every`` movement from the first one on counts.
    """
    sums: Counter[str] = Counter()
    for kinds, account_class, heading, sign in _SCOPE_RULES:
        sums[heading] += sign * sum(
            each.amount_minor
            for each in window
            if each.kind in kinds and each.account_class == account_class
        )
    derived = derive(window, ())
    sums["raised"], sums["sales"] = derived.raised_minor, derived.sales_minor
    headings = [*dict.fromkeys(heading for _, _, heading, _ in _SCOPE_RULES), "raised", "sales"]
    if owed:
        for heading, account_class, sign in _OWED:
            headings.append(heading)
            sums[heading] = sign * sum(
                each.amount_minor for each in every if each.account_class == account_class
            )
    return [_sum(heading, sums[heading], lang) for heading in headings]


def _sum(heading: str, amount_minor: int, lang: Lang) -> SumOut:
    return SumOut(heading=heading, words=said(HEADINGS[heading], lang), amount_minor=amount_minor)
