from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.deliver.street import Street


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    """What was said during the test."""
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def street(tmp_path: Path) -> Street:
    return Street(tmp_path)
