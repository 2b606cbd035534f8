"""A peer that does what a test says: sends bytes, expects PDUs, waits for the close.

It speaks over a real socket but knows no rules, so it can be as wrong as a test wants it. Every
wait ends with an error after ten seconds.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self, TypeVar

from gateway import dimse
from gateway.dataset.part10 import encode_file_meta
from gateway.dimse import Command
from gateway.upper_layer import pdu
from gateway.upper_layer.events import (
    AnsweredContext,
    AssociateAccept,
    AssociateRequest,
    Event,
    Fragment,
    ProposedContext,
    UserInformation,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"

T = TypeVar("T", bound=Event)
PATIENCE = 10.0


class ScriptedPeer:
    """One end of a connection in the hands of a test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int) -> Self:
        """A peer that calls."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def send(self, *what: Event | bytes) -> None:
        """Write PDUs, or bytes that are none."""
        self.writer.write(
            b"".join(each if isinstance(each, bytes) else pdu.encode(each) for each in what)
        )
        async with asyncio.timeout(PATIENCE):
            await self.writer.drain()

    async def read(self) -> list[Event]:
        """The next PDU's events: one, or the fragments of a P-DATA-TF."""
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readexactly(6)
            kind, length = pdu.head(memoryview(head))
            body = await self.reader.readexactly(length)
        return fragments(body) if kind == pdu.P_DATA else [pdu.decode(kind, body)]

    async def expect(self, kind: type[T]) -> T:
        """The next PDU, which must be of this kind."""
        (event,) = await self.read()
        assert isinstance(event, kind), f"{event}, wanted was {kind.__name__}"
        return event

    async def answer(self) -> Command:
        """The next command set, which must be one P-DATA-TF."""
        fragment = await self.expect(Fragment)
        assert fragment.is_command
        assert fragment.is_last
        return dimse.decode_command(bytes(fragment.data))

    async def message(self) -> tuple[Command, bytes]:
        """The next whole message: command set and data set."""
        parts = [bytearray(), bytearray()]
        while True:
            for fragment in await self.read():
                assert isinstance(fragment, Fragment), fragment
                parts[0 if fragment.is_command else 1] += fragment.data
                if fragment.is_last:
                    command = dimse.decode_command(bytes(parts[0]))
                    if not (fragment.is_command and command.has_data_set):
                        return command, bytes(parts[1])

    async def closed(self) -> bytes:
        """What still comes before the other side closes, however it does."""
        rest = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                while more := await self.reader.read(65536):
                    rest += more
        return rest

    async def associate(self, *contexts: tuple[str, str], **values: Any) -> AssociateAccept:
        """Ask for an association with one context for each (abstract, transfer syntax)."""
        await self.send(request(*contexts, **values))
        return await self.expect(AssociateAccept)

    async def accept(self, max_length: int = 16_384) -> AssociateRequest:
        """Accept every context of the association that is asked for."""
        asked = await self.expect(AssociateRequest)
        contexts = tuple(
            AnsweredContext(context.context_id, 0, context.transfer_syntaxes[0])
            for context in asked.contexts
        )
        user = UserInformation(max_length=max_length, implementation_class="1.2.3")
        await self.send(AssociateAccept(asked.called, asked.calling, contexts, user))
        return asked


@asynccontextmanager
async def listening(script: Callable[[ScriptedPeer], Awaitable[None]]) -> AsyncIterator[int]:
    """The port of a peer that plays a script with each caller; what it raises comes out here."""
    tasks: list[asyncio.Task[None]] = []

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with ScriptedPeer(reader, writer) as peer:
            await script(peer)

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.ensure_future(play(reader, writer)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*tasks)
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def no_loop_errors() -> Iterator[None]:
    """Nothing may be left to the event loop's exception handler."""
    loop = asyncio.get_running_loop()
    errors: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: errors.append(context))
    yield
    assert errors == []


async def until(come_true: Callable[[], object]) -> None:
    """Let the loop run until something is true."""
    async with asyncio.timeout(PATIENCE):
        while not come_true():  # noqa: ASYNC110 - a test may wait for anything
            await asyncio.sleep(0.001)


def fragments(body: bytes) -> list[Event]:
    """The presentation data values of a P-DATA-TF's body."""
    found: list[Event] = []
    offset = 0
    while offset < len(body):
        length, context_id, control = pdu.pdv_head(memoryview(body)[offset:])
        offset += 6
        data = body[offset : offset + length]
        assert len(data) == length
        found.append(Fragment(context_id, bool(control & 1), bool(control & 2), data))
        offset += length
    return found


def request(*contexts: tuple[str, str], **values: Any) -> AssociateRequest:
    """An association request; without contexts, one for CT in Explicit VR Little Endian."""
    given = {"called": "GATEWAY", "calling": "MODALITY", **values}
    proposed = tuple(
        ProposedContext(2 * number + 1, abstract, (syntax,))
        for number, (abstract, syntax) in enumerate(contexts or ((CT, EXPLICIT_LE),))
    )
    user = UserInformation(max_length=16_384, implementation_class="1.2.3")
    return AssociateRequest(contexts=proposed, user=user, **given)


def command(field: int, context_id: int = 1, message_id: int = 1, **values: Any) -> Fragment:
    """A command set in one fragment."""
    data = dimse.encode_command(Command(field, message_id, **values))
    return Fragment(context_id, is_command=True, is_last=True, data=data)


def store(
    uid: str, data: bytes, *, context_id: int = 1, message_id: int = 1, piece: int = 10_000
) -> bytes:
    """A whole C-STORE-RQ as P-DATA-TF PDUs."""
    head = command(
        dimse.C_STORE_RQ,
        context_id,
        message_id,
        sop_class=CT,
        sop_instance=uid,
        has_data_set=True,
    )
    starts = range(0, max(len(data), 1), piece)
    parts = [
        Fragment(context_id, False, start + piece >= len(data), data[start : start + piece])
        for start in starts
    ]
    return b"".join(pdu.encode(fragment) for fragment in (head, *parts))


def data_set(uid: str, pixels: int = 0, sop_class: str = CT) -> bytes:
    """A small data set in Explicit VR Little Endian with ``pixels`` bytes of Pixel Data."""

    def uid_element(group: int, element: int, text: str) -> bytes:
        value = text.encode() + b"\0" * (len(text) % 2)
        head = group.to_bytes(2, "little") + element.to_bytes(2, "little")
        return head + b"UI" + len(value).to_bytes(2, "little") + value

    pixel_data = bytes(range(256)) * (pixels // 256 + 1)
    return b"".join(
        (
            uid_element(8, 0x16, sop_class),
            uid_element(8, 0x18, uid),
            uid_element(0x20, 0x0D, "1.2.3.1"),
            uid_element(0x20, 0x0E, "1.2.3.2"),
            b"\xe0\x7f\x10\0OW\0\0" + pixels.to_bytes(4, "little") + pixel_data[:pixels],
        )
    )


def part10(uid: str, pixels: int = 0, sop_class: str = CT) -> bytes:
    """The same as a Part 10 file."""
    meta = encode_file_meta(
        sop_class_uid=sop_class, sop_instance_uid=uid, transfer_syntax=EXPLICIT_LE
    )
    return meta + data_set(uid, pixels, sop_class)
