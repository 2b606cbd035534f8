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


def shade(display: Display, depth: Depth, bands: "Callable[[], Bands]") -> "Shade":
    """What turns bands of stored samples into greys, 0 black and 255 white.

    ``bands`` goes over all samples, in pieces: it is asked for only where their range counts.
    """
    if depth.kind == "f" or depth.allocated > 16:
        low, high = _range_of_deep(display, depth, bands)
        return lambda samples: _greys(display, low, high, depth.values(samples))
    values = depth.all_values()
    low, high = _range_of_table(display, depth, bands, values)
    table = _greys(display, low, high, values)
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


def _needs_range(display: Display) -> bool:
    return display.lut is None and display.window is None


def _range_of_table(
    display: Display, depth: Depth, bands: "Callable[[], Bands]", values: "NDArray[Any]"
) -> tuple[float, float]:
    """The least and greatest output of the Modality LUT that counts."""
    if not _needs_range(display):
        return 0.0, 0.0
    if display.top is not None:
        used = np.array([0, display.top])
    elif depth.stored <= 8:
        used = np.unique(values)
    else:
        counts = np.zeros(len(values), np.int64)
        for band in bands():
            counts += np.bincount(depth.unsigned(band).reshape(-1), minlength=len(values))
        used = _without_padding(display, values[counts > 0])
    shown = _modality(display, used)
    return float(shown.min()), float(shown.max())


def _without_padding(display: Display, values: "NDArray[Any]") -> "NDArray[Any]":
    """The values that stand for pixels; all, where none would be left."""
    if display.padding is None:
        return values
    low, high = display.padding
    kept = values[(values < low) | (values > high)]
    return kept if kept.size else values


def _range_of_deep(
    display: Display, depth: Depth, bands: "Callable[[], Bands]"
) -> tuple[float, float]:
    if not _needs_range(display):
        return 0.0, 0.0
    low, high = np.inf, -np.inf
    for band in bands():
        values = depth.values(band)
        values = _without_padding(display, values[np.isfinite(values)])
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    if low > high:
        return 0.0, 0.0
    ends = _modality(display, np.array([low, high]))
    return float(ends.min()), float(ends.max())
