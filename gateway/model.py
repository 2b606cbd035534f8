"""The vocabulary that all stages share: instances, origins, deliveries, verdicts.

One word per thing. All values are frozen; nothing here does I/O or knows the time.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from gateway.failures import Failure

UID: TypeAlias = str
"""A unique identifier in its text form, PS3.5 §9, without padding."""

_UID: Final = re.compile(r"[0-9.]{1,64}")


def is_uid(text: str) -> bool:
    """Whether a text can be a UID: digits and points, 1 to 64 of them (PS3.5 §9)."""
    return _UID.fullmatch(text) is not None


class Private(NamedTuple):
    """A private element: its block is where its creator stands (PS3.5 §7.8.1).

    ``element`` is the low byte of the element number.
    """

    group: int
    element: int
    creator: str

    def __str__(self) -> str:
        return f"({self.group:04X},xx{self.element:02X},{self.creator})"


Step: TypeAlias = int | Private
"""A tag, 0xGGGGEEEE, or a private element: a step on the way to an attribute."""

IMPLEMENTATION_CLASS_UID: Final = "2.25.170536485469471898563952147172127424844"
IMPLEMENTATION_VERSION: Final = "DICOM_GATEWAY_0"
"""How the gateway names itself in associations and files (PS3.7 §D.3.3.2, PS3.10 §7.1)."""


class Arrival(Enum):
    """How an instance came in.

    ``UPSTREAM`` is what was retrieved because somebody looked at it: kept to be served, and owed
    to nobody. ``WADO_RS`` was fetched to be passed on.
    """

    C_STORE = "C-STORE"
    STOW_RS = "STOW-RS"
    WADO_RS = "WADO-RS"
    UPSTREAM = "UPSTREAM"


@dataclass(frozen=True, slots=True)
class Origin:
    """Who handed an instance over, and how.

    ``calling`` and ``called`` are AE titles without padding ("" where there are none),
    ``address`` is the peer's IP address.
    """

    arrival: Arrival
    calling: str = ""
    called: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Arriving:
    """What is known of a SOP Instance before the spool has taken it.

    ``header`` maps DICOM keywords to their text (values separated by a backslash), only those
    that routes, ledger and logs need. ``size`` is the Part 10 file's size in bytes.
    ``mislabelled``: Pixel Data is known to be fragments under a native transfer syntax, or one
    value under an encapsulated one (PS3.5 A.4), so that only as stored it goes as it stands.
    """

    sop_instance_uid: UID
    sop_class_uid: UID
    transfer_syntax: UID
    study_uid: UID
    series_uid: UID
    origin: Origin
    size: int
    received_at: datetime
    header: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    mislabelled: bool = False


@dataclass(frozen=True, slots=True)
class Instance(Arriving):
    """A SOP Instance held in the spool, as a Part 10 file at ``file``.

    ``digest`` is that of the file as it was received (``spool.digest``), None where nobody knows.
    """

    spool_id: int = 0
    file: Path = Path()
    digest: int | None = None


PRIORITIES: Final = (1, 0, -1)
"""High, normal and low."""


@dataclass(frozen=True, slots=True)
class Terms:
    """When what a route owes is taken up.

    Of what is due, the highest ``priority`` (one of ``PRIORITIES``) goes first. ``gather``
    "series" or "study" holds each instance back until no other of its series or study has come
    for ``quiet_for``, yet no longer than until ``deadline`` after the first one; "" holds nothing.
    """

    priority: int = 0
    gather: str = ""
    quiet_for: timedelta = timedelta(0)
    deadline: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Owed:
    """That an instance is owed to a destination, by which route, and on what terms."""

    destination: str
    route: str
    terms: Terms = field(default=Terms(), compare=False)


AS_RECEIVED: Final = "as-received"
NEWEST_FIRST: Final = "newest-first"
BY_SERIES: Final = "by-series"
BY_STUDY: Final = "by-study"
ORDERS: Final = (AS_RECEIVED, NEWEST_FIRST, BY_SERIES, BY_STUDY)


@dataclass(frozen=True, slots=True)
class Order:
    """In which order a destination is served what is due to it with one priority.

    ``kind`` is one of ``ORDERS``: what is due for longest first; the other way round; or the
    oldest first and then all of its series, or study. What was begun with is gone on with:
    ``last`` is the instance that was taken up last, by priority.
    """

    kind: str = AS_RECEIVED
    last: Mapping[int, Instance] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One instance owed to one destination. ``attempts`` counts the tries so far."""

    delivery_id: int
    instance: Instance
    destination: str
    route: str
    attempts: int
    due_at: datetime
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Delivered:
    """The destination has the instance. ``warning`` is the DIMSE warning status, if any."""

    transfer_syntax: UID
    decoder: str = ""
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Deferred:
    """Not this time; ``due_at`` says when the next try is."""

    failure: Failure
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Rejected:
    """Held until a person retries or drops it."""

    failure: Failure


Verdict: TypeAlias = Delivered | Deferred | Rejected


class Rendition(NamedTuple):
    """What a destination can read beyond the transfer syntax.

    ``color`` "RGB" turns PALETTE COLOR and YBR_* pixels into RGB, "" leaves them as encoded.
    ``planar`` "interleaved" or "separate" forces Planar Configuration 0 or 1, "" leaves native
    pixels as they are (decoded ones are interleaved).
    """

    color: str = ""
    planar: str = ""


class Checks(NamedTuple):
    """What is asked of a transcode beside the result.

    ``verify`` "lossless" has reversible codestreams decoded a second time by a decoder of another
    lineage, "all" lossy ones too, "" none. ``digests`` asks for SHA-256 sums of the pixels;
    ``later``, whoever asks takes them, where the answer says of what (``Undigested``).
    ``skip`` is how many tries ended with the whole gateway: as many decoders are passed over.
    """

    verify: str = ""
    digests: bool = False
    later: bool = False
    skip: int = 0


class NativeFrames(NamedTuple):
    """Where uncompressed frames stand: ``number`` of ``size`` bytes each, from ``offset`` on."""

    offset: int
    size: int
    number: int


class Undigested(NamedTuple):
    """Bytes that digests are still to be taken of, each run as (offset, length).

    ``stored`` are the frames, or the native value, in the stored file; ``native`` is the value of
    Pixel Data in what was made of it, without its pad.
    """

    stored: tuple[tuple[int, int], ...]
    native: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Verification:
    """What a second decoder said of an instance that one decoder got through.

    ``state`` is "equal", "within bound" (lossy, and nowhere off by more than ``bound``), "one
    lineage" (nobody could be asked) or "not asked". ``decoders`` names both with their versions
    and lineages; ``frames`` were compared, and ``maximum`` is the largest difference of a sample.
    """

    state: str
    decoders: tuple[str, ...] = ()
    frames: int = 0
    maximum: int = 0
    bound: int = 0


@dataclass(frozen=True, slots=True)
class Passport:
    """How the pixels of an instance were made: what the ledger keeps of a transcode.

    ``decoder`` is "" where none was needed. ``colour`` is the Photometric Interpretation that came
    in and the one that went out; ``notes`` are corrections and warnings; ``stderr`` is what native
    libraries printed. ``stored_digest`` is the SHA-256 of the stored frames without item heads,
    ``native_digest`` that of Pixel Data as it went out, without its pad; "" where not asked for.
    """

    target: UID
    decoder: str = ""
    version: str = ""
    self_test: str = ""
    frames: int = 0
    seconds: float = 0.0
    colour: str = ""
    notes: tuple[str, ...] = ()
    stderr: str = ""
    stored_digest: str = ""
    native_digest: str = ""
    verification: Verification | None = None
