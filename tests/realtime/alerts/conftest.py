"""A host's desk and an overlay over HTTP, for what tests of alerts share."""

from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from fastapi import APIRouter

import inventory.routes
import realtime.alerts.routes
import stream_events.routes
from tests.factories import Sale


class Desk:
    """Somebody with a credential at one stream."""

    def __init__(self, api: httpx.AsyncClient, sale: Sale, role: str) -> None:
        self._api, self._headers = api, sale.auth(role)
        self._path = f"/v1/streams/{sale.stream_id}"

    async def __call__(self, call: str, body: Any = None, **headers: str) -> httpx.Response:
        method, part = call.split(" ")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self._api.request(
            method, f"{self._path}/{part}", headers={**self._headers, **named}, json=body
        )


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (
        stream_events.routes.router,
        inventory.routes.router,
        realtime.alerts.routes.router,
    )


@pytest.fixture
def desk(api: httpx.AsyncClient, sale: Sale) -> Desk:
    return Desk(api, sale, "host")


@pytest.fixture
def overlay(api: httpx.AsyncClient, sale: Sale) -> Desk:
    return Desk(api, sale, "overlay")
