"""Protocol data units as bytes: PS3.8 §9.3 and the user information items of PS3.7 Annex D.

Decoding trusts no length: every item must lie inside its parent, and counts are bounded
(``MAX_CONTEXTS``, ``MAX_SYNTAXES``, ``MAX_USER_ITEMS``). Tolerated, because old peers send it:
padding by NUL or blanks, unknown items (skipped), characters outside ASCII in AE titles.
"""

import struct
from collections.abc import Callable, Iterator

from gateway.model import UID
from gateway.upper_layer.events import (
    Abort,
    AnsweredContext,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    AsynchronousWindow,
    Closed,
    CommonExtendedNegotiation,
    Event,
    ExtendedNegotiation,
    Fragment,
    ProposedContext,
    ReleaseReply,
    ReleaseRequest,
    RoleSelection,
    UserIdentity,
    UserInformation,
)

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA = 1, 2, 3, 4
RELEASE_RQ, RELEASE_RP, ABORT = 5, 6, 7

MAX_CONTEXTS = 128
MAX_SYNTAXES = 64
MAX_USER_ITEMS = 1024
MAX_ASSOCIATE_LENGTH = 196_608
"""Bytes of an A-ASSOCIATE PDU's body: 128 contexts of 56 transfer syntaxes fit."""

_HEAD = struct.Struct(">BxL")
_ITEM = struct.Struct(">BxH")
_U16 = struct.Struct(">H")
_FIXED = struct.Struct(">H2x16s16s32x")
_PDV = struct.Struct(">LBB")
_PDU_AND_PDV = struct.Struct(">BxLLBB")


class MalformedPDU(ValueError):
    """The bytes are no PDU that PS3.8 §9.3 allows. ``reason`` is for A-ABORT, Table 9-26."""

    def __init__(self, text: str, reason: int = 6) -> None:
        super().__init__(text)
        self.reason = reason


def encode(event: Event) -> bytes:
    """The PDU for an event of any kind but ``Closed``, which has none (``TypeError``)."""
    match event:
        case AssociateRequest():
            return _associate(ASSOCIATE_RQ, event, map(_proposed, event.contexts))
        case AssociateAccept():
            return _associate(ASSOCIATE_AC, event, map(_answered, event.contexts))
        case AssociateReject(result, source, reason):
            return _HEAD.pack(ASSOCIATE_RJ, 4) + bytes((0, result, source, reason))
        case Fragment(context_id, is_command, is_last, data):
            return p_data_head(context_id, is_command, is_last, len(data)) + bytes(data)
        case ReleaseRequest():
            return _HEAD.pack(RELEASE_RQ, 4) + bytes(4)
        case ReleaseReply():
            return _HEAD.pack(RELEASE_RP, 4) + bytes(4)
        case Abort(source, reason):
            return _HEAD.pack(ABORT, 4) + bytes((0, 0, source, reason))
        case Closed():
            raise TypeError("a closed connection has no PDU")


P_DATA_OVERHEAD = 12
"""Bytes of PDU head and PDV head before a fragment's data."""


def p_data_head(context_id: int, is_command: bool, is_last: bool, length: int) -> bytes:
    """The twelve bytes before one fragment in a P-DATA-TF PDU of its own (PS3.8 §9.3.5, §E.2)."""
    control = (1 if is_command else 0) | (2 if is_last else 0)
    return _PDU_AND_PDV.pack(P_DATA, length + 6, length + 2, context_id, control)


def pack_p_data_head(
    into: bytearray, offset: int, context_id: int, is_last: bool, length: int
) -> None:
    """Write the head of a data set fragment into a buffer that is being filled for sending."""
    _PDU_AND_PDV.pack_into(
        into, offset, P_DATA, length + 6, length + 2, context_id, 2 if is_last else 0
    )


def head(data: memoryview) -> tuple[int, int]:
    """PDU type and length of body from the first six bytes."""
    kind, length = _HEAD.unpack_from(data)
    return kind, length


def pdv_head(data: memoryview) -> tuple[int, int, int]:
    """Length of data (without the two bytes counted in the item), context id, message control."""
    length, context_id, control = _PDV.unpack_from(data)
    return length - 2, context_id, control


def foreign(first: bytes) -> str:
    """What speaks on the port when the first bytes are no A-ASSOCIATE-RQ, "" where unknown."""
    if first[:2] == b"\x16\x03":
        return "a TLS hello: the peer speaks TLS, this port is plain DICOM"
    if first[:4] in (b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"PRI "):
        return "an HTTP request: this port is DICOM"
    if first[:4] == b"HTTP":
        return "an HTTP answer: the port called is not DICOM"
    if first[:4] == b"SSH-":
        return "an SSH greeting: the port called is not DICOM"
    return ""


