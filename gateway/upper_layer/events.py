"""What can happen on an association: the PDUs of PS3.8 §9.3 as values, the same both ways."""

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import NamedTuple, TypeAlias

from gateway.model import UID

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
"""The DICOM Application Context Name, PS3.7 Annex A."""


class ContextResult(IntEnum):
    """The answer to one proposed presentation context, PS3.8 Table 9-18."""

    ACCEPTED = 0
    USER_REJECTION = 1
    NO_REASON = 2
    ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
    TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


class ProposedContext(NamedTuple):
    """A presentation context as the requestor proposes it; ``context_id`` is odd, 1..255."""

    context_id: int
    abstract_syntax: UID
    transfer_syntaxes: tuple[UID, ...]


class AnsweredContext(NamedTuple):
    """The acceptor's answer; ``transfer_syntax`` means something only where it was accepted."""

    context_id: int
    result: int
    transfer_syntax: UID


class AsynchronousWindow(NamedTuple):
    """Operations that may be outstanding, 0 = unlimited (PS3.7 §D.3.3.3)."""

    invoked: int
    performed: int


class RoleSelection(NamedTuple):
    """SCP/SCU role selection for one SOP class (PS3.7 §D.3.3.4)."""

    sop_class: UID
    scu: bool
    scp: bool


class ExtendedNegotiation(NamedTuple):
    """SOP Class Extended Negotiation: service class application information, uninterpreted."""

    sop_class: UID
    information: bytes


class CommonExtendedNegotiation(NamedTuple):
    """SOP Class Common Extended Negotiation (PS3.7 §D.3.3.6)."""

    sop_class: UID
    service_class: UID
    related: tuple[UID, ...]


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """User identity negotiation (PS3.7 §D.3.3.7). The values are secrets and never shown."""

    kind: int
    response_requested: bool
    primary: bytes = field(repr=False)
    secondary: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class UserInformation:
    """The user information item (PS3.7 Annex D). ``max_length`` 0 means no limit was given."""

    max_length: int = 0
    implementation_class: UID = ""
    implementation_version: str = ""
    window: AsynchronousWindow | None = None
    roles: tuple[RoleSelection, ...] = ()
    extended: tuple[ExtendedNegotiation, ...] = ()
    common_extended: tuple[CommonExtendedNegotiation, ...] = ()
    identity: UserIdentity | None = None
    identity_response: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class AssociateRequest:
    """A-ASSOCIATE-RQ, PS3.8 §9.3.2. AE titles are without padding."""

    called: str
    calling: str
    contexts: tuple[ProposedContext, ...]
    user: UserInformation
    application_context: UID = APPLICATION_CONTEXT
    protocol_version: int = 1


@dataclass(frozen=True, slots=True)
class AssociateAccept:
    """A-ASSOCIATE-AC, PS3.8 §9.3.3."""

    called: str
    calling: str
    contexts: tuple[AnsweredContext, ...]
    user: UserInformation
    application_context: UID = APPLICATION_CONTEXT
    protocol_version: int = 1


@dataclass(frozen=True, slots=True)
class AssociateReject:
    """A-ASSOCIATE-RJ, PS3.8 §9.3.4: ``result`` is 1 permanent or 2 transient."""

    result: int
    source: int
    reason: int

    def __str__(self) -> str:
        """The reason in the words of PS3.8 Table 9-21."""
        text = _REJECT_REASONS.get((self.source, self.reason), f"reason {self.reason}")
        return f"{'transient' if self.result == 2 else 'permanent'} rejection: {text}"


_REJECT_REASONS = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}

REJECT_APPLICATION_CONTEXT = AssociateReject(1, 1, 2)
REJECT_CALLING = AssociateReject(1, 1, 3)
REJECT_CALLED = AssociateReject(1, 1, 7)
REJECT_PROTOCOL_VERSION = AssociateReject(1, 2, 2)
REJECT_CONGESTION = AssociateReject(2, 3, 1)
REJECT_LIMIT = AssociateReject(2, 3, 2)


class Fragment(NamedTuple):
    """A piece of a DIMSE message: of a command set or of a data set (PS3.8 §9.3.5, Annex E).

    A received ``data`` is a view into the receive buffer, valid until more bytes are received; it
    may be a part of a presentation data value. ``is_last`` stands on the piece that ends it all.
    """

    context_id: int
    is_command: bool
    is_last: bool
    data: memoryview | bytes


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """A-RELEASE-RQ, PS3.8 §9.3.6."""


@dataclass(frozen=True, slots=True)
class ReleaseReply:
    """A-RELEASE-RP, PS3.8 §9.3.7."""


@dataclass(frozen=True, slots=True)
class Abort:
    """A-ABORT, PS3.8 §9.3.8: source 0 service-user or 2 service-provider, reason by Table 9-26."""

    source: int = 0
    reason: int = 0

    def __str__(self) -> str:
        """Who aborted, and why where the PDU says so."""
        if self.source == 0:
            return "aborted by the peer's application"
        return f"aborted by the peer's upper layer ({_ABORT_REASONS.get(self.reason, 'unknown')})"


_ABORT_REASONS = {
    0: "reason not specified",
    1: "unrecognized PDU",
    2: "unexpected PDU",
    4: "unrecognized PDU parameter",
    5: "unexpected PDU parameter",
    6: "invalid PDU parameter value",
}


@dataclass(frozen=True, slots=True)
class Closed:
    """The transport connection is gone without a release or an abort."""


class Need(Enum):
    """What the machine waits for."""

    DATA = "data"


Event: TypeAlias = (
    AssociateRequest
    | AssociateAccept
    | AssociateReject
    | Fragment
    | ReleaseRequest
    | ReleaseReply
    | Abort
    | Closed
)
