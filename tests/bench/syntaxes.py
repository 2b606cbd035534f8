"""(e) Transfer syntaxes: each decoder bare, the gateway end to end, and others, frame by frame.

The gateway's rows are what ``dicom-gateway decompress`` does on a folder between its start and
its end, with its worker processes, in a process that stays; GDCM and pydicom loop over the same
files in one process; a bare codec decodes the same codestreams, already in memory, through the
gateway's registry. Systems take turns in short rounds, and the fastest round counts.
"""

import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom import dcmread

from gateway.transcode.decoders import candidates
from gateway.transfer_syntax import EXPLICIT_LE, IMPLICIT_LE
from tests.bench import pictures
from tests.bench.measure import Frames, Measured, Measurement, Row, Summary, interleaved
from tests.bench.pictures import KINDS, MANY_FRAMES_OF, Kind
from tests.bench.resident import Resident, first_plan

_FAST, _SLOW, _FRAMES = 48, 12, 48
_SLOW_ONES: Final = tuple("1.2.840.10008.1.2.4." + number for number in ("90", "91", "110"))
_STARTS: Final = 12
"""Files that are given to DCMTK, a process each; its seconds are scaled to all of them."""
_TURNS: Final = 4
"""Turns in a round: those of fast codecs are short."""
_GATEWAY, _TWO, _IMPLICIT = "gateway", "gateway, two cores", "gateway, Implicit VR LE"
_DCMTK, _START = "DCMTK", "DCMTK, its start"
_HEADS: Final = ("", "us/frame", "/ bare codec", "two cores", "Implicit / Explicit", "next best")


@dataclass(frozen=True)
class _Case:
    """A folder of objects of one kind, and the processes that work on it."""

    kind: Kind
    folder: Path
    files: int
    frames: int
    libraries: Resident
    codecs: Resident
    one: Resident
    two: Resident

    @property
    def source(self) -> Path:
        return self.folder / "in"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def turn(self, who: Resident, loop: str, argument: str) -> Measured:
        """One system's turn."""
        return lambda: who.seconds(loop, argument, self.source, self.out, self.files)


def measure(folder: Path, *, rounds: int, quick: bool) -> Iterator[Measurement | Summary]:
    """A table for every transfer syntax, single frames and many; then the ratios of all."""
    rows = [list(_HEADS)]
    with ExitStack() as stack:
        alone = [stack.enter_context(closing(Resident())) for _ in range(2)]
        one = stack.enter_context(closing(Resident(1)))
        two = stack.enter_context(closing(Resident(2, pinned=False)))
        for kind, files, frames in _cases(quick):
            case = _Case(kind, folder / f"{kind.uid}-{frames}", files, frames, *alone, one, two)
            short = not quick and kind.uid not in _SLOW_ONES
            table = _measured(case, rounds * _TURNS if short else rounds)
            rows.append(_ratios(table))
            yield table
    yield Summary("transfer syntaxes: ratios of the gateway on one core", rows, _NOTES)


_NOTES: Final = [
    "wanted: at most 1.25 times the bare codec for single frames, 1.1 for many; two cores at "
    "least 1.8 times as fast; Implicit at most 1.1 times Explicit; the next best above 1",
    "bare codec: the decoder that serves, through the gateway's registry, nothing else done",
    "DCMTK: the processor time of a process per file, less that for pictures of 16 x 16 pixels",
    "next best: the time of the fastest other system, in times of the gateway's",
]


def _cases(quick: bool) -> Iterator[tuple[Kind, int, int]]:
    """(kind, files, frames in each)."""
    for kind in KINDS:
        files = _SLOW if kind.uid in _SLOW_ONES else _FAST
        yield kind, files // 4 if quick else files, 1
    for kind in KINDS:
        if kind.uid in MANY_FRAMES_OF:
            yield kind, 1, _FRAMES


