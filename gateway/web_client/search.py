"""QIDO-RS: searching an origin server page by page (PS3.18 §10.6)."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Final

from gateway.web_client.dicom_json import SERIES_UID, SOP_INSTANCE_UID, STUDY_UID, text
from gateway.web_client.exchange import Ask, Exchange
from gateway.web_client.failures import Unanswered, Unwelcome
from gateway.web_client.json_array import ArrayReader, MalformedJson
from gateway.web_client.retry import retrying

ACCEPT: Final = "application/dicom+json, application/json;q=0.9"
MOST_PAGES: Final = 10_000
_NO_SERVICE: Final = frozenset((404, 405, 501))
_KEYS: Final = {"studies": STUDY_UID, "series": SERIES_UID, "instances": SOP_INSTANCE_UID}


class NoSearch(Unwelcome):
    """The server has no QIDO-RS."""


async def search(
    exchange: Exchange, path: str, query: Sequence[tuple[str, str]]
) -> AsyncGenerator[dict[str, Any], None]:
    """All matches below ``path``, a resource of QIDO-RS, as DICOM JSON objects, each once.

    Pages are asked for until one holds nothing new: servers cap them as they like, and some
    ignore the offset. Raises NoSearch, Refused, Unanswered and Unwelcome.
    """
    seen: set[str] = set()
    key = _KEYS[path.rpartition("/")[2]]
    paging = [("limit", str(exchange.settings.page))]
    rows = 0
    for _ in range(MOST_PAGES):
        before = len(seen)
        try:
            async with aclosing(page(exchange, path, [*query, *paging], seen, key)) as matches:
                async for match in matches:
                    yield match
        except Unwelcome as failure:
            if failure.status != 400 or not paging or seen:
                raise
            paging = []  # a server that knows no limit, or not so high a one
            continue
        if len(seen) == before or not paging:
            return
        rows += len(seen) - before
        paging = [("limit", str(exchange.settings.page)), ("offset", str(rows))]


async def page(
    exchange: Exchange,
    path: str,
    query: Sequence[tuple[str, str]],
    seen: set[str],
    key: str,
) -> AsyncGenerator[dict[str, Any], None]:
    """The matches of one request that are not in ``seen``, tried again where it breaks off."""
    ask = Ask(f"{exchange.settings.url}/{path}", ACCEPT, query)
    async for attempt in retrying(exchange.settings.patience):
        with attempt:
            async with aclosing(_matches(exchange, ask)) as matches:
                async for match in matches:
                    uid = text(match, key)
                    if uid and uid not in seen:
                        seen.add(uid)
                        yield match


async def _matches(exchange: Exchange, ask: Ask) -> AsyncGenerator[dict[str, Any], None]:
    async with exchange.answer(ask) as answer:
        if answer.status == 204:
            return
        if answer.status in _NO_SERVICE:
            name = exchange.settings.name
            raise NoSearch(f"{name} answered {answer.status}: it has no QIDO-RS", answer.status)
        if answer.status not in (200, 206):
            raise await answer.refusal()
        reader = ArrayReader()
        try:
            async for data in answer.chunks():
                for match in reader.feed(data):
                    yield match
            reader.close()
        except MalformedJson as error:
            name = exchange.settings.name
            raise Unanswered(f"{name}: the answer to a search is not JSON: {error}") from None
