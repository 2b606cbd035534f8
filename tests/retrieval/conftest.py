from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.spool import Spool
from tests.retrieval.house import House
from tests.web_client.origin import FakeOrigin


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    spool = Spool.open(tmp_path / "spool", clock=lambda: datetime.now(UTC), refuse_below_free=1)
    yield House(spool)
    await spool.aclose()


@pytest.fixture
async def origin() -> AsyncIterator[FakeOrigin]:
    async with FakeOrigin().running() as running:
        yield running
