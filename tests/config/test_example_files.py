"""The files in config/ load, and mean what their comments say."""

from datetime import timedelta
from pathlib import Path

import pytest

from gateway.config import Config, effective, load, load_text
from gateway.model import Arrival, Origin
from gateway.rehearsal import rehearse
from gateway.route.rules import compile_rules

FOLDER = Path(__file__).parents[2] / "config"
FILES = sorted(FOLDER.glob("*.yaml"))


def _sent_to(config: Config, calling: str, **header: str) -> list[str]:
    origin = Origin(Arrival.C_STORE, calling, "GATEWAY", "10.1.9.9")
    return [owed.destination for owed in compile_rules(config).route(header, origin).owed]


def test_there_are_example_files() -> None:
    assert {file.stem for file in FILES} >= {
        "cloud-to-workstation",
        "legacy-viewer",
        "many-modalities-at-night",
        "pacs-untouched-plus-decompressed",
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_example_loads_and_its_effective_form_is_the_same(path: Path) -> None:
    config = load(path, {})
    assert load_text(effective(config)) == config


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_example_file_holds_examples_that_come_out(path: Path) -> None:
    config = load(path, {})
    assert config.examples
    assert rehearse(config, compile_rules(config)) == []


def test_at_night_a_whole_study_goes_to_the_second_archive() -> None:
    config = load(FOLDER / "many-modalities-at-night.yaml", {})
    now, night = config.routes
    assert (now.group, now.delivery.during) == (None, ())
    assert night.group is not None
    assert (night.group.by, night.delivery.mbit_per_s) == ("study", 50)
    assert [str(each) for each in night.delivery.during] == ["20:00-06:00"]


def test_what_is_new_in_the_cloud_is_fetched_in_working_hours() -> None:
    config = load(FOLDER / "cloud-to-workstation.yaml", {})
    (rule,) = config.fetch
    assert (rule.from_, rule.every, rule.level) == ("cloud", 300, "series")
    assert not config.gateway.web.access("read").open
    assert config.gateway.web.access("health").open
    fetched = Origin(Arrival.WADO_RS, "cloud")
    assert compile_rules(config).route({}, fetched).owed[0].destination == "old_workstation"


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
