"""strace on the running gateway: which step of the durable order a system call is, and kills.

The calls are counted from the moment strace has attached, and by thread, as strace counts them.
"""

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
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

_CALL = re.compile(r"^(?:(?P<thread>\d+) +)?(?P<call>\w+)\((?P<rest>.*)$")

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
class Point:
    """The ``count``-th ``call`` of a thread, and the step that it is ("" for none of them).

    With ``path`` only the calls on that file count, so that others cannot shift the number.
    """

    call: str
    count: int
    step: str
    path: str = ""


def missing() -> str:
    """Why strace cannot be used here; "" when it can."""
    if shutil.which("strace") is None:
        return "not installed: strace"
    tried = subprocess.run(["strace", "-f", "-o", "/dev/null", "true"], capture_output=True)
    return "" if tried.returncode == 0 else "strace may not trace processes here"


class Strace:
    """strace attached to a process and all its threads; ``kill_at`` ends the process there.

    To be killed at an answer only the main thread is traced: it alone speaks to peers, and wakes
    between threads are sent by the same call.
    """

    def __init__(self, pid: int, folder: Path, kill_at: Point | None = None) -> None:
        self.log = folder / "strace.log"
        self.told = folder / "strace.err"
        self.main_only = kill_at is not None and kill_at.step == "answer"
        threads = [] if self.main_only else ["-f"]
        command = ["strace", *threads, "-yy", "-s", "0", "-o", str(self.log), "-p", str(pid)]
        command += ["-e", "trace=" + ",".join(TRACED)]
        if kill_at is not None:
            where = f"{kill_at.call}:signal=SIGKILL:when={kill_at.count}"
            command += ["-e", f"inject={where}"]
            command += ["-P", kill_at.path] if kill_at.path else []
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

    def points(self, port: int) -> list[Point]:
        """Every call in order of entry. ``port`` is the gateway's, by which answers are known."""
        lines = self.log.read_text(errors="replace").splitlines()
        return list(_points(lines, port, synced=self.main_only))

    def last_before_the_kill(self, port: int) -> Point:
        """The call at whose entry the process was killed: the last one that began."""
        return self.points(port)[-1]


def _points(lines: list[str], port: int, *, synced: bool) -> Iterator[Point]:
    counts: Counter[tuple[str, str]] = Counter()
    for line in lines:
        found = _CALL.match(line)
        if found is None:
            continue
        call, rest = found["call"], found["rest"]
        counts[found["thread"] or "", call] += 1
        step = _step(call, rest, port, synced=synced)
        synced = synced or step == "sync the ledger"
        yield Point(call, counts[found["thread"] or "", call], step)


def _step(call: str, rest: str, port: int, *, synced: bool) -> str:
    """The step a call is. An answer is what goes to a peer once the ledger was synced."""
    for name, text, step in _MEANT:
        if call == name and text in rest:
            return step
    to_peer = call in ("sendto", "sendmsg", "write") and f"127.0.0.1:{port}->" in rest
    return "answer" if to_peer and synced else ""
