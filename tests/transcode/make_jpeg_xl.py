"""Makes ``jpeg_xl.zip``: ``python -m tests.transcode.make_jpeg_xl``.

imagecodecs offers two of libjxl's ways to code a picture; its own copy of the library, called
here, knows the others: without XYB, modular and lossy, a JPEG without the way back to it.
"""

import ctypes
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import imagecodecs
import numpy as np
from PIL import ImageCms

STREAMS: Final = Path(__file__).with_name("jpeg_xl.zip")
MODULAR, PROGRESSIVE_DC = 11, 19
Y, X = np.mgrid[:16, :24]
COLOUR: Final = np.stack([Y * 15, X * 10, X * Y % 256], -1).astype("u1")
GREY: Final = ((Y * 250 + X * 7) % 4096).astype("<u2")
_ROOM: Final = 1 << 20
_MORE: Final = 2


class _PixelFormat(ctypes.Structure):
    _fields_ = (
        ("channels", ctypes.c_uint32),
        ("type", ctypes.c_int),
        ("order", ctypes.c_int),
        ("align", ctypes.c_size_t),
    )


class _BitDepth(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int), ("bits", ctypes.c_uint32), ("exponent", ctypes.c_uint32))


class Encoder:
    """One stream to be made by libjxl 0.11."""

    def __init__(self) -> None:
        imagecodecs.jpegxl_encode  # noqa: B018 - loads what libjxl needs
        folder = Path(imagecodecs.__file__).parents[1] / "imagecodecs.libs"
        self.library = ctypes.CDLL(str(next(folder.glob("libjxl-*"))))
        for name in ("JxlEncoderCreate", "JxlEncoderFrameSettingsCreate"):
            getattr(self.library, name).restype = ctypes.c_void_p
        self.encoder = ctypes.c_void_p(self.library.JxlEncoderCreate(None))

    def call(self, name: str, *arguments: object) -> None:
        assert getattr(self.library, name)(*arguments) == 0, name

    def settings(self) -> ctypes.c_void_p:
        found = self.library.JxlEncoderFrameSettingsCreate(self.encoder, None)
        return ctypes.c_void_p(found)

    def describe(self, image: np.ndarray, bits: int, original: bool, icc: bytes) -> None:
        """Size, depth and colours; ``original``: without XYB."""
        info = (ctypes.c_uint32 * 64)()
        self.library.JxlEncoderInitBasicInfo(info)
        info[1], info[2], info[3] = image.shape[1], image.shape[0], bits
        info[9], info[13] = int(original), 1 if image.ndim == 2 else 3
        self.call("JxlEncoderSetBasicInfo", self.encoder, info)
        if icc:
            self.call("JxlEncoderSetICCProfile", self.encoder, icc, ctypes.c_size_t(len(icc)))
            return
        colours = (ctypes.c_uint8 * 512)()
        self.library.JxlColorEncodingSetToSRGB(colours, int(image.ndim == 2))
        self.call("JxlEncoderSetColorEncoding", self.encoder, colours)

    def output(self) -> bytes:
        self.library.JxlEncoderCloseInput(self.encoder)
        out, buffer = b"", (ctypes.c_uint8 * _ROOM)()
        while True:
            at, left = ctypes.c_void_p(ctypes.addressof(buffer)), ctypes.c_size_t(_ROOM)
            status = self.library.JxlEncoderProcessOutput(
                self.encoder, ctypes.byref(at), ctypes.byref(left)
            )
            out += bytes(buffer)[: _ROOM - left.value]
            if status != _MORE:
                assert status == 0
                return out


def encoded(
    image: np.ndarray,
    *,
    bits: int = 8,
    original: bool = True,
    lossless: bool = False,
    options: Sequence[tuple[int, int]] = (),
    icc: bytes = b"",
    container: bool = False,
) -> bytes:
    """``image`` at distance 1, or ``lossless``."""
    one = Encoder()
    if container:
        one.call("JxlEncoderUseContainer", one.encoder, 1)
    one.describe(image, bits, original, icc)
    settings = one.settings()
    if lossless:
        one.call("JxlEncoderSetFrameLossless", settings, 1)
    else:
        one.call("JxlEncoderSetFrameDistance", settings, ctypes.c_float(1.0))
    for option, value in options:
        one.call("JxlEncoderFrameSettingsSetOption", settings, option, ctypes.c_int64(value))
    depth = _BitDepth(1, bits, 0)
    one.call("JxlEncoderSetFrameBitDepth", settings, ctypes.byref(depth))
    kind = _PixelFormat(1 if image.ndim == 2 else 3, 2 if image.itemsize == 1 else 3, 0, 0)
    raw = image.tobytes()
    size = ctypes.c_size_t(len(raw))
    one.call("JxlEncoderAddImageFrame", settings, ctypes.byref(kind), raw, size)
    return one.output()


def recompressed(jpeg: bytes, *, way_back: bool) -> bytes:
    """A JPEG file; ``way_back``: with what is needed to restore it."""
    one = Encoder()
    one.call("JxlEncoderStoreJPEGMetadata", one.encoder, int(way_back))
    one.call("JxlEncoderAddJPEGFrame", one.settings(), jpeg, ctypes.c_size_t(len(jpeg)))
    return one.output()


def jpeg(image: np.ndarray) -> bytes:
    """YCbCr with subsampled chroma, or grey."""
    return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(image), level=80))


def main() -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    streams = {
        "lossless": encoded(COLOUR, lossless=True),
        "lossless grey": encoded(GREY, bits=12, lossless=True),
        "lossless in a container": encoded(COLOUR, lossless=True, container=True),
        "lossless with a profile": encoded(COLOUR, lossless=True, icc=icc),
        "modular": encoded(COLOUR, options=[(MODULAR, 1)]),
        "vardct": encoded(COLOUR),
        "vardct grey": encoded(GREY, bits=12),
        "vardct in a container": encoded(COLOUR, container=True),
        "vardct with a profile": encoded(COLOUR, icc=icc),
        "vardct behind a frame of its own": encoded(COLOUR, options=[(PROGRESSIVE_DC, 1)]),
        "xyb": encoded(COLOUR, original=False),
        "xyb modular": encoded(COLOUR, original=False, options=[(MODULAR, 1)]),
        "jpeg": recompressed(jpeg(COLOUR), way_back=True),
        "jpeg for good": recompressed(jpeg(COLOUR), way_back=False),
        "grey jpeg for good": recompressed(jpeg(COLOUR[..., 0]), way_back=False),
    }
    with zipfile.ZipFile(STREAMS, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, stream in streams.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), stream)


if __name__ == "__main__":
    main()
