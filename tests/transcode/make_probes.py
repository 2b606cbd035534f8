"""Makes ``gateway/transcode/probes.zip``: ``python -m tests.transcode.make_probes``.

Encoders: imagecodecs, pyjpegls, and for retired processes DCMTK's dcmcjpeg, jpegtran, and the
cjpeg of libjpeg-turbo 3, named by CJPEG in the environment. Each
reversible codestream is decoded once here, so that no broken one is shipped; an irreversible one
is kept with what libjpeg-turbo, OpenJPEG, CharLS or libjxl make of it.
"""

import json
import os
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import jpeg_ls
import numpy as np
import pydicom
from openjpeg.utils import decode as openjpeg_decode
from pydicom.encaps import get_frame

from gateway.transcode import part2
from gateway.transcode.codestream import read_codestream
from gateway.transcode.form import Coding
from gateway.transcode.probes import ARCHIVE, container_of, picture
from tests.transcode.multi_component import with_arrays
from tests.transcode.objects import header, rle_of, save

SMALL, LARGE, LARGER = (17, 24), (64, 80), (256, 256)
_ = "1.2.840.10008.1.2."
Made = dict[str, Any]


def made(
    syntax: str,
    image: np.ndarray,
    bits: int,
    stream: bytes,
    variant: str = "",
    expected: np.ndarray | None = None,
    bound: int = 0,
    **more: Any,
) -> Made:
    """One entry; ``expected`` None: the picture itself."""
    samples = 1 if image.ndim == 2 else image.shape[2]
    coding = more.pop("coding", None)
    if coding is None:
        found = read_codestream(stream)
        assert found is not None
        assert found.coding is not None
        coding = found.coding
    entry = {
        "syntax": _ + syntax,
        "coding": coding.name,
        "rows": image.shape[0],
        "columns": image.shape[1],
        "bits": bits,
        "signed": image.dtype.kind == "i",
        "samples": samples,
        "variant": variant,
        "photometric": "MONOCHROME2" if samples == 1 else "RGB",
        "convert": False,
        "bound": bound,
        **more,
    }
    return {"entry": entry, "stream": stream, "expected": expected}


def pictures(
    *depths: int, signs: tuple[bool, ...] = (False, True), samples: tuple[int, ...] = (1, 3)
) -> Iterator[tuple[np.ndarray, int]]:
    """Every combination, small."""
    for bits in depths:
        for signed in signs if bits > 1 else (False,):
            for count in samples if bits > 1 else (1,):
                yield picture(*SMALL, count, bits, signed), bits


def large(bits: int, samples: int = 1) -> np.ndarray:
    """A smoother picture, for time."""
    return picture(*LARGE, samples, bits, False)


def stored(image: np.ndarray, bits: int) -> np.ndarray:
    """The two's complement of ``bits`` bits, as unsigned samples."""
    return image.astype(np.int64).__and__((1 << bits) - 1).astype(f"<u{image.itemsize}")


def raw_bytes(image: np.ndarray, bits: int) -> bytes:
    """Native bytes, single bits packed."""
    if bits == 1:
        return np.packbits(image.reshape(-1), bitorder="little").tobytes()
    return image.tobytes()


def whole() -> Iterator[Made]:
    """RLE, deflated and encapsulated uncompressed samples."""
    depths = [(image, bits) for image, bits in pictures(1, 8, 10, 12, 16, 32)]
    speed = [(large(16), 16)]
    for image, bits in depths + speed:
        variant = "speed" if image.shape[0] == LARGE[0] else ""
        raw = raw_bytes(image, bits)
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        deflated = packer.compress(raw) + packer.flush()
        yield made("8.1", image, bits, deflated, variant, coding=Coding.DEFLATED)
        yield made("1.98", image, bits, raw, variant, coding=Coding.NATIVE)
        # decoders of RLE differ in what a call costs and in what a sample does
        picked = picture(*LARGER, 1, bits, False) if variant else image
        planes = [raw] if bits == 1 else byte_planes(picked)
        yield made("5", picked, bits, rle_of(planes), variant, coding=Coding.RLE)


def byte_planes(image: np.ndarray) -> list[bytes]:
    """What the segments of an RLE frame hold, PS3.5 G.2."""
    width = image.itemsize
    flat = image.reshape(image.shape[0] * image.shape[1], -1)
    cells = np.ascontiguousarray(flat).view("u1").reshape(len(flat), -1, width)
    return [
        cells[:, sample, width - 1 - byte].tobytes()
        for sample in range(cells.shape[1])
        for byte in range(width)
    ]


