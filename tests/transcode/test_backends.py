"""Each decoder alone: what it says it supports it decodes exactly."""

import imagecodecs
import numpy as np
import pytest

from gateway.transcode.backends import gdcm, jpeg_ls, native, pillow, pylibjpeg
from gateway.transcode.backends import imagecodecs as codecs
from gateway.transcode.codestream import read_codestream
from gateway.transcode.decoders import BACKENDS, ROWS, candidates
from gateway.transcode.form import Backend, Coding, FrameFormat
from gateway.transcode.samples import conform
from gateway.transfer_syntax import (
    HTJ2K_LOSSLESS,
    J2K,
    J2K_LOSSLESS,
    JPEG_BASELINE,
    JPEG_LOSSLESS_SV1,
    JPEG_LS,
    RLE,
)
from tests.transcode.objects import rle_of

RNG = np.random.default_rng(7)
ROWS_COLUMNS = 31, 44


def picture(bits: int, samples: int, signed: bool = False) -> np.ndarray:
    """A slope with noise that uses all values of ``bits`` bits."""
    kind = f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}"
    low = -(1 << (bits - 1)) if signed else 0
    shape = ROWS_COLUMNS if samples == 1 else (*ROWS_COLUMNS, samples)
    slope = np.add.outer(np.arange(31) * 5, np.arange(44) * 3)
    slope = slope.reshape(31, 44, *[1] * (len(shape) - 2))
    values = (slope + RNG.integers(0, 1 << bits, shape)) % (1 << bits) + low
    values.flat[0], values.flat[1] = low, low + (1 << bits) - 1
    return values.astype(kind)


def form_of(stream: bytes, syntax: str, bits: int, samples: int, **more: object) -> FrameFormat:
    found = read_codestream(stream)
    assert found is not None
    assert found.coding is not None
    rows, columns = ROWS_COLUMNS
    return FrameFormat(
        syntax,
        rows,
        columns,
        samples_per_pixel=samples,
        bits_allocated=8 if bits <= 8 else 16,
        bits_stored=bits,
        photometric="MONOCHROME2" if samples == 1 else "RGB",
        coding=found.coding,
        precision=found.precision,
        codestream_signed=found.signed,
        lossy=found.lossy,
        **more,  # type: ignore[arg-type]
    )


REFUSING = {("pillow", Coding.JPEG_2000), ("gdcm", Coding.JPEG_8), ("pylibjpeg", Coding.RLE)}
"""Who does not claim all of a coding: signed samples and 12 bits; colours; single bits."""


def check(backend: Backend, stream: bytes, form: FrameFormat, wanted: np.ndarray) -> None:
    if not backend.supports(form):
        assert (backend.name, form.coding) in REFUSING
        assert candidates(form), "somebody else does"
        return
    got = conform(backend.decode(memoryview(stream), form), form)
    assert got.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("backend", ROWS[Coding.JPEG_LOSSLESS], ids=lambda b: b.name)
@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize(("bits", "samples"), [(8, 1), (8, 3), (10, 1), (12, 1), (16, 1)])
def test_jpeg_lossless_of_every_selection_value(
    backend: Backend, predictor: int, bits: int, samples: int
) -> None:
    image = picture(bits, samples)
    stream = imagecodecs.jpeg8_encode(
        image,
        lossless=True,
        predictor=predictor,
        bitspersample=bits,
        colorspace="RGB" if samples == 3 else None,
        outcolorspace="RGB" if samples == 3 else None,
    )
    check(backend, stream, form_of(stream, JPEG_LOSSLESS_SV1, bits, samples), image)


@pytest.mark.parametrize("backend", ROWS[Coding.JPEG_LS], ids=lambda b: b.name)
@pytest.mark.parametrize(("bits", "samples"), [(8, 1), (8, 3), (16, 1)])
def test_jpeg_ls(backend: Backend, bits: int, samples: int) -> None:
    image = picture(bits, samples)
    stream = imagecodecs.jpegls_encode(image)
    check(backend, stream, form_of(stream, JPEG_LS, bits, samples), image)


