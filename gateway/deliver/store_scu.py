"""Storage SCU: sessions with a destination that is a DICOM node (PS3.4 Annex B).

One association carries a batch. For each SOP class the stored transfer syntax and each native one
are proposed in presentation contexts of their own, so the answer tells all that the peer can read.
The data set goes from the file to the socket in P-DATA-TF PDUs of the length the peer allows.
"""

import asyncio
import contextlib
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway import dimse
from gateway.dataset.part10 import read_file_meta
from gateway.deliver.session import ConnectionLost, Session
from gateway.dimse import Command
from gateway.failures import TemporaryFailure
from gateway.model import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION, UID, Instance
from gateway.transfer_syntax import EXPLICIT_LE, IMPLICIT_LE
from gateway.transport import Connection
from gateway.upper_layer import pdu
from gateway.upper_layer.association import Association, LocalProtocolError, Role, State
from gateway.upper_layer.events import (
    Abort,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    Closed,
    Event,
    Fragment,
    ProposedContext,
    ReleaseReply,
    ReleaseRequest,
    UserInformation,
)

MAX_CONTEXTS: Final = 128
_LONGEST_PDU: Final = 262_144
_CHUNK: Final = 1 << 19
_META: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Target:
    """A DICOM node as the SCU calls it. Times in seconds.

    ``response_seconds`` bounds the wait for a C-STORE response and for each stretch of sending.
    """

    called_ae: str
    host: str
    port: int
    calling_ae: str = "GATEWAY"
    natives: tuple[UID, ...] = (EXPLICIT_LE, IMPLICIT_LE)
    connect_seconds: float = 10.0
    associate_seconds: float = 30.0
    response_seconds: float = 120.0
    max_pdu_length: int = 131_072

    def __str__(self) -> str:
        """The usual text form, ``AETITLE@host:port``."""
        return f"{self.called_ae}@{self.host}:{self.port}"


class StoreScu:
    """Opens associations with one DICOM node."""

    def __init__(self, target: Target) -> None:
        self.target = target

    @contextlib.asynccontextmanager
    async def connect(self, wanted: Collection[tuple[UID, UID]]) -> AsyncIterator[Session]:
        """Open an association for these (SOP class, stored transfer syntax) pairs.

        Raises ``TemporaryFailure`` when the node does not answer in time or rejects.
        """
        proposals = _proposals(wanted, self.target.natives)
        session = await self._open(proposals)
        try:
            yield session
        except BaseException:
            session.abort()
            raise
        await session.release()

    async def _open(self, proposals: dict[UID, tuple[UID, ...]]) -> "StoreSession":
        session = StoreSession(self.target, proposals)
        await self._dial(session)
        try:
            async with asyncio.timeout(self.target.associate_seconds):
                await session.associate()
        except TimeoutError:
            session.abort()
            raise TemporaryFailure(
                f"{self.target} did not answer the association request within"
                f" {self.target.associate_seconds:g} s"
            ) from None
        except BaseException:
            session.abort()
            raise
        return session

    async def _dial(self, session: "StoreSession") -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.target.connect_seconds):
                await loop.create_connection(
                    lambda: session.connection, self.target.host, self.target.port
                )
        except TimeoutError:
            raise TemporaryFailure(
                f"{self.target}: no connection within {self.target.connect_seconds:g} s"
            ) from None
        except OSError as error:
            raise TemporaryFailure(
                f"{self.target}: {error.strerror or error}; is the node up?"
            ) from None


def _proposals(
    wanted: Collection[tuple[UID, UID]], natives: tuple[UID, ...]
) -> dict[UID, tuple[UID, ...]]:
    """SOP class -> transfer syntaxes to propose, as many as 128 contexts can carry."""
    syntaxes: defaultdict[UID, dict[UID, None]] = defaultdict(dict)
    for sop_class, stored in wanted:
        syntaxes[sop_class][stored] = None
    proposals: dict[UID, tuple[UID, ...]] = {}
    room = MAX_CONTEXTS
    for sop_class, stored_ones in syntaxes.items():
        proposed = tuple(dict.fromkeys((*stored_ones, *natives)))
        if len(proposed) <= room:
            proposals[sop_class] = proposed
            room -= len(proposed)
    return proposals


