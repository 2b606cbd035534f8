"""One association as a value machine: the states and transitions of PS3.8 §9.2, both roles.

Everything that decides what may follow what is in ``RECEIVED`` and ``SENT``, which are Table 9-10
by state and event. The machine does no I/O: the shell gives it bytes (``receive_buffer`` and
``received``, or ``receive_data``), asks for events, and writes what ``send`` returns. The shell
also runs the ARTIM timer while ``artim_runs`` and closes the connection when ``finished``.

P-DATA is passed on as it arrives: a fragment's ``data`` is a view into the receive buffer, so
memory is one buffer per association, however long the PDUs are. The length of a PDU is checked
before any of its body is taken.
"""

from enum import Enum
from typing import Final, Literal

from gateway.upper_layer import pdu
from gateway.upper_layer.events import (
    REJECT_PROTOCOL_VERSION,
    Abort,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    Closed,
    Event,
    Fragment,
    Need,
    ReleaseReply,
    ReleaseRequest,
)


class Role(Enum):
    """Which side of the association is ours."""

    REQUESTOR = "requestor"
    ACCEPTOR = "acceptor"


class State(Enum):
    """The states of PS3.8 Table 9-8..9-12, by what they mean. Sta4 is the shell's."""

    IDLE = "Sta1"
    AWAITING_REQUEST = "Sta2"
    DECIDING = "Sta3"
    AWAITING_ANSWER = "Sta5"
    ESTABLISHED = "Sta6"
    RELEASING = "Sta7"
    RELEASE_ASKED = "Sta8"
    COLLISION_REQUESTOR = "Sta9"
    COLLISION_ACCEPTOR = "Sta10"
    COLLISION_REQUESTOR_REPLIED = "Sta11"
    COLLISION_ACCEPTOR_RELEASED = "Sta12"
    AWAITING_CLOSE = "Sta13"


class LocalProtocolError(Exception):
    """We tried to send what the state does not allow: a bug of ours."""


class RemoteProtocolError(Exception):
    """The peer sent what PS3.8 does not allow; ``answer`` is the A-ABORT to write."""

    def __init__(self, text: str, answer: bytes) -> None:
        super().__init__(text)
        self.answer = answer


class _Do(Enum):
    """What a received event leads to, where it is not simply told."""

    ABORT_AS_USER = "AA-1"
    ABORT_AS_PROVIDER = "AA-8"
    IGNORE = "AA-6"
    ABORT_AGAIN = "AA-7"


_S = State
_FAIL = _Do.ABORT_AS_PROVIDER
_Next = State | _Do

_ANY_PDU: Final = (
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    Fragment,
    ReleaseRequest,
    ReleaseReply,
)

RECEIVED: Final[dict[State, dict[type, _Next]]] = {
    state: dict.fromkeys(_ANY_PDU, _FAIL) | {Abort: _S.IDLE, Closed: _S.IDLE} for state in State
}
"""What the peer's event leads to: the next state (the event is told), or what to do instead."""
RECEIVED[_S.AWAITING_REQUEST].update(dict.fromkeys(_ANY_PDU, _Do.ABORT_AS_USER))
RECEIVED[_S.AWAITING_REQUEST][AssociateRequest] = _S.DECIDING
RECEIVED[_S.AWAITING_ANSWER][AssociateAccept] = _S.ESTABLISHED
RECEIVED[_S.AWAITING_ANSWER][AssociateReject] = _S.IDLE
RECEIVED[_S.ESTABLISHED][Fragment] = _S.ESTABLISHED
RECEIVED[_S.ESTABLISHED][ReleaseRequest] = _S.RELEASE_ASKED
RECEIVED[_S.RELEASING][Fragment] = _S.RELEASING
RECEIVED[_S.RELEASING][ReleaseReply] = _S.IDLE
RECEIVED[_S.RELEASING][ReleaseRequest] = _S.COLLISION_REQUESTOR
RECEIVED[_S.COLLISION_ACCEPTOR][ReleaseReply] = _S.COLLISION_ACCEPTOR_RELEASED
RECEIVED[_S.COLLISION_REQUESTOR_REPLIED][ReleaseReply] = _S.IDLE
RECEIVED[_S.AWAITING_CLOSE].update(dict.fromkeys(_ANY_PDU, _Do.IGNORE))
RECEIVED[_S.AWAITING_CLOSE][AssociateRequest] = _Do.ABORT_AGAIN

