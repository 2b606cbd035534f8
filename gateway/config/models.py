"""The configuration as frozen values: gateway, nodes, routes, and the default of each field.

Durations are seconds and sizes bytes, whatever units the file uses.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, PrivateAttr, model_validator

from gateway.config.dicomweb import DicomWeb
from gateway.config.examples import Example
from gateway.config.fetching import Fetch
from gateway.config.problems import Complaint, Problem, WrongValue
from gateway.config.problems import Path as ValuePath
from gateway.config.query_retrieve import QueryRetrieve
from gateway.config.readers import (
    AETitle,
    BitsOrAny,
    Boolean,
    Bytes,
    BytesOrUnlimited,
    Callers,
    Change,
    Charsets,
    Color,
    CountOrAuto,
    Destinations,
    Expression,
    Folder,
    Host,
    IfUndecodable,
    Keep,
    LevelName,
    NodeName,
    OrderName,
    OwnTitle,
    Place,
    Planar,
    Port,
    Predicates,
    Priority,
    RateOrUnlimited,
    Reload,
    RouteName,
    Schedule,
    Seconds,
    SecondsOrNever,
    SendBy,
    Senders,
    SopClasses,
    Syntaxes,
    TimeZone,
    Verify,
    Version,
    Windows,
    whole,
)
from gateway.config.secrets import Variable
from gateway.config.section import Section
from gateway.config.tags import Tags
from gateway.config.units import Retry
from gateway.config.values import Listen
from gateway.config.web import Serve, Web

KIB: Final = 1 << 10
GIB: Final = 1 << 30


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
    """The gateway itself: its AE title, listeners, spool and workers.

    ``time_zone`` is what time windows and ``today`` mean, None the machine's. ``reload``
    "on-change" puts a changed file in force by itself, "on-request" only by SIGHUP or
    POST /api/reload.
    """

    LATER = frozenset({"log", "audit"})

    ae_title: AETitle = "GATEWAY"
    time_zone: TimeZone = None
    dicom: Dicom = Dicom()
    web: Web = Web()
    spool: SpoolSettings = SpoolSettings()
    transcode: TranscodeSettings = TranscodeSettings()
    drain_timeout: Seconds = 30.0
    reload: Reload = "on-request"


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
    ``bits`` is the most Bits Stored it can read, ``sop_classes`` those it takes, None any.
    ``max_instance`` is the largest object it takes, in bytes. ``charset`` are the terms of
    Specific Character Set that it reads, None any: text in another one is written in the first of
    them that has every character, or else the instance is held.
    """

    syntaxes: Syntaxes = None
    color: Color = ""
    planar: Planar = ""
    bits: BitsOrAny = None
    sop_classes: SopClasses = None
    max_instance: BytesOrUnlimited = None
    charset: Charsets = None


def _sender(given: dict[str, Any]) -> Literal["dimse", "dicomweb"]:
    """The way to send where the file does not say: the only one there is."""
    return "dimse" if given.get("dimse") is not None else "dicomweb"


class Node(Section):
    """A peer: where it is, how instances are sent to it, and what it can read."""

    LATER = frozenset({"stow", "limits"})

    dimse: Dimse | None = None
    dicomweb: DicomWeb | None = None
    send_by: SendBy = Field(default_factory=_sender)
    can_read: CanRead = CanRead()

    @model_validator(mode="after")
    def _checked(self) -> "Node":
        if self.dimse is None and self.dicomweb is None:
            raise ValueError("lacks the key dimse (C-STORE) or dicomweb (STOW-RS, WADO-RS)")
        if "send_by" not in self.model_fields_set:
            if self.dimse is not None and self.dicomweb is not None and self.dicomweb.url:
                raise ValueError("has dimse and dicomweb; say send_by: dimse, or dicomweb")
        elif getattr(self, self.send_by) is None:
            text = f"the node has no {self.send_by} to send by; leave the key out"
            raise WrongValue([Complaint(("send_by",), text)])
        return self


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
    """How a route delivers, and tries again.

    After ``give_up_after`` seconds a delivery is held, None never. Of what waits for one node,
    the higher ``priority`` goes first, and of one priority what ``order`` says: the routes to a
    node say one order beside "as-received", and it holds for all that waits there. Deliveries are
    made ``during`` these hours, () always, and
    to one node at most ``objects_per_s`` instances and ``mbit_per_s`` million bits a second, on
    average.
    """

    retry: Schedule = Retry(30.0, 900.0)
    give_up_after: SecondsOrNever = None
    priority: Priority = "normal"
    order: OrderName = "as-received"
    during: Windows = ()
    objects_per_s: RateOrUnlimited = None
    mbit_per_s: RateOrUnlimited = None