class StoreSession:
    """One association with a DICOM node, for one C-STORE at a time."""

    def __init__(self, target: Target, proposals: dict[UID, tuple[UID, ...]]) -> None:
        self._target = target
        self._proposals = proposals
        self._contexts: dict[tuple[UID, UID], int] = {}
        self._accepted: dict[UID, frozenset[UID]] = {}
        self._peer_length = 0
        self._message_id = 0
        self._response = bytearray()
        self._waiting: asyncio.Future[Command | None] | None = None
        self._gone = ""
        self.connection = Connection(
            Association(Role.REQUESTOR, max_pdu_length=target.max_pdu_length),
            self,
            artim_seconds=5.0,
        )

    @property
    def patience(self) -> float | None:
        """Without end: the time limits of ``store`` and ``associate`` govern."""
        return None

    @property
    def alive(self) -> bool:
        """Whether another instance can be stored over this association."""
        return not self._gone and self.connection.association.state is State.ESTABLISHED

    def accepted(self, sop_class: UID) -> frozenset[UID]:
        """The transfer syntaxes the node accepted for a SOP class."""
        return self._accepted.get(sop_class, frozenset())

    def proposed(self, sop_class: UID, syntaxes: Collection[UID]) -> bool:
        """Whether these transfer syntaxes were proposed for this SOP class."""
        return set(syntaxes) <= set(self._proposals.get(sop_class, ()))

    async def associate(self) -> None:
        """Request the association and wait for the answer. Raises ``TemporaryFailure``."""
        numbered = [
            ProposedContext(2 * number + 1, sop_class, (syntax,))
            for number, (sop_class, syntax) in enumerate(
                (sop_class, syntax)
                for sop_class, syntaxes in self._proposals.items()
                for syntax in syntaxes
            )
        ]
        self._contexts = {
            (context.abstract_syntax, context.transfer_syntaxes[0]): context.context_id
            for context in numbered
        }
        user = UserInformation(
            max_length=self._target.max_pdu_length,
            implementation_class=IMPLEMENTATION_CLASS_UID,
            implementation_version=IMPLEMENTATION_VERSION,
        )
        request = AssociateRequest(
            self._target.called_ae, self._target.calling_ae, tuple(numbered), user
        )
        answer = self._expect()
        self.connection.send(request)
        await answer

    async def store(self, instance: Instance, file: Path, transfer_syntax: UID) -> str:
        """Send a Part 10 file's data set and wait for the status; "" or the warning's text."""
        context_id = self._contexts[instance.sop_class_uid, transfer_syntax]
        self._message_id = self._message_id % 65_535 + 1
        command = Command(
            field=dimse.C_STORE_RQ,
            message_id=self._message_id,
            sop_class=instance.sop_class_uid,
            sop_instance=instance.sop_instance_uid,
            has_data_set=True,
        )
        answer = self._expect()
        try:
            await self._send(context_id, command, file)
            async with asyncio.timeout(self._target.response_seconds):
                response = await answer
        except TimeoutError:
            reason = f"{self._target}: no progress within {self._target.response_seconds:g} s"
            self.abort(reason)
            raise ConnectionLost(reason) from None
        except BaseException:
            self.abort("given up in the middle of an instance")
            raise
        finally:
            self._waiting = None
            if not answer.cancel() and not answer.cancelled():
                answer.exception()
        return _warning(response)

    async def release(self) -> None:
        """Release the association, politely but not for ever."""
        if self.alive:
            self.connection.send(ReleaseRequest())
        try:
            async with asyncio.timeout(5.0):
                await self.connection.ended()
        except TimeoutError:
            self.connection.abort("the release was not answered")

    def abort(self, reason: str = "aborted") -> None:
        """End the association at once."""
        self._gone = self._gone or reason
        self.connection.abort(reason)

    def happened(self, event: Event) -> None:
        """Take the peer's answers."""
        match event:
            case Fragment():
                self._fragment(event)
            case AssociateAccept():
                self._established(event)
            case AssociateReject():
                self._fail(TemporaryFailure(f"{self._target}: {event}"))
            case ReleaseRequest():
                self._gone = "the peer released the association"
                self._reply_to_release()
            case ReleaseReply():
                self._reply_to_release()
            case Abort() | Closed() | AssociateRequest():
                told = str(event) if isinstance(event, Abort) else "the peer closed the connection"
                self._fail(ConnectionLost(f"{self._target}: {told}"))

    def lost(self, reason: str) -> None:
        """The connection has ended."""
        self._fail(ConnectionLost(f"{self._target}: {reason or 'the connection has ended'}"))

    def _reply_to_release(self) -> None:
        with contextlib.suppress(LocalProtocolError):
            self.connection.send(ReleaseReply())

    def _established(self, accept: AssociateAccept) -> None:
        self._peer_length = accept.user.max_length
        by_id = {number: pair for pair, number in self._contexts.items()}
        found: defaultdict[UID, set[UID]] = defaultdict(set)
        for context in accept.contexts:
            if context.result == 0 and context.context_id in by_id:
                sop_class, syntax = by_id[context.context_id]
                if context.transfer_syntax == syntax:
                    found[sop_class].add(syntax)
        self._accepted = {sop_class: frozenset(uids) for sop_class, uids in found.items()}
        self._resolve(None)

    def _fragment(self, fragment: Fragment) -> None:
        if not fragment.is_command:
            return
        self._response += fragment.data
        if len(self._response) > dimse.MAX_COMMAND_LENGTH:
            self.abort("the peer sent an endless command set")
        elif fragment.is_last:
            data, self._response = bytes(self._response), bytearray()
            self._responded(data)

    def _responded(self, data: bytes) -> None:
        try:
            command = dimse.decode_command(data)
        except dimse.MalformedCommand as error:
            self._fail(ConnectionLost(f"{self._target}: malformed response: {error}"))
            self.abort("malformed response")
            return
        if command.field == dimse.C_STORE_RSP and command.message_id == self._message_id:
            self._resolve(command)

    def _expect(self) -> "asyncio.Future[Command | None]":
        if self._gone:
            raise ConnectionLost(f"{self._target}: {self._gone}")
        self._waiting = asyncio.get_running_loop().create_future()
        return self._waiting

    def _resolve(self, command: Command | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(command)

    def _fail(self, failure: TemporaryFailure) -> None:
        self._gone = self._gone or str(failure)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(failure)

    async def _send(self, context_id: int, command: Command, file: Path) -> None:
        self.connection.send(
            Fragment(context_id, is_command=True, is_last=True, data=dimse.encode_command(command))
        )
        longest = min(self._peer_length or _LONGEST_PDU, _LONGEST_PDU)
        for chunk in _p_data(file, context_id, max(longest - 6, 2) & ~1):
            if self._gone or self.connection.association.state is not State.ESTABLISHED:
                return
            self.connection.write(chunk)
            async with asyncio.timeout(self._target.response_seconds):
                await self.connection.drained()


def _p_data(file: Path, context_id: int, length: int) -> Iterator[bytearray]:
    """The data set of a Part 10 file as P-DATA-TF PDUs with ``length`` bytes of data each.

    Several PDUs stand in each buffer; the file is read straight into its place in it. A buffer is
    never reused, since the transport may keep a view of what it could not send at once.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        offset = read_file_meta(os.pread(descriptor, _META, 0)).dataset_offset
        end = os.fstat(descriptor).st_size
        together = max(1, _CHUNK // length)
        while True:
            pieces = _pieces(end - offset, length, together)
            yield _filled(
                descriptor, offset, pieces, context_id, is_end=sum(pieces) == end - offset
            )
            offset += sum(pieces)
            if offset >= end:
                return
    finally:
        os.close(descriptor)


def _pieces(left: int, length: int, together: int) -> list[int]:
    whole, rest = divmod(min(left, length * together), length)
    return [length] * whole + ([rest] if rest or not whole else [])


def _filled(
    descriptor: int, offset: int, pieces: list[int], context_id: int, *, is_end: bool
) -> bytearray:
    overhead = pdu.P_DATA_OVERHEAD
    buffer = bytearray(sum(pieces) + overhead * len(pieces))
    views, at = [], 0
    for number, piece in enumerate(pieces, 1):
        is_last = is_end and number == len(pieces)
        pdu.pack_p_data_head(buffer, at, context_id, is_last, piece)
        views.append(memoryview(buffer)[at + overhead : at + overhead + piece])
        at += overhead + piece
    if os.preadv(descriptor, views, offset) != sum(pieces):
        raise TemporaryFailure("the spool file became shorter while it was being sent")
    return buffer


def _warning(response: Command | None) -> str:
    """ "" for success, the warning's text, or the failure that the status stands for."""
    if response is None or response.status is None:
        raise ConnectionLost("the response has no status")
    failure = dimse.failure_for(response.status, response.error_comment)
    if failure is not None:
        raise failure
    if dimse.is_warning(response.status):
        return f"0x{response.status:04X} {dimse.meaning(response.status)}"
    return ""