def decode(
    kind: int, body: bytes
) -> AssociateRequest | AssociateAccept | AssociateReject | ReleaseRequest | ReleaseReply | Abort:
    """The event in a complete PDU of any type but P-DATA-TF. Raises ``MalformedPDU``."""
    try:
        return _DECODERS[kind](body)
    except KeyError:
        raise MalformedPDU(f"unrecognized PDU type 0x{kind:02X}", 1) from None
    except (struct.error, IndexError):
        raise MalformedPDU(f"PDU type 0x{kind:02X} ends early ({len(body)} bytes)") from None


def _decode_request(body: bytes) -> AssociateRequest:
    version, called, calling = _FIXED.unpack_from(body)
    application, contexts, user = "", [], UserInformation()
    for kind, value in _items(body, _FIXED.size):
        if kind == 0x10:
            application = _uid(value)
        elif kind == 0x20:
            contexts.append(_decode_proposed(value))
        elif kind == 0x50:
            user = _decode_user(value)
    if len(contexts) > MAX_CONTEXTS:
        raise MalformedPDU(f"{len(contexts)} presentation contexts, {MAX_CONTEXTS} are allowed")
    if len({context.context_id for context in contexts}) != len(contexts):
        raise MalformedPDU("a presentation context id is used twice")
    return AssociateRequest(
        _title(called), _title(calling), tuple(contexts), user, application, version
    )


def _decode_accept(body: bytes) -> AssociateAccept:
    version, called, calling = _FIXED.unpack_from(body)
    application, contexts, user = "", [], UserInformation()
    for kind, value in _items(body, _FIXED.size):
        if kind == 0x10:
            application = _uid(value)
        elif kind == 0x21:
            syntax = next((_uid(v) for k, v in _items(value, 4) if k == 0x40), "")
            contexts.append(AnsweredContext(value[0], value[2], syntax))
        elif kind == 0x50:
            user = _decode_user(value)
    return AssociateAccept(
        _title(called), _title(calling), tuple(contexts), user, application, version
    )


def _decode_proposed(value: bytes) -> ProposedContext:
    abstract, syntaxes = "", []
    for kind, sub in _items(value, 4):
        if kind == 0x30:
            abstract = _uid(sub)
        elif kind == 0x40:
            syntaxes.append(_uid(sub))
    if len(syntaxes) > MAX_SYNTAXES:
        raise MalformedPDU(f"{len(syntaxes)} transfer syntaxes in one context")
    return ProposedContext(value[0], abstract, tuple(syntaxes))


def _decode_user(value: bytes) -> UserInformation:
    found: dict[str, object] = {}
    lists: dict[str, list[object]] = {"roles": [], "extended": [], "common_extended": []}
    for count, (kind, sub) in enumerate(_items(value, 0)):
        if count >= MAX_USER_ITEMS:
            raise MalformedPDU(f"more than {MAX_USER_ITEMS} user information items")
        if kind in _USER_ITEMS:
            name, read = _USER_ITEMS[kind]
            if name in lists:
                lists[name].append(read(sub))
            else:
                found[name] = read(sub)
    found.update({name: tuple(values) for name, values in lists.items()})
    return UserInformation(**found)  # type: ignore[arg-type]


def _role(value: bytes) -> RoleSelection:
    uid, offset = _counted(value, 0)
    return RoleSelection(_uid(uid), bool(value[offset]), bool(value[offset + 1]))


def _extended(value: bytes) -> ExtendedNegotiation:
    uid, offset = _counted(value, 0)
    return ExtendedNegotiation(_uid(uid), value[offset:])


def _common_extended(value: bytes) -> CommonExtendedNegotiation:
    uid, offset = _counted(value, 0)
    service, offset = _counted(value, offset)
    related, at = [], 0
    listed, _ = _counted(value, offset) if offset < len(value) else (b"", 0)
    while at < len(listed):
        one, at = _counted(listed, at)
        related.append(_uid(one))
    return CommonExtendedNegotiation(_uid(uid), _uid(service), tuple(related))


def _identity(value: bytes) -> UserIdentity:
    primary, offset = _counted(value, 2)
    secondary, _ = _counted(value, offset) if offset < len(value) else (b"", 0)
    return UserIdentity(value[0], bool(value[1]), primary, secondary)


def _window(value: bytes) -> AsynchronousWindow:
    return AsynchronousWindow(*struct.unpack_from(">HH", value))


def _max_length(value: bytes) -> int:
    return int.from_bytes(value[:4], "big")


def _uid(value: bytes) -> UID:
    return value.decode("ascii", "replace").strip("\0 ")


