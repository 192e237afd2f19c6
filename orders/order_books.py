"""One order's books while facts are applied to it: what is known of it, and what is to be written.

Pure, so that every twist of late, doubled and contradicting facts can be tried without a database. Settlement
loads it under the order's row lock, ``orders.rulings`` decides on it, and settlement writes what it gathered.

Money that sells nothing, because the order was paid already or its units are gone, is *surplus*: it is posted
apart from the sale, owed back from its first moment by a row in ``refunds``, and never seen in a total.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from orders.ledger import accounts, post
from orders.ledger.post import Posting
from orders.lifecycle import Act, Ignore, Input, Move, OrderState, Quarantine, verdict
from orders.payments.facts import PaymentFact
from stream_events.split import ShareRule, largest_remainder, split

DUPLICATE: Final = "duplicate"
LATE_NO_STOCK: Final = "late_no_stock"
EXTERNAL: Final = "external"  # Made at Stripe's dashboard, not by us.

# Whose money surplus is until it went back: ours to give, nobody's income.
SURPLUS_ACCOUNT: Final = accounts.PLATFORM_FEES


class Result(StrEnum):
    """What became of a fact."""

    APPLIED = "applied"
    KNOWN = "known"
    IGNORED = "ignored"
    QUARANTINED = "quarantined"


class Ruling(NamedTuple):
    """A fact's result and the reason for it, which is empty where the result says all."""

    result: Result
    reason: str = ""


class Unbelievable(Exception):  # noqa: N818 - what is wrong with the fact.
    """The fact contradicts our books: count it nowhere and call a person. The text is the reason."""


@dataclass(slots=True)
class Attempt:
    """A row of ``pay_attempts``."""

    n: int
    state: str
    payment_intent_id: str | None
    changed: bool = False


@dataclass(slots=True)
class RefundRow:
    """A row of ``refunds``."""

    id: str
    payment_intent_id: str
    amount_minor: int
    reason: str
    state: str
    stripe_refund_id: str | None
    new: bool = False
    changed: bool = False


@dataclass(frozen=True, slots=True)
class SoldLine:
    """A line of the order with the terms it was bought on."""

    sku: str
    quantity: int
    amount_minor: int
    farmer_id: str
    beneficiary_id: str
    rule: ShareRule


@dataclass(frozen=True, slots=True)
class Posted:
    """A ledger transaction of the order."""

    kind: str
    source_id: str
    entries: tuple[tuple[str, int], ...]

    @property
    def amount_minor(self) -> int:
        """Return how much money came or went."""
        return abs(
            sum(part for account, part in self.entries if account == accounts.STRIPE_CLEARING)
        )


