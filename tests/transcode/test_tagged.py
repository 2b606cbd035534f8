"""Attributes changed on the way: in what is transcoded, and in what goes as it is stored."""

import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from gateway.dataset.elements import PIXEL_DATA, elements
from gateway.dataset.part10 import read_file_meta
from gateway.failures import PermanentFailure
from gateway.model import Checks, Rendition
from gateway.tags import Hash, Private, Remove, Secret, Set, TagChanges, Template
from gateway.transcode.instance import Transcoded, transcode
from gateway.transcode.pool import TranscodePool
from gateway.transfer_syntax import BY_NAME, BY_UID, DEFLATED, NATIVE
from tests.dataset.samples import CUT, EBE, ELE, ILE, NO_DATA_SET, element, every_file
from tests.transcode.objects import (
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    JPEG_LS,
    RLE,
    encapsulated,
    header,
    little_endian_pixels,
    relabelled,
    rle_of,
    save,
)

NAME, INSTITUTION, SOP_INSTANCE, REQUEST, AFTER = (
    0x00100010,
    0x00080080,
    0x00080018,
    0x00400275,
    0xFFFCFFFC,
)
MPEG4 = BY_NAME["mpeg4-high"].uid
KEY = Secret(b"sixteen bytes and more")
CHANGES = TagChanges(
    (
        Set(path=(NAME,), values=("Doe^Jane",)),
        Remove(path=(INSTITUTION,)),
        Set(path=(REQUEST, 0x00400009), values=("STEP",)),
        Set(path=(Private(0x3333, 0x08, "ACME 1.0"),), values=("7",), vr="UL"),
        Template(path=(0x00081030,), parts=("from ", (0x00080060,))),
    )
)
RENAMED = TagChanges((Hash(path=(SOP_INSTANCE,), secret=KEY, identity=True),))
TOUCHED = {NAME, INSTITUTION, REQUEST, 0x33330010, 0x33331008, 0x00081030}
MENDED = (
    "SC_rgb_jpeg.dcm",
    "pydicom__SC_rgb_jpeg.dcm",
    "ruby-dicom__no-header_explicit-two-pass-.dcm",
)
"""Files that are encoded otherwise than they say, or whose Pixel Data has a wrong VR."""
GROUP_LENGTHS = {tag & 0xFFFF0000 for tag in TOUCHED}


def raw(path: Path) -> dict[int, bytes]:
    """The top-level elements of a file, byte for byte; a deflated data set inflated."""
    data = path.read_bytes()
    meta = read_file_meta(data)
    syntax, start = BY_UID[meta.transfer_syntax], meta.dataset_offset
    if syntax.deflated:
        data, start, syntax = zlib.decompressobj(-15).decompress(data[start:]), 0, ELE
    found = elements(data, start, len(data), ELE if syntax.encapsulated else syntax)
    return {each.tag: data[each.start : each.end] for each in found}


def image(**more: Any) -> Dataset:
    """The header of a small picture with something to change."""
    ds = header(8, 6, BitsAllocated=8, BitsStored=8, HighBit=7, NumberOfFrames=3)
    ds.PatientName, ds.InstitutionName, ds.Modality = "Müller", "Clinic", "OT"
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.RequestAttributesSequence = [Dataset()]
    for keyword, value in more.items():
        setattr(ds, keyword, value)
    return ds


FRAMES = np.random.default_rng(9).integers(0, 256, (3, 8, 6)).astype("u1")


def stored_as(syntax: str, folder: Path) -> Path:
    """The picture in any transfer syntax, in fragments of several sizes where it has some."""
    path, ds = folder / "in.dcm", image()
    if syntax in (*NATIVE, DEFLATED):
        ds.PixelData = FRAMES.tobytes()
        ds["PixelData"].VR = "OB"
        return save(path, ds, syntax)
    if syntax == JPEG_LS:
        streams = [bytes(imagecodecs.jpegls_encode(frame)) for frame in FRAMES]
        return encapsulated(path, ds, JPEG_LS, streams, per_frame=2)
    if syntax == RLE:
        return encapsulated(path, ds, RLE, [rle_of([frame.tobytes()]) for frame in FRAMES])
    return encapsulated(path, ds, syntax, [b"a video, not really. "], table=False)


def made(
    source: Path, target: str, tags: TagChanges | None, **more: Any
) -> tuple[Path, Transcoded]:
    out = source.with_name(f"{target}-{tags is not None}.out")
    done = transcode(source, target, out, tags=tags, **more)
    assert done.size == out.stat().st_size
    return out, done


