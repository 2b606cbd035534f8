"""The gateway as a process of its own: written configuration, free ports, captured log."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.peers.process import Child, fetch, free_port, until
from tests.peers.receivers import REPOSITORY

_HEAD = """\
version: 1
gateway:
  ae_title: GATEWAY
  dicom: {{ listen: "127.0.0.1:{dicom}" }}
  web: {{ listen: "127.0.0.1:{web}" }}
  spool: {{ path: "{spool}", refuse_below_free: 1MiB }}
"""


def gateway_command(*arguments: str | Path) -> list[str]:
    """The gateway's command line as run from the checkout."""
    return [sys.executable, "-m", "gateway", *(str(part) for part in arguments)]


def _said(*arguments: str | Path) -> str:
    command = gateway_command(*arguments)
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


class RunningGateway:
    """A gateway on loopback; stopping and starting it again keeps ports, spool and routes."""

    name = "gateway"

    def __init__(self, config_text: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.web_port = free_port()
        self.spool = folder / "spool"
        self.log = folder / "gateway.log"
        self.config = folder / "gateway.yaml"
        self.child: Child | None = None
        head = _HEAD.format(dicom=self.port, web=self.web_port, spool=self.spool)
        self.config.write_text(head + config_text)

    @property
    def pid(self) -> int:
        """The running gateway's process id."""
        assert self.child is not None
        return self.child.pid

    def start(self, wrapper: Sequence[str] = ()) -> Self:
        """Start (below ``wrapper``, such as strace) and return once the port accepts."""
        command = [*wrapper, *gateway_command("serve", "-c", self.config)]
        environment = {"PYTHONPATH": str(REPOSITORY)}
        self.child = Child(command, self.log, cwd=self.folder, env=environment)
        self.child.wait_until_accepting(self.port)
        return self

    def running(self) -> bool:
        """The gateway has not ended."""
        return self.child is not None and self.child.running()

    def stop(self) -> int:
        """Let the gateway drain and end; its exit status (0 where it was not running)."""
        child, self.child = self.child, None
        return child.stop(40.0) if child is not None else 0

    def kill(self) -> None:
        """kill -9, workers included."""
        child, self.child = self.child, None
        if child is not None:
            child.kill()

    def __enter__(self) -> Self:
        return self if self.running() else self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def log_text(self) -> str:
        """Everything the gateway has logged so far."""
        return self.log.read_text(errors="replace") if self.log.is_file() else ""

    def events(self) -> list[dict[str, object]]:
        """The log's lines as JSON objects (others are left out)."""
        lines = (line for line in self.log_text().splitlines() if line.startswith("{"))
        return [json.loads(line) for line in lines if line.endswith("}")]

    def queue(self, state: str = "all") -> list[dict[str, object]]:
        """The rows of ``dicom-gateway queue list --json`` in this state."""
        options = ("--json", "--state", state, "--limit", "10000", "-c", self.config)
        rows = json.loads(_said("queue", "list", *options))
        assert isinstance(rows, list)
        return rows

    def act(self, verb: str, selector: str) -> str:
        """What ``dicom-gateway queue retry|hold|drop SELECTOR`` says."""
        return _said("queue", verb, selector, "-c", self.config)

    def get(self, path: str) -> str:
        """The text of a page of the gateway's web server."""
        return fetch(self.web_port, path).decode()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry these labels."""
        total = 0.0
        for line in self.get("/metrics").splitlines():
            head, _, value = line.rpartition(" ")
            wanted = all(f'{key}="{text}"' in head for key, text in labels.items())
            if head.partition("{")[0] == name and wanted:
                total += float(value)
        return total

    def wait_logged(self, text: str, seconds: float = 20.0) -> None:
        """Return when the log holds ``text``."""
        until(lambda: text in self.log_text(), f"in the log: {text}", seconds, poll=0.05)


def start_gateway(config_text: str, folder: Path) -> RunningGateway:
    """Start the gateway with these ``nodes`` and ``routes`` (YAML); the rest is written here."""
    return RunningGateway(config_text, folder).start()