def dct() -> Iterator[Made]:
    """JPEG baseline and extended, and the retired processes."""
    for size in (SMALL, LARGE):
        speed = "speed" if size == LARGE else ""
        grey = picture(*size, 1, 8, False)
        stream = imagecodecs.jpeg8_encode(grey, level=90)
        yield from lossy_jpeg("4.50", grey, 8, stream, speed)
        colour = picture(*size, 3, 8, False)
        for sampling in ("444", "422", "420"):
            stream = imagecodecs.jpeg8_encode(colour, level=90, subsampling=sampling)
            if not speed or sampling == "422":
                yield from colours("4.50", colour, stream, speed or sampling)
        plain = imagecodecs.jpeg8_encode(colour, level=90, colorspace="RGB", outcolorspace="RGB")
        if not speed:
            yield from lossy_jpeg("4.50", colour, 8, plain, "RGB components")
        deep = picture(*size, 1, 12, False)
        stream = imagecodecs.jpeg8_encode(deep, level=90, bitspersample=12)
        yield from lossy_jpeg("4.51", deep, 12, stream, speed)
        yield from lossy_jpeg("4.51", grey, 8, extended(grey), speed)
        if speed:
            yield from lossy_jpeg("4.52", grey, 8, transcoded(grey, "-arithmetic"), speed)
    deep = picture(*SMALL, 3, 12, False)
    stream = imagecodecs.jpeg8_encode(
        deep, level=90, bitspersample=12, colorspace="RGB", outcolorspace="RGB"
    )
    yield from lossy_jpeg("4.51", deep, 12, stream, "RGB components")
    stream = imagecodecs.jpeg8_encode(deep, level=90, bitspersample=12, subsampling="444")
    yield from colours("4.51", deep, stream, "444", 12)
    colour = picture(*SMALL, 3, 8, False)
    yield from colours("4.50", colour, transcoded(colour, "-scans", apart()), "a scan each")
    yield from retired()


def retired() -> Iterator[Made]:
    """Processes that the standard retired in 2000-something but a decoder still knows."""
    grey, colour = picture(*SMALL, 1, 8, False), picture(*SMALL, 3, 8, False)
    for syntax, options in (
        ("4.52", ("-arithmetic",)),
        ("4.54", ("-arithmetic", "-progressive")),
        ("4.56", ("-arithmetic", "-progressive")),
    ):
        yield from lossy_jpeg(syntax, grey, 8, transcoded(grey, *options))
        yield from colours(syntax, colour, transcoded(colour, *options), "444")
    for syntax, more in (("4.52", ()), ("4.54", ("-progressive",)), ("4.56", ("-progressive",))):
        for image in (picture(*SMALL, 1, 12, False), picture(*SMALL, 3, 12, False)):
            stream = cjpeg(image, 12, "-arithmetic", *more)
            if image.ndim == 2:
                yield from lossy_jpeg(syntax, image, 12, stream)
            else:
                yield from colours(syntax, image, stream, "444", 12)
    yield from colours("4.55", colour, transcoded(colour, "-progressive"), "444")
    for syntax, option in (("4.53", "+es"), ("4.55", "+ep")):
        yield from lossy_jpeg(syntax, grey, 8, dcmcjpeg(grey, 8, option))
        deep = picture(*SMALL, 1, 12, False)
        yield from lossy_jpeg(syntax, deep, 12, dcmcjpeg(deep, 12, option))


def lossy_jpeg(
    syntax: str, image: np.ndarray, bits: int, stream: bytes, variant: str = ""
) -> Iterator[Made]:
    """One entry whose truth is libjpeg-turbo, components as they are."""
    if image.ndim == 2:
        wanted = imagecodecs.jpeg8_decode(stream)
    else:
        wanted = imagecodecs.jpeg8_decode(stream, colorspace="RGB", outcolorspace="RGB")
    yield made(syntax, image, bits, stream, variant, wanted, bound=1)


def colours(
    syntax: str, image: np.ndarray, stream: bytes, variant: str, bits: int = 8
) -> Iterator[Made]:
    """YCbCr kept, and converted."""
    for convert in (False, True):
        out = "RGB" if convert else "YCBCR"
        wanted = imagecodecs.jpeg8_decode(stream, colorspace="YCBCR", outcolorspace=out)
        kind = "RGB" if convert else "YBR_FULL"
        more = {"photometric": kind, "convert": convert}
        yield made(syntax, image, bits, stream, variant, wanted, bound=1, **more)


