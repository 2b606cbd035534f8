"""Texts burnt into a picture: who the patient is, how it was taken (PS3.18 8.3.5.1.1)."""

from typing import Final

from PIL import Image, ImageDraw, ImageFont

from gateway.rendering.attributes import Attributes
from gateway.rendering.refusals import WrongParameter
from gateway.rendering.view import PATIENT, TECHNIQUE

_PATIENT: Final = (
    ("", 0x00100010, ""),
    ("ID ", 0x00100020, ""),
    ("born ", 0x00100030, ""),
    ("sex ", 0x00100040, ""),
)
_TECHNIQUE: Final = (
    ("", 0x00080060, ""),
    ("", 0x0008103E, ""),
    ("", 0x00080022, ""),
    ("", 0x00180060, " kV"),
    ("", 0x00181152, " mAs"),
    ("slice ", 0x00180050, " mm"),
    ("TR ", 0x00180080, " ms"),
    ("TE ", 0x00180081, " ms"),
)
_LONGEST: Final = 64
_LAST_LETTER: Final = 0x17F
"""The font at hand has the letters of Latin-1 and Latin Extended-A."""
_LEAST: Final = 64
"""Pixels a picture must have along each side, for texts to be legible in it."""


def annotate(image: Image.Image, attributes: Attributes, asked: tuple[str, ...]) -> None:
    """Draw what was asked for: the patient at the upper left, the technique at the lower left.

    Raises WrongParameter where that cannot be written legibly, rather than leaving it out.
    """
    if not asked:
        return
    if min(image.size) < _LEAST:
        raise _no_room(image)
    size = max(10, min(image.size) // 32)
    left = top = size // 2
    if PATIENT in asked:
        _write(image, size, _lines(attributes, _PATIENT), left, top)
    if TECHNIQUE in asked:
        lines = _lines(attributes, _TECHNIQUE)
        _write(image, size, lines, left, image.height - top - len(lines) * _step(size))


def _no_room(image: Image.Image) -> WrongParameter:
    return WrongParameter(
        f"parameter annotation: a picture of {image.width} x {image.height} pixels has no room "
        "for the texts; ask for a larger viewport"
    )


def _lines(attributes: Attributes, wanted: tuple[tuple[str, int, str], ...]) -> list[str]:
    found = ((before, attributes.text(tag), after) for before, tag, after in wanted)
    lines = [f"{before}{_plain(text)}{after}" for before, text, after in found if text.strip()]
    for line in lines:
        if any(not 0x20 <= ord(letter) <= _LAST_LETTER for letter in line):
            raise WrongParameter(
                "parameter annotation: the texts have letters that are not Latin, for which no "
                "font is at hand; ask without annotation"
            )
    return lines


def _plain(text: str) -> str:
    """The alphabetic name, its components by blanks; the first line of anything else."""
    return " ".join(text.split("=")[0].replace("^", " ").split())[:_LONGEST]


def _step(size: int) -> int:
    return size * 5 // 4


def _write(image: Image.Image, size: int, lines: list[str], left: int, top: int) -> None:
    """White with a black rim: legible on any ground. A text that does not fit is not cut."""
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    white, black = (255, 0) if image.mode == "L" else ((255, 255, 255), (0, 0, 0))
    for number, line in enumerate(lines):
        place = left, top + number * _step(size)
        right, bottom = draw.textbbox(place, line, font=font, stroke_width=1)[2:]
        if right > image.width or bottom > image.height or top < 0:
            raise _no_room(image)
        draw.text(place, line, fill=white, font=font, stroke_width=1, stroke_fill=black)
