"""A sponsor's pot gives what was promised, never more, and takes back exactly what falls away."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orders.ledger import post
from orders.ledger.post import Posting
from orders.matching import Pot, matched

T0 = datetime(2026, 11, 26, 20, tzinfo=UTC)


@dataclass
class Posted:
    """What the books remember of a posting."""

    kind: str
    source_id: str
    entries: Sequence[tuple[str, int]]


@dataclass
class Giver:
    """An order's books as matching sees them: gift parts and shares by beneficiary, and what is left of each."""

    gifts: dict[str, int] = field(default_factory=dict)
    shares: dict[str, dict[str, int]] = field(default_factory=dict)
    order_id: str = "ord_1"
    shopper_id: str = "shp_1"
    campaign_id: str = "cmp_1"
    stream_id: str = "str_1"
    currency: str = "CNY"
    placed_at: datetime = T0
    left_bp: int = 10_000
    gone: set[str] = field(default_factory=set)
    postings: list[Posting] = field(default_factory=list)
    posted: list[Posted] = field(default_factory=list)

    def raised_base(self, covers: str, skus: Collection[str] | None) -> dict[str, int]:
        base: Counter[str] = Counter(self.gifts if covers != "shares" else {})
        for sku, shares in self.shares.items():
            if covers != "gifts" and (skus is None or sku in skus):
                base.update(shares)
        return dict(base)

    def raised_base_left(self, covers: str, skus: Collection[str] | None) -> dict[str, int]:
        return {
            key: 0 if key in self.gone else minor * self.left_bp // 10_000
            for key, minor in self.raised_base(covers, skus).items()
        }

    def told(self, kind: str, source_id: str) -> None:
        """Begin a save in which this fact is posted."""
        entries = [("stripe/clearing", 1), ("platform/fees", -1)]
        self.postings = [
            Posting(
                self.campaign_id,
                self.stream_id,
                kind,
                source_id,
                self.order_id,
                self.currency,
                entries,
            )
        ]

    def keep(self, postings: Sequence[Posting]) -> None:
        for posting in postings:
            if posting.order_id == self.order_id:
                entries = tuple(posting.amounts())
                self.posted.append(Posted(posting.kind, posting.source_id, entries))

    def credited(self, match_id: str) -> Counter[str]:
        credited: Counter[str] = Counter()
        for posted in self.posted:
            if posted.source_id.endswith(f":{match_id}"):
                for account, minor in posted.entries:
                    credited[account] -= minor
        return credited


def pot(**given: Any) -> Pot:
    fields = {
        "id": "mat_1",
        "campaign_id": "cmp_1",
        "stream_id": None,
        "covers": "gifts",
        "skus": None,
        "ratio_bp": 10_000,
        "pot_minor": 1_000,
        "spent_minor": 0,
        "per_giver_max_minor": None,
        "starts_at": T0,
        "ends_at": T0 + timedelta(hours=1),
    }
    return Pot(**{**fields, **given})


def paid(pots: list[Pot], giver: Giver, source_id: str = "pi_1") -> list[Posting]:
    giver.told(post.DONATION, source_id)
    postings = matched(pots, giver)
    giver.keep(postings)
    return postings


@pytest.mark.parametrize(
    ("given_", "drawn"),
    [
        ({}, 300),
        ({"ratio_bp": 5_000}, 150),
        ({"ratio_bp": 3_333}, 99),
        ({"ratio_bp": 1}, None),
        ({"ratio_bp": 20_000}, 600),
        ({"spent_minor": 990}, 10),
        ({"spent_minor": 1_000}, None),
        ({"per_giver_max_minor": 40}, 40),
        ({"per_giver_max_minor": 40, "elsewhere": Counter({"shp_1": 30, "shp_2": 40})}, 10),
        ({"per_giver_max_minor": 40, "elsewhere": Counter({"shp_1": 41})}, None),
        ({"covers": "shares"}, 70),
        ({"covers": "shares", "skus": ["B"]}, 20),
        ({"covers": "shares", "skus": ["C"]}, None),
        ({"covers": "all"}, 370),
        ({"covers": "all", "skus": ["A"]}, 350),
        ({"stream_id": "str_1"}, 300),
        ({"stream_id": "str_2"}, None),
        ({"campaign_id": "cmp_2"}, None),
        ({"starts_at": T0 + timedelta(microseconds=1)}, None),
        ({"ends_at": T0}, None),
        ({"ends_at": T0 + timedelta(microseconds=1)}, 300),
        ({"ends_at": None}, 300),
    ],
)
def test_a_match_adds_what_it_promised(given_: dict[str, Any], drawn: int | None) -> None:
    giver = Giver({"ben_1": 200, "ben_2": 100}, {"A": {"ben_1": 50}, "B": {"ben_2": 20}})
    made = pot(**given_)
    before = made.spent_minor
    postings = paid([made], giver)
    assert [dict(posting.entries).get("sponsor/mat_1") for posting in postings] == (
        [] if drawn is None else [drawn]
    )
    assert made.spent_minor - before == (drawn or 0)
    for posting in postings:
        assert (posting.kind, posting.source_id) == ("match", "pi_1:mat_1")
        assert (posting.order_id, posting.stream_id) == ("ord_1", "str_1")


