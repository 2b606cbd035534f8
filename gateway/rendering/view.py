"""How a picture is to be looked at: what PS3.18 8.3.5 lets a client choose."""

from dataclasses import dataclass
from typing import Final

LINEAR: Final = "LINEAR"
LINEAR_EXACT: Final = "LINEAR_EXACT"
SIGMOID: Final = "SIGMOID"
"""The VOI LUT Functions (PS3.3 C.11.2.1.3)."""

PATIENT: Final = "patient"
TECHNIQUE: Final = "technique"


@dataclass(frozen=True, slots=True)
class Window:
    """A VOI window (PS3.3 C.11.2.1.2), in units of the Modality LUT's output."""

    center: float
    width: float
    function: str = LINEAR


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the source picture: origin and size in its pixels, or as shares of its size.

    ``width`` and ``height`` None reach to the right and lower edge.
    """

    x: float = 0.0
    y: float = 0.0
    width: float | None = None
    height: float | None = None
    shares: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """What is asked of a picture.

    ``viewport`` (width, height) in pixels is filled as far as it goes without distortion, 0 is no
    bound; a picture that is smaller stays so unless ``enlarge``. ``mirrored`` and ``upended`` are
    flips left to right and top to bottom. ``quality`` is JPEG's, 1 to 100. ``annotations`` are
    burnt in. ``icc`` is "no", "yes" or "srgb" (PS3.18 8.3.5.1.5).
    """

    window: Window | None = None
    viewport: tuple[int, int] = (0, 0)
    region: Region | None = None
    mirrored: bool = False
    upended: bool = False
    enlarge: bool = True
    quality: int = 90
    annotations: tuple[str, ...] = ()
    icc: str = "no"
