"""What comes of a request that did not do what it should (RFC 9110 §15)."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from gateway.failures import PermanentFailure, TemporaryFailure

_AT_ONCE: Final = frozenset((408, 425, 429, 500, 502, 503, 504))
_UNWELCOME: Final = frozenset((400, 404, 405, 406, 409, 410, 411, 413, 414, 415, 416, 422, 501))


class Unanswered(TemporaryFailure):
    """No answer, or one that broke off: nothing is known of what the server did."""

    status = 0
    retry_after: float | None = None
    again = True


class TimedOut(Unanswered):
    """No answer, or no more of it, in the time that is waited."""


class Refused(TemporaryFailure):
    """The server answered that it cannot, at present or to us.

    ``retry_after`` is in seconds; ``again`` says whether asking soon makes sense.
    """

    def __init__(self, text: str, status: int = 503, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.retry_after = retry_after

    @property
    def again(self) -> bool:
        """Whether the same request may do better in a while."""
        return self.status in _AT_ONCE


class Unwelcome(PermanentFailure):
    """The server answered that it will never do this: status 400, 404, 406 and their like."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def failure_of(
    where: str, status: int, retry_after: str = "", now: datetime | None = None
) -> Refused | Unwelcome:
    """The failure that a status stands for; ``retry_after`` is the header's text."""
    text = f"{where} answered {status} {_phrase(status)}".rstrip()
    if status in (401, 403, 407):
        return Refused(f"{text}: see the credentials of this node", status)
    if status in _UNWELCOME:
        return Unwelcome(text, status)
    seconds = seconds_until(retry_after, now or datetime.now(UTC))
    if seconds is not None:
        text += f", and to come back in {seconds:.0f} s"
    return Refused(text, status, seconds)


def seconds_until(retry_after: str, now: datetime) -> float | None:
    """A Retry-After header in seconds (RFC 9110 §10.2.3), None where there is none."""
    text = retry_after.strip()
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - now).total_seconds(), 0.0)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
