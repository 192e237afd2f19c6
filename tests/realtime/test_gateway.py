"""What a viewer may do to a gateway, and what it gets: over real sockets, with the real library on both ends."""

import asyncio
import base64
import http.client
import socket
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, NegotiationError

from realtime import gateway
from realtime.frames import MESSAGE_BYTES_MAX, Pass, first_message
from realtime.gateway import Gateway, GatewayLimits
from realtime.hub import Hub
from realtime.tickets import PURPOSE, make_ticket, read_ticket
from stream_events.access import Signer, new_shopper
from tests.realtime.conftest import TALLY, Served, frame, said, until

STOCK = "stream/str_1/stock"


async def closed_with(client: Any, within_s: float = 5.0) -> tuple[int | None, str]:
    async with asyncio.timeout(within_s):
        with suppress(ConnectionClosed):
            while True:
                await client.recv()
    return client.close_code, client.close_reason


async def test_a_viewer_gets_hello_then_the_snapshot_then_what_is_live(served: Served) -> None:
    served.hub.publish([frame(7), frame(3, topic=STOCK, items=[])])
    client = await served.open()
    await client.send(served.first_message(TALLY, STOCK))
    hello = await said(client)
    assert hello["t"] == "hello"
    assert (hello["heartbeat_s"], hello["build"]) == (5, "b1")
    snapshot = [await said(client), await said(client)]
    assert {one["topic"]: one["version"] for one in snapshot} == {TALLY: 7, STOCK: 3}
    served.hub.publish([frame(8)])
    live = await said(client)
    assert (live["version"], live["state"]) == (8, {"raised_minor": 8})
    assert client.subprotocol == "stream-events.v1"


@pytest.mark.parametrize(
    ("have", "sent"),
    [
        ({TALLY: [5, 7]}, False),  # exactly what is newest
        ({TALLY: [5, 8]}, False),  # we are behind what the viewer has: it came from another gateway
        ({TALLY: [5, 6]}, True),
        ({TALLY: [4, 7]}, True),
        ({TALLY: [6, 99]}, True),  # an epoch that ended with a restore; ours is the truth now
        ({"stream/str_2/tally": [5, 7]}, True),
        ({}, True),
    ],
)
async def test_who_resumes_is_sent_what_it_does_not_have(
    served: Served, have: dict[str, Any], sent: bool
) -> None:
    served.hub.publish([frame(7, epoch=5), frame(3, topic=STOCK, epoch=5)])
    client = await served.watch(TALLY, STOCK, have=have)
    served.hub.publish([frame(9, epoch=7)])
    seen = []
    while not seen or seen[-1] != (TALLY, 9):
        message = await said(client)
        seen.append((message["topic"], message["version"]))
    snapshot = {(STOCK, 3), (TALLY, 7)} if sent else {(STOCK, 3)}
    assert (set(seen[:-1]), len(seen)) == (snapshot, len(snapshot) + 1)


async def test_who_has_all_gets_but_hello_and_then_what_is_live(served: Served) -> None:
    served.hub.publish([frame(7)])
    first = await served.watch()
    shown = await said(first)
    await first.close()
    again = await served.watch(have={TALLY: [shown["epoch"], shown["version"]]})
    served.hub.publish([frame(8)])
    assert (await said(again))["version"] == 8


async def test_the_end_of_a_key_ends_its_viewers_and_no_others(served: Served) -> None:
    leaked = [await served.watch(topic, key_id="key_1") for topic in (TALLY, STOCK)]
    others = [await served.watch(), await served.watch(key_id="key_2")]
    assert served.hub.keys() == ["key_1", "key_2"]
    assert served.gateway is not None
    served.gateway.revoke({"key_1", "key_9"})
    served.hub.publish([frame(1), frame(1, topic=STOCK)])
    for client in leaked:
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert (client.close_code, client.close_reason) == (4401, "revoked")
    for client in others:
        assert (await said(client))["version"] == 1
    assert served.hub.keys() == ["key_2"]


