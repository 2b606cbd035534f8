"""How a JPEG 2000 codestream is coded: its main header and the headers of all tile-parts.

ISO/IEC 15444-1 Annex A and 15444-2 Annex A. A tile may have a coding style of its own, so what is
said of the whole holds only after every tile-part header was looked at. Decoders pass over marker
segments that they do not know, and give a picture all the same: those are refused here.
"""

from dataclasses import dataclass
from struct import unpack_from
from typing import Any, Final, NoReturn

from gateway.failures import PermanentFailure

MAX_LAYERS: Final = 1_000
_MAX_SEGMENTS: Final = 400_000
_SOC_SIZE: Final = 2
_COD, _COC, _QCD, _QCC = 0x52, 0x53, 0x5C, 0x5D
_SOT, _SOD = 0x90, 0x93
_TILE: Final = b"\xff\x90"
_END: Final = b"\xff\xd9"
_COMMENT: Final = b"\xff\x64"
_SOT_SIZE: Final = 12
_STYLES: Final = (_COD, _COC, _QCD, _QCC)
_ARRAYS: Final = 0b110
"""In COD: component transforms of 15444-2, by arrays or wavelets (A.2.3)."""
_ORDER: Final = 0x77
_OF_ARRAYS: Final = (0x74, 0x75, _ORDER, 0x78)
_NOT_UNDERSTOOD: Final = {
    0x5A: "QPD (quantisation by precinct)",
    0x5B: "QPC (quantisation by precinct)",
    0x70: "DCO (variable DC offset)",
    0x71: "VMS (visual masking)",
    0x72: "DFS (other decompositions)",
    0x73: "ADS (other decompositions)",
    0x76: "NLT (a non-linear transform)",
    0x79: "ATK (another wavelet)",
}


@dataclass(slots=True)
class Styles:
    """What holds of a whole codestream.

    ``reversible``: every tile and component is; ``transform``: RCT or ICT is used somewhere;
    ``arrays``: components are transformed as in 15444-2; ``segments`` counts marker segments;
    ``end`` is where comments stand between the last tile-part and EOC, 0 for none.
    """

    reversible: bool = True
    transform: bool = False
    arrays: bool = False
    known: bool = False
    """COD was met."""
    order: bool = False
    """MCO was met."""
    segments: int = 0
    end: int = 0


def read_styles(frame: Any, start: int, components: int) -> Styles:
    """The styles of the codestream at ``start``, of so many ``components``.

    Raises PermanentFailure for extensions that no decoder here undoes, and where a tile has a
    component transform by arrays of its own.
    """
    found, wide = Styles(), components > 256
    at = _header(found, frame, start + _SOC_SIZE, wide)
    if not found.known:
        raise PermanentFailure(
            "no coding style (COD) in the main header; ask the sender for the object again"
        )
    if found.arrays and not found.order:
        _refuse("component transforms by arrays without an order of them (MCO)")
    if found.order and not found.arrays:
        _refuse("an order of component transforms (MCO) that no coding style asks for")
    _read_tiles(found, frame, at, wide)
    return found


def _refuse(why: str) -> NoReturn:
    raise PermanentFailure(f"JPEG 2000 Part 2: {why}: not decoded here")


def _header(found: Styles, frame: Any, at: int, wide: bool, of_tile: bool = False) -> int:
    """Take in the marker segments of one header; where what ends it stands."""
    while True:
        fill, marker, length = unpack_from(">BBH", frame, at)
        if fill != 0xFF or marker in (_SOT, _SOD):
            return at
        found.segments += 1
        if found.segments > _MAX_SEGMENTS:
            raise PermanentFailure(f"more than {_MAX_SEGMENTS} marker segments in the codestream")
        if of_tile and (marker in _OF_ARRAYS or (found.arrays and marker in _STYLES)):
            _refuse("a tile with a component transform or a coding style of its own")
        _note(found, frame, at, marker, wide)
        at += 2 + length


def _note(found: Styles, frame: Any, at: int, marker: int, wide: bool) -> None:
    """Take in one marker segment of any header."""
    if marker == _COD:
        layers, transform = unpack_from(">HB", frame, at + 6)
        if layers > MAX_LAYERS:
            raise PermanentFailure(
                f"{layers} quality layers; at most {MAX_LAYERS} are decoded here"
            )
        found.known = True
        found.arrays |= bool(transform & _ARRAYS)
        found.transform |= bool(transform & 1)
        found.reversible &= frame[at + 13] == 1
    elif marker == _COC:
        found.reversible &= frame[at + 10 + wide] == 1
    elif marker == _ORDER:
        found.order = True
    elif marker in _NOT_UNDERSTOOD:
        _refuse(f"{_NOT_UNDERSTOOD[marker]}, which decoders pass over")


def _read_tiles(found: Styles, frame: Any, at: int, wide: bool) -> None:
    """The headers of all tile-parts, as far as their lengths lead from one to the next."""
    arrays, end = found.arrays, len(frame)
    while at + _SOT_SIZE + 4 <= end and bytes(frame[at : at + 2]) == _TILE:
        (size,) = unpack_from(">I", frame, at + 6)
        found.segments += 1
        _header(found, frame, at + _SOT_SIZE, wide, of_tile=True)
        if found.arrays != arrays:
            _refuse("a tile with a component transform of its own")
        if not size:
            return
        at += max(size, _SOT_SIZE)
    if bytes(frame[at : at + 2]) == _COMMENT:
        found.end = at
    if arrays and bytes(frame[at : at + 2]) != _END:
        _refuse("tile-parts whose lengths do not lead to the end of the codestream")
