"""The fan-out bench measures what it says: viewers read frames however they are cut, and nothing missing is made up."""

import asyncio
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.frames import Frame, Opcode
from websockets.frames import Frame as WireFrame

from loadtests.bench import fanout, peer_installation
from loadtests.bench.broadcasters import FRAME_BYTES, Broadcaster, frame
from loadtests.bench.fanout import Run, Watched, report
from loadtests.bench.peer_installation import NotInstalled
from loadtests.bench.receivers import Receivers, Viewer, frame_at, masked


def on_wire(payload: bytes, opcode: Opcode = Opcode.TEXT) -> bytes:
    return WireFrame(opcode, payload).serialize(mask=False)


@pytest.fixture
def pair() -> Iterator[tuple[Receivers, Viewer, socket.socket]]:
    """Viewers of which there is one, and the server's end of its connection."""
    here, there = socket.socketpair()
    here.setblocking(False)
    receivers = Receivers(viewers={here.fileno(): Viewer(here)})
    receivers.poll.register(here.fileno())
    receivers.reset()
    with here, there, receivers.poll:
        yield receivers, receivers.viewers[here.fileno()], there


def test_frames_are_as_long_as_they_say_and_carry_their_time() -> None:
    for version in (1, 1_000_000):
        assert len(frame(version, 1_795_386_948_087_000_000)) == FRAME_BYTES


@pytest.mark.parametrize("size", [0, 125, 126, 300, 65_535, 65_536])
def test_a_frame_of_any_length_is_read(size: int) -> None:
    wire = on_wire(b"x" * size)
    assert frame_at(b"??" + wire + b"next", 2) == (0x1, b"x" * size, 2 + len(wire))
    assert frame_at(wire[:-1], 0) is None


@pytest.mark.parametrize("cut", [1, 3, 7, 100, 303, 304, 305, 500])
def test_frames_count_however_they_are_cut(
    pair: tuple[Receivers, Viewer, socket.socket], cut: int
) -> None:
    receivers, viewer, there = pair
    wire = b"".join(on_wire(frame(version, 1_000_000 * version)) for version in (1, 2, 3))
    for first in range(0, len(wire), cut):
        there.sendall(wire[first : first + cut])
        receivers.take_in(1)
    there.sendall(wire)  # the same again, in one piece
    receivers.take_in(1)
    assert (receivers.messages, viewer.version) == (6, 3)


def test_what_socketio_wraps_counts_too(pair: tuple[Receivers, Viewer, socket.socket]) -> None:
    receivers, viewer, there = pair
    text = frame(7, 1_000_000).decode().replace('"', '\\"')
    there.sendall(on_wire(b'0{"sid":"x"}') + on_wire(f'42["frame","{text}"]'.encode()))
    receivers.take_in(1)
    assert (receivers.messages, viewer.version) == (1, 7)


def test_pings_are_answered_and_an_end_is_noticed(
    pair: tuple[Receivers, Viewer, socket.socket],
) -> None:
    receivers, _, there = pair
    there.sendall(on_wire(b"are you there", Opcode.PING) + on_wire(b"2"))
    receivers.take_in(1)
    assert there.recv(100) == masked(0xA, b"are you there") + masked(0x1, b"3")
    there.shutdown(socket.SHUT_WR)
    receivers.take_in(1)
    assert (receivers.lost, receivers.viewers) == (1, {})


def test_a_masked_frame_is_one_the_library_reads() -> None:
    for payload in (b"", b"x" * 125, b"y" * 2_000):
        sent = Frame(Opcode.TEXT, payload).serialize(mask=True)
        assert len(masked(0x1, payload)) == len(sent)


def run(per_cpu_s: int, viewers: int = 1_000, p99: float = 20.0) -> Run:
    return Run(viewers, 10, per_cpu_s, 1.0, 5.0, p99, 0.3)


def watched(name: str, *runs: Run) -> Watched:
    server = Broadcaster(name, 1, 1, lambda _: asyncio.sleep(0))
    return Watched(server, None, first_kib=15.0, runs=list(runs))  # type: ignore[arg-type]


def made(**given: Any) -> dict[str, Any]:
    field_ = [
        watched("ours", run(160), run(150), run(170), run(90, 2_000), run(80, 4_000)),
        watched("send_limit", run(200), run(210), run(190)),
        watched("starlette", run(80), run(50), run(81)),
    ]
    steps = [run(90, 2_000), run(80, 4_000), run(80, 6_000, p99=250.0)]
    values: dict[str, Any] = {"missing": {"channels": "no network"}, "steps": steps} | given
    return report({}, field_, values["missing"], values["steps"], "the server")


def test_ratios_are_of_medians_and_what_is_missing_is_not_made_up() -> None:
    told = made()
    assert told["ratios"] == {"of_send_limit": 0.8, "over_starlette": 2.0}
    assert told["results"]["viewers_per_core"] == 4_000
    assert told["results"]["not_measured"] == {"channels": "no network"}
    assert told["met"] == {
        "of_send_limit": True,
        "over_starlette": True,
        "over_channels": False,
        "viewers_per_core": False,
        "kib_per_viewer": True,
    }


def test_nothing_is_carried_where_the_first_step_is_late() -> None:
    assert made(steps=[run(90, 2_000, p99=300.0)])["results"]["viewers_per_core"] == 0


async def test_a_run_is_wrong_when_a_viewer_stays_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "SETTLE_S_MAX", 0.1)
    behind = watched("ours")
    behind.viewers, behind.version = 3, 9

    async def ask(**_: Any) -> dict[str, Any]:
        return {"have_newest": 2, "newest": 9, "lost": 0, "cpu": 0.1}

    monkeypatch.setattr(Watched, "_ask", lambda _, **asked: ask(**asked))
    with pytest.raises(fanout.WrongRun, match="2 of 3 viewers have version 9 of 9"):
        await behind._settle()


async def test_a_peer_that_cannot_be_installed_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(peer_installation.sys, "prefix", str(tmp_path))
    monkeypatch.setattr(peer_installation.shutil, "which", lambda _: None)
    with pytest.raises(NotInstalled, match="there is no node here"):
        await peer_installation.node_of_peers()
    refusing = tmp_path / "refusing"
    refusing.write_text(f"#!{sys.executable}\nprint('no network'); raise SystemExit(1)\n")
    refusing.chmod(0o755)
    monkeypatch.setattr(peer_installation.sys, "executable", str(refusing))
    with pytest.raises(NotInstalled, match="no network"):
        await peer_installation.python_of_peers()


def test_the_peers_are_locked_by_hash_and_name_no_index() -> None:
    lock = (peer_installation.PEERS / "requirements.lock").read_text("utf-8")
    node = (peer_installation.PEERS / "socketio" / "package-lock.json").read_text("utf-8")
    for package in lock.split("\n")[1:]:
        assert not package or package.startswith("    --hash=sha256:") or "==" in package
    assert all("--hash" in entry for entry in lock.split("==")[1:])
    assert "://" not in lock
    assert "resolved" not in node
