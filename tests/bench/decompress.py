"""(c) Files: ``dicom-gateway decompress`` per CT against the bare codec and against libraries.

Everything runs on one core (taskset); start-up is what one file takes, and is told apart.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench import objects
from tests.bench.measure import Measured, Measurement, interleaved
from tests.peers import gateway_command
from tests.peers.senders import environment

_SYNTAXES = (objects.JPEG_LOSSLESS, objects.JPEG_LS, objects.J2K)
_LIBRARIES = {
    "python-gdcm ImageChangeTransferSyntax": "gdcm",
    "pydicom decompress() + save_as": "pydicom",
}


def measure(folder: Path, *, rounds: int, quick: bool) -> list[Measurement]:
    """Milliseconds per file for every syntax, by the gateway, the bare codec and libraries."""
    count = 100 if quick else 400
    return [_run(syntax, folder, count, rounds) for syntax in _SYNTAXES]


def _run(syntax: str, folder: Path, count: int, rounds: int) -> Measurement:
    image = objects.template(syntax)
    source, single = folder / syntax / "many", folder / syntax / "one"
    objects.copies(image, source, count)
    objects.copies(image, single, 1)
    out = folder / "out"
    startup: list[float] = []
    systems: dict[str, Measured | str] = {
        "gateway": lambda: _gateway(source, single, out, count, startup),
        "gateway, all cores": lambda: _decompress(source, out, count, pinned=False),
        "bare codec": lambda: loop("bare", source, out, count),
        **{name: _library(key, source, out, count) for name, key in _LIBRARIES.items()},
    }
    title = f"decompress {count} {objects.NAMES[syntax]} CT on one core"
    measurement = interleaved(title, count, systems, rounds)
    measurement.notes += [
        f"start-up of the gateway's command, not counted above: {_seconds(startup)}; "
        "the bare codec is imagecodecs over the same codestreams, already in memory; "
        "all cores: the whole command with start-up",
        f"image: {objects.source_of(syntax)}",
    ]
    return measurement


def _seconds(values: Sequence[float]) -> str:
    return f"{min(values):.2f} s" if values else "no figure"


def _gateway(source: Path, single: Path, out: Path, count: int, startup: list[float]) -> float:
    """Seconds for ``count`` files without the start-up, which is learnt from a single file."""
    one = min(_decompress(single, out, 1) for _ in range(2))
    many = _decompress(source, out, count)
    each = (many - one) / (count - 1)
    startup.append(one - each)
    return each * count


def _decompress(source: Path, out: Path, count: int, *, pinned: bool = True) -> float:
    shutil.rmtree(out, ignore_errors=True)
    jobs = ("--jobs", "1") if pinned else ()
    command = gateway_command("decompress", source, "-o", out, *jobs)
    start = time.perf_counter()
    ended = _run_child(command, pinned=pinned)
    seconds = time.perf_counter() - start
    assert ended.returncode == 0, ended.stdout[-600:] + ended.stderr[-600:]
    written = sum(1 for path in out.rglob("*") if path.is_file())
    assert written == count, f"{written} of {count} written"
    return seconds


def _library(key: str, source: Path, out: Path, count: int) -> Measured:
    return lambda: loop(key, source, out, count)


def loop(key: str, source: Path, out: Path, count: int) -> float:
    """Seconds that a child spent in its loop over the files, as it says itself."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    command = [sys.executable, "-m", "tests.bench.loops", key, str(source), str(out)]
    ended = _run_child(command, pinned=True)
    assert ended.returncode == 0, ended.stderr[-600:]
    told = json.loads(ended.stdout)
    assert told["files"] == count, f"{told['files']} of {count} done"
    return float(told["seconds"])


def _run_child(command: Sequence[str], *, pinned: bool) -> subprocess.CompletedProcess[str]:
    """Run to the end, on one core where asked and possible."""
    before = ["taskset", "-c", "0"] if pinned and shutil.which("taskset") else []
    whole = [*before, *command]
    return subprocess.run(whole, env=environment(), capture_output=True, text=True, timeout=600)
