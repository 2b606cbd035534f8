"""What the workers of a crew do in its tests."""

import os
import signal
import time
from pathlib import Path

from gateway.failures import PermanentFailure


class TwoWords(Exception):
    """It cannot be made again of what it was made of."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} {other}")


def nothing() -> None:
    """What a worker does before its first task, here."""


def end_at_once() -> None:
    os._exit(7)


def raised(kind: str) -> None:
    errors: dict[str, BaseException] = {
        "failure": PermanentFailure("cannot be decoded"),
        "odd": ZeroDivisionError("odd"),
        "two words": TwoWords("two", "words"),
        "stop": StopIteration(),
        "exit": SystemExit("leave"),
    }
    raise errors[kind]


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def linger(started: Path) -> None:
    started.touch()
    while True:
        signal.pause()


def size_of(data: bytes) -> tuple[int, bytes]:
    return len(data), data


def lines_of(file: Path, text: str) -> None:
    with file.open("a") as out:
        out.write(f"{text}\n")


def until(started: Path, told: Path) -> int:
    """Say that it has begun, and end when it is told to."""
    lines_of(started, str(os.getpid()))
    while not told.exists():
        time.sleep(0.002)
    return os.getpid()


def dead(pid: int) -> bool:
    """Whether this process has ended, reaped or not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def kill(pid: int) -> None:
    """End it, and come back when it has ended."""
    os.kill(pid, signal.SIGKILL)
    while not dead(pid):
        os.sched_yield()
