"""The way out: one SMTP connection for a few letters, encrypted unless it never leaves this machine.

Headers are set through ``EmailMessage``, which refuses line breaks in them, and a recipient is an address of plain
letters or nothing, so no text of a shopper's can add a header or a second recipient.
"""

import hashlib
import ipaddress
import re
import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import Final, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from orders.mail.letters import Letter

TIMEOUT_S: Final = 8.0
ADDRESS_CHARS_MAX: Final = 254

_LOCAL: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS: Final = re.compile(rf"{_LOCAL}@(?:{_LABEL}\.)+[A-Za-z][A-Za-z0-9-]*[A-Za-z0-9]", re.ASCII)

# Not every server takes bytes beyond ASCII, and all take what says the same within it.
_SEVEN_BIT: Final = SMTP.clone(cte_type="7bit")

Fate = Literal["sent", "refused", "later"]


def is_address(text: str) -> bool:
    """Return whether this is an e-mail address that we write to: plain ASCII, no names, no comments."""
    return len(text) <= ADDRESS_CHARS_MAX and _ADDRESS.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class SmtpRoute:
    """Where letters are handed in, and who they are from."""

    host: str
    port: int
    security: Literal["tls", "starttls", "none"]
    sender: str
    user: str = ""
    password: str = field(default="", repr=False)
    timeout_s: float = TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Addressed:
    """A letter with its recipient and the name that a repeat of it has, too."""

    to: str
    message_id: str
    letter: Letter


def read_route(url: str, sender: str) -> SmtpRoute:
    """Read ``smtp://user:password@host:587`` (STARTTLS unless ``?starttls=0``) or ``smtps://host``.

    Raises ``ValueError``, without the password in its text. Unencrypted mail goes to this machine only.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ValueError("an SMTP address is smtp://user:password@host:587 or smtps://host:465")
    wanted = parse_qs(parts.query).get("starttls", ["1"])[-1]
    if wanted not in ("0", "1"):
        raise ValueError("starttls is 0 or 1")
    security: Literal["tls", "starttls", "none"] = "tls"
    if parts.scheme == "smtp":
        security = "starttls" if wanted == "1" else "none"
    if security == "none" and not _is_loopback(parts.hostname):
        raise ValueError("mail leaves this machine encrypted only: drop starttls=0")
    if not is_address(sender):
        raise ValueError("mail needs a sender: an e-mail address like orders@example.org")
    return SmtpRoute(
        parts.hostname,
        parts.port or (465 if security == "tls" else 587),
        security,
        sender,
        unquote(parts.username or ""),
        unquote(parts.password or ""),
    )


def message_id(route: SmtpRoute, order_id: str, kind: str, source_id: str) -> str:
    """Return the Message-ID of the mail on this fact: a repeat has the same, and mailboxes show it once."""
    said = hashlib.sha256(f"{order_id}\n{kind}\n{source_id}".encode()).hexdigest()[:32]
    return f"<{said}@{route.sender.rpartition('@')[2]}>"


def send_all(
    route: SmtpRoute, letters: Sequence[Addressed], tls: ssl.SSLContext | None = None
) -> list[tuple[Fate, str]]:
    """Hand letters in over one connection; for each, what became of it and why. Blocks: call it in a thread.

    A server that cannot be reached or does not want us leaves all that are not sent yet for later.
    """
    fates: list[tuple[Fate, str]] = []
    try:
        with _connect(route, tls or ssl.create_default_context()) as server:
            # One by one into the list, so that what was sent before a failure stays known as sent.
            fates.extend(_send(server, route, addressed) for addressed in letters)
    except (OSError, smtplib.SMTPException) as error:
        fates += [("later", type(error).__name__)] * (len(letters) - len(fates))
    return fates


def _connect(route: SmtpRoute, tls: ssl.SSLContext) -> smtplib.SMTP:
    server: smtplib.SMTP
    if route.security == "tls":
        server = smtplib.SMTP_SSL(route.host, route.port, timeout=route.timeout_s, context=tls)
    else:
        server = smtplib.SMTP(route.host, route.port, timeout=route.timeout_s)
    try:
        if route.security == "starttls":
            server.starttls(context=tls)
        if route.user:
            server.login(route.user, route.password)
    except BaseException:
        server.close()
        raise
    return server


def _send(server: smtplib.SMTP, route: SmtpRoute, addressed: Addressed) -> tuple[Fate, str]:
    try:
        server.send_message(_message(route, addressed), route.sender, [addressed.to])
    except smtplib.SMTPRecipientsRefused as error:
        return _judged([code for code, _ in error.recipients.values()])
    except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
        return _judged([error.smtp_code])
    return "sent", ""


def _judged(codes: Sequence[int]) -> tuple[Fate, str]:
    """A reply of 5xx is for good (RFC 5321, section 4.2.1); anything else may change."""
    code = max(codes, default=0)
    return ("refused" if code >= 500 else "later", f"smtp_{code}")


def _message(route: SmtpRoute, addressed: Addressed) -> EmailMessage:
    message = EmailMessage(policy=_SEVEN_BIT)
    message["From"] = route.sender
    message["To"] = addressed.to
    message["Subject"] = addressed.letter.subject
    message["Date"] = formatdate()
    message["Message-ID"] = addressed.message_id
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no machine answers this
    message.set_content(addressed.letter.body)
    return message


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
