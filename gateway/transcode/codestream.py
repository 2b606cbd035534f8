"""What a codestream says of itself, read before any decoder touches it.

JPEG (ISO/IEC 10918-1 Annex B), JPEG-LS (14495-1 Annex C), JPEG 2000 (15444-1 Annex A, raw or in
a JP2 wrapper), JPEG XL (18181-1) and the RLE header (PS3.5 Annex G). Only marker
segments are read, never entropy coded data, so a hostile stream costs microseconds. A stream
without its end marker was cut: decoders return plausible pictures for such, this module refuses
them.
"""

import itertools
from dataclasses import dataclass, field
from struct import Struct, error, unpack_from
from typing import Any, Final, NamedTuple, NoReturn

from gateway.failures import PermanentFailure
from gateway.transcode import jpeg_xl, part2
from gateway.transcode.form import Coding
from gateway.transcode.jpeg_2000 import read_styles

MAX_SCANS = 100
MAX_TILES = 65_535
MAX_COMPONENTS = 4
MAX_SPANNING = 1_024
"""Components of a JPEG 2000 codestream that holds several frames (PS3.5 A.4.4)."""
MAX_SEGMENTS = 2_000
TAIL = 128
"""Bytes at the end of a frame in which the end marker must stand: what is behind it is stray."""
PADDING: Final = b"\0\xff"
"""By which some senders fill up frames and fragments."""

_SEGMENT = Struct(">BBH")
_SIZ = Struct(">HHIIIIIIIIH")
_DCT = {
    0xC0: "baseline",
    0xC1: "extended",
    0xC2: "progressive",
    0xC9: "extended, arithmetic",
    0xCA: "progressive, arithmetic",
}
_PROGRESSIVE = (0xC2, 0xCA)
_DNL: Final = b"\xff\xdc\x00\x04"
_DHP = 0xDE
"""Hierarchical: the frames that follow are parts of one picture, the first perhaps as large."""
_WITHOUT_DECODER = {
    0xC5: "differential sequential",
    0xC6: "differential progressive",
    0xC7: "differential lossless",
    0xCB: "lossless, arithmetic coding",
    0xCD: "differential sequential, arithmetic coding",
    0xCE: "differential progressive, arithmetic coding",
    0xCF: "differential lossless, arithmetic coding",
    _DHP: "hierarchical",
}
_FRAMES = {
    *_DCT,
    0xC3,
    *(0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF),
    0xF7,
}


class Codestream(NamedTuple):
    """The declarations of one codestream.

    ``precision`` in bits; ``sampling`` holds (horizontal, vertical) factors per component;
    ``ids`` the component identifiers; ``adobe`` the APP14 transform or None; ``transform`` that
    JPEG 2000's multiple component transformation was applied; ``start`` the offset of the raw
    codestream inside a JP2 wrapper, ``end`` where EOC should stand but does not (0: it does).
    ``coding`` None: recognised, but nothing decodes it here.
    """

    coding: Coding | None
    process: str
    rows: int
    columns: int
    components: int
    precision: int
    signed: bool = False
    lossy: bool = False
    sampling: tuple[tuple[int, int], ...] = ()
    ids: tuple[int, ...] = ()
    jfif: bool = False
    adobe: int | None = None
    transform: bool = False
    start: int = 0
    end: int = 0
    notes: tuple[str, ...] = ()
    restarts: bool = False
    """Restart markers stand in the entropy coded data (JPEG)."""
    lines_at: int = 0
    """Where the frame header leaves out the rows, which stand behind the first scan (JPEG)."""
    as_labelled: bool = False
    """Whether it is lossy cannot be read: the transfer syntax says so."""

    @property
    def subsampled(self) -> bool:
        """Some component has fewer samples than another."""
        return len(set(self.sampling)) > 1


def read_codestream(frame: Any) -> Codestream | None:
    """The declarations of ``frame`` (bytes-like), or None where it starts like no JPEG family.

    Raises PermanentFailure for a stream that is cut, malformed or beyond the limits.
    """
    head = bytes(frame[:12])
    try:
        if head[:3] == b"\xff\xd8\xff":
            return _jpeg(frame)
        if head[:4] == b"\xff\x4f\xff\x51":
            return _jpeg_2000(frame, 0)
        if head[4:8] == b"jP  ":
            return _jpeg_2000(frame, _contiguous_codestream(frame))
        if head.startswith(jpeg_xl.STARTS):
            return _jpeg_xl(frame)
    except (error, IndexError):
        _refuse("the codestream is cut within its header")
    return None


def _refuse(why: str) -> NoReturn:
    raise PermanentFailure(f"{why}; ask the sender for the object again")


@dataclass(slots=True)
class _Jpeg:
    """What the marker segments before the first scan have said so far."""

    kind: int = 0
    precision: int = 0
    rows: int = 0
    columns: int = 0
    components: tuple[tuple[int, int, int], ...] = ()
    jfif: bool = False
    adobe: int | None = None
    near: int = 0
    shift: int = 0
    restarts: bool = False
    rows_at: int = 0
    lines_at: int = 0
    notes: list[str] = field(default_factory=list)


