"""Moderation's part of the API under one roof."""

from typing import Final

from fastapi import APIRouter

from realtime.moderation import names_routes, reading_routes, review_routes

router: Final = APIRouter(prefix="/v1")
router.include_router(review_routes.router)
router.include_router(reading_routes.router)
router.include_router(names_routes.router)
