"""A spool in a temporary folder, and its clock."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.spool import Spool
from tests.spool.arrivals import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest_asyncio.fixture
async def spool(folder: Path, clock: Clock) -> AsyncIterator[Spool]:
    opened = Spool.open(folder, clock=clock, refuse_below_free=0, keep=timedelta(days=7))
    yield opened
    await opened.aclose()
