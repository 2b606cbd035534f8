"""A peer in a few bytes: PDUs and messages written by hand, right and wrong ones (PS3.8 9.3)."""

import socket
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from pydicom.filereader import read_file_meta_info

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"

ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, ABORT = 2, 3, 4, 7


def pdu(kind: int, body: bytes) -> bytes:
    """A PDU: type, reserved, length, body."""
    return struct.pack(">BBI", kind, 0, len(body)) + body


def item(kind: int, body: bytes) -> bytes:
    """An item of an A-ASSOCIATE PDU."""
    return struct.pack(">BBH", kind, 0, len(body)) + body


def associate_request(sop_class: str = CT, syntax: str = EXPLICIT_LE) -> bytes:
    """An A-ASSOCIATE-RQ with one presentation context, id 1."""
    context = item(0x30, sop_class.encode()) + item(0x40, syntax.encode())
    user = item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.826.0.1.3680043.8.498.9")
    items = (
        item(0x10, b"1.2.840.10008.3.1.1.1")
        + item(0x20, b"\x01\0\0\0" + context)
        + item(0x50, user)
    )
    head = struct.pack(">HH16s16s32s", 1, 0, b"GATEWAY".ljust(16), b"HAND".ljust(16), b"")
    return pdu(1, head + items)


def _element(group: int, element: int, value: bytes) -> bytes:
    return struct.pack("<HHI", group, element, len(value)) + value


def _uid(text: str) -> bytes:
    return text.encode() + b"\0" * (len(text) % 2)


def store_request(instance: str, sop_class: str = CT) -> bytes:
    """The command set of a C-STORE-RQ (PS3.7 9.3.1)."""
    elements = (
        _element(0, 0x0002, _uid(sop_class))
        + _element(0, 0x0100, struct.pack("<H", 1))
        + _element(0, 0x0110, struct.pack("<H", 1))
        + _element(0, 0x0700, struct.pack("<H", 0))
        + _element(0, 0x0800, struct.pack("<H", 1))
        + _element(0, 0x1000, _uid(instance))
    )
    return _element(0, 0x0000, struct.pack("<I", len(elements))) + elements


def fragment(data: bytes, *, command: bool = False, last: bool = True) -> bytes:
    """A P-DATA-TF with one presentation data value in context 1."""
    control = int(command) | (2 if last else 0)
    return pdu(P_DATA, struct.pack(">IBB", len(data) + 2, 1, control) + data)


def data_set(instance: str, sop_class: str = CT) -> bytes:
    """A small data set in Explicit VR Little Endian."""
    rows = (
        (0x0008, 0x0016, b"UI", _uid(sop_class)),
        (0x0008, 0x0018, b"UI", _uid(instance)),
        (0x0020, 0x000D, b"UI", _uid("1.2.3.1")),
        (0x0020, 0x000E, b"UI", _uid("1.2.3.2")),
    )
    return b"".join(
        struct.pack("<HH2sH", group, element, vr, len(value)) + value
        for group, element, vr, value in rows
    )


def data_set_of(file: Path) -> bytes:
    """The bytes of a Part 10 file after its File Meta Information (PS3.10 7.1)."""
    length = int(read_file_meta_info(file).FileMetaInformationGroupLength)
    return file.read_bytes()[128 + 4 + 12 + length :]


def store(port: int, files: Iterable[Path]) -> list[int | None]:
    """The statuses of C-STORE for small CT images in Explicit VR Little Endian."""
    with Hand(port) as hand:
        hand.associate()
        return [hand.store(file) for file in files]


class Hand:
    """A TCP connection to the gateway, with answers read PDU by PDU."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Write; a peer that has already closed is no surprise here."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def associate(self) -> None:
        """Ask for an association; it must be accepted."""
        self.send(associate_request())
        kind, _ = self.answer()
        assert kind == ASSOCIATE_AC, kind

    def store(self, file: Path) -> int | None:
        """The DIMSE status of C-STORE for one file, sent as one fragment."""
        uid = str(read_file_meta_info(file).MediaStorageSOPInstanceUID)
        self.send(fragment(store_request(uid), command=True))
        self.send(fragment(data_set_of(file)))
        return self.status()

    def answer(self) -> tuple[int, bytes]:
        """The type and body of the next PDU; (0, b"") when the connection was closed."""
        head = self._exactly(6)
        if len(head) < 6:
            return 0, b""
        return head[0], self._exactly(struct.unpack(">I", head[2:])[0])

    def status(self) -> int | None:
        """The DIMSE status (0000,0900) of the next message; None: the connection was closed."""
        kind, body = self.answer()
        if not kind:
            return None
        assert kind == P_DATA, kind
        at = body.index(struct.pack("<HHI", 0, 0x0900, 2)) + 8
        return int(struct.unpack("<H", body[at : at + 2])[0])

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                more = self.socket.recv(count - len(data))
            except ConnectionResetError:
                more = b""
            if not more:
                break
            data += more
        return data
