"""Real peers for the tests and the benchmark: started on free loopback ports, stopped for sure.

Receivers and gateways are context managers; each knows why it cannot run here (``missing``).
"""

from tests.peers.process import Child, Never, free_port, tail, until
from tests.peers.receivers import Orthanc, Peer, PynetdicomReceiver, Storescp, absent
from tests.peers.running_gateway import RunningGateway, gateway_command, start_gateway

__all__ = [
    "Child",
    "Never",
    "Orthanc",
    "Peer",
    "PynetdicomReceiver",
    "RunningGateway",
    "Storescp",
    "absent",
    "free_port",
    "gateway_command",
    "start_gateway",
    "tail",
    "until",
]
