"""Refusals as RFC 9457 problem documents with a stable ``code`` that programs may rely on.

Every refusal in the project is a ``Problem``: raised anywhere, turned into the answer at the edge, the same on
plain FastAPI routes and on the hot path that steps outside of them.
"""

import random
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"

TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    410: "Gone",
    413: "Content too large",
    415: "Unsupported media type",
    422: "Unprocessable content",
    425: "Too early",
    429: "Too many requests",
    500: "Internal error",
    503: "Service unavailable",
}


class Problem(Exception):  # noqa: N818 - RFC 9457 calls it a problem, and so do we.
    """A refusal: ``status`` and a stable ``code``, a sentence for people, and members for programs."""

    def __init__(self, status: int, code: str, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.members = members

    def body(self) -> bytes:
        """Return the problem document as JSON bytes."""
        return msgspec.json.encode(
            {
                "type": f"/docs/errors#{self.code}",
                "title": TITLES.get(self.status, "Error"),
                "status": self.status,
                "code": self.code,
                "detail": self.detail,
                **self.members,
            }
        )

    def headers(self) -> dict[str, str]:
        """Return the headers that go with it: ``Retry-After`` in whole seconds, where waiting helps."""
        if self.status == 401:
            return {"www-authenticate": "Bearer"}
        retry_after_ms = self.members.get("retry_after_ms")
        if retry_after_ms is None:
            return {}
        return {"retry-after": str(max(1, -(-retry_after_ms // 1000)))}


def unavailable(detail: str, code: str = "unavailable") -> Problem:
    """Refuse for now, with a jittered wait so that the refused do not come back in one wave."""
    return Problem(503, code, detail, retry_after_ms=random.randint(500, 3000))  # noqa: S311 - jitter, no secret.


def not_found(what: str) -> Problem:
    """Answer alike for what does not exist and what is not yours: nothing can be learnt by guessing ids."""
    return Problem(404, "not_found", f"There is no such {what} here.")


def respond(problem: Problem) -> Response:
    """Turn a problem into the answer that carries it."""
    return Response(problem.body(), problem.status, problem.headers(), MEDIA_TYPE)


# What the framework refuses by itself, where we refuse the same in words of our own.
_CODES: Final = {413: "too_long"}

_DOCUMENT: Final = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string", "examples": ["/docs/errors#not_found"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable; programs may rely on it."},
        "detail": {"type": "string", "description": "A sentence for people."},
        "retry_after_ms": {"type": "integer", "description": "Where waiting helps: how long."},
    },
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Declare refusals of a route to OpenAPI: the ``responses`` of its decorator."""
    return {
        status: {"description": TITLES[status], "content": {MEDIA_TYPE: {"schema": _DOCUMENT}}}
        for status in statuses
    }


def _where(item: Mapping[str, Any]) -> str:
    """Name the place of an error. It may hold a client's own field name: of any length, not even Unicode."""
    at = ".".join(str(part) for part in item["loc"])
    return at[:200].encode("utf-8", "replace").decode()


def _invalid(error: RequestValidationError) -> Problem:
    errors = [{"at": _where(item), "why": item["msg"]} for item in error.errors()[:20]]
    if any(item["type"] == "json_invalid" for item in error.errors()):
        return Problem(400, "invalid_json", "The body is not JSON.", errors=errors)
    return Problem(
        422, "invalid", "The request does not fit its schema; see errors.", errors=errors
    )


def install(app: FastAPI) -> None:
    """Make ``app`` answer every refusal, its own and the framework's, as a problem document."""

    async def on_problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return respond(error)

    async def on_invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return respond(_invalid(error))

    async def on_broken(_: Request, __: Exception) -> Response:
        # The framework raises the error on after this answer, so the server's log has it in full.
        return respond(Problem(500, "internal", "Something broke on our side; it is in our log."))

    async def on_http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        title = TITLES.get(error.status_code, "error").lower().replace(" ", "_")
        code = _CODES.get(error.status_code, title)
        answer = respond(Problem(error.status_code, code, str(error.detail)))
        answer.headers.update(error.headers or {})
        return answer

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_broken)
