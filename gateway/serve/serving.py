"""What all DICOMweb resources share: what is held, how it is derived, and how it is served."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gateway.derivation import Derivations
from gateway.intake import Intake
from gateway.model import UID, Instance
from gateway.transcode.pool import TranscodePool


class Holdings(Protocol):
    """The instances that can be served, each SOP Instance once, as it was received last."""

    def instances(self, study: UID, series: UID = "", sop: UID = "") -> AsyncIterator[Instance]:
        """Those of a study, of a series, or one, in a stable order; nothing where none is held.

        Raises TemporaryFailure when what may hold them cannot be asked.
        """
        ...


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """How DICOMweb is served.

    ``root_url`` stands before ``/dicom-web`` in URLs that are handed out, "" makes them relative
    to the server's root. ``max_body`` is the longest request body, ``max_instance`` the longest
    file in it, in bytes.
    """

    root_url: str = ""
    max_body: int = 16 << 30
    max_instance: int = 8 << 30


@dataclass(frozen=True, slots=True)
class Serving:
    """What the resources work with."""

    holdings: Holdings
    derivations: Derivations
    pool: TranscodePool
    intake: Intake
    settings: ServeSettings
    clock: Callable[[], datetime]
