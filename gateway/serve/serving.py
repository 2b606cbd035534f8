"""What all DICOMweb resources share: what is held, how it is derived, and how it is served."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from gateway.derivation import Derivations
from gateway.failures import TemporaryFailure
from gateway.intake import Intake
from gateway.model import UID, Instance
from gateway.transcode.pool import TranscodePool
from gateway.transcode.source import READ_WHOLE

T = TypeVar("T")


class Holdings(Protocol):
    """The instances that can be served, each SOP Instance once, as it was received last."""

    def instances(self, study: UID, series: UID = "", sop: UID = "") -> AsyncIterator[Instance]:
        """Those of a study, of a series, or one, in a stable order; nothing where none is held.

        Raises TemporaryFailure when what may hold them cannot be asked.
        """
        ...

    async def instance(self, study: UID, series: UID, sop: UID) -> Instance | None:
        """The one that ``instances`` yields for these, None where it yields none."""
        ...

    async def sample(self, study: UID, series: UID, most: int) -> Sequence[Instance]:
        """At least one of each series, those that may stand for it; about ``most`` in all."""
        ...

    async def version(self, study: UID, series: UID) -> str:
        """A text that is another one when ``instances`` would yield others.

        "" where nothing is held, and where only an upstream knows.
        """
        ...


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """How DICOMweb is served.

    ``root_url`` stands before ``/dicom-web`` in URLs that are handed out, "" makes them relative
    to the server's root. ``max_body`` is the longest request body, ``max_instance`` the longest
    file in it, in bytes; ``max_expansion`` how many times its size a compressed body may come to.
    """

    root_url: str = ""
    max_body: int = 16 << 30
    max_instance: int = 8 << 30
    max_expansion: int = 100


@dataclass(frozen=True, slots=True)
class Serving:
    """What the resources work with."""

    holdings: Holdings
    derivations: Derivations
    pool: TranscodePool
    intake: Intake
    settings: ServeSettings
    clock: Callable[[], datetime]

    async def look(self, function: Callable[..., T], file: Path, *facts: Any) -> T:
        """``function(file, *facts)`` in a thread, or in a worker where the file is a large one.

        A large file is mapped by who looks at it, which must not be the gateway itself. Raises
        what ``function`` raises, PermanentFailure where it brought its worker down.
        """
        if self.is_large(file):
            return await self.pool.run(function, file, *facts)
        return await asyncio.to_thread(function, file, *facts)

    def is_large(self, file: Path) -> bool:
        """Whether ``look`` takes a worker for it. Raises TemporaryFailure where it is missing."""
        try:
            return file.stat().st_size > READ_WHOLE
        except OSError as error:
            text = f"cannot read the stored file {file.name}: {error.strerror}"
            raise TemporaryFailure(text) from error