def _jpeg(frame: Any) -> Codestream:
    seen = _Jpeg()
    at = 2
    for _ in range(MAX_SEGMENTS):
        fill, marker, length = _SEGMENT.unpack_from(frame, at)
        if fill != 0xFF:
            _refuse(f"no JPEG marker at byte {at} of the codestream")
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xDA:
            seen.near, _, seen.shift = unpack_from("BBB", frame, at + 5 + 2 * frame[at + 4])
            _must_end(frame, b"\xff\xd9", "EOI")
            if not seen.rows:
                _lines_behind(frame, at, seen)
            return _finished(frame, seen)
        if marker in _FRAMES:
            _start_of_frame(frame, at, seen)
        elif marker == _DHP:
            _start_of_frame(frame, at, seen)
            _must_end(frame, b"\xff\xd9", "EOI")
            return _finished(frame, seen)
        elif marker == 0xDD:
            seen.restarts = unpack_from(">H", frame, at + 4)[0] > 0
        elif marker in (0xE0, 0xEE):
            _application(frame, at, length, seen)
        at += 2 + length
    _refuse(f"more than {MAX_SEGMENTS} marker segments before the first scan")


def _start_of_frame(frame: Any, at: int, seen: _Jpeg) -> None:
    seen.kind, seen.rows_at = frame[at + 1], at + 5
    seen.precision, seen.rows, seen.columns, count = unpack_from(">BHHB", frame, at + 4)
    if not 1 <= count <= MAX_COMPONENTS:
        _refuse(f"the codestream has {count} components; 1 to {MAX_COMPONENTS} are decoded here")
    rows = (unpack_from(">BBB", frame, at + 10 + 3 * i) for i in range(count))
    seen.components = tuple((ident, hv >> 4, hv & 15) for ident, hv, _ in rows)


def _lines_behind(frame: Any, scan: int, seen: _Jpeg) -> None:
    """The number of lines may be told behind the first scan: DNL (10918-1 B.2.5)."""
    if (at := bytes(frame).find(_DNL, scan)) >= 0:
        seen.rows = unpack_from(">H", frame, at + len(_DNL))[0]
        seen.lines_at = seen.rows_at
        seen.notes.append("the rows were taken from behind the first scan (DNL)")


def _application(frame: Any, at: int, length: int, seen: _Jpeg) -> None:
    payload = bytes(frame[at + 4 : at + 2 + min(length, 16)])
    if frame[at + 1] == 0xE0 and payload[:5] == b"JFIF\0":
        seen.jfif = True
    elif payload[:5] == b"Adobe" and len(payload) >= 12:
        seen.adobe = payload[11]


def _finished(frame: Any, seen: _Jpeg) -> Codestream:
    coding, process, lossy = _process(seen)
    if seen.kind in _PROGRESSIVE and _scans(frame) > MAX_SCANS:
        _refuse(f"more than {MAX_SCANS} scans in a progressive JPEG")
    return Codestream(
        coding=coding,
        process=process,
        rows=seen.rows,
        columns=seen.columns,
        components=len(seen.components),
        precision=seen.precision,
        lossy=lossy,
        sampling=tuple((h, v) for _, h, v in seen.components),
        ids=tuple(ident for ident, _, _ in seen.components),
        jfif=seen.jfif,
        adobe=seen.adobe,
        restarts=seen.restarts,
        lines_at=seen.lines_at,
        notes=tuple(seen.notes),
    )


def _process(seen: _Jpeg) -> tuple[Coding | None, str, bool]:
    if seen.kind == 0xF7:
        return Coding.JPEG_LS, f"JPEG-LS, NEAR {seen.near}", seen.near > 0
    if seen.kind == 0xC3:
        cut = f", {seen.shift & 15} bits cut off" if seen.shift & 15 else ""
        name = f"JPEG lossless, selection value {seen.near}{cut}"
        return Coding.JPEG_LOSSLESS, name, bool(cut)
    if seen.kind in _DCT and seen.precision in (8, 12):
        coding = Coding.JPEG_8 if seen.precision == 8 else Coding.JPEG_12
        if seen.kind in (0xC9, 0xCA):
            coding = Coding.JPEG_ARITHMETIC
        return coding, f"JPEG {_DCT[seen.kind]}, {seen.precision} bit", True
    if not seen.kind:
        _refuse("no frame header (SOF) before the first scan")
    name = _WITHOUT_DECODER.get(seen.kind, f"of {seen.precision} bits, SOF{seen.kind - 0xC0}")
    return None, f"JPEG {name}", True


def _scans(frame: Any) -> int:
    return bytes(frame).count(b"\xff\xda")


def _must_end(frame: Any, marker: bytes, name: str) -> None:
    if marker not in bytes(frame[-TAIL:]) and marker not in _tail_before_padding(frame):
        _refuse(f"the codestream of {len(frame)} bytes has no end marker ({name}): it was cut")