class Group(Section):
    """Series or studies that a route holds back until they seem complete.

    They are when none of their instances came for ``quiet_for`` seconds, or ``deadline`` seconds
    after the first one. What comes later is held back anew, without what has gone.
    """

    by: LevelName = "series"
    quiet_for: Seconds = 60.0
    deadline: Seconds = 3600.0

    @model_validator(mode="after")
    def _checked(self) -> "Group":
        if self.deadline < self.quiet_for:
            text = "the deadline is shorter than quiet_for, which would never be waited for"
            raise WrongValue([Complaint(("deadline",), text)])
        return self


class Route(Section):
    """A rule: what comes ``from_`` these, meets ``match`` and not ``unless`` goes to ``send_to``.

    Without all three it takes everything. ``from_`` () is anyone; one entry of it is enough.
    ``match`` asks for all of its attributes; the route is passed over where all of ``unless``
    are met. ``expr`` must be true, ``during`` lists the hours at whose arrivals it looks, () all.
    ``group`` None sends each instance as it comes.
    """

    LATER = frozenset({"schedule", "find", "ack", "commitment"})

    name: RouteName
    from_: Senders = Field((), alias="from")
    match: Predicates = Field(default_factory=dict)
    unless: Predicates = Field(default_factory=dict)
    expr: Expression = None
    during: Windows = ()
    enabled: Boolean = True
    send_to: Destinations
    group: Group | None = None
    tags: Tags | None = None
    pixels: Pixels = Pixels()
    delivery: DeliverySettings = DeliverySettings()


def _nowhere(_: ValuePath, *, at_key: bool) -> tuple[str, int, int]:
    return "", 0, 0


@dataclass(frozen=True, slots=True)
class Places:
    """Where values stand in their files; no part of what they say, so all places are equal.

    ``variables`` are those that the environment has a part in.
    """

    place: Callable[..., tuple[str, int, int]] = field(default=_nowhere, compare=False)
    variables: Mapping[ValuePath, Variable] = field(default_factory=dict, compare=False)


class Config(Section):
    """The whole configuration, checked: every node that a route names exists."""

    BESIDE = ("include",)

    version: Version
    gateway: GatewaySettings = GatewaySettings()
    nodes: dict[NodeName, Node] = Field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    serve: Serve = Serve()
    fetch: tuple[Fetch, ...] = ()
    query_retrieve: tuple[QueryRetrieve, ...] = ()
    examples: tuple[Example, ...] = ()
    _places: Places = PrivateAttr(default_factory=Places)

    def remember(self, places: Places) -> None:
        """Note where the values stand that the configuration was read from."""
        self._places = places

    def written(self, path: ValuePath, value: object) -> str:
        """The value at a path as text, or as the file has it where it holds a variable."""
        variable = self._places.variables.get(path)
        return str(value) if variable is None else variable.written

    def problem(self, path: ValuePath, text: str) -> Problem:
        """A problem with, or a remark on, the value at a path such as ``("routes", 0)``."""
        return Problem(*self._places.place(path, at_key=False), text)


def default_config() -> Config:
    """The embedded default: AE GATEWAY on 11112, web on 127.0.0.1:8080, no nodes, no routes."""
    return Config(version=1)
