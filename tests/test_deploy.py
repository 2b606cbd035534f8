"""What is installed: the systemd unit is one that systemd accepts, the image runs without root."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.config import default_config, load

ROOT = Path(__file__).resolve().parents[1]
UNIT = ROOT / "deploy" / "dicom-gateway.service"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_accepts_the_unit(tmp_path):
    program = tmp_path / "dicom-gateway"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = UNIT.read_text().replace("/opt/dicom-gateway/bin/dicom-gateway", str(program))
    unit = tmp_path / UNIT.name
    unit.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True
    )
    complaints = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, complaints) == (0, [])


def test_the_unit_calls_the_command_as_the_command_line_has_it():
    calls = re.findall(r"^ExecStart(?:Pre)?=\S+/dicom-gateway (\w+) (.*)$", UNIT.read_text(), re.M)
    assert [call for call, _ in calls] == ["check", "serve"]
    assert "--config" in dict(calls)["serve"]


CLOSING = 20
"""Seconds, amply, for what follows the drain: last words to peers, verdicts, workers, ledger."""


def test_the_unit_gives_the_gateway_longer_to_end_than_it_takes():
    """All that runs shares one drain limit (tests/test_service.py), then everything is closed."""
    stop = int(re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.M)[1])
    configured = [default_config(), *(load(file) for file in (ROOT / "config").glob("*.yaml"))]
    assert len(configured) > 1
    for config in configured:
        assert stop >= config.gateway.drain_timeout + CLOSING


def test_the_image_says_how_long_docker_has_to_wait():
    wait = int(re.search(r"--stop-timeout (\d+)", DOCKERFILE.read_text())[1])
    assert wait >= default_config().gateway.drain_timeout + CLOSING


def test_the_image_runs_as_a_user_of_its_own_and_stops_on_sigterm():
    lines = DOCKERFILE.read_text().splitlines()
    user = max(i for i, line in enumerate(lines) if line.startswith("USER "))
    assert lines[user] == "USER gateway"
    assert any(i > user and line.startswith("ENTRYPOINT") for i, line in enumerate(lines))
    assert "STOPSIGNAL SIGTERM" in lines


def test_what_the_image_copies_is_there():
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text(), re.M)
    assert copied
    for name in " ".join(copied).split():
        assert (ROOT / name).exists(), name


def test_the_image_installs_locked_versions_only():
    text = DOCKERFILE.read_text()
    assert "--require-hashes -r requirements.lock" in text
    assert "pytest" not in (ROOT / "requirements.lock").read_text()