@pytest.mark.parametrize("backend", ROWS[Coding.JPEG_2000], ids=lambda b: b.name)
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("bits", "samples"), [(8, 1), (8, 3), (12, 1), (16, 1)])
def test_reversible_jpeg_2000(backend: Backend, bits: int, samples: int, signed: bool) -> None:
    image = picture(bits, samples, signed)
    stream = imagecodecs.jpeg2k_encode(
        image, level=0, codecformat="j2k", bitspersample=bits, mct=samples == 3 and not signed
    )
    form = form_of(stream, J2K_LOSSLESS, bits, samples, signed=signed)
    assert form.precision == bits
    wanted = image.astype(f"<{image.dtype.kind}{form.container}")
    check(backend, stream, form, wanted)


@pytest.mark.parametrize("backend", ROWS[Coding.JPEG_2000], ids=lambda b: b.name)
@pytest.mark.parametrize("samples", [1, 3])
def test_irreversible_jpeg_2000_agrees_within_one(backend: Backend, samples: int) -> None:
    image = picture(8, samples)
    stream = imagecodecs.jpeg2k_encode(
        image, level=40, codecformat="j2k", reversible=False, mct=samples == 3
    )
    form = form_of(stream, J2K, 8, samples)
    assert form.lossy
    assert backend.supports(form)
    best = candidates(form)[0].decode(stream, form).astype(int)
    assert np.abs(backend.decode(stream, form).astype(int) - best).max() <= 1


@pytest.mark.parametrize("backend", ROWS[Coding.JPEG_8], ids=lambda b: b.name)
@pytest.mark.parametrize("subsampling", ["444", "422", "420"])
@pytest.mark.parametrize("photometric", ["YBR_FULL", "RGB"])
def test_jpeg_colours_stay_as_encoded_or_become_rgb(
    backend: Backend, subsampling: str, photometric: str
) -> None:
    """libjpeg is the reference: YCbCr upsampled and not converted, or converted by itself."""
    stream = imagecodecs.jpeg8_encode(picture(8, 3), level=90, subsampling=subsampling)
    convert = photometric == "RGB"
    form = form_of(stream, JPEG_BASELINE, 8, 3, convert=convert)._replace(photometric=photometric)
    wanted = imagecodecs.jpeg8_decode(
        stream, colorspace="YCBCR", outcolorspace="RGB" if convert else "YCBCR"
    )
    check(backend, stream, form, wanted)


@pytest.mark.parametrize("backend", ROWS[Coding.JPEG_8], ids=lambda b: b.name)
def test_grey_jpeg(backend: Backend) -> None:
    stream = imagecodecs.jpeg8_encode(picture(8, 1), level=90)
    wanted = imagecodecs.jpeg8_decode(stream)
    check(backend, stream, form_of(stream, JPEG_BASELINE, 8, 1), wanted)


def rle_frame(image: np.ndarray) -> bytes:
    """An RLE frame of (rows, columns[, samples]), PS3.5 G.4."""
    flat = image.reshape(image.shape[0] * image.shape[1], -1)
    planes = [
        flat[:, sample]
        .astype(f">u{image.itemsize}")
        .view("u1")
        .reshape(-1, image.itemsize)[:, byte]
        for sample in range(flat.shape[1])
        for byte in range(image.itemsize)
    ]
    return rle_of([plane.tobytes() for plane in planes])


@pytest.mark.parametrize("backend", ROWS[Coding.RLE], ids=lambda b: b.name)
@pytest.mark.parametrize(("bits", "samples"), [(8, 1), (8, 3), (16, 1), (16, 3), (32, 1), (32, 3)])
def test_rle(backend: Backend, bits: int, samples: int) -> None:
    shape = ROWS_COLUMNS if samples == 1 else (*ROWS_COLUMNS, samples)
    image = RNG.integers(0, 1 << bits, shape, dtype=np.int64).astype(f"<u{bits // 8}")
    form = FrameFormat(
        RLE,
        31,
        44,
        samples_per_pixel=samples,
        bits_allocated=bits,
        bits_stored=bits,
        coding=Coding.RLE,
    )
    check(backend, rle_frame(image), form, image)


