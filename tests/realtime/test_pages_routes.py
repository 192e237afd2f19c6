"""What the pages are served with: the policy that keeps foreign scripts out, and caching that never shows old code."""

import gzip
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
import pytest_asyncio

from realtime.pages_routes import (
    FRAMED_BY,
    FRAMING,
    install,
    site_router,
)
from realtime.site import build_of_static, read_site
from stream_events.links import Links
from tests.applications import make_app

LINKS = Links(
    public_url="https://sale.example.org",
    gateway_url="wss://live.example.org/socket",
    stripe_publishable_key="pk_test_1",
    stripe_js_url='https://js.stripe.com/v3/?a=1&b="<',
    stripe_origins=("https://js.stripe.com", "https://api.stripe.com"),
    mode="sandbox",
)
PAGES = ("/", "/shop/str_1", "/order", "/overlay/all", "/farmer", "/console", "/mailbox")


@pytest_asyncio.fixture(loop_scope="session")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    state = {"links": LINKS, "signer": None, "database": None}
    app = make_app([site_router(read_site())], state)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as opened:
        yield opened


def policy(response: httpx.Response) -> dict[str, str]:
    rules = response.headers["content-security-policy"].split("; ")
    return {name: rest for name, _, rest in (rule.partition(" ") for rule in rules)}


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_admits_nobody_but_us_and_the_gateway(
    client: httpx.AsyncClient, path: str
) -> None:
    response = await client.get(path)
    assert response.status_code == 200
    assert policy(response) == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self' wss://live.example.org",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": FRAMED_BY.get(path.split("/")[1], "'none'"),
        **({"frame-src": "'self'"} if path.strip("/") in FRAMING else {}),
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-cache"
    assert "stripe" not in response.text
    assert (await client.head(path)).status_code == 200


async def test_search_engines_find_the_shop_alone(client: httpx.AsyncClient) -> None:
    told = {
        path: (await client.get(path)).headers.get("x-robots-tag")
        for path in ("/", "/shop/str_1", "/pay/ord_1", "/order", "/mailbox", "/console", "/farmer")
    }
    assert told == {path: None if path in ("/", "/shop/str_1") else "noindex" for path in told}


async def test_the_pay_page_alone_admits_stripe(client: httpx.AsyncClient) -> None:
    response = await client.get("/pay/ord_1")
    stripe = "https://js.stripe.com https://api.stripe.com"
    rules = policy(response)
    assert rules["script-src"] == f"'self' {stripe}"
    assert rules["frame-src"] == stripe
    assert rules["connect-src"] == f"'self' wss://live.example.org {stripe}"
    assert rules["default-src"] == "'none'"
    assert rules["frame-ancestors"] == "'none'"
    assert "'unsafe" not in response.headers["content-security-policy"]
    # The address of the script is the operator's; it stays inside its attribute whatever it is.
    assert 'src="https://js.stripe.com/v3/?a=1&amp;b=&quot;&lt;"' in response.text


async def test_nothing_is_inline_and_everything_is_there(client: httpx.AsyncClient) -> None:
    for path in (*PAGES, "/pay/ord_1"):
        text = (await client.get(path)).text
        assert "{{" not in text
        assert " style=" not in text
        assert "<style" not in text
        addresses = [
            part.split('"')[0] for part in text.split(f'"/static/{build_of_static()}/')[1:]
        ]
        assert addresses
        for name in addresses:
            found = await client.get(f"/static/{build_of_static()}/{name}")
            assert found.status_code == 200, name


async def test_files_are_cached_for_ever_under_their_build_only(client: httpx.AsyncClient) -> None:
    own = await client.get(f"/static/{build_of_static()}/live.js")
    assert own.headers["cache-control"] == "public, max-age=31536000, immutable"
    other = await client.get("/static/0123456789abcdef/live.js")
    assert other.headers["cache-control"] == "no-cache"
    assert other.content == own.content
    same = await client.get("/static/old/live.js", headers={"if-none-match": own.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")


async def test_compressed_and_plain_are_the_same_file(client: httpx.AsyncClient) -> None:
    path = f"/static/{build_of_static()}/shop.js"
    plain = await client.get(path, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    async with client.stream("GET", path, headers={"accept-encoding": "gzip"}) as packed:
        raw = b"".join([part async for part in packed.aiter_raw()])
    assert gzip.decompress(raw) == plain.content
    assert packed.headers["vary"] == "accept-encoding"
    assert plain.headers["content-type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize(
    "name", ["../pages/pay.html", "%2e%2e/pages_routes.py", "none.js", "", "/etc/passwd"]
)
async def test_nothing_else_is_served(client: httpx.AsyncClient, name: str) -> None:
    response = await client.get(f"/static/{build_of_static()}/{name}")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


async def test_a_wrong_turn_is_a_page_for_people_and_a_problem_for_programs() -> None:
    from fastapi import FastAPI  # noqa: PLC0415 - this test alone needs an app of its own

    app = FastAPI()
    install(app)

    async def with_state(scope: dict[str, object], receive: object, send: object) -> None:
        scope["state"] = {
            "links": replace(LINKS, public_url="http://127.0.0.1"),
            "signer": None,
            "database": None,
        }
        await app(scope, receive, send)  # type: ignore[arg-type]

    transport = httpx.ASGITransport(with_state)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        page = await client.get("/nowhere", headers={"accept": "text/html"})
        assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert "strict-transport-security" not in page.headers
        for path, accept in (("/nowhere", "*/*"), ("/v1/nowhere", "text/html")):
            problem = await client.get(path, headers={"accept": accept})
            assert problem.json()["code"] == "not_found"


async def test_with_real_money_there_is_no_mailbox() -> None:
    state = {"links": replace(LINKS, mode="live"), "signer": None, "database": None}
    app = make_app([site_router(read_site())], state)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as opened:
        assert (await opened.get("/mailbox")).status_code == 404
        assert (await opened.get("/console")).status_code == 200