async def test_versions_strictly_increase_whatever_order_publishers_come_in(served: Served) -> None:
    client = await served.watch()
    for version in (1, 2, 5, 3, 4, 5, 2, 6):
        served.hub.publish([frame(version)])
    served.hub.publish([frame(1, epoch=2)])
    served.hub.publish([frame(99, epoch=1), frame(2, epoch=2)])
    seen = []
    while not seen or seen[-1] != (2, 2):
        message = await said(client)
        seen.append((message["epoch"], message["version"]))
    assert seen == [(1, 1), (1, 2), (1, 5), (1, 6), (2, 1), (2, 2)]


async def test_a_viewer_gets_nothing_of_topics_it_has_no_ticket_for(served: Served) -> None:
    client = await served.watch(TALLY)
    served.hub.publish([frame(1, topic="farmer/frm_1/sales"), frame(1, topic="stream/str_2/tally")])
    served.hub.publish([frame(1)])
    assert (await said(client))["topic"] == TALLY


def bad_first_messages(signer: Signer) -> dict[str, Any]:
    good = make_ticket(signer, Pass("overlay", (TALLY,)))
    said_, _, proof = good.partition(".")
    digest = signer.read_until(PURPOSE, proof)
    assert digest is not None
    other = base64.urlsafe_b64encode(
        msgspec.json.encode(["overlay", ["farmer/frm_1/sales"], None])
    ).rstrip(b"=")
    return {
        "empty": "",
        "not json": "hello",
        "list": "[]",
        "no ticket": "{}",
        "number": '{"ticket": 1}',
        "having what cannot be": msgspec.json.encode({"ticket": good, "have": {TALLY: 7}}).decode(),
        "having a text": msgspec.json.encode({"ticket": good, "have": {TALLY: [1, "7"]}}).decode(),
        "having too many": msgspec.json.encode(
            {"ticket": good, "have": {f"stream/str_{n}/tally": [1, 1] for n in range(21)}}
        ).decode(),
        "more than a ticket": msgspec.json.encode({"ticket": good, "topics": []}).decode(),
        "binary": msgspec.json.encode({"ticket": good}),
        "no proof": {"ticket": said_},
        "expired": {"ticket": f"{said_}.{signer.sign_until(PURPOSE, digest, -1)}"},
        "forged": {"ticket": good[:-1] + ("A" if good[-1] != "A" else "B")},
        "other topics": {"ticket": f"{other.decode()}.{proof}"},
        "other secret": {"ticket": make_ticket(Signer(b"x" * 32), Pass("overlay", (TALLY,)))},
        "other purpose": {"ticket": f"{said_}.{signer.sign_until('shopper', digest, 60)}"},
        "shopper token": {"ticket": new_shopper(signer)[1]},
        "not ascii": {"ticket": good + "é"},
        "huge": {"ticket": "A" * 7_500},
    }


@pytest.mark.parametrize("which", sorted(bad_first_messages(Signer(b"k" * 32))))
async def test_a_bad_first_message_is_closed_alike(served: Served, which: str) -> None:
    message = bad_first_messages(served.signer)[which]
    if isinstance(message, dict):
        message = msgspec.json.encode(message).decode()
    client = await served.open()
    await client.send(message)
    assert await closed_with(client) == (4401, "unauthorized")
    assert len(served.hub) == 0


async def test_every_bit_of_a_proof_counts(signer: Signer) -> None:
    ticket = make_ticket(signer, Pass("shop", (TALLY,)))
    assert read_ticket(signer, ticket) == Pass("shop", (TALLY,))
    for at in range(len(ticket)):
        for bit in range(7):
            flipped = chr(ord(ticket[at]) ^ (1 << bit))
            assert read_ticket(signer, ticket[:at] + flipped + ticket[at + 1 :]) is None, (at, bit)


async def test_silence_is_closed(served: Served) -> None:
    client = await served.open()
    assert await closed_with(client) == (4401, "unauthorized")


async def test_an_oversize_message_is_closed(served: Served) -> None:
    client = await served.open()
    await client.send("x" * (MESSAGE_BYTES_MAX + 1))
    assert (await closed_with(client))[0] == 1009


async def test_a_viewer_that_goes_on_talking_is_closed(served: Served) -> None:
    client = await served.watch()
    await client.send(served.first_message())
    assert (await closed_with(client))[0] == 1008
    await until(lambda: len(served.hub) == 0)


