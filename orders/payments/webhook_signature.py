"""Tells a webhook that Stripe signed from one that anybody could have sent, before a byte is parsed.

Pure, on raw bytes, standard library only. The SDK's own check is not used because it takes one secret,
looks only backwards in time, parses numbers leniently and decodes the body before it is trusted.
"""

import hmac
import re
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Literal

TOLERANCE_S = 300
HEADER_CHARS_MAX = 2_048
SIGNATURES_MAX = 8
SECRETS_MAX = 8
PAYLOAD_BYTES_MAX = 1_048_576

SignatureReason = Literal[
    "endpoint_disabled",
    "payload_too_large",
    "no_header",
    "malformed_header",
    "no_signature",
    "mismatch",
    "too_old",
    "from_the_future",
]

_TIMESTAMP = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)
_SIGNATURE = re.compile(r"[0-9a-f]{64}", re.ASCII)


class SignatureError(Exception):
    """The webhook must not be believed, stored or answered with 2xx; `reason` is for our log, not for the sender."""

    def __init__(self, reason: SignatureReason) -> None:
        super().__init__(reason)
        self.reason: SignatureReason = reason


def verify(
    payload: bytes, header: str | None, secrets: Sequence[str], now: datetime | float
) -> None:
    """Return only if `payload` was signed under one of `secrets` within 300 s of `now`, either way.

    `header` is the Stripe-Signature header as received, `secrets` the endpoint's current and former
    `whsec_…` values during a rotation. `now` is an aware datetime or seconds since 1970.
    Raises SignatureError. A blank secret signs for everybody, so blank ones are dropped, and an
    endpoint without any other is disabled.
    """
    keys = [secret.encode() for secret in secrets if secret.strip()]
    if not keys:
        raise SignatureError("endpoint_disabled")
    if len(keys) > SECRETS_MAX:
        raise ValueError(f"at most {SECRETS_MAX} webhook secrets can be in use at once")
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise SignatureError("payload_too_large")
    timestamp, signatures = _read_header(header)
    message = timestamp.encode() + b"." + payload
    if not _any_matches(message, keys, signatures):
        raise SignatureError("mismatch")
    age_s = _seconds(now) - int(timestamp)
    if age_s > TOLERANCE_S:
        raise SignatureError("too_old")
    if age_s < -TOLERANCE_S:
        raise SignatureError("from_the_future")


def _read_header(header: str | None) -> tuple[str, list[str]]:
    if not header:
        raise SignatureError("no_header")
    if len(header) > HEADER_CHARS_MAX:
        raise SignatureError("malformed_header")
    timestamps: list[str] = []
    signatures: list[str] = []
    for item in header.split(","):
        scheme, equals, value = item.strip(" ").partition("=")
        if not equals:
            raise SignatureError("malformed_header")
        if scheme == "t":
            timestamps.append(value)
        elif scheme == "v1":
            signatures.append(value)
    # Two timestamps would leave it open which one was signed; only the exact decimal form can have been.
    if len(timestamps) != 1 or not _TIMESTAMP.fullmatch(timestamps[0]):
        raise SignatureError("malformed_header")
    if not signatures:
        raise SignatureError("no_signature")
    if len(signatures) > SIGNATURES_MAX:
        raise SignatureError("malformed_header")
    return timestamps[0], signatures


def _any_matches(message: bytes, keys: Sequence[bytes], signatures: Sequence[str]) -> bool:
    """Compare every key with every signature, so that the time taken tells nobody which one was near."""
    matched = False
    candidates = [signature for signature in signatures if _SIGNATURE.fullmatch(signature)]
    for key in keys:
        expected = hmac.new(key, message, sha256).hexdigest()
        for candidate in candidates:
            matched |= hmac.compare_digest(expected, candidate)
    return matched


def _seconds(now: datetime | float) -> float:
    if isinstance(now, datetime):
        if now.tzinfo is None:
            raise ValueError("a naive datetime does not say which instant it means")
        return now.timestamp()
    return now
