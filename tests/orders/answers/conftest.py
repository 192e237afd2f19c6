"""The app under test here serves answers and nothing else."""

from collections.abc import Sequence

import pytest
from fastapi import APIRouter

from orders.answers.routes import router


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (router,)
