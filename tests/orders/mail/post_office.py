"""A post office on loopback that speaks as much SMTP as a client needs, and says no when it is told to."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

OVERDUE_S = 10


@dataclass
class PostOffice:
    """What was handed in, and the replies that are scripted: verb → reply, used up one by one."""

    port: int = 0
    tls: ssl.SSLContext | None = None
    handed_in: list[tuple[str, list[str], str]] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    replies: dict[str, list[str]] = field(default_factory=dict)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sender, recipients, secure = "", [], False

        async def say(line: str) -> None:
            writer.write(line.encode() + b"\r\n")
            await writer.drain()

        await say("220 post office")
        while line := (await reader.readline()).decode().rstrip("\r\n"):
            verb = line.split()[0].upper()
            scripted = self.replies.get(verb, [])
            if scripted and (reply := scripted.pop(0)):
                if reply == "hang up":
                    break
                await say(reply)
            elif verb == "EHLO":
                await say("250-post office\r\n250-AUTH PLAIN\r\n250 STARTTLS")
            elif verb == "STARTTLS":
                assert self.tls is not None
                await say("220 go ahead")
                await writer.start_tls(self.tls)
                secure = True
            elif verb == "AUTH":
                self.logins.append(line)
                await say("235 come in")
            elif verb == "MAIL":
                sender = line.partition("<")[2].partition(">")[0]
                await say("250 ok")
            elif verb == "RCPT":
                recipients.append(line.partition("<")[2].partition(">")[0])
                await say("250 ok")
            elif verb == "DATA":
                await say("354 go on")
                text = (await reader.readuntil(b"\r\n.\r\n")).removesuffix(b".\r\n")
                text = text.replace(b"\r\n..", b"\r\n.")
                self.handed_in.append((sender, recipients, text.decode("ascii")))
                self.encrypted.append(secure)
                sender, recipients = "", []
                await say("250 taken")
            elif verb == "RSET":
                sender, recipients = "", []
                await say("250 ok")
            elif verb == "QUIT":
                await say("221 bye")
                break
        writer.close()


@asynccontextmanager
async def open_post_office(tls: ssl.SSLContext | None = None) -> AsyncIterator[PostOffice]:
    """Open one on a free port."""
    office = PostOffice(tls=tls)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.wait_for(office.serve(reader, writer), OVERDUE_S)
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    office.port = server.sockets[0].getsockname()[1]
    async with server:
        yield office


def certificate(folder: Path, host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a server's context with a certificate for ``host``, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paper, secret = folder / f"{host}.pem", folder / f"{host}.key"
    paper.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(paper, secret)
    return server, ssl.create_default_context(cafile=str(paper))
