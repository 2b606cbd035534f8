"""A Part 10 file opened for transcoding: its bytes, where Pixel Data stands, what describes it."""

import itertools
import mmap
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from struct import Struct
from typing import Any, Final, NamedTuple, TypeAlias

from gateway.dataset.elements import Element, elements
from gateway.dataset.heads import (
    DEFAULT_LIMITS,
    EXPLICIT,
    LONG_CODES,
    SHORT_CODES,
    UNDEFINED,
    Limits,
)
from gateway.dataset.inflate import inflated
from gateway.dataset.part10 import FileMeta, read_file_meta
from gateway.failures import PermanentFailure, TemporaryFailure
from gateway.transcode.image_pixel import PIXEL_DATA, Values
from gateway.transcode.layout import recall, remember
from gateway.transfer_syntax import BY_UID, EXPLICIT_LE, IMPLICIT_LE, TransferSyntax

_GROUPS: Final = frozenset((0x0028, 0x0088, *range(0x6000, 0x6100, 2), 0x7FE0, 0xFFFE))
"""The groups of elements that describe pixels, icons and overlays."""
_HEAD: Final = Struct("<HxxHH").unpack_from
_SHORT: Final = frozenset(int.from_bytes(code, "little") for code in SHORT_CODES)
_LONG: Final = frozenset(int.from_bytes(code, "little") for code in LONG_CODES)
READ_WHOLE: Final = 4 << 20
"""Files up to this size are read into memory: cheaper than the page faults of a map. Inflated
data sets too.
"""
_STEP: Final = 1 << 20
"""Bytes of a deflated data set that are inflated at once."""

StrPath: TypeAlias = str | Path
"""A file's name; as a text it is sent to a worker for a tenth of what a Path costs."""


class Source(NamedTuple):
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
    def pixel_data(self) -> Element:
        """Pixel Data (7FE0,0010). Raises PermanentFailure where there is none."""
        if self.pixels is None:
            raise PermanentFailure("the instance has no Pixel Data (7FE0,0010)")
        return self.pixels

    @property
    def inflated(self) -> bool:
        """Whether ``data`` is not the file: what stands where in it holds in this process only."""
        return BY_UID[self.meta.transfer_syntax].deflated

    @property
    def end(self) -> int:
        """The end of the data set."""
        return len(self.data)

    @property
    def values(self) -> Values:
        """The values of the elements found."""
        return Values(self.data, self.found, self.syntax.little_endian)


def open_bytes(path: StrPath) -> Any:
    """The file's bytes, a large one mapped: for a worker, since a map of a file that is cut short
    or has a bad sector ends the process (SIGBUS). Raises TemporaryFailure when it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            if size > READ_WHOLE:
                return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
            return _read(descriptor, 0, size)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _unreadable(path, error) from error


def read_span(path: Path, offset: int, length: int) -> bytes:
    """``length`` bytes of a file. Raises TemporaryFailure when they cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = _read(descriptor, offset, length)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(data) < length:
        raise TemporaryFailure(f"the stored file {path.name} is cut short")
    return data


def _unreadable(path: StrPath, error: OSError) -> TemporaryFailure:
    return TemporaryFailure(f"cannot read the stored file {Path(path).name}: {error}")


def _read(descriptor: int, offset: int, length: int) -> bytes:
    data = os.pread(descriptor, length, offset)
    while len(data) < length and (
        more := os.pread(descriptor, length - len(data), offset + len(data))
    ):
        data += more
    return data


def open_source(path: StrPath, scratch: StrPath, limits: Limits = DEFAULT_LIMITS) -> Source:
    """The file, scanned up to Pixel Data; a deflated data set is inflated within ``limits``.

    A large one, inflated, is kept in an unnamed file in ``scratch``. Raises PermanentFailure for
    a data set that cannot be read and for an unknown transfer syntax.
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
    found, pixels, explicit = _scan(data, start, syntax)
    if syntax.explicit and not explicit:
        syntax = BY_UID[IMPLICIT_LE]
    return Source(meta, syntax, data, start, found, pixels)


def _scan(
    data: Any, start: int, syntax: TransferSyntax
) -> tuple[dict[int, Element], Element | None, bool]:
    """What stands in the data set, and whether its heads carry VRs, whatever its label says."""
    found: dict[int, Element] = {}
    position, end = start, len(data)
    fast = syntax.explicit and syntax.little_endian
    code = bytes(data[start + 4 : start + 6])
    explicit = start >= end or code in SHORT_CODES or code in LONG_CODES
    starts: list[int] = []
    layout = recall(data, start) if fast else None
    if layout is not None:
        found, position = dict(layout.found), layout.stop
    while True:
        if fast:
            position = _pass_over(data, position, end, starts)
        for element in elements(data, position, end, syntax):
            starts.append(element.start)
            if element.tag == PIXEL_DATA:
                if fast and layout is None:
                    remember(data, starts, found)
                return found, element, explicit
            found[element.tag] = element
            if fast and element.tag >> 16 not in _GROUPS:
                position = element.end
                break
        else:
            return found, None, explicit


def _pass_over(data: Any, position: int, end: int, starts: list[int]) -> int:
    """The first element that is wanted, or not plain: of undefined length, of an odd VR, or of
    a group that no data set has. Where those before it stand is added to ``starts``.

    A scan of its own, since most elements of most headers are none of a transcoder's business.
    """
    head, long, short_codes, long_codes = _HEAD, EXPLICIT.long, _SHORT, _LONG
    passes = starts.append
    last, before, passed = end - 12, position, -1
    while position <= last:
        group, code, length = head(data, position)
        before = position
        if group != passed:
            if group in _GROUPS or group < 8:
                return position
            passed = group
        if code in short_codes:
            position += 8 + length
        elif code in long_codes:
            length = long(data, position + 8)[0]
            if length == UNDEFINED:
                return position
            position += 12 + length
        else:
            return position
        passes(before)
    return position if position <= end else before


def _inflated(data: Any, start: int, scratch: StrPath, limits: Limits) -> Any:
    """PS3.5 A.5: the data set is one deflate stream. A small one is held, a large one mapped."""
    pieces, held, size = inflated(data, start, limits, _STEP), [], 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size > READ_WHOLE:
            return _mapped(itertools.chain(held, pieces), scratch)
    return b"".join(held)


def _mapped(pieces: Iterable[bytes], scratch: StrPath) -> Any:
    """What the pieces come to, in an unnamed file in ``scratch``."""
    try:
        with tempfile.TemporaryFile(dir=scratch) as out:
            for piece in pieces:
                out.write(piece)
            out.flush()
            return mmap.mmap(out.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise TemporaryFailure(f"cannot write beside the result: {error}") from error
