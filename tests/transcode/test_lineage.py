"""Which decoders share a code base, and prove nothing about each other."""

import pytest

from gateway.transcode import decoders
from gateway.transcode.backends import gdcm, pillow
from gateway.transcode.backends import imagecodecs as libraries
from gateway.transcode.form import Coding, FrameFormat
from gateway.transcode.lineage import LINEAGE, WITNESSES, lineage, one_lineage, others
from tests.transcode.objects import (
    J2K_LOSSLESS,
    JPEG_BASELINE,
    JPEG_LOSSLESS,
    JPEG_LS,
)


def test_lineages_that_share_a_library_do_not_verify_each_other() -> None:
    openjpeg = FrameFormat(J2K_LOSSLESS, 8, 8, coding=Coding.JPEG_2000, precision=8)
    assert others(libraries, openjpeg) == []
    charls = FrameFormat(JPEG_LS, 8, 8, coding=Coding.JPEG_LS, precision=8)
    assert others(gdcm, charls) == []
    grey = FrameFormat(JPEG_BASELINE, 8, 8, coding=Coding.JPEG_8, precision=8, lossy=True)
    assert [one.name for one in others(pillow, grey)] == ["gdcm"]
    lossless = FrameFormat(JPEG_LOSSLESS, 8, 8, coding=Coding.JPEG_LOSSLESS, precision=8)
    assert [one.name for one in others(libraries, lossless)] == ["liblj92", "jpegsof3"]


def test_codings_of_one_lineage_are_named_without_a_self_test(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decoders, "proven", lambda: pytest.fail("measured"))
    never = {"JPEG-LS", "JPEG 2000", "JPEG XL", Coding.JPEG_2000_ARRAYS.value}
    assert set(one_lineage(lossy=False)) == never
    lossy = {"JPEG DCT, 8 bit, in colour", "JPEG DCT, 12 bit", "JPEG DCT, arithmetic coding"}
    assert set(one_lineage(lossy=True)) == never | lossy
    monkeypatch.setattr(gdcm, "version", lambda: "")
    assert "JPEG DCT, 8 bit" in one_lineage(lossy=True)


def test_every_decoder_in_use_has_its_place_in_the_table_of_lineages() -> None:
    witnesses = {one.name for one in WITNESSES}
    for coding, row in decoders.ROWS.items():
        for backend in row if coding is not Coding.NATIVE else ():
            assert (backend.name, coding) in LINEAGE or backend.name in witnesses
        assert lineage("x", coding) == "x"