@pytest.mark.parametrize("syntax", [JPEG_LS, RLE, MPEG4, DEFLATED])
def test_what_goes_as_stored_keeps_every_other_byte(syntax: str, tmp_path: Path) -> None:
    source = stored_as(syntax, tmp_path)
    out, done = made(source, syntax, CHANGES, checks=Checks(digests=True))
    before, after = raw(source), raw(out)
    assert after[PIXEL_DATA] == before[PIXEL_DATA]
    assert {tag: value for tag, value in after.items() if tag not in TOUCHED} == {
        tag: value for tag, value in before.items() if tag not in TOUCHED
    }
    assert after[NAME] == element(NAME, "PN", b"Doe^Jane")
    assert after[0x33331008] == element(0x33331008, "UL", b"\7\0\0\0")
    assert INSTITUTION not in after
    ds = pydicom.dcmread(out)
    assert ds.file_meta.TransferSyntaxUID == syntax
    assert ds.StudyDescription == "from OT"
    assert ds.RequestAttributesSequence[0].ScheduledProcedureStepID == "STEP"
    assert out.stat().st_size % 2 == 0
    assert (done.decoder, done.frames, done.stored_digest, done.native_digest) == ("", 0, "", "")


@pytest.mark.parametrize("target", [EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE])
@pytest.mark.parametrize("stored", [JPEG_LS, RLE, DEFLATED, *NATIVE])
def test_a_transcode_gives_what_it_gives_without_changes_but_for_them(
    stored: str, target: str, tmp_path: Path
) -> None:
    source = stored_as(stored, tmp_path)
    checks = Checks(digests=True, verify="lossless")
    plain, without = made(source, target, None, checks=checks)
    out, done = made(source, target, CHANGES, checks=checks)
    before, after = raw(plain), raw(out)
    assert {tag: value for tag, value in after.items() if tag not in TOUCHED} == {
        tag: value for tag, value in before.items() if tag not in TOUCHED
    }
    syntax = {EXPLICIT_LE: ELE, IMPLICIT_LE: ILE, EXPLICIT_BE: EBE}[target]
    assert after[NAME] == element(NAME, "PN", b"Doe^Jane", syntax)
    assert little_endian_pixels(pydicom.dcmread(out)) == FRAMES.tobytes()
    assert (done.native_digest, done.verification) == (without.native_digest, without.verification)
    assert done.notes[-1].startswith("changed by the route: (0008,0080), (0008,1030)")


def test_the_file_says_the_new_uid_too(tmp_path: Path) -> None:
    for syntax, target in ((JPEG_LS, JPEG_LS), (JPEG_LS, IMPLICIT_LE), (DEFLATED, DEFLATED)):
        out, _ = made(stored_as(syntax, tmp_path), target, RENAMED)
        ds = pydicom.dcmread(out)
        assert ds.SOPInstanceUID.startswith("2.25.")
        assert ds.SOPInstanceUID not in ("", "2.25.1234567890")
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID


def test_what_stands_behind_pixel_data_is_changed_and_kept_in_its_place(tmp_path: Path) -> None:
    ds = image(DataSetTrailingPadding=b"\0" * 6)
    source = encapsulated(tmp_path / "in.dcm", ds, RLE, [rle_of([f.tobytes()]) for f in FRAMES])
    out, _ = made(source, RLE, CHANGES)
    assert list(raw(out)) == sorted(raw(out))
    assert raw(out)[AFTER] == raw(source)[AFTER]
    removed, _ = made(source, RLE, TagChanges((Remove(path=(0xFFFCFFFC,)),)))
    assert AFTER not in raw(removed)


@pytest.mark.parametrize("target", [RLE, IMPLICIT_LE])
def test_a_name_that_stands_behind_pixel_data_is_not_left_there(
    target: str, tmp_path: Path
) -> None:
    source = stored_as(RLE, tmp_path)
    with source.open("ab") as opened:
        opened.write(element(NAME, "PN", b"HIDDEN"))
    out, _ = made(source, target, CHANGES)
    assert b"HIDDEN" not in out.read_bytes()
    assert raw(out)[NAME].endswith(b"Doe^Jane")


@pytest.mark.parametrize("length", range(8))
def test_what_is_deflated_anew_has_an_even_length(length: int, tmp_path: Path) -> None:
    """PS3.5 A.5."""
    change = TagChanges((Set(path=(NAME,), values=("ABCDEFGH"[:length],)),))
    out, _ = made(stored_as(DEFLATED, tmp_path), DEFLATED, change)
    meta = read_file_meta(out.read_bytes())
    assert (out.stat().st_size - meta.dataset_offset) % 2 == 0
    assert pydicom.dcmread(out).PatientName == "ABCDEFGH"[:length]


def test_an_icon_is_decoded_and_the_change_is_there(tmp_path: Path) -> None:
    icon = header(8, 6, BitsAllocated=8, BitsStored=8, HighBit=7)
    icon.PixelData = pydicom.encaps.encapsulate([rle_of([FRAMES[0].tobytes()])])
    icon["PixelData"].VR, icon["PixelData"].is_undefined_length = "OB", True
    ds = image(IconImageSequence=[icon])
    source = encapsulated(tmp_path / "in.dcm", ds, RLE, [rle_of([f.tobytes()]) for f in FRAMES])
    change = TagChanges((Set(path=(0x00880200, 0x00280303), values=("MODIFIED",)),))
    out, _ = made(source, EXPLICIT_LE, change)
    (small,) = pydicom.dcmread(out).IconImageSequence
    assert small.PixelData == FRAMES[0].tobytes()
    assert small.LongitudinalTemporalInformationModified == "MODIFIED"


