"""JPEG 2000 Part 2: component transforms given as arrays (ISO/IEC 15444-2 Annex J, A.3.6-A.3.9).

OpenJPEG refuses such codestreams. So the marker segments MCT, MCC, MCO and CBD are taken out, a
Part 1 decoder gives the components as they are coded, and the transform is undone here. The
header that it reads has guard bits turned into headroom, so that what exceeds the range of the
image before the transform is undone is not clipped; what still reaches its ends is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from struct import pack, unpack_from
from typing import TYPE_CHECKING, Any, Final, NoReturn

from gateway.failures import PermanentFailure

if TYPE_CHECKING:
    from gateway.transcode.form import Samples

_SIZ, _COD, _COC, _QCD, _QCC, _SOT = 0x51, 0x52, 0x53, 0x5C, 0x5D, 0x90
_MCT, _MCC, _MCO, _CBD = 0x74, 0x75, 0x77, 0x78
_OURS: Final = (_MCT, _MCC, _MCO, _CBD)
_MAX_SEGMENTS: Final = 4_000
_FRACTION: Final = 4
"""Bits after the point that are kept of irreversible components."""
_REVERSIBLE_BITS: Final = 24
_AT_ONCE: Final = 1 << 14
"""Pixels whose components are transformed at once."""
_ELEMENTS: Final = (">i2", ">i4", ">f4", ">f8")
_DECORRELATION, _OFFSET = 1, 2


@dataclass(frozen=True, slots=True)
class Collection:
    """Components ``inputs`` become ``outputs`` by arrays, of which 0 is none."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    matrix: int
    offset: int


@dataclass(slots=True)
class Transform:
    """What a main header says of its component transform, and where its segments stand.

    ``coded`` is the depth of the components as coded, ``precision`` that of the image.
    """

    count: int = 0
    coded: int = 0
    precision: int = 0
    signed: bool = False
    reversible: bool = False
    segments: list[tuple[int, int, int]] = field(default_factory=list)
    arrays: dict[tuple[int, int], Any] = field(default_factory=dict)
    stages: dict[int, list[Collection]] = field(default_factory=dict)
    order: tuple[int, ...] = ()
    tiles: int = 0


def _refuse(why: str) -> NoReturn:
    raise PermanentFailure(f"JPEG 2000 Part 2: {why}: not decoded here")


def read_transform(frame: Any, start: int = 0) -> Transform:
    """The transform of the codestream at ``start``. Raises PermanentFailure for other kinds."""
    found = Transform()
    at = start + 2
    for _ in range(_MAX_SEGMENTS):
        fill, marker, length = unpack_from(">BBH", frame, at)
        if fill != 0xFF:
            _refuse(f"no marker at byte {at}")
        if marker == _SOT:
            found.tiles = at
            return _ordered(found)
        found.segments.append((marker, at, at + 2 + length))
        _read(found, marker, bytes(frame[at + 4 : at + 2 + length]))
        at += 2 + length
    _refuse("too many marker segments")


def _ordered(found: Transform) -> Transform:
    """``found``, after a look whether it says in which order its stages are undone."""
    if not found.order:
        _refuse("arrays without an order of component stages")
    if missing := set(found.order) - set(found.stages):
        _refuse(f"an order of component stages that names {min(missing)}, which is not there")
    return found


def _read(found: Transform, marker: int, body: bytes) -> None:
    if marker == _SIZ:
        found.count = unpack_from(">H", body, 34)[0]
        _depths(found, body[36 : 36 + 3 * found.count : 3])
        found.coded = found.precision
    elif marker == _COD:
        if body[4] & 1:
            _refuse("arrays beside the component transform of Part 1")
        found.reversible = body[9] == 1
    elif marker == _COC and (body[6 + (found.count > 256)] == 1) != found.reversible:
        _refuse("components of different wavelets")
    elif marker == _CBD:
        count = unpack_from(">H", body, 0)[0]
        if count & 0x7FFF != found.count:
            _refuse("an image of more or fewer components than are coded")
        _depths(found, body[2:3] if count & 0x8000 else body[2 : 2 + count])
    elif marker == _MCT:
        _array(found, body)
    elif marker == _MCC:
        found.stages[body[2]] = _collections(body)
    elif marker == _MCO:
        found.order = tuple(body[1 : 1 + body[0]])


def _depths(found: Transform, depths: bytes) -> None:
    if len(set(depths)) != 1:
        _refuse("components of different depths")
    found.precision, found.signed = (depths[0] & 0x7F) + 1, bool(depths[0] & 0x80)