def _tail_before_padding(frame: Any) -> bytes:
    """The last bytes before the zeros or 0xFF by which some senders fill up fragments."""
    return bytes(frame).rstrip(PADDING)[-TAIL:]


def _contiguous_codestream(frame: Any) -> int:
    """The offset of the jp2c box's content (15444-1 I.5.4)."""
    at = 0
    for _ in range(MAX_SEGMENTS):
        length, kind = unpack_from(">I4s", frame, at)
        if kind == b"jp2c":
            return at + (16 if length == 1 else 8)
        if length < 8:
            break
        at += length
    _refuse("a JP2 file without a contiguous codestream box")


def _jpeg_2000(frame: Any, start: int) -> Codestream:
    if bytes(frame[start : start + 4]) != b"\xff\x4f\xff\x51":
        _refuse("a JP2 file whose codestream does not start with SOC and SIZ")
    _, capabilities, x1, y1, x0, y0, tw, th, tx0, ty0, count = _SIZ.unpack_from(frame, start + 4)
    if not 1 <= count <= MAX_SPANNING:
        _refuse(f"the codestream has {count} components; 1 to {MAX_SPANNING} are decoded here")
    if not tw or not th or x1 <= x0 or y1 <= y0:
        _refuse("the codestream declares an empty image or empty tiles")
    if -(-(x1 - tx0) // tw) * -(-(y1 - ty0) // th) > MAX_TILES:
        _refuse(f"more than {MAX_TILES} tiles")
    parts = [unpack_from(">BBB", frame, start + 42 + 3 * i) for i in range(count)]
    if any((dx, dy) != (1, 1) for _, dx, dy in parts):
        _refuse("components of a lower resolution than the image, which JPEG 2000 in DICOM lacks")
    if len({depth for depth, _, _ in parts}) > 1:
        _refuse("the components have different precisions; Image Pixel has one for all")
    _must_end(frame, b"\xff\xd9", "EOC")
    styles = read_styles(frame, start, count)
    arrays, reversible = styles.arrays, styles.reversible
    precision, signed = (parts[0][0] & 0x7F) + 1, bool(parts[0][0] & 0x80)
    if arrays:
        image = part2.read_transform(frame, start)
        precision, signed = image.precision, image.signed
    high_throughput = bool(capabilities & 0x4000)
    return Codestream(
        coding=_jpeg_2000_coding(high_throughput, arrays),
        process=f"JPEG 2000 {'5/3' if reversible else '9/7'}" + ", arrays" * arrays,
        rows=y1 - y0,
        columns=x1 - x0,
        components=count,
        precision=precision,
        signed=signed,
        lossy=not reversible,
        sampling=tuple((dx, dy) for _, dx, dy in parts),
        transform=styles.transform and not arrays,
        start=start,
        end=styles.end,
        notes=_jpeg_2000_notes(start, styles.end),
    )


def _jpeg_2000_notes(start: int, end: int) -> tuple[str, ...]:
    notes = ("the codestream stands in a JP2 wrapper",) if start else ()
    return (*notes, "a comment behind the last tile-part was passed over") if end else notes


def _jpeg_2000_coding(high_throughput: bool, arrays: bool) -> Coding | None:
    if high_throughput:
        return None if arrays else Coding.HTJ2K
    return Coding.JPEG_2000_ARRAYS if arrays else Coding.JPEG_2000


def _jpeg_xl(frame: Any) -> Codestream:
    head = jpeg_xl.read_head(frame)
    lossy = head.xyb or head.recompressed or head.ycc or head.modular is False
    return Codestream(
        coding=Coding.JPEG_XL,
        process=f"JPEG XL, {_jpeg_xl_process(head)}",
        rows=head.rows,
        columns=head.columns,
        components=head.components,
        precision=head.precision,
        lossy=lossy,
        as_labelled=not lossy,
        transform=head.transformed,
    )


def _jpeg_xl_process(head: jpeg_xl.Head) -> str:
    if head.recompressed:
        return "JPEG recompressed"
    colours = "XYB" if head.xyb else "YCbCr" if head.ycc else "not transformed"
    mode = {True: ", modular", False: ", VarDCT", None: ""}[head.modular]
    return colours + mode


def rle_segments(frame: Any) -> list[tuple[int, int]]:
    """(offset, end) of each segment of an RLE frame, PS3.5 G.5. Raises PermanentFailure."""
    if len(frame) < 64:
        _refuse("an RLE frame shorter than its header of 64 bytes")
    count, *offsets = unpack_from("<16I", frame, 0)
    if not 1 <= count <= 15:
        _refuse(f"an RLE header with {count} segments; 1 to 15 are possible")
    bounds = [*offsets[:count], len(frame)]
    if bounds[0] < 64 or any(a > b for a, b in itertools.pairwise(bounds)):
        _refuse("an RLE header whose segment offsets do not ascend within the frame")
    return list(itertools.pairwise(bounds))
