"""An empty archive in a temporary folder."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.index.archive import Archive, opened_archive


@pytest_asyncio.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    async with opened_archive(tmp_path / "spool") as opened:
        yield opened
