"""The asyncio shell around an association: one connection's reads, writes and timers.

The only place where bytes of the upper layer meet a socket. What happens is told to a ``Handler``
synchronously, while the data of fragments is still in the receive buffer; back-pressure is simply
that nothing more is read meanwhile.
"""

import asyncio
from typing import Literal, Protocol, cast

from gateway import telemetry
from gateway.upper_layer.association import (
    Association,
    LocalProtocolError,
    RemoteProtocolError,
    Role,
    State,
)
from gateway.upper_layer.events import Abort, Event, Need

WRITE_HIGH_WATER = 1 << 20


class Handler(Protocol):
    """What a connection tells its user."""

    @property
    def patience(self) -> float | None:
        """Seconds of silence the peer is allowed now; None while the next move is ours."""

    def happened(self, event: Event) -> None:
        """One event; a fragment's data is valid only during the call."""

    def broken(self, reason: str) -> None:
        """The peer broke the protocol and was sent an A-ABORT (A-P-ABORT, PS3.8 §7.4).

        Nothing more will happen; ``lost`` follows when the peer has closed.
        """

    def lost(self, reason: str) -> None:
        """The connection has ended, said once; ``reason`` is "" after a release."""


class Connection(asyncio.BufferedProtocol):
    """One transport connection that carries one association.

    ``artim_seconds`` bounds the wait for A-ASSOCIATE-RQ and for the peer's close (PS3.8 §9.1.5),
    the handler's ``patience`` the peer's silence in between. ``address`` is the peer's IP address,
    "" until connected. With a ``refusal`` the connection is closed as soon as it is made.
    """

    def __init__(
        self,
        association: Association,
        handler: Handler,
        *,
        artim_seconds: float = 30.0,
        refusal: str = "",
    ) -> None:
        self.association = association
        self._handler = handler
        self._artim_seconds = artim_seconds
        self.address = ""
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._artim_since: float | None = None
        self._artim_in: State | None = None
        self._closing = self._held = False
        self._heard = self._loop.time()
        self._refusal = refusal
        self._reason = ""
        self._writable = asyncio.Event()
        self._writable.set()
        self._ended = asyncio.Event()

    def send(self, event: Event) -> None:
        """Write an event's PDU; a state that forbids it raises ``LocalProtocolError``."""
        self.write(self.association.send(event))
        self._settle()

    def write(self, data: bytes | bytearray) -> None:
        """Write bytes that already are PDUs."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    @property
    def reason(self) -> str:
        """Why the connection ends, "" where it does not or ends as it should."""
        return self._reason

    @property
    def unsent(self) -> int:
        """Bytes that were written and have not left for the peer."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    async def drained(self) -> None:
        """Wait until the write buffer has room."""
        await self._writable.wait()

    async def ended(self) -> None:
        """Wait until the connection has ended."""
        await self._ended.wait()

    def abort(self, reason: str, event: Abort | None = None, *, linger: bool = False) -> None:
        """Send A-ABORT where the state allows it, remember why, and close.

        With ``linger`` the peer, in the middle of sending, is let to read it and to close (Sta13):
        a connection closed with unread bytes is reset, and the A-ABORT lost.
        """
        self._reason = self._reason or reason
        try:
            self.write(self.association.send(event or Abort()))
        except LocalProtocolError:
            linger = False
        if linger:
            self._settle()
        else:
            self.close()

    def close(self) -> None:
        """Close after what is written has been sent, at the latest when ARTIM expires."""
        self._closing = True
        if self._transport is not None:
            self._transport.close()
            self._settle_artim()

    def cut(self) -> None:
        """Close at once; what is written but not sent is lost."""
        if self._transport is not None:
            self._transport.abort()

    def hold(self, *, on: bool) -> None:
        """Read nothing more from the peer, or go on: back-pressure by TCP."""
        self._held = on
        self._regulate()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        if self._refusal:
            self.abort(self._refusal)
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
        """Called by the loop: the peer does not read what we write."""
        self._writable.clear()
        self._regulate()

    def resume_writing(self) -> None:
        """Called by the loop."""
        self._writable.set()
        self._regulate()

    def _regulate(self) -> None:
        """Read no requests while answers pile up; a requestor's own data must not stop answers."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        is_acceptor = self.association.role is Role.ACCEPTOR
        if self._held or (is_acceptor and not self._writable.is_set()):
            transport.pause_reading()
        else:
            transport.resume_reading()

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
            while (event := self._next_event()) is not Need.DATA:
                self._handler.happened(event)
        except Exception as error:  # noqa: BLE001 - one association must not end the others
            telemetry.bug("a handler failed; its association is aborted", error)
            self.abort("internal error")
        self._settle()

    def _next_event(self) -> Event | Literal[Need.DATA]:
        while True:
            try:
                return self.association.next_event()
            except RemoteProtocolError as error:
                self._reason = self._reason or str(error)
                self.write(error.answer)
                self._handler.broken(self._reason)

    def _settle(self) -> None:
        """Close where the association is finished; keep the timer that the state asks for."""
        if self.association.finished:
            self.close()
        self._settle_artim()
        if self._timer is None and self._transport is not None:
            self._arm(self._artim_seconds)

    def _settle_artim(self) -> None:
        """ARTIM starts anew in each state in which it runs, and bounds every close of ours."""
        state = self.association.state
        if not (self._closing or self.association.artim_runs):
            self._artim_since = None
        elif self._artim_since is None or state is not self._artim_in:
            self._artim_since = self._loop.time()
        self._artim_in = state

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
        self.cut()
