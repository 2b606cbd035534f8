"""A Part 10 file that arrives piece by piece, taken in through the one door (PS3.10 §7.1).

Its File Meta Information is read from the first bytes and written anew, so that no preamble
passes: what a peer hides there (a program, another image) never lands on the disk.
"""

from collections.abc import Callable
from typing import Final

from gateway.dataset.heads import MalformedDataSet
from gateway.dataset.part10 import FileMeta, read_file_meta
from gateway.failures import PermanentFailure
from gateway.intake import Announced, Intake
from gateway.model import UID, Instance, Origin
from gateway.spool import Part
from gateway.transfer_syntax import BY_UID

_LOOKS: Final = (1 << 16, 1 << 20)
"""Bytes after which the File Meta Information is looked for; it has to end within the last."""


class Unreadable(PermanentFailure):
    """These bytes are no SOP Instance in a file."""


class UnknownTransferSyntax(PermanentFailure):
    """The file names a transfer syntax that the gateway does not know."""


class TooLarge(PermanentFailure):
    """The file is longer than any that is taken."""


class IncomingFile:
    """One file on its way in: ``write`` its bytes as they come, then ``admit`` or ``abort``.

    ``announced`` says what it is, once enough of it is there. ``max_size`` is in bytes.
    """

    def __init__(self, intake: Intake, origin: Origin, *, max_size: int) -> None:
        self.announced: Announced | None = None
        self._intake = intake
        self._origin = origin
        self._max_size = max_size
        self._head = bytearray()
        self._look = 0
        self._part: Part | None = None
        self._size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Take the next bytes. After a failure only ``abort`` is left.

        Raises Unreadable, UnknownTransferSyntax or TooLarge for the file, PermanentFailure for
        UIDs that are none, and TemporaryFailure where the disk is short or broken.
        """
        self._size += memoryview(data).nbytes
        if self._size > self._max_size:
            raise TooLarge(
                f"the file is longer than {self._max_size} bytes, the most that is taken"
            )
        if self._part is not None:
            self._part.write(data)
            return
        self._head += data
        if len(self._head) >= _LOOKS[self._look]:
            self._begin(whole=False)

    async def admit(
        self,
        *,
        study: UID = "",
        routed: bool = True,
        seen: Callable[[Instance], None] | None = None,
    ) -> Instance:
        """Keep the file that is now complete; on return it is durable.

        The arguments are those of ``Intake.admit``. Raises as ``write`` and ``Intake.admit`` do.
        """
        announced = self.end()
        assert self._part is not None  # noqa: S101 - begun, or something was raised
        part, self._part = self._part, None
        return await self._intake.admit(part, announced, study=study, routed=routed, seen=seen)

    def end(self) -> Announced:
        """All was written: say what it is, before it is admitted. Raises as ``write`` does."""
        if self._part is None:
            self._begin(whole=True)
        assert self.announced is not None  # noqa: S101 - begun, or something was raised
        return self.announced

    def abort(self) -> None:
        """Nothing of it is kept. May be called again, and after ``admit``."""
        if self._part is not None:
            self._part.abort()
            self._part = None

    def _begin(self, *, whole: bool) -> None:
        meta = self._meta(whole=whole)
        if meta is None:
            return
        if meta.transfer_syntax not in BY_UID:
            raise UnknownTransferSyntax(
                f"its transfer syntax {meta.transfer_syntax[:64]!r} is not one that the gateway "
                "knows"
            )
        self.announced = Announced(
            self._origin, meta.sop_class_uid, meta.sop_instance_uid, meta.transfer_syntax
        )
        self._part = self._intake.begin(self.announced)
        self._part.write(memoryview(self._head)[meta.dataset_offset :])
        self._head = bytearray()

    def _meta(self, *, whole: bool) -> FileMeta | None:
        """What the file says of itself; None where more of it has to come first."""
        try:
            return read_file_meta(self._head)
        except MalformedDataSet as error:
            if whole or self._look + 1 == len(_LOOKS):
                raise Unreadable(f"no DICOM file (PS3.10): {error}") from error
            self._look += 1
            return None
