"""Digests that are taken later are those that are taken at once."""

import hashlib
from collections import Counter
from pathlib import Path

import pydicom
import pytest

from gateway.failures import PermanentFailure
from gateway.model import Checks, Rendition, Undigested
from gateway.transcode import later
from gateway.transcode.instance import Transcoded, transcode
from gateway.transcode.later import digests_of_files
from gateway.transfer_syntax import DEFLATED
from tests.real_files import FOLDER, catalogue, needs_real_files
from tests.transcode.objects import (
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    RLE,
    encapsulated,
    header,
    rle_of,
    save,
)

AT_ONCE = Checks(digests=True)
LATER = AT_ONCE._replace(later=True)
_left: Counter[str] = Counter()


def served(source: Path, target: str, rendition: Rendition = Rendition()) -> Transcoded:  # noqa: B008
    """The record of what was transcoded, completed later where it was left so."""
    out = source.with_name("late.dcm")
    done = transcode(source, target, out, rendition=rendition, checks=LATER)
    if done.undigested is None:
        return done
    assert (done.stored_digest, done.native_digest) == ("", "")
    stored, native = digests_of_files(source, out, done.undigested)
    return done._replace(stored_digest=stored, native_digest=native)


def digests(done: Transcoded) -> tuple[str, str]:
    return done.stored_digest, done.native_digest


@pytest.mark.data
@needs_real_files
@pytest.mark.parametrize("name", sorted(row["file"] for row in catalogue()))
def test_a_real_file_has_the_same_digests_later(name: str, tmp_path: Path) -> None:
    source, out = tmp_path / "in.dcm", tmp_path / "out.dcm"
    source.symlink_to(FOLDER / name)
    target = EXPLICIT_BE if len(name) % 3 == 0 else EXPLICIT_LE
    try:
        delivered = transcode(source, target, out, checks=AT_ONCE)
    except PermanentFailure:
        return
    done = served(source, target)
    assert digests(done) == digests(delivered)
    assert out.read_bytes() == source.with_name("late.dcm").read_bytes()
    _left["later" if done.undigested else "at once"] += 1


@pytest.mark.data
@needs_real_files
def test_most_were_really_left_for_later() -> None:
    assert _left["later"] > 10 * _left["at once"], _left


@pytest.mark.parametrize("syntax", [EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE, DEFLATED])
@pytest.mark.parametrize("target", [EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE])
@pytest.mark.parametrize("planar", ["", "separate"])
@pytest.mark.parametrize("allocated", [8, 16])
def test_native_pixels_have_the_same_digests_later(
    syntax: str, target: str, planar: str, allocated: int, tmp_path: Path
) -> None:
    """Copied, swapped and rendered, of an odd length too; a deflated file is looked at at once."""
    ds = header(5, 7, SamplesPerPixel=3, PhotometricInterpretation="RGB", NumberOfFrames=3)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = allocated, allocated, allocated - 1
    length = 315 * allocated // 8
    ds.PixelData = bytes(number % 251 for number in range(length)) + b"\0" * (length & 1)
    ds["PixelData"].VR = "OB" if allocated == 8 else "OW"
    source = save(tmp_path / "in.dcm", ds, syntax)
    rendition = Rendition(planar=planar)
    wanted = transcode(source, target, tmp_path / "out", rendition=rendition, checks=AT_ONCE)
    done = served(source, target, rendition)
    assert digests(done) == digests(wanted)
    made = pydicom.dcmread(tmp_path / "late.dcm").PixelData[:length]
    assert done.native_digest == hashlib.sha256(made).hexdigest()
    assert (done.undigested is None) == (syntax == DEFLATED)


def fragmented(folder: Path) -> Path:
    """Two frames of 3 x 5 bytes in RLE, each in several fragments."""
    ds = header(3, 5, BitsAllocated=8, BitsStored=8, HighBit=7, NumberOfFrames=2)
    frames = [rle_of([bytes(range(start, start + 15))]) for start in (0, 100)]
    return encapsulated(folder / "in.dcm", ds, RLE, frames, per_frame=2)


def test_fragments_are_summed_up_without_their_item_heads(tmp_path: Path) -> None:
    source = fragmented(tmp_path)
    done = served(source, EXPLICIT_LE)
    assert done.undigested is not None
    assert len(done.undigested.stored) == 4
    assert digests(done) == digests(
        transcode(source, EXPLICIT_LE, tmp_path / "out", checks=AT_ONCE)
    )


@pytest.mark.parametrize(("limit", "most"), [("MOST_RUNS", 3), ("MOST_BYTES", 100)])
def test_what_is_long_or_in_many_pieces_is_summed_up_at_once(
    limit: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(later, limit, most)
    done = served(fragmented(tmp_path), EXPLICIT_LE)
    assert done.undigested is None
    assert len(done.native_digest) == 64


def test_an_object_without_pixels_has_the_digests_of_nothing(tmp_path: Path) -> None:
    ds = header(3, 5)
    del ds.Rows, ds.Columns
    done = served(save(tmp_path / "in.dcm", ds, EXPLICIT_LE), IMPLICIT_LE)
    assert digests(done) == (hashlib.sha256().hexdigest(),) * 2


def test_a_file_that_is_gone_or_was_cut_short_has_no_digest(tmp_path: Path) -> None:
    whole, short = tmp_path / "whole", tmp_path / "short"
    whole.write_bytes(b"0123456789")
    short.write_bytes(b"0123")
    left = Undigested(((1, 2), (5, 3)), (2, 4))
    stored, native = (hashlib.sha256(text).hexdigest() for text in (b"12567", b"2345"))
    assert digests_of_files(whole, whole, left) == (stored, native)
    assert digests_of_files(whole, short, left) == (stored, "")
    assert digests_of_files(tmp_path / "gone", whole, left) == ("", native)
