"""One retrieval: what the origin server lists, less what is held, until it is here or refused.

The server's list comes from QIDO-RS. What breaks off is asked for again, in smaller pieces, as
long as something still comes; nothing that is durable is asked for twice. The result names what
is missing: half a study never passes for a whole one.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from gateway.failures import Failure, PermanentFailure, TemporaryFailure
from gateway.incoming import TooLarge
from gateway.intake import Intake
from gateway.model import UID, Arrival, Instance, Origin
from gateway.retrieval.plan import Level, Scope, asks
from gateway.retrieval.taking import Door, Taking
from gateway.web_client import OriginServer, Refused, Unanswered, Unwelcome
from gateway.web_client.retry import retrying
from gateway.web_client.search import NoSearch

_MOST_BROKEN: Final = 3
"""Requests of one round that may break off before the round ends."""

Held: TypeAlias = Callable[[UID], Awaitable[Collection[UID]]]
"""The SOP Instance UIDs of a study that need not be fetched."""


class NothingThere(PermanentFailure):
    """The server has nothing of the study, series or instance."""


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What came of a retrieval.

    ``expected`` is how many instances the server lists, None where it has no QIDO-RS. ``held``
    of them were here before, ``received`` came now, ``unlisted`` of those without being listed.
    ``missing`` did not come; ``refused`` maps those that cannot be taken to the reasons.
    """

    scope: Scope
    node: str
    expected: int | None = None
    held: int = 0
    received: int = 0
    bytes: int = 0
    unlisted: int = 0
    missing: tuple[UID, ...] = ()
    refused: Mapping[UID, str] = field(default_factory=dict)
    failure: Failure | None = None

    @property
    def complete(self) -> bool:
        """Everything that the server has of this is here."""
        return not self.missing and not self.refused and self.failure is None

    @property
    def differences(self) -> str:
        """In words what is not as it should be; "" where all is well."""
        found = [str(self.failure)] if self.failure is not None else []
        if self.missing:
            found.append(f"{len(self.missing)} of {self.expected} instances did not come")
        if self.refused:
            uid, reason = next(iter(self.refused.items()))
            found.append(f"{len(self.refused)} instances cannot be taken, {uid}: {reason}")
        return "; ".join(found)


