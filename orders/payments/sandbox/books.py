"""Everything the sandbox knows, in memory, and the one place where a call's changes become lasting.

Handlers change records and `put` them; `commit` writes all of one call's changes as one journal line. There is
no await between a handler's first change and its commit, so calls never interleave.
"""

import heapq
import os
from collections.abc import Callable, Iterator
from typing import Generic, TypeAlias, TypeVar

import msgspec

from orders.payments.sandbox.clock import Clock
from orders.payments.sandbox.journal import Journal
from orders.payments.sandbox.records import (
    Charge,
    CheckoutSession,
    Dispute,
    Event,
    EventData,
    EventRequest,
    IntentRecord,
    JournalLine,
    PaymentIntent,
    Refund,
    RefundRecord,
    SessionRecord,
    StoredAnswer,
    TokenRecord,
)

ANSWER_KEPT_S = 86_400

T = TypeVar("T")
Record: TypeAlias = IntentRecord | Charge | RefundRecord | TokenRecord | Dispute | SessionRecord
Snapshot: TypeAlias = PaymentIntent | Charge | Refund | Dispute | CheckoutSession


class Shelf(Generic[T]):
    """Objects of one kind by id, in order of creation, so that a page costs what the page holds."""

    def __init__(self, created_at_s: Callable[[T], int]) -> None:
        self.by_id: dict[str, T] = {}
        self._created_at_s = created_at_s
        self._ids: list[str] = []
        self._position: dict[str, int] = {}

    def put(self, object_id: str, item: T) -> None:
        if object_id not in self._position:
            self._position[object_id] = len(self._ids)
            self._ids.append(object_id)
        self.by_id[object_id] = item

    def __len__(self) -> int:
        return len(self._ids)

    def newest_first(self, created_gte_s: int, after_id: str | None) -> Iterator[T]:
        """From just past `after_id` (or the newest) back to `created_gte_s`. KeyError for an unknown `after_id`."""
        start = len(self._ids) if after_id is None else self._position[after_id]
        for position in range(start - 1, -1, -1):
            item = self.by_id[self._ids[position]]
            # Ids are put in the order of a clock that never goes back, so nothing older is in range.
            if self._created_at_s(item) < created_gte_s:
                return
            yield item


