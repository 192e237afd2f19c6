"""One order's books while facts are applied to it: what is known of it, and what is to be written.

Pure, so that every twist of late, doubled and contradicting facts can be tried without a database. Settlement
loads it under the order's row lock, ``orders.rulings`` decides on it, and settlement writes what it gathered.

Money that sells nothing, because the order was paid already or its units are gone, is *surplus*: it is posted
apart from the sale, owed back from its first moment by a row in ``refunds``, and never seen in a total.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from orders.ledger import accounts, post
from orders.ledger.post import Posting
from orders.lifecycle import Act, Ignore, Input, OrderState, Quarantine, verdict
from orders.order_parts import GiftLine, Left, Parts, Returned, SoldLine, units_minor
from orders.order_rows import (
    DUPLICATE,
    Attempt,
    DisputeRow,
    Posted,
    RefundRow,
    StockMove,
    Unbelievable,
)
from orders.payments.facts import DisputeFact, PaymentFact
from orders.stripe_fees import known_fee_minor

# What happens to money that came, by the kinds that it is posted under: of goods, of gifts, of what sold nothing.
Turn = Literal["refund", "refund_failed", "dispute", "reinstate"]
_KINDS: Final[Mapping[Turn, tuple[str, str, str]]] = MappingProxyType(
    {
        "refund": (post.REFUND, post.DONATION_REFUND, post.SURPLUS_REFUND),
        "refund_failed": (
            post.REFUND_FAILED,
            post.DONATION_REFUND_FAILED,
            post.SURPLUS_REFUND_FAILED,
        ),
        "dispute": (post.DISPUTE, post.DONATION_DISPUTE, post.SURPLUS_DISPUTE),
        "reinstate": (post.REINSTATE, post.DONATION_REINSTATE, post.SURPLUS_REINSTATE),
    }
)


@dataclass(slots=True)
class OrderBooks:
    """An order as loaded, and what facts made of it since."""

    order_id: str
    stream_id: str
    campaign_id: str
    shopper_id: str
    placed_at: datetime
    live: bool
    currency: str
    total_minor: int
    state: OrderState
    received_minor: int
    refunded_minor: int
    disputed_minor: int
    attempts: list[Attempt]
    gift: bool = False  # An order without goods.
    parts: Parts = field(default_factory=Parts)
    refunds: list[RefundRow] = field(default_factory=list)
    disputes: list[DisputeRow] = field(default_factory=list)
    posted: list[Posted] = field(default_factory=list)
    steps: list[tuple[OrderState, OrderState]] = field(default_factory=list)
    postings: list[Posting] = field(default_factory=list)
    move: StockMove | None = None
    restocking: list[Mapping[str, int]] = field(default_factory=list)
    money_changed: bool = False

    @property
    def lines(self) -> Sequence[SoldLine]:
        """Return the goods."""
        return self.parts.lines

    @property
    def gifts(self) -> Sequence[GiftLine]:
        """Return the gifts in it."""
        return self.parts.gifts

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

    def find(self, source_id: str, *kinds: str) -> Posted | None:
        """Return what was posted for this fact as one of these kinds."""
        for posted in self.posted:
            if posted.source_id == source_id and posted.kind in kinds:
                return posted
        return None

    def sale_payment(self) -> str | None:
        """Return the payment that bought the order, or gave its gifts."""
        for posted in self.posted:
            if posted.kind in {post.CAPTURE, post.DONATION}:
                return posted.source_id
        return None

    def own_payment(self) -> str | None:
        """Return the payment that the order's state speaks of: the sale's, or the late one that found no stock."""
        for posted in self.posted:
            if posted.kind == post.SURPLUS and self.is_own(posted.source_id):
                return posted.source_id
        return self.sale_payment()

    def paid_by(self, fact: PaymentFact) -> bool:
        """Return whether this payment is in the books."""
        kinds = (post.CAPTURE, post.DONATION, post.SURPLUS)
        return self.find(fact.payment_intent_id, *kinds) is not None

    def has_money(self) -> bool:
        """Return whether any payment is in the books."""
        return any(
            posted.kind in {post.CAPTURE, post.DONATION, post.SURPLUS} for posted in self.posted
        )

    def is_surplus(self, payment_intent_id: str) -> bool:
        """Return whether this payment sold nothing; raise when it is not in the books at all."""
        if self.find(payment_intent_id, post.SURPLUS):
            return True
        if payment_intent_id == self.sale_payment():
            return False
        raise Unbelievable("payment_not_in_books")

    def is_own(self, payment_intent_id: str) -> bool:
        """Return whether this is the money the order's state speaks of, and not a second payment of it."""
        return not any(
            row.payment_intent_id == payment_intent_id and row.reason == DUPLICATE
            for row in self.refunds
        )

    def ruling_on(self, happened: Input) -> Act | Ignore:
        """Return what the order does about it; raise when it cannot have happened."""
        ruled = verdict(self.state, happened, gift=self.gift)
        if isinstance(ruled, Quarantine):
            raise Unbelievable(ruled.reason)
        return ruled

    def step(self, ruled: Act | Ignore | Quarantine) -> bool:
        """Do what was ruled; return whether the order is in another state now."""
        if not isinstance(ruled, Act):
            return False
        if ruled.moves:
            self.move = ruled.moves[0]
        if ruled.next_state is self.state:
            return False
        self.steps.append((self.state, ruled.next_state))
        self.state = ruled.next_state
        return True

    def has_become(self, state: OrderState) -> bool:
        """Return whether what was ruled here took the order into a state."""
        return any(to_state is state for _, to_state in self.steps)

    def restock(self, row: RefundRow) -> None:
        """Have the refund's units put back on sale: those of its lines, or all that no other refund names.

        Another refund said of its own units whether they go back; a torn bag is not sold again with the rest.
        """
        units: Counter[str] = Counter()
        if row.lines:
            units.update(_units(row))
        else:
            units.update({line.sku: line.quantity for line in self.lines})
            for other in self.refunds:
                if other.state != "FAILED":
                    units.subtract(_units(other))
        self.move = "T"
        self.restocking.append(+units)

    # What is left of the money

    def _standing(self, payment_intent_id: str) -> list[RefundRow | DisputeRow]:
        refunds = (row for row in self.refunds if row.state == "SUCCEEDED")
        disputes = (row for row in self.disputes if row.state in {"OPEN", "LOST"})
        both: list[RefundRow | DisputeRow] = [*refunds, *disputes]
        return [row for row in both if row.payment_intent_id == payment_intent_id]

    def returned(self, *, pending: bool = False) -> Returned:
        """Return all that stands returned of the sale; with ``pending`` also what is asked of Stripe."""
        payment = self.sale_payment()
        rows = self._standing(payment) if payment else []
        if pending:
            rows += [
                row
                for row in self.refunds
                if row.state in {"CREATING", "PENDING"} and row.payment_intent_id == payment
            ]
        units: Counter[str] = Counter()
        gift_minor = 0
        for row in rows:
            if isinstance(row, RefundRow):
                gift_minor += row.gift_minor or 0
                units.update(_units(row))
        # What more came back of a target than it ever had is taken from the rest.
        gift_minor = min(gift_minor, self.parts.gifts_minor)
        of_units = sum(units_minor(line, units[line.sku]) for line in self.lines)
        total = sum(row.amount_minor for row in rows)
        return Returned(units, gift_minor, max(0, total - gift_minor - of_units))

    def left(self, *, pending: bool = False) -> Left:
        """Return what is left of each part of the sale (and is not ``pending`` either); nothing where nothing was sold."""
        if self.sale_payment() is None:
            everything = Returned(rest_minor=self.parts.goods_minor + self.parts.gifts_minor)
            return self.parts.left(everything)
        return self.parts.left(self.returned(pending=pending))

    def raised_base(self, covers: str, skus: Collection[str] | None = None) -> dict[str, int]:
        """Return what the order raises for each beneficiary when all of it is kept.

        ``covers``: ``gifts``, ``shares`` (of the lines, or of those of ``skus``) or ``all``.
        """
        only = None if skus is None else frozenset(skus)
        return self.parts.raised(self.parts.whole(), covers, only)

    def raised_base_left(self, covers: str, skus: Collection[str] | None = None) -> dict[str, int]:
        """Return what is left of ``raised_base`` after returns; nothing while nothing was sold."""
        only = None if skus is None else frozenset(skus)
        return self.parts.raised(self.left(), covers, only)

    def lost_minor(self) -> int:
        """Return what lost disputes over the order's own money took for good."""
        return sum(row.amount_minor for row in self.disputes if self._own_in(row, "LOST"))

    def open_disputes(self) -> list[DisputeRow]:
        """Return the disputes over the order's own money that are neither won nor lost."""
        return [row for row in self.disputes if self._own_in(row, "OPEN")]

    def _own_in(self, row: DisputeRow, state: str) -> bool:
        return row.state == state and self.is_own(row.payment_intent_id)

    # Postings

    def sell(self, payment_intent_id: str) -> None:
        """Post a payment for what the order is made of."""
        left, parts = self.parts.whole(), self.parts
        self._exchange(
            (post.CAPTURE, post.DONATION),
            payment_intent_id,
            before=None,
            after=left,
            goods=_owed(parts.goods_accounts(left)),
            gifts=_owed(parts.gift_accounts(left)),
        )

    def turn(self, turn: Turn, source_id: str, before: "Standing") -> None:
        """Post what changed since ``before``: money left us, or came back, with its shares."""
        goods_kind, gift_kind, surplus_kind = _KINDS[turn]
        if before.surplus_minor is not None:
            now = self.standing(before.payment_intent_id)
            assert now.surplus_minor is not None
            due_minor = max(0, before.surplus_minor) - max(0, now.surplus_minor)
            lost_minor = max(0, -now.surplus_minor) - max(0, -before.surplus_minor)
            self._enter(
                surplus_kind,
                source_id,
                {accounts.DUE_BACK: due_minor, accounts.PLATFORM_FEES: lost_minor},
            )
            return
        left, parts = self.left(), self.parts
        assert before.left is not None
        self._exchange(
            (goods_kind, gift_kind),
            source_id,
            before=before.left,
            after=left,
            goods=_change(parts.goods_accounts(before.left), parts.goods_accounts(left)),
            gifts=_change(parts.gift_accounts(before.left), parts.gift_accounts(left)),
        )

    def standing(self, payment_intent_id: str) -> "Standing":
        """Return how a payment stands, to post afterwards what a fact changed about it."""
        if not self.is_surplus(payment_intent_id):
            return Standing(payment_intent_id, left=self.left())
        gone = sum(row.amount_minor for row in self._standing(payment_intent_id))
        return Standing(payment_intent_id, surplus_minor=self.total_minor - gone)

    def _exchange(
        self,
        kinds: tuple[str, str],
        source_id: str,
        *,
        before: Left | None,
        after: Left,
        goods: Mapping[str, int],
        gifts: Mapping[str, int],
    ) -> None:
        had, has = (before.units if before else {}), after.units
        moved = {sku: abs(has.get(sku, 0) - had.get(sku, 0)) for sku in sorted({*had, *has})}
        self._enter(
            kinds[0],
            source_id,
            goods,
            lines=[(sku, units) for sku, units in moved.items() if units],
            orders=bool(has) - bool(had),
        )
        given, gives = (before.gifts_minor if before else 0), after.gifts_minor
        self._enter(kinds[1], source_id, gifts, gifts=bool(gives) - bool(given))

    def take_surplus(self, payment_intent_id: str) -> None:
        """Post a payment that sells nothing: all of it is due back."""
        self._enter(post.SURPLUS, payment_intent_id, {accounts.DUE_BACK: -self.total_minor})

    def post_fee(self, fact: PaymentFact) -> bool:
        """Post Stripe's fee of a payment, once it is known; return whether this is news."""
        fee_minor = known_fee_minor(fact)
        if not fee_minor or self.find(fact.payment_intent_id, post.STRIPE_FEE):
            return False
        borne: Mapping[str, int] = {accounts.STRIPE_FEES: fee_minor}
        if fact.payment_intent_id == self.sale_payment():
            borne = self.parts.fee_accounts(fee_minor)
        self._enter(post.STRIPE_FEE, fact.payment_intent_id, borne)
        return True

    def post_dispute_fee(self, fact: DisputeFact) -> bool:
        """Post what a dispute costs us so far: it is ours to bear, and may be given back when it is won."""
        fee_minor = known_fee_minor(fact)
        if fee_minor is None:
            return False
        sources = {fact.dispute_id, f"{fact.dispute_id}:{fact.status}"}
        known_minor = sum(
            -part
            for posted in self.posted
            if posted.kind == post.STRIPE_FEE and posted.source_id.split(":")[0] == fact.dispute_id
            for account, part in posted.entries
            if account == accounts.STRIPE_CLEARING
        )
        fresh = sorted(source for source in sources if not self.find(source, post.STRIPE_FEE))
        if fee_minor == known_minor or not fresh:
            return False
        self._enter(post.STRIPE_FEE, fresh[0], {accounts.STRIPE_FEES: fee_minor - known_minor})
        return True

    def _enter(
        self,
        kind: str,
        source_id: str,
        parts: Mapping[str, int],
        *,
        lines: Sequence[tuple[str, int]] = (),
        orders: int = 0,
        gifts: int = 0,
    ) -> None:
        """Post these parts against what is at Stripe; nothing where they are all 0."""
        if not any(parts.values()):
            return
        posting = Posting(
            campaign_id=self.campaign_id,
            stream_id=self.stream_id,
            kind=kind,
            source_id=source_id,
            order_id=self.order_id,
            currency=self.currency,
            entries=[(accounts.STRIPE_CLEARING, -sum(parts.values())), *parts.items()],
            lines=lines,
            orders=orders,
            gifts=gifts,
        )
        self.postings.append(posting)
        self.posted.append(Posted(kind, source_id, tuple(posting.amounts())))


def _units(row: RefundRow) -> Counter[str]:
    units: Counter[str] = Counter()
    for sku, quantity, _ in row.lines:
        units[sku] += quantity
    return units


class Standing(NamedTuple):
    """How one payment stands: what is left of the sale, or of money that is due back (below 0: lost)."""

    payment_intent_id: str
    left: Left | None = None
    surplus_minor: int | None = None


def _owed(owned: Mapping[str, int]) -> dict[str, int]:
    return {account: -owned[account] for account in sorted(owned) if owned[account]}


def _change(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    return {
        account: before.get(account, 0) - after.get(account, 0)
        for account in sorted({*before, *after})
    }
