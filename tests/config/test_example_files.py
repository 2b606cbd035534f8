"""The files in config/ load, and mean what their comments say."""

from datetime import timedelta
from pathlib import Path

import pytest

from gateway.config import Config, effective, load, load_text
from gateway.model import Arrival, Origin
from gateway.route.rules import compile_rules

FOLDER = Path(__file__).parents[2] / "config"
FILES = sorted(FOLDER.glob("*.yaml"))


def _sent_to(config: Config, calling: str, **header: str) -> list[str]:
    origin = Origin(Arrival.C_STORE, calling, "GATEWAY", "10.1.9.9")
    return [owed.destination for owed in compile_rules(config).route(header, origin).owed]


def test_there_are_example_files() -> None:
    assert {"legacy-viewer", "pacs-untouched-plus-decompressed"} <= {file.stem for file in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_example_loads_and_its_effective_form_is_the_same(path: Path) -> None:
    config = load(path, {})
    assert load_text(effective(config)) == config


def test_the_legacy_viewer_gets_uncompressed_rgb_from_the_pacs() -> None:
    config = load(FOLDER / "legacy-viewer.yaml", {})
    viewer = config.nodes["legacy_viewer"]
    assert viewer.can_read.syntaxes == ("1.2.840.10008.1.2",)
    assert (viewer.can_read.color, viewer.can_read.planar) == ("RGB", "interleaved")
    assert viewer.can_read.max_instance == 512 << 20
    assert config.gateway.spool.keep == timedelta(days=7)
    assert _sent_to(config, "PACS1", Modality="CR") == ["legacy_viewer"]
    assert _sent_to(config, "STRANGER", Modality="CR") == []


def test_the_pacs_gets_all_and_the_analysis_only_head_cts_without_localizers() -> None:
    config = load(FOLDER / "pacs-untouched-plus-decompressed.yaml", {})
    head = {"Modality": "CT", "BodyPartExamined": "HEAD"}
    both = ["main_pacs", "head_analysis"]
    assert _sent_to(config, "CT_ER", **head, ImageType=r"ORIGINAL\PRIMARY\AXIAL") == both
    assert _sent_to(config, "CT_ER", **head) == both
    assert _sent_to(config, "CT_ER", **head, ImageType=r"ORIGINAL\LOCALIZER") == ["main_pacs"]
    assert _sent_to(config, "CT_ER", Modality="CT", BodyPartExamined="KNEE") == ["main_pacs"]
    assert config.routes[0].pixels.change == "never"
    assert config.nodes["main_pacs"].can_read.syntaxes is None
