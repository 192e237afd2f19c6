"""What every answer has in common: nobody keeps, guesses at, or is sent on from what the API said."""

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from server.edge import BODY_BYTES_MAX, Edge


async def _plain(_request: Request) -> Response:
    return PlainTextResponse("an address")


async def _public(_request: Request) -> Response:
    return PlainTextResponse("a total", headers={"cache-control": "public, max-age=1"})


@pytest.fixture
def client() -> httpx.AsyncClient:
    routes = [
        Route("/v1/private", _plain, methods=["GET", "POST"]),
        Route("/v1/public", _public),
        Route("/page", _plain),
    ]
    transport = httpx.ASGITransport(Edge(Starlette(routes=routes)))
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def test_what_the_api_says_is_kept_only_where_it_says_so(client: httpx.AsyncClient) -> None:
    said = {
        path: (await client.get(path)).headers.get("cache-control")
        for path in ("/v1/private", "/v1/public", "/page")
    }
    assert said == {
        "/v1/private": "no-store",
        "/v1/public": "public, max-age=1",
        "/page": None,
    }


async def test_every_answer_has_the_clock_and_is_not_guessed_at(client: httpx.AsyncClient) -> None:
    headers = (await client.get("/page")).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert int(headers["x-server-time"]) > 1_700_000_000_000


async def test_a_long_body_is_refused_before_it_is_read(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/private", content=b"x" * (BODY_BYTES_MAX + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_long")