def test_what_is_added_is_divided_like_the_gifts_it_is_added_to() -> None:
    [posting] = paid([pot(ratio_bp=5_000)], Giver({"ben_1": 201, "ben_2": 101}))
    assert posting.amounts() == [
        ("beneficiary/ben_1", -101),
        ("beneficiary/ben_2", -50),
        ("sponsor/mat_1", 151),
    ]


def test_each_match_counts_the_gift_alone_and_they_post_in_their_order() -> None:
    pots = [pot(id="mat_b", ratio_bp=20_000), pot(id="mat_a"), pot(id="mat_c", ratio_bp=100)]
    postings = paid(pots, Giver({"ben_1": 300}))
    assert [posting.source_id for posting in postings] == ["pi_1:mat_b", "pi_1:mat_a", "pi_1:mat_c"]
    assert [made.spent_minor for made in pots] == [600, 300, 3]


def test_money_that_is_no_gift_and_no_sale_is_not_matched() -> None:
    giver, made = Giver({"ben_1": 300}), pot()
    for kind in (post.SURPLUS, post.STRIPE_FEE):
        giver.told(kind, "pi_1")
        assert matched([made], giver) == []


def test_a_gift_of_several_that_goes_back_takes_its_own_match_with_it() -> None:
    giver, made = Giver({"ben_1": 200, "ben_2": 100}), pot()
    paid([made], giver)
    giver.gone = {"ben_2"}
    giver.told(post.DONATION_REFUND, "re_1")
    [posting] = matched([made], giver)
    assert (posting.kind, posting.source_id) == ("match_reversed", "re_1:mat_1")
    assert posting.amounts() == [("beneficiary/ben_2", 100), ("sponsor/mat_1", -100)]
    giver.keep([posting])
    giver.gone = set()
    giver.told(post.DONATION_REFUND_FAILED, "re_1")
    [posting] = matched([made], giver)
    assert (posting.kind, posting.source_id) == ("match_restored", "re_1:mat_1")
    assert posting.amounts() == [("beneficiary/ben_2", -100), ("sponsor/mat_1", 100)]
    assert made.spent_minor == 300


def test_what_comes_back_gets_what_others_left_in_the_pot() -> None:
    first, second = Giver({"ben_1": 800}), Giver({"ben_1": 500}, order_id="ord_2")
    made = pot()
    paid([made], first)
    first.left_bp = 0
    first.told(post.DONATION_DISPUTE, "dp_1")
    first.keep(matched([made], first))
    assert made.spent_minor == 0
    paid([made], second, "pi_2")
    first.left_bp = 10_000
    first.told(post.DONATION_REINSTATE, "dp_1")
    first.keep(matched([made], first))
    assert (made.uses["ord_1"].net_minor, made.uses["ord_2"].net_minor) == (500, 500)
    assert first.credited("mat_1") == {"beneficiary/ben_1": 500, "sponsor/mat_1": -500}


def test_a_smaller_gift_draws_nothing_more_even_if_the_pot_has_room_again() -> None:
    first, second = Giver({"ben_1": 800}), Giver({"ben_1": 800}, order_id="ord_2")
    made = pot()
    paid([made], first)
    paid([made], second, "pi_2")
    assert made.uses["ord_2"].net_minor == 200
    second.left_bp = 0
    second.told(post.DONATION_DISPUTE, "dp_2")
    second.keep(matched([made], second))
    paid([made], Giver({"ben_1": 900}, order_id="ord_3"), "pi_3")
    second.left_bp = 10_000
    second.told(post.DONATION_REINSTATE, "dp_2")
    second.keep(matched([made], second))
    assert made.uses["ord_2"].net_minor == 0
    made.spent_minor -= made.uses.pop("ord_3").net_minor
    second.left_bp = 9_000
    second.told(post.DONATION_REFUND, "re_2")
    assert matched([made], second) == []