def test_an_implicit_data_set_under_a_compressed_label_is_mended(tmp_path: Path) -> None:
    """Encapsulated Pixel Data stands in Explicit VR only (PS3.5 A.4)."""
    ds = image()
    del ds.NumberOfFrames
    ds.PixelData = FRAMES[0].tobytes()
    ds["PixelData"].VR = "OB"
    source = save(tmp_path / "in.dcm", ds, IMPLICIT_LE)
    source.write_bytes(relabelled(source.read_bytes(), RLE))
    out, _ = made(source, RLE, CHANGES)
    assert raw(out)[NAME] == element(NAME, "PN", b"Doe^Jane")
    assert raw(out)[PIXEL_DATA].endswith(FRAMES[0].tobytes())


@pytest.mark.parametrize("target", [RLE, DEFLATED, MPEG4])
def test_nothing_is_compressed_for_a_change(target: str, tmp_path: Path) -> None:
    source = stored_as(JPEG_LS, tmp_path)
    with pytest.raises(PermanentFailure, match="nothing is compressed here"):
        made(source, target, CHANGES)
    with pytest.raises(PermanentFailure, match="only native syntaxes are made"):
        made(source, target, None)


def test_a_change_that_cannot_be_made_leaves_no_file(tmp_path: Path) -> None:
    source = stored_as(RLE, tmp_path)
    change = TagChanges((Set(path=(NAME,), values=("山田",)),))
    with pytest.raises(PermanentFailure, match=r"\(0010,0010\)"):
        made(source, RLE, change)
    assert [path.name for path in tmp_path.iterdir()] == ["in.dcm"]


def test_a_signature_that_no_longer_holds_is_told_of(tmp_path: Path) -> None:
    signature = Dataset()
    signature.MACIDNumber = 1
    ds = image(DigitalSignaturesSequence=[signature])
    ds.PixelData = FRAMES.tobytes()
    source = save(tmp_path / "in.dcm", ds, EXPLICIT_LE)
    _, done = made(source, EXPLICIT_LE, CHANGES)
    assert "a Digital Signature over changed attributes no longer holds" in done.notes


def test_colours_and_attributes_change_together(tmp_path: Path) -> None:
    ds = image(SamplesPerPixel=3, PhotometricInterpretation="YBR_FULL", PlanarConfiguration=0)
    ds.PixelData = bytes(8 * 6 * 3 * 3)
    source = save(tmp_path / "in.dcm", ds, EXPLICIT_LE)
    out, _ = made(source, EXPLICIT_LE, CHANGES, rendition=Rendition(color="RGB"))
    new = pydicom.dcmread(out)
    assert (new.PhotometricInterpretation, new.PatientName) == ("RGB", "Doe^Jane")


async def test_frames_shared_by_workers_stand_behind_a_longer_header(tmp_path: Path) -> None:
    frames = np.random.default_rng(1).integers(0, 60000, (12, 640, 640)).astype("<u2")
    ds = header(640, 640, NumberOfFrames=12)
    planes = [(frame >> 8, frame & 0xFF) for frame in frames]
    streams = [rle_of([part.astype("u1").tobytes() for part in both]) for both in planes]
    source = encapsulated(tmp_path / "in.dcm", ds, RLE, streams)
    pool = TranscodePool(2)
    try:
        done = await pool.transcode(source, IMPLICIT_LE, tmp_path / "out.dcm", tags=CHANGES)
    finally:
        await pool.aclose()
    new = pydicom.dcmread(tmp_path / "out.dcm")
    assert (done.frames, new.PatientName) == (12, "Doe^Jane")
    assert new.PixelData == frames.tobytes()


@pytest.mark.parametrize("path", every_file(frozenset((*CUT, NO_DATA_SET, *MENDED))))
def test_every_file_that_is_changed_keeps_all_else(path: Path, tmp_path: Path) -> None:
    """As stored: Pixel Data and untouched attributes byte for byte."""
    syntax, out = read_file_meta(path.read_bytes()).transfer_syntax, tmp_path / "out.dcm"
    transcode(path, syntax, out, tags=CHANGES)
    after = raw(out)
    before = raw(path)
    changed = TOUCHED | GROUP_LENGTHS
    if REQUEST not in before:
        changed -= {REQUEST, REQUEST & 0xFFFF0000}
    kept = {tag: value for tag, value in before.items() if tag not in changed}
    assert {tag: value for tag, value in after.items() if tag not in changed} == kept
    assert not after.keys() & GROUP_LENGTHS & changed
    assert after[NAME].endswith(b"Doe^Jane")
    assert INSTITUTION not in after
