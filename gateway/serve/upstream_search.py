"""Search in what is here and in what upstream servers have, as if it were one archive.

What is here comes first, so that what has just been sent is seen; then what only upstreams have. A
study or series that is in both is described by the upstream, which has all of it; an instance by
what is here. Where an upstream fails, the answer carries a Warning, or is a 502 where nothing else
was found.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

from gateway import telemetry
from gateway.dicomweb.query import SILENT, Level
from gateway.failures import Failure
from gateway.index import Answer, Asked, Index
from gateway.model import UID
from gateway.serve.upstream import truthful
from gateway.web_client import OriginServer
from gateway.web_client.dicom_json import SERIES_UID, SOP_INSTANCE_UID, STUDY_UID, text

MOST: Final = 5000
"""Results of one place that are looked at for one answer."""
_PAGE: Final = 200
_LEVELS: Final = {
    Level.STUDY: ("studies", STUDY_UID),
    Level.SERIES: ("series", SERIES_UID),
    Level.INSTANCE: ("instances", SOP_INSTANCE_UID),
}
_RETRIEVE_URL: Final = "00081190"
_OURS: Final = frozenset(("limit", "offset", *SILENT))

Row = dict[str, Any]


class UpstreamSearch:
    """The local index and upstream servers, asked together."""

    def __init__(self, index: Index, servers: Sequence[OriginServer]) -> None:
        self._index = index
        self.servers = servers
        """May be replaced."""

    async def search(
        self,
        asked: Asked,
        parameters: Sequence[tuple[str, str]],
        study: UID = "",
        series: UID = "",
    ) -> Answer:
        """As ``Index.search``; ``parameters`` are those of the URL, decoded.

        Raises BadGateway and GatewayTimeout where an upstream fails and nothing else was found.
        """
        query = asked.query
        wanted = MOST if query.limit is None else min(query.offset + query.limit, MOST)
        passed_on = [each for each in parameters if each[0] not in _OURS]
        asking = asyncio.gather(
            *(self._theirs(each, asked, passed_on, study, series, wanted) for each in self.servers)
        )
        try:
            found, whole = await self._local(asked)
        except BaseException:
            asking.cancel()
            raise
        theirs = await asking
        failures: list[Failure] = []
        for answer in theirs:
            if isinstance(answer, Failure):
                failures.append(answer)
            else:
                _merge(found, answer[0], asked.level)
                whole = whole and answer[1]
        if failures and not found:
            raise truthful(failures[0])
        rows = list(found.values())
        end = len(rows) if query.limit is None else query.offset + query.limit
        shown = rows[query.offset : end]
        return Answer(
            pages=_pages(shown, asked),
            results=len(shown),
            matches=len(rows) if whole and not failures else None,
            more=not whole or end < len(rows),
            remarks=tuple(f"not asked: {failure}" for failure in failures),
        )

    async def _local(self, asked: Asked) -> tuple[dict[str, Row], bool]:
        """What is here by UID, and whether that is all of it."""
        answer = await self._index.search(
            replace(asked, query=replace(asked.query, limit=MOST, offset=0))
        )
        key = _LEVELS[asked.level][1]
        found: dict[str, Row] = {}
        async with aclosing(answer.pages) as pages:
            async for page in pages:
                rows = map(json.loads, page)
                found |= {text(row, key): row for row in rows}
        return found, not answer.more

    async def _theirs(
        self,
        server: OriginServer,
        asked: Asked,
        parameters: Sequence[tuple[str, str]],
        study: UID,
        series: UID,
        wanted: int,
    ) -> tuple[dict[str, Row], bool] | Failure:
        """The first results of one upstream by UID, and whether there are no more."""
        level, key = _LEVELS[asked.level]
        found: dict[str, Row] = {}
        try:
            async with aclosing(server.search(level, parameters, study, series)) as matches:
                async for match in matches:
                    if len(found) == wanted:
                        return found, False
                    found[text(match, key)] = match
        except Failure as failure:
            telemetry.alarm(
                "upstream not searched", node=server.settings.name, reason=str(failure)
            )
            return failure
        return found, True


def _merge(found: dict[str, Row], theirs: dict[str, Row], level: Level) -> None:
    """Add an upstream's results; what is known of a study or series gives way to theirs."""
    for uid, row in theirs.items():
        if uid not in found or level != Level.INSTANCE:
            found[uid] = row


async def _pages(rows: Sequence[Row], asked: Asked) -> AsyncGenerator[list[bytes], None]:
    for start in range(0, len(rows), _PAGE):
        yield [_written(row, asked) for row in rows[start : start + _PAGE]]


def _written(row: Row, asked: Asked) -> bytes:
    """The result with the address at which we have it (PS3.18 10.6.3.3)."""
    url = asked.base
    for level, (name, key) in _LEVELS.items():
        if level <= asked.level and (uid := text(row, key)):
            url += f"/{name}/{uid}"
    described = {**row, _RETRIEVE_URL: {"vr": "UR", "Value": [url]}}
    return json.dumps(dict(sorted(described.items())), separators=(",", ":")).encode()