class Retrieval:
    """Brings one scope from one origin server; ``run`` it once.

    ``kept`` is told of each instance that is durable, ``seen`` before it is.
    """

    def __init__(
        self,
        server: OriginServer,
        intake: Intake,
        scope: Scope,
        *,
        held: Held,
        routed: bool = True,
        kept: Callable[[Instance], None] = lambda _: None,
        seen: Callable[[Instance], None] | None = None,
    ) -> None:
        self.scope = scope
        self._server = server
        self._held_by = held
        self._tell, self._show = kept, seen
        self._coming = asyncio.Event()
        arrival = Arrival.WADO_RS if routed else Arrival.UPSTREAM
        name, host = server.settings.name, server.settings.host
        self._origin = Origin(arrival, calling=name, address=host)
        self._intake, self._routed = intake, routed
        self.listed: dict[UID, UID] | None = None
        self.is_listed = False
        self._held: frozenset[UID] = frozenset()
        self._received: set[UID] = set()
        self._bytes = 0
        self._refused: dict[UID, str] = {}
        self._tries: Counter[UID] = Counter()
        self._level = Level.STUDY
        self._whole = False

    @property
    def missing(self) -> set[UID]:
        """What is listed and neither held, received nor refused."""
        settled = self._held | self._received | self._refused.keys()
        return set(self.listed or ()) - settled

    @property
    def received(self) -> int:
        """How many instances have come by now."""
        return len(self._received)

    async def look_up(self) -> None:
        """Ask what there is. Raises what ``OriginServer.listed`` raises, but NoSearch."""
        scope = self.scope
        try:
            self.listed = await self._server.listed(scope.study, scope.series, scope.sop)
        except NoSearch:
            self.listed = None
        self._held = frozenset(await self._held_by(scope.study))
        self.is_listed = True

    def pass_over(self, instances: Collection[UID]) -> None:
        """These come from elsewhere."""
        self._held |= frozenset(instances)

    async def run(self, *, eager: bool = False) -> Retrieved:
        """Retrieve what is missing. All failures are in the result.

        ``eager`` asks for the whole scope at once, while the list is still on its way: where
        nothing is held, the first instance comes sooner.
        """
        try:
            if eager and not self.is_listed:
                await self._eagerly()
            elif not self.is_listed:
                await self.look_up()
            await self._rounds()
        except Failure as failure:
            return self._result(failure)
        if self.listed == {} or (self.listed is None and not self._got_anything()):
            return self._result(NothingThere(f"{self._server.settings.name} has none of it"))
        return self._result(None)

    async def _eagerly(self) -> None:
        """Ask, and list once something is kept; what goes wrong in asking has its rounds.

        Not before: making the list would keep the server from sending the first instance, and
        us from handing it out.
        """
        listing = asyncio.create_task(self._look_up_later())
        try:
            await self._ask(self.scope)
        except Unanswered:
            self._level = Level.SERIES
        except (Refused, Unwelcome):
            pass
        except BaseException:
            listing.cancel()
            raise
        finally:
            self._coming.set()
            await asyncio.wait({listing})
        listing.result()

    async def _look_up_later(self) -> None:
        await self._coming.wait()
        await self.look_up()

    def _got_anything(self) -> bool:
        return bool(self._received or self._refused or self._held)

    async def _rounds(self) -> None:
        """Rounds until all is settled, or the tries of one are used up without a gain."""
        while True:
            before = len(self._received)
            try:
                async for attempt in retrying(self._server.settings.patience):
                    with attempt:
                        await self._round()
            except Unanswered:
                if len(self._received) == before:
                    raise
            except Refused as failure:
                if not failure.again or len(self._received) == before:
                    raise
            else:
                return

    async def _round(self) -> None:
        """Ask for all that is missing, in smaller pieces as long as some stays away."""
        while pieces := self._pieces():
            level, finer = self._level, Level(min(self._level + 1, Level.INSTANCE))
            try:
                await self._ask_all(pieces)
            except Unanswered:
                self._level = finer
                raise
            if level is Level.INSTANCE:
                return
            self._level = finer

    def _pieces(self) -> list[Scope]:
        if self.listed is None:
            return [] if self._whole else [self.scope]
        pieces = asks(self.scope, self.listed, self.missing, self._level)
        return sorted(pieces, key=lambda piece: self._tries[piece.sop])

    async def _ask_all(self, pieces: Collection[Scope]) -> None:
        """Ask for each piece, several at once. Raises the first failure once all have ended."""
        failures: list[TemporaryFailure] = []
        waiting = iter(pieces)

        async def work() -> None:
            for piece in waiting:
                try:
                    await self._ask(piece)
                except TemporaryFailure as failure:
                    failures.append(failure)
                if len(failures) >= _MOST_BROKEN or not all(map(_again, failures)):
                    return

        workers = min(self._server.settings.limits.parallel, len(pieces))
        results = await asyncio.gather(*(work() for _ in range(workers)), return_exceptions=True)
        for result in results:
            if result is not None:
                raise result
        if failures:
            raise next((each for each in failures if not _again(each)), failures[0])

    async def _ask(self, piece: Scope) -> None:
        self._tries[piece.sop] += 1
        taking = Taking(self._door(piece))
        answer = self._server.retrieve(piece.study, piece.series, piece.sop)
        try:
            async with aclosing(answer) as events:
                await taking.take(events)
            self._whole = True
        except TooLarge:
            return  # it is among the refused; what stood behind it is asked for by itself
        except Unwelcome as failure:  # of a series or study: smaller pieces may be there
            if piece.sop:
                self._refused[piece.sop] = str(failure)
            elif self.listed is None:
                raise

    def _door(self, piece: Scope) -> Door:
        def refused(uid: UID, failure: PermanentFailure) -> None:
            self._refused[piece.sop or uid] = str(failure)

        return Door(
            intake=self._intake,
            origin=self._origin,
            study=self.scope.study,
            max_instance=self._server.settings.limits.max_instance,
            routed=self._routed,
            wanted=lambda uid: self._wants(uid, piece),
            kept=self._kept,
            refused=refused,
            seen=None if self._show is None else self._seen,
        )

    def _wants(self, uid: UID, piece: Scope) -> bool:
        """Whether to keep what has come. Raises PermanentFailure for what was not asked for."""
        if piece.sop and uid != piece.sop:
            raise PermanentFailure(f"asked for {piece.sop}, the origin server sent {uid[:64]}")
        return uid not in self._held and uid not in self._received

    def _seen(self, instance: Instance) -> None:
        if self._show is not None:
            self._show(instance)

    def _kept(self, instance: Instance) -> None:
        self._coming.set()
        self._received.add(instance.sop_instance_uid)
        self._refused.pop(instance.sop_instance_uid, None)
        self._bytes += instance.size
        self._tell(instance)

    def _result(self, failure: Failure | None) -> Retrieved:
        listed = self.listed or {}
        # What did not say its name was asked for by itself: it is missing or refused by name.
        refused = {uid: why for uid, why in self._refused.items() if uid or not listed}
        return Retrieved(
            scope=self.scope,
            node=self._server.settings.name,
            expected=None if self.listed is None else len(listed),
            held=len(self._held & listed.keys()) if listed else len(self._held),
            received=len(self._received),
            bytes=self._bytes,
            unlisted=len(self._received - listed.keys()) if listed else 0,
            missing=tuple(sorted(self.missing)),
            refused=refused,
            failure=failure,
        )


def _again(failure: TemporaryFailure) -> bool:
    return isinstance(failure, Unanswered | Refused) and failure.again
