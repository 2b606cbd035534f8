"""An origin server: what of PS3.18 is asked of it, over one set of connections."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Self

from gateway.dicomweb.multipart import Event
from gateway.failures import PermanentFailure
from gateway.model import UID, is_uid
from gateway.web_client.dicom_json import SERIES_UID, SOP_INSTANCE_UID, STUDY_UID, text
from gateway.web_client.exchange import Exchange
from gateway.web_client.retrieve import Retriever
from gateway.web_client.search import NoSearch, search
from gateway.web_client.settings import ServerSettings
from gateway.web_client.store import Receipt, Upload, store


class OriginServer:
    """One configured node that speaks DICOMweb. Connections are opened when they are needed."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self._exchange = Exchange(settings)
        self._retriever = Retriever(self._exchange)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._exchange.aclose()

    async def search(
        self, level: str, query: Sequence[tuple[str, str]], study: UID = "", series: UID = ""
    ) -> AsyncGenerator[dict[str, Any], None]:
        """All matches at a level (studies, series or instances) as DICOM JSON objects, each once.

        ``query`` are parameters of QIDO-RS, without limit and offset. Raises NoSearch where the
        server does not search; otherwise as ``retrieve``.
        """
        if not self.settings.url:
            raise NoSearch(f"{self.settings.name} has no DICOMweb url, only WADO-URI", 501)
        matches = search(self._exchange, _path(study, series, "", below=level), query)
        async with aclosing(matches):
            async for match in matches:
                yield match

    async def listed(self, study: UID, series: UID = "", sop: UID = "") -> dict[UID, UID]:
        """SOP Instance UID -> Series Instance UID of all that the server has in this scope.

        Where a server does not name the series, each series is asked for by itself.
        """
        query = [("includefield", STUDY_UID), ("includefield", SERIES_UID)]
        if sop:
            query.append(("SOPInstanceUID", sop))
        found: dict[UID, UID] = {}
        async for match in self.search("instances", query, study, series):
            uid = text(match, SOP_INSTANCE_UID)
            if not sop or uid == sop:
                found[uid] = text(match, SERIES_UID) or series
        if not all(found.values()):
            return await self._listed_by_series(study)
        return found

    async def _listed_by_series(self, study: UID) -> dict[UID, UID]:
        found: dict[UID, UID] = {}
        series = [text(match, SERIES_UID) async for match in self.search("series", (), study)]
        for each in filter(None, series):
            found |= await self.listed(study, each)
        return found

    async def retrieve(
        self, study: UID, series: UID = "", sop: UID = ""
    ) -> AsyncGenerator[Event, None]:
        """The files of a study, a series or an instance, as the parts of a multipart body.

        One instance comes from the URI service where the server has no other. Raises Unwelcome
        (status 404 where there is nothing), Refused, Unanswered where the answer is not whole, and
        PermanentFailure for UIDs that are none.
        """
        path = _path(study, series, sop)
        if self.settings.url:
            events = self._retriever.retrieve(path)
        elif series and sop:
            events = self._retriever.retrieve_by_uri(study, series, sop)
        else:
            raise PermanentFailure(
                f"{self.settings.name} has WADO-URI only: name study, series and instance"
            )
        async with aclosing(events):
            async for event in events:
                yield event

    async def store(self, uploads: Sequence[Upload]) -> Receipt:
        """Store files in one request; see ``store.store``."""
        return await store(self._exchange, uploads)


def _path(study: UID, series: UID, sop: UID, below: str = "") -> str:
    """The resource's path; what is no UID never becomes a part of it."""
    named = (("studies", study), ("series", series), ("instances", sop))
    parts: list[str] = []
    for name, uid in named:
        if uid and not is_uid(uid):
            raise PermanentFailure(f"{uid[:80]!r} is not a UID")
        parts += [name, uid] if uid else []
    return "/".join([*parts, below] if below else parts)
