"""One frame as a picture: its part, its greys or colours, its size, its orientation.

Frames are gone through in bands of rows, and averaged on the way where the picture is smaller,
so that memory is that of the picture and a band, whatever the frame's size.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from gateway.rendering.annotation import annotate
from gateway.rendering.attributes import Attributes
from gateway.rendering.colour import colours, is_grey
from gateway.rendering.display import pixel_aspect, read_display, windowed
from gateway.rendering.geometry import Placement, placed
from gateway.rendering.grey import Occurring, shade
from gateway.rendering.samples import Frames
from gateway.rendering.view import View

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BAND: Final = 1 << 21
"""Pixels that are worked on at once."""


class Camera:
    """Makes pictures of an object's frames, all with one view.

    ``numbers`` are the frames, from 0, whose values are looked at for the range of greys where
    neither object nor client name a window; the first of them tells the shape of pixels, so that
    all pictures have one size. The methods raise what reading frames raises.
    """

    def __init__(
        self, frames: Frames, attributes: Attributes, view: View, numbers: Sequence[int]
    ) -> None:
        self._frames, self._attributes, self._view = frames, attributes, view
        self._numbers = numbers
        self._occurring = Occurring(frames.depth, self._all_bands)
        self._aspect = pixel_aspect(attributes, numbers[0])
        self._last: tuple[int, NDArray[Any]] | None = None

    def picture(self, number: int) -> Image.Image:
        """The picture of one frame, from 0: of mode L for greys, RGB for colours."""
        header = self._frames.header
        placement = placed(header.rows, header.columns, self._aspect, self._view)
        image = _scaled(self._reduced(number, placement), placement)
        if self._view.mirrored:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if self._view.upended:
            image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        annotate(image, self._attributes, self._view.annotations)
        return image

    def _reduced(self, number: int, place: Placement) -> Image.Image:
        """The part that is shown, averaged by the placement's reduction."""
        develop = self._developer(number)
        samples = self._samples(number)[place.top : place.bottom, place.left : place.right]
        factor = place.reduction
        mode = "L" if is_grey(self._frames) else "RGB"
        size = -(-samples.shape[1] // factor), -(-samples.shape[0] // factor)
        whole = Image.new(mode, size)
        for row, band in _bands(samples, factor):
            piece = Image.fromarray(np.ascontiguousarray(develop(band)))
            whole.paste(piece.reduce(factor) if factor > 1 else piece, (0, row // factor))
        return whole

    def _developer(self, number: int) -> "Callable[[NDArray[Any]], NDArray[np.uint8]]":
        if not is_grey(self._frames):
            return colours(self._frames)
        photometric = self._frames.header.photometric
        display = read_display(self._attributes, number, photometric)
        return shade(windowed(display, self._view.window), self._occurring)

    def _all_bands(self) -> "Iterator[NDArray[Any]]":
        for number in self._numbers:
            for _, band in _bands(self._samples(number), 1):
                yield band

    def _samples(self, number: int) -> "NDArray[Any]":
        """The last frame is kept: its range is asked for, then its pixels."""
        if self._last is None or self._last[0] != number:
            self._last = None
            self._last = number, self._frames.frame(number)
        return self._last[1]


def _bands(samples: "NDArray[Any]", factor: int) -> "Iterator[tuple[int, NDArray[Any]]]":
    """(first row, rows) in pieces whose height is a multiple of ``factor``."""
    step = max(1, _BAND // max(1, samples.shape[1]) // factor) * factor
    for row in range(0, samples.shape[0], step):
        yield row, samples[row : row + step]


def _scaled(image: Image.Image, place: Placement) -> Image.Image:
    size = place.width, place.height
    if image.size == size:
        return image
    smaller = size[0] < image.width
    how = Image.Resampling.LANCZOS if smaller else Image.Resampling.BICUBIC
    return image.resize(size, how)
