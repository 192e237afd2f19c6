"""The bytes on the wire are those the library would have sent, and nothing but topics passes for a topic."""

import msgspec
import pytest
from websockets.frames import Frame as WireFrame
from websockets.streams import StreamReader

from realtime.frames import (
    FRAMES_PER_MESSAGE_MAX,
    Beat,
    Hello,
    encode,
    on_wire,
    owner_of,
    pack,
    state_frame,
    unpack,
)


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536, 100_000])
def test_a_wire_frame_is_read_back_as_the_text_it_carries(length: int) -> None:
    payload = b"x" * length
    reader = StreamReader()
    reader.feed_data(on_wire(payload))
    reader.feed_eof()
    parsing = WireFrame.parse(reader.read_exact, mask=False)
    with pytest.raises(StopIteration) as parsed:
        next(parsing)
    frame = parsed.value.value
    assert (frame.opcode.name, frame.data, frame.fin) == ("TEXT", payload, True)
    assert {frame.rsv1, frame.rsv2, frame.rsv3} == {False}


def test_a_state_names_what_orders_it_and_the_ledger_number_it_equals() -> None:
    frame = state_frame("stream/str_1/tally", 5, 7, 99, {"seq": 3, "raised_minor": 2990})
    assert msgspec.json.decode(frame.payload) == {
        "t": "state",
        "topic": "stream/str_1/tally",
        "epoch": 5,
        "version": 7,
        "at": 99,
        "seq": 3,
        "state": {"seq": 3, "raised_minor": 2990},
    }
    other = state_frame("stream/str_1/stock", 5, 7, 99, {"items": []})
    assert msgspec.json.decode(other.payload)["seq"] is None


def test_what_is_packed_is_unpacked_byte_for_byte() -> None:
    frames = [
        state_frame("stream/str_1/tally", 1, version, 2, {"title": '花生, "5 kg" ]},['})
        for version in range(2 * FRAMES_PER_MESSAGE_MAX + 1)
    ]
    messages = pack(frames)
    assert len(messages) == 3
    assert [frame for message in messages for frame in unpack(message)] == frames
    assert pack([]) == []


def test_hello_and_beat() -> None:
    assert msgspec.json.decode(encode(Hello(1, 5, "b", 2))) == {
        "t": "hello",
        "epoch": 1,
        "heartbeat_s": 5,
        "build": "b",
        "at": 2,
    }
    assert msgspec.json.decode(encode(Beat(3))) == {"t": "beat", "at": 3}


@pytest.mark.parametrize(
    ("topic", "owner"),
    [
        ("stream/str_1/tally", ("stream", "str_1")),
        ("stream/str_1/stock", ("stream", "str_1")),
        ("stream/str_1/status", ("stream", "str_1")),
        ("campaign/cmp_1/tally", ("campaign", "cmp_1")),
        ("farmer/frm_1/sales", ("farmer", "frm_1")),
        ("campaign/cmp_1/stock", None),
        ("farmer/frm_1/tally", None),
        ("stream//tally", None),
        ("stream/str_1/tally\n", None),
        ("stream/str_1/tally/x", None),
        ("stream/*/tally", None),
        ("stream/é/tally", None),
        ("", None),
        ("stream/" + "s" * 65 + "/tally", None),
    ],
)
def test_only_topics_are_topics(topic: str, owner: tuple[str, str] | None) -> None:
    assert owner_of(topic) == owner
