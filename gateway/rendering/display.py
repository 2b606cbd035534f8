"""What an object says about how its frames are displayed: PS3.3 C.11.1, C.11.2, C.7.6.16.2.

Attributes stand at the top level, or, in enhanced objects, in the functional groups of a frame or
of all frames; the frame's own count first.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from gateway.rendering.attributes import Attributes
from gateway.rendering.view import LINEAR, LINEAR_EXACT, SIGMOID, Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHARED_GROUPS: Final = 0x52009229
FRAME_GROUPS: Final = 0x52009230
_TRANSFORMATION: Final = 0x00289145
_FRAME_VOI: Final = 0x00289132
_MEASURES: Final = 0x00289110
_INTERCEPT, _SLOPE = 0x00281052, 0x00281053
_CENTER, _WIDTH, _FUNCTION = 0x00281050, 0x00281051, 0x00281056
_MODALITY_LUT, _VOI_LUT = 0x00283000, 0x00283010
_DESCRIPTOR, _LUT_DATA = 0x00283002, 0x00283006
_PADDING: Final = (0x00280120, 0x00280122, 0x00280123)
_PADDING_LIMIT: Final = (0x00280121, 0x00280124, 0x00280125)
_SHAPE: Final = 0x20500020
_SPACINGS: Final = (0x00280030, 0x00181164, 0x00182010)
_ASPECT: Final = 0x00280034
_OPTICAL_PATHS, _ICC = 0x00480105, 0x00282000
_MOST_FRACTIONAL: Final = 0x0062000E


@dataclass(frozen=True, slots=True)
class Lut:
    """A lookup table: ``data`` for input values from ``first`` on, of ``bits`` bits each.

    Values outside take its ends (PS3.3 C.11.1.1).
    """

    first: int
    data: "NDArray[np.uint16]"
    bits: int

    def look_up(self, values: "NDArray[Any]") -> "NDArray[np.uint16]":
        """The entries for these input values, of any numeric type."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.data) - 1)
        found: NDArray[np.uint16] = self.data[index.astype(np.intp)]
        return found


@dataclass(frozen=True, slots=True)
class Display:
    """How the stored values of one frame become greys.

    ``modality`` is a table, or None where ``slope`` and ``intercept`` count. Of the VOI, ``lut``
    goes before ``window``; both None: the frame's own range. ``padding`` is the range of values
    that stand for no pixel. ``top`` is the greatest value of a fractional segmentation.
    """

    slope: float = 1.0
    intercept: float = 0.0
    modality: Lut | None = None
    window: Window | None = None
    lut: Lut | None = None
    padding: tuple[float, float] | None = None
    inverted: bool = False
    top: float | None = None


def read_display(attributes: Attributes, frame: int, photometric: str) -> Display:
    """What holds for ``frame``, from 0."""
    places = [*_places(attributes, frame, _FRAME_VOI), attributes]
    transformed = next(_places(attributes, frame, _TRANSFORMATION), attributes)
    shape = attributes.text(_SHAPE).upper()
    return Display(
        slope=_or(transformed.number(_SLOPE), 1.0) or 1.0,
        intercept=_or(transformed.number(_INTERCEPT), 0.0),
        modality=_lut(attributes, _MODALITY_LUT),
        window=next((found for place in places if (found := _window(place))), None),
        lut=_lut(attributes, _VOI_LUT),
        padding=_padding(attributes),
        inverted=photometric == "MONOCHROME1" or shape == "INVERSE",
        top=attributes.number(_MOST_FRACTIONAL),
    )


def windowed(display: Display, window: Window | None) -> Display:
    """With the window that a client asked for in place of the object's own VOI."""
    return display if window is None else replace(display, window=window, lut=None)


def pixel_aspect(attributes: Attributes, frame: int) -> float:
    """Height of a pixel over its width; 1 where nothing sensible is said (PS3.3 C.7.6.3.1.7)."""
    measures = _places(attributes, frame, _MEASURES)
    pairs = [place.numbers(_SPACINGS[0]) for place in measures]
    pairs += [attributes.numbers(tag) for tag in (*_SPACINGS, _ASPECT)]
    for pair in pairs:
        if len(pair) == 2 and min(pair) > 0:
            aspect = pair[0] / pair[1]
            square = abs(aspect - 1) < 0.005 or not 0.02 <= aspect <= 50
            return 1.0 if square else aspect
    return 1.0


def icc_profile(attributes: Attributes) -> bytes | None:
    """The ICC profile of the object, or of its first optical path (PS3.3 C.11.15)."""
    path = attributes.item(_OPTICAL_PATHS)
    return attributes.raw(_ICC) or (path.raw(_ICC) if path else None) or None


def frame_milliseconds(attributes: Attributes) -> float:
    """For how long a frame of a moving picture is shown (PS3.3 C.7.6.5, C.12.1); default 100."""
    for tag, per_second in ((0x00181063, False), (0x00082144, True), (0x00180040, True)):
        value = attributes.number(tag) or 0
        if value > 0:
            return 1000 / value if per_second else value
    vector = [step for step in attributes.numbers(0x00181065)[1:] if step > 0]
    return sum(vector) / len(vector) if vector else 100.0


def _places(attributes: Attributes, frame: int, macro: int) -> Iterator[Attributes]:
    """The items of a functional group macro that hold for the frame."""
    for sequence, index in ((FRAME_GROUPS, frame), (SHARED_GROUPS, 0)):
        group = attributes.item(sequence, index)
        found = group.item(macro) if group else None
        if found is not None:
            yield found


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _window(place: Attributes) -> Window | None:
    """The first window, None where it makes no sense; a width below 1 can only be exact."""
    center, width = place.number(_CENTER), place.number(_WIDTH)
    if center is None or width is None or width <= 0:
        return None
    function = place.text(_FUNCTION).upper()
    if function not in (LINEAR_EXACT, SIGMOID):
        function = LINEAR if width >= 1 else LINEAR_EXACT
    return Window(center, width, function)


def _lut(attributes: Attributes, sequence: int) -> Lut | None:
    """The first table, of up to 65536 entries of 8 or 16 bits; None where it is not whole."""
    item = attributes.item(sequence)
    described = [int(number) for number in item.numbers(_DESCRIPTOR)] if item else []
    if item is None or len(described) != 3:
        return None
    count, first, bits = described[0] % 65536 or 65536, described[1], described[2]
    if attributes.signed and first >= 32768:
        first -= 65536
    raw = item.raw(_LUT_DATA) or b""
    if len(raw) >= 2 * count:
        data = np.frombuffer(raw, f"{attributes.order}u2", count=count).astype(np.uint16)
    elif bits <= 8 and len(raw) >= count:
        data = np.frombuffer(raw, "u1", count=count).astype(np.uint16)
    else:
        return None
    bits = max(bits if 8 <= bits <= 16 else 8, int(data.max()).bit_length())
    return Lut(first, data, bits)


def _padding(attributes: Attributes) -> tuple[float, float] | None:
    """Pixel Padding Value and Range Limit, also of floats (PS3.3 C.7.5.1.1.2)."""
    for tag, limit in zip(_PADDING, _PADDING_LIMIT, strict=True):
        value = attributes.number(tag)
        if value is not None:
            other = _or(attributes.number(limit), value)
            return min(value, other), max(value, other)
    return None
