"""A destination that answers as scripted, and what it saw."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from enum import Enum, auto
from pathlib import Path

from gateway.deliver.session import ConnectionLost
from gateway.failures import AlreadyThere, PermanentFailure, TemporaryFailure
from gateway.model import UID, Instance
from gateway.transfer_syntax import EXPLICIT_LE, IMPLICIT_LE, J2K


class Answer(Enum):
    """What a destination does at one try."""

    OK = auto()
    WARNING = auto()
    OUT_OF_RESOURCES = auto()
    CANNOT_UNDERSTAND = auto()
    DUPLICATE = auto()
    HANG = auto()
    DROP = auto()
    BUG = auto()
    REFUSE_CONNECTION = auto()
    REJECT = auto()
    CONNECT_BUG = auto()
    CONNECT_HANG = auto()
    REFUSE_CONTEXTS = auto()
    CLOSE_AT_ONCE = auto()


AT_CONNECT = {
    Answer.REFUSE_CONNECTION: TemporaryFailure("connection refused"),
    Answer.REJECT: PermanentFailure("rejected: called AE title not recognized"),
    Answer.CONNECT_BUG: RuntimeError("surprise"),
}
AT_STORE = {
    Answer.OUT_OF_RESOURCES: TemporaryFailure("0xA700 out of resources"),
    Answer.CANNOT_UNDERSTAND: PermanentFailure("0xC000 cannot understand"),
    Answer.DUPLICATE: AlreadyThere("0x0111 duplicate SOP instance"),
    Answer.DROP: ConnectionLost("the peer closed the connection"),
    Answer.BUG: RuntimeError("surprise"),
}
WHOLE_ASSOCIATION = {Answer.REFUSE_CONTEXTS, Answer.CLOSE_AT_ONCE}


class UnreliableSender:
    """A destination that answers as scripted, one answer a try, and well when that is used up.

    ``events`` is what it saw: connect, store UID, release, abort. ``most`` is how many
    associations it serves at once; ``broken`` sessions raise when they are asked anything.
    """

    def __init__(self, *script: Answer, accepts: Collection[UID] | None = None) -> None:
        self.script = deque(script)
        self.accepts = frozenset(accepts or (EXPLICIT_LE, IMPLICIT_LE, J2K))
        self.events: list[str] = []
        self.wanted: list[list[tuple[UID, UID]]] = []
        self.stored: list[tuple[str, UID, str]] = []
        self.open = self.most_open = 0
        self.most = 99
        self.broken = False
        self.sessions: list[FakeSession] = []
        self.release_failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    def uids(self) -> list[str]:
        """The instances that were confirmed, in the order in which they came."""
        return [uid for uid, _, _ in self.stored]

    @asynccontextmanager
    async def connect(self, wanted: Collection[tuple[UID, UID]]) -> AsyncIterator["FakeSession"]:
        self.events.append("connect")
        self.wanted.append(list(wanted))
        if self.open >= self.most:
            raise TemporaryFailure("rejected: local limit exceeded")
        session = await self._open(set(wanted))
        self.sessions.append(session)
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            yield session
            self.events.append("release")
        except BaseException:
            self.events.append("abort")
            raise
        finally:
            self.open -= 1
        if self.release_failure is not None:
            raise self.release_failure

    async def _open(self, wanted: set[tuple[UID, UID]]) -> "FakeSession":
        await asyncio.sleep(0)
        if not self.script or self.script[0] not in {
            *AT_CONNECT, *WHOLE_ASSOCIATION, Answer.CONNECT_HANG,
        }:  # fmt: skip
            return FakeSession(self, wanted, self.accepts)
        answer = self.script.popleft()
        if answer in AT_CONNECT:
            raise AT_CONNECT[answer]
        if answer is Answer.CONNECT_HANG:
            await asyncio.Event().wait()
        accepts = frozenset() if answer is Answer.REFUSE_CONTEXTS else self.accepts
        return FakeSession(self, wanted, accepts, alive=answer is not Answer.CLOSE_AT_ONCE)


class FakeSession:
    """An association with an unreliable destination."""

    def __init__(
        self,
        sender: UnreliableSender,
        wanted: set[tuple[UID, UID]],
        accepts: frozenset[UID],
        *,
        alive: bool = True,
    ) -> None:
        self._alive = alive
        self._sender = sender
        self._proposed = {
            (sop_class, syntax)
            for sop_class, stored in wanted
            for syntax in (stored, EXPLICIT_LE, IMPLICIT_LE)
        }
        self._accepts = accepts

    @property
    def alive(self) -> bool:
        if self._sender.broken:
            raise RuntimeError("surprise")
        return self._alive

    @alive.setter
    def alive(self, alive: bool) -> None:
        self._alive = alive

    def accepted(self, sop_class: UID) -> frozenset[UID]:
        proposed = {syntax for known, syntax in self._proposed if known == sop_class}
        return self._accepts & proposed

    def proposed(self, sop_class: UID, syntaxes: Collection[UID]) -> bool:
        return all((sop_class, syntax) in self._proposed for syntax in syntaxes)

    async def store(self, instance: Instance, file: Path, transfer_syntax: UID) -> str:
        assert self.alive, "stored over a dead association"
        assert transfer_syntax in self.accepted(instance.sop_class_uid)
        self._sender.events.append(f"store {instance.sop_instance_uid}")
        await self._sender.gate.wait()
        answer = self._sender.script.popleft() if self._sender.script else Answer.OK
        if answer in (Answer.DROP, Answer.BUG):
            self.alive = False
        if answer is Answer.HANG:
            await asyncio.Event().wait()
        if answer in AT_STORE:
            raise AT_STORE[answer]
        self._sender.stored.append((instance.sop_instance_uid, transfer_syntax, file.name))
        return "0xB000 coercion of data elements" if answer is Answer.WARNING else ""
