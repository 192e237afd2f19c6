"""The pages people open, and the one place that decides what a browser may do on them.

What lies under ``static/`` is served under ``/static/<build>/`` and may be cached for ever (``realtime.site``); the HTML
itself is never cached.

Every page gets a Content-Security-Policy that admits nothing but ourselves and the gateway's websocket. The pay
page alone also admits Stripe's hosts, because the payment form has to come from there.
"""

import html
from types import MappingProxyType
from typing import Annotated, Any, Final, cast
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from realtime.site import MEDIA_TYPES, Site, read_site
from stream_events.access import Caller, Role, allow
from stream_events.errors import Problem, not_found, respond
from stream_events.links import Links

WIDGETS: Final = (
    "all",
    "tally",
    "goal",
    "milestones",
    "product",
    "stock",
    "countdown",
    "alerts",
    "ticker",
    "leaderboard",
    "match",
    "farmer",
    "credits",
    "qr",
    "health",
)
# Who may show a page in a frame: our own console and composer an overlay, everybody the embed.
FRAMED_BY: Final = MappingProxyType({"overlay": "'self'", "embed": "*"})
# Pages that show an overlay in a frame.
FRAMING: Final = frozenset({"console", "composer"})
# What search engines may show; every other page is about one order, or somebody's work.
FOUND_BY_SEARCH: Final = frozenset({"index", "shop"})
FOR_EVER: Final = "public, max-age=31536000, immutable"
ASK_AGAIN: Final = "no-cache"

Public = Annotated[Caller, Depends(allow(Role.PUBLIC))]


def content_security_policy(links: Links, page: str = "") -> str:
    """Return the policy of a page; the pay page is the only one where a foreign script may run.

    Trusted Types are not required there: Stripe's own script assigns script addresses and would be stopped.
    """
    pays = page == "pay"
    gateway = urlsplit(links.gateway_url)
    stripe = " ".join(("", *links.stripe_origins)) if pays else ""
    framed_by = FRAMED_BY.get(page, "'none'")
    rules = [
        "default-src 'none'",
        f"script-src 'self'{stripe}",
        "style-src 'self'",
        f"img-src 'self' data:{stripe}",
        f"connect-src 'self' {gateway.scheme}://{gateway.netloc}{stripe}",
        "base-uri 'none'",
        "form-action 'none'",
        f"frame-ancestors {framed_by}",
    ]
    rules += [f"frame-src{stripe}"] if stripe else []
    rules += ["frame-src 'self'"] if page in FRAMING else []
    rules += [] if pays else ["require-trusted-types-for 'script'", "trusted-types 'none'"]
    return "; ".join(rules)


def page_headers(links: Links, page: str = "") -> dict[str, str]:
    """Return the headers of a page: what it may load, who may frame it, that it is never cached, sniffed or referred from."""
    pays = page == "pay"
    headers = {
        "content-security-policy": content_security_policy(links, page),
        "cache-control": ASK_AGAIN,
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "permissions-policy": f"camera=(), geolocation=(), microphone=(), payment={'*' if pays else '()'}",
    }
    if links.public_url.startswith("https://"):
        headers["strict-transport-security"] = "max-age=31536000"
        # A bank's confirmation may open a window and has to find its way back to the pay page.
        headers["cross-origin-opener-policy"] = (
            "same-origin-allow-popups" if pays else "same-origin"
        )
    return headers


def _links(request: Request) -> Links:
    return cast("Links", request.state.links)


def _page(site: Site, name: str, request: Request, status: int = 200) -> Response:
    links = _links(request)
    text = site.pages[name]
    if name == "pay":
        text = text.replace("{{stripe_js}}", html.escape(links.stripe_js_url, quote=True))
    headers = page_headers(links, name)
    if name not in FOUND_BY_SEARCH:
        headers["x-robots-tag"] = "noindex"
    return Response(text, status, headers, MEDIA_TYPES[".html"])


def _static(site: Site, build: str, name: str, request: Request) -> Response:
    asset = site.static.get(name)
    if asset is None:
        raise not_found("file")
    headers = {
        # Under a foreign build's name (a page from before an update) the file may differ: ask again each time.
        "cache-control": FOR_EVER if build == site.build else ASK_AGAIN,
        "cross-origin-resource-policy": "same-origin",
        "etag": asset.etag,
        "vary": "accept-encoding",
        "x-content-type-options": "nosniff",
    }
    if asset.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if asset.gzipped and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(
            asset.gzipped,
            headers=headers | {"content-encoding": "gzip"},
            media_type=asset.media_type,
        )
    return Response(asset.body, headers=headers, media_type=asset.media_type)


def _client(site: Site, name: str, request: Request) -> Response:
    """Answer with a module for other people's pages: under one name for ever, so it is asked for anew each time."""
    answer = _static(site, "", f"client/{name}", request)
    answer.headers["cross-origin-resource-policy"] = "cross-origin"
    return answer


def site_router(site: Site) -> APIRouter:
    """Make the routes of ``site``. All are public: what a page shows, it asks for with a key of its own."""
    router = APIRouter(include_in_schema=False)
    reads: dict[str, Any] = {"methods": ["GET", "HEAD"]}

    @router.api_route("/", **reads)
    def index(request: Request, _: Public) -> Response:
        return _page(site, "index", request)

    @router.api_route("/shop/{stream_id}", **reads)
    def shop(request: Request, _: Public) -> Response:
        return _page(site, "shop", request)

    @router.api_route("/pay/{order_id}", **reads)
    def pay(request: Request, _: Public) -> Response:
        return _page(site, "pay", request)

    @router.api_route("/order", **reads)
    def order(request: Request, _: Public) -> Response:
        return _page(site, "order", request)

    @router.api_route("/overlay/{widget}", **reads)
    def overlay(widget: str, request: Request, _: Public) -> Response:
        known = widget in WIDGETS
        return _page(site, "overlay", request) if known else _page(site, "404", request, 404)

    @router.api_route("/embed/{stream_id}", **reads)
    def embed(request: Request, _: Public) -> Response:
        return _page(site, "embed", request)

    @router.api_route("/farmer", **reads)
    def farmer(request: Request, _: Public) -> Response:
        return _page(site, "farmer", request)

    @router.api_route("/console", **reads)
    def console(request: Request, _: Public) -> Response:
        return _page(site, "console", request)

    @router.api_route("/composer", **reads)
    def composer(request: Request, _: Public) -> Response:
        return _page(site, "composer", request)

    @router.api_route("/moderate", **reads)
    def moderate(request: Request, _: Public) -> Response:
        return _page(site, "moderate", request)

    @router.api_route("/mailbox", **reads)
    def mailbox(request: Request, _: Public) -> Response:
        live = _links(request).mode == "live"
        return _page(site, "404", request, 404) if live else _page(site, "mailbox", request)

    @router.api_route("/client/{name}", **reads)
    def client(name: str, request: Request, _: Public) -> Response:
        return _client(site, name, request)

    @router.api_route("/static/{build}/{name:path}", **reads)
    def static(build: str, name: str, request: Request, _: Public) -> Response:
        return _static(site, build, name, request)

    return router


def install(app: FastAPI) -> None:
    """Serve the pages from ``app``, and answer people who took a wrong turn with a page instead of JSON."""
    site = read_site()
    app.include_router(site_router(site))

    async def on_missing(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        wants_page = "text/html" in request.headers.get("accept", "")
        if wants_page and not request.url.path.startswith("/v1/"):
            return _page(site, "404", request, 404)
        return respond(Problem(404, "not_found", str(error.detail)))

    app.add_exception_handler(404, on_missing)
