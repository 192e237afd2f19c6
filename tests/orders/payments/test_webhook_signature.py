"""Nothing unsigned, stale, altered or ambiguous passes as Stripe's word."""

import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from orders.payments.webhook_signature import (
    HEADER_CHARS_MAX,
    PAYLOAD_BYTES_MAX,
    SECRETS_MAX,
    SIGNATURES_MAX,
    SignatureError,
    verify,
)

NOW = 1_800_000_000
SECRET = "whsec_current"
FORMER = "whsec_former"
BODY = b'{"id":"evt_1","object":"event","amount":5000}'


def sign(body: bytes = BODY, secret: str = SECRET, at: int | str = NOW) -> str:
    return hmac.new(secret.encode(), f"{at}.".encode() + body, sha256).hexdigest()


GOOD = f"t={NOW},v1={sign()}"


@pytest.mark.parametrize(
    "header",
    [
        GOOD,
        f"v1={sign()},t={NOW}",
        f"t={NOW}, v1={sign()}",
        f"t={NOW},v1={'0' * 64},v1={sign()}",
        f"t={NOW},v1={sign()},v1={'0' * 64}",
        f"t={NOW},v0={'0' * 64},v1={sign()}",
        f"t={NOW},v1=garbage,v1={sign()}",
        f"t={NOW},v1={sign(secret=FORMER)}",
        f"t={NOW - 299},v1={sign(at=NOW - 299)}",
        f"t={NOW - 300},v1={sign(at=NOW - 300)}",
        f"t={NOW + 299},v1={sign(at=NOW + 299)}",
        f"t={NOW + 300},v1={sign(at=NOW + 300)}",
    ],
)
def test_what_stripe_sends_passes(header: str) -> None:
    verify(BODY, header, [SECRET, FORMER], NOW)
    verify(BODY, header, ["", FORMER, SECRET], datetime.fromtimestamp(NOW, UTC))


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        # Nothing, or nothing like a header.
        (None, "no_header"),
        ("", "no_header"),
        (" ", "malformed_header"),
        ("garbage", "malformed_header"),
        (",", "malformed_header"),
        (f"{GOOD},", "malformed_header"),
        ("\x00\xff", "malformed_header"),
        (f"{GOOD};x", "mismatch"),
        ("x=1," * (HEADER_CHARS_MAX // 4) + GOOD, "malformed_header"),
        # The timestamp: none, several, or not the one decimal form that can have been signed.
        (f"v1={sign()}", "malformed_header"),
        (f"t=,v1={sign()}", "malformed_header"),
        (f"t={NOW},t={NOW},v1={sign()}", "malformed_header"),
        (f"t={NOW},t={NOW - 1},v1={sign()}", "malformed_header"),
        (f"t=0{NOW},v1={sign(at=f'0{NOW}')}", "malformed_header"),
        (f"t=+{NOW},v1={sign(at=f'+{NOW}')}", "malformed_header"),
        (f"t=-{NOW},v1={sign(at=f'-{NOW}')}", "malformed_header"),
        (f"t={NOW}.0,v1={sign(at=f'{NOW}.0')}", "malformed_header"),
        (f"t=1_800_000_000,v1={sign()}", "malformed_header"),
        (f"t= {NOW},v1={sign()}", "malformed_header"),
        ("t=１８００００００００,v1=" + sign(), "malformed_header"),
        (f"t=1e9,v1={sign(at='1e9')}", "malformed_header"),
        (f"t={'9' * 13},v1={sign(at='9' * 13)}", "malformed_header"),
        (f"t=0,v1={sign(at=0)}", "malformed_header"),
        (f"T={NOW},v1={sign()}", "malformed_header"),
        # The signature: none, another scheme, or nearly right.
        (f"t={NOW}", "no_signature"),
        (f"t={NOW},v0={sign()}", "no_signature"),
        (f"t={NOW},v2={sign()}", "no_signature"),
        (f"t={NOW},V1={sign()}", "no_signature"),
        (f"t={NOW},v1=", "mismatch"),
        (f"t={NOW},v1={sign()[:-1]}", "mismatch"),
        (f"t={NOW},v1={sign()}0", "mismatch"),
        (f"t={NOW},v1={sign().upper()}", "mismatch"),
        (f"t={NOW},v1=={sign()}", "mismatch"),
        (f"t={NOW},v1={'0' * 64}", "mismatch"),
        (f"t={NOW},v1={'0' * 64},v1={'1' * 64}", "mismatch"),
        (f"t={NOW}" + f",v1={sign()}" * (SIGNATURES_MAX + 1), "malformed_header"),
        (f"t={NOW},v1={sign(secret='whsec_other')}", "mismatch"),
        (f"t={NOW},v1={sign(secret='')}", "mismatch"),
        (f"t={NOW},v1={hmac.new(SECRET.encode(), BODY, sha256).hexdigest()}", "mismatch"),
        # Signed for another moment, or too far from now.
        (f"t={NOW - 1},v1={sign()}", "mismatch"),
        (f"t={NOW + 1},v1={sign()}", "mismatch"),
        (f"t={NOW - 301},v1={sign(at=NOW - 301)}", "too_old"),
        (f"t={NOW + 301},v1={sign(at=NOW + 301)}", "from_the_future"),
        (f"t=1,v1={sign(at=1)}", "too_old"),
        (f"t={'9' * 12},v1={sign(at='9' * 12)}", "from_the_future"),
        # A stale forgery is told as a forgery: what it says of its time is not believed.
        (f"t=1,v1={'0' * 64}", "mismatch"),
    ],
)
def test_a_bad_header_is_refused(header: str | None, reason: str) -> None:
    with pytest.raises(SignatureError) as refused:
        verify(BODY, header, [SECRET, FORMER], NOW)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "body",
    [
        b"",
        BODY + b" ",
        BODY + b"\n",
        b" " + BODY,
        BODY[:-1],
        BODY.replace(b"5000", b"9000"),
        b'{"object":"event","id":"evt_1","amount":5000}',
        BODY.replace(b",", b", "),
        b"\xef\xbb\xbf" + BODY,
        BODY.decode().encode("utf-16"),
        BODY + b"\x00",
        b"\xff\xfe\xfd",
    ],
)
def test_an_altered_body_is_refused(body: bytes) -> None:
    with pytest.raises(SignatureError, match="mismatch"):
        verify(body, GOOD, [SECRET], NOW)


