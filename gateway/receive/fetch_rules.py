"""Rules that look at origin servers on a schedule and fetch what is new there.

Each rule searches every so often and takes its turns one after the other: a slow server makes
turns rarer, never two at once. What failed is tried again at the next turn. A study counts as
fetched only when everything that the server lists was here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Final

from gateway import telemetry
from gateway.config.filters import Wanted, queries
from gateway.config.windows import Window, within
from gateway.failures import Failure
from gateway.model import UID, is_uid
from gateway.receive.fetch_memory import Memory
from gateway.receive.wado_fetch import Fetcher
from gateway.retrieval import Retrieval, Retrieved, Scope
from gateway.web_client.dicom_json import (
    SERIES_INSTANCES,
    SERIES_UID,
    STUDY_INSTANCES,
    STUDY_UID,
    number,
    text,
)

SHORTEST_REST: Final = 1.0
"""Seconds between two turns of a rule whose turns last longer than its ``every``."""
LOOK_AT_THE_CLOCK: Final = 60.0
"""Seconds between two looks whether a rule's time has come."""


@dataclass(frozen=True, slots=True)
class FetchRule:
    """``every`` so often, look at ``node`` for studies (or series) that meet ``filter``.

    Only ``during`` these windows, () always.
    """

    name: str
    node: str
    every: timedelta
    filter: Mapping[str, Wanted]
    by_series: bool = False
    during: Sequence[Window] = ()


@dataclass(slots=True)
class Turn:
    """What one look came to: studies or series found, those fetched whole, and not whole."""

    found: int = 0
    fetched: int = 0
    failed: int = 0


class FetchRules:
    """Follows all rules. ``zone`` is what ``today`` and the windows mean, None the machine's."""

    def __init__(
        self,
        rules: Sequence[FetchRule],
        fetcher: Fetcher,
        memory: Memory,
        *,
        clock: Callable[[], datetime],
        zone: tzinfo | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rules = rules
        self._fetcher = fetcher
        self._memory = memory
        self._clock = clock
        self._zone = zone
        self._sleep = sleep

    async def run(self) -> None:
        """Follow the rules until cancelled."""
        async with asyncio.TaskGroup() as group:
            for rule in self._rules:
                group.create_task(self._follow(rule), name=f"fetch rule {rule.name}")

    async def turn(self, rule: FetchRule) -> Turn:
        """Look once, and fetch what is new. Raises Failure where the search fails."""
        server = self._fetcher.server(rule.node)
        local = self._clock().astimezone(self._zone)
        level = "series" if rule.by_series else "studies"
        found: dict[Scope, int | None] = {}
        for query in queries(rule.filter, local.date()):
            query.append(("includefield", _count_tag(rule)))
            async for match in server.search(level, query):
                series = text(match, SERIES_UID) if rule.by_series else ""
                scope = Scope(text(match, STUDY_UID), series)
                if is_uid(scope.study) and (is_uid(scope.series) or not rule.by_series):
                    found[scope] = number(match, _count_tag(rule))
        turn = Turn(found=len(found))
        for scope, count in await self._memory.due(rule.node, found.items(), self._clock()):
            if not self._time_for(rule):
                break
            if await self._fetch(rule.node, scope, count):
                turn.fetched += 1
            else:
                turn.failed += 1
        return turn

    async def _follow(self, rule: FetchRule) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._time_for(rule):
                await self._sleep(min(LOOK_AT_THE_CLOCK, rule.every.total_seconds()))
                continue
            began = loop.time()
            await self._told(rule)
            left = rule.every.total_seconds() - (loop.time() - began)
            await self._sleep(max(left, SHORTEST_REST))

    async def _told(self, rule: FetchRule) -> None:
        """One turn that ends well or is told of: the next one comes in any case."""
        try:
            turn = await self.turn(rule)
        except Failure as failure:
            telemetry.alarm("a fetch rule failed", rule=rule.name, reason=str(failure))
        except Exception as error:  # noqa: BLE001 - a bug in one turn does not end the rule
            telemetry.bug(f"fetch rule {rule.name}", error)
        else:
            if turn.fetched or turn.failed:
                telemetry.note(
                    "a fetch rule had its turn",
                    rule=rule.name,
                    found=turn.found,
                    fetched=turn.fetched,
                    failed=turn.failed,
                )

    def _time_for(self, rule: FetchRule) -> bool:
        return not rule.during or within(rule.during, self._clock(), self._zone)

    async def _fetch(self, node: str, scope: Scope, count: int | None) -> bool:
        """Fetch what was never here of one study or series; whether that is all of it."""
        before = await self._memory.instances(node, scope.study)
        retrievals: list[Retrieval] = []
        received: list[UID] = []

        async def held(study: UID) -> set[UID]:
            return before | await self._fetcher.held(study)

        result = await self._fetcher.fetch(
            node,
            scope,
            held=held,
            kept=lambda instance: received.append(instance.sop_instance_uid),
            begun=retrievals.append,
        )
        settled = set(received)
        if result.complete:
            settled |= (retrievals[0].listed or {}).keys()
        await self._memory.remember(
            node, scope, settled, complete=_settled_count(result, count), now=self._clock()
        )
        return result.complete


def _settled_count(result: Retrieved, count: int | None) -> int | None:
    """The count to remember where nothing is left to be tried, None where something is.

    What cannot be taken is not fetched at each turn, but when the count is believed no longer.
    """
    if result.failure is not None or result.missing:
        return None
    return result.expected if count is None else count


def _count_tag(rule: FetchRule) -> str:
    return SERIES_INSTANCES if rule.by_series else STUDY_INSTANCES
