"""PS3.8 Table 9-10 as the standard prints it, and a way into each of its states.

Rows are events, columns are states, cells are actions; a point stands for an empty cell. Sta4,
waiting for the transport connection, belongs to the shell: a machine is made when it is open.
"""

from collections.abc import Callable

from gateway.upper_layer import pdu
from gateway.upper_layer.association import Association, Role
from gateway.upper_layer.events import (
    REJECT_CALLED,
    Abort,
    Event,
    Fragment,
    ReleaseReply,
    ReleaseRequest,
)
from tests.upper_layer.pair import ACCEPT, REQUEST, told

_PRINTED = """
Evt   1    2    3    4    5    6    7    8    9    10   11    12   13
1     AE-1 .    .    .    .    .    .    .    .    .     .    .    .
2     .    .    .    AE-2 .    .    .    .    .    .     .    .    .
3     .    AA-1 AA-8 .    AE-3 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
4     .    AA-1 AA-8 .    AE-4 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
5     AE-5 .    .    .    .    .    .    .    .    .     .    .    .
6     .    AE-6 AA-8 .    AA-8 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-7
7     .    .    AE-7 .    .    .    .    .    .    .     .    .    .
8     .    .    AE-8 .    .    .    .    .    .    .     .    .    .
9     .    .    .    .    .    DT-1 .    AR-7 .    .     .    .    .
10    .    AA-1 AA-8 .    AA-8 DT-2 AR-6 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
11    .    .    .    .    .    AR-1 .    .    .    .     .    .    .
12    .    AA-1 AA-8 .    AA-8 AR-2 AR-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
13    .    AA-1 AA-8 .    AA-8 AA-8 AR-3 AA-8 AA-8 AR-10 AR-3 AA-8 AA-6
14    .    .    .    .    .    .    .    AR-4 AR-9 .     .    AR-4 .
15    .    .    AA-1 AA-2 AA-1 AA-1 AA-1 AA-1 AA-1 AA-1  AA-1 AA-1 .
16    .    AA-2 AA-3 .    AA-3 AA-3 AA-3 AA-3 AA-3 AA-3  AA-3 AA-3 AA-2
17    .    AA-5 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4  AA-4 AA-4 AR-5
18    .    AA-2 .    .    .    .    .    .    .    .     .    .    AA-2
19    .    AA-1 AA-8 .    AA-8 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-7
"""

_ROWS = [line.split() for line in _PRINTED.strip().splitlines()[1:]]

TABLE: dict[tuple[int, int], str] = {
    (int(row[0]), state): action
    for row in _ROWS
    for state, action in enumerate(row[1:], 1)
    if action != "."
}
"""(event, state) -> action; what is not here cannot happen or is a local error."""

NEXT: dict[str, str] = {
    "AE-1": "Sta4",
    "AE-2": "Sta5",
    "AE-3": "Sta6",
    "AE-4": "Sta1",
    "AE-5": "Sta2",
    "AE-6": "Sta3",
    "AE-7": "Sta6",
    "AE-8": "Sta13",
    "DT-1": "Sta6",
    "DT-2": "Sta6",
    "AR-1": "Sta7",
    "AR-2": "Sta8",
    "AR-3": "Sta1",
    "AR-4": "Sta13",
    "AR-5": "Sta1",
    "AR-6": "Sta7",
    "AR-7": "Sta8",
    "AR-9": "Sta11",
    "AR-10": "Sta12",
    "AA-1": "Sta13",
    "AA-2": "Sta1",
    "AA-3": "Sta1",
    "AA-4": "Sta1",
    "AA-5": "Sta1",
    "AA-6": "Sta13",
    "AA-7": "Sta13",
    "AA-8": "Sta13",
}
"""The state after an action (Tables 9-6 to 9-9). AR-8 depends on the role: see ``after``."""

P_DATA = Fragment(1, is_command=False, is_last=True, data=b"data")

RECEIVED: dict[int, Event] = {
    3: ACCEPT,
    4: REJECT_CALLED,
    6: REQUEST,
    10: P_DATA,
    12: ReleaseRequest(),
    13: ReleaseReply(),
    16: Abort(),
}
"""The events that are a PDU of the peer's."""

SENT: dict[int, Event] = {
    7: ACCEPT,
    8: REJECT_CALLED,
    9: P_DATA,
    11: ReleaseRequest(),
    14: ReleaseReply(),
    15: Abort(),
}
"""The events that are a primitive of our user's."""

INVALID_PDU = b"\x42\0\0\0\0\x04\0\0\0\0"


def after(action: str, role: Role) -> str:
    """The name of the state after an action."""
    if action == "AR-8":
        return "Sta9" if role is Role.REQUESTOR else "Sta10"
    return NEXT[action]


def _hears(machine: Association, *events: Event) -> Association:
    for event in events:
        told(machine, pdu.encode(event))
    return machine


def _says(machine: Association, *events: Event) -> Association:
    for event in events:
        machine.send(event)
    return machine


def _requestor() -> Association:
    return _hears(_says(Association(Role.REQUESTOR), REQUEST), ACCEPT)


def _acceptor() -> Association:
    return _says(_hears(Association(Role.ACCEPTOR), REQUEST), ACCEPT)


def _collided(machine: Association) -> Association:
    return _hears(_says(machine, ReleaseRequest()), ReleaseRequest())


WAYS: dict[tuple[int, Role], Callable[[], Association]] = {
    (2, Role.ACCEPTOR): lambda: Association(Role.ACCEPTOR),
    (3, Role.ACCEPTOR): lambda: _hears(Association(Role.ACCEPTOR), REQUEST),
    (5, Role.REQUESTOR): lambda: _says(Association(Role.REQUESTOR), REQUEST),
    (6, Role.REQUESTOR): _requestor,
    (6, Role.ACCEPTOR): _acceptor,
    (7, Role.REQUESTOR): lambda: _says(_requestor(), ReleaseRequest()),
    (7, Role.ACCEPTOR): lambda: _says(_acceptor(), ReleaseRequest()),
    (8, Role.REQUESTOR): lambda: _hears(_requestor(), ReleaseRequest()),
    (8, Role.ACCEPTOR): lambda: _hears(_acceptor(), ReleaseRequest()),
    (9, Role.REQUESTOR): lambda: _collided(_requestor()),
    (10, Role.ACCEPTOR): lambda: _collided(_acceptor()),
    (11, Role.REQUESTOR): lambda: _says(_collided(_requestor()), ReleaseReply()),
    (12, Role.ACCEPTOR): lambda: _hears(_collided(_acceptor()), ReleaseReply()),
    (13, Role.REQUESTOR): lambda: _says(_requestor(), Abort()),
    (13, Role.ACCEPTOR): lambda: _says(_acceptor(), Abort()),
}
"""(state, role) -> a new machine in that state."""
