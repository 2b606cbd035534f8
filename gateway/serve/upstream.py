"""What upstream origin servers hold, served as if it were here: the transparent proxy.

What is here comes first; what an upstream lists and is not here is retrieved as it is stored,
kept in the spool, owed to nobody, and handed out instance by instance, each as soon as it is
complete: that it is kept is promised to nobody, so nobody waits for the disk. Clients that want
the same share one retrieval; one that leaves stops it for none of them.
"""

import asyncio
from collections import OrderedDict
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Collection,
    Iterable,
    Sequence,
)
from contextlib import aclosing
from typing import Final, TypeVar

from gateway import telemetry
from gateway.failures import Failure, TemporaryFailure
from gateway.intake import Intake
from gateway.model import UID, Instance
from gateway.retrieval import Held, NothingThere, Retrieval, Retrieved, Scope
from gateway.serve.problems import Problem
from gateway.serve.serving import Holdings
from gateway.web_client import OriginServer, Refused, TimedOut, Unanswered, Unwelcome

T = TypeVar("T")

FRESH: Final = 30.0
"""Seconds for which an upstream is not asked again whether a study has grown."""
REMEMBERED: Final = 10_000
"""Studies and series that are known to be here whole."""


class BadGateway(Problem):
    """An upstream failed, refused us, or gave less than it lists."""

    status = 502


class GatewayTimeout(Problem):
    """An upstream did not answer in time."""

    status = 504


class UpstreamHoldings:
    """Local holdings, completed from upstream servers."""

    def __init__(self, local: Holdings, servers: Sequence[OriginServer], intake: Intake) -> None:
        self._local = local
        self.servers = servers
        """May be replaced: what is being retrieved comes from the former ones."""
        self._intake = intake
        self._running: list[_Bringing] = []
        self._whole: OrderedDict[Scope, float] = OrderedDict()

    async def instances(
        self, study: UID, series: UID = "", sop: UID = ""
    ) -> AsyncGenerator[Instance, None]:
        """As ``Holdings.instances``: those that are here, then the others as they come.

        Raises BadGateway and GatewayTimeout where it cannot be told, or got, what is missing.
        """
        if not self.servers:
            async for instance in self._local.instances(study, series, sop):
                yield instance
            return
        scope = Scope(study, series, sop)
        here = [each async for each in self._local.instances(study, series, sop)]
        bringing = None if sop and here else await self._bringing(scope, here)
        seen: set[UID] = set()
        for instance in here:
            seen.add(instance.sop_instance_uid)
            yield instance
        if bringing is None:
            return
        async for instance in bringing.follow():
            uid = instance.sop_instance_uid
            if uid not in seen and scope.covers(_scope_of(instance)):
                seen.add(uid)
                yield instance

    async def instance(self, study: UID, series: UID, sop: UID) -> Instance | None:
        """As ``Holdings.instance``: what is here, else as ``instances``."""
        here = await self._local.instance(study, series, sop)
        if here is not None or not self.servers:
            return here
        async with aclosing(self.instances(study, series, sop)) as coming:
            return await anext(coming, None)

    async def sample(self, study: UID, series: UID, most: int) -> Sequence[Instance]:
        """As ``Holdings.sample``, of what is here; else the first ones that come."""
        found = list(await self._local.sample(study, series, most))
        if not found:
            async with aclosing(self.instances(study, series)) as coming:
                async for instance in coming:
                    found.append(instance)
                    if len(found) >= most:
                        break
        return found

    async def version(self, study: UID, series: UID) -> str:
        """As ``Holdings.version``."""
        return "" if self.servers else await self._local.version(study, series)

    async def aclose(self) -> None:
        """Stop what is being retrieved; what is durable stays."""
        tasks = [each.task for each in self._running]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _bringing(self, scope: Scope, here: Collection[Instance]) -> "_Bringing | None":
        """The retrieval that brings the rest of a scope; None where all of it is here."""
        for running in self._running:
            if running.scope.covers(scope) and not running.task.done():
                return running
        if here and self._is_fresh(scope):
            return None
        bringing = _Bringing(scope, self.servers, self._intake, self._held)
        if here and not await self._is_more(bringing):
            self._note_whole(scope)
            return None
        bringing.start(eager=not here)
        self._running.append(bringing)
        bringing.task.add_done_callback(lambda _: self._done(bringing))
        return bringing

    async def _is_more(self, bringing: "_Bringing") -> bool:
        """Whether an upstream lists what is not here.

        Where none can be asked, what was whole before still is as far as anybody can tell.
        """
        try:
            more = await bringing.look_up()
        except Failure as failure:
            if self._age(bringing.scope) is None:
                raise truthful(failure) from failure
            telemetry.alarm("served without asking upstream", reason=str(failure))
            return False
        return more or (bringing.blind and self._age(bringing.scope) is None)

    async def _held(self, study: UID) -> set[UID]:
        return {each.sop_instance_uid async for each in self._local.instances(study)}

    def _done(self, bringing: "_Bringing") -> None:
        self._running.remove(bringing)
        if bringing.whole:
            self._note_whole(bringing.scope)

    def _is_fresh(self, scope: Scope) -> bool:
        age = self._age(scope)
        return age is not None and age < FRESH

    def _age(self, scope: Scope) -> float | None:
        """Seconds since all of a scope was found to be here, None where it never was."""
        wider = (scope, Scope(scope.study, scope.series), Scope(scope.study))
        moments = [self._whole[each] for each in wider if each in self._whole]
        return asyncio.get_running_loop().time() - max(moments) if moments else None

    def _note_whole(self, scope: Scope) -> None:
        self._whole[scope] = asyncio.get_running_loop().time()
        self._whole.move_to_end(scope)
        while len(self._whole) > REMEMBERED:
            self._whole.popitem(last=False)


