"""Pixel Data that is not as its transfer syntax says, found without a walk where it is."""

from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from gateway.dataset import labelled
from gateway.dataset.labelled import mislabelled, mislabelled_by_head
from gateway.dataset.part10 import read_file_meta
from gateway.transfer_syntax import BY_UID, DEFLATED
from tests.real_files import FOLDER, needs_real_files
from tests.serve import objects
from tests.transcode.objects import (
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    JPEG_LS,
    encapsulated,
    header,
    save,
)

NATIVE = (EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE)


def told(file: Path, head: int = 32_768) -> tuple[bool | None, bool]:
    """What the first bytes tell, and what the file does."""
    content = file.read_bytes()
    syntax = BY_UID[read_file_meta(content).transfer_syntax]
    return mislabelled_by_head(content[:head], len(content), syntax), mislabelled(file, syntax)


@pytest.mark.parametrize("syntax", NATIVE)
def test_one_value_is_right_under_a_native_label_and_the_head_tells(
    tmp_path: Path, syntax: str
) -> None:
    file = objects.native(tmp_path / "a.dcm", objects.pictures(2), syntax)
    assert told(file) == (False, False)
    assert told(file, head=len(file.read_bytes()) - 20) == (False, False)


def test_fragments_are_right_under_an_encapsulated_label_and_the_head_tells(
    tmp_path: Path,
) -> None:
    assert told(objects.jpeg_ls(tmp_path / "a.dcm", objects.pictures(2))) == (False, False)
    assert told(objects.video(tmp_path / "b.dcm")) == (False, False)


def test_fragments_are_wrong_under_a_native_label(tmp_path: Path) -> None:
    file = objects.under(EXPLICIT_LE, objects.jpeg_ls(tmp_path / "a.dcm", objects.pictures(1)))
    assert told(file) == (None, True)
    assert told(objects.implicit(objects.jpeg_ls(file, objects.pictures(1)))) == (None, True)


def test_one_value_is_wrong_under_an_encapsulated_label(tmp_path: Path) -> None:
    file = objects.under(JPEG_LS, objects.native(tmp_path / "a.dcm", objects.pictures(1)))
    assert told(file) == (None, True)


@pytest.mark.parametrize("syntax", [EXPLICIT_LE, JPEG_LS])
def test_without_pixels_nothing_is_wrong(tmp_path: Path, syntax: str) -> None:
    bare = objects.under(syntax, save(tmp_path / "a.dcm", header(0, 0), EXPLICIT_LE))
    assert told(bare)[1] is False
    ds = header(0, 0)
    ds.PixelData = b""
    ds["PixelData"].VR = "OW"
    assert told(objects.under(syntax, save(tmp_path / "b.dcm", ds, EXPLICIT_LE)))[1] is False


def with_icon(*, coded: bool) -> Dataset:
    icon = header(2, 2)
    icon.PixelData = bytes.fromhex("feff00e000000000feffdde000000000") if coded else bytes(8)
    icon["PixelData"].VR = "OB" if coded else "OW"
    icon["PixelData"].is_undefined_length = coded
    return header(objects.ROWS, objects.COLUMNS, IconImageSequence=[icon])


def test_an_icon_is_not_taken_for_the_image(tmp_path: Path) -> None:
    frames = objects.pictures(1)
    ds = with_icon(coded=False)
    ds.PixelData, ds["PixelData"].VR = frames.tobytes(), "OW"
    assert told(save(tmp_path / "a.dcm", ds, EXPLICIT_LE)) == (False, False)
    coded = encapsulated(tmp_path / "b.dcm", with_icon(coded=False), JPEG_LS, [b"ab"])
    assert told(coded) == (False, False)
    assert told(objects.under(EXPLICIT_LE, coded)) == (None, True)


def test_a_coded_icon_beside_a_plain_image_is_looked_at_and_passed(tmp_path: Path) -> None:
    ds = with_icon(coded=True)
    ds.PixelData = objects.pictures(1).tobytes()
    ds["PixelData"].VR = "OW"
    content = encapsulated(tmp_path / "a.dcm", with_icon(coded=True), JPEG_LS, [b"ab"])
    head, at = content.read_bytes(), content.read_bytes().rindex(b"\xe0\x7f\x10\x00OB")
    value = ds.PixelData
    plain = b"\xe0\x7f\x10\x00OW\0\0" + len(value).to_bytes(4, "little") + value
    content.write_bytes(head[:at] + plain)
    assert told(objects.under(EXPLICIT_LE, content)) == (None, False)


def test_the_tag_in_a_value_before_pixel_data_is_passed_over(tmp_path: Path) -> None:
    stray = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\x7f"
    ds = header(objects.ROWS, objects.COLUMNS, EncryptedAttributesSequence=[])
    ds.add_new(0x00091001, "UN", stray)
    ds.PixelData = objects.pictures(1).tobytes()
    ds["PixelData"].VR = "OW"
    assert told(save(tmp_path / "a.dcm", ds, EXPLICIT_LE)) == (None, False)
    ds[0x00091001].value = stray[12:]
    assert told(save(tmp_path / "b.dcm", ds, EXPLICIT_LE)) == (False, False)


@pytest.mark.parametrize("more", [0, 20, 40])
def test_a_long_header_is_read_on_whatever_the_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    """The tag may stand across two pieces."""
    monkeypatch.setattr(labelled, "_LOOK", 40)
    file = objects.under(EXPLICIT_LE, objects.jpeg_ls(tmp_path / "a.dcm", objects.pictures(1)))
    for head in range(12, 60):
        assert told(file, head) == (None, True)
    ds = header(objects.ROWS, objects.COLUMNS)
    ds.add_new(0x00091001, "UN", bytes(100_000 + more))
    ds.PixelData = objects.pictures(1).tobytes()
    ds["PixelData"].VR = "OW"
    assert told(save(tmp_path / "b.dcm", ds, EXPLICIT_LE)) == (None, False)


def test_a_value_full_of_the_tag_is_read_once() -> None:
    """However often something in it looks like Pixel Data."""
    fake = b"\xe0\x7f\x10\x00OB\0\0\0\0\0\0" * 50_000
    reads: list[int] = []

    def read(at: int) -> bytes:
        reads.append(at)
        return fake[at : at + labelled._LOOK]

    assert labelled._fragments(read, len(fake), little_endian=True) is False
    assert len(reads) <= len(fake) / labelled._LOOK + 1


def test_behind_a_header_beyond_measure_nobody_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = objects.under(EXPLICIT_LE, objects.jpeg_ls(tmp_path / "a.dcm", objects.pictures(1)))
    monkeypatch.setattr(labelled, "_LOOK", 64)
    monkeypatch.setattr(labelled, "_MOST", 128)
    assert told(file) == (None, False)


def test_a_deflated_data_set_is_not_looked_at(tmp_path: Path) -> None:
    assert told(objects.native(tmp_path / "a.dcm", objects.pictures(1), DEFLATED)) == (
        False,
        False,
    )


@pytest.mark.data
@needs_real_files
def test_of_the_real_files_one_is_wrong() -> None:
    found = []
    for file in sorted(FOLDER.glob("*.dcm")):
        try:
            syntax = BY_UID.get(read_file_meta(file.read_bytes()).transfer_syntax)
        except Exception:  # noqa: BLE001, S112 - those that nobody reads are not in question
            continue
        if syntax is not None and mislabelled(file, syntax):
            found.append(file.name)
    assert found == ["ruby-dicom__no-header_explicit-two-pass-.dcm"]
