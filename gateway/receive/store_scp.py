"""Verification and Storage SCP: C-ECHO and C-STORE from modalities and archives (PS3.4 Annex B).

A data set's fragments go from the receive buffer to the spool as they arrive. The response is
written when the intake has made the instance durable, never before. An instance that cannot be
taken is read to its end and refused; the association goes on.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Final

from gateway import dimse, telemetry
from gateway.dimse import Command
from gateway.failures import Failure, PermanentFailure, TemporaryFailure
from gateway.intake import Announced, Intake
from gateway.model import UID, Arrival, Origin
from gateway.receive.associations import Associations, ScpSettings
from gateway.spool import Part
from gateway.transport import Connection
from gateway.upper_layer import negotiation
from gateway.upper_layer.association import Association, Role, State
from gateway.upper_layer.events import (
    Abort,
    AssociateRequest,
    ContextResult,
    Event,
    Fragment,
    ReleaseReply,
    ReleaseRequest,
)

__all__ = ["ScpSettings", "StoreScp"]

_IN_COMMIT: Final = 16
"""Instances of one association that may wait for their commit before nothing more is read."""
_LAST_WORDS: Final = 1.0
"""Seconds that a peer is given to read our A-ABORT when the gateway stops."""


class StoreScp:
    """Listens for associations and serves each one."""

    def __init__(self, intake: Intake, settings: ScpSettings) -> None:
        self.intake = intake
        self._peers: dict[_Peer, Connection] = {}
        self.associations = Associations(settings)
        self._answering: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def settings(self) -> ScpSettings:
        """What the next association is served by; ``associations.settings`` may be replaced."""
        return self.associations.settings

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, which the system chose where ``port`` is 0."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connect, host, port, backlog=256)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self, grace: float) -> None:
        """Take no new association; abort the others between two messages, at last after ``grace``.

        On return every connection has ended and every commit that was begun is done.
        """
        self.associations.draining = True
        if self._server is not None:
            self._server.close()
        for peer in list(self._peers):
            peer.finish()
        await self._all_ended(grace)
        for connection in list(self._peers.values()):
            connection.abort("the gateway stops", linger=True)
        await self._all_ended(_LAST_WORDS)
        for connection in list(self._peers.values()):
            connection.cut()
            await connection.ended()
        while self._answering:
            await asyncio.wait(self._answering)

    async def _all_ended(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for connection in list(self._peers.values()):
                    await connection.ended()

    def answering(self, task: asyncio.Task[None]) -> None:
        """Remember an answer until it is given, even when the association ends before it."""
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    def _connect(self) -> Connection:
        peer = _Peer(self)
        association = Association(Role.ACCEPTOR, max_pdu_length=self.settings.max_pdu_length)
        strangers = len(self._peers) - self.associations.total()
        crowded = strangers >= self.settings.max_strangers
        connection = Connection(
            association,
            peer,
            artim_seconds=self.settings.artim_seconds,
            refusal="too many connections ask for no association" if crowded else "",
        )
        peer.connection = connection
        self._peers[peer] = connection
        return connection

    def ended(self, peer: "_Peer") -> None:
        """Forget a connection."""
        self._peers.pop(peer, None)


@dataclass(slots=True)
class _Incoming:
    """A C-STORE whose data set is arriving; without a part it is read and dropped."""

    context_id: int
    command: Command
    announced: Announced
    part: Part | None = None
    refusal: Failure | None = None


class _Peer:
    """One association as an SCP sees it."""

    def __init__(self, scp: StoreScp) -> None:
        self.connection: Connection
        self._scp = scp
        self._settings = scp.settings
        self._origin = Origin(Arrival.C_STORE)
        self.associated = False
        self._contexts: dict[int, UID] = {}
        self._command = bytearray()
        self._command_context = 0
        self._incoming: _Incoming | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self._release_asked = self._ended = self._finishing = False
        self._received = self._refused = 0
        self._outcome = ""
        self._began = asyncio.get_running_loop().time()

    @property
    def patience(self) -> float | None:
        """Less in the middle of a message than between two; none while a commit is on its way."""
        if self._incoming is not None or self._command:
            return self._settings.message_seconds
        return None if self._answering else self._settings.idle_seconds

    def happened(self, event: Event) -> None:
        """Serve one event."""
        match event:
            case Fragment():
                self._fragment(event)
            case AssociateRequest():
                self._associate(event)
            case ReleaseRequest():
                self._release_asked = True
                self._release()
            case ReleaseReply():
                self._release()
            case Abort():
                self._outcome = str(event)
            case _ if not self._release_asked:
                self._outcome = self._outcome or "the peer closed without a release"
            case _:
                pass

    def broken(self, reason: str) -> None:
        """Drop what was only half received."""
        if self._incoming is not None:
            self._drop(self._incoming, f"the association ended in the middle: {reason}")
            self._incoming = None

    def lost(self, reason: str) -> None:
        """Say how the association ended."""
        self.broken(reason or self._outcome)
        self._outcome = reason or self._outcome or "released"
        self._ended = True
        if self.associated:
            self._scp.associations.ended(self._origin.address)
            self._report()
        elif reason and not self._origin.address:
            stranger = Origin(Arrival.C_STORE, address=self.connection.address)
            telemetry.association_refused(stranger, reason)
        self._scp.ended(self)

    def finish(self) -> None:
        """The gateway stops: end the association as soon as no message is under way."""
        self._finishing = True
        if not (self._answering or self._incoming or self._command):
            self.connection.abort("the gateway stops", linger=self.associated)

    def _report(self) -> None:
        """One line, once the association has ended and the last commit is done."""
        if self._ended and not self._answering:
            seconds = asyncio.get_running_loop().time() - self._began
            telemetry.association_closed(
                self._origin,
                received=self._received,
                refused=self._refused,
                seconds=seconds,
                outcome=self._outcome,
            )

    def _associate(self, request: AssociateRequest) -> None:
        address = self.connection.address
        self._origin = Origin(Arrival.C_STORE, request.calling, request.called, address)
        rejection = self._scp.associations.rejection(request, address)
        if rejection is not None:
            telemetry.association_refused(self._origin, str(rejection))
            self.connection.send(rejection)
            return
        accept = negotiation.answer(
            request,
            max_pdu_length=self._settings.max_pdu_length,
            storable=self._settings.storable,
        )
        self._contexts = {
            context.context_id: context.transfer_syntax
            for context in accept.contexts
            if context.result == ContextResult.ACCEPTED
        }
        self.associated = True
        self._scp.associations.began(address)
        self.connection.send(accept)

    def _fragment(self, fragment: Fragment) -> None:
        incoming = self._incoming
        if fragment.context_id not in self._contexts:
            self._broken(f"presentation context {fragment.context_id} was not accepted")
        elif fragment.is_command:
            self._command_fragment(fragment)
        elif incoming is None:
            self._broken("a data set without a command")
        elif fragment.context_id != incoming.context_id:
            self._broken("a data set in another presentation context than its command")
        else:
            self._data(incoming, fragment)

    def _command_fragment(self, fragment: Fragment) -> None:
        if not self._command:
            self._command_context = fragment.context_id
        self._command += fragment.data
        if len(self._command) > dimse.MAX_COMMAND_LENGTH:
            self._broken(f"a command set of more than {dimse.MAX_COMMAND_LENGTH} bytes")
        elif fragment.context_id != self._command_context:
            self._broken("a command set in two presentation contexts")
        elif fragment.is_last:
            self._begin(fragment.context_id)

    def _broken(self, reason: str) -> None:
        self.connection.abort(reason, linger=True)

    def _begin(self, context_id: int) -> None:
        data, self._command = bytes(self._command), bytearray()
        if self._incoming is not None:
            self._broken("a command inside the data set of another")
            return
        try:
            command = dimse.decode_command(data)
        except dimse.MalformedCommand as error:
            self._broken(f"malformed command set: {error}")
            return
        if command.is_response:
            self._broken(f"a response that nobody waits for, 0x{command.field:04X}")
        elif command.field == dimse.C_ECHO_RQ and not command.has_data_set:
            self._reply(context_id, command.answer(dimse.SUCCESS))
        elif command.field == dimse.C_STORE_RQ and command.has_data_set:
            self._incoming = self._open(context_id, command)
        elif command.field != dimse.C_CANCEL_RQ:
            self._unknown(context_id, command)

    def _unknown(self, context_id: int, command: Command) -> None:
        if command.has_data_set:
            self._broken(f"DIMSE operation 0x{command.field:04X} is not offered")
        else:
            is_store = command.field == dimse.C_STORE_RQ
            status = dimse.CANNOT_UNDERSTAND if is_store else dimse.UNRECOGNIZED_OPERATION
            self._reply(context_id, command.answer(status))

    def _open(self, context_id: int, command: Command) -> _Incoming:
        announced = Announced(
            self._origin, command.sop_class, command.sop_instance, self._contexts[context_id]
        )
        incoming = _Incoming(context_id, command, announced)
        try:
            incoming.part = self._scp.intake.begin(announced)
        except Failure as failure:
            incoming.refusal = failure
        return incoming

    def _data(self, incoming: _Incoming, fragment: Fragment) -> None:
        part = incoming.part
        if part is not None:
            try:
                part.write(fragment.data)
                if part.size > self._settings.max_object:
                    raise PermanentFailure(
                        f"the object exceeds max_object, {self._settings.max_object} bytes"
                    )
            except Failure as failure:
                part.abort()
                incoming.part, incoming.refusal = None, failure
        if fragment.is_last:
            self._incoming = None
            task = asyncio.get_running_loop().create_task(self._finish(incoming))
            self._answering.add(task)
            self._scp.answering(task)
            task.add_done_callback(self._answered)
            if len(self._answering) == _IN_COMMIT:
                self.connection.hold(on=True)

    async def _finish(self, incoming: _Incoming) -> None:
        """Commit and answer; whatever goes wrong, the peer gets an answer that is true."""
        status, comment = dimse.SUCCESS, ""
        try:
            await self._admit(incoming)
        except Failure as failure:
            status, comment = self._refuse(incoming, failure), str(failure)
        except Exception as error:  # noqa: BLE001 - the peer must be told that it is not kept
            telemetry.bug("an instance could not be admitted", error)
            status, comment = self._refuse(incoming, TemporaryFailure("internal error")), ""
        self._reply(incoming.context_id, incoming.command.answer(status, comment))

    async def _admit(self, incoming: _Incoming) -> None:
        if incoming.part is None:
            raise incoming.refusal or TemporaryFailure("the instance could not be kept")
        await self._scp.intake.admit(incoming.part, incoming.announced)
        self._received += 1

    def _refuse(self, incoming: _Incoming, failure: Failure) -> int:
        status = _status_for(failure)
        self._refused += 1
        telemetry.instance_refused(
            self._origin, incoming.command.sop_instance, status, str(failure)
        )
        return status

    def _drop(self, incoming: _Incoming, reason: str) -> None:
        if incoming.part is not None:
            incoming.part.abort()
        self._refused += 1
        telemetry.instance_refused(self._origin, incoming.command.sop_instance, 0, reason)

    def _reply(self, context_id: int, response: Command) -> None:
        if self.connection.association.state in (State.ESTABLISHED, State.RELEASE_ASKED):
            data = dimse.encode_command(response)
            self.connection.send(Fragment(context_id, is_command=True, is_last=True, data=data))

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._answering.discard(task)
        if len(self._answering) == _IN_COMMIT - 1:
            self.connection.hold(on=False)
        if not task.cancelled() and (error := task.exception()) is not None:
            telemetry.bug("a C-STORE could not be answered", error)
        if self._release_asked:
            self._release()
        elif self._finishing:
            self.finish()
        self._report()

    def _release(self) -> None:
        """Reply to the release once everything has been answered (PS3.8 §7.2)."""
        state = self.connection.association.state
        if not self._answering and state in (
            State.RELEASE_ASKED,
            State.COLLISION_REQUESTOR,
            State.COLLISION_ACCEPTOR_RELEASED,
        ):
            self.connection.send(ReleaseReply())


def _status_for(failure: Failure) -> int:
    """The C-STORE status for an instance that was not kept (PS3.4 Table B.2-1)."""
    if isinstance(failure, PermanentFailure):
        return dimse.CANNOT_UNDERSTAND
    return dimse.OUT_OF_RESOURCES