@pytest.mark.parametrize("backend", ROWS[Coding.RLE], ids=lambda b: b.name)
def test_single_bit_rle(backend: Backend) -> None:
    bits = RNG.integers(0, 2, ROWS_COLUMNS).astype("u1")
    packed = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    form = FrameFormat(RLE, 31, 44, bits_allocated=1, bits_stored=1, coding=Coding.RLE)
    check(backend, rle_of([packed]), form, bits)


@pytest.mark.parametrize("backend", [codecs, native], ids=lambda b: b.name)
@pytest.mark.parametrize("count", [1, 3])
def test_rle_with_another_number_of_segments_is_an_error(backend: Backend, count: int) -> None:
    form = FrameFormat(RLE, 31, 44, bits_allocated=16, coding=Coding.RLE)
    with pytest.raises(ValueError, match="segments"):
        backend.decode(rle_of([bytes(31 * 44)] * count), form)


@pytest.mark.parametrize("backend", ROWS[Coding.RLE], ids=lambda b: b.name)
def test_an_rle_segment_that_is_too_short_is_an_error(backend: Backend) -> None:
    form = FrameFormat(RLE, 31, 44, bits_allocated=8, bits_stored=8, coding=Coding.RLE)
    with pytest.raises(ValueError):  # noqa: PT011 - each library has its own words
        backend.decode(rle_of([bytes(31 * 44 - 5)]), form)


@pytest.mark.parametrize("planar", [0, 1])
def test_native_samples_are_read_by_pixel_and_by_plane(planar: int) -> None:
    image = RNG.integers(0, 256, (31, 44, 3)).astype("u1")
    stored = np.ascontiguousarray(image.transpose(2, 0, 1)) if planar else image
    form = FrameFormat("", 31, 44, 3, bits_allocated=8, bits_stored=8, planar=planar)
    check(native, stored.tobytes(), form, image)


def test_every_backend_says_what_it_is() -> None:
    for backend in BACKENDS:
        assert backend.version(), f"{backend.name} is missing: {backend.requires}"
    assert {b.name for b in (gdcm, jpeg_ls, pillow, pylibjpeg)} < {b.name for b in BACKENDS}


def test_every_coding_has_a_decoder() -> None:
    assert set(ROWS) == set(Coding)


def test_errors_of_openjph_that_python_cannot_raise_are_seen() -> None:
    """imagecodecs lets them pass, and returns what was decoded so far."""
    stream = bytearray(imagecodecs.htj2k_encode(picture(8, 1), reversible=True))
    form = form_of(bytes(stream), HTJ2K_LOSSLESS, 8, 1)
    assert codecs.supports(form)
    start = stream.index(b"\xff\x93")
    seen, places = 0, range(start + 2, len(stream) - 2, 5)
    for at in places:
        damaged = bytes(stream[:at]) + b"\xff\xff\xff" + bytes(stream[at + 3 :])
        try:
            codecs.decode(damaged, form)
        except (ValueError, RuntimeError):
            seen += 1
    assert seen > len(places) // 2


@pytest.mark.parametrize("coding", [Coding.JPEG_LS, Coding.JPEG_LOSSLESS])
@pytest.mark.parametrize("lossy", [False, True])
def test_gdcm_is_not_asked_for_less_than_8_bits_where_it_is_wrong_or_ends_its_process(
    coding: Coding, lossy: bool
) -> None:
    for precision in range(2, 17):
        form = FrameFormat(
            "", 4, 4, bits_stored=precision, coding=coding, precision=precision, lossy=lossy
        )
        assert gdcm.supports(form) == (precision >= 8)
