"""WADO-RS and WADO-URI: studies, series and instances as files, streamed (PS3.18 §10.4, §9).

What is stored is asked for as it is stored: it is smaller, and nobody has changed its pixels.
Servers that refuse this are asked less precisely, and remembered.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

from gateway.dicomweb.media_types import (
    ANYTHING,
    DICOM,
    MULTIPART,
    OCTET_STREAM,
    MediaType,
    parse_media_type,
)
from gateway.dicomweb.multipart import (
    Event,
    MalformedMultipart,
    PartBegins,
    PartData,
    PartEnds,
    Reader,
    boundary_of,
)
from gateway.web_client.exchange import Answer, Ask, Exchange
from gateway.web_client.failures import Unanswered, Unwelcome

_FORMS: Final = (
    f'{MULTIPART}; type="{DICOM}"; transfer-syntax=*',
    f"{MULTIPART}; type={DICOM}; transfer-syntax=*",
    f'{MULTIPART}; type="{DICOM}"',
    ANYTHING,
)
_URI_FORMS: Final[tuple[tuple[tuple[str, str], ...], ...]] = ((("transferSyntax", "*"),), ())
_PLAIN: Final = {"Accept-Encoding": "identity"}
_WRONG_FORM: Final = frozenset((400, 406, 415))


class Retriever:
    """Retrieves from one origin server, in the form that it is known to answer."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._forms: dict[str, int] = {}
        """The first way of asking that each service took."""

    def retrieve(self, path: str) -> AsyncGenerator[Event, None]:
        """The instances of a study, series or instance resource, as parts of a multipart body.

        Raises Unwelcome with status 404 where there is none, Refused, and Unanswered where the
        answer is not whole or not what was asked for.
        """
        url = f"{self._exchange.settings.url}/{path}"
        return self._answered("rs", [Ask(url, form, headers=_PLAIN) for form in _FORMS])

    def retrieve_by_uri(self, study: str, series: str, sop: str) -> AsyncGenerator[Event, None]:
        """One instance from the URI service, as if it were a multipart body's only part."""
        url = self._exchange.settings.wado_uri
        names = (("studyUID", study), ("seriesUID", series), ("objectUID", sop))
        query = (("requestType", "WADO"), ("contentType", DICOM), *names)
        asks = [Ask(url, DICOM, (*query, *form), headers=_PLAIN) for form in _URI_FORMS]
        return self._answered("uri", asks)

    async def _answered(self, service: str, asks: Sequence[Ask]) -> AsyncGenerator[Event, None]:
        """What the first of some ways of asking brings that the service does not refuse."""
        for form in range(self._forms.get(service, 0), len(asks)):
            async with self._exchange.answer(asks[form]) as answer:
                if answer.status in _WRONG_FORM and form + 1 < len(asks):
                    continue
                await _check(answer, self._exchange.settings.name)
                self._forms[service] = form
                async with aclosing(self._parts(answer)) as events:
                    async for event in events:
                        yield event
                return

    async def _parts(self, answer: Answer) -> AsyncGenerator[Event, None]:
        name = self._exchange.settings.name
        content = parse_media_type(answer.headers.get("Content-Type", ""))
        if content.type in (DICOM, OCTET_STREAM):
            async for event in _single(answer, content, name):
                yield event
            return
        try:
            reader = Reader(boundary_of(content))
            async for data in answer.chunks():
                for event in reader.feed(data):
                    yield event
            reader.close()
        except MalformedMultipart as error:
            raise Unanswered(f"{name}: {error}") from None


async def _check(answer: Answer, name: str) -> None:
    if answer.status == 204:
        raise Unwelcome(f"{name} answered 204 No Content: it has nothing of this", 404)
    if answer.status not in (200, 206):
        raise await answer.refusal()


async def _single(answer: Answer, content: MediaType, name: str) -> AsyncGenerator[Event, None]:
    """A body that is one file; without a frame nobody could tell that it is whole."""
    if not answer.framed:
        raise Unanswered(
            f"{name}: its answer has neither a Content-Length nor chunks: whether it is whole"
            " cannot be told"
        )
    yield PartBegins({"content-type": str(content)})
    async for data in answer.chunks():
        yield PartData(memoryview(data))
    yield PartEnds()
