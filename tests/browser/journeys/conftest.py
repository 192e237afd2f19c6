"""One deployment for all journeys, and none beside the other tests: its seven processes never rest."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.browser.conftest import Watch
from tests.browser.deployment import Deployment, deployed


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def deployment(
    browser: object, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Deployment]:
    """The whole product, as the server's own command starts it on an empty folder."""
    folder: Path = tmp_path_factory.mktemp("deployment")
    async with deployed(folder) as running:
        yield running


@pytest.fixture
def pages(deployment: Deployment, watch: Watch) -> Watch:
    """What the pages of this test did wrong, where the deployment's own hosts are none of it."""
    watch.allowed |= deployment.hosts
    return watch
