"""A request that was not sent and an answer that was lost are never mistaken for each other."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from orders.payments import kept_connections
from orders.payments.kept_connections import AnswerLostError, KeptConnections, NotSentError
from tests.orders.payments.sandbox_process import free_port

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(
    answers: list[bytes], tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Gives each request the next answer; an empty one hangs up, `wait` keeps silent."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                seen.append(head + await reader.readexactly(length))
                answer = answers.pop(0) if answers else OK
                if answer == b"wait":
                    await reader.read()
                    return
                if not answer:
                    return
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            return
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    scheme = "https" if tls else "http"
    try:
        yield f"{scheme}://127.0.0.1:{listener.sockets[0].getsockname()[1]}", seen
    finally:
        listener.close()


@asynccontextmanager
async def connections(
    origin: str,
    *,
    timeout_s: float = 2.0,
    connections_max: int = 4,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[KeptConnections]:
    made = KeptConnections(
        origin,
        connections_max=connections_max,
        timeout_s=timeout_s,
        connect_timeout_s=timeout_s,
        tls=tls,
    )
    try:
        yield made
    finally:
        await made.aclose()


async def test_one_connection_serves_many_requests() -> None:
    async with server([]) as (origin, seen), connections(origin) as kept:
        for _ in range(3):
            answer = await kept.request("POST", "/a?b=1", {"x-y": "z"}, b"body")
            assert (answer.status, answer.headers["content-length"], answer.body) == (
                200,
                "2",
                b"ok",
            )
        assert len(kept._idle) == 1
        host = origin.removeprefix("http://")
        assert seen[0].decode() == (
            f"POST /a?b=1 HTTP/1.1\r\nhost: {host}\r\nx-y: z\r\ncontent-length: 4\r\n\r\nbody"
        )


async def test_chunks_and_interim_answers_are_understood() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    early = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK
    async with server([chunked, early]) as (origin, _), connections(origin) as kept:
        assert (await kept.request("GET", "/", {}, b"")).body == b"abc"
        answer = await kept.request("GET", "/", {}, b"")
        assert (answer.status, answer.body, "link" in answer.headers) == (200, b"ok", False)


async def test_nobody_listening_means_not_sent() -> None:
    async with connections(f"http://127.0.0.1:{free_port()}") as kept:
        with pytest.raises(NotSentError):
            await kept.request("POST", "/", {}, b"")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab",
        b"rubbish\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"wait",
    ],
)
async def test_half_an_answer_means_lost(answer: bytes) -> None:
    # The server hangs up after an incomplete answer, because it then finds no second request.
    async with (
        server([answer, b""]) as (origin, seen),
        connections(origin, timeout_s=0.3) as kept,
    ):
        with pytest.raises(AnswerLostError):
            await kept.request("POST", "/", {}, b"money")
        assert len(seen) == 1
        assert kept._idle == []


async def test_a_closed_idle_connection_is_not_used_again() -> None:
    closing = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    async with server([closing, OK, OK]) as (origin, seen), connections(origin) as kept:
        for _ in range(3):
            assert (await kept.request("POST", "/", {}, b"")).status == 200
        # The server hangs up on an idle connection; the next request finds out before it is sent.
        kept._idle[0].eof_received()
        assert (await kept.request("POST", "/", {}, b"")).status == 200
        assert len(seen) == 4


@pytest.mark.parametrize("length", [1, 20, 38, 39, 40, 41])
async def test_an_answer_nobody_asked_for_is_not_given_to_the_next(length: int) -> None:
    surplus = OK.replace(b"ok", b"NO")[:length]
    async with server([OK + surplus]) as (origin, _), connections(origin) as kept:
        first = await kept.request("GET", "/1", {}, b"")
        second = await kept.request("GET", "/2", {}, b"")
        assert (first.body, second.body) == (b"ok", b"ok")


async def test_a_cancelled_request_leaves_no_answer_behind() -> None:
    async with server([b"wait"]) as (origin, seen), connections(origin) as kept:
        request = asyncio.create_task(kept.request("GET", "/1", {}, b""))
        await asyncio.sleep(0.1)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert len(seen) == 1
        assert kept._idle == []
        assert (await kept.request("GET", "/2", {}, b"")).body == b"ok"


async def test_connections_are_bounded_and_waiting_for_one_is_not_sending() -> None:
    async with (
        server([b"wait", b"wait"]) as (origin, seen),
        connections(origin, timeout_s=1.0, connections_max=2) as kept,
    ):
        silent = [asyncio.create_task(kept.request("POST", "/", {}, b"")) for _ in range(2)]
        await asyncio.sleep(0)
        # The third gives up first, while both connections are certainly still waiting.
        kept._timeout_s = 0.1
        with pytest.raises(NotSentError):
            await kept.request("POST", "/", {}, b"")
        results = await asyncio.gather(*silent, return_exceptions=True)
        assert [type(result) for result in results] == [AnswerLostError, AnswerLostError]
        assert len(seen) == 2


async def test_an_endless_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_connections, "ANSWER_BYTES_MAX", 1_000)
    large = b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n" + b"x" * 1_001
    async with server([large]) as (origin, _), connections(origin) as kept:
        with pytest.raises(AnswerLostError):
            await kept.request("GET", "/", {}, b"")


@pytest.mark.parametrize(
    ("target", "headers"),
    [("/", {"a": "b\r\nc: d"}), ("/ HTTP/1.1\r\nx: y", {}), ("/", {"a\nb": "c"})],
)
async def test_a_header_cannot_smuggle_another(target: str, headers: dict[str, str]) -> None:
    async with server([]) as (origin, seen), connections(origin) as kept:
        with pytest.raises(ValueError, match="control character"):
            await kept.request("GET", target, headers, b"")
        assert seen == []


@pytest.mark.parametrize("origin", ["ftp://x", "127.0.0.1", "http://"])
async def test_an_origin_has_scheme_and_host(origin: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        KeptConnections(origin, connections_max=1, timeout_s=1, connect_timeout_s=1)


def _certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "pair.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


async def test_tls_is_verified(tmp_path: Path) -> None:
    pair = _certificate(tmp_path)
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(pair)
    trusting = ssl.create_default_context(cafile=str(pair))
    async with server([], tls=serving) as (origin, seen):
        async with connections(origin, tls=trusting) as kept:
            for _ in range(2):
                assert (await kept.request("POST", "/", {}, b"x")).body == b"ok"
            assert len(kept._idle) == 1
        async with connections(origin) as kept:
            with pytest.raises(NotSentError):
                await kept.request("POST", "/", {}, b"x")
        assert len(seen) == 2
