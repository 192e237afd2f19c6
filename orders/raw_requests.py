"""What a hot request is before anybody looks into it: its key, its few bytes, its JSON.

Shared by the routes that stand in front of FastAPI, so that each refuses the same in the same words.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

import msgspec
from starlette.types import Receive

from stream_events.errors import Problem
from stream_events.money import AMOUNT_MINOR_MAX

BODY_BYTES_MAX: Final = 16 * 1024
KEY_CHARS_MAX: Final = 255
DETAIL_CHARS_MAX: Final = 200

_KEY = re.compile(r"[\x21-\x7e]{1,255}")

Amount = Annotated[int, msgspec.Meta(ge=1, le=AMOUNT_MINOR_MAX)]
Body = TypeVar("Body")


class CauseShare(msgspec.Struct, forbid_unknown_fields=True):
    """A cause, and its share of a gift in basis points."""

    beneficiary_id: Annotated[str, msgspec.Meta(pattern="^ben_[0-9a-z]{1,40}$")]
    share_bp: Annotated[int, msgspec.Meta(ge=1, le=10_000)]


Causes = Annotated[list[CauseShare], msgspec.Meta(min_length=1, max_length=10)]


class GiftOut(msgspec.Struct):
    """A gift line as it is answered."""

    kind: str
    beneficiary_id: str
    amount_minor: int


class Total(msgspec.Struct):
    """What it comes to, in minor units of its currency."""

    amount_minor: int
    currency: str


def declared(body: type, answer: type, example: dict[str, Any]) -> dict[str, Any]:
    """Describe a hot route to OpenAPI as FastAPI would, had it read the body: an operation's ``openapi_extra``."""
    return {
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": True,
                "schema": {"type": "string", "minLength": 1, "maxLength": KEY_CHARS_MAX},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _schema(body), "example": example}},
        },
        "responses": {"201": {"content": {"application/json": {"schema": _schema(answer)}}}},
    }


def _schema(of: type) -> dict[str, Any]:
    """Return a type's JSON Schema with every part in its place: OpenAPI resolves references elsewhere."""
    found = msgspec.json.schema(of)
    parts: dict[str, Any] = found.get("$defs", {})

    def placed(value: Any) -> Any:
        if isinstance(value, list):
            return [placed(each) for each in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            return placed(parts[value["$ref"].rpartition("/")[2]])
        return {name: placed(each) for name, each in value.items() if name != "$defs"}

    schema: dict[str, Any] = placed(found)
    return schema


def require_key(key: str) -> None:
    """Refuse what is no idempotency key."""
    if not _KEY.fullmatch(key):
        raise Problem(
            400,
            "idempotency_key",
            f"Send an Idempotency-Key of 1 to {KEY_CHARS_MAX} visible ASCII characters.",
        )


def read_json(decoder: "msgspec.json.Decoder[Body]", body: bytes) -> Body:
    """Read a body. Raises ``Problem`` 400 for no JSON, 422 for what does not fit."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        # It names the field that does not fit, and the client chose its name.
        raise Problem(422, "invalid", str(error)[:DETAIL_CHARS_MAX]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem(400, "invalid_json", "The body is not JSON.") from None


def shares_in(causes: list[CauseShare] | None) -> tuple[tuple[str, int], ...]:
    """Return the causes of a body as pairs; none named is none."""
    return tuple((cause.beneficiary_id, cause.share_bp) for cause in causes or ())


def moment(at: datetime) -> str:
    """Return an instant in UTC as it goes over the wire, with milliseconds."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


async def read_body(headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
    """Read a small body; what is too long is refused before it is read."""
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > BODY_BYTES_MAX:
        raise _too_long()
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Problem(400, "incomplete", "The body ended early.")
        body += message.get("body", b"")
        if len(body) > BODY_BYTES_MAX:
            raise _too_long()
        if not message.get("more_body"):
            return bytes(body)


def _too_long() -> Problem:
    return Problem(413, "too_long", f"A body has at most {BODY_BYTES_MAX} bytes.")
