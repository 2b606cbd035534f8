"""JPEG 2000 Part 2 codestreams by hand: components transformed here, marker segments put in.

OpenJPEG 2.5 writes such segments too (opj_set_MCT), but what it codes under them is not the
transformed image: its array transform leaves integers where its 9/7 wavelet reads floats.
"""

from collections.abc import Sequence
from struct import pack

import imagecodecs
import numpy as np

_ELEMENTS = ("i2", "i4", "f4", "f8")


def with_arrays(
    image: np.ndarray,
    bits: int,
    matrix: np.ndarray,
    offset: Sequence[float] = (),
    *,
    reversible_wavelet: bool = True,
    element: str = "f4",
    groups: Sequence[Sequence[int]] = (),
) -> bytes:
    """``image`` (rows, columns, components) of ``bits`` bits, coded so that ``matrix`` times the
    coded components, plus ``offset``, gives it back. ``groups`` are the collections of one stage.
    """
    count = image.shape[2]
    groups = groups or [range(count)]
    coded = image.astype(float) - (np.array(offset) if len(offset) else 0.0)
    flat = coded.reshape(-1, count)
    for group in groups:
        flat[:, list(group)] = flat[:, list(group)] @ np.linalg.inv(matrix).T
    whole = np.rint(flat).astype("i4").reshape(image.shape)
    depth = int(np.abs(whole).max()).bit_length() + 1
    stream = imagecodecs.jpeg2k_encode(
        whole.astype("i2" if depth <= 16 else "i4"),
        level=0 if reversible_wavelet else 90,
        codecformat="j2k",
        mct=False,
        reversible=reversible_wavelet,
        bitspersample=depth,
    )
    return spliced(stream, segments(image, bits, matrix, offset, element, groups))


def spliced(stream: bytes, segments: bytes, *, kind: int = 2) -> bytes:
    """A codestream with extension segments before its first tile (15444-2 A.2.1, A.2.3)."""
    changed = bytearray(stream)
    changed[6:8] = b"\x81\x00"  # Rsiz: extensions, multiple component transforms
    cod = stream.index(b"\xff\x52")
    changed[cod + 8] = kind
    tile = stream.index(b"\xff\x90")
    return bytes(changed[:tile]) + segments + bytes(changed[tile:])


def segments(
    image: np.ndarray,
    bits: int,
    matrix: np.ndarray,
    offset: Sequence[float],
    element: str,
    groups: Sequence[Sequence[int]],
    *,
    flags: int = 0,
    collection: int = 1,
) -> bytes:
    """CBD, MCT, MCC and MCO of one stage."""
    sign = 0x80 if image.dtype.kind == "i" else 0
    code = _ELEMENTS.index(element) << 10
    cbd = pack(">HB", 0x8000 | image.shape[2], sign | (bits - 1))
    first = pack(">HHH", 0, code | 1 << 8 | 1, 0) + matrix.astype(f">{element}").tobytes()
    parts = [(0x78, cbd), (0x74, first)]
    if len(offset):
        array = np.array(offset).astype(f">{element}").tobytes()
        parts.append((0x74, pack(">HHH", 0, code | 2 << 8 | 2, 0) + array))
    mcc = pack(">HBHH", 0, 3, 0, len(groups))
    for group in groups:
        indices = pack(">H", len(group)) + bytes(group)
        mcc += bytes([collection]) + indices + indices + bytes([flags, 2 if len(offset) else 0, 1])
    parts += [(0x75, mcc), (0x77, bytes([1, 3]))]
    return b"".join(pack(">BBH", 0xFF, kind, len(body) + 2) + body for kind, body in parts)
