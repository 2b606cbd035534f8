"""The query parameters of rendered resources (PS3.18 8.3.5, 9.4) read into a View.

Parameters that are not known are passed over, as the standard wants; a wrong value is refused
with the parameter's name and what is allowed. Keywords count in any case.
"""

import math
from collections.abc import Mapping
from typing import Final

from gateway.rendering.refusals import WrongParameter
from gateway.rendering.view import (
    LINEAR,
    LINEAR_EXACT,
    PATIENT,
    SIGMOID,
    TECHNIQUE,
    Region,
    View,
    Window,
)

LARGEST: Final = 16384
"""Pixels along a side of a viewport."""
THUMBNAIL: Final = 256
_FUNCTIONS: Final = {"linear": LINEAR, "linear-exact": LINEAR_EXACT, "sigmoid": SIGMOID}
_PROFILES: Final = ("no", "yes", "srgb")
_VIEWPORT: Final = (
    f"vw,vh[,sx,sy,sw,sh]: whole numbers from 1 to {LARGEST}, then the region's origin, not "
    "negative, and its size, negative to flip it"
)


def rendered_view(query: Mapping[str, str]) -> View:
    """What a request for ``…/rendered`` asks for (PS3.18 8.3.5.1). Raises WrongParameter."""
    viewport, region, mirrored, upended = _viewport(query)
    return View(
        window=_window(query),
        viewport=viewport,
        region=region,
        mirrored=mirrored,
        upended=upended,
        quality=_whole(query, "quality", 90, 100),
        annotations=_annotations(query, "annotation"),
        icc=_profile(query),
    )


def thumbnail_view(query: Mapping[str, str]) -> View:
    """What a request for ``…/thumbnail`` asks for (PS3.18 8.3.5.2): its viewport alone."""
    if "viewport" not in query:
        return View(viewport=(THUMBNAIL, THUMBNAIL), enlarge=False)
    if query["viewport"].count(",") != 1:
        raise _wrong("viewport", query["viewport"], "of a thumbnail is vw,vh")
    return View(viewport=_viewport(query)[0])


def wado_uri_view(query: Mapping[str, str]) -> View:
    """What a WADO-URI request asks for (PS3.18 9.4). Raises WrongParameter.

    ``rows`` and ``columns`` bound the picture, ``region`` is in shares of the picture.
    """
    for name in ("presentationUID", "presentationSeriesUID"):
        if name in query:
            raise WrongParameter(
                f"parameter {name}: presentation states are not applied here; ask without it"
            )
    return View(
        window=_uri_window(query),
        viewport=(_whole(query, "columns", 0, LARGEST), _whole(query, "rows", 0, LARGEST)),
        region=_uri_region(query),
        quality=_whole(query, "imageQuality", 90, 100),
        annotations=_annotations(query, "annotation"),
        icc=_profile(query),
    )


def wado_uri_frame(query: Mapping[str, str]) -> int | None:
    """The ``frameNumber`` of a WADO-URI request, from 1; None where none is named."""
    return _whole(query, "frameNumber", 0, 2**31 - 1) or None


def _wrong(name: str, value: str, allowed: str) -> WrongParameter:
    return WrongParameter(f"parameter {name}={value[:64]!r}: {name} {allowed}")


