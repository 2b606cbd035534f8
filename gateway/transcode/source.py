"""A Part 10 file opened for transcoding: its bytes, where Pixel Data stands, what describes it."""

import mmap
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.dataset.elements import DEFAULT_LIMITS, Element, Limits, elements
from gateway.dataset.inflate import inflate
from gateway.dataset.part10 import FileMeta, read_file_meta
from gateway.failures import PermanentFailure, TemporaryFailure
from gateway.transcode.image_pixel import PIXEL_DATA, Values
from gateway.transfer_syntax import BY_UID, EXPLICIT_LE, TransferSyntax

_READ_WHOLE: Final = 4 << 20
"""Files up to this size are read into memory: cheaper than the page faults of a map."""


@dataclass(frozen=True, slots=True)
class Source:
    """``data`` is the file, or the inflated data set; the data set is [start, len(data)).

    ``syntax`` is that of the bytes in ``data``; ``found`` the elements from group 0028 up to
    Pixel Data, by tag; ``pixels`` Pixel Data itself.
    """

    meta: FileMeta
    syntax: TransferSyntax
    data: Any
    start: int
    found: dict[int, Element]
    pixels: Element | None

    @property
    def end(self) -> int:
        """The end of the data set."""
        return len(self.data)

    @property
    def values(self) -> Values:
        """The values of the elements found."""
        return Values(self.data, self.found, self.syntax.little_endian)


def open_bytes(path: Path) -> Any:
    """The file's bytes, read or mapped. Raises TemporaryFailure when it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            if size > _READ_WHOLE:
                return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
            return _read_all(descriptor, size)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise TemporaryFailure(f"cannot read the stored file {path.name}: {error}") from error


def _read_all(descriptor: int, size: int) -> bytes:
    data = os.read(descriptor, size + 1)
    while len(data) < size and (more := os.read(descriptor, size - len(data))):
        data += more
    return data


def open_source(path: Path, scratch: Path, limits: Limits = DEFAULT_LIMITS) -> Source:
    """The file, scanned up to Pixel Data; a deflated data set is inflated within ``limits``.

    What is inflated is kept in an unnamed file in ``scratch``. Raises PermanentFailure for a
    data set that cannot be read and for an unknown transfer syntax.
    """
    data = open_bytes(path)
    meta = read_file_meta(data)
    syntax = BY_UID.get(meta.transfer_syntax)
    if syntax is None:
        raise PermanentFailure(
            f"the transfer syntax {meta.transfer_syntax} is unknown here: "
            "the instance can only be sent as stored"
        )
    start = meta.dataset_offset
    if syntax.deflated:
        data, start = _inflated(data, start, scratch, limits), 0
        syntax = BY_UID[EXPLICIT_LE]
    found, pixels = _scan(data, start, syntax)
    return Source(meta, syntax, data, start, found, pixels)


def _scan(
    data: Any, start: int, syntax: TransferSyntax
) -> tuple[dict[int, Element], Element | None]:
    found: dict[int, Element] = {}
    for element in elements(data, start, len(data), syntax):
        tag = element[0]
        if tag >= 0x00280000:
            if tag == PIXEL_DATA:
                return found, element
            found[tag] = element
    return found, None


def _inflated(data: Any, start: int, scratch: Path, limits: Limits) -> Any:
    """PS3.5 A.5: the data set is one deflate stream."""
    try:
        with tempfile.TemporaryFile(dir=scratch) as out:
            size = inflate(data, start, out, limits)
            out.flush()
            return mmap.mmap(out.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    except OSError as error:
        raise TemporaryFailure(f"cannot write beside the result: {error}") from error
