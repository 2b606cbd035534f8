"""A header is read as far as it is wanted, without a map, and as it is in the whole file."""

import mmap
import zlib
from pathlib import Path

import pytest

from gateway.dataset.beginning import beginning
from gateway.dataset.elements import Limits, MalformedDataSet
from gateway.dataset.header import header_of, read_header
from gateway.dataset.json_model import PIXELS, JsonModel
from gateway.dataset.part10 import encode_file_meta, read_file_meta
from gateway.index import header
from gateway.transfer_syntax import BY_UID, EXPLICIT_LE, JPEG_BASELINE, TransferSyntax
from tests.dataset.samples import ELE, UNDEFINED, element, every_file, head, item, sequence

ALL = 0xFFFFFFFF
PATIENT = element(0x00100020, "LO", b"ID")
BEHIND = element(0xFFFCFFFC, "OB", b"behind")
TAGS = {0x00100020: "PatientID", 0xFFFCFFFC: "DataSetTrailingPadding", 0x00280008: "Frames"}


@pytest.fixture(autouse=True)
def no_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """A map of a file that is cut short meanwhile would end the process."""

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a file was mapped")

    monkeypatch.setattr(mmap, "mmap", refused)


def written(file: Path, data: bytes, syntax: str = EXPLICIT_LE) -> Path:
    meta = encode_file_meta(sop_class_uid="1.2", sop_instance_uid="1", transfer_syntax=syntax)
    file.write_bytes(meta + data)
    return file


def whole_of(path: Path) -> tuple[bytes, int, int, TransferSyntax]:
    """The bytes, where in them the data set begins and ends, and its transfer syntax; inflated.

    Raises MalformedDataSet for what is no Part 10 file.
    """
    data = path.read_bytes()
    meta = read_file_meta(data)
    start, syntax = meta.dataset_offset, BY_UID.get(meta.transfer_syntax, ELE)
    if syntax.deflated:
        data, start = zlib.decompress(data[start:], -zlib.MAX_WBITS), 0
    return data, start, len(data), syntax


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", every_file())
def test_every_file_says_the_same_as_read_whole(path: Path) -> None:
    data = path.read_bytes()
    for until in (0x00080018, 0x0020000E, 0x00400275):
        plan = {tag: f"{tag:08X}" for tag in (0x00080018, 0x00100020, until)}
        found: list[object] = []
        for read in (lambda: read_header(path, plan), lambda: header_of(data, plan)):  # noqa: B023
            try:
                found.append(read())
            except MalformedDataSet:
                found.append(None)
        assert found[0] == found[1]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", every_file())
def test_the_wanted_attributes_of_every_file_are_those_of_the_whole(path: Path) -> None:
    wanted = {0x00080018, 0x00100020, 0x00281053, 0x00400275}
    try:
        place = whole_of(path)
    except MalformedDataSet:
        with pytest.raises(MalformedDataSet):
            header.attributes(JsonModel(), path, wanted)
        return
    damage: list[MalformedDataSet] = []
    whole = JsonModel().attributes(*place, None, wanted, None, damage)
    assert header.attributes(JsonModel(), path, wanted) == whole


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", every_file())
def test_all_attributes_of_every_file_but_its_pixels(path: Path) -> None:
    try:
        place = whole_of(path)
    except MalformedDataSet:
        with pytest.raises(MalformedDataSet):
            header.attributes(JsonModel(), path, None, str)
        return
    damage: list[MalformedDataSet] = []
    whole = JsonModel().attributes(*place, str, None, None, damage)
    wanted = {tag: text for tag, text in whole.items() if tag not in PIXELS}
    assert header.attributes(JsonModel(), path, None, str) == wanted


@pytest.mark.parametrize("size", [100, 70_000, 5 << 20, 40 << 20])
def test_what_stands_behind_long_values_is_found(tmp_path: Path, size: int) -> None:
    pixels = element(0x7FE00010, "OW", bytes(size))
    private = element(0x00090010, "LO", b"ME") + element(0x00091001, "OB", bytes(size))
    file = written(tmp_path / "a", private + PATIENT + pixels + BEHIND)
    assert read_header(file, TAGS) == {"PatientID": "ID", "DataSetTrailingPadding": ""}
    assert len(beginning(file, 0x00100020)) < 20 << 20
    assert len(beginning(file, ALL)) < 20 << 20
    assert {0x00100020, 0xFFFCFFFC} <= header.attributes(JsonModel(), file, None).keys()


def test_fragments_are_passed_over_one_by_one(tmp_path: Path) -> None:
    fragments = [b"", *(bytes([n]) * 3_000_000 for n in range(8))]
    pixels = head(0x7FE00010, "OB", UNDEFINED) + b"".join(map(item, fragments))
    end = head(0xFFFEE0DD, "", 0)
    file = written(tmp_path / "a", PATIENT + pixels + end + BEHIND, JPEG_BASELINE)
    assert read_header(file, TAGS) == {"PatientID": "ID", "DataSetTrailingPadding": ""}
    assert len(beginning(file, ALL)) < 1 << 20
    file = written(tmp_path / "cut", PATIENT + pixels[:-1_000_000], JPEG_BASELINE)
    assert read_header(file, TAGS) == {"PatientID": "ID"}


@pytest.mark.parametrize("undefined", [False, True])
def test_a_long_sequence_is_read_through(tmp_path: Path, undefined: bool) -> None:
    items = [item(element(0x00080060, "CS", b"CT") * 1, undefined=undefined)] * 9000
    long = sequence(0x00081140, *items, undefined=undefined)
    file = written(tmp_path / "a", long + PATIENT)
    assert read_header(file, TAGS) == {"PatientID": "ID"}
    with pytest.raises(MalformedDataSet):
        read_header(file, TAGS, Limits(header=100_000))


def test_an_empty_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(MalformedDataSet, match="empty"):
        beginning(tmp_path / "a", ALL)