def extended(image: np.ndarray) -> bytes:
    """Baseline coding under the marker of extended sequential DCT."""
    return imagecodecs.jpeg8_encode(image, level=90).replace(b"\xff\xc0", b"\xff\xc1", 1)


def transcoded(image: np.ndarray, *options: str) -> bytes:
    """By jpegtran."""
    more = {} if image.ndim == 2 else {"subsampling": "444"}
    jpeg = imagecodecs.jpeg8_encode(image, level=90, **more)
    return subprocess.run(["jpegtran", *options], input=jpeg, stdout=-1, check=True).stdout


@cache
def apart() -> str:
    """A file that has each component stand in a scan of its own."""
    path = Path(tempfile.mkdtemp(), "scans.txt")
    path.write_text("0;\n1;\n2;\n")
    return str(path)


def cjpeg(image: np.ndarray, bits: int, *options: str) -> bytes:
    """By libjpeg-turbo 3, which alone codes 12 bits with arithmetic coding."""
    kind = "P5" if image.ndim == 2 else "P6"
    head = f"{kind}\n{image.shape[1]} {image.shape[0]}\n{(1 << bits) - 1}\n".encode()
    command = [os.environ["CJPEG"], "-precision", str(bits), "-quality", "90", "-sample", "1x1"]
    given = head + image.astype(">u2").tobytes()
    return subprocess.run([*command, *options], input=given, stdout=-1, check=True).stdout


