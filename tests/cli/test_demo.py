"""``dicom-gateway demo`` does the main job for real, on loopback."""

from typer.testing import CliRunner

from gateway.cli import app
from gateway.cli.demo import SAMPLES


def test_every_bundled_image_arrives_uncompressed():
    result = CliRunner().invoke(app, ["demo"], env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    assert f"{len(SAMPLES)} of {len(SAMPLES)} images arrived uncompressed" in result.output
    for sample in SAMPLES:
        stem = sample.removesuffix(".dcm")[:18]
        (line,) = [each for each in result.output.splitlines() if stem in each]
        assert " implicit-le " in line
