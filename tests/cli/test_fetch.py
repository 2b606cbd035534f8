"""``dicom-gateway fetch``: against a gateway's API over a real socket, and without one."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.cli.fetch import address_of
from gateway.config import load_text

STUDY = {"study": "1.2", "state": "done", "received": 3, "held": 1, "expected": 4}
runner = CliRunner()


class Api:
    """Answers as scripted: one JSON object for each request, the last one again and again."""

    def __init__(self, *answers: tuple[int, dict[str, Any]]) -> None:
        self.answers = list(answers)
        self.bodies: list[Any] = []
        self.tokens: list[str] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                api.bodies.append(json.loads(self.rfile.read(length) or b"null"))
                api.tokens.append(self.headers.get("Authorization", ""))
                many = len(api.answers) > 1
                status, said = api.answers.pop(0) if many else api.answers[0]
                body = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = _answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def api() -> Iterator[Any]:
    opened: list[Api] = []

    def serve(*answers: tuple[int, dict[str, Any]]) -> Api:
        made = Api(*answers)
        threading.Thread(target=made.server.serve_forever, daemon=True).start()
        opened.append(made)
        return made

    yield serve
    for each in opened:
        each.server.shutdown()
        each.server.server_close()


def job(state: str, *studies: dict[str, Any]) -> dict[str, Any]:
    return {"id": "7", "state": state, "studies": list(studies or [STUDY])}


def test_it_waits_until_the_fetch_has_ended_and_says_what_came(api, tmp_path: Path):
    token = tmp_path / "token"
    token.write_text("secret\n")
    running = {"study": "1.2", "state": "running", "received": 1, "expected": 4}
    served = api((202, job("running", running)), (200, job("done")))
    call = ["fetch", "1.2", "--from", "pacs", "--url", served.url, "--token-file", str(token)]
    result = runner.invoke(app, call)
    assert result.exit_code == 0, result.output
    assert "1.2  done: 3 fetched, 1 here before of 4 listed" in result.output
    assert served.bodies[0] == {"from": "pacs", "studies": ["1.2"]}
    assert set(served.tokens) == {"Bearer secret"}


def test_a_study_that_is_not_whole_ends_with_1_and_names_what_is_missing(api):
    failed = STUDY | {"state": "failed", "failure": "1 of 4 did not come"}
    failed["missing_instances"] = ["1.2.9"]
    served = api((202, job("failed", failed)))
    result = runner.invoke(app, ["fetch", "1.2", "--from", "pacs", "--url", served.url])
    assert result.exit_code == 1
    assert "1 of 4 did not come" in result.output
    assert "missing: 1.2.9" in result.output


def test_what_the_gateway_refuses_is_said(api):
    served = api((400, {"error": "no node 'pacs' with dicomweb"}))
    result = runner.invoke(app, ["fetch", "1.2", "--from", "pacs", "--url", served.url])
    assert result.exit_code == 1
    assert "no node 'pacs' with dicomweb" in result.output


def test_without_a_running_gateway_it_says_what_to_do(tmp_path: Path):
    file = tmp_path / "gateway.yaml"
    file.write_text('version: 1\ngateway: { web: { listen: "127.0.0.1:1" } }\n')
    result = runner.invoke(app, ["fetch", "1.2", "--from", "pacs", "-c", str(file)])
    assert result.exit_code == 1
    assert "no gateway answers at http://127.0.0.1:1" in result.output
    assert "dicom-gateway serve" in result.output


def test_an_instance_is_named_with_its_series():
    result = runner.invoke(app, ["fetch", "1.2", "--from", "pacs", "--instance", "1.3"])
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("[::]:8080", "http://[::1]:8080"),
        ("10.1.2.3:80", "http://10.1.2.3:80"),
    ],
)
def test_it_asks_where_the_configuration_says(listen: str, address: str):
    text = f'version: 1\ngateway: {{ web: {{ listen: "{listen}" }} }}\n'
    assert address_of(load_text(text, "test")) == address