def dcmcjpeg(image: np.ndarray, bits: int, option: str) -> bytes:
    """By DCMTK."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "in.dcm"), Path(folder, "out.dcm")
        allocated = container_of(bits)
        ds = header(*image.shape, BitsAllocated=allocated, BitsStored=bits, HighBit=bits - 1)
        ds.PixelData = raw_bytes(image, bits) + b"\0" * (image.nbytes & 1)
        ds["PixelData"].VR = "OW"
        ds.StudyInstanceUID = ds.SeriesInstanceUID = "2.25.1"
        save(source, ds, "1.2.840.10008.1.2.1")
        subprocess.run(["dcmcjpeg", option, source, out], check=True)
        return bytes(get_frame(pydicom.dcmread(out).PixelData, 0, number_of_frames=1))


def jpeg_lossless() -> Iterator[Made]:
    """All selection values under .57, the first under .70."""
    for index, (image, bits) in enumerate(pictures(8, 10, 12, 16)):
        same = {} if image.ndim == 2 else {"colorspace": "RGB", "outcolorspace": "RGB"}
        for syntax, predictor in (("4.70", 1), ("4.57", 2 + index % 6)):
            stream = imagecodecs.jpeg8_encode(
                stored(image, bits), lossless=True, predictor=predictor, bitspersample=bits, **same
            )
            yield made(syntax, image, bits, stream, f"selection value {predictor}")
    image = large(12)
    stream = imagecodecs.jpeg8_encode(image, lossless=True, predictor=1, bitspersample=12)
    yield made("4.70", image, 12, stream, "speed")
    stream = imagecodecs.jpeg8_encode(image, lossless=True, predictor=6, bitspersample=12)
    yield made("4.57", image, 12, stream, "speed")


def charls(image: np.ndarray, bits: int, near: int = 0) -> bytes:
    """By pyjpegls, which takes the precision from an argument."""
    pixels = stored(image, bits)
    return bytes(
        jpeg_ls.encode_pixel_data(
            pixels.tobytes(),
            lossy_error=near,
            interleave_mode=0 if image.ndim == 2 else 2,
            rows=image.shape[0],
            columns=image.shape[1],
            samples_per_pixel=1 if image.ndim == 2 else 3,
            bits_stored=bits,
        )
    )


def jpeg_ls_probes() -> Iterator[Made]:
    """Lossless, and near-lossless with NEAR 2."""
    for image, bits in pictures(6, 7, 8, 10, 12, 16):
        yield made("4.80", image, bits, charls(image, bits))
        if image.dtype.kind == "u":
            stream = charls(image, bits, 2)
            yield made("4.81", image, bits, stream, "NEAR 2", imagecodecs_jls(stream, image))
    for syntax, near in (("4.80", 0), ("4.81", 2)):
        stream = charls(large(12), 12, near)
        wanted = imagecodecs_jls(stream, large(12)) if near else None
        yield made(syntax, large(12), 12, stream, "speed", wanted)


def imagecodecs_jls(stream: bytes, image: np.ndarray) -> np.ndarray:
    out = imagecodecs.jpegls_decode(stream)
    assert out.shape == image.shape
    assert np.abs(out.astype(int) - image).max() <= 2
    return out


def jpeg_2000() -> Iterator[Made]:
    """Reversible and irreversible, signed and unsigned; the multi-component syntaxes."""
    for syntax in ("4.90", "4.91", "4.92", "4.93"):
        for image, bits in pictures(1, 8, 10, 12, 16, 24):
            yield made(syntax, image, bits, j2k(image, bits))
    for syntax in ("4.91", "4.93"):
        for image, bits in pictures(8, 10, 12, 16):
            stream = j2k(image, bits, reversible=False, level=60)
            yield made(syntax, image, bits, stream, "9/7", reference(stream, image), bound=2)
    for syntax, reversible in (("4.92", True), ("4.93", False)):
        image = np.stack([picture(*SMALL, 1, 12, False) // (2 + one) for one in range(7)], -1)
        stream = j2k(image, 12, reversible=reversible, level=0 if reversible else 60)
        wanted = reference(stream, image)
        variant = "components of 7 frames"
        yield made(syntax, image, 12, stream, variant, wanted, bound=0 if reversible else 2)
    yield from arrays()
    for syntax in ("4.90", "4.92"):
        for bits in (8, 12):
            yield made(syntax, large(bits), bits, j2k(large(bits), bits), "speed")
    for syntax in ("4.91", "4.93"):
        for bits in (8, 12):
            stream = j2k(large(bits), bits, reversible=False, level=60)
            wanted = reference(stream, large(bits))
            yield made(syntax, large(bits), bits, stream, "speed", wanted, bound=2)


def arrays() -> Iterator[Made]:
    """Component transforms by arrays: differences exactly, a rotation nearly."""
    for image, bits in pictures(8, 12, 16, samples=(3,)):
        middle = [0 if image.dtype.kind == "i" else 1 << (bits - 1)] * 3
        sums = np.tril(np.ones((3, 3)))
        stream = with_arrays(image, bits, sums, middle, element="i4")
        yield made("4.92", image, bits, stream, "sums of components")
        stream = with_arrays(image, bits, ROTATION, middle, reversible_wavelet=False)
        wanted = part2.undo(stream, lambda plain: openjpeg_decode(BytesIO(plain), 0))
        worst = np.abs(wanted.astype(int) - image).max()
        assert worst <= max(2, (1 << bits) // 100), worst
        yield made("4.93", image, bits, stream, "rotated components", wanted, bound=2)
    image = np.stack([picture(*SMALL, 1, 12, False) // (2 + one) for one in range(5)], -1)
    stream = with_arrays(image, 12, np.tril(np.ones((5, 5))), element="i2")
    yield made("4.92", image, 12, stream, "sums of 5 frames", image)


ROTATION = np.array([[0.6, 0.64, 0.48], [-0.8, 0.48, 0.36], [0.0, -0.6, 0.8]])


def j2k(image: np.ndarray, bits: int, *, reversible: bool = True, level: int = 0) -> bytes:
    mct = image.ndim == 3 and image.shape[2] == 3 and image.dtype.kind == "u"
    return imagecodecs.jpeg2k_encode(
        image,
        level=level,
        codecformat="j2k",
        bitspersample=bits,
        reversible=reversible,
        mct=mct,
    )


def reference(stream: bytes, image: np.ndarray) -> np.ndarray:
    """What OpenJPEG gives, as pylibjpeg calls it."""
    out = openjpeg_decode(BytesIO(stream), 0)
    assert out.shape == image.shape
    return out.astype(image.dtype)


def htj2k() -> Iterator[Made]:
    """Reversible and irreversible; .202 is .201 in another order of packets."""
    for image, bits in pictures(8, 10, 12, 16):
        for syntax in ("4.201", "4.202", "4.203"):
            yield made(syntax, image, bits, ht(image, bits))
        if bits in (8, 16):
            for what, one in (("9/7", image), ("9/7, black and white", extremes(image))):
                stream = imagecodecs.htj2k_encode(one, level=0.01, reversible=False)
                wanted = reference(stream, one)
                yield made("4.203", one, bits, stream, what, wanted, bound=2 if bits == 8 else 4)
    for syntax in ("4.201", "4.202"):
        yield made(syntax, large(16), 16, ht(large(16), 16), "speed")
    stream = imagecodecs.htj2k_encode(large(8), level=0.002, reversible=False)
    yield made("4.203", large(8), 8, stream, "speed", reference(stream, large(8)), bound=2)


def extremes(like: np.ndarray) -> np.ndarray:
    """Blocks of the least and the greatest value: a decoder that does not clip turns them over."""
    limits = np.iinfo(like.dtype)
    y, x = np.mgrid[: like.shape[0], : like.shape[1]]
    blocks = np.where((y // 4 + x // 4) % 2, limits.max, limits.min).astype(like.dtype)
    return blocks if like.ndim == 2 else np.stack([blocks] * like.shape[2], -1)


def ht(image: np.ndarray, bits: int) -> bytes:
    """OpenJPH codes 8 or 16 bits: for others the depth in SIZ is set afterwards.

    Its unsigned samples are shifted by half the range of the depth (15444-1 G.1.2).
    """
    wide = image.itemsize * 8
    if bits == wide:
        return bytes(imagecodecs.htj2k_encode(image, reversible=True))
    shift = 0 if image.dtype.kind == "i" else (1 << (wide - 1)) - (1 << (bits - 1))
    stream = bytearray(imagecodecs.htj2k_encode(image + image.dtype.type(shift), reversible=True))
    count = 1 if image.ndim == 2 else image.shape[2]
    for index in range(count):
        at = 42 + 3 * index
        assert stream[at] & 0x7F == wide - 1
        stream[at] = stream[at] & 0x80 | (bits - 1)
    return bytes(stream)


def jpeg_xl() -> Iterator[Made]:
    """Lossless, a recompressed JPEG, and XYB."""
    for image, bits in pictures(1, 8, 10, 12, 16):
        samples = stored(image, bits)
        stream = imagecodecs.jpegxl_encode(samples, lossless=True, bitspersample=bits)
        for syntax in ("4.110", "4.112"):
            yield made(syntax, image, bits, stream)
        if bits > 1 and image.dtype.kind == "u":
            stream = imagecodecs.jpegxl_encode(image, distance=0.5, bitspersample=bits)
            wanted = imagecodecs.jpegxl_decode(stream)
            yield made("4.112", image, bits, stream, "XYB", wanted, bound=1)
    for image in (picture(*SMALL, 1, 8, False), picture(*SMALL, 3, 8, False)):
        jpeg = imagecodecs.jpeg8_encode(image, level=90)
        stream = imagecodecs.jpegxl_encode_jpeg(jpeg)
        wanted = imagecodecs.jpeg8_decode(jpeg)
        yield made("4.111", image, 8, stream, "a JPEG", wanted)
    stream = imagecodecs.jpegxl_encode(large(12), lossless=True, bitspersample=12)
    yield made("4.110", large(12), 12, stream, "speed")
    stream = imagecodecs.jpegxl_encode(large(12), distance=0.5, bitspersample=12)
    wanted = imagecodecs.jpegxl_decode(stream)
    yield made("4.112", large(12), 12, stream, "speed", wanted, bound=1)
    jpeg = imagecodecs.jpeg8_encode(large(8), level=90)
    wanted = imagecodecs.jpeg8_decode(jpeg)
    yield made("4.111", large(8), 8, imagecodecs.jpegxl_encode_jpeg(jpeg), "speed", wanted)


_MAKERS: tuple[Callable[[], Iterator[Made]], ...] = (
    whole,
    dct,
    jpeg_lossless,
    jpeg_ls_probes,
    jpeg_2000,
    htj2k,
    jpeg_xl,
)


def main() -> None:
    index: list[dict[str, Any]] = []
    names: dict[bytes, str] = {}

    def put(name: str, content: bytes) -> str:
        """The name under which this content stands in the archive, each content once."""
        if content not in names:
            names[content] = name
            _put(archive, name, content)
        return names[content]

    with zipfile.ZipFile(ARCHIVE, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for number, one in enumerate(probe for maker in _MAKERS for probe in maker()):
            name = f"{number:03d}"
            entry, wanted = one["entry"], ""
            if one["expected"] is not None:
                sign = "i" if entry["signed"] else "u"
                kind = f"<{sign}{max(1, container_of(entry['bits']) // 8)}"
                wanted = put(f"{name}.raw", one["expected"].astype(kind).tobytes())
            index.append(entry | {"file": put(name, one["stream"]), "wanted": wanted})
        _put(archive, "index.json", json.dumps(index, separators=(",", ":")).encode())


def _put(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """With a fixed date, so that the same content gives the same archive."""
    info = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, content)


if __name__ == "__main__":
    main()