async def test_invalid_utf8_is_closed(served: Served) -> None:
    client = await served.open()
    await client.send(b"\xff\xfe", text=True)
    assert (await closed_with(client))[0] == 1007


async def test_another_subprotocol_is_refused(served: Served) -> None:
    with pytest.raises((InvalidStatus, NegotiationError)):
        await connect(served.url, subprotocols=["graphql-ws"])  # type: ignore[list-item]


async def test_health_needs_no_websocket(served: Served) -> None:
    def ask() -> tuple[int, bytes]:
        client = http.client.HTTPConnection("127.0.0.1", served.port, timeout=2)
        client.request("GET", "/healthz")
        answer = client.getresponse()
        return answer.status, answer.read()

    assert await asyncio.to_thread(ask) == (200, b"ok\n")


class TestTheDoor:
    @pytest.fixture
    def gateway_limits(self) -> GatewayLimits:
        return GatewayLimits(connections_max=2, accepts_per_s=4, drain_s=0.1)

    async def test_it_lets_in_so_many_at_most(self, served: Served) -> None:
        await served.watch()
        await served.watch()
        with pytest.raises(InvalidStatus) as refused:
            await served.open()
        assert refused.value.response.status_code == 503
        assert 1 <= int(refused.value.response.headers["Retry-After"]) <= 10

    async def test_it_lets_in_so_many_a_second(self, served: Served) -> None:
        for _ in range(4):
            await (await served.open()).close()
        with pytest.raises(InvalidStatus):
            await served.open()
        await asyncio.sleep(0.3)
        await served.open()


async def test_a_watched_stream_knows_its_viewers_by_kind(served: Served) -> None:
    await served.watch(TALLY, STOCK)
    await served.watch(TALLY)
    shop = await served.watch(TALLY, "campaign/cmp_1/tally", kind="shop")
    assert served.hub.counts() == {("str_1", "overlay"): 2, ("str_1", "shop"): 1}
    await shop.close()
    await until(lambda: len(served.hub) == 2)
    assert served.hub.counts() == {("str_1", "overlay"): 2}


async def test_beats_reach_viewers(served: Served) -> None:
    client = await served.watch()
    served.hub.beat(123, served.hub.viewers())
    assert msgspec.json.decode(await client.recv()) == {"t": "beat", "at": 123}


def test_a_first_message_is_text() -> None:
    assert first_message('{"ticket":"x"}') is not None
    assert first_message(b'{"ticket":"x"}') is None
    assert first_message('{"ticket":"\ud800"}') is None


async def test_five_hundred_viewers_get_the_same_bytes(served: Served) -> None:
    """Each raw socket's bytes are compared, framing included, after the one handshake that differs."""
    viewers = [await served.watch() for _ in range(500)]
    frames = [frame(version, raised_minor=version * 2990, title="花生") for version in range(1, 21)]
    for one in frames:
        served.hub.publish([one])
    got = [b"\n".join([await client.recv(decode=False) for _ in frames]) for client in viewers]
    assert set(got) == {b"\n".join(one.payload for one in frames)}


async def test_no_beat_while_nobody_looks_at_the_books(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "HEARTBEAT_S", 0.01)
    live, beaten = [False], []
    hub = Hub()
    monkeypatch.setattr(hub, "viewers", lambda: beaten.append(1) or [])
    beats = asyncio.create_task(Gateway(hub, lambda _: None, is_live=lambda: live[0]).run_beats())
    try:
        await asyncio.sleep(0.1)
        assert not beaten
        live[0] = True
        await asyncio.sleep(0.1)
        assert beaten
    finally:
        beats.cancel()


async def test_the_kernel_looks_for_peers_that_are_gone(served: Served) -> None:
    """Nobody pings: a viewer costs nothing between frames, and one whose machine is gone ends all the same."""
    await served.watch()
    (viewer,) = served.hub.viewers()
    found = viewer.connection.transport.get_extra_info("socket")
    for name, value in gateway.DEAD_PEER.items():
        if hasattr(socket, name):
            assert found.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == value
    assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert viewer.connection.keepalive_task is None