def test_bytes_that_are_no_text_can_be_verified() -> None:
    body = b"\xff\x00\xfe"
    verify(body, f"t={NOW},v1={sign(body)}", [SECRET], NOW)


@pytest.mark.parametrize("secrets", [[], [""], ["", " ", "\t\r\n"]])
def test_without_a_secret_the_endpoint_is_disabled(secrets: Sequence[str]) -> None:
    for secret in ("", *secrets):
        header = f"t={NOW},v1={sign(secret=secret)}"
        with pytest.raises(SignatureError, match="endpoint_disabled"):
            verify(BODY, header, secrets, NOW)


def test_a_blank_secret_among_others_signs_nothing() -> None:
    with pytest.raises(SignatureError, match="mismatch"):
        verify(BODY, f"t={NOW},v1={sign(secret='')}", [SECRET, ""], NOW)


def test_sizes_are_bounded() -> None:
    body = b"x" * (PAYLOAD_BYTES_MAX + 1)
    with pytest.raises(SignatureError, match="payload_too_large"):
        verify(body, f"t={NOW},v1={sign(body)}", [SECRET], NOW)
    with pytest.raises(ValueError, match="at most"):
        verify(BODY, GOOD, [f"whsec_{n}" for n in range(SECRETS_MAX + 1)], NOW)


def test_a_naive_now_is_refused() -> None:
    with pytest.raises(ValueError, match="naive"):
        verify(BODY, GOOD, [SECRET], datetime(2027, 1, 15))  # noqa: DTZ001 - that is the point


def test_every_single_bit_of_the_body_counts() -> None:
    for position in range(len(BODY) * 8):
        changed = bytearray(BODY)
        changed[position // 8] ^= 1 << position % 8
        with pytest.raises(SignatureError, match="mismatch"):
            verify(bytes(changed), GOOD, [SECRET], NOW)
