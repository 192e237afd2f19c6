"""The wire contract of the gateway: what a viewer says once, and the frames it gets.

A state frame is absolute and names its topic, epoch and version, so a viewer keeps the newest and never adds. The
announcer encodes it once; the same bytes then pass through Redis and every gateway to every screen. A server frame
is not masked, so even its websocket framing is the same for all viewers and is built once here.

A viewer speaks once: ``{"ticket": "…", "have": {topic: [epoch, version]}}``. ``have`` may be left out; with it a viewer
resumes, and gets of the snapshot only what it does not have. Every end tells what to do next:

====  =======================  =====================================================================================
1012  ``restart``              the gateway goes; come back with a jittered pause and ``have``
4008  ``slow_consumer at=MS``  too long undrained; ``MS`` is the ``at`` of the last frame written: what is newer was
                               not. Come back with a jittered pause and ``have``; states are absolute, nothing is lost
4401  ``unauthorized``         no good ticket came in time; ask for another one
4401  ``revoked``              the key behind the ticket has ended; another ticket wants another key
====  =======================  =====================================================================================
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import msgspec
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode

CHANNEL: Final = "frames"
SUBPROTOCOL: Final = "stream-events.v1"
HEARTBEAT_S: Final = 5

TOPICS_MAX: Final = 20
TOPIC_CHARS_MAX: Final = 96
TICKET_CHARS_MAX: Final = 3_072
MESSAGE_BYTES_MAX: Final = (
    8_192  # What a viewer may send: its ticket and what it has fit, little else.
)
FRAMES_PER_MESSAGE_MAX: Final = 256

# Close codes of ours; the library adds the standard ones (1009 for an oversize message, 1012 for a restart).
UNAUTHORIZED: Final = 4401
REVOKED: Final = "revoked"
SLOW_CONSUMER: Final = 4008

KINDS: Final = ("overlay", "shop", "farmer", "console", "moderator")

# A rehearsal has topics of its own, so that play money never stands under a real stream's name.
_TOPIC: Final = re.compile(
    r"(?:(?:stream|rehearsal)/[\w-]{1,64}/"
    r"(?:tally|tonight|stock|status|board|milestones|matches|farmers|leaders|names|review|alerts/[a-z0-9-]{1,24})"
    r"|campaign/[\w-]{1,64}/tally|farmer/[\w-]{1,64}/sales)",
    re.ASCII,
)


def owner_of(topic: str) -> tuple[str, str] | None:
    """Return what a topic is about, as ``("stream", id)``; None for a text that names no topic."""
    if len(topic) > TOPIC_CHARS_MAX or _TOPIC.fullmatch(topic) is None:
        return None
    scope, scope_id, _ = topic.split("/", 2)
    return scope, scope_id


def part_of(topic: str) -> str:
    """Return what of its owner a topic tells: the name of its shape in ``realtime.shapes``."""
    return topic.split("/")[2]


@dataclass(frozen=True, slots=True)
class Pass:
    """What a good ticket lets a viewer see, as what it is counted, and which key's end is its own end, if any's."""

    kind: str
    topics: tuple[str, ...]
    key_id: str | None = None


Have = Annotated[dict[str, tuple[int, int]], msgspec.Meta(max_length=TOPICS_MAX)]


class FirstMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The only thing a viewer ever says: its ticket, and the epoch and version of each topic it shows already."""

    ticket: str
    have: Have = {}


class Hello(msgspec.Struct, frozen=True, tag_field="t", tag="hello"):
    """The gateway's first word. ``epoch`` is when this gateway started; ``build`` names the pages it belongs to."""

    epoch: int
    heartbeat_s: int
    build: str
    at: int


class Beat(msgspec.Struct, frozen=True, tag_field="t", tag="beat"):
    """A sign of life: without one for a while, a viewer marks its numbers as old and reconnects."""

    at: int


class State(msgspec.Struct, frozen=True, tag_field="t", tag="state"):
    """A topic's whole state. ``seq`` is the ledger number a tally equals; other topics have none."""

    topic: str
    epoch: int
    version: int
    at: int
    seq: int | None
    state: dict[str, Any]


class _Head(msgspec.Struct, frozen=True, tag_field="t", tag="state"):
    """The part of a state frame that a gateway looks at; what the state says is not its business."""

    topic: str
    epoch: int
    version: int
    at: int


@dataclass(frozen=True, slots=True)
class Frame:
    """A state frame on its way: what orders it among its topic's frames, and its bytes."""

    topic: str
    epoch: int
    version: int
    at: int
    payload: bytes = field(repr=False)

    @property
    def age(self) -> tuple[int, int]:
        """Return what must grow: a newer epoch replaces all, and within one only a newer version counts."""
        return self.epoch, self.version

    def is_news_to(self, have: Mapping[str, tuple[int, int]]) -> bool:
        """Return whether a viewer that has ``have`` must be sent this: unless it has it, or a newer one of its epoch."""
        known = have.get(self.topic)
        return known is None or known[0] != self.epoch or known[1] < self.version


def encode(message: Hello | Beat | State) -> bytes:
    """Return a message as JSON."""
    return msgspec.json.encode(message)


def state_frame(topic: str, epoch: int, version: int, at_ms: int, state: dict[str, Any]) -> Frame:
    """Encode a topic's state, once for all who will see it."""
    payload = encode(State(topic, epoch, version, at_ms, state.get("seq"), state))
    return Frame(topic, epoch, version, at_ms, payload)


def pack(frames: list[Frame]) -> list[bytes]:
    """Return the messages for the bus that carry ``frames``, a bounded number in each."""
    return [
        b"["
        + b",".join(frame.payload for frame in frames[first : first + FRAMES_PER_MESSAGE_MAX])
        + b"]"
        for first in range(0, len(frames), FRAMES_PER_MESSAGE_MAX)
    ]


def unpack(message: bytes) -> list[Frame]:
    """Return the frames in a message of ``pack``; raises ``msgspec.DecodeError`` for anything else."""
    frames = []
    for raw in msgspec.json.decode(message, type=list[msgspec.Raw]):
        head = msgspec.json.decode(raw, type=_Head)
        frames.append(Frame(head.topic, head.epoch, head.version, head.at, bytes(raw)))
    return frames


def on_wire(payload: bytes) -> bytes:
    """Return the bytes of an unmasked text frame, the same for every viewer."""
    return WireFrame(Opcode.TEXT, payload).serialize(mask=False)


def first_message(text: str | bytes) -> FirstMessage | None:
    """Return a viewer's first message, or None for whatever else it sent."""
    if not isinstance(text, str):
        return None
    try:
        return msgspec.json.decode(text, type=FirstMessage)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
