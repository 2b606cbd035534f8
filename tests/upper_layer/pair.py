"""Two machines back to back: what one sends, the other is told (as h11's ConnectionPair)."""

from gateway.upper_layer.association import Association, RemoteProtocolError, Role, State
from gateway.upper_layer.events import (
    AnsweredContext,
    AssociateAccept,
    AssociateRequest,
    Closed,
    Event,
    Fragment,
    Need,
    ProposedContext,
    UserInformation,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"

REQUEST = AssociateRequest(
    "GATEWAY",
    "MODALITY",
    (ProposedContext(1, CT, (EXPLICIT_LE,)),),
    UserInformation(max_length=16_384, implementation_class="1.2.3"),
)
ACCEPT = AssociateAccept(
    "GATEWAY",
    "MODALITY",
    (AnsweredContext(1, 0, EXPLICIT_LE),),
    UserInformation(max_length=16_384, implementation_class="1.2.4"),
)


def pieces(*data: bytes, context_id: int = 1, is_command: bool = False) -> list[Fragment]:
    """Fragments of one message part, the last of them marked as such."""
    last = len(data) - 1
    return [Fragment(context_id, is_command, at == last, each) for at, each in enumerate(data)]


def told(machine: Association, data: bytes) -> list[Event]:
    """Every event in ``data``; the data of fragments is copied, as the view does not live long."""
    events: list[Event] = []
    left = data
    while True:
        taken = machine.receive_data(left)
        left = left[taken:]
        events += drain(machine)
        if not left:
            return events


def drain(machine: Association) -> list[Event]:
    """What the machine tells until it needs data."""
    events: list[Event] = []
    while (event := machine.next_event()) is not Need.DATA:
        if isinstance(event, Fragment):
            event = event._replace(data=bytes(event.data))
        events.append(event)
    return events


def merged(events: list[Event]) -> list[Event]:
    """The same events with neighbouring pieces of one message part put together."""
    whole: list[Event] = []
    for event in events:
        before = whole[-1] if whole else None
        if (
            isinstance(event, Fragment)
            and isinstance(before, Fragment)
            and not before.is_last
            and before[:2] == event[:2]
        ):
            whole[-1] = event._replace(data=bytes(before.data) + bytes(event.data))
        else:
            whole.append(event)
    return whole


def broken(machine: Association, data: bytes) -> RemoteProtocolError:
    """The error that ``data`` leads to."""
    try:
        events = told(machine, data)
    except RemoteProtocolError as error:
        return error
    raise AssertionError(f"no protocol error, but {events} in {machine.state}")


class AssociationPair:
    """A requestor and an acceptor with a perfect wire between them."""

    def __init__(self) -> None:
        self.requestor = Association(Role.REQUESTOR)
        self.acceptor = Association(Role.ACCEPTOR)

    @classmethod
    def associated(cls) -> "AssociationPair":
        """A pair in Sta6."""
        pair = cls()
        pair.send(Role.REQUESTOR, REQUEST)
        pair.send(Role.ACCEPTOR, ACCEPT)
        return pair

    @property
    def states(self) -> tuple[State, State]:
        """(requestor's, acceptor's)."""
        return self.requestor.state, self.acceptor.state

    def send(self, role: Role, *events: Event) -> None:
        """Send events from one side; the other must be told exactly these."""
        sender, receiver = self._ends(role)
        data = b"".join(sender.send(event) for event in events)
        heard = told(receiver, data)
        assert merged(heard) == merged(list(events))

    def on_the_way(self, role: Role, event: Event) -> bytes:
        """The bytes of an event that the other side has not heard yet."""
        return self._ends(role)[0].send(event)

    def close(self, role: Role) -> None:
        """One side closes the connection; the other is told."""
        _, receiver = self._ends(role)
        assert told(receiver, b"") == [Closed()]
        assert receiver.finished

    def _ends(self, role: Role) -> tuple[Association, Association]:
        if role is Role.REQUESTOR:
            return self.requestor, self.acceptor
        return self.acceptor, self.requestor
