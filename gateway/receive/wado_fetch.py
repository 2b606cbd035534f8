"""Fetching: studies asked for by a person or a rule, brought from origin servers (PS3.18 §10.4).

What is fetched enters through the intake and is routed like what was sent.
"""

import asyncio
from collections.abc import Callable, Mapping
from weakref import WeakValueDictionary

from gateway import telemetry
from gateway.failures import PermanentFailure
from gateway.intake import Intake
from gateway.model import UID, Instance
from gateway.retrieval import Held, Retrieval, Retrieved, Scope
from gateway.web_client import OriginServer


class Fetcher:
    """Fetches from the configured nodes; the same study only once at a time from each.

    ``held`` tells which instances of a study are here already, and were routed.
    """

    def __init__(self, servers: Mapping[str, OriginServer], intake: Intake, held: Held) -> None:
        self._servers = servers
        self._intake = intake
        self._held = held
        self._at_work: WeakValueDictionary[tuple[str, UID], asyncio.Lock] = WeakValueDictionary()

    def server(self, node: str) -> OriginServer:
        """The origin server of that name. Raises PermanentFailure where there is none."""
        found = self._servers.get(node)
        if found is None:
            known = ", ".join(sorted(self._servers)) or "none"
            raise PermanentFailure(
                f"no node {node[:64]!r} with dicomweb: in the configuration; there are: {known}"
            )
        return found

    async def held(self, study: UID) -> set[UID]:
        """The SOP Instance UIDs of a study that are here."""
        return set(await self._held(study))

    async def fetch(
        self,
        node: str,
        scope: Scope,
        *,
        held: Held | None = None,
        kept: Callable[[Instance], None] = lambda _: None,
        begun: Callable[[Retrieval], None] = lambda _: None,
    ) -> Retrieved:
        """Fetch what of a scope is not ``held``; what does not come is in the result.

        Raises PermanentFailure where no such node is configured.
        """
        server = self.server(node)
        lock = self._at_work.setdefault((node, scope.study), asyncio.Lock())
        async with lock:
            began = asyncio.get_running_loop().time()
            retrieval = Retrieval(server, self._intake, scope, held=held or self._held, kept=kept)
            begun(retrieval)
            result = await retrieval.run()
        _tell(result, asyncio.get_running_loop().time() - began)
        return result


def _tell(result: Retrieved, seconds: float) -> None:
    facts: dict[str, object] = {
        "node": result.node,
        "study": result.scope.study,
        "listed": "unknown" if result.expected is None else result.expected,
        "held": result.held,
        "received": result.received,
        "seconds": round(seconds, 3),
    }
    if result.scope.series:
        facts["series"] = result.scope.series
    if result.complete:
        telemetry.note("study fetched", **facts)
    else:
        telemetry.alarm("study not fetched whole", **facts, reason=result.differences)
