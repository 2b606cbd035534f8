from collections.abc import AsyncIterator

import pytest

from tests.web_client.origin import FakeOrigin


@pytest.fixture
async def origin() -> AsyncIterator[FakeOrigin]:
    async with FakeOrigin().running() as running:
        yield running
