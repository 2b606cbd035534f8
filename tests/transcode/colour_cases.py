"""The colour and value decisions, one case a row: an object, and what has to come out of it.

``python -m tests.transcode.colour_cases`` prints the table that stands in docs/colour.md.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from gateway.model import Rendition
from tests.transcode.make_probes import charls
from tests.transcode.objects import encapsulated, header, rle_of, save

_ = "1.2.840.10008.1.2."
EXPLICIT_LE, RLE = _ + "1", _ + "5"
JPEG, JPEG_12, LOSSLESS, LS = _ + "4.50", _ + "4.51", _ + "4.70", _ + "4.80"
J2K, J2K_LOSSY, JXL, JXL_LOSSY = _ + "4.90", _ + "4.91", _ + "4.110", _ + "4.112"
DEFLATED = _ + "8.1"

Y, X = np.mgrid[:16, :16]
COLOUR = np.stack([Y * 15 + X, 255 - X * 12, (X * Y) % 256], -1).astype("u1")
GREY = (Y * 13 + X * 3).astype("u1")
WORDS = (Y * 250 + X * 17).astype("<u2")
NODE = Rendition(color="RGB")


@dataclass(frozen=True)
class Case:
    """``said`` in the header under ``syntax``, ``evidence`` in the codestream; then ``out``."""

    coding: str
    said: str
    evidence: str
    out: str
    syntax: str
    stream: Callable[[], bytes]
    wanted: Callable[[bytes], np.ndarray]
    rendition: Rendition = field(default_factory=Rendition)
    tags: dict[str, Any] = field(default_factory=dict)
    bound: int = 0
    native: bool = False
    refused: str = ""

    @property
    def goes(self) -> str:
        """What happens to the samples, for the table."""
        return f"{self.out}" + (" (`color: RGB`)" if self.rendition == NODE else "")

    def write(self, path: Path) -> Path:
        stream = self.stream()
        colours = 1 if self.said in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR") else 3
        tags = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "SamplesPerPixel": colours}
        ds = header(16, 16, PhotometricInterpretation=self.said, **tags | self.tags)
        if self.native:
            ds.PixelData = stream
            ds["PixelData"].VR = "OB" if ds.BitsAllocated <= 8 else "OW"
            return save(path, ds, self.syntax)
        return encapsulated(path, ds, self.syntax, [stream])


def jfif(sampling: str = "444") -> bytes:
    """YCbCr with a JFIF marker."""
    return bytes(imagecodecs.jpeg8_encode(COLOUR, level=92, subsampling=sampling))


def adobe_rgb() -> bytes:
    """Adobe marker with transform 0, component identifiers R, G, B: as libjpeg writes RGB."""
    return bytes(imagecodecs.jpeg8_encode(COLOUR, level=92, colorspace="RGB", outcolorspace="RGB"))


def bare(stream: bytes, ids: bytes = b"\1\2\3", adobe: int | None = None) -> bytes:
    """Without JFIF and Adobe markers, with these component identifiers; then one Adobe marker."""
    out, at = bytearray(b"\xff\xd8"), 2
    if adobe is not None:
        out += b"\xff\xee\x00\x0eAdobe\0d\0\0\0\0" + bytes([adobe])
    while stream[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(stream[at + 2 : at + 4])
        segment = bytearray(stream[at:end])
        if 0xC0 <= segment[1] <= 0xC3:
            segment[10::3] = ids
        if segment[1] not in (0xE0, 0xEE):
            out += segment
        at = end
    scan = bytearray(stream[at:])
    scan[5:10:2] = ids
    return bytes(out + scan)


def components(stream: bytes) -> np.ndarray:
    """The components as they are coded, chroma at full size."""
    return imagecodecs.jpeg8_decode(
        bare(stream, adobe=1), colorspace="YCBCR", outcolorspace="YCBCR"
    )


def converted(stream: bytes) -> np.ndarray:
    return imagecodecs.jpeg8_decode(bare(stream, adobe=1), colorspace="YCBCR", outcolorspace="RGB")


def j2k(image: np.ndarray = COLOUR, **options: Any) -> Callable[[], bytes]:
    return lambda: bytes(
        imagecodecs.jpeg2k_encode(image, codecformat="j2k", **{"level": 0} | options)
    )


def same(image: np.ndarray = COLOUR) -> Callable[[bytes], np.ndarray]:
    return lambda _: image


def rgb_of(ybr: np.ndarray) -> np.ndarray:
    """PS3.3 C.7.6.3.1.2, in floating point."""
    luma, blue, red = (ybr[..., k].astype(float) - (0, 128, 128)[k] for k in range(3))
    green = luma - 0.344136 * blue - 0.714136 * red
    planes = np.stack([luma + 1.402 * red, green, luma + 1.772 * blue], -1)
    return np.clip(np.rint(planes), 0, 255).astype("u1")


def planes_of(image: np.ndarray) -> list[bytes]:
    return [np.ascontiguousarray(image[..., k]).tobytes() for k in range(3)]


def native_422(image: np.ndarray = COLOUR) -> bytes:
    """Two pixels: Y1 Y2 Cb Cr."""
    pairs = image.reshape(16, 8, 2, 3)
    mixed = np.concatenate([pairs[..., 0], pairs[:, :, 0, 1:]], -1)
    return mixed.astype("u1").tobytes()


def spread_422(image: np.ndarray = COLOUR) -> np.ndarray:
    wide = image.copy()
    wide[:, 1::2, 1:] = wide[:, ::2, 1:]
    return wide


VIDEO = np.array(
    [[0.2568, 0.5041, 0.0979], [-0.1482, -0.2910, 0.4392], [0.4392, -0.3678, -0.0714]]
)
"""YBR_PARTIAL_422 of RGB, less 16, 128 and 128 (PS3.3 C.7.6.3.1.2)."""
PARTIAL = np.rint(COLOUR @ VIDEO.T + (16, 128, 128)).astype("u1")


def rgb_of_partial(ybr: np.ndarray) -> np.ndarray:
    """The equations of the standard, solved."""
    rgb = (ybr.astype(float) - (16, 128, 128)) @ np.linalg.inv(VIDEO).T
    return np.clip(np.rint(rgb), 0, 255).astype("u1")


def recompressed() -> bytes:
    return bytes(imagecodecs.jpegxl_encode_jpeg(jfif("420")))


WIDE = {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15}


def _dct() -> list[Case]:
    ybr, sub = "YBR_FULL", "subsampled chroma"
    rows = [
        ("YBR_FULL_422", f"JFIF, {s[0]}:{s[1]}:{s[2]}", ybr, lambda s=s: jfif(s))
        for s in ("444", "422", "420", "440", "411")
    ]
    rows += [
        ("RGB", "JFIF", ybr, jfif),
        ("RGB", f"no marker, {sub}", ybr, lambda: bare(jfif("420"))),
        ("RGB", "no marker", "RGB", lambda: bare(adobe_rgb())),
        ("YBR_FULL", "no marker", ybr, lambda: bare(jfif())),
        ("YBR_FULL_422", "no marker", ybr, lambda: bare(jfif())),
        ("YBR_FULL_422", "Adobe transform 0", "RGB", lambda: bare(adobe_rgb(), adobe=0)),
        ("YBR_FULL_422", "Adobe transform 1", ybr, lambda: bare(jfif(), adobe=1)),
        ("RGB", "Adobe transform 1", ybr, lambda: bare(jfif(), adobe=1)),
        ("RGB", "Adobe transform 2", ybr, lambda: bare(jfif(), adobe=2)),
        ("YBR_FULL_422", "ids R, G, B", "RGB", lambda: bare(adobe_rgb(), b"RGB")),
        ("YBR_FULL", "Adobe 0, ids R, G, B", "RGB", adobe_rgb),
        ("RGB", "JFIF and Adobe 0", "RGB", lambda: jfif()[:20] + bare(jfif(), adobe=0)[2:]),
        ("YBR_FULL", "JFIF and Adobe 0", ybr, lambda: jfif()[:20] + bare(jfif(), adobe=0)[2:]),
    ]
    found = [Case("JPEG DCT", *row[:3], JPEG, row[3], components) for row in rows]
    for sampling in ("444", "420"):
        evidence = f"JFIF, {sampling[0]}:{sampling[1]}:{sampling[2]}"
        found.append(
            Case(
                "JPEG DCT",
                "YBR_FULL_422",
                evidence,
                "RGB",
                JPEG,
                lambda s=sampling: jfif(s),
                converted,
                NODE,
            )
        )
    found.append(
        Case("JPEG DCT", "RGB", "Adobe transform 0", "RGB", JPEG, adobe_rgb, components, NODE)
    )
    return found


def _jpeg_2000() -> list[Case]:
    plain, mct = {"mct": False}, {"mct": True}
    lossy = {"mct": True, "reversible": False, "level": 60}
    rows = [
        ("YBR_RCT", "component transform used", "RGB", J2K, mct, same(), 0),
        ("RGB", "component transform used", "RGB", J2K, mct, same(), 0),
        ("YBR_FULL", "component transform used", "RGB", J2K, mct, same(), 0),
        ("YBR_ICT", "component transform used, 9/7", "RGB", J2K_LOSSY, lossy, same(), 6),
        ("YBR_RCT", "no component transform", "RGB", J2K, plain, same(), 0),
        ("RGB", "no component transform", "RGB", J2K, plain, same(), 0),
        ("YBR_FULL", "no component transform", "YBR_FULL", J2K, plain, same(), 0),
    ]
    found = [Case("JPEG 2000", *r[:4], j2k(**r[4]), r[5], bound=r[6]) for r in rows]
    as_rgb = same(rgb_of(COLOUR))
    found.append(
        Case(
            "JPEG 2000",
            "YBR_FULL",
            "no component transform",
            "RGB",
            J2K,
            j2k(**plain),
            as_rgb,
            NODE,
            bound=1,
        )
    )
    return found


def _others() -> list[Case]:
    def lossless() -> bytes:
        same_colours = {"colorspace": "RGB", "outcolorspace": "RGB"}
        return bytes(imagecodecs.jpeg8_encode(COLOUR, lossless=True, **same_colours))

    def unmarked() -> bytes:
        return bare(lossless())

    def ls() -> bytes:
        return charls(COLOUR, 8)

    def rle() -> bytes:
        return rle_of(planes_of(COLOUR))

    def jxl() -> bytes:
        return bytes(imagecodecs.jpegxl_encode(COLOUR, lossless=True))

    def xyb() -> bytes:
        return bytes(imagecodecs.jpegxl_encode(COLOUR, distance=0.3))

    as_rgb = same(rgb_of(COLOUR))
    return [
        Case(
            "JPEG lossless", "YBR_FULL", "ids R, G, B, Adobe 0", "RGB", LOSSLESS, lossless, same()
        ),
        Case("JPEG lossless", "RGB", "none", "RGB", LOSSLESS, unmarked, same()),
        Case("JPEG lossless", "YBR_FULL", "none", "YBR_FULL", LOSSLESS, unmarked, same()),
        Case("JPEG-LS", "RGB", "none", "RGB", LS, ls, same()),
        Case("JPEG-LS", "YBR_FULL", "none", "YBR_FULL", LS, ls, same()),
        Case("JPEG-LS", "YBR_FULL", "none", "RGB", LS, ls, as_rgb, NODE, bound=1),
        Case("RLE", "RGB", "none", "RGB", RLE, rle, same()),
        Case(
            "RLE",
            "RGB",
            "Planar Configuration 1",
            "RGB",
            RLE,
            rle,
            same(),
            tags={"PlanarConfiguration": 1},
        ),
        Case("RLE", "YBR_FULL", "none", "YBR_FULL", RLE, rle, same()),
        Case("RLE", "YBR_FULL", "none", "RGB", RLE, rle, as_rgb, NODE, bound=1),
        Case(
            "JPEG DCT",
            "YBR_FULL_422",
            "JFIF, Planar Configuration 1",
            "YBR_FULL",
            JPEG,
            jfif,
            components,
            tags={"PlanarConfiguration": 1},
        ),
        Case("JPEG XL", "RGB", "not transformed", "RGB", JXL, jxl, same()),
        Case("JPEG XL", "YBR_FULL", "not transformed", "YBR_FULL", JXL, jxl, same()),
        Case("JPEG XL", "XYB", "XYB", "RGB", JXL_LOSSY, xyb, imagecodecs.jpegxl_decode),
        Case(
            "JPEG XL",
            "YBR_FULL_422",
            "a recompressed JPEG",
            "RGB",
            _ + "4.111",
            recompressed,
            lambda _: imagecodecs.jpeg8_decode(jfif("420")),
        ),
    ]


def _native() -> list[Case]:
    wide, as_rgb = rgb_of(spread_422()), same(rgb_of(COLOUR))
    planes = b"".join(planes_of(COLOUR))
    rows: list[tuple[str, str, Callable[[], bytes], Any, dict[str, Any], int]] = [
        ("YBR_FULL_422", "2 bytes a pixel", native_422, same(wide), {}, 1),
        ("YBR_FULL_422", "3 bytes a pixel", COLOUR.tobytes, as_rgb, {}, 1),
        ("YBR_FULL", "none", COLOUR.tobytes, as_rgb, {}, 1),
        (
            "YBR_FULL",
            "Planar Configuration 1",
            lambda: planes,
            as_rgb,
            {"PlanarConfiguration": 1},
            1,
        ),
        ("RGB", "none", COLOUR.tobytes, same(), {}, 0),
    ]
    found = [
        Case("native", said, evidence, "RGB", EXPLICIT_LE, stream, wanted, NODE, tags, bound, True)
        for said, evidence, stream, wanted, tags, bound in rows
    ]
    return [*found, *_partial(), *_not_rgb()]


def _partial() -> list[Case]:
    """The range of video: black is 16, white 235."""
    whole, pairs = same(rgb_of_partial(PARTIAL)), same(rgb_of_partial(spread_422(PARTIAL)))
    said, of_video = "YBR_PARTIAL_422", "the range of video"

    def rle() -> bytes:
        return rle_of(planes_of(PARTIAL))

    def case(coding: str, said: str, syntax: str, stream: Any) -> Case:
        return Case(coding, said, of_video, "RGB", syntax, stream, whole, bound=1)

    def native(evidence: str, stream: Any, wanted: Any) -> Case:
        return Case(
            "native", said, evidence, "RGB", EXPLICIT_LE, stream, wanted, NODE, {}, 1, True
        )

    return [
        native("2 bytes a pixel", lambda: native_422(PARTIAL), pairs),
        native("3 bytes a pixel", PARTIAL.tobytes, whole),
        case("RLE", said, RLE, rle),
        case("JPEG-LS", said, LS, lambda: charls(PARTIAL, 8)),
        case("JPEG 2000", "YBR_PARTIAL_420", J2K, j2k(PARTIAL, mct=False)),
        Case("JPEG DCT", said, "no marker", "YBR_FULL", JPEG, lambda: bare(jfif()), components),
    ]


def _not_rgb() -> list[Case]:
    """What a node that reads RGB only is not given, and why."""
    rows = [
        ("YBR_PARTIAL_420", "it is for MPEG-2 only", "gives its samples no order"),
        ("YBR_RCT", "no native form", "is not made RGB here"),
        ("YBR_ICT", "no native form", "is not made RGB here"),
        ("HSV", "retired", "is not made RGB here"),
    ]
    return [
        Case(
            "native",
            said,
            evidence,
            "refused",
            EXPLICIT_LE,
            COLOUR.tobytes,
            same(),
            NODE,
            native=True,
            refused=why,
        )
        for said, evidence, why in rows
    ]


def _values() -> list[Case]:
    """One sample a pixel: depth, sign, what lies above Bits Stored."""

    def case(
        coding: str,
        said: str,
        evidence: str,
        out: str,
        syntax: str,
        stream: Any,
        wanted: np.ndarray,
        bound: int = 0,
        **tags: Any,
    ) -> Case:
        return Case(
            coding, said, evidence, out, syntax, stream, same(wanted), tags=tags, bound=bound
        )

    twelve = WORDS % 4096
    extended = np.where(twelve > 2047, twelve.astype("i4") - 4096, twelve).astype("<i2")
    signed = twelve.astype("<i2") - 2048
    raw_words = [(twelve + 0x3000) >> 8, (twelve + 0x3000) & 255]
    dirty = rle_of([plane.astype("u1").tobytes() for plane in raw_words])
    six, seven = GREY % 64, GREY % 128
    stored_12 = {"BitsAllocated": 16, "BitsStored": 12, "HighBit": 11}
    return [
        case(
            "any",
            "MONOCHROME1",
            "one component",
            "MONOCHROME1, not inverted",
            LS,
            lambda: charls(GREY, 8),
            GREY,
        ),
        case(
            "any",
            "PALETTE COLOR",
            "one component",
            "PALETTE COLOR",
            LS,
            lambda: charls(GREY, 8),
            GREY,
        ),
        case(
            "any",
            "RGB",
            "one component",
            "MONOCHROME2",
            LS,
            lambda: charls(GREY, 8),
            GREY,
            SamplesPerPixel=1,
        ),
        case(
            "any",
            "YBR_FULL_422",
            "one component",
            "MONOCHROME2",
            LS,
            lambda: charls(GREY, 8),
            GREY,
            SamplesPerPixel=1,
        ),
        case(
            "JPEG 2000",
            "MONOCHROME2",
            "12 bit, header 10 stored",
            "12 stored",
            J2K,
            j2k(twelve, bitspersample=12),
            twelve,
            **stored_12 | {"BitsStored": 10, "HighBit": 9},
        ),
        case(
            "JPEG 2000",
            "MONOCHROME2",
            "signed, 12 bit, header 10 stored",
            "12 stored, signed",
            J2K,
            j2k(signed, bitspersample=12),
            signed,
            PixelRepresentation=1,
            **stored_12 | {"BitsStored": 10, "HighBit": 9},
        ),
        case(
            "JPEG-LS",
            "MONOCHROME2",
            "12 bit, header 10 stored",
            "12 stored",
            LS,
            lambda: charls(twelve, 12),
            twelve,
            **stored_12 | {"BitsStored": 10, "HighBit": 9},
        ),
        case(
            "JPEG-LS",
            "MONOCHROME2",
            "16 bit, header 12 stored, bits above",
            "zero",
            LS,
            lambda: charls(twelve + 0x3000, 16),
            twelve,
            **stored_12,
        ),
        case(
            "JPEG 2000",
            "MONOCHROME2",
            "signed, header unsigned",
            "header signed",
            J2K,
            j2k(signed, bitspersample=12),
            signed,
            **stored_12,
        ),
        case(
            "JPEG 2000",
            "MONOCHROME2",
            "unsigned, header signed",
            "sign-extended from Bits Stored",
            J2K,
            j2k(twelve, bitspersample=12),
            extended,
            PixelRepresentation=1,
            **stored_12,
        ),
        case(
            "JPEG 2000",
            "MONOCHROME2",
            "8 bit, header 16 allocated, 8 stored",
            "16 allocated",
            J2K,
            j2k(GREY),
            GREY.astype("<u2"),
            BitsAllocated=16,
        ),
        case(
            "JPEG 2000",
            "MONOCHROME2",
            "12 bit, header 8 allocated",
            "16 allocated, 12 stored",
            J2K,
            j2k(twelve, bitspersample=12),
            twelve,
        ),
        case(
            "JPEG-LS",
            "MONOCHROME2",
            "12 of 16 bits, signed header",
            "sign-extended from Bits Stored",
            LS,
            lambda: charls(signed, 12),
            signed,
            PixelRepresentation=1,
            **stored_12,
        ),
        case(
            "JPEG-LS",
            "MONOCHROME2",
            "12 bit, signed header, High Bit 15",
            "High Bit 11, sign-extended",
            LS,
            lambda: charls(signed, 12),
            signed,
            PixelRepresentation=1,
            **stored_12 | {"HighBit": 15},
        ),
        case(
            "JPEG-LS",
            "MONOCHROME2",
            "6 bit",
            "8 allocated",
            LS,
            lambda: charls(six, 6),
            six,
            BitsStored=6,
            HighBit=5,
        ),
        case(
            "JPEG-LS",
            "MONOCHROME2",
            "7 bit",
            "8 allocated",
            LS,
            lambda: charls(seven, 7),
            seven,
            BitsStored=7,
            HighBit=6,
        ),
        case(
            "RLE",
            "MONOCHROME2",
            "bits above Bits Stored, unsigned",
            "zero",
            RLE,
            lambda: dirty,
            twelve,
            **stored_12,
        ),
        case(
            "RLE",
            "MONOCHROME2",
            "bits above Bits Stored, signed",
            "sign-extended",
            RLE,
            lambda: dirty,
            extended,
            PixelRepresentation=1,
            **stored_12,
        ),
        case(
            "RLE",
            "MONOCHROME2",
            "overlay bit position 12",
            "kept",
            RLE,
            lambda: dirty,
            twelve + 0x3000,
            overlay=12,
            **stored_12,
        ),
    ]


CASES = [*_dct(), *_jpeg_2000(), *_others(), *_native(), *_values()]


def table() -> str:
    """The cases as markdown."""
    lines = ["| coding | header says | evidence | comes out as |", "| --- | --- | --- | --- |"]
    for case in CASES:
        cells = (case.coding, case.said, case.evidence, case.goes)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(dict.fromkeys(lines)) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