class _Bringing:
    """One scope on its way from all upstreams, for any number of clients."""

    def __init__(
        self,
        scope: Scope,
        servers: Sequence[OriginServer],
        intake: Intake,
        held: Held,
    ) -> None:
        self.scope = scope
        self.task: asyncio.Task[list[Retrieved]]
        self._arrived: list[Instance] = []
        self._uids: set[UID] = set()
        self._news = asyncio.Event()
        self._retrievals = [
            Retrieval(
                server,
                intake,
                scope,
                held=held,
                routed=False,
                kept=self._arrives,
                seen=self._arrives,
            )
            for server in servers
        ]

    @property
    def whole(self) -> bool:
        """It has ended, and brought all there is."""
        if self.task.cancelled() or self.task.exception() is not None:
            return False
        return all(_is_whole(each) for each in self.task.result())

    @property
    def blind(self) -> bool:
        """An upstream cannot say what it has."""
        return any(each.is_listed and each.listed is None for each in self._retrievals)

    async def look_up(self) -> bool:
        """Ask all upstreams what they have; whether that is more than is here."""
        await _all(each.look_up() for each in self._retrievals)
        claimed: set[UID] = set()
        for retrieval in self._retrievals:
            retrieval.pass_over(claimed)
            claimed |= retrieval.missing
        return bool(claimed)

    def start(self, *, eager: bool) -> None:
        """Begin to retrieve."""
        self.task = asyncio.create_task(self._run(eager), name=f"upstream {self.scope.study}")
        self.task.add_done_callback(lambda _: self._news.set())

    async def follow(self) -> AsyncIterator[Instance]:
        """What has arrived and what arrives. Raises what kept the rest away."""
        at = 0
        while True:
            while at < len(self._arrived):
                yield self._arrived[at]
                at += 1
            if self.task.done():
                break
            self._news.clear()
            await self._news.wait()
        if self.task.cancelled():
            raise TemporaryFailure("the gateway stops")
        for result in self.task.result():
            self._check(result)

    async def _run(self, eager: bool) -> list[Retrieved]:
        eager = eager and len(self._retrievals) == 1
        if not eager and not all(each.is_listed for each in self._retrievals):
            await self.look_up()
        return await _all(each.run(eager=eager) for each in self._retrievals)

    def _check(self, result: Retrieved) -> None:
        if result.refused:
            telemetry.alarm(
                "served without what upstream could not give",
                node=result.node,
                study=self.scope.study,
                reason=result.differences,
            )
        if _is_whole(result):
            return
        raise truthful(result.failure or Unanswered(f"{result.node}: {result.differences}"))

    def _arrives(self, instance: Instance) -> None:
        """It is complete, or durable: whichever is told first."""
        if instance.sop_instance_uid not in self._uids:
            self._uids.add(instance.sop_instance_uid)
            self._arrived.append(instance)
            self._news.set()


def truthful(failure: Failure) -> Failure:
    """An upstream's failure as a client of ours has to hear of it (RFC 9110 15.6.3, 15.6.5).

    What is our own failure stays what it is.
    """
    if isinstance(failure, TimedOut):
        return GatewayTimeout(f"upstream: {failure}")
    if isinstance(failure, Unanswered | Refused | Unwelcome):
        return BadGateway(f"upstream: {failure}")
    return failure


def _is_whole(result: Retrieved) -> bool:
    """Nothing is left that another try could bring; also where the server has nothing of it."""
    nothing = isinstance(result.failure, NothingThere) or _not_found(result.failure)
    return not result.missing and (result.failure is None or nothing)


def _not_found(failure: Failure | None) -> bool:
    return isinstance(failure, Unwelcome) and failure.status in (404, 410)


def _scope_of(instance: Instance) -> Scope:
    return Scope(instance.study_uid, instance.series_uid, instance.sop_instance_uid)


async def _all(doing: Iterable[Awaitable[T]]) -> list[T]:
    """The results of all; the first failure once none is under way any more."""
    results = await asyncio.gather(*doing, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
