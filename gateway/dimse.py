"""DIMSE messages: command sets as values and as bytes, and what statuses mean (PS3.7).

A command set is always Implicit VR Little Endian, group 0000 (PS3.7 §6.3.1). Only what C-ECHO,
C-STORE and C-CANCEL need is named; other elements are skipped.
"""

import struct
from dataclasses import dataclass
from typing import Final

from gateway.failures import AlreadyThere, Failure, PermanentFailure, TemporaryFailure
from gateway.model import UID

C_STORE_RQ: Final = 0x0001
C_STORE_RSP: Final = 0x8001
C_ECHO_RQ: Final = 0x0030
C_ECHO_RSP: Final = 0x8030
C_CANCEL_RQ: Final = 0x0FFF

SUCCESS: Final = 0x0000
OUT_OF_RESOURCES: Final = 0xA700
DATA_SET_MISMATCH: Final = 0xA900
CANNOT_UNDERSTAND: Final = 0xC000
DUPLICATE_INSTANCE: Final = 0x0111
INVALID_SOP_INSTANCE: Final = 0x0117
SOP_CLASS_NOT_SUPPORTED: Final = 0x0122
UNRECOGNIZED_OPERATION: Final = 0x0211
PROCESSING_FAILURE: Final = 0x0110

NO_DATA_SET: Final = 0x0101
MAX_COMMAND_LENGTH: Final = 16_384
"""Bytes of a command set that are accepted: a dozen small elements."""

_ELEMENT = struct.Struct("<HHL")
_U16 = struct.Struct("<H")
_US_ELEMENT = struct.Struct("<HHLH")
_GROUP_LENGTH = struct.Struct("<HHLL")

_AFFECTED_SOP_CLASS = 0x0002
_COMMAND_FIELD = 0x0100
_MESSAGE_ID = 0x0110
_MESSAGE_ID_RESPONDED_TO = 0x0120
_PRIORITY = 0x0700
_DATA_SET_TYPE = 0x0800
_STATUS = 0x0900
_ERROR_COMMENT = 0x0902
_AFFECTED_SOP_INSTANCE = 0x1000


class MalformedCommand(ValueError):
    """The bytes are no command set."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command set. ``message_id`` is the Message ID, in a response the one responded to."""

    field: int
    message_id: int
    sop_class: UID = ""
    sop_instance: UID = ""
    has_data_set: bool = False
    status: int | None = None
    error_comment: str = ""

    @property
    def is_response(self) -> bool:
        """Whether this answers a request (PS3.7 §E.1: bit 15 of the Command Field)."""
        return bool(self.field & 0x8000)

    def answer(self, status: int, comment: str = "") -> "Command":
        """The response to this request."""
        return Command(
            field=self.field | 0x8000,
            message_id=self.message_id,
            sop_class=self.sop_class,
            sop_instance=self.sop_instance,
            status=status,
            error_comment=comment,
        )


def encode_command(command: Command) -> bytes:
    """The command set as bytes, with its group length; elements in tag order."""
    responded = _MESSAGE_ID_RESPONDED_TO if command.is_response else _MESSAGE_ID
    parts = []
    if command.sop_class:
        parts.append(_text(_AFFECTED_SOP_CLASS, command.sop_class, b"\0"))
    parts.append(_number(_COMMAND_FIELD, command.field))
    parts.append(_number(responded, command.message_id))
    if command.field == C_STORE_RQ:
        parts.append(_number(_PRIORITY, 0))
    parts.append(_number(_DATA_SET_TYPE, 0x0001 if command.has_data_set else NO_DATA_SET))
    if command.status is not None:
        parts.append(_number(_STATUS, command.status))
    if command.error_comment:
        parts.append(_text(_ERROR_COMMENT, command.error_comment[:64], b" "))
    if command.sop_instance:
        parts.append(_text(_AFFECTED_SOP_INSTANCE, command.sop_instance, b"\0"))
    body = b"".join(parts)
    return _GROUP_LENGTH.pack(0, 0, 4, len(body)) + body