def _number(name: str, value: str, text: str, allowed: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or "_" in text:
        raise _wrong(name, value, allowed)
    return number


def _whole(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """A whole number from 1 to ``most``."""
    if name not in query:
        return default
    text = query[name].strip()
    if not (text.isascii() and text.isdigit() and len(text) < 12 and 1 <= int(text) <= most):
        raise _wrong(name, query[name], f"is a whole number from 1 to {most}")
    return int(text)


def _window(query: Mapping[str, str]) -> Window | None:
    if "window" not in query:
        return None
    text, allowed = query["window"], f"is center,width,function with one of {_names(_FUNCTIONS)}"
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 2:
        parts.append("linear")
    if len(parts) != 3 or parts[2].lower() not in _FUNCTIONS:
        raise _wrong("window", text, allowed)
    center, width = (_number("window", text, part, allowed) for part in parts[:2])
    function = _FUNCTIONS[parts[2].lower()]
    _check_width("window", text, width, function)
    return Window(center, width, function)


def _check_width(name: str, text: str, width: float, function: str) -> None:
    """PS3.3 C.11.2.1.2.1, C.11.2.1.3."""
    if function == LINEAR and width < 1:
        raise _wrong(name, text, "of the function linear has a width of 1 or more")
    if width <= 0:
        raise _wrong(name, text, "has a width of more than 0")


def _uri_window(query: Mapping[str, str]) -> Window | None:
    names = ("windowCenter", "windowWidth")
    given = [name for name in names if name in query]
    if not given:
        return None
    if len(given) == 1:
        raise WrongParameter(f"parameter {given[0]}: windowCenter and windowWidth come together")
    center, width = (
        _number(name, query[name], query[name].strip(), "is a decimal number") for name in names
    )
    _check_width("windowWidth", query["windowWidth"], width, LINEAR)
    return Window(center, width)


def _viewport(
    query: Mapping[str, str],
) -> tuple[tuple[int, int], Region | None, bool, bool]:
    """(size, region of the source, mirrored, upended); values of the region may be left out."""
    if "viewport" not in query:
        return (0, 0), None, False, False
    text, allowed = query["viewport"], f"is {_VIEWPORT}"
    parts = [part.strip() for part in text.split(",")]
    if not (len(parts) == 2 or len(parts) == 6):
        raise _wrong("viewport", text, allowed)
    size = [_number("viewport", text, part, allowed) for part in parts[:2]]
    if any(not side.is_integer() or not 1 <= side <= LARGEST for side in size):
        raise _wrong("viewport", text, allowed)
    rest = [_number("viewport", text, part, allowed) if part else None for part in parts[2:]]
    x, y, width, height = rest or [None] * 4
    if (x or 0) < 0 or (y or 0) < 0 or width == 0 or height == 0:
        raise _wrong("viewport", text, allowed)
    region = Region(x or 0.0, y or 0.0, _size(width), _size(height)) if rest else None
    return (int(size[0]), int(size[1])), region, (width or 1) < 0, (height or 1) < 0


def _size(value: float | None) -> float | None:
    return None if value is None else abs(value)


def _uri_region(query: Mapping[str, str]) -> Region | None:
    """PS3.18 9.4.1: left, top, right, bottom as shares of the picture's size."""
    if "region" not in query:
        return None
    text, allowed = query["region"], "is left,top,right,bottom, from 0.0 to 1.0 and ascending"
    parts = [_number("region", text, part.strip(), allowed) for part in text.split(",")]
    if len(parts) != 4 or not (0 <= parts[0] < parts[2] <= 1 and 0 <= parts[1] < parts[3] <= 1):
        raise _wrong("region", text, allowed)
    left, top, right, bottom = parts
    return Region(left, top, right - left, bottom - top, shares=True)


def _annotations(query: Mapping[str, str], name: str) -> tuple[str, ...]:
    if name not in query:
        return ()
    asked = {part.strip().lower() for part in query[name].split(",")}
    if not asked <= {PATIENT, TECHNIQUE}:
        raise _wrong(name, query[name], f"is a list of {PATIENT} and {TECHNIQUE}")
    return tuple(each for each in (PATIENT, TECHNIQUE) if each in asked)


def _profile(query: Mapping[str, str]) -> str:
    profile = query.get("iccprofile", "no").strip().lower()
    if profile not in _PROFILES:
        allowed = f"is here one of {_names(_PROFILES)}"
        raise _wrong("iccprofile", query["iccprofile"], allowed)
    return profile


def _names(of: Mapping[str, str] | tuple[str, ...]) -> str:
    return ", ".join(of)
