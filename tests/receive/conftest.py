from collections.abc import AsyncIterator

import pytest_asyncio

from tests.receive.running import Running, running
from tests.scripted_peer import no_loop_errors


@pytest_asyncio.fixture(autouse=True)
async def _no_loop_errors() -> AsyncIterator[None]:
    with no_loop_errors():
        yield


@pytest_asyncio.fixture
async def scp() -> AsyncIterator[Running]:
    async with running() as listening:
        yield listening
