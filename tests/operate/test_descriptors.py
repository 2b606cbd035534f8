"""The process may open what the system lets it."""

import resource
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from gateway.operate.descriptors import MOST, raise_limit


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_the_soft_limit_becomes_the_hard_one_and_is_told() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    with capture_logs() as lines:
        raise_limit()
        raise_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (wanted, hard)
    (line,) = lines
    assert (line["before"], line["limit"]) == (256, wanted)


def test_a_limit_that_cannot_be_raised_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError("not permitted")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    monkeypatch.setattr(resource, "setrlimit", refused)
    with capture_logs() as lines:
        raise_limit()
    assert (lines[0]["log_level"], lines[0]["limit"]) == ("warning", 256)
    monkeypatch.undo()
