"""Tries of what may be tried again: spaced by stamina, or as the server's Retry-After says."""

from collections.abc import AsyncIterator

import stamina
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from gateway import telemetry
from gateway.web_client.failures import Refused, Unanswered
from gateway.web_client.settings import Patience


def retrying(patience: Patience) -> AsyncIterator[stamina.Attempt]:
    """Attempts of one thing, each to be used as a context manager.

    What fails with ``Unanswered`` or a ``Refused`` that may do better is tried again; the last
    failure, and any other, is raised.
    """

    def wait_for(error: Exception) -> bool | float:
        if not isinstance(error, Unanswered | Refused) or not error.again:
            return False
        if error.retry_after is None:
            return True
        return error.retry_after if error.retry_after <= patience.retry_after else False

    return stamina.retry_context(
        on=wait_for,
        attempts=patience.attempts,
        timeout=None,
        wait_initial=patience.first_wait,
        wait_max=patience.longest_wait,
        wait_jitter=patience.first_wait,
    ).__aiter__()


def _tell(details: RetryDetails) -> None:
    telemetry.alarm(
        "origin server is asked again",
        reason=str(details.caused_by),
        attempt=details.retry_num + 1,
        in_s=round(details.wait_for, 1),
    )


set_on_retry_hooks([_tell])
