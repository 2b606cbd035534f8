"""Which decoder was proven for what on this machine, and how fast it is.

The self-test runs in a process of its own, once for each set of library versions and processor;
its outcome is kept in the user's cache folder. A cell that a decoder failed is closed to it. A
process that ended or hung is tried once more with the same picture before its decoder is blamed.
"""

import hashlib
import json
import os
import platform
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Lock
from time import monotonic
from typing import Any, Final

from gateway import __version__
from gateway.failures import TemporaryFailure
from gateway.model import UID
from gateway.transcode.form import Backend, FrameFormat
from gateway.transcode.probes import DEPTHS, Cell, Probe, cell_of, digest

PROVEN: Final = "proven"
FAILED: Final = "failed"
NOT_OFFERED: Final = "not offered"
_PROGRAM: Final = ("-m", "gateway.transcode.selftest")
_QUIET: Final = 15.0
"""Seconds without a sign after which the self-test's process counts as hanging."""
_WHOLE: Final = 120.0
"""Seconds for all of its processes together."""
_GLANCE: Final = 0.2
"""Seconds after which a stop is noticed."""
_HANGS: Final = "gave no sign for"
"""Perhaps the machine's doing, not the decoder's: such an outcome holds for this start only."""
_AS_FAST: Final = 1.5
"""Decoders within this factor of the fastest count as equally fast: the registered order rules."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one decoder did with one test picture.

    ``seconds`` for one frame of ``samples`` samples, of large pictures (``timed``) only;
    ``error`` is the greatest difference from what was wanted.
    """

    syntax: UID
    backend: str
    cell: tuple[Any, ...]
    what: str
    state: str
    why: str = ""
    seconds: float = 0.0
    samples: int = 0
    error: int = 0
    timed: bool = False


class Matrix:
    """All outcomes of a self-test."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes = tuple(outcomes)
        self._tried: dict[tuple[Cell, str], list[Outcome]] = {}
        self._times: dict[tuple[str, bool, str], float] = {}
        for one in self.outcomes:
            cell: Cell = one.cell
            self._tried.setdefault((cell, one.backend), []).append(one)
            if one.seconds:
                key = (cell[0], cell[1], one.backend)
                each = one.seconds / max(one.samples, 1)
                self._times[key] = min(each, self._times.get(key, each))

    def closed(self, form: FrameFormat, backend: str) -> str:
        """Why this decoder may not serve frames of this form, "" where it may.

        A depth that has no test picture stands with the next deeper one.
        """
        coding, lossy, depth, *rest = cell_of(form)
        for deeper in (d for d in DEPTHS if d >= depth):
            tried = self._tried.get(((coding, lossy, deeper, *rest), backend))  # type: ignore[arg-type]
            if tried:
                failed = [one for one in tried if one.state == FAILED]
                return f"{failed[0].what}: {failed[0].why}" if failed else ""
        return ""

    def inexact(self, form: FrameFormat, backend: str) -> bool:
        """Whether it differs, within the bound, from the reference."""
        return any(one.error for one in self._tried.get((cell_of(form), backend), ()))

    def ordered(self, form: FrameFormat, backends: Iterable[Backend]) -> list[Backend]:
        """The decoders that may serve: the exact ones first, then by speed."""
        coding, lossy = form.coding.name, form.lossy
        left = [one for one in backends if not self.closed(form, one.name)]
        known = {one.name: self._times.get((coding, lossy, one.name), 0.0) for one in left}
        last = max(known.values(), default=0.0)
        times = {name: seconds or last for name, seconds in known.items()}
        found: list[Backend] = []
        while left:
            exact = [one for one in left if not self.inexact(form, one.name)] or left
            limit = _AS_FAST * min(times[one.name] for one in exact)
            best = next(one for one in exact if times[one.name] <= limit)
            found.append(best)
            left.remove(best)
        return found


_known: list[Matrix] = []
_measuring: Final = Lock()


def give(matrix: Matrix) -> None:
    """Let this process, a worker, go by what the gateway found; it measures nothing itself."""
    _known[:] = [matrix]


def proven(stop: Event | None = None) -> Matrix:
    """The outcome for this machine: given, kept from before, or measured (a second or two).

    ``stop`` ends a measurement early. Raises TemporaryFailure where the self-test cannot run.
    """
    if not _known:
        with _measuring:
            if not _known:
                _known[:] = [_found(stop)]
    return _known[0]


def _found(stop: Event | None) -> Matrix:
    place = _folder() / f"selftest-{_key()}.json"
    if (kept := _read(place)) is not None:
        return kept
    matrix = Matrix(measure(stop))
    if not any(_HANGS in one.why for one in matrix.outcomes):
        _keep(matrix, place)
    return matrix


def refresh() -> Matrix:
    """Measure again, and keep that."""
    _known.clear()
    with suppress(OSError):
        (_folder() / f"selftest-{_key()}.json").unlink()
    return proven()


@dataclass(frozen=True, slots=True)
class _Round:
    """What one process of the self-test said, line by line, and how it ended."""

    lines: Sequence[str]
    ended: str
    hung: bool = False

    @property
    def done(self) -> bool:
        return bool(self.lines) and self.lines[-1] == "done"

    @property
    def begun(self) -> bool:
        """It came to a try."""
        return any(line.isdigit() for line in self.lines)

    @property
    def outcomes(self) -> list[Outcome]:
        return [_outcome(json.loads(line)) for line in self.lines if line.startswith("{")]

    def reached(self, first: int) -> int:
        """The number of the try that it was at; ``first`` where it began none."""
        at = first
        for line in self.lines:
            at = int(line) if line.isdigit() else at + line.startswith("{")
        return at


def measure(stop: Event | None = None) -> list[Outcome]:
    """Run the self-test. A decoder that twice brings its process down has failed what it was at;
    one that twice hangs is asked no more.

    Raises TemporaryFailure where it cannot run, takes longer than it may, or was told to stop.
    """
    from gateway.transcode.selftest import NATIVE_SYNTAXES, tries

    until, tried = monotonic() + _WHOLE, tries()
    outcomes: list[Outcome] = []
    first, fell, without = 0, -1, frozenset[str]()
    while True:
        run = _run(first, without, until, stop)
        if run.done:
            return outcomes + run.outcomes
        outcomes += [one for one in run.outcomes if one.syntax not in NATIVE_SYNTAXES]
        first = run.reached(first)
        if fell != first:
            fell = first
            continue
        if first >= len(tried) or not run.begun:
            raise TemporaryFailure(f"the decoders' self-test does not run: {run.ended}")
        outcomes += _blamed(first, run)
        without |= {tried[first][0].name} if run.hung else frozenset()
        first, fell = first + 1, -1


def _blamed(number: int, run: _Round) -> list[Outcome]:
    """The failure of a try, and of all the decoder's later ones where it hung."""
    from gateway.transcode.selftest import tries

    tried = tries()
    backend, probe = tried[number]
    how = f"hung ({run.ended})" if run.hung else f"brought its process down ({run.ended})"
    found = [_failed(backend, probe, how)]
    if run.hung:
        why = f"not tried: it hung with {probe.describe()} ({run.ended})"
        found += [_failed(one, each, why) for one, each in tried[number + 1 :] if one is backend]
    return found