def _measured(case: _Case, rounds: int) -> Frames:
    pictures.lay(case.kind, case.source, case.files, case.frames)
    _check(case)
    systems: dict[str, Measured | str] = {
        _GATEWAY: case.turn(case.one, "gateway", EXPLICIT_LE),
        _IMPLICIT: case.turn(case.one, "gateway", IMPLICIT_LE),
        _TWO: case.turn(case.two, "gateway", EXPLICIT_LE),
        **_codecs(case),
        "GDCM": case.turn(case.libraries, "library", "gdcm"),
        **_dcmtk(case),
        "pydicom": case.turn(case.libraries, "library", "pydicom"),
    }
    count = case.files * case.frames
    what = f"{case.files} CT" if case.frames == 1 else f"{case.frames} frames in one object"
    title = f"{case.kind.title}: {what}"
    measured = interleaved(title, count, systems, rounds + 1)
    for row in measured.rows:
        del row.seconds[:1]  # libraries are loaded and memory is laid out in the first turn
    _without_start(measured.rows)
    shutil.rmtree(case.folder)
    native = count * pictures.picture(case.kind.bits).nbytes
    return Frames(title, count, measured.rows, native=native)


def _codecs(case: _Case) -> dict[str, Measured | str]:
    """Every decoder that the self-test lets serve such frames; the first is the one that does."""
    plan = first_plan(case.source)
    if plan is None:
        return {"bare zlib": case.turn(case.codecs, "codec", "zlib")}
    found = [backend.name for backend in candidates(plan.form)]
    return {f"bare {name}": case.turn(case.codecs, "codec", name) for name in found}


def _check(case: _Case) -> None:
    """The gateway's result holds the right pixels before it is timed."""
    case.turn(case.one, "gateway", EXPLICIT_LE)()
    written = dcmread(min(case.out.iterdir()))
    native = pictures.picture(case.kind.bits).nbytes * case.frames
    assert len(written.PixelData) == native, case.kind.title
    whole = b"".join(pictures.expected(case.kind, case.frames))
    assert not case.kind.exact or written.PixelData == whole, case.kind.title


def _dcmtk(case: _Case) -> dict[str, Measured | str]:
    """A process per file; and as many processes for pictures of 16 x 16 pixels: their start."""
    program = case.kind.dcmtk
    if not program or shutil.which(program) is None:
        missing = f"{program} is not installed" if program else "no program of it decodes this"
        return {_DCMTK: missing}
    tiny = pictures.lay(case.kind, case.folder / "tiny", min(case.files, _STARTS), 1, side=16)
    return {
        _DCMTK: lambda: _one_by_one(program, case.source, case),
        _START: lambda: _one_by_one(program, tiny, case),
    }


def _without_start(rows: list[Row]) -> None:
    """Take the start of DCMTK's processes, and its row, away."""
    found = {row.system: row for row in rows}
    start = found.get(_START)
    if start is not None:
        rows.remove(start)
        dcmtk = found[_DCMTK]
        dcmtk.seconds = [seconds - start.least for seconds in dcmtk.seconds]
        dcmtk.missing = dcmtk.missing or start.missing


def _one_by_one(program: str, source: Path, case: _Case) -> float:
    shutil.rmtree(case.out, ignore_errors=True)
    case.out.mkdir()
    files = min(case.files, _STARTS)
    script = f'to=$0; for f; do {program} "$f" "$to/${{f##*/}}" || exit 1; done'
    pinned = ["taskset", "-c", "0"] if shutil.which("taskset") else []
    first = [str(file) for file in sorted(source.iterdir())[:files]]
    command = [*pinned, "sh", "-c", script, str(case.out), *first]
    start = _spent_below()
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
    seconds = _spent_below() - start
    assert ended.returncode == 0, ended.stderr[-200:]
    assert len(list(case.out.iterdir())) == files
    return seconds * case.files / files


def _spent_below() -> float:
    """Processor seconds of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _ratios(table: Frames) -> list[str]:
    """The row of the summary."""
    times = {row.system: row.least for row in table.rows if row.seconds}
    ours = times[_GATEWAY]
    bare = next(seconds for name, seconds in times.items() if name.startswith("bare"))
    others = {name: times[name] for name in ("GDCM", _DCMTK, "pydicom") if name in times}
    best = min(others, key=others.__getitem__, default="")
    return [
        table.title,
        f"{ours * 1e6 / table.objects:.0f}",
        f"{ours / bare:.2f}",
        f"{ours / times[_TWO]:.2f}",
        f"{times[_IMPLICIT] / ours:.2f}",
        f"{others[best] / ours:.2f} ({best})" if best else "none decodes it",
    ]
