"""Child processes on loopback: started, waited for until they accept, ended with all theirs."""

import itertools
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

POLL_SECONDS = 0.01


class Never(AssertionError):
    """Something that was waited for did not come true in time."""


def _own_ports() -> Iterator[int]:
    """Ports below those that the system gives out (32768 and up): this process's share of a run.

    A port of the system's could be somebody else's before the child that is told of it listens.
    """
    share = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    shares = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    mine = range(10_000 + share, 32_000, shares)
    return (mine[number % len(mine)] for number in itertools.count(os.getpid() * 97))


_OWN_PORTS = _own_ports()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on, and that is handed out once."""
    while True:
        port = next(_OWN_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def until(
    come_true: Callable[[], object], what: str, seconds: float = 20.0, poll: float = POLL_SECONDS
) -> float:
    """Seconds it took until ``come_true()`` was true; Never after ``seconds``."""
    start = time.monotonic()
    while not come_true():
        if time.monotonic() - start > seconds:
            raise Never(f"not within {seconds:g} s: {what}")
        time.sleep(poll)
    return time.monotonic() - start


def accepts(port: int) -> bool:
    """Somebody listens on 127.0.0.1:port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def fetch(port: int, path: str) -> bytes:
    """What a web server on 127.0.0.1 answers, whatever proxies the environment names."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return bytes(answer.read())


def tail(path: Path, lines: int = 30) -> str:
    """The last lines of a text file; "" where there is none."""
    if not path.is_file():
        return ""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


class Child:
    """One child process in a process group of its own, its output in a file.

    DCMTK programs see TCP_NODELAY=1: without it they wait 40 ms per message.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.command = [str(part) for part in command]
        self.log = log
        environment = {**os.environ, "TCP_NODELAY": "1", **(env or {})}
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command,
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The child's process id, which is also its group's."""
        return self.process.pid

    def running(self) -> bool:
        """The child has not ended."""
        return self.process.poll() is None

    def wait_until_accepting(self, port: int, seconds: float = 30.0) -> None:
        """Return when the port accepts; Never when the child ended or is too slow."""

        def settled() -> bool:
            return accepts(port) or not self.running()

        until(settled, f"{self.command[0]} accepts on port {port}\n{tail(self.log)}", seconds)
        if not self.running():
            raise Never(f"{' '.join(self.command)} ended at once:\n{tail(self.log)}")

    def stop(self, seconds: float = 15.0) -> int:
        """End the child politely (SIGTERM), then for sure; its exit status."""
        self._signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return self.kill()
        finally:
            self._signal(signal.SIGKILL)

    def kill(self) -> int:
        """kill -9 for the child and all its children; its exit status."""
        self._signal(signal.SIGKILL)
        return self.process.wait(15.0)

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return
