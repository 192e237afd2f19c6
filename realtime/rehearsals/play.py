"""One rehearsal: how far it was played, and what its topics say there.

Numbers are the earlier night's; the look is tonight's: titles, goal, cards, pin, countdown and milestones are those of
the stream that rehearses, so that a host sees their own screens with real numbers on them. Of products that only the
earlier night sold, its own cards are added. Instants are moved to where they fall in the rehearsal.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from realtime.alerts.airing import rules_of
from realtime.alerts.choosing import Rules
from realtime.alerts.schemas import GroupSettings
from realtime.alerts.tables import AlertGroup
from realtime.board_states import COUNTED, board_state, read_cards, read_steps, step_state
from realtime.rehearsals.alerts import AlertPlay, GroupRules, Paid
from realtime.rehearsals.givers import Givers
from realtime.rehearsals.night import Night, Piece, StockTrack, read_night, read_piece, read_stock
from realtime.topics import States, rfc3339

PIECES_MAX: Final = 10
MAIN: Final = "main"
PARTS: Final = (
    "tally",
    "tonight",
    "stock",
    "status",
    "board",
    "milestones",
    "matches",
    "farmers",
    "names",
    "leaders",
    f"alerts/{MAIN}",
)
_HOUR: Final = timedelta(hours=1)
_NONE_YET: Final[Mapping[str, int]] = dict.fromkeys(COUNTED, 0)


@dataclass(slots=True)
class Tonight:
    """What the stream that rehearses looks like now: read again every second, because its host goes on working."""

    row: Row[Any]
    cards: list[dict[str, Any]]
    steps: list[Row[Any]]


@dataclass(slots=True)
class Play:
    """Everything between ``started_at`` and now, kept in memory and made anew from the night by whoever takes over."""

    stream_id: str
    started_at: datetime
    speed: int
    night: Night
    stock: StockTrack
    alerts: AlertPlay
    tonight: Tonight
    seq: int = 0
    tally: dict[str, Any] = field(default_factory=lambda: dict(_NONE_YET))
    givers: Givers = field(default_factory=Givers)
    farmers: dict[str, tuple[int, int]] = field(default_factory=dict)
    spent: dict[str, int] = field(default_factory=dict)
    reached: dict[str, datetime] = field(default_factory=dict)
    published: States = field(default_factory=dict)

    def here(self, at: datetime) -> datetime:
        """Return where an instant of the night falls in the rehearsal."""
        return self.started_at + (at - self.night.from_at) / self.speed

    async def play_until(self, sql: AsyncSession, position: datetime) -> bool:
        """Go on to an instant of the night; False if there was more in between than may be read at once."""
        for _ in range(PIECES_MAX):
            piece = await read_piece(sql, self.night, self.seq, position)
            self._add(piece)
            if piece.last:
                self.stock.play_until(position)
                self.alerts.play_until(self.here(position))
                return True
        return False

    def _add(self, piece: Piece) -> None:
        for tally in piece.tallies:
            self.seq, self.tally = tally.seq, {name: getattr(tally, name) for name in COUNTED}
            self.reach(tally.at)
        for paid in piece.paid:
            n = self.givers.add(paid.at, paid.amount_minor)
            at, kind = self.here(paid.at), "order" if paid.goods else "gift"
            self.alerts.take(Paid(n, at, kind, paid.sku, paid.units, paid.amount_minor))
        for farmer_id, units, income_minor in piece.farmers:
            held = self.farmers.get(farmer_id, (0, 0))
            self.farmers[farmer_id] = (held[0] + units, held[1] + income_minor)
        for match_id, spent_minor in piece.pots.items():
            self.spent[match_id] = self.spent.get(match_id, 0) + spent_minor

    def reach(self, at: datetime) -> None:
        """Remember since which instant of the night a milestone of tonight is reached."""
        for step in self.tonight.steps:
            if self._counted(step) >= step.threshold:
                self.reached.setdefault(step.id, self.here(max(at, self.night.from_at)))

    def _counted(self, step: Any) -> int:
        return int(self.tally["raised_minor" if step.counts == "money" else "units"])

    def states(
        self, position: datetime, switches: Mapping[str, bool], public_url: str, *, over: bool
    ) -> States:
        """Return what each topic says at an instant of the night that was played to."""
        night, row = self.night, self.tonight.row
        counted = {"seq": self.seq, **self.tally, "currency": night.currency}
        parts: States = {
            "tally": {**counted, "goal_minor": row.goal_minor},
            "tonight": self._tonight(position),
            "stock": {
                "items": self.stock.states(),
                "sold_out_at": self._instant(self.stock.sold_out_at)
                if self.stock.is_gone
                else None,
            },
            "status": self._status(over=over),
            "board": board_state(row, self._cards(), public_url),
            "milestones": self._milestones(),
            "matches": {"currency": night.currency, "items": list(self._pots(position))},
            "farmers": {"seq": self.seq, "currency": night.currency, "items": self._farmers()},
            "names": self.givers.names(),
            "leaders": self.givers.leaders(position, self.seq, night.currency),
            "alerts/main": self.alerts.state(switches, over=over),
        }
        return {topic_of(self.stream_id, part): state for part, state in parts.items()}

    def _tonight(self, position: datetime) -> dict[str, Any]:
        floor_at, base = self.night.floor_at, self.night.floor
        if floor_at is None or position < floor_at:
            floor_at, base = None, None
        sums = {name: self.tally[name] - getattr(base, name, 0) for name in COUNTED}
        return {
            "seq": self.seq,
            **sums,
            "currency": self.night.currency,
            "since_seq": getattr(base, "seq", 0),
            "since_at": self._instant(floor_at),
        }

    def _status(self, *, over: bool) -> dict[str, Any]:
        ended_at = self._instant(self.night.to_at) if over else None
        return status_state(
            self.tonight.row,
            "ended" if over else "live",
            live_at=rfc3339(self.started_at),
            ended_at=ended_at,
        )

    def _cards(self) -> list[dict[str, Any]]:
        own = self.tonight.cards
        known = {card["sku"] for card in own}
        return [*own, *(card for card in self.night.cards if card["sku"] not in known)]

    def _milestones(self) -> dict[str, Any]:
        steps = self.tonight.steps
        items = [step_state(step, self._counted(step), self.reached.get(step.id)) for step in steps]
        return {
            "seq": self.seq if steps else 0,
            "currency": self.night.currency,
            "items": items,
        }

    def _pots(self, position: datetime) -> Iterable[dict[str, Any]]:
        for pot in self.night.pots:
            if pot.ends_at is not None and pot.ends_at <= position - _HOUR:
                continue
            left_minor = pot.pot_minor - self.spent.get(pot.id, 0)
            within = pot.starts_at <= position and (pot.ends_at is None or pot.ends_at > position)
            yield {
                "id": pot.id,
                "sponsor": pot.sponsor,
                "sponsor_zh": pot.sponsor_zh,
                "covers": pot.covers,
                "ratio_bp": pot.ratio_bp,
                "pot_minor": pot.pot_minor,
                "left_minor": left_minor,
                "starts_at": self._instant(pot.starts_at),
                "ends_at": self._instant(pot.ends_at),
                "on": within and left_minor > 0,
            }

    def _farmers(self) -> list[dict[str, Any]]:
        items: dict[str, dict[str, Any]] = {}
        for card in self.night.cards:
            farmer = card["farmer"]
            units, income_minor = self.farmers.get(farmer["id"], (0, 0))
            item = {**farmer, "units": units, "income_minor": income_minor, "skus": []}
            items.setdefault(farmer["id"], item)["skus"].append(card["sku"])
        return list(items.values())

    def _instant(self, at: datetime | None) -> str | None:
        return None if at is None else rfc3339(self.here(at))


def topic_of(stream_id: str, part: str) -> str:
    """Return the name of a topic of a stream's rehearsal."""
    return f"rehearsal/{stream_id}/{part}"


