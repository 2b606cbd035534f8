from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.deliver.stow_client import StowClient
from gateway.web_client import OriginServer
from tests.deliver.street import Street
from tests.scripted_peer import part10
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


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A Part 10 file of some 200 kB."""
    path = tmp_path / "one.dcm"
    path.write_bytes(part10("1.2.3", 200_000))
    return path
