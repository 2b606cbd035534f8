"""DELETE of studies, series and instances, where the configuration allows it (PS3.18 §8.2).

What is still owed to a destination, or held for a person, stays: no request loses an image.
"""

from collections.abc import Sequence
from typing import Protocol

from aiohttp import web

from gateway import telemetry
from gateway.model import UID
from gateway.serve.addresses import INSTANCE, SERIES, STUDY, uids_of
from gateway.serve.problems import NotHere, Problem
from gateway.serve.serving import Holdings


class StillOwed(Problem):
    """Some of it cannot go yet."""

    status = 409


class Remover(Protocol):
    """Removes instances that nobody is owed; ``spool.Spool`` does."""

    async def remove(self, spool_ids: Sequence[int]) -> int:
        """How many of them went."""
        ...


def routes(held: Holdings, remover: Remover) -> list[web.RouteDef]:
    """Delete a study, a series, an instance; ``held`` are those of this gateway alone."""

    async def delete(request: web.Request) -> web.Response:
        study, series, sop = uids_of(request)
        removed = left = 0
        while ids := [each.spool_id async for each in held.instances(study, series, sop)]:
            went = await remover.remove(ids)
            removed += went
            if left := len(ids) - went:
                break
        return _answer("/".join(filter(None, (study, series, sop))), removed, left)

    return [web.delete(path, delete) for path in (STUDY, SERIES, INSTANCE)]


def _answer(what: UID, removed: int, left: int) -> web.Response:
    if not removed and not left:
        raise NotHere(f"nothing is held of {what}")
    telemetry.note("removed on request", what=what, instances=removed, still_owed=left)
    if left:
        raise StillOwed(
            f"{left} instances are still owed to a destination or held, and stay; {removed} are "
            "removed. See dicom-gateway queue list"
        )
    return web.Response(status=204)
