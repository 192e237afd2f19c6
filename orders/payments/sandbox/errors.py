"""The refusals of the sandbox, in the very shape Stripe gives them, because our gateway reads them."""

from typing import Any

import msgspec


class ApiError(Exception):
    """One refused call: `status` and the members of Stripe's `error` object.

    `stored` says whether an Idempotency-Key replays it: Stripe stores what an endpoint answered once it
    began to work, not what was refused on the doorstep (bad parameters, rate limits, key conflicts).
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        error_type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        stored: bool = False,
        extra: dict[str, Any] | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.stored = stored
        self.headers = headers
        error: dict[str, Any] = {"message": message, "type": error_type}
        if code is not None:
            error["code"] = code
        if param is not None:
            error["param"] = param
        self.error = error | (extra or {})

    def body(self) -> bytes:
        return msgspec.json.encode({"error": self.error})


def missing(param: str) -> ApiError:
    """A parameter the endpoint cannot do without."""
    return ApiError(400, f"Missing required param: {param}.", code="parameter_missing", param=param)


def unknown(param: str) -> ApiError:
    """A parameter the endpoint does not know, or that the sandbox has not learnt."""
    message = f"Received unknown parameter: {param}"
    return ApiError(400, message, code="parameter_unknown", param=param)


def invalid(param: str, message: str, code: str | None = None) -> ApiError:
    """A parameter with a value the endpoint does not take."""
    return ApiError(400, message, code=code, param=param)


def no_such(kind: str, object_id: str, param: str = "id") -> ApiError:
    """An id nobody was given."""
    message = f"No such {kind}: '{object_id[:80]}'"
    return ApiError(404, message, code="resource_missing", param=param, stored=True)


def bad_key() -> ApiError:
    """No key, a live key, or one that may not call this."""
    # The key itself is never echoed: answers end up in logs.
    message = (
        "Invalid API Key provided: the sandbox takes sk_test_ keys (and pk_test_ from browsers)."
    )
    return ApiError(401, message)


def rate_limited(reason: bytes) -> ApiError:
    """Too many calls in this second; nothing was done and nothing is stored under the key."""
    return ApiError(
        429,
        "Request rate limit exceeded.",
        code="rate_limit",
        headers=(
            (b"stripe-rate-limited-reason", reason),
            (b"stripe-should-retry", b"false"),
            (b"retry-after", b"1"),
        ),
    )


def outage() -> ApiError:
    """The ordered outage: nothing was done."""
    return ApiError(
        503,
        "The sandbox plays a provider outage.",
        error_type="api_error",
        headers=((b"stripe-should-retry", b"true"),),
    )


def internal(*, stored: bool) -> ApiError:
    """The ordered 500, of which the caller cannot tell whether anything was done."""
    return ApiError(500, "An unknown error occurred.", error_type="api_error", stored=stored)
