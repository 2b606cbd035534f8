"""``dicom-gateway decompress`` on files and folders, as a person calls it."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from typer.testing import CliRunner

from gateway.cli import app
from gateway.cli.decompress import batches_of
from gateway.transcode.verify import Disagreement

RLE, J2K, CT = "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "CT_small.dcm"


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "source"
    (source / "series 1").mkdir(parents=True)
    (source / "series 2").mkdir()
    shutil.copy(get_testdata_file(RLE), source / "series 1" / "a.dcm")
    shutil.copy(get_testdata_file(J2K), source / "series 2" / "a.dcm")
    shutil.copy(get_testdata_file(CT), source / "native")
    return source


def _decompress(*arguments):
    return CliRunner().invoke(app, ["decompress", "--jobs", "1", *map(str, arguments)])


def _syntax(path: Path) -> str:
    return pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID.name


def test_a_folder_keeps_its_names_and_its_sub_folders(folder, tmp_path):
    result = _decompress(folder, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    written = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*"))
    assert written == ["series 1/a.dcm", "series 2/a.dcm"]
    assert (tmp_path / "out" / "native").is_file()
    assert "3 of 3 files written as explicit-le" in result.output
    original = pydicom.dcmread(get_testdata_file("MR_small.dcm")).PixelData
    for name in written:
        decompressed = pydicom.dcmread(tmp_path / "out" / name)
        assert decompressed.file_meta.TransferSyntaxUID.name == "Explicit VR Little Endian"
        assert decompressed.PixelData == original


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("implicit-le", "Implicit VR Little Endian"),
        ("explicit-be", "Explicit VR Big Endian"),
        ("1.2.840.10008.1.2.1", "Explicit VR Little Endian"),
    ],
)
def test_the_target_is_said_by_name_or_uid(name, title, folder, tmp_path):
    result = _decompress(folder / "series 1" / "a.dcm", "-o", tmp_path, "--to", name)
    assert result.exit_code == 0, result.output
    assert _syntax(tmp_path / "a.dcm") == title


def test_one_bad_file_fails_alone_and_is_named(folder, tmp_path):
    bad = folder / "series 1" / "bad.dcm"
    data = (folder / "series 2" / "a.dcm").read_bytes()
    bad.write_bytes(data[: len(data) // 2])
    result = _decompress(folder, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "3 of 4 files written" in result.output
    assert "failed" in result.output
    assert "bad.dcm" in result.output
    assert not (tmp_path / "out" / "series 1" / "bad.dcm").exists()


def test_what_is_not_dicom_is_passed_over_and_counted(folder, tmp_path):
    (folder / "README.txt").write_text("about these images")
    result = _decompress(folder, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "1 skipped: not DICOM" in result.output


def test_results_within_the_folder_are_no_sources_the_next_time(folder):
    for _ in range(2):
        result = _decompress(folder, "-o", folder / "plain")
        assert result.exit_code == 0, result.output
        assert "3 of 3 files written" in result.output
    assert not (folder / "plain" / "plain").exists()


def test_a_link_back_to_the_source_is_not_written_through(folder, tmp_path):
    (tmp_path / "out").symlink_to(folder)
    result = _decompress(folder / "series 1" / "a.dcm", "-o", tmp_path / "out" / "series 1")
    assert result.exit_code == 2
    assert "would be overwritten" in " ".join(result.output.split())


def test_sources_are_never_overwritten(folder):
    before = (folder / "series 1" / "a.dcm").read_bytes()
    result = _decompress(folder, "-o", folder)
    assert result.exit_code == 2
    assert (folder / "series 1" / "a.dcm").read_bytes() == before


def test_two_sources_of_one_name_are_refused_before_anything_is_written(folder, tmp_path):
    first, second = folder / "series 1" / "a.dcm", folder / "series 2" / "a.dcm"
    result = _decompress(first, second, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_a_compressed_target_is_refused_with_what_is_allowed(folder, tmp_path):
    result = _decompress(folder, "-o", tmp_path / "out", "--to", "jpeg-ls")
    assert result.exit_code == 2
    assert "explicit-le, implicit-le, explicit-be" in " ".join(result.output.split())


def test_verify_says_what_was_confirmed_and_what_could_not_be(folder, tmp_path):
    result = _decompress(folder, "-o", tmp_path / "out", "--verify")
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "1 equal by two decoders" in said
    assert "1 not verified: all decoders are of one lineage" in said
    assert "1 without compressed pixels" in said


def test_machines_get_one_object_a_file(folder, tmp_path):
    result = _decompress(folder, "-o", tmp_path / "out", "--verify", "--json")
    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in _json_lines(result.stdout)]
    assert {each["state"] for each in found} == {"written"}
    decoded = [each for each in found if each["decoder"]]
    assert len(found) - len(decoded) == 1
    original = hashlib.sha256(pydicom.dcmread(get_testdata_file("MR_small.dcm")).PixelData)
    assert [each["native_digest"] for each in decoded] == [original.hexdigest()] * 2
    states = sorted(each["verification"]["state"] for each in decoded)
    assert states == ["equal", "one lineage"]


def _json_lines(text):
    return [line for line in text.splitlines() if line.startswith("{")]


def test_a_file_whose_decoders_disagree_fails_and_is_not_written(folder, tmp_path, monkeypatch):
    """The pool is asked with all checks; what it refuses is named."""

    async def disagree(self, source, target, out, rendition=None, checks=None):
        assert checks.verify == "all"
        raise Disagreement("a and b disagree: 4 samples in 1 of 1 frames")

    monkeypatch.setattr("gateway.transcode.pool.TranscodePool.transcode", disagree)
    one = folder / "series 1" / "a.dcm"
    command = ["decompress", "--jobs", "1", str(one), "-o", str(tmp_path / "out"), "--verify"]
    result = CliRunner().invoke(app, [*command, "--json"])
    assert result.exit_code == 1
    (line,) = map(json.loads, _json_lines(result.stdout))
    assert (line["state"], line["reason"]) == (
        "disagreement",
        "a and b disagree: 4 samples in 1 of 1 frames",
    )


@pytest.mark.parametrize(
    ("files", "workers", "sizes"),
    [
        (48, 2, [16, 12, 8, 5, 3, 2, 1, 1]),
        (12, 2, [5, 3, 2, 1, 1]),
        (20, 1, [15, 4, 1]),
        (5, 8, [1] * 5),
    ],
)
def test_batches_become_smaller_towards_the_end(files, workers, sizes, tmp_path):
    source = tmp_path / "small.dcm"
    source.touch()
    pairs = [(source, tmp_path / f"{number}.out") for number in range(files)]
    assert [len(batch) for batch in batches_of(pairs, workers)] == sizes


def test_a_large_file_is_a_batch_of_its_own(tmp_path):
    small, large = tmp_path / "small.dcm", tmp_path / "large.dcm"
    small.touch()
    large.touch()
    os.truncate(large, 5 << 20)
    pairs = [(source, tmp_path / source.stem) for source in (small, large, small)]
    assert list(batches_of(pairs, 1)) == [[pairs[1]], [pairs[0], pairs[2]]]
