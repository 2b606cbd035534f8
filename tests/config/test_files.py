"""Files that a configuration names and that cannot be read are told of, no more."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from gateway.cli import app
from gateway.config import ConfigError, load_text
from gateway.config.files import unreadable
from gateway.service import Service

TEXT = """version: 1
gateway:
  spool: {{ path: "{folder}/spool" }}
  dicom: {{ listen: "127.0.0.1:0" }}
  web: {{ listen: "127.0.0.1:0" }}
nodes:
  cloud:
    dicomweb:
      url: https://cloud.example/dicom-web
      auth: {{ bearer_file: "{folder}/token" }}
      tls: {{ ca: "{folder}/ca.pem" }}
routes:
  - {{ name: all, send_to: cloud }}
"""


def remarks(folder: Path) -> list[str]:
    return [str(each) for each in unreadable(load_text(TEXT.format(folder=folder), "FILE", {}))]


def test_each_is_named_with_its_place_and_its_node(tmp_path: Path) -> None:
    assert remarks(tmp_path) == [
        f"FILE:10:28: nodes.cloud.dicomweb.auth.bearer_file: {tmp_path}/token cannot be used now: "
        "No such file or directory",
        f"FILE:11:18: nodes.cloud.dicomweb.tls.ca: {tmp_path}/ca.pem cannot be used now: "
        "No such file or directory",
    ]


def test_a_file_that_a_variable_names_is_told_by_the_variable() -> None:
    text = TEXT.replace('"{folder}/token"', "'${{TOKEN}}'").format(folder="/nowhere")
    token, _ = unreadable(load_text(text, "FILE", {"TOKEN": "/run/s3cret"}))
    assert token.text.startswith("nodes.cloud.dicomweb.auth.bearer_file: ${TOKEN} cannot be used")


def test_a_secret_where_its_file_belongs_is_refused_unseen() -> None:
    text = TEXT.replace('"{folder}/token"', "'${{TOKEN}}'").format(folder="/nowhere")
    with pytest.raises(ConfigError) as refusal:
        load_text(text, "FILE", {"TOKEN": "s3cret"})
    assert str(refusal.value) == (
        "FILE:10:28: nodes.cloud.dicomweb.auth.bearer_file: ${TOKEN} holds no path, which would"
        " begin with / or ./; is it the secret itself? That is for the key without _file"
    )


def test_a_certificate_has_to_be_in_pem_form(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    (tmp_path / "ca.pem").write_bytes(b"\x30\x82")
    (remark,) = remarks(tmp_path)
    assert remark.endswith("ca.pem cannot be used now: it is not in PEM form")
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    assert remarks(tmp_path) == []


def test_check_warns_of_them(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(TEXT.format(folder=tmp_path))
    result = CliRunner().invoke(app, ["check", str(file)])
    assert result.exit_code == 0
    assert f"{file}:11:18: warning: nodes.cloud.dicomweb.tls.ca" in result.stderr


async def test_a_start_tells_of_them(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with Service(load_text(TEXT.format(folder=tmp_path), "FILE", {})):
            pass
    told = [str(log.get("reason")) for log in logs if "a file of" in log["event"]]
    assert told == remarks(tmp_path)
