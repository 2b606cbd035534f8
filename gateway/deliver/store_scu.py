"""Storage SCU: sessions with a destination that is a DICOM node (PS3.4 Annex B).

One association carries a batch. For each SOP class the stored transfer syntax and each native one
are proposed in presentation contexts of their own, so the answer tells all that the peer can read.
The data set goes from the file to the socket in P-DATA-TF PDUs of the length the peer allows.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway import dimse
from gateway.deliver.p_data import open_data_set, p_data
from gateway.deliver.session import ConnectionLost, Session
from gateway.dimse import Command
from gateway.failures import TemporaryFailure
from gateway.model import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION, UID, Instance
from gateway.transfer_syntax import EXPLICIT_LE, IMPLICIT_LE
from gateway.transport import Connection
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
_ASSOCIATED: Final = Command(0, 0)
"""What resolves the wait for the answer to an association request."""


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
    release_seconds: float = 5.0
    max_pdu_length: int = 131_072

    def __str__(self) -> str:
        """The usual text form, ``AETITLE@host:port``."""
        return f"{self.called_ae}@{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class StoreScu:
    """Opens associations with one DICOM node."""

    target: Target

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
            session.abort()
            raise TemporaryFailure(
                f"{self.target}: no connection within {self.target.connect_seconds:g} s"
            ) from None
        except OSError as error:
            raise TemporaryFailure(
                f"{self.target}: {error.strerror or error}; is the node up?"
            ) from None
        except BaseException:
            session.abort()
            raise


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
        self._waiting: asyncio.Future[Command] | None = None
        self._whole = True
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
        try:
            self.connection.send(request)
        except LocalProtocolError:
            raise ConnectionLost(f"{self._target}: {self.connection.reason}") from None
        await answer

    async def store(self, instance: Instance, file: Path, transfer_syntax: UID) -> str:
        """Send a Part 10 file's data set and wait for the status; "" or the warning's text."""
        with open_data_set(file) as (descriptor, offset):
            context_id = self._contexts[instance.sop_class_uid, transfer_syntax]
            return _warning(await self._exchange(instance, context_id, descriptor, offset))

    async def _exchange(
        self, instance: Instance, context_id: int, descriptor: int, offset: int
    ) -> Command:
        self._message_id = self._message_id % 65_535 + 1
        command = Command(
            field=dimse.C_STORE_RQ,
            message_id=self._message_id,
            sop_class=instance.sop_class_uid,
            sop_instance=instance.sop_instance_uid,
            has_data_set=True,
        )
        answer = self._expect()
        self._whole = False
        try:
            await self._send(context_id, command, descriptor, offset)
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
        return response

    async def release(self) -> None:
        """Release the association, politely but not for ever."""
        if self.alive:
            self.connection.send(ReleaseRequest())
        try:
            async with asyncio.timeout(self._target.release_seconds):
                await self.connection.ended()
        except TimeoutError:
            self.connection.abort("the release was not answered")
            self.connection.cut()
        except BaseException:
            self.connection.abort("the release was given up")
            raise

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
                self._fail(str(event), TemporaryFailure)
            case ReleaseRequest():
                self._reply_to_release()
                self._fail("the peer released the association")
            case ReleaseReply():
                self._reply_to_release()
            case Abort() | Closed() | AssociateRequest():
                told = str(event) if isinstance(event, Abort) else "the peer closed the connection"
                self._fail(self.connection.reason or told)

    def broken(self, reason: str) -> None:
        """The peer broke the protocol."""
        self._fail(reason)

    def lost(self, reason: str) -> None:
        """The connection has ended."""
        self._fail(reason or "the connection has ended")

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
        self._resolve(_ASSOCIATED)

    def _fragment(self, fragment: Fragment) -> None:
        if not fragment.is_command:
            return
        self._response += fragment.data
        if len(self._response) > dimse.MAX_COMMAND_LENGTH:
            self._fail("the peer sent an endless command set")
            self.abort("an endless command set")
        elif fragment.is_last:
            data, self._response = bytes(self._response), bytearray()
            self._responded(data)

    def _responded(self, data: bytes) -> None:
        try:
            command = dimse.decode_command(data)
        except dimse.MalformedCommand as error:
            self._fail(f"malformed response: {error}")
            self.abort("malformed response")
            return
        if command.field != dimse.C_STORE_RSP or command.message_id != self._message_id:
            return
        is_early = not self._whole or self.connection.unsent
        if is_early and dimse.failure_for(command.status or 0) is None:
            self._fail("the peer confirmed an instance before it had all of it")
            self.abort("an answer before its time")
        else:
            self._resolve(command)

    def _expect(self) -> "asyncio.Future[Command]":
        if self._gone:
            raise ConnectionLost(f"{self._target}: {self._gone}")
        self._waiting = asyncio.get_running_loop().create_future()
        return self._waiting

    def _resolve(self, command: Command) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(command)

    def _fail(self, text: str, kind: type[TemporaryFailure] = ConnectionLost) -> None:
        self._gone = self._gone or text
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(kind(f"{self._target}: {self._gone}"))

    async def _send(self, context_id: int, command: Command, descriptor: int, offset: int) -> None:
        longest = min(self._peer_length or _LONGEST_PDU, _LONGEST_PDU)
        length = max(longest - 6, 2) & ~1
        data = dimse.encode_command(command)
        commands = [
            self.connection.association.send(
                Fragment(context_id, True, at + length >= len(data), data[at : at + length])
            )
            for at in range(0, len(data), length)
        ]
        for chunk in p_data(descriptor, offset, context_id, length, b"".join(commands)):
            if self._gone or self.connection.association.state is not State.ESTABLISHED:
                raise ConnectionLost(f"{self._target}: {self._gone or 'the association ended'}")
            self.connection.write(chunk)
            async with asyncio.timeout(self._target.response_seconds):
                await self.connection.drained()
        self._whole = True


def _warning(response: Command) -> str:
    """ "" for success, the warning's text, or the failure that the status stands for."""
    if response.status is None:
        raise ConnectionLost("the response has no status")
    failure = dimse.failure_for(response.status, response.error_comment)
    if failure is not None:
        raise failure
    if dimse.is_warning(response.status):
        return f"0x{response.status:04X} {dimse.meaning(response.status)}"
    return ""