def topics_of(stream_id: str) -> list[str]:
    """Return the names of all topics of a stream's rehearsal."""
    return [topic_of(stream_id, part) for part in PARTS]


def status_state(
    row: Any, state: str, *, live_at: str | None, ended_at: str | None
) -> dict[str, Any]:
    """Return a rehearsal's status; one that has ended and was never live says that nothing is rehearsed any more."""
    return {
        "state": state,
        "title": row.title,
        "title_zh": row.title_zh,
        "opens_at": None,
        "live_at": live_at,
        "ended_at": ended_at,
        "campaign_id": row.campaign_id,
        "campaign": row.campaign,
        "campaign_zh": row.campaign_zh,
    }


async def begin(sql: AsyncSession, rehearsal: Any) -> Play:
    """Return a rehearsal at its beginning, whenever that was."""
    night = await read_night(sql, rehearsal.of_stream_id, rehearsal.from_at, rehearsal.to_at)
    group = await _group_rules(sql, rehearsal.stream_id)
    return Play(
        rehearsal.stream_id,
        rehearsal.started_at,
        rehearsal.speed,
        night,
        await read_stock(sql, night),
        AlertPlay(group, night.currency, rehearsal.started_at),
        await read_tonight(sql, rehearsal.stream_id),
    )


async def read_tonight(sql: AsyncSession, stream_id: str) -> Tonight:
    """Return how the stream that rehearses looks now."""
    row = (await sql.execute(_TONIGHT, {"stream": stream_id})).one()
    cards, steps = await read_cards(sql, [stream_id]), await read_steps(sql, [stream_id])
    return Tonight(row, cards.get(stream_id, []), steps.get(stream_id, []))


async def _group_rules(sql: AsyncSession, stream_id: str) -> GroupRules:
    group = await sql.get(AlertGroup, (stream_id, MAIN), populate_existing=True)
    if group is not None:
        return GroupRules(rules_of(group), group.min_minor, group.large_minor, group.sound)
    default = GroupSettings()
    rules = Rules(
        default.show_ms,
        default.hold_s,
        default.hold_said_s,
        default.burst_per_s,
        default.waiting_max,
        default.compress == "auto",
    )
    return GroupRules(rules, default.min_minor, default.large_minor, default.sound)


_TONIGHT = text("""
SELECT s.id, s.state, s.title, s.title_zh, s.goal_minor, s.campaign_id,
       c.name AS campaign, c.name_zh AS campaign_zh, c.currency, b.pinned_sku, b.timer_what, b.timer_at
FROM streams s JOIN campaigns c ON c.id = s.campaign_id LEFT JOIN boards b ON b.stream_id = s.id
WHERE s.id = :stream
""")
