"""One connection's reads, writes and timers, over real sockets."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from gateway.transport import WRITE_HIGH_WATER, Connection
from gateway.upper_layer import pdu
from gateway.upper_layer.association import Association, Role, State
from gateway.upper_layer.events import (
    Abort,
    AssociateAccept,
    AssociateRequest,
    Closed,
    Event,
    Fragment,
    ReleaseReply,
    ReleaseRequest,
)
from tests.scripted_peer import ScriptedPeer, listening, no_loop_errors, request, until
from tests.upper_layer.pair import ACCEPT, REQUEST

SOON = 0.2
ANSWER = Fragment(1, is_command=True, is_last=True, data=b"answer")


@pytest_asyncio.fixture(autouse=True)
async def _no_loop_errors() -> AsyncIterator[None]:
    with no_loop_errors():
        yield


class Listener:
    """A handler that keeps what it is told; ``react`` is called with each event."""

    def __init__(self, react: Callable[[Event], None] = lambda _: None) -> None:
        self.events: list[Event] = []
        self.reasons: list[str] = []
        self.breaches: list[str] = []
        self.waits: float | None = 60.0
        self.asked = 0
        self.react = react
        self.connection: Connection

    @property
    def patience(self) -> float | None:
        self.asked += 1
        return self.waits

    def happened(self, event: Event) -> None:
        if isinstance(event, Fragment):
            event = event._replace(data=bytes(event.data))
        self.events.append(event)
        if isinstance(event, AssociateRequest):
            self.connection.send(ACCEPT)
        self.react(event)

    def broken(self, reason: str) -> None:
        self.breaches.append(reason)

    def lost(self, reason: str) -> None:
        self.reasons.append(reason)


@asynccontextmanager
async def acceptor(
    listener: Listener, *, artim: float = 60.0, longest: int = 16_384, refusal: str = ""
) -> AsyncIterator[ScriptedPeer]:
    """A peer that has called a connection of ours."""

    def connect() -> Connection:
        association = Association(Role.ACCEPTOR, max_pdu_length=longest)
        listener.connection = Connection(
            association, listener, artim_seconds=artim, refusal=refusal
        )
        return listener.connection

    loop = asyncio.get_running_loop()
    server = await loop.create_server(connect, "127.0.0.1", 0)
    try:
        async with await ScriptedPeer.connect(server.sockets[0].getsockname()[1]) as peer:
            await until(lambda: hasattr(listener, "connection"))
            yield peer
        await listener.connection.ended()
    finally:
        server.close()


async def test_what_is_received_is_told_and_the_end_is_told_once():
    listener = Listener()
    async with acceptor(listener) as peer:
        await peer.associate()
        await peer.send(Fragment(1, False, True, b"data"), ReleaseRequest())
        await until(lambda: len(listener.events) == 3)
        listener.connection.send(ReleaseReply())
        await peer.expect(ReleaseReply)
        assert listener.connection.address == "127.0.0.1"
        assert listener.reasons == []
    assert listener.events == [
        request(),
        Fragment(1, False, True, b"data"),
        ReleaseRequest(),
        Closed(),
    ]
    assert listener.reasons == [""]
    assert listener.connection.address == "127.0.0.1"


async def test_the_machine_closes_when_the_association_is_finished():
    listener = Listener()
    async with acceptor(listener) as peer:
        await peer.associate()
        await peer.send(Abort())
        assert await peer.closed() == b""
    assert listener.events[1:] == [Abort()]
    assert listener.reasons == [""]


async def test_without_a_request_artim_closes_without_a_word():
    """Sta2 + Evt18: AA-2."""
    listener = Listener()
    async with acceptor(listener, artim=SOON) as peer:
        assert await peer.closed() == b""
    assert listener.reasons == [f"ARTIM timer expired: nothing came for {SOON} s"]


async def test_bytes_that_trickle_do_not_put_off_artim():
    listener = Listener()
    async with acceptor(listener, artim=SOON) as peer:
        await peer.send(b"\1\0\0\0\xff\xff")
        while not listener.reasons:
            peer.writer.write(b"\0")
            await asyncio.sleep(0)
    assert "ARTIM" in listener.reasons[0]


async def test_an_established_association_outlives_artim():
    listener = Listener()
    async with acceptor(listener, artim=SOON) as peer:
        await peer.associate()
        asked = listener.asked
        await until(lambda: listener.asked > asked + 1)
        assert listener.connection.association.state is State.ESTABLISHED


async def test_silence_beyond_the_handlers_patience_is_aborted_by_the_provider():
    listener = Listener()
    listener.waits = SOON
    async with acceptor(listener, artim=SOON) as peer:
        await peer.associate()
        assert await peer.expect(Abort) == Abort(2, 0)
        assert await peer.closed() == b""
    assert listener.reasons == [f"idle: nothing came for {SOON} s"]


async def test_silence_is_ours_to_break_while_the_handler_has_no_limit():
    listener = Listener()
    listener.waits = None
    async with acceptor(listener, artim=SOON) as peer:
        await peer.associate()
        await until(lambda: listener.asked > 1)
        assert listener.reasons == []
        listener.waits = 0.01
        await peer.expect(Abort)
        await until(lambda: listener.reasons)


async def test_a_peer_that_speaks_is_not_idle():
    listener = Listener()
    async with acceptor(listener, artim=SOON) as peer:
        await peer.associate()
        long_ago = asyncio.get_running_loop().time() - 100
        listener.connection._heard = long_ago
        await peer.send(Fragment(1, False, False, b"more"))
        await until(lambda: len(listener.events) == 2)
        asked = listener.asked
        await until(lambda: listener.asked > asked + 1)
        assert listener.reasons == []
        listener.connection._heard = long_ago
        await peer.expect(Abort)


async def test_after_an_abort_of_ours_a_peer_that_does_not_close_is_cut_off():
    """AA-1 starts ARTIM; Sta13 + Evt18: AA-2."""
    listener = Listener()
    async with acceptor(listener, artim=SOON) as peer:
        await peer.associate()
        listener.connection.abort("enough", linger=True)
        assert await peer.expect(Abort) == Abort(0, 0)
        assert listener.connection.association.state is State.AWAITING_CLOSE
        await listener.connection.ended()
    assert listener.reasons == ["enough"]


async def test_a_lingering_abort_reaches_a_peer_that_goes_on_sending():
    listener = Listener()
    async with acceptor(listener) as peer:
        await peer.associate()
        listener.connection.abort("enough", linger=True)
        for _ in range(200):
            await peer.send(Fragment(1, False, False, bytes(16_000)))
        assert await peer.expect(Abort) == Abort(0, 0)
    assert listener.events[1:] == [Closed()]
    assert listener.reasons == ["enough"]


async def test_an_abort_before_the_association_just_closes():
    listener = Listener()
    async with acceptor(listener) as peer:
        await until(lambda: listener.connection.address)
        listener.connection.abort("stop", linger=True)
        assert await peer.closed() == b""
    assert listener.reasons == ["stop"]


async def test_a_protocol_error_is_answered_and_its_text_is_the_reason():
    listener = Listener()
    async with acceptor(listener) as peer:
        await peer.associate()
        await peer.send(ReleaseReply())
        assert await peer.expect(Abort) == Abort(2, 2)
        assert listener.breaches == ["ReleaseReply in Sta6"]
        assert listener.reasons == []
    assert listener.reasons == listener.breaches


async def test_a_pdu_longer_than_agreed_is_refused_by_its_head():
    listener = Listener()
    async with acceptor(listener, longest=16_384) as peer:
        await peer.associate()
        await peer.send(struct.pack(">BxL", 4, 16_385))
        assert await peer.expect(Abort) == Abort(2, 6)
    assert listener.events[1:] == [Closed()]
    assert "16385 bytes" in listener.reasons[0]


@pytest.mark.parametrize(
    ("hello", "words"),
    [
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(200), "a TLS hello"),
        (b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n", "an HTTP request"),
    ],
)
async def test_a_foreign_protocol_is_the_reason(hello, words):
    listener = Listener()
    async with acceptor(listener) as peer:
        await peer.send(hello)
        assert await peer.expect(Abort) == Abort(0, 0)
    assert listener.reasons[0].startswith(words)


async def test_any_amount_of_garbage_is_swallowed():
    listener = Listener()
    async with acceptor(listener) as peer:
        for _ in range(40):
            await peer.send(b"\xff" * 100_000)
        assert await peer.expect(Abort) == Abort(0, 0)
    assert listener.events == [Closed()]


async def test_garbage_in_the_middle_of_an_association_is_swallowed():
    listener = Listener()
    async with acceptor(listener) as peer:
        await peer.associate()
        await peer.send(struct.pack(">BxL", 4, 0) + b"\xff" * 1_000_000)
        assert await peer.expect(Abort) == Abort(2, 6)


async def test_a_handler_that_fails_costs_its_association_only():
    def fail(event: Event) -> None:
        if isinstance(event, Fragment):
            raise ZeroDivisionError

    listener = Listener(fail)
    with capture_logs() as logs:
        async with acceptor(listener) as peer:
            await peer.associate()
            await peer.send(Fragment(1, False, True, bytes(10_000)), b"\xff" * 500_000)
            assert await peer.closed() in (pdu.encode(Abort(0, 0)), b"")
    assert listener.reasons == ["internal error"]
    assert [log["log_level"] for log in logs] == ["error"]


async def test_a_peer_that_vanishes_is_told_as_closed():
    listener = Listener()
    async with acceptor(listener) as peer:
        await peer.associate()
        peer.writer.transport.abort()
        await listener.connection.ended()
    assert listener.events[1:] == [Closed()]
    assert len(listener.reasons) == 1


async def test_a_refused_connection_is_closed_at_once():
    listener = Listener()
    async with acceptor(listener, refusal="too many") as peer:
        assert await peer.closed() == b""
    assert listener.reasons == ["too many"]


async def test_an_acceptor_reads_no_more_while_its_answers_are_not_read():
    answer = Fragment(1, True, True, bytes(64_000))
    sent = 400

    def react(event: Event) -> None:
        if isinstance(event, Fragment):
            listener.connection.send(answer)

    listener = Listener(react)
    async with acceptor(listener) as peer:
        await peer.associate()
        flood = asyncio.ensure_future(peer.send(*[Fragment(1, True, True, bytes(16_000))] * sent))
        await until(lambda: not listener.connection._writable.is_set())
        told = len(listener.events)
        assert told < sent
        for _ in range(sent):
            await peer.expect(Fragment)
        await flood
        assert sum(isinstance(event, Fragment) for event in listener.events) >= sent


@asynccontextmanager
async def requestor(
    listener: Listener, peer: Callable[[ScriptedPeer], object], *, artim: float = 60.0
) -> AsyncIterator[Connection]:
    """A connection of ours to a scripted peer that has accepted."""

    async def script(scripted: ScriptedPeer) -> None:
        await scripted.accept()
        await peer(scripted)

    loop = asyncio.get_running_loop()
    async with listening(script) as port:
        connection = Connection(Association(Role.REQUESTOR), listener, artim_seconds=artim)
        listener.connection = connection
        await loop.create_connection(lambda: connection, "127.0.0.1", port)
        connection.send(REQUEST)
        await until(lambda: connection.association.state is State.ESTABLISHED)
        try:
            yield connection
        finally:
            connection.cut()
            await connection.ended()


async def test_a_requestor_hears_the_answer_while_its_own_data_waits():
    written = asyncio.Event()

    async def answer_unread(peer: ScriptedPeer) -> None:
        await written.wait()
        await peer.send(ANSWER)
        await peer.closed()

    listener = Listener()
    async with requestor(listener, answer_unread) as connection:
        connection.write(bytes(32 * WRITE_HIGH_WATER))
        written.set()
        await until(lambda: ANSWER in listener.events)
        assert not connection._writable.is_set()
    assert isinstance(listener.events[0], AssociateAccept)


async def test_a_peer_that_reads_nothing_cannot_keep_a_connection_open():
    """Closing waits for what is written to be sent: no longer than ARTIM."""
    gone = asyncio.Event()

    async def read_nothing(peer: ScriptedPeer) -> None:
        peer.writer.transport.pause_reading()
        await gone.wait()

    listener = Listener()
    async with requestor(listener, read_nothing, artim=SOON) as connection:
        connection.write(bytes(32 * WRITE_HIGH_WATER))
        connection.abort("given up")
        async with asyncio.timeout(10):
            await connection.drained()
            await connection.ended()
        gone.set()
    assert listener.reasons == ["given up"]


async def test_writing_after_the_end_is_nothing():
    listener = Listener()
    async with acceptor(listener) as peer:
        await peer.associate()
        await peer.send(Abort())
        await listener.connection.ended()
        listener.connection.write(b"late")
        listener.connection.abort("late")
        listener.connection.close()
        listener.connection.cut()
        listener.connection.hold(on=True)
        await listener.connection.drained()
    assert listener.reasons == [""]