SENT: Final[dict[State, dict[type, State]]] = {
    _S.IDLE: {AssociateRequest: _S.AWAITING_ANSWER},
    _S.AWAITING_REQUEST: {},
    _S.DECIDING: {
        AssociateAccept: _S.ESTABLISHED,
        AssociateReject: _S.AWAITING_CLOSE,
        Abort: _S.AWAITING_CLOSE,
    },
    _S.AWAITING_ANSWER: {Abort: _S.AWAITING_CLOSE},
    _S.ESTABLISHED: {
        Fragment: _S.ESTABLISHED,
        ReleaseRequest: _S.RELEASING,
        Abort: _S.AWAITING_CLOSE,
    },
    _S.RELEASING: {Abort: _S.AWAITING_CLOSE},
    _S.RELEASE_ASKED: {
        Fragment: _S.RELEASE_ASKED,
        ReleaseReply: _S.AWAITING_CLOSE,
        Abort: _S.AWAITING_CLOSE,
    },
    _S.COLLISION_REQUESTOR: {
        ReleaseReply: _S.COLLISION_REQUESTOR_REPLIED,
        Abort: _S.AWAITING_CLOSE,
    },
    _S.COLLISION_ACCEPTOR: {Abort: _S.AWAITING_CLOSE},
    _S.COLLISION_REQUESTOR_REPLIED: {Abort: _S.AWAITING_CLOSE},
    _S.COLLISION_ACCEPTOR_RELEASED: {
        ReleaseReply: _S.AWAITING_CLOSE,
        Abort: _S.AWAITING_CLOSE,
    },
    _S.AWAITING_CLOSE: {},
}
"""What we may send in each state, and the state after it."""

_UNEXPECTED_PDU = 2
_INVALID_PARAMETER = 6
_SMALLEST_READ = 4096


