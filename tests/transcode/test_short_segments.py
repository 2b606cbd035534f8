"""RLE segments (PS3.5 Annex G): one that ends early never becomes a picture."""

import pytest

from gateway.transcode.backends import imagecodecs, native
from gateway.transcode.form import Coding, FrameFormat
from gateway.transfer_syntax import RLE


def _frame(segment: bytes) -> bytes:
    """One segment behind its header of 64 bytes."""
    return (1).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(56) + segment


def _form(bits: int) -> FrameFormat:
    return FrameFormat(
        transfer_syntax=RLE,
        rows=8,
        columns=8,
        samples_per_pixel=1,
        bits_allocated=bits,
        bits_stored=bits,
        signed=False,
        photometric="MONOCHROME2",
        coding=Coding.RLE,
        precision=bits,
    )


@pytest.mark.parametrize("backend", [imagecodecs, native])
@pytest.mark.parametrize("bits", [1, 8])
@pytest.mark.parametrize("segment", [b"\x00\x07", b"\xfd\x07"])
def test_a_segment_that_is_too_short_is_refused(backend, bits, segment):
    with pytest.raises(Exception, match=r"segment|bytes|RLE"):
        backend.decode(_frame(segment), _form(bits))


@pytest.mark.parametrize("backend", [imagecodecs, native])
def test_a_segment_that_is_whole_is_decoded(backend):
    samples = backend.decode(_frame(b"\xc1\x07"), _form(8))
    assert samples.tobytes() == b"\x07" * 64


@pytest.mark.parametrize("backend", [imagecodecs, native])
@pytest.mark.parametrize("padding", [b"\x00", b"\x00\x00", b"\x80", b"\xfd\x09"])
def test_what_stands_behind_the_bytes_of_a_plane_is_padding(backend, padding):
    samples = backend.decode(_frame(b"\xc1\x07" + padding), _form(8))
    assert samples.tobytes() == b"\x07" * 64