def _failed(backend: Backend, probe: Probe, why: str) -> Outcome:
    return Outcome(
        syntax=probe.syntax,
        backend=backend.name,
        cell=cell_of(probe.form),
        what=probe.describe(),
        state=FAILED,
        why=why,
        samples=probe.rows * probe.columns * probe.samples,
        timed=probe.timed,
    )


def _run(first: int, without: frozenset[str], until: float, stop: Event | None) -> _Round:
    """One process, from the try ``first`` on, leaving out the backends ``without``."""
    package = str(Path(__file__).parents[2])
    known = os.environ.get("PYTHONPATH", "")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (package, known)))}
    command = [sys.executable, *_PROGRAM, "--after", str(first)]
    command += ["--without", ",".join(sorted(without))]
    try:
        with subprocess.Popen(  # noqa: S603 - our own module
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            try:
                said, hung = _heard(process, until, stop)
            finally:
                process.kill()
    except OSError as error:
        return _Round((), str(error))
    lines = said.rpartition(b"\n")[0].decode("utf-8", "replace").splitlines()
    if hung:
        return _Round(lines, f"{_HANGS} {_QUIET:g} s", hung=True)
    return _Round(lines, _ending(process.returncode, said))


def _heard(process: Any, until: float, stop: Event | None) -> tuple[bytes, bool]:
    """What a process writes until it ends or hangs, and whether it hung.

    Raises TemporaryFailure at the time ``until``, or when told to stop.
    """
    said, quiet, descriptor = b"", monotonic() + _QUIET, process.stdout.fileno()
    while monotonic() < quiet:
        if stop is not None and stop.is_set():
            raise TemporaryFailure("the decoders' self-test was stopped")
        if monotonic() > until:
            raise TemporaryFailure(
                f"the decoders' self-test did not come to its end within {_WHOLE:g} s"
            )
        if select.select([descriptor], [], [], _GLANCE)[0]:
            if not (part := os.read(descriptor, 1 << 16)):
                process.wait()
                return said, False
            said, quiet = said + part, monotonic() + _QUIET
    return said, True


def _ending(status: int, said: bytes) -> str:
    text = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
    last = "" if text.startswith("{") or text.isdigit() else text[-200:]
    return f"{f'signal {-status}' if status < 0 else f'exit {status}'} {last}".strip()


def _outcome(row: dict[str, Any]) -> Outcome:
    return Outcome(**row | {"cell": tuple(row["cell"])})


def _key() -> str:
    """Names the versions of everything that decodes, the test pictures and the processor."""
    from gateway.transcode.decoders import BACKENDS

    facts = [__version__, digest(), sys.version, platform.machine(), _processor()]
    facts += [f"{one.name} {one.version()}" for one in BACKENDS]
    facts += [hashlib.sha256(path.read_bytes()).hexdigest() for path in _sources()]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:24]


def _sources() -> list[Path]:
    """The modules between a codestream and its samples."""
    here = Path(__file__).parent
    return sorted([*here.glob("*.py"), *(here / "backends").glob("*.py")])


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line
    return platform.processor()


def _folder() -> Path:
    """The user's cache folder; a service manager's, where it names one."""
    for name in ("CACHE_DIRECTORY", "XDG_CACHE_HOME"):
        if os.environ.get(name):
            return Path(os.environ[name].split(":")[0]) / "dicom-gateway"
    with suppress(RuntimeError):  # a user without a home
        return Path.home() / ".cache" / "dicom-gateway"
    return Path(tempfile.gettempdir()) / f"dicom-gateway-{os.getuid()}"


def _read(place: Path) -> Matrix | None:
    try:
        return Matrix([_outcome(row) for row in json.loads(place.read_bytes())])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _keep(matrix: Matrix, place: Path) -> None:
    """Write the outcome to ``place``, whole or not at all; where that cannot be, nothing is."""
    text = json.dumps([asdict(one) for one in matrix.outcomes])
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, name = tempfile.mkstemp(dir=place.parent, prefix=".selftest-")
        beside = Path(name)
        try:
            with open(descriptor, "w") as file:
                file.write(text)
            beside.rename(place)
        except OSError:
            beside.unlink(missing_ok=True)