class Books:
    """The state of one test account."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self.clock = clock
        self.intents: Shelf[IntentRecord] = Shelf(lambda record: record.intent.created)
        self.charges: dict[str, Charge] = {}
        self.refunds: Shelf[RefundRecord] = Shelf(lambda record: record.refund.created)
        self.tokens: dict[str, TokenRecord] = {}
        self.unknown_cards_key = os.urandom(32)
        self.disputes: Shelf[Dispute] = Shelf(lambda dispute: dispute.created)
        self.disputes_of: dict[str, list[Dispute]] = {}
        self.sessions: Shelf[SessionRecord] = Shelf(lambda record: record.session.created)
        self.events: Shelf[Event] = Shelf(lambda event: event.created)
        self.answers: dict[str, StoredAnswer] = {}
        self.delivered: dict[str, None] = {}
        self.undelivered: dict[str, None] = {}
        self._waiting_intents: set[str] = set()
        self._waiting_refunds: set[str] = set()
        self._expiring: list[tuple[int, str]] = []
        self._journal = journal
        self._encoder = msgspec.json.Encoder()
        self._changed: dict[int, Record] = {}
        self._emitted: list[tuple[str, bytes]] = []
        for line in journal.replay():
            self._restore(line)

    def put(self, record: Record) -> None:
        """Keep the record and note that the running call changed it."""
        self._keep(record)
        self._changed[id(record)] = record

    def emit(self, event_type: str, snapshot: Snapshot) -> None:
        """Note an event with the object as it stands at this moment."""
        self._emitted.append((event_type, self._encoder.encode(snapshot)))

    def commit(self, request_id: str | None, answer: StoredAnswer | None) -> list[Event]:
        """Make the running call's changes lasting; returns its events, which may now be delivered."""
        if not (self._changed or self._emitted or answer):
            return []
        line = JournalLine(answer=answer)
        for record in self._changed.values():
            if isinstance(record, IntentRecord):
                line.intents.append(record)
            elif isinstance(record, Charge):
                line.charges.append(record)
            elif isinstance(record, RefundRecord):
                line.refunds.append(record)
            elif isinstance(record, Dispute):
                line.disputes.append(record)
            elif isinstance(record, SessionRecord):
                line.sessions.append(record)
            else:
                line.tokens.append(record)
        request = EventRequest(request_id, answer.key if answer else None)
        now_s = self.clock.now_s()
        for event_type, snapshot in self._emitted:
            data = EventData(msgspec.Raw(snapshot))
            line.events.append(Event(new_id("evt"), now_s, data, request, event_type))
        self._changed.clear()
        self._emitted.clear()
        self._journal.append(line)
        for event in line.events:
            self.events.put(event.id, event)
        if answer:
            self._keep_answer(answer)
        return line.events

    def discard(self) -> bool:
        """Forget the notes of a call that broke off; true if it had changed anything by then."""
        changed = bool(self._changed or self._emitted)
        self._changed.clear()
        self._emitted.clear()
        return changed

    def answer_of(self, key: str) -> StoredAnswer | None:
        """The stored answer under an Idempotency-Key, unless it is 24 h old and pruned."""
        oldest_s = self.clock.now_s() - ANSWER_KEPT_S
        while self.answers:
            first = next(iter(self.answers.values()))
            if first.at_s > oldest_s:
                break
            del self.answers[first.key]
        return self.answers.get(key)

    def note_delivered(self, event_id: str) -> None:
        self.delivered[event_id] = None
        self._journal.append(JournalLine(delivered=event_id))

    def note_undelivered(self, event_id: str) -> None:
        """The event was lost on purpose, or given up: it is never sent again, also after a restart."""
        self.undelivered[event_id] = None
        self._journal.append(JournalLine(undelivered=event_id))

    def advance_clock(self, ahead_s: int) -> None:
        self.clock.ahead_s += ahead_s
        self._journal.append(JournalLine(clock_ahead_s=self.clock.ahead_s))

    def close(self) -> None:
        self._journal.close()

    def waiting_intents(self) -> list[tuple[str, IntentRecord]]:
        """Those that settle by themselves at some time."""
        return [(key, self.intents.by_id[key]) for key in sorted(self._waiting_intents)]

    def waiting_refunds(self) -> list[tuple[str, RefundRecord]]:
        return [(key, self.refunds.by_id[key]) for key in sorted(self._waiting_refunds)]

    def expired_sessions(self, now_s: int) -> Iterator[SessionRecord]:
        """Those open ones whose time is over, each once."""
        while self._expiring and self._expiring[0][0] <= now_s:
            record = self.sessions.by_id[heapq.heappop(self._expiring)[1]]
            if record.session.status == "open":
                yield record

    def _keep(self, record: Record) -> None:
        if isinstance(record, IntentRecord):
            self.intents.put(record.intent.id, record)
            _note_waiting(self._waiting_intents, record.intent.id, record.settles_at_ms)
        elif isinstance(record, Charge):
            self.charges[record.id] = record
        elif isinstance(record, RefundRecord):
            self.refunds.put(record.refund.id, record)
            _note_waiting(self._waiting_refunds, record.refund.id, record.settles_at_ms)
        elif isinstance(record, Dispute):
            self._keep_dispute(record)
        elif isinstance(record, SessionRecord):
            self._keep_session(record)
        else:
            self.tokens[record.token.id] = record

    def _keep_dispute(self, dispute: Dispute) -> None:
        others = [
            known for known in self.disputes_of.get(dispute.charge, []) if known.id != dispute.id
        ]
        self.disputes_of[dispute.charge] = [*others, dispute]
        self.disputes.put(dispute.id, dispute)

    def _keep_session(self, record: SessionRecord) -> None:
        session = record.session
        if session.id not in self.sessions.by_id:
            heapq.heappush(self._expiring, (session.expires_at, session.id))
        self.sessions.put(session.id, record)

    def _keep_answer(self, answer: StoredAnswer) -> None:
        # Popped first, so that the order stays that of `at_s` and pruning may look at the first alone.
        self.answers.pop(answer.key, None)
        self.answers[answer.key] = answer

    def _restore(self, line: JournalLine) -> None:
        records: list[Record] = [*line.intents, *line.charges, *line.refunds, *line.tokens]
        records += [*line.disputes, *line.sessions]
        for record in records:
            self._keep(record)
        for event in line.events:
            self.events.put(event.id, event)
        if line.answer:
            self._keep_answer(line.answer)
        if line.delivered:
            self.delivered[line.delivered] = None
        if line.undelivered:
            self.undelivered[line.undelivered] = None
        if line.clock_ahead_s is not None:
            self.clock.ahead_s = line.clock_ahead_s


def _note_waiting(waiting: set[str], object_id: str, settles_at_ms: int | None) -> None:
    if settles_at_ms is None:
        waiting.discard(object_id)
    else:
        waiting.add(object_id)


def new_id(prefix: str) -> str:
    """Unguessable, and never from a counter that a restart could repeat."""
    return f"{prefix}_{os.urandom(12).hex()}"
