"""strace on the running gateway: which step of the durable order a system call is, and kills.

Only calls made after strace has attached are seen.
"""

import re
import shutil
import socket
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.peers import until

TRACED = ("write", "fdatasync", "rename", "fsync", "pwrite64", "sendto", "sendmsg")

STEPS = (
    "write the object",
    "sync the object",
    "give it its name",
    "sync the folder",
    "write the ledger",
    "sync the ledger",
    "answer",
)
"""DESIGN's durable order: each comes after the one before it, and the answer comes last."""

_CALL = re.compile(r"^(?:\d+ +)?(?P<name>\w+)\((?P<rest>.*)$")

_MEANT = (
    ("write", ".part>", "write the object"),
    ("fdatasync", ".part>", "sync the object"),
    ("rename", '.part", ', "give it its name"),
    ("fsync", "/instances/", "sync the folder"),
    ("pwrite64", "-wal>", "write the ledger"),
    ("fdatasync", "-wal>", "sync the ledger"),
    ("fsync", "-wal>", "sync the ledger"),
)


@dataclass(frozen=True)
class Call:
    """A system call, and the step that it is ("" for none of them)."""

    name: str
    step: str


@dataclass(frozen=True)
class Point:
    """The next ``call`` on a file, folder or socket."""

    call: str
    path: str


def missing() -> str:
    """Why strace cannot be used here; "" when it can."""
    if shutil.which("strace") is None:
        return "not installed: strace"
    tried = subprocess.run(["strace", "-f", "-o", "/dev/null", "true"], capture_output=True)
    return "" if tried.returncode == 0 else "strace may not trace processes here"


class Strace:
    """strace attached to a process and all its threads; ``kill_at`` ends the process there."""

    def __init__(self, pid: int, folder: Path, kill_at: Point | None = None) -> None:
        self.log = folder / "strace.log"
        self.told = folder / "strace.err"
        command = ["strace", "-f", "-yy", "-s", "0", "-o", str(self.log), "-p", str(pid)]
        command += ["-e", "trace=" + ",".join(TRACED)]
        if kill_at is not None:
            where = f"{kill_at.call}:signal=SIGKILL:when=1"
            command += ["-e", f"inject={where}"]
            command += ["-P", kill_at.path]
        with self.told.open("wb") as out:
            self.process = subprocess.Popen(command, stderr=out, stdin=subprocess.DEVNULL)
        until(lambda: b"attached" in self.told.read_bytes(), "strace attached", 10.0)

    def detach(self) -> None:
        """Leave the process alone."""
        self.process.terminate()
        self.process.wait(10.0)

    def wait_killed(self, seconds: float = 20.0) -> None:
        """Return when the traced process has ended, and strace with it."""
        self.process.wait(seconds)

    def calls(self, port: int) -> list[Call]:
        """Every call in order of entry. ``port`` is the gateway's, by which answers are known."""
        lines = self.log.read_text(errors="replace").splitlines()
        found = [match for line in lines if (match := _CALL.match(line))]
        return [Call(each["name"], _step(each["name"], each["rest"], port)) for each in found]


def _step(call: str, rest: str, port: int) -> str:
    """The step a call is. What goes to a peer whose association is established is an answer."""
    for name, text, step in _MEANT:
        if call == name and text in rest:
            return step
    to_peer = call in ("sendto", "sendmsg", "write") and f"127.0.0.1:{port}->" in rest
    return "answer" if to_peer else ""


def connection(peer: socket.socket) -> str:
    """The path by which strace knows the other end of a connection made from ``peer``."""
    ends = [_address(end) for end in (peer.getpeername(), peer.getsockname())]
    for line in Path("/proc/net/tcp").read_text().splitlines():
        columns = line.split()
        if columns[1:3] == ends:
            return f"socket:[{columns[9]}]"
    raise LookupError(f"no connection {ends}")


def _address(end: tuple[str, int]) -> str:
    """An IPv4 address and port as /proc/net/tcp has them."""
    (number,) = struct.unpack("=I", socket.inet_aton(end[0]))
    return f"{number:08X}:{end[1]:04X}"
