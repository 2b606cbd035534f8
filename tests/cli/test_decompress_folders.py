"""Odd places for results: each is said in words, and nothing is decoded twice."""

from pathlib import Path

import pytest
from pydicom.data import get_testdata_file
from typer.testing import CliRunner

from gateway.cli import app


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.dcm").write_bytes(Path(str(get_testdata_file("JPEG2000.dcm"))).read_bytes())
    return folder


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["decompress", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def test_an_out_that_cannot_be_a_folder_fails_each_file_with_the_reason(folder: Path) -> None:
    (folder.parent / "taken").write_text("a file")
    code, said = run(folder, "-o", folder.parent / "taken" / "below")
    assert code == 1
    assert "cannot make the folder" in said


def test_results_below_the_source_are_no_sources_of_the_next_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    for _ in range(2):
        code, said = run(folder, "-o", "in/out")
        assert (code, "1 of 1 files" in said) == (0, True)


def test_a_source_inside_the_results_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    code, said = run("in", "-o", ".")
    assert code == 2
    assert "name another --out" in said


def test_a_number_of_workers_below_one_is_a_wrong_call(folder: Path) -> None:
    assert run(folder, "-o", folder.parent / "out", "--jobs", "-3")[0] == 2
