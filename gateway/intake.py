"""The one door: bytes and their origin in, a durable instance with its deliveries owed out.

Whatever way an instance comes in, it is written to a part of the spool while it arrives
(``begin``), then its header is read, the routes decide to whom it is owed, and both are committed
together (``admit``). Only after that may anybody be told that the instance is kept.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from gateway import telemetry
from gateway.dataset.elements import MalformedDataSet
from gateway.dataset.header import read_header, texts
from gateway.dataset.labelled import mislabelled, mislabelled_by_head
from gateway.dataset.part10 import encode_file_meta, end_of_file_meta
from gateway.dataset.wanted import Wanted
from gateway.failures import PermanentFailure, TemporaryFailure
from gateway.model import UID, Arriving, Instance, Origin, Owed, is_uid
from gateway.route.rules import Rules
from gateway.spool import Part, Spool
from gateway.transfer_syntax import BY_UID, TransferSyntax

_T = TypeVar("_T")

_STUDY_UID: Final = 0x0020000D
_SERIES_UID: Final = 0x0020000E
LEDGER_TAGS: Final[Mapping[int, str]] = {
    0x00080005: "SpecificCharacterSet",
    0x00080060: "Modality",
    0x00280004: "PhotometricInterpretation",
    _STUDY_UID: "StudyInstanceUID",
    _SERIES_UID: "SeriesInstanceUID",
}
"""What the ledger keeps of every instance, beside what the routes read."""

_NAMES: Final[Mapping[int, str]] = {0x00080016: "SOPClassUID", 0x00080018: "SOPInstanceUID"}
"""What every SOP Instance holds (PS3.3 §C.12.1); where both are missing it is none."""


class OtherStudy(PermanentFailure):
    """The instance is not of the study that it was sent for."""


@dataclass(frozen=True, slots=True)
class Announced:
    """What is said of an instance before its data set comes."""

    origin: Origin
    sop_class_uid: UID
    sop_instance_uid: UID
    transfer_syntax: UID


class Intake:
    """Writes arriving instances into the spool and commits them with their deliveries.

    ``kept`` is told of each instance that has become durable, and to whom it is owed.
    """

    def __init__(
        self,
        spool: Spool,
        rules: Rules,
        *,
        kept: Callable[[Instance, Sequence[Owed]], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._spool = spool
        self._kept = kept
        self._clock = clock
        self.rules = rules

    @property
    def rules(self) -> Rules:
        """May be replaced: an instance is routed by those in force when its last byte is there."""
        return self._rules

    @rules.setter
    def rules(self, rules: Rules) -> None:
        self._rules = rules
        self._tags = {**LEDGER_TAGS, **rules.tags, **_NAMES}

    def check_taking(self) -> None:
        """Raise TemporaryFailure when nothing can be taken in now."""
        self._spool.check_taking()

    def scratch(self) -> Part:
        """A part for bytes that become instances later, to be aborted when they have been used.

        Raises ``TemporaryFailure`` when the disk is short or broken.
        """
        return self._spool.create()

    def begin(self, announced: Announced) -> Part:
        """A part that already holds the file meta information, ready for the data set.

        Raises ``TemporaryFailure`` when the disk is short or broken, ``PermanentFailure`` for UIDs
        that are none.
        """
        for what, uid in (
            ("SOP Class", announced.sop_class_uid),
            ("SOP Instance", announced.sop_instance_uid),
        ):
            if not is_uid(uid):
                raise PermanentFailure(f"the {what} UID {uid[:80]!r} is not a UID")
        file_meta = encode_file_meta(
            sop_class_uid=announced.sop_class_uid,
            sop_instance_uid=announced.sop_instance_uid,
            transfer_syntax=announced.transfer_syntax,
            source_ae=announced.origin.calling.encode("ascii", "replace").decode()[:16],
        )
        part = self._spool.create()
        try:
            part.write(file_meta)
        except BaseException:
            part.abort()
            raise
        return part

    async def admit(
        self,
        part: Part,
        announced: Announced,
        *,
        study: UID = "",
        routed: bool = True,
        seen: Callable[[Instance], None] | None = None,
    ) -> Instance:
        """Read the header, route, commit. On return the instance is durable.

        What is not ``routed`` is kept to be served, and owed to nobody. ``seen`` is shown it
        before it is durable, to be read and not to be relied on. Raises ``OtherStudy`` where it is
        not of ``study``, ``PermanentFailure`` where the data set cannot be read,
        ``TemporaryFailure`` where it could not be kept; the part is gone in all cases.
        """
        began = asyncio.get_running_loop().time()
        rules, now = self.rules, self._clock()
        try:
            header = await self._header(part, announced.transfer_syntax)
            wrong = await _mislabelled(part, announced.transfer_syntax)
            _check_study(header, study)
            owed = _owed(rules, header, announced, part.size, now) if routed else ()
        except BaseException:
            part.abort()
            raise
        arriving = Arriving(
            sop_instance_uid=announced.sop_instance_uid,
            sop_class_uid=announced.sop_class_uid,
            transfer_syntax=announced.transfer_syntax,
            study_uid=header.get("StudyInstanceUID", ""),
            series_uid=header.get("SeriesInstanceUID", ""),
            origin=announced.origin,
            size=part.size,
            received_at=now,
            header=header,
            mislabelled=wrong,
        )
        if seen is not None and (lent := self._spool.lend(part, arriving)) is not None:
            seen(lent)
        instance = await self._spool.commit(part, arriving, owed)
        self._kept(instance, owed)
        loop = asyncio.get_running_loop()
        destinations = [each.destination for each in owed]
        took = (loop.time() - began) * 1000
        unrouted = routed and bool(rules.routes) and not destinations
        loop.call_soon(telemetry.instance_received, instance, destinations, took, unrouted)
        return instance

    async def _header(self, part: Part, transfer_syntax: UID) -> dict[str, str]:
        syntax, tags = BY_UID[transfer_syntax], self._tags
        header = None if syntax.deflated else _from_head(part, syntax, tags)
        if header is None:  # who knows how long it is: not on the event loop
            header = await _off_the_loop(read_header, part.path, tags)
        if {header.pop(name, "") for name in _NAMES.values()} == {""}:
            raise PermanentFailure(
                "the data set names neither SOP class nor instance: it is none, or not in"
                f" {syntax.title}"
            )
        return header


async def _mislabelled(part: Part, transfer_syntax: UID) -> bool:
    syntax = BY_UID[transfer_syntax]
    found = mislabelled_by_head(bytes(part.head), part.size, syntax)
    if found is None:
        return await _off_the_loop(mislabelled, part.path, syntax)
    return found


async def _off_the_loop(read: Callable[..., _T], *arguments: Any) -> _T:
    try:
        return await asyncio.to_thread(read, *arguments)
    except OSError as error:
        raise TemporaryFailure(f"what came cannot be read: {error.strerror}") from error


def _owed(
    rules: Rules, header: Mapping[str, str], announced: Announced, size: int, now: datetime
) -> Sequence[Owed]:
    known = {
        **header,
        "TransferSyntaxUID": announced.transfer_syntax,
        "SOPClassUID": announced.sop_class_uid,
        "SOPInstanceUID": announced.sop_instance_uid,
    }
    return rules.route(known, announced.origin, size=size, now=now).owed


def _from_head(
    part: Part, syntax: TransferSyntax, tags: Mapping[int, Wanted]
) -> dict[str, str] | None:
    """The header from the first bytes, None where it does not end in them."""
    head = bytes(part.head)
    try:
        found, passed = texts(head, end_of_file_meta(head), len(head), syntax, tags)
    except MalformedDataSet:
        return None
    return found if passed or part.size == len(head) else None


def _check_study(header: Mapping[str, str], study: UID) -> None:
    found = header.get("StudyInstanceUID", "")
    if study and found != study:
        raise OtherStudy(f"it is of study {found[:64] or 'nothing'}, not of {study}")
