"""What came of something that was tried: a value, or one of the two words for failure."""

from collections.abc import Awaitable
from typing import TypeVar

from gateway import telemetry
from gateway.failures import Failure, TemporaryFailure

T = TypeVar("T")


class Unexpected(TemporaryFailure):
    """An exception nobody expected: a bug, logged as one, and worth another try."""


async def outcome(doing: Awaitable[T], what: str) -> T | Failure:
    """The value, or the failure that was raised in its place.

    An exception that nobody expected is logged as a bug and counts as temporary, so that it costs
    one delivery a try and never a lane its life.
    """
    try:
        return await doing
    except Failure as failure:
        return failure
    except Exception as error:  # noqa: BLE001 - the one place where the unknown becomes temporary
        telemetry.bug(what, error)
        return Unexpected(f"{what}: unexpected {type(error).__name__}, see the log")
