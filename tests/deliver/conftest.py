from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.deliver.stow_client import StowClient
from gateway.web_client import OriginServer
from tests.deliver.street import Street
from tests.web_client.origin import FakeOrigin


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    """What was said during the test."""
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def street(tmp_path: Path) -> Street:
    return Street(tmp_path)


@pytest.fixture
async def origin() -> AsyncIterator[FakeOrigin]:
    """An origin server that holds nothing yet."""
    async with FakeOrigin().running() as running:
        yield running


@pytest.fixture
async def client(origin: FakeOrigin) -> AsyncIterator[StowClient]:
    """What stores there."""
    async with OriginServer(origin.settings()) as server:
        yield StowClient(server)
