"""A keeper under strace: attached once the spool is open, so that only the keeping is traced."""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
_CALL = re.compile(r"^(\d+) +(\w+)\((.*?)(?:\) += (.*)| <unfinished \.\.\.>)$")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*?)\) += (.*)$")


@dataclass
class Call:
    """One system call: its name and text, when it began and ended (line numbers), its result."""

    name: str
    text: str
    began: int
    ended: int = 1 << 60
    result: str = ""

    @property
    def injected(self) -> bool:
        """Whether strace made this call fail."""
        return self.result.endswith("(INJECTED)")


def calls_in(trace: Iterable[str]) -> list[Call]:
    """The calls of an ``strace -f -y`` output, with interrupted lines put together."""
    calls: list[Call] = []
    open_calls: dict[tuple[str, str], Call] = {}
    for number, line in enumerate(trace):
        if found := _CALL.match(line):
            process, name, text, result = found.groups()
            call = Call(name, text, began=number)
            calls.append(call)
            if result is None:
                open_calls[process, name] = call
            else:
                call.ended, call.result = number, result
        elif found := _RESUMED.match(line):
            process, name, text, result = found.groups()
            call = open_calls.pop((process, name))
            call.text, call.ended, call.result = call.text + text, number, result
    return calls


@dataclass
class Ended:
    """How a keeper ended: its exit status, what it said, and the trace."""

    status: int
    kept: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    done: bool = False
    trace: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, status: int, said: str, trace: str) -> Self:
        ended = cls(status, trace=trace.splitlines())
        for line in said.splitlines():
            word, _, rest = line.partition(" ")
            if word in ("kept", "refused"):
                uid, _, text = rest.partition(" ")
                getattr(ended, word)[uid] = text
            ended.done = ended.done or word == "done"
        return ended


@contextmanager
def _keeper(folder: Path, *words: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.crash.keeper", str(folder), *map(str, words)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def traced(
    folder: Path,
    *options: str,
    instances: int = 3,
    at_once: int = 1,
    leave_out: str = "",
    kill_at_end: bool = False,
) -> Ended:
    """Keep instances in ``folder`` under ``strace OPTIONS``; it may be killed on the way.

    What is left at the end is closed in order, or killed.
    """
    output = folder.with_suffix(".strace")
    with _keeper(folder, instances, at_once, *filter(None, [leave_out])) as process:
        attach = ["strace", "-f", "-y", "-s", "32", "-o", str(output), *options]
        with subprocess.Popen(
            [*attach, "-p", str(process.pid)], stderr=subprocess.PIPE, text=True
        ) as tracer:
            assert "attached" in tracer.stderr.readline()
            said = _let_it_work(process)
            if kill_at_end:
                process.kill()
            process.stdin.close()
            status = process.wait()
            tracer.wait()
    return Ended.of(status, said, output.read_text())


def _let_it_work(process: subprocess.Popen[str]) -> str:
    process.stdin.write("go\n")
    process.stdin.flush()
    said = ""
    while line := process.stdout.readline():
        said += line
        if line == "done\n":
            break
    return said