class Association:
    """The upper layer of one connection.

    ``max_pdu_length`` is what we announced: the largest P-DATA-TF body in bytes that the peer may
    send. A new acceptor waits for A-ASSOCIATE-RQ; a new requestor may send one.
    """

    def __init__(self, role: Role, *, max_pdu_length: int = 131_072) -> None:
        self.role = role
        self.state = State.AWAITING_REQUEST if role is Role.ACCEPTOR else State.IDLE
        self.max_pdu_length = max_pdu_length
        self._began = role is Role.ACCEPTOR
        self._buffer = bytearray(max(max_pdu_length, pdu.MAX_ASSOCIATE_LENGTH) + 64)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._pdu_left = 0
        self._fragment_left = -1
        self._fragment_head = (0, 0)
        self._skip = 0
        self._out_of_step = False
        self._closed = False

    @property
    def artim_runs(self) -> bool:
        """The ARTIM timer runs: waiting for a request, or for the peer to close (PS3.8 §9.1.5)."""
        return self.state in (State.AWAITING_REQUEST, State.AWAITING_CLOSE)

    @property
    def finished(self) -> bool:
        """Nothing more can happen: the connection is to be closed."""
        return self._began and self.state is State.IDLE

    def receive_buffer(self) -> memoryview:
        """Where to read into; invalidates the data of fragments told before."""
        if self._start == self._end:
            self._start = self._end = 0
        elif len(self._buffer) - self._end < _SMALLEST_READ:
            rest = bytes(self._view[self._start : self._end])
            self._start, self._end = 0, len(rest)
            self._view[: self._end] = rest
        return self._view[self._end :]

    def received(self, count: int) -> None:
        """``count`` bytes were read into ``receive_buffer()``; none means the peer closed."""
        self._end += count
        self._closed = self._closed or count == 0

    def receive_data(self, data: bytes) -> int:
        """Copy as much of ``data`` as fits and return how much; ``b""`` means the peer closed."""
        space = self.receive_buffer()
        count = min(len(space), len(data))
        space[:count] = data[:count]
        self.received(count)
        return count

    def next_event(self) -> Event | Literal[Need.DATA]:
        """The next thing that happened, or that more bytes are needed.

        Raises ``RemoteProtocolError`` where the peer broke the protocol; the state is then Sta13
        and ``answer`` holds what to write. Call it again, until it needs data: only then is the
        receive buffer free.
        """
        while True:
            event = self._parse()
            if event is None:
                if not self._closed or self.state is State.IDLE:
                    return Need.DATA
                event = Closed()
            told = self._step(event)
            if told is not None:
                return told

    def send(self, event: Event) -> bytes:
        """The bytes to write for an event of ours. Raises ``LocalProtocolError``."""
        following = SENT[self.state].get(type(event))
        if following is None or (self._began and self.state is State.IDLE):
            raise LocalProtocolError(f"{type(event).__name__} in {self.state.value}")
        if type(event) is AssociateRequest:
            self._began = True
        self.state = following
        return pdu.encode(event)

    def check_sending_data(self) -> None:
        """Raise ``LocalProtocolError`` unless P-DATA may be sent now."""
        if Fragment not in SENT[self.state]:
            raise LocalProtocolError(f"P-DATA in {self.state.value}")

    def _step(self, event: Event) -> Event | None:
        following = RECEIVED[self.state][type(event)]
        if isinstance(following, State):
            self._enter(following)
            if type(event) is AssociateRequest and not event.protocol_version & 1:
                self._refuse_version()
            return event
        if following is _Do.IGNORE:
            return None
        source = 0 if following is _Do.ABORT_AS_USER else 2
        raise self._broken(f"{type(event).__name__} in {self.state.value}", source)

    def _enter(self, following: State) -> None:
        if following is State.COLLISION_REQUESTOR and self.role is Role.ACCEPTOR:
            following = State.COLLISION_ACCEPTOR
        self.state = following

    def _refuse_version(self) -> None:
        answer = self.send(REJECT_PROTOCOL_VERSION)
        raise RemoteProtocolError("protocol version 1 is not offered (PS3.8 §9.3.2)", answer)

    def _broken(
        self, text: str, source: int, reason: int = _UNEXPECTED_PDU
    ) -> RemoteProtocolError:
        """Go to Sta13 and say what to answer."""
        self._began = True
        self.state = State.AWAITING_CLOSE
        return RemoteProtocolError(text, pdu.encode(Abort(source, reason if source else 0)))

    def _parse(self) -> Event | None:
        """The next event in the buffer, None where it is not complete."""
        if self._out_of_step or self.finished:
            self._start = self._end
            return None
        if self._pdu_left or self._fragment_left >= 0:
            return self._parse_fragment()
        while not self._skip or self._skipped():
            if self._end - self._start < 6:
                return None
            kind, length = pdu.head(self._view[self._start :])
            if kind != pdu.P_DATA:
                return self._parse_control(kind, length)
            if RECEIVED[self.state][Fragment] is not _Do.IGNORE:
                return self._begin_p_data(length)
            self._start += 6
            self._skip = length
        return None

    def _skipped(self) -> bool:
        count = min(self._skip, self._end - self._start)
        self._skip -= count
        self._start += count
        return self._skip == 0

    def _begin_p_data(self, length: int) -> Event | None:
        if not isinstance(RECEIVED[self.state][Fragment], State):
            return Fragment(0, is_command=False, is_last=False, data=b"")
        if length > self.max_pdu_length or length < 6:
            raise self._invalid(
                f"P-DATA-TF of {length} bytes, agreed are 6 to {self.max_pdu_length}"
            )
        self._start += 6
        self._pdu_left = length
        return self._parse_fragment()

    def _parse_fragment(self) -> Event | None:
        if self._fragment_left < 0 and not self._begin_fragment():
            return None
        count = min(self._fragment_left, self._end - self._start)
        if count == 0 and self._fragment_left:
            return None
        start = self._start
        self._start += count
        self._pdu_left -= count
        self._fragment_left -= count
        ended = self._fragment_left == 0
        if ended:
            self._fragment_left = -1
        context_id, control = self._fragment_head
        return Fragment(
            context_id,
            bool(control & 1),
            ended and bool(control & 2),
            self._view[start : self._start],
        )

    def _begin_fragment(self) -> bool:
        if self._end - self._start < 6:
            return False
        length, context_id, control = pdu.pdv_head(self._view[self._start :])
        if length < 0 or length + 6 > self._pdu_left:
            raise self._invalid(
                f"a presentation data value of {length} bytes in {self._pdu_left} of its PDU"
            )
        self._start += 6
        self._pdu_left -= 6
        if 0 < self._pdu_left - length < 6:
            raise self._invalid("a PDU with bytes after its last value")
        self._fragment_left, self._fragment_head = length, (context_id, control)
        return True

    def _parse_control(self, kind: int, length: int) -> Event | None:
        limit = pdu.MAX_ASSOCIATE_LENGTH if kind in (1, 2) else 4
        if not pdu.ASSOCIATE_RQ <= kind <= pdu.ABORT:
            named = pdu.foreign(bytes(self._view[self._start : self._end]))
            raise self._invalid(named or f"unrecognized PDU type 0x{kind:02X}", 1)
        if length > limit:
            raise self._invalid(f"PDU type 0x{kind:02X} of {length} bytes, {limit} are allowed")
        if self._end - self._start < 6 + length:
            return None
        body = bytes(self._view[self._start + 6 : self._start + 6 + length])
        self._start += 6 + length
        try:
            return pdu.decode(kind, body)
        except pdu.MalformedPDU as error:
            raise self._invalid(str(error), error.reason) from None

    def _invalid(self, text: str, reason: int = _INVALID_PARAMETER) -> RemoteProtocolError:
        """Evt19, an unrecognized or invalid PDU: AA-1 in Sta2, AA-7 in Sta13, else AA-8.

        Where the next PDU begins is no longer known, so all that follows is dropped.
        """
        self._out_of_step = True
        source = 0 if self.state is State.AWAITING_REQUEST else 2
        return self._broken(text, source, reason)
