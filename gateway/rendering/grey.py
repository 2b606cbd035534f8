"""Stored values to greys: Modality LUT, VOI LUT, Presentation LUT Shape (PS3.4 N.2.1).

Values of up to 16 bits go through one table of all values there can be; deeper ones and floats
are computed band by band.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from gateway.rendering.display import Display
from gateway.rendering.samples import Depth
from gateway.rendering.view import LINEAR, SIGMOID, Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bands: TypeAlias = Iterable[NDArray[Any]]
    Shade: TypeAlias = Callable[[NDArray[Any]], NDArray[np.uint8]]

_WHITE: Final = 255.0


class Occurring:
    """The values that occur in samples, looked for once, and only where they count.

    ``bands`` goes over all samples, in pieces.
    """

    def __init__(self, depth: Depth, bands: "Callable[[], Bands]") -> None:
        self.depth, self._bands = depth, bands
        self._found: NDArray[Any] | None = None

    def values(self, padding: tuple[float, float] | None) -> "NDArray[Any]":
        """Up to 16 bits: each of them; else the least and greatest. None is in ``padding``;
        where there are no others, 0. Always the same ``padding`` is asked for.
        """
        if self._found is None:
            by_table = self.depth.kind != "f" and self.depth.allocated <= 16
            self._found = self._counted(padding) if by_table else self._ends(padding)
        return self._found

    def _counted(self, padding: tuple[float, float] | None) -> "NDArray[Any]":
        values = self.depth.all_values()
        counts = np.zeros(len(values), np.int64)
        for band in self._bands():
            counts += np.bincount(self.depth.unsigned(band).reshape(-1), minlength=len(values))
        found = _without_padding(values[counts > 0], padding)
        return found if found.size else np.zeros(1)

    def _ends(self, padding: tuple[float, float] | None) -> "NDArray[Any]":
        low, high = np.inf, -np.inf
        for band in self._bands():
            values = self.depth.values(band)
            values = _without_padding(values[np.isfinite(values)], padding)
            if values.size:
                low, high = min(low, float(values.min())), max(high, float(values.max()))
        return np.array([low, high] if low <= high else [0.0, 0.0])


def shade(display: Display, occurring: Occurring) -> "Shade":
    """What turns bands of stored samples into greys, 0 black and 255 white."""
    depth = occurring.depth
    low, high = _range(display, occurring)
    if depth.kind == "f" or depth.allocated > 16:
        return lambda samples: _greys(display, low, high, depth.values(samples))
    table = _greys(display, low, high, depth.all_values())
    return lambda samples: table[depth.unsigned(samples)]


def _greys(
    display: Display, low: float, high: float, stored: "NDArray[Any]"
) -> "NDArray[np.uint8]":
    values = _modality(display, stored)
    if display.lut is not None:
        shown = display.lut.look_up(values) / ((1 << display.lut.bits) - 1)
    elif display.window is not None:
        shown = _through(display.window, values)
    else:
        shown = (values - low) / (high - low) if high > low else np.zeros(values.shape)
    shown = np.nan_to_num(np.clip(shown, 0, 1))
    return np.rint((1 - shown if display.inverted else shown) * _WHITE).astype(np.uint8)


def _modality(display: Display, stored: "NDArray[Any]") -> "NDArray[np.float64]":
    """PS3.3 C.11.1: the table, or slope and intercept."""
    if display.modality is not None:
        return display.modality.look_up(stored).astype(np.float64)
    return stored.astype(np.float64) * display.slope + display.intercept


def _through(window: Window, values: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """PS3.3 C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2, from 0 to 1."""
    center, width = window.center, window.width
    if window.function == SIGMOID:
        return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
    if window.function != LINEAR:
        return (values - center) / width + 0.5
    if width <= 1:
        return np.where(values > center - 0.5, 1.0, 0.0)
    return (values - (center - 0.5)) / (width - 1) + 0.5


def _range(display: Display, occurring: Occurring) -> tuple[float, float]:
    """The least and greatest output of the Modality LUT that counts, where there is no VOI."""
    if display.lut is not None or display.window is not None:
        return 0.0, 0.0
    if display.top is not None:
        used = np.array([0, display.top])
    elif occurring.depth.stored <= 8:
        used = occurring.depth.range()
    else:
        used = occurring.values(display.padding)
    shown = _modality(display, used)
    return float(shown.min()), float(shown.max())


def _without_padding(
    values: "NDArray[Any]", padding: tuple[float, float] | None
) -> "NDArray[Any]":
    """The values that stand for pixels."""
    if padding is None:
        return values
    low, high = padding
    return values[(values < low) | (values > high)]
