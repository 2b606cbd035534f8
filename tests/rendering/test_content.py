"""Videos and documents found in stored objects."""

from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from gateway.failures import PermanentFailure
from gateway.rendering.content import Content, document, video
from gateway.rendering.refusals import NothingToShow
from tests.transcode.objects import EXPLICIT_LE, encapsulated, header, save

MPEG2, MPEG4, HEVC = (f"1.2.840.10008.1.2.4.{n}" for n in ("100", "102", "107"))
ITEM = b"\xfe\xff\0\xe0"
TRANSPORT = (b"G" + bytes(187)) * 4


def _bytes(file: Path, content: Content) -> bytes:
    data = file.read_bytes()
    return b"".join(data[offset : offset + length] for offset, length in content.spans)


@pytest.mark.parametrize(
    ("syntax", "stream", "media_types"),
    [
        (MPEG4, b"\0\0\0\x18ftypmp42....", ("video/mp4",)),
        (MPEG4, TRANSPORT, ("video/mp2t", "video/mp4")),
        (MPEG2, TRANSPORT, ("video/mp2t", "video/mpeg")),
        (MPEG2, b"\0\0\1\xba" + bytes(60), ("video/mpeg",)),
        (MPEG2, b"\0\0\1\xb3" + bytes(60), ("video/mpeg",)),
        (HEVC, b"\0\0\0\1" + bytes(60), ("video/H265",)),
        (MPEG4, b"something else", ("video/mp4",)),
    ],
)
def test_a_video_is_named_by_its_container_and_by_its_syntax(
    tmp_path: Path, syntax: str, stream: bytes, media_types: tuple[str, ...]
) -> None:
    file = encapsulated(tmp_path / "video.dcm", header(48, 64), syntax, [stream], table=False)
    found = video(file)
    assert found.media_types == media_types
    assert _bytes(file, found) == stream


def test_fragments_are_one_stream_behind_the_other(tmp_path: Path) -> None:
    pieces = [b"\0\0\0\x18ftyp", b"12", bytes(1000), b"end!"]
    file = encapsulated(tmp_path / "video.dcm", header(48, 64), MPEG4, pieces)
    found = video(file)
    assert _bytes(file, found) == b"".join(pieces)
    assert found.size == sum(map(len, pieces))


def test_an_object_without_a_video_has_none(tmp_path: Path) -> None:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.11", "2.25.1234567890"
    file = save(tmp_path / "none.dcm", ds, EXPLICIT_LE)
    for read in (video, document):
        with pytest.raises(NothingToShow):
            read(file)
    file = encapsulated(tmp_path / "empty.dcm", header(48, 64), MPEG4, [b"GONE"], table=False)
    file.write_bytes(file.read_bytes().replace(ITEM + b"\4\0\0\0GONE", b""))
    with pytest.raises(NothingToShow, match="no fragment"):
        video(file)
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(b"DICM" * 50)
    with pytest.raises(PermanentFailure):
        video(cut)


@pytest.mark.parametrize(
    ("stated", "media_type", "length", "found_as", "found"),
    [
        ("application/pdf", "application/pdf", 5, "application/pdf", b"%PDF5"),
        ("text/XML", "text/XML", None, "text/xml", b"%PDF5\0"),
        ("model/stl", "model/stl", 99, "model/stl", b"%PDF5\0"),
        ("", "", 5, "application/octet-stream", b"%PDF5"),
        ("evil", "a/b\r\nX: y", 5, "application/octet-stream", b"%PDF5"),
    ],
)
def test_a_document_has_its_own_media_type_and_length(
    tmp_path: Path,
    stated: str,
    media_type: str,
    length: int | None,
    found_as: str,
    found: bytes,
) -> None:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.104.1", "2.25.1234567890"
    ds.EncapsulatedDocument = b"%PDF5\0"
    ds.add_new("MIMETypeOfEncapsulatedDocument", "LO", "")
    ds["MIMETypeOfEncapsulatedDocument"]._value = media_type
    if length is not None:
        ds.EncapsulatedDocumentLength = length
    file = save(tmp_path / "document.dcm", ds, EXPLICIT_LE)
    content = document(file)
    assert (content.media_types, _bytes(file, content)) == ((found_as,), found)
