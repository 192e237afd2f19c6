"""The way out: encrypted and verified, one recipient and no header but ours, and honest about what became of it."""

import asyncio
import email
import email.policy
import ssl
from pathlib import Path

import pytest

from orders.mail.letters import Letter
from orders.mail.smtp import Addressed, SmtpRoute, is_address, message_id, read_route, send_all
from tests.orders.mail.post_office import certificate, open_post_office

SENDER = "orders@example.org"


def addressed(to: str = "wang@example.org", subject: str = "收据 Receipt") -> Addressed:
    return Addressed(to, "<abc@example.org>", Letter(subject, "你好\n\n.\nHello\n"))


async def sent(
    route: SmtpRoute, *letters: Addressed, tls: ssl.SSLContext | None = None
) -> list[tuple[str, str]]:
    fates = await asyncio.to_thread(send_all, route, letters, tls)
    return [(fate, why) for fate, why in fates]


def plain(port: int) -> SmtpRoute:
    return read_route(f"smtp://127.0.0.1:{port}?starttls=0", SENDER)


async def test_a_letter_arrives_as_it_was_written() -> None:
    async with open_post_office() as office:
        assert (
            await sent(plain(office.port), addressed(), addressed("li@example.org"))
            == [("sent", "")] * 2
        )
    [(sender, recipients, text), (_, others, _)] = office.handed_in
    assert (sender, recipients, others) == (SENDER, ["wang@example.org"], ["li@example.org"])
    message = email.message_from_string(text, policy=email.policy.default)
    assert message["subject"] == "收据 Receipt"
    assert message["message-id"] == "<abc@example.org>"
    assert message["auto-submitted"] == "auto-generated"
    assert message.get_content().replace("\r\n", "\n") == "你好\n\n.\nHello\n"


async def test_starttls_is_verified_against_the_name(tmp_path: Path) -> None:
    ours, trusting = certificate(tmp_path, "localhost")
    async with open_post_office(ours) as office:
        route = read_route(f"smtp://wang:p%40ss@localhost:{office.port}", SENDER)
        assert await sent(route, addressed(), tls=trusting) == [("sent", "")]
        assert (office.encrypted, len(office.logins)) == ([True], 1)
        # A certificate that nobody we trust vouches for, as whoever stands in between would have.
        assert await sent(route, addressed()) == [("later", "SSLCertVerificationError")]
    foreign, _ = certificate(tmp_path, "elsewhere.example")
    trusted = ssl.create_default_context(cafile=str(tmp_path / "elsewhere.example.pem"))
    async with open_post_office(foreign) as office:
        route = read_route(f"smtp://wang:secret@localhost:{office.port}", SENDER)
        assert await sent(route, addressed(), tls=trusted) == [
            ("later", "SSLCertVerificationError")
        ]
        assert (office.handed_in, office.logins) == ([], [])


async def test_a_server_that_offers_no_encryption_gets_nothing() -> None:
    async with open_post_office() as office:
        office.replies["EHLO"] = ["250 no extensions here"]
        route = read_route(f"smtp://127.0.0.1:{office.port}", SENDER)
        assert await sent(route, addressed()) == [("later", "SMTPNotSupportedError")]
        assert office.handed_in == []


@pytest.mark.parametrize(
    ("verb", "reply", "fate"),
    [
        ("RCPT", "550 nobody here", ("refused", "smtp_550")),
        ("RCPT", "451 try again", ("later", "smtp_451")),
        ("MAIL", "553 not you", ("refused", "smtp_553")),
        ("DATA", "554 no", ("refused", "smtp_554")),
        ("DATA", "452 full", ("later", "smtp_452")),
    ],
)
async def test_a_refusal_is_for_good_or_for_now_and_concerns_one_letter(
    verb: str, reply: str, fate: tuple[str, str]
) -> None:
    async with open_post_office() as office:
        office.replies[verb] = [reply]
        assert await sent(plain(office.port), addressed(), addressed()) == [fate, ("sent", "")]


async def test_what_was_sent_before_the_line_broke_stays_sent() -> None:
    async with open_post_office() as office:
        office.replies["MAIL"] = ["", "hang up"]
        fates = await sent(plain(office.port), *[addressed()] * 3)
    assert [fate for fate, _ in fates] == ["sent", "later", "later"]
    assert await sent(plain(office.port), addressed()) == [("later", "ConnectionRefusedError")]


async def test_no_text_adds_a_header_or_a_recipient() -> None:
    async with open_post_office() as office:
        with pytest.raises(ValueError, match=r"linefeed|newline"):
            await sent(plain(office.port), addressed(subject="Hello\r\nBcc: all@example.org"))
    assert office.handed_in == []


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("wang.fang@example.org", True),
        ("o'neil+tag@mail.example.co.uk", True),
        ("+86 138 0013 8000", False),
        ("wang@localhost", False),
        ("wang@example.org, li@example.org", False),
        ("wang@example.org\nbcc: li@example.org", False),
        ("wang@example.org\n", False),
        ("Wang <wang@example.org>", False),
        ("<wang@example.org>", False),
        ("王@example.org", False),
        ("wang@例子.org", False),
        ("a@b@example.org", False),
        (".wang@example.org", False),
        ("wang@-example.org", False),
        ("wang@example.123", False),
        ('"a b"@example.org', False),
        ("wang@" + "a" * 250 + ".org", False),
        ("wechat: wangfang", False),
    ],
)
def test_what_is_written_to(text: str, good: bool) -> None:
    assert is_address(text) is good


def test_routes_are_read_and_passwords_kept() -> None:
    route = read_route("smtp://u:p%40ss@mail.example.org", SENDER)
    assert (route.host, route.port, route.security) == ("mail.example.org", 587, "starttls")
    assert (route.user, route.password) == ("u", "p@ss")
    assert "p@ss" not in repr(route)
    assert read_route("smtps://mail.example.org", SENDER).port == 465
    assert read_route("smtp://localhost:25?starttls=0", SENDER).security == "none"


@pytest.mark.parametrize(
    ("url", "sender"),
    [
        ("http://mail.example.org", SENDER),
        ("smtp://", SENDER),
        ("smtp://u:hunter2@mail.example.org?starttls=0", SENDER),
        ("smtp://127.0.0.1.example.org?starttls=0", SENDER),
        ("smtp://u:hunter2@mail.example.org?starttls=maybe", SENDER),
        ("smtp://u:hunter2@mail.example.org:99999", SENDER),
        ("smtp://u:hunter2@mail.example.org", ""),
        ("smtp://u:hunter2@mail.example.org", "Orders <orders@example.org>"),
    ],
)
def test_what_would_leak_or_cannot_be_meant_is_refused(url: str, sender: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        read_route(url, sender)
    assert "hunter2" not in str(caught.value)


def test_a_repeat_has_the_same_name_and_another_fact_another() -> None:
    route = read_route("smtps://mail.example.org", SENDER)
    names = {
        message_id(route, order, kind, source)
        for order in ("ord_1", "ord_2")
        for kind in ("paid", "refunded")
        for source in ("pi_1", "pi_2")
        for _ in range(2)
    }
    assert len(names) == 8
    assert all(name.endswith("@example.org>") for name in names)