def _array(found: Transform, body: bytes) -> None:
    """One array (A.3.7): its index, its kind and its elements."""
    import numpy as np

    part, index, parts = unpack_from(">HHH", body, 0)
    if part or parts:
        _refuse("an array in several marker segments")
    kind, element = index >> 8 & 3, _ELEMENTS[index >> 10 & 3]
    size = np.dtype(element).itemsize
    values = np.frombuffer(body[6 : 6 + (len(body) - 6) // size * size], element)
    found.arrays[kind, index & 0xFF] = values.astype(np.float64)


def _collections(body: bytes) -> list[Collection]:
    """The component collections of one stage (A.3.8)."""
    part, _, parts, count = unpack_from(">HBHH", body, 0)
    if part or parts:
        _refuse("a stage in several marker segments")
    at, found = 7, []
    for _ in range(count):
        if body[at] & 3 != 1:
            _refuse("a component transform by dependencies or by wavelets")
        inputs, at = _components(body, at + 1)
        outputs, at = _components(body, at)
        flags, offset, matrix = body[at : at + 3]
        at += 3
        if flags & 1:
            _refuse("a reversible component transform by arrays")
        found.append(Collection(inputs, outputs, matrix, offset))
    return found


def _components(body: bytes, at: int) -> tuple[tuple[int, ...], int]:
    count = unpack_from(">H", body, at)[0]
    wide, count = count >> 15, count & 0x7FFF
    end = at + 2 + count * (2 if wide else 1)
    return unpack_from(f">{count}{'H' if wide else 'B'}", body, at + 2), end


def undo(frame: Any, decode: Callable[[bytes], "Samples"]) -> "Samples":
    """The image's samples, (rows, columns, components), by a Part 1 decoder and the arrays.

    Raises PermanentFailure where coded components reach the ends of what was kept of them.
    """
    import numpy as np

    found = read_transform(frame)
    plain, depth, scale = _plain(frame, found)
    coded = decode(plain)
    limit = (1 << (depth - 1)) - 1
    if int(coded.max()) >= limit or int(coded.min()) < -limit:
        _refuse("components beyond the range that their quantisation allows for")
    low = -(1 << (found.precision - 1)) if found.signed else 0
    top = low + (1 << found.precision) - 1
    kind = ("i" if found.signed else "u") + str(_width(found.precision))
    whole: Samples = np.empty(coded.shape, kind)
    lines, out = coded.reshape(-1, found.count), whole.reshape(-1, found.count)
    for start in range(0, len(lines), _AT_ONCE):
        values = lines[start : start + _AT_ONCE].astype(np.float64) / scale
        for index in found.order:
            values = _stage(found, found.stages[index], values)
        out[start : start + _AT_ONCE] = np.clip(np.rint(values), low, top)
    return whole


def _width(bits: int) -> int:
    return 1 if bits <= 8 else 2 if bits <= 16 else 4


def _stage(found: Transform, stage: list[Collection], values: "Samples") -> "Samples":
    out = values.copy()
    for one in stage:
        if max((*one.inputs, *one.outputs), default=0) >= found.count:
            _refuse("a collection of components that are not there")
        part = values[:, one.inputs]
        if one.matrix:
            part = part @ _matrix(found, one).T
        if one.offset:
            part = part + _offsets(found, one)
        out[:, one.outputs] = part
    return out


def _matrix(found: Transform, one: Collection) -> "Samples":
    values = found.arrays.get((_DECORRELATION, one.matrix))
    if values is None or len(values) != len(one.outputs) * len(one.inputs):
        _refuse("a decorrelation array that is missing or of another size")
    matrix: Samples = values.reshape(len(one.outputs), len(one.inputs))
    return matrix


def _offsets(found: Transform, one: Collection) -> "Samples":
    values: Samples | None = found.arrays.get((_OFFSET, one.offset))
    if values is None or len(values) != len(one.outputs):
        _refuse("an offset array that is missing or of another size")
    return values


def _plain(frame: Any, found: Transform) -> tuple[bytes, int, int]:
    """A Part 1 codestream of signed components; their depth, and by how much they are scaled."""
    guard = min(
        (frame[at + (4 if marker == _QCD else 5 + (found.count > 256))] >> 5
         for marker, at, _ in found.segments if marker in (_QCD, _QCC)),
        default=0,
    )  # fmt: skip
    depth = _REVERSIBLE_BITS if found.reversible else found.coded + guard + _FRACTION
    out = [bytes(frame[:2])]
    for marker, at, end in found.segments:
        if marker in _OURS:
            continue
        segment = bytearray(frame[at:end])
        if marker == _SIZ:
            segment[4:6] = b"\0\0"
            segment[40 : 40 + 3 * found.count : 3] = bytes([0x80 | (depth - 1)]) * found.count
        elif marker == _COD:
            segment[8] = 0
        elif marker in (_QCD, _QCC) and not found.reversible:
            _widen(segment, 4 if marker == _QCD else 5 + (found.count > 256), guard)
        out.append(bytes(segment))
    out.append(bytes(frame[found.tiles :]))
    return b"".join(out), depth, 1 if found.reversible else 1 << _FRACTION


def _widen(segment: bytearray, at: int, bits: int) -> None:
    """Guard bits become exponent (15444-1 E.1, A.6.4): the same bit planes, a greater range."""
    style = segment[at]
    segment[at] = style - (bits << 5)
    for place in range(at + 1, len(segment) - 1, 2):
        value = unpack_from(">H", segment, place)[0] + (bits << 11)
        if value > 0xFFFF:
            _refuse("exponents of quantisation too great to widen")
        segment[place : place + 2] = pack(">H", value)
