"""STOW-RS: files stored at an origin server, many at once, an outcome for each (PS3.18 §10.5).

Bodies are streamed from the files, with a Content-Length: there are proxies that refuse chunks.
A status alone confirms nothing while the answer names instances: each is believed by its own item.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gateway.dataset.parse_model import InvalidMetadata, parse_json, parse_xml
from gateway.dicomweb.media_types import DICOM, DICOM_JSON, DICOM_XML, MULTIPART, MediaType
from gateway.dicomweb.multipart import closing, new_boundary, part_head
from gateway.dimse import failure_for, is_warning, meaning
from gateway.failures import AlreadyThere, Failure, PermanentFailure, TemporaryFailure
from gateway.model import UID
from gateway.web_client.dicom_json import number, text, values
from gateway.web_client.exchange import Answer, Ask, Exchange
from gateway.web_client.failures import Unanswered

_PIECE: Final = 1 << 18
_RESPONSE: Final = 16 << 20
_WARNING_REASON: Final = "00081196"
_FAILURE_REASON: Final = "00081197"
_FAILED: Final = "00081198"
_REFERENCED: Final = "00081199"
_OTHER_FAILURES: Final = "0008119A"
_SOP_INSTANCE: Final = "00081155"
_ALREADY_STORED: Final = 0xB00E
"""What Azure's service gives as the Failure Reason of a duplicate: 45070."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A Part 10 file to be stored."""

    sop_instance_uid: UID
    file: Path


@dataclass(slots=True)
class Receipt:
    """What a server said of a request: its status, and of each instance a text or a failure.

    ``failure`` is what the status stands for where it is not one of success. ``itemized`` says
    that the answer goes into instances: then what it does not name is not stored. ``nameless`` is
    the reason it gives for one that it could not name.
    """

    status: int
    outcomes: dict[UID, str | Failure] = field(default_factory=dict)
    failure: Failure | None = None
    itemized: bool = False
    nameless: Failure | None = None


async def store(exchange: Exchange, uploads: Sequence[Upload]) -> Receipt:
    """Store files in one request; no instance may be among them twice.

    Raises Unanswered where no answer came: any of them may have been stored.
    """
    body = _Body(uploads)
    content = MediaType(MULTIPART, {"type": DICOM, "boundary": body.boundary})
    ask = Ask(
        f"{exchange.settings.url}/studies",
        f"{DICOM_JSON}, {DICOM_XML};q=0.5",
        method="POST",
        headers={"Content-Type": str(content)},
        body=body.pieces,
        length=await asyncio.to_thread(body.length),
    )
    async with exchange.answer(ask) as answer:
        receipt = await _receipt(answer, uploads)
        if not body.sent and receipt.failure is None:
            raise Unanswered(f"{exchange.settings.name} confirmed a request before it had it all")
        return receipt


class _Body:
    """A multipart body over files; ``sent`` once its last byte was handed over."""

    def __init__(self, uploads: Sequence[Upload]) -> None:
        self.boundary = new_boundary()
        self.sent = False
        # Without parameters: Orthanc 1.10 passes over parts that have any, and answers 200.
        kind = {"Content-Type": DICOM}
        self._parts = [
            (part_head(self.boundary, kind, first=index == 0), each.file)
            for index, each in enumerate(uploads)
        ]

    def length(self) -> int:
        """In bytes. Raises PermanentFailure where a file is missing; blocks."""
        heads = sum(len(head) for head, _ in self._parts)
        return heads + sum(_size(file) for _, file in self._parts) + len(closing(self.boundary))

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body from its beginning."""
        self.sent = False
        for head, file in self._parts:
            yield head
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                while piece := os.read(descriptor, _PIECE):
                    yield piece
            finally:
                os.close(descriptor)
        yield closing(self.boundary)
        self.sent = True


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise TemporaryFailure(f"{file.name} cannot be read: {error.strerror}") from error


async def _receipt(answer: Answer, uploads: Sequence[Upload]) -> Receipt:
    said = await _said(answer)
    receipt = Receipt(answer.status)
    if answer.status not in (200, 202):
        receipt.failure = answer.failure()
    if said and answer.status in (200, 202, 409, 503):
        _read(said, receipt)
        receipt.itemized = bool(receipt.outcomes) or answer.status in (200, 202)
    return receipt


async def _said(answer: Answer) -> Mapping[str, Any] | None:
    """The Store Instances Response Module (PS3.18 Table I.1-1); None where there is none."""
    try:
        body = await answer.text(_RESPONSE)
    except Unanswered:
        if answer.status in (200, 202):
            raise
        return None
    begin = body.lstrip()[:1]
    try:
        if begin in (b"{", b"["):
            models = await asyncio.to_thread(parse_json, body)
            return models[0] if models else None
        if begin == b"<":
            return await asyncio.to_thread(parse_xml, body)
    except InvalidMetadata:
        pass
    return None


def _read(said: Mapping[str, Any], receipt: Receipt) -> None:
    for item in values(said, _REFERENCED):
        if isinstance(item, dict) and (uid := text(item, _SOP_INSTANCE)):
            receipt.outcomes[uid] = _warning(number(item, _WARNING_REASON))
    for item in (*values(said, _FAILED), *values(said, _OTHER_FAILURES)):
        if not isinstance(item, dict):
            continue
        failure = failure_of_reason(number(item, _FAILURE_REASON))
        if uid := text(item, _SOP_INSTANCE):
            receipt.outcomes[uid] = failure
        else:
            receipt.nameless = failure


def _warning(reason: int | None) -> str:
    """ "" for success, else the Warning Reason's text (PS3.18 §I.2.1)."""
    if not reason:
        return ""
    return f"0x{reason:04X} {meaning(reason)}"


def failure_of_reason(reason: int | None) -> Failure:
    """What a Failure Reason says of an instance (PS3.18 §I.2.2); without one a person looks."""
    if reason is None:
        return PermanentFailure("the destination refused it without a Failure Reason")
    if reason == _ALREADY_STORED:
        return AlreadyThere(f"the destination answered {reason}, it has this instance")
    if is_warning(reason) or reason == 0:
        return PermanentFailure(
            f"the destination lists it as failed, with the reason 0x{reason:04X}"
        )
    return failure_for(reason) or PermanentFailure("the destination refused it")