def test_a_gift_that_comes_and_goes_in_one_save_leaves_both_steps_in_the_books() -> None:
    giver, made = Giver({"ben_1": 300}, left_bp=5_000), pot()
    giver.told(post.DONATION, "pi_1")
    donated = giver.postings
    giver.told(post.DONATION_REFUND, "re_1")
    giver.postings = [*donated, *giver.postings]
    postings = matched([made], giver)
    assert [(each.kind, dict(each.entries)["sponsor/mat_1"]) for each in postings] == [
        ("match", 300),
        ("match_reversed", -150),
    ]
    assert [each.source_id for each in postings] == ["pi_1:mat_1", "re_1:mat_1"]


STEPS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["pay", "fall", "rise"]), st.integers(0, 10_000)),
    max_size=25,
)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Pot], list[Giver]]:
    minor = st.integers(1, 5_000)
    pots = [
        pot(
            id=f"mat_{number}",
            covers=draw(st.sampled_from(["gifts", "shares", "all"])),
            skus=draw(st.none() | st.just(["A"])),
            ratio_bp=draw(st.integers(1, 40_000)),
            pot_minor=draw(minor),
            per_giver_max_minor=draw(st.none() | st.integers(1, 2_000)),
        )
        for number in range(draw(st.integers(1, 3)))
    ]
    causes = st.dictionaries(st.sampled_from(["ben_1", "ben_2", "ben_3"]), minor, max_size=3)
    givers = [
        Giver(
            draw(causes),
            draw(st.dictionaries(st.sampled_from("AB"), causes, max_size=2)),
            order_id=f"ord_{number}",
            shopper_id=f"shp_{number % 2}",
        )
        for number in range(4)
    ]
    return pots, givers


@settings(max_examples=300, deadline=None)
@given(worlds(), STEPS)
def test_whatever_comes_and_goes_no_pot_and_no_giver_passes_its_bound(
    world: tuple[list[Pot], list[Giver]], steps: list[tuple[int, str, int]]
) -> None:
    pots, givers = world
    begun: set[int] = set()
    for number, (who, what, share_bp) in enumerate(steps):
        giver = givers[who]
        if (what == "pay") == (who in begun):
            continue
        begun.add(who)
        was_bp = giver.left_bp
        if what == "pay":
            giver.told(post.CAPTURE, f"pi_{number}")
        elif what == "fall":
            giver.left_bp = min(was_bp, share_bp)
            giver.told(post.DISPUTE, f"dp_{number}")
        else:
            giver.left_bp = max(was_bp, share_bp)
            giver.told(post.REINSTATE, f"dp_{number}")
        before = {each.id: use_of(each, giver) for each in pots}
        room = {each.id: each.left_minor(giver.shopper_id) for each in pots}
        postings = matched(pots, giver)
        giver.keep(postings)
        ids = [posting.source_id.partition(":")[2] for posting in postings]
        assert ids == sorted(ids)
        for each in pots:
            check_use(each, giver, what, before[each.id], room[each.id])
            check_pot(each, givers)


def use_of(made: Pot, giver: Giver) -> int | None:
    use = made.uses.get(giver.order_id)
    return None if use is None else use.net_minor


def check_use(made: Pot, giver: Giver, what: str, before: int | None, room: int) -> None:
    """What the order has of the pot now is what the contract says, worked out from the state alone."""
    base = sum(giver.raised_base(made.covers, made.skus).values())
    left = sum(giver.raised_base_left(made.covers, made.skus).values())
    now = use_of(made, giver)
    if what == "pay":
        assert (now or 0) == min(base * made.ratio_bp // 10_000, room)
        return
    if before is None:
        assert now is None
        return
    target = made.uses[giver.order_id].amount_minor * left // base
    assert now == (
        min(before, target) if what == "fall" else max(before, min(target, before + room))
    )
    credited = giver.credited(made.id)
    assert credited.pop(f"sponsor/{made.id}", 0) == -(now or 0)
    assert sum(credited.values()) == now
    assert min(credited.values(), default=0) >= 0


def check_pot(made: Pot, givers: list[Giver]) -> None:
    uses = made.uses.values()
    assert made.spent_minor == sum(use.net_minor for use in uses)
    assert 0 <= made.spent_minor <= made.pot_minor
    assert all(0 <= use.returned_minor <= use.amount_minor for use in uses)
    if made.per_giver_max_minor is not None:
        for shopper_id in {giver.shopper_id for giver in givers}:
            own = sum(use.net_minor for use in uses if use.shopper_id == shopper_id)
            assert own <= made.per_giver_max_minor