def decode_command(data: bytes) -> Command:
    """The command set in ``data``. Raises ``MalformedCommand``; unknown elements are skipped."""
    values = _elements(data)
    field = _number_in(values, _COMMAND_FIELD)
    responded = _MESSAGE_ID_RESPONDED_TO if field & 0x8000 else _MESSAGE_ID
    return Command(
        field=field,
        message_id=_number_in(values, responded, 0 if field == C_CANCEL_RQ else None),
        sop_class=_text_in(values, _AFFECTED_SOP_CLASS),
        sop_instance=_text_in(values, _AFFECTED_SOP_INSTANCE),
        has_data_set=_number_in(values, _DATA_SET_TYPE, NO_DATA_SET) != NO_DATA_SET,
        status=_number_in(values, _STATUS) if _STATUS in values else None,
        error_comment=_text_in(values, _ERROR_COMMENT),
    )


def _elements(data: bytes) -> dict[int, bytes]:
    values: dict[int, bytes] = {}
    offset, end = 0, len(data)
    while offset + 8 <= end:
        group, element, length = _ELEMENT.unpack_from(data, offset)
        offset += 8
        if group != 0 or offset + length > end:
            raise MalformedCommand(
                f"element ({group:04X},{element:04X}) of {length} bytes at {offset - 8} of {end}"
            )
        values[element] = data[offset : offset + length]
        offset += length
    if offset != end:
        raise MalformedCommand(f"{end - offset} bytes after the last element")
    return values


def _number_in(values: dict[int, bytes], element: int, otherwise: int | None = None) -> int:
    value = values.get(element, b"")
    if len(value) >= 2:
        return int(_U16.unpack_from(value)[0])
    if otherwise is None:
        raise MalformedCommand(f"element (0000,{element:04X}) is missing")
    return otherwise


def _text_in(values: dict[int, bytes], element: int) -> str:
    return values.get(element, b"").decode("ascii", "replace").strip("\0 ")


def _number(element: int, value: int) -> bytes:
    return _US_ELEMENT.pack(0, element, 2, value)


def _text(element: int, value: str, padding: bytes) -> bytes:
    encoded = value.encode("ascii", "replace")
    encoded += padding * (len(encoded) % 2)
    return _ELEMENT.pack(0, element, len(encoded)) + encoded


def is_warning(status: int) -> bool:
    """Whether the instance was stored, with a remark (PS3.4 §B.2.3, PS3.7 §C.4)."""
    return status in (0x0001, 0x0107, 0x0116) or 0xB000 <= status <= 0xBFFF


def failure_for(status: int, comment: str = "") -> Failure | None:
    """What a C-STORE status means for the delivery: None where the instance was stored.

    Out of resources and other conditions of the peer are temporary; what the peer says of this
    instance (data set, SOP class, cannot understand) is permanent (PS3.4 Table B.2-1).
    """
    if status == SUCCESS or is_warning(status):
        return None
    failure = _kind_of(status)(f"the destination answered 0x{status:04X}, {meaning(status)}")
    failure.remark = comment
    return failure


def _kind_of(status: int) -> type[Failure]:
    if status == DUPLICATE_INSTANCE:
        return AlreadyThere
    if 0xA700 <= status <= 0xA7FF or status in _TEMPORARY:
        return TemporaryFailure
    return PermanentFailure


def meaning(status: int) -> str:
    """A C-STORE status in words."""
    if status in _MEANINGS:
        return _MEANINGS[status]
    for first, last, words in _RANGES:
        if first <= status <= last:
            return words
    return "a status the standard does not define"


_TEMPORARY: Final = frozenset((0x0110, 0x0124, 0x0213, 0xFE00))

_MEANINGS: Final = {
    0x0000: "success",
    0x0001: "requested optional attributes are not supported",
    0x0107: "attribute list error",
    0x0110: "processing failure",
    0x0111: "duplicate SOP instance",
    0x0112: "no such SOP instance",
    0x0115: "invalid argument value",
    0x0116: "attribute value out of range",
    0x0117: "invalid SOP instance",
    0x0118: "no such SOP class",
    0x0119: "class-instance conflict",
    0x0122: "SOP class not supported",
    0x0124: "not authorized",
    0x0210: "duplicate invocation",
    0x0211: "unrecognized operation",
    0x0212: "mistyped argument",
    0x0213: "resource limitation",
    0xB000: "coercion of data elements",
    0xB006: "elements discarded",
    0xB007: "data set does not match SOP class (warning)",
    0xFE00: "cancelled",
}

_RANGES: Final = (
    (0xA700, 0xA7FF, "out of resources"),
    (0xA900, 0xA9FF, "data set does not match SOP class"),
    (0xB000, 0xBFFF, "stored with a warning"),
    (0xC000, 0xCFFF, "cannot understand"),
)
