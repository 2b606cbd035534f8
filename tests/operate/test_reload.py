"""A file that is right comes into force; one that is not changes nothing, and says why."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from pydantic import BaseModel
from structlog.testing import capture_logs

from gateway.config import Config, ConfigError, load
from gateway.failures import PermanentFailure, TemporaryFailure
from gateway.operate.reload import APPLIED, Reloader, differences, merged

TEXT = """
version: 1
gateway: { dicom: { listen: "127.0.0.1:1104" }, spool: { path: one } }
nodes:
  pacs: { dimse: { ae_title: PACS, host: 127.0.0.1, port: 104 } }
routes:
  - { name: all, send_to: [pacs] }
"""
NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)


class Stage:
    """What takes the configurations, and a clock that goes on with each look."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.applied: list[Config] = []
        self.now = NOON
        self.while_prepared: Callable[[], object] = lambda: None
        file.write_text(TEXT)
        self.reloader = Reloader(file, load(file), self.prepare, self.clock)

    def clock(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def prepare(self, config: Config) -> Callable[[], None]:
        self.while_prepared()
        return lambda: self.applied.append(config)

    def change(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path / "gateway.yaml")


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


async def test_nodes_and_routes_come_into_force(stage: Stage) -> None:
    stage.change("port: 104", "port: 105")
    standing = await stage.reloader.reload()
    (config,) = stage.applied
    assert config is stage.reloader.config
    assert config.nodes["pacs"].dimse is not None
    assert config.nodes["pacs"].dimse.port == 105
    assert (standing.digest, standing.error) == (digest(stage.file), "")
    assert standing.loaded_at > NOON + timedelta(seconds=1)
    assert REGISTRY.get_sample_value("gateway_config_info", {"hash": standing.digest}) == 1
    loaded = REGISTRY.get_sample_value("gateway_config_loaded_timestamp_seconds")
    assert loaded == standing.loaded_at.timestamp()


async def test_a_bad_file_leaves_the_old_one_in_force_and_says_why(stage: Stage) -> None:
    before = stage.reloader.standing
    stage.change("send_to: [pacs]", "send_to: [pax]")
    with capture_logs() as logs, pytest.raises(ConfigError, match="'pax' is no node"):
        await stage.reloader.reload()
    assert stage.applied == []
    standing = stage.reloader.standing
    assert (standing.digest, standing.loaded_at) == (before.digest, before.loaded_at)
    assert "gateway.yaml:7:28: 'pax' is no node" in standing.error
    assert standing.tried_digest == digest(stage.file) != before.digest
    assert [log["hash"] for log in logs] == [standing.tried_digest]
    assert REGISTRY.get_sample_value("gateway_config_reload_success") == 0
    assert REGISTRY.get_sample_value("gateway_config_info", {"hash": before.digest}) == 1
    stage.change("send_to: [pax]", "send_to: [pacs]")
    assert (await stage.reloader.reload()).error == ""
    assert REGISTRY.get_sample_value("gateway_config_reload_success") == 1


async def test_a_file_that_is_gone_changes_nothing(stage: Stage) -> None:
    stage.file.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        await stage.reloader.reload()
    assert stage.applied == []


async def test_what_only_a_restart_changes_is_named_and_stays(stage: Stage) -> None:
    stage.change(
        "path: one }", "path: two }, transcode: { workers: 3 }, web: { listen: '[::1]:1' }"
    )
    stage.change('listen: "127.0.0.1:1104"', 'listen: "127.0.0.1:1105", accept_from: [CT1]')
    stage.change("version: 1", "version: 1\nserve: { upstream: [], allow_delete: true }")
    with capture_logs() as logs:
        standing = await stage.reloader.reload()
    assert standing.needs_restart == (
        "gateway.dicom.listen",
        "gateway.web.listen",
        "gateway.spool.path",
        "gateway.transcode.workers",
        "serve.allow_delete",
    )
    (config,) = stage.applied
    assert str(config.gateway.dicom.listen) == "127.0.0.1:1104"
    assert config.gateway.spool.path == Path("one")
    assert config.gateway.dicom.accept_from == ("CT1",)
    (alarm,) = [log for log in logs if log["log_level"] == "warning"]
    assert alarm["settings"] == " ".join(standing.needs_restart)


async def test_who_may_ask_a_listener_that_has_yet_to_move_stays(stage: Stage) -> None:
    """What needs no credentials on this machine alone is not opened to the network meanwhile."""
    asked = "web: { listen: '0.0.0.0:1', auth: { default: { tokens_file: t } } }"
    stage.change("path: one }", f"path: one }}, {asked}")
    reloader = Reloader(stage.file, load(stage.file), stage.prepare, stage.clock)
    stage.change(asked, "web: { listen: '127.0.0.1:1' }")
    assert (await reloader.reload()).needs_restart == (
        "gateway.web.listen",
        "gateway.web.auth",
    )
    assert not reloader.config.gateway.web.access("read").open
    stage.change("web: { listen: '127.0.0.1:1' }", "web: { listen: '0.0.0.0:1' }")
    assert (await reloader.reload()).needs_restart == ()
    assert reloader.config.gateway.web.access("read").open


async def test_without_a_file_there_is_nothing_to_reload(stage: Stage) -> None:
    reloader = Reloader(None, Config(version=1), stage.prepare, stage.clock)
    with pytest.raises(PermanentFailure, match="without a configuration file"):
        await reloader.reload()
    await reloader.look()
    assert stage.applied == []


async def test_a_file_that_is_written_while_it_is_read_is_not_taken(stage: Stage) -> None:
    stage.change("104", "105")
    stage.while_prepared = lambda: stage.file.write_text(TEXT.replace("104", "106"))
    with pytest.raises(TemporaryFailure, match="was written while it was read"):
        await stage.reloader.reload()
    assert stage.applied == []


async def test_a_bug_in_what_takes_it_leaves_the_old_one_in_force(stage: Stage) -> None:
    def fails() -> None:
        raise KeyError("surprise")

    stage.while_prepared = fails
    with pytest.raises(TemporaryFailure, match="unexpected KeyError"):
        await stage.reloader.reload()
    assert stage.reloader.standing.error


async def test_a_changed_file_is_taken_once_it_was_left_alone_for_a_look(stage: Stage) -> None:
    await stage.reloader.look()
    await stage.reloader.look()
    assert stage.applied == []
    stage.change("104", "105")
    await stage.reloader.look()
    stage.change("105", "106")
    await stage.reloader.look()
    assert stage.applied == []
    await stage.reloader.look()
    await stage.reloader.look()
    (config,) = stage.applied
    assert config.nodes["pacs"].dimse is not None
    assert config.nodes["pacs"].dimse.port == 106


async def test_a_file_that_is_included_counts_as_well(stage: Stage) -> None:
    folder = stage.file.parent / "conf.d"
    folder.mkdir()
    (folder / "a.yaml").write_text("nodes: { a: { dimse: { ae_title: A, host: h } } }\n")
    stage.change("version: 1", "version: 1\ninclude: conf.d")
    first = await stage.reloader.reload()
    assert set(stage.reloader.config.nodes) == {"pacs", "a"}
    (folder / "b.yaml").write_text("nodes: { b: { dimse: { ae_title: B, host: h } } }\n")
    for _ in range(3):
        await stage.reloader.look()
    assert set(stage.reloader.config.nodes) == {"pacs", "a", "b"}
    assert stage.reloader.standing.digest != first.digest
    (folder / "b.yaml").unlink()
    for _ in range(3):
        await stage.reloader.look()
    assert set(stage.reloader.config.nodes) == {"pacs", "a"}
    assert stage.reloader.standing.digest == first.digest


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no file that nobody can read")
async def test_an_included_file_that_cannot_be_read_is_told_like_a_bad_one(stage: Stage) -> None:
    folder = stage.file.parent / "conf.d"
    folder.mkdir()
    (folder / "a.yaml").symlink_to("/proc/self/mem")
    stage.change("version: 1", "version: 1\ninclude: conf.d")
    with pytest.raises(ConfigError, match="cannot be read"):
        await stage.reloader.reload()
    assert "cannot be read" in stage.reloader.standing.error
    assert stage.applied == []


async def test_a_bad_file_is_tried_once_and_the_mended_one_again(stage: Stage) -> None:
    stage.change("version: 1", "version: 9")
    with capture_logs() as logs:
        for _ in range(5):
            await stage.reloader.look()
    assert len(logs) == 1
    stage.change("version: 9", "version: 1 ")
    for _ in range(3):
        await stage.reloader.look()
    assert len(stage.applied) == 1


def test_every_name_that_is_said_to_be_applied_is_one() -> None:
    for key in APPLIED:
        section: type[BaseModel] = Config
        *path, last = key.split(".")
        for name in path:
            section = section.model_fields[name].annotation  # type: ignore[assignment]
        assert last in section.model_fields, key


def test_a_configuration_merged_with_itself_does_not_differ(stage: Stage) -> None:
    config = load(stage.file)
    assert merged(config, config) == config
    assert list(differences(config, config)) == []
