"""Which part of a picture is shown, and how large: region, viewport, square pixels (PS3.18 8.3.5).

Everything here is numbers; no pixel is touched.
"""

from dataclasses import dataclass
from typing import Final

from gateway.rendering.refusals import WrongParameter
from gateway.rendering.view import Region, View

MOST_PIXELS: Final = 1 << 27
"""Pixels of a picture that is made."""
LONGEST: Final = 65_500
"""Pixels along a side, which is what a JPEG can have."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The part [top, bottom) by [left, right) of a frame, shown ``width`` by ``height``."""

    left: int
    top: int
    right: int
    bottom: int
    width: int
    height: int

    @property
    def reduction(self) -> int:
        """By how much the part is averaged before it is scaled: half of what is asked for."""
        across, down = (
            (self.right - self.left) / self.width,
            (self.bottom - self.top) / self.height,
        )
        return max(1, int(min(across, down) / 2))


def placed(rows: int, columns: int, aspect: float, view: View) -> Placement:
    """Where a frame whose pixels are ``aspect`` times as high as wide goes.

    Raises WrongParameter for a region outside the frame and for a picture too large.
    """
    left, top, right, bottom = _part(rows, columns, view.region)
    width, height = float(right - left), float(bottom - top)
    if aspect >= 1:
        height *= aspect
    else:
        width /= aspect
    scale = _scale(width, height, view)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size[0] * size[1] > MOST_PIXELS or max(size) > LONGEST:
        raise WrongParameter(
            f"parameter viewport: the picture would have {size[0]} x {size[1]} pixels, at most "
            f"{MOST_PIXELS} and {LONGEST} along a side are made; ask for a smaller viewport"
        )
    return Placement(left, top, right, bottom, *size)


def _scale(width: float, height: float, view: View) -> float:
    """As large as the viewport allows without distortion (PS3.18 8.3.5.1.3)."""
    bounds = [
        bound / side for bound, side in zip(view.viewport, (width, height), strict=True) if bound
    ]
    scale = min(bounds, default=1.0)
    return scale if view.enlarge else min(scale, 1.0)


def _part(rows: int, columns: int, region: Region | None) -> tuple[int, int, int, int]:
    """The region in whole pixels, cut at the frame's edges."""
    if region is None:
        return 0, 0, columns, rows
    across, down = (columns, rows) if region.shares else (1, 1)
    left, top = region.x * across, region.y * down
    width = columns - left if region.width is None else region.width * across
    height = rows - top if region.height is None else region.height * down
    box = round(left), round(top), round(left + width), round(top + height)
    first, second = min(box[0], columns), min(box[1], rows)
    third, fourth = min(box[2], columns), min(box[3], rows)
    if region.shares:
        third, fourth = max(third, first + 1), max(fourth, second + 1)
        first, second = min(first, columns - 1), min(second, rows - 1)
        third, fourth = min(third, columns), min(fourth, rows)
    if first >= third or second >= fourth:
        name = "region" if region.shares else "viewport"
        raise WrongParameter(
            f"parameter {name}: the region lies outside the picture of {columns} x {rows} pixels"
        )
    return first, second, third, fourth
