"""The asyncio shell around an association: one connection's reads, writes and timers.

The only place where bytes of the upper layer meet a socket. What happens is told to a ``Handler``
synchronously, while the data of fragments is still in the receive buffer; back-pressure is simply
that nothing more is read meanwhile.
"""

import asyncio
import contextlib
from typing import Protocol, cast

from gateway import telemetry
from gateway.upper_layer.association import Association, LocalProtocolError, RemoteProtocolError
from gateway.upper_layer.events import Abort, Event, Need

WRITE_HIGH_WATER = 1 << 20


class Handler(Protocol):
    """What a connection tells its user."""

    @property
    def patience(self) -> float | None:
        """Seconds of silence the peer is allowed now; None while the next move is ours."""

    def happened(self, event: Event) -> None:
        """One event; a fragment's data is valid only during the call."""

    def lost(self, reason: str) -> None:
        """The connection has ended, said once; ``reason`` is "" after a release."""


class Connection(asyncio.BufferedProtocol):
    """One transport connection that carries one association.

    ``artim_seconds`` bounds the wait for A-ASSOCIATE-RQ and for the peer's close (PS3.8 §9.1.5),
    the handler's ``patience`` the peer's silence in between.
    """

    def __init__(
        self,
        association: Association,
        handler: Handler,
        *,
        artim_seconds: float = 30.0,
    ) -> None:
        self.association = association
        self._handler = handler
        self._artim_seconds = artim_seconds
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._artim_since: float | None = None
        self._heard = self._loop.time()
        self._reason = ""
        self._writable = asyncio.Event()
        self._writable.set()
        self._ended = asyncio.Event()

    @property
    def address(self) -> str:
        """The peer's IP address, "" when unknown."""
        peer = self._transport.get_extra_info("peername") if self._transport else None
        return str(peer[0]) if peer else ""

    def send(self, event: Event) -> None:
        """Write an event's PDU; a state that forbids it raises ``LocalProtocolError``."""
        self.write(self.association.send(event))
        self._settle()

    def write(self, data: bytes | bytearray) -> None:
        """Write bytes that already are PDUs."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def drained(self) -> None:
        """Wait until the write buffer has room."""
        await self._writable.wait()

    async def ended(self) -> None:
        """Wait until the connection has ended."""
        await self._ended.wait()

    def abort(self, reason: str, event: Abort | None = None) -> None:
        """Send A-ABORT where the state allows it, remember why, and close."""
        self._reason = self._reason or reason
        with contextlib.suppress(LocalProtocolError):
            self.write(self.association.send(event or Abort()))
        self.close()

    def close(self) -> None:
        """Close after what is written has been sent."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        self._settle()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Called by the loop: where to read into."""
        return self.association.receive_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Called by the loop: bytes have been read."""
        self._heard = self._loop.time()
        self.association.received(nbytes)
        self._tell()

    def eof_received(self) -> bool:
        """Called by the loop: the peer has closed its side."""
        self.association.received(0)
        self._tell()
        return False

    def pause_writing(self) -> None:
        """Called by the loop."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Called by the loop."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop, once, at the end."""
        if self._timer is not None:
            self._timer.cancel()
        self._reason = self._reason or (f"connection lost: {exc}" if exc else "")
        self.association.received(0)
        self._tell()
        self._transport = None
        self._writable.set()
        self._ended.set()
        self._handler.lost(self._reason)

    def _tell(self) -> None:
        """Tell the handler everything that the received bytes mean."""
        try:
            while (event := self.association.next_event()) is not Need.DATA:
                self._handler.happened(event)
        except RemoteProtocolError as error:
            self._reason = str(error)
            self.write(error.answer)
        except Exception as error:  # noqa: BLE001 - one association must not end the others
            telemetry.bug("a handler failed; its association is aborted", error)
            self.abort("internal error")
        self._settle()

    def _settle(self) -> None:
        """Close where the association is finished; keep the timer that the state asks for."""
        if self.association.finished:
            self.close()
        elif not self.association.artim_runs:
            self._artim_since = None
        elif self._artim_since is None:
            self._artim_since = self._loop.time()
        if self._timer is None and self._transport is not None:
            self._arm(self._artim_seconds)

    def _arm(self, seconds: float) -> None:
        self._timer = self._loop.call_later(max(seconds, 0.01), self._check_time)

    def _check_time(self) -> None:
        now = self._loop.time()
        if self._artim_since is not None:
            since, limit, what = self._artim_since, self._artim_seconds, "ARTIM timer expired"
        else:
            patience = self._handler.patience
            since = now if patience is None else self._heard
            limit, what = patience or self._artim_seconds, "idle"
        if now - since < limit:
            self._arm(min(limit - (now - since), self._artim_seconds))
            return
        self.abort(f"{what}: nothing came for {limit:g} s", Abort(2, 0))
        if self._transport is not None:
            self._transport.abort()
