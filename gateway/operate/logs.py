"""Log set-up: lines a person can read on a terminal, one JSON object a line otherwise."""

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog


def set_up(*, level: str = "info", stream: TextIO | None = None, json: bool | None = None) -> None:
    """Send all logs to ``stream`` (stderr by default); ``json`` None decides by the terminal.

    What was logged through once stays as it is: to be called before anything is logged.

    Control characters are escaped and values cut at 256 characters, so that what a peer sent
    cannot forge lines. Tracebacks show no local variables: those may hold a patient's data.
    """
    stream = stream or sys.stderr
    as_json = not stream.isatty() if json is None else json
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=stream.isatty(),
            pad_event_to=22,
            exception_formatter=_plain,
        )
    )
    exceptions = [structlog.processors.format_exc_info] if as_json else []
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso" if as_json else "%H:%M:%S", utc=as_json),
            _bounded,
            *exceptions,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_number(level)),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,  # else one is put together for every line
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Bridge()], force=True)


class _Bridge(logging.Handler):
    """Lines of libraries (asyncio, aiohttp) in the form of our own."""

    def emit(self, record: logging.LogRecord) -> None:
        """Called by the logging module."""
        log = structlog.get_logger("gateway")
        facts: dict[str, Any] = {"exc_info": record.exc_info} if record.exc_info else {}
        log.log(record.levelno, record.getMessage(), library=record.name, **facts)


def _plain(stream: TextIO, exception: Any) -> None:
    """A traceback without local variables, whose control characters are harmless."""
    lines = "".join(traceback.format_exception(*exception)).splitlines()
    safe = (line.encode("unicode_escape").decode("ascii") for line in lines if line.strip())
    stream.write("\n" + "\n".join(f"    {line}" for line in safe))


def _number(level: str) -> int:
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"log level {level!r}; allowed: debug, info, warning, error")
    return number


def _bounded(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str) and (len(value) > 256 or not value.isprintable()):
            event[key] = value[:256].encode("unicode_escape").decode("ascii")
    return event
