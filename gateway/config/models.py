"""The configuration as frozen values: gateway, nodes, routes, and the default of each field.

Durations are seconds and sizes bytes, whatever units the file uses. The names in ``LATER``
belong to the language but not yet to this version; they are refused, never passed over.
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from gateway.config.readers import (
    AETitle,
    Boolean,
    Bytes,
    BytesOrUnlimited,
    Callers,
    Change,
    Color,
    CountOrAuto,
    Destinations,
    Folder,
    Host,
    IfUndecodable,
    Keep,
    NodeName,
    OwnTitle,
    Place,
    Planar,
    Port,
    Predicates,
    RouteName,
    Schedule,
    Seconds,
    SecondsOrNever,
    Senders,
    Syntaxes,
    Verify,
    Version,
    whole,
)
from gateway.config.units import Retry
from gateway.config.values import Listen

KIB: Final = 1 << 10
GIB: Final = 1 << 30


class Section(BaseModel):
    """A mapping of the configuration file: known keys only, frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    LATER: ClassVar[frozenset[str]] = frozenset()


class Dicom(Section):
    """The DICOM listener and its limits (PS3.8).

    ``accept_from`` lists the calling AE titles that may open an association, None anyone's.
    ``max_pdu`` is announced, in bytes. ``artim_timeout`` is PS3.8 §9.1.5's timer,
    ``idle_timeout`` ends an association without messages, ``message_timeout`` one that stops in
    the middle of a message. ``max_instance`` is the largest object taken, in bytes.
    """

    LATER = frozenset({"tls"})

    listen: Place = Listen("0.0.0.0", 11112)  # noqa: S104
    check_called_ae: Boolean = False
    accept_from: Callers = None
    max_pdu: Annotated[int, whole(4 * KIB, 1024 * KIB)] = 128 * KIB
    max_associations: Annotated[int, whole(1, 10_000)] = 100
    max_associations_per_peer: Annotated[int, whole(1, 10_000)] = 20
    max_instance: Bytes = 8 * GIB
    artim_timeout: Seconds = 30.0
    idle_timeout: Seconds = 300.0
    message_timeout: Seconds = 60.0


class Web(Section):
    """The HTTP listener."""

    LATER = frozenset({"tls", "auth"})

    listen: Place = Listen("127.0.0.1", 8080)


class SpoolSettings(Section):
    """Where instances are kept.

    Nothing is accepted below ``refuse_below_free`` bytes of free disk. Instances that nobody is
    owed any more go after ``keep``, None never.
    """

    LATER = frozenset({"s3", "database"})

    path: Folder = Path("gateway-data")
    refuse_below_free: Bytes = 5 * GIB
    keep: Keep = timedelta(days=7)


class TranscodeSettings(Section):
    """The worker processes that decode. ``workers`` None: one per processor core."""

    workers: CountOrAuto = None
    timeout: Seconds = 120.0
    memory: Bytes = 4 * GIB


class GatewaySettings(Section):
    """The gateway itself: its AE title, listeners, spool and workers."""

    LATER = frozenset({"log", "audit", "time_zone"})

    ae_title: AETitle = "GATEWAY"
    dicom: Dicom = Dicom()
    web: Web = Web()
    spool: SpoolSettings = SpoolSettings()
    transcode: TranscodeSettings = TranscodeSettings()
    drain_timeout: Seconds = 30.0


class Dimse(Section):
    """A node that speaks DICOM's own protocol (PS3.7).

    ``calling_ae`` is what the gateway calls itself there, None its own AE title.
    ``max_associations`` is how many it opens at once. ``connect_timeout`` covers the TCP
    connection, ``associate_timeout`` the answer to A-ASSOCIATE-RQ, ``response_timeout`` the
    answer to a message.
    """

    LATER = frozenset({"tls", "user_identity"})

    ae_title: AETitle
    host: Host
    port: Port = 104
    calling_ae: OwnTitle = None
    max_associations: Annotated[int, whole(1, 64)] = 1
    connect_timeout: Seconds = 10.0
    associate_timeout: Seconds = 30.0
    response_timeout: Seconds = 120.0


class CanRead(Section):
    """What a node can read; every route to it obeys.

    ``syntaxes`` None: as received. ``color`` "RGB": YBR_* and PALETTE COLOR become RGB, pixels and
    header together; "": decompressed YCbCr stays YBR_FULL and the header says so. ``planar``
    "interleaved" or "separate" forces Planar Configuration 0 or 1, "" leaves it.
    ``max_instance`` is the largest object it takes, in bytes.
    """

    LATER = frozenset({"bits", "sop_classes", "charset"})

    syntaxes: Syntaxes = None
    color: Color = ""
    planar: Planar = ""
    max_instance: BytesOrUnlimited = None


class Node(Section):
    """A peer: where it is, and what it can read."""

    LATER = frozenset({"dicomweb", "stow", "limits"})

    dimse: Dimse
    can_read: CanRead = CanRead()


class Pixels(Section):
    """What a route does with the pixels.

    ``change`` "never": as stored or not at all; "if-needed": as stored where the node can read
    that; "always": uncompressed. ``if_undecodable`` "quarantine": held for a person with the
    decoder's reason; "reject": held as well, the reason begins with "rejected by the route";
    "forward-as-stored": sent as stored where the node accepts and can read that transfer syntax
    (``can_read.color`` and ``can_read.planar`` are given up: rather this than nothing), else
    held. Nothing is dropped. What is too long for uncompressed Pixel Data (2**32 - 2 bytes) is
    not undecodable: whatever these say, it goes as stored where the node can read that.
    ``verify`` has pixels decoded by a second code base: "lossless" those of reversible
    codestreams, "N%" those of so many instances, "off" none; what two decoders disagree on is
    held whatever ``if_undecodable`` says.
    """

    change: Change = "if-needed"
    if_undecodable: IfUndecodable = "quarantine"
    verify: Verify = "off"


class DeliverySettings(Section):
    """How a route tries again. After ``give_up_after`` seconds a delivery is held, None never."""

    LATER = frozenset(
        {"priority", "order", "during", "mbit_per_s", "objects_per_s", "never_blocks"}
    )

    retry: Schedule = Retry(30.0, 900.0)
    give_up_after: SecondsOrNever = None


class Route(Section):
    """A rule: what comes ``from_`` these, meets ``match`` and not ``unless`` goes to ``send_to``.

    Without all three it takes everything. ``from_`` () is anyone; one entry of it is enough.
    ``match`` asks for all of its attributes; the route is passed over where all of ``unless``
    are met.
    """

    LATER = frozenset(
        {"group", "tags", "expr", "during", "schedule", "find", "ack", "commitment", "enabled"}
    )

    name: RouteName
    from_: Senders = Field((), alias="from")
    match: Predicates = Field(default_factory=dict)
    unless: Predicates = Field(default_factory=dict)
    send_to: Destinations
    pixels: Pixels = Pixels()
    delivery: DeliverySettings = DeliverySettings()


class Config(Section):
    """The whole configuration, checked: every node that a route names exists."""

    LATER = frozenset({"query_retrieve", "examples", "include"})

    version: Version
    gateway: GatewaySettings = GatewaySettings()
    nodes: dict[NodeName, Node] = Field(default_factory=dict)
    routes: tuple[Route, ...] = ()


def default_config() -> Config:
    """The embedded default: AE GATEWAY on 11112, web on 127.0.0.1:8080, no nodes, no routes."""
    return Config(version=1)