@dataclass(slots=True)
class OrderBooks:
    """An order as loaded, and what facts made of it since."""

    order_id: str
    stream_id: str
    campaign_id: str
    live: bool
    currency: str
    total_minor: int
    state: OrderState
    received_minor: int
    refunded_minor: int
    disputed_minor: int
    attempts: list[Attempt]
    lines: list[SoldLine] = field(default_factory=list)
    refunds: list[RefundRow] = field(default_factory=list)
    posted: list[Posted] = field(default_factory=list)
    steps: list[tuple[OrderState, OrderState]] = field(default_factory=list)
    postings: list[Posting] = field(default_factory=list)
    lost: set[str] = field(
        default_factory=set
    )  # Disputes that ended against us: the ledger cannot tell.
    move: Move | None = None
    money_changed: bool = False

    def attempt_of(self, fact: PaymentFact) -> Attempt | None:
        """Return the attempt that made this PaymentIntent, by its id or, if that was lost, by our metadata."""
        for attempt in self.attempts:
            if attempt.payment_intent_id == fact.payment_intent_id:
                return attempt
        said = fact.metadata.get("attempt")
        for attempt in self.attempts:
            if attempt.payment_intent_id is None and str(attempt.n) == said:
                return attempt
        return None

    def set_attempt(self, fact: PaymentFact, state: str) -> bool:
        attempt = self.attempt_of(fact)
        assert attempt is not None
        if attempt.state == state and attempt.payment_intent_id == fact.payment_intent_id:
            return False
        attempt.state, attempt.payment_intent_id = state, fact.payment_intent_id
        attempt.changed = True
        return True

    def find(self, source_id: str, *kinds: str) -> Posted | None:
        for posted in self.posted:
            if posted.source_id == source_id and posted.kind in kinds:
                return posted
        return None

    def paid_by(self, fact: PaymentFact) -> bool:
        return self.find(fact.payment_intent_id, post.CAPTURE, post.SURPLUS) is not None

    def has_money(self) -> bool:
        return any(posted.kind in {post.CAPTURE, post.SURPLUS} for posted in self.posted)

    def is_surplus(self, payment_intent_id: str) -> bool:
        """Return whether this payment sold nothing; raise when it is not in the books at all."""
        if self.find(payment_intent_id, post.SURPLUS):
            return True
        if self.find(payment_intent_id, post.CAPTURE):
            return False
        raise Unbelievable("payment_not_in_books")

    def is_own(self, payment_intent_id: str) -> bool:
        """Return whether this is the money the order's state speaks of, and not a second payment of it."""
        return not any(
            row.payment_intent_id == payment_intent_id and row.reason == DUPLICATE
            for row in self.refunds
        )

    def ruling_on(self, happened: Input) -> Act | Ignore:
        ruled = verdict(self.state, happened)
        if isinstance(ruled, Quarantine):
            raise Unbelievable(ruled.reason)
        return ruled

    def step(self, ruled: Act | Ignore | Quarantine) -> bool:
        if not isinstance(ruled, Act):
            return False
        if ruled.moves:
            self.move = ruled.moves[0]
        if ruled.next_state is self.state:
            return False
        self.steps.append((self.state, ruled.next_state))
        self.state = ruled.next_state
        return True

    def shares(self) -> list[tuple[str, int]]:
        entries = [(accounts.STRIPE_CLEARING, self.total_minor)]
        for line in self.lines:
            shares = split(line.amount_minor, line.quantity, line.rule)
            entries += [
                (accounts.farmer(line.farmer_id), -shares.farmer_minor),
                (accounts.beneficiary(line.beneficiary_id), -shares.beneficiary_minor),
                (accounts.PLATFORM_FEES, -shares.fees_minor),
            ]
        return entries

    def lost_minor(self) -> int:
        """Return what lost disputes over the sale took for good."""
        return sum(
            posted.amount_minor
            for posted in self.posted
            if posted.kind == post.DISPUTE and posted.source_id in self.lost
        )

    def open_disputes(self) -> set[str]:
        """Return the disputes over the sale that are neither won nor lost."""
        begun = {posted.source_id for posted in self.posted if posted.kind == post.DISPUTE}
        won = {posted.source_id for posted in self.posted if posted.kind == post.REINSTATE}
        return begun - won - self.lost

    def units(self) -> list[tuple[str, int]]:
        units: Counter[str] = Counter()
        for line in self.lines:
            units[line.sku] += line.quantity
        return sorted(units.items())

    def kept(self) -> dict[str, int]:
        """Return what is left of the sale on each account that has a share in it."""
        kept: Counter[str] = Counter()
        for posted in self.posted:
            if posted.kind in post.SALE_KINDS:
                for account, amount_minor in posted.entries:
                    if account != accounts.STRIPE_CLEARING:
                        kept[account] -= amount_minor
        return {account: kept[account] for account in sorted(kept)}

    def give_back(self, kind: str, source_id: str, amount_minor: int, *, surplus: bool) -> Posted:
        """Post money that leaves us: each share gives in proportion to what it still has, we what is missing."""
        kept = {} if surplus else {a: left for a, left in self.kept().items() if left > 0}
        shared_minor = min(sum(kept.values()), amount_minor)
        parts = largest_remainder(shared_minor, list(kept.values())) if kept else []
        entries = [
            (accounts.STRIPE_CLEARING, -amount_minor),
            *zip(kept, parts, strict=True),
            (SURPLUS_ACCOUNT, amount_minor - shared_minor),
        ]
        before = sum(self.kept().values())
        undone = not surplus and before > 0 >= before - amount_minor
        return self.enter(kind, source_id, entries, lines=self.units() if undone else ())

    def reverse(self, done: Posted, kind: str) -> None:
        """Post the opposite of ``done``: the money came back to us."""
        sale = kind in post.SALE_KINDS
        before = sum(self.kept().values())
        after = before + done.amount_minor
        entries = [(account, -amount_minor) for account, amount_minor in done.entries]
        revived = sale and before <= 0 < after
        self.enter(kind, done.source_id, entries, lines=self.units() if revived else ())

    def post_fee(self, fact: PaymentFact) -> bool:
        if not fact.fee_minor or self.find(fact.payment_intent_id, post.STRIPE_FEE):
            return False
        entries = [
            (accounts.STRIPE_FEES, fact.fee_minor),
            (accounts.STRIPE_CLEARING, -fact.fee_minor),
        ]
        self.enter(post.STRIPE_FEE, fact.payment_intent_id, entries)
        return True

    def enter(
        self,
        kind: str,
        source_id: str,
        entries: Sequence[tuple[str, int]],
        lines: Sequence[tuple[str, int]] = (),
    ) -> Posted:
        posting = Posting(
            campaign_id=self.campaign_id,
            stream_id=self.stream_id,
            kind=kind,
            source_id=source_id,
            order_id=self.order_id,
            currency=self.currency,
            entries=entries,
            lines=lines,
        )
        posted = Posted(kind, source_id, tuple(posting.amounts()))
        self.postings.append(posting)
        self.posted.append(posted)
        return posted
