"""What every test leaves as it found it, and the figures that some have counted."""

import logging
from collections.abc import Callable, Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

from gateway import telemetry

settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")  # how long an example takes tells what else the machine does


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """``figures(text)``: what the run has counted, to be read at its end."""
    return lambda text: request.node.user_properties.append(("figures", text))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell all figures, whichever process counted them."""
    ended = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    told = [text for report in ended for name, text in report.user_properties if name == "figures"]
    if told:
        terminalreporter.section("figures")
        terminalreporter.write_line("\n".join(told))


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """A test that sets the logs up, as the commands do, sets them up for itself alone."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    if root.handlers != handlers:
        root.handlers[:] = handlers
        root.setLevel(level)
    if structlog.is_configured():
        structlog.reset_defaults()
        telemetry._log = structlog.get_logger("gateway")
