"""What the roof put into ``request.state``, typed: the one place of the floor that knows the names in there."""

from typing import Literal, cast

from fastapi import Request
from redis.asyncio import Redis

from stream_events.access import Signer
from stream_events.database import Database
from stream_events.kept_answers import KeptAnswers
from stream_events.limits import Limits


def database_of(request: Request) -> Database:
    """Return the way to PostgreSQL."""
    return cast("Database", request.state.database)


def redis_of(request: Request) -> Redis:
    """Return the plain client of the gate's engine."""
    return cast("Redis", request.state.redis)


def signer_of(request: Request) -> Signer:
    """Return the deployment's signer."""
    return cast("Signer", request.state.signer)


def limits_of(request: Request) -> Limits:
    """Return the rates that callers may not pass."""
    return cast("Limits", request.state.limits)


def kept_answers_of(request: Request) -> KeptAnswers:
    """Return the public answers that this process keeps for a moment."""
    return cast("KeptAnswers", request.state.kept_answers)


def mode_of(request: Request) -> Literal["sandbox", "live"]:
    """Return whether this deployment takes test money or real money."""
    return cast("Literal['sandbox', 'live']", request.state.links.mode)
