"""What a kind of destination must offer: a sender that opens sessions, and the session itself.

A session is an open association (PS3.8 §7.1) or what stands for it over HTTP. Nothing a sender
does may be taken for delivery but a return from ``Session.store``: an answer that was not read
is a failure.
"""

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from gateway.failures import Failure, TemporaryFailure
from gateway.model import UID, Instance


class ConnectionLost(TemporaryFailure):
    """The session ended before the answer: aborted, closed, or silent for too long."""


class Session(Protocol):
    """An open association with a destination."""

    @property
    def alive(self) -> bool:
        """Whether another instance can be stored over this session."""
        ...

    def accepted(self, sop_class: UID) -> frozenset[UID]:
        """The transfer syntaxes the peer accepted for a SOP class; empty where it refused it."""
        ...

    def proposed(self, sop_class: UID, syntaxes: Collection[UID]) -> bool:
        """Whether every one of these transfer syntaxes was proposed for this SOP class.

        Where it was not, nothing is known of what the peer accepts: a new session is needed.
        """
        ...

    async def store(self, instance: Instance, file: Path, transfer_syntax: UID) -> str:
        """Send the Part 10 file's data set and wait for the peer's answer (PS3.4 §B.2).

        ``file`` holds the data set in ``transfer_syntax``, which is one of ``accepted``. Returns
        "" for status 0x0000, else the warning's text. One call at a time per session.

        Raises ConnectionLost when the association is gone or silent beyond its time limit (the
        session is then no longer ``alive``), TemporaryFailure for a status 0xA7xx, and
        PermanentFailure for a status that says the instance itself is unwelcome.
        """
        ...


@dataclass(frozen=True, slots=True)
class Item:
    """An instance ready to be stored: the Part 10 ``file`` holds it in ``transfer_syntax``."""

    instance: Instance
    file: Path
    transfer_syntax: UID

    @property
    def size(self) -> int:
        """The stored file's bytes, which say about how long a request becomes."""
        return self.instance.size


@runtime_checkable
class BatchSession(Session, Protocol):
    """A session that stores several instances at once."""

    def fits(self, items: Sequence[Item]) -> bool:
        """Whether these may go together; one alone always may."""
        ...

    async def store_batch(self, items: Sequence[Item]) -> list[str | Failure]:
        """Store instances, none of them twice; for each what ``store`` returns or raises.

        Raises ConnectionLost or TemporaryFailure where nothing is known of any of them.
        """
        ...


class Sender(Protocol):
    """Opens sessions with one destination.

    Senders that are equal reach the same peer in the same way: where a new configuration has an
    equal one, its lane goes on as if nothing had happened.
    """

    def connect(self, wanted: Collection[tuple[UID, UID]]) -> AbstractAsyncContextManager[Session]:
        """Open a session for instances of these (SOP class, stored transfer syntax) pairs.

        For each SOP class the stored transfer syntax and the uncompressed ones are proposed, as
        presentation contexts of their own. Leaving the context releases the association, or
        aborts it when it is left by an exception.

        Entering raises TemporaryFailure when the connection or the association is refused or not
        answered in time, and PermanentFailure when it never can succeed as configured.
        """
        ...