def _title(value: bytes) -> str:
    return value.decode("latin-1").strip("\0 ")


_USER_ITEMS: dict[int, tuple[str, Callable[[bytes], object]]] = {
    0x51: ("max_length", _max_length),
    0x52: ("implementation_class", _uid),
    0x53: ("window", _window),
    0x54: ("roles", _role),
    0x55: ("implementation_version", _title),
    0x56: ("extended", _extended),
    0x57: ("common_extended", _common_extended),
    0x58: ("identity", _identity),
    0x59: ("identity_response", lambda value: _counted(value, 0)[0]),
}

_DECODERS: dict[
    int,
    Callable[
        [bytes],
        AssociateRequest
        | AssociateAccept
        | AssociateReject
        | ReleaseRequest
        | ReleaseReply
        | Abort,
    ],
] = {
    ASSOCIATE_RQ: _decode_request,
    ASSOCIATE_AC: _decode_accept,
    ASSOCIATE_RJ: lambda body: AssociateReject(body[1], body[2], body[3]),
    RELEASE_RQ: lambda _: ReleaseRequest(),
    RELEASE_RP: lambda _: ReleaseReply(),
    ABORT: lambda body: Abort(body[2], body[3]),
}


def _items(data: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """(type, value) of the items from ``offset`` to the end, each checked to lie inside."""
    while offset < len(data):
        kind, length = _ITEM.unpack_from(data, offset)
        offset += 4
        if offset + length > len(data):
            raise MalformedPDU(
                f"item 0x{kind:02X} claims {length} bytes, {len(data) - offset} left"
            )
        yield kind, data[offset : offset + length]
        offset += length


def _counted(data: bytes, offset: int) -> tuple[bytes, int]:
    """The bytes after a two-byte length at ``offset``, and where they end."""
    (length,) = _U16.unpack_from(data, offset)
    end = offset + 2 + length
    if end > len(data):
        raise MalformedPDU(f"a value claims {length} bytes, {len(data) - offset - 2} left")
    return data[offset + 2 : end], end


def _associate(
    kind: int, event: AssociateRequest | AssociateAccept, contexts: Iterator[bytes]
) -> bytes:
    body = b"".join(
        (
            _FIXED.pack(event.protocol_version, _padded(event.called), _padded(event.calling)),
            _item(0x10, _ascii(event.application_context)),
            *contexts,
            _item(0x50, b"".join(_user_items(event.user))),
        )
    )
    return _HEAD.pack(kind, len(body)) + body


def _proposed(context: ProposedContext) -> bytes:
    syntaxes = b"".join(_item(0x40, _ascii(uid)) for uid in context.transfer_syntaxes)
    abstract = _item(0x30, _ascii(context.abstract_syntax))
    return _item(0x20, bytes((context.context_id, 0, 0, 0)) + abstract + syntaxes)


def _answered(context: AnsweredContext) -> bytes:
    head_ = bytes((context.context_id, 0, context.result, 0))
    return _item(0x21, head_ + _item(0x40, _ascii(context.transfer_syntax)))


def _user_items(user: UserInformation) -> Iterator[bytes]:
    yield _item(0x51, struct.pack(">L", user.max_length))
    yield _item(0x52, _ascii(user.implementation_class))
    if user.window is not None:
        yield _item(0x53, struct.pack(">HH", *user.window))
    for role in user.roles:
        yield _item(0x54, _count(_ascii(role.sop_class)) + bytes((role.scu, role.scp)))
    if user.implementation_version:
        yield _item(0x55, _ascii(user.implementation_version)[:16])
    for extended in user.extended:
        yield _item(0x56, _count(_ascii(extended.sop_class)) + extended.information)
    for common in user.common_extended:
        related = b"".join(_count(_ascii(uid)) for uid in common.related)
        heads = _count(_ascii(common.sop_class)) + _count(_ascii(common.service_class))
        yield _item(0x57, heads + _count(related))
    if user.identity is not None:
        secrets = _count(user.identity.primary) + _count(user.identity.secondary)
        kinds = bytes((user.identity.kind, user.identity.response_requested))
        yield _item(0x58, kinds + secrets)
    if user.identity_response is not None:
        yield _item(0x59, _count(user.identity_response))


def _item(kind: int, value: bytes) -> bytes:
    return _ITEM.pack(kind, len(value)) + value


def _count(value: bytes) -> bytes:
    return _U16.pack(len(value)) + value


def _ascii(text: str) -> bytes:
    """One byte a character, so what a peer sent and is sent back never grows."""
    return text.encode("ascii", "replace")


def _padded(title: str) -> bytes:
    return title.encode("latin-1", "replace")[:16].ljust(16)
