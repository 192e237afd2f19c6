"""The floor's part of the API under one roof: campaigns, streams, the people behind them, and access."""

from typing import Final

from fastapi import APIRouter

from stream_events import campaigns, people, principals, streams

router: Final = APIRouter(prefix="/v1")
router.include_router(campaigns.router)
router.include_router(people.router)
router.include_router(streams.router)
router.include_router(principals.router)
