"""Apps for tests: the routers a test names, with exactly the state it gives, and nothing else in between."""

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from stream_events import errors, outages


def make_app(routers: Iterable[APIRouter], state: Mapping[str, Any]) -> ASGIApp:
    """Return an app that serves ``routers`` and whose ``request.state`` holds ``state``.

    The in-process transport of httpx runs no lifespan, which is where the state comes from in earnest.
    """
    app = FastAPI()
    errors.install(app)
    outages.install(app)
    for router in routers:
        app.include_router(router)

    async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = dict(state)
        await app(scope, receive, send)

    return with_state
