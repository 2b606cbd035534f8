"""Systems that stay: ``python -m tests.bench.resident JOBS`` does loops over files when told to.

One process per kind of system, told by lines of JSON on its standard input and answering with
seconds: start-up is nowhere counted, and short turns of all systems can follow each other closely.
"""

import asyncio
import json
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from gateway.cli.decompress import Order, decompress_in, pairs_of
from gateway.dataset.part10 import read_file_meta
from gateway.model import Checks, Rendition
from gateway.transcode.decoders import BACKENDS
from gateway.transcode.frames import join
from gateway.transcode.instance import make_plan
from gateway.transcode.plan import Pixels
from gateway.transcode.pool import TranscodePool
from gateway.transcode.source import open_source
from gateway.transfer_syntax import EXPLICIT_LE
from tests.bench.loops import gdcm_change, pydicom_decompress
from tests.peers.senders import environment

_LIBRARIES: Final = {"gdcm": gdcm_change, "pydicom": pydicom_decompress}


class Resident:
    """One such process; ``pinned`` to one core. It is started when it is first needed."""

    def __init__(self, jobs: int = 0, *, pinned: bool = True) -> None:
        self._jobs, self._pinned = jobs, pinned
        self._process: subprocess.Popen[str] | None = None

    def seconds(self, loop: str, argument: str, source: Path, out: Path, count: int) -> float:
        """Of one turn over the files in ``source``. Raises AssertionError when it went wrong."""
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        told = self._ask([loop, argument, str(source), str(out)])
        assert "error" not in told, told["error"]
        written = sum(1 for path in out.rglob("*") if path.is_file())
        assert loop == "codec" or written == count, f"{written} of {count} written"
        return float(told["seconds"])

    def _ask(self, words: Sequence[str]) -> dict[str, Any]:
        process = self._process or self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(words) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            self.close()
            return {"error": f"the process ended with status {process.returncode}"}
        told: dict[str, Any] = json.loads(answer)
        return told

    def _started(self) -> "subprocess.Popen[str]":
        before = ["taskset", "-c", "0"] if self._pinned and shutil.which("taskset") else []
        command = [*before, sys.executable, "-m", "tests.bench.resident", str(self._jobs)]
        self._process = subprocess.Popen(
            command,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self._process

    def close(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.communicate()
            self._process = None


def first_plan(source: Path) -> Pixels | None:
    """What the gateway knows of the first file's pixels; None where they are only deflated."""
    file = min(source.iterdir())
    return make_plan(open_source(file, source.parent), EXPLICIT_LE, Rendition()).pixels


def _codec(name: str, source: Path) -> float:
    """Decode every frame of every file by one backend, do nothing with it."""
    if name == "zlib":
        return _inflate(source)
    work = [(plan, _streams(plan)) for plan in map(_plan, sorted(source.iterdir()))]
    backend = next(one for one in BACKENDS if one.name == name)
    start = time.perf_counter()
    for plan, streams in work:
        for stream in streams:
            backend.decode(stream, plan.form)
    return time.perf_counter() - start


def _inflate(source: Path) -> float:
    """Whole data sets, without the file's meta information (PS3.5 A.5)."""
    files = [file.read_bytes() for file in sorted(source.iterdir())]
    deflated = [memoryview(data)[read_file_meta(data).dataset_offset :] for data in files]
    start = time.perf_counter()
    for data in deflated:
        zlib.decompress(data, -15)
    return time.perf_counter() - start


def _plan(file: Path) -> Pixels:
    plan = make_plan(open_source(file, file.parent.parent), EXPLICIT_LE, Rendition()).pixels
    assert plan is not None, file
    return plan


def _streams(plan: Pixels) -> list[Any]:
    return [join(memoryview(plan.data), frame) for frame in plan.frames]


def _library(name: str, source: Path, out: Path) -> float:
    return _LIBRARIES[name](sorted(source.iterdir()), out)


def _told(words: Sequence[str], work: Callable[..., float]) -> str:
    try:
        return json.dumps({"seconds": work(*words)})
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the answer is for the table
        return json.dumps({"error": f"{type(error).__name__} {error}"[:300]})


def _alone(loop: str, argument: str, source: str, out: str) -> float:
    """A turn of a codec or a library, in this process."""
    if loop == "codec":
        return _codec(argument, Path(source))
    return _library(argument, Path(source), Path(out))


async def _gateway(jobs: int) -> None:
    """Turns of what ``dicom-gateway decompress`` does between its start and its end."""
    pool = TranscodePool(jobs)
    console = Console(stderr=True)
    try:
        await asyncio.gather(*(pool.warm() for _ in range(2 * jobs)))
        while line := await asyncio.to_thread(sys.stdin.readline):
            _, target, source, out = json.loads(line)
            start = time.perf_counter()
            pairs = list(pairs_of([Path(source)], Path(out)))
            order = Order(target, Checks())
            summary = await decompress_in(pool, pairs, order, console, None)
            seconds = time.perf_counter() - start
            wrong = "; ".join(str(failure) for _, failure in summary.failures[:1])
            answer = {"error": wrong} if wrong else {"seconds": seconds}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
    finally:
        await pool.aclose()


def main() -> None:
    """Serve until standard input ends."""
    jobs = int(sys.argv[1])
    if jobs:
        asyncio.run(_gateway(jobs))
        return
    for line in sys.stdin:
        sys.stdout.write(_told(json.loads(line), _alone) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
