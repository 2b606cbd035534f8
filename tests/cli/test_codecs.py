"""``dicom-gateway codecs``, and the README's copy of what it says."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.transcode.decoders import BACKENDS
from gateway.transcode.matrix import Matrix, proven
from gateway.transcode.outcome import FAILED
from gateway.transcode.survey import COLUMNS, PARTLY, markdown, survey
from gateway.transfer_syntax import BY_UID, KNOWN

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = '<!-- codecs: from "dicom-gateway codecs --markdown" -->\n', "<!-- /codecs -->"


MADE_WITH = {"imagecodecs": "2026.3.6", "gdcm": "3.2.6", "pillow": "13.0.0", "pyjpegls": "1.5.1"}
"""The versions that the README's table was made with: others may prove more, or less."""


def test_the_readme_has_the_matrix_of_today() -> None:
    versions = {one.name: one.version() for one in BACKENDS if one.name in MADE_WITH}
    if versions != MADE_WITH:
        pytest.skip(f"the README's table was made with {MADE_WITH}, here are {versions}")
    stands = README.read_text().partition(BEGIN)[2].partition(END)[0]
    assert stands == markdown(survey(proven())), "run: dicom-gateway codecs --markdown"


def test_every_known_transfer_syntax_has_a_row() -> None:
    rows = survey(proven())
    assert {row.uid for row in rows} == set(BY_UID)
    assert len(rows) == len(KNOWN)
    for row in rows:
        assert bool(row.serves) != bool(row.note), row.title
        assert len(row.squares) in (0, len(COLUMNS))


def test_video_is_said_to_be_passed_on() -> None:
    notes = {row.note for row in survey(proven()) if BY_UID[row.uid].video}
    assert notes == {"video: passed on as stored, never decoded"}


def test_json_names_versions_states_and_who_serves() -> None:
    ended = CliRunner().invoke(app, ["codecs", "--json"])
    assert ended.exit_code == 0
    told = json.loads(ended.stdout)
    assert told["decoders"]["imagecodecs"]
    rows = {row["uid"]: row for row in told["transfer_syntaxes"]}
    assert rows["1.2.840.10008.1.2.4.203"]["squares"][1]["state"] in (PARTLY, FAILED)
    assert rows["1.2.840.10008.1.2.4.70"]["serves"] == ["imagecodecs"]


def test_the_table_says_why_a_cell_failed() -> None:
    ended = CliRunner().invoke(app, ["codecs"], env={"COLUMNS": "200"})
    assert ended.exit_code == 0
    assert "JPEG Lossless" in ended.stdout
    assert "is allowed" in ended.stdout


@pytest.mark.parametrize("columns", ["", "80"])
def test_a_narrow_table_still_names_who_serves(columns: str) -> None:
    ended = CliRunner().invoke(app, ["codecs"], env={"COLUMNS": columns})
    line = next(line for line in ended.stdout.splitlines() if line.startswith("jpeg-baseline"))
    assert line.split()[-1] == "imagecodecs"
    assert "…" not in ended.stdout


def test_a_missing_library_is_named_with_the_way_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gdcm = next(one for one in BACKENDS if one.name == "gdcm")
    monkeypatch.setattr(gdcm, "version", lambda: "")
    rows = survey(Matrix([one for one in proven().outcomes if one.backend != "gdcm"]))
    lossless = next(row for row in rows if row.uid.endswith(".4.70"))
    assert lossless.squares[COLUMNS.index("gdcm")].why == "pip install 'python-gdcm>=3.0.24'"


def test_a_failed_cell_is_counted() -> None:
    outcomes = [
        replace(one, state=FAILED, why="wrong") if one.backend == "gdcm" else one
        for one in proven().outcomes
    ]
    lossless = next(row for row in survey(Matrix(outcomes)) if row.uid.endswith(".4.70"))
    square = lossless.squares[COLUMNS.index("gdcm")]
    assert (square.state, square.proven) == (FAILED, 0)
    assert square.why.endswith("wrong")
