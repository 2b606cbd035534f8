"""Requests to origin servers: searching, retrieving and storing by DICOMweb (PS3.18).

An ``OriginServer`` stands for one configured node. What it sends and receives is streamed; what
goes wrong comes out as one of the failures in ``failures``, without secrets and without data.
"""

from gateway.web_client.configured import server_settings
from gateway.web_client.failures import Refused, TimedOut, Unanswered, Unwelcome
from gateway.web_client.origin_server import OriginServer
from gateway.web_client.servers import OriginServers
from gateway.web_client.settings import (
    Basic,
    Bearer,
    ClientCredentials,
    Limits,
    Patience,
    Secret,
    ServerSettings,
    Tls,
)
from gateway.web_client.store import Upload

__all__ = [
    "Basic",
    "Bearer",
    "ClientCredentials",
    "Limits",
    "OriginServer",
    "OriginServers",
    "Patience",
    "Refused",
    "Secret",
    "ServerSettings",
    "TimedOut",
    "Tls",
    "Unanswered",
    "Unwelcome",
    "Upload",
    "server_settings",
]
