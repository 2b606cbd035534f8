"""Which decoder was proven for what on this machine, and how fast it is.

The self-test runs in a process of its own, once for each set of library versions and processor;
its outcome is kept in the user's cache folder. A cell that a decoder failed is closed to it.
"""

import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from gateway import __version__
from gateway.failures import TemporaryFailure
from gateway.model import UID
from gateway.transcode.form import Backend, FrameFormat
from gateway.transcode.probes import DEPTHS, Cell, cell_of, digest

PROVEN: Final = "proven"
FAILED: Final = "failed"
NOT_OFFERED: Final = "not offered"
LOCATION: Final = "DICOM_GATEWAY_SELFTEST"
"""The environment variable that names the kept outcome for worker processes."""
_QUIET: Final = 30.0
_LATE: Final = "did not end within"
"""Perhaps the machine's doing, not the decoder's: such an outcome holds for this start only."""
_MOST_CRASHES: Final = 40
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


_given: list[Matrix] = []


def give(matrix: Matrix) -> None:
    """Let this process, a worker, go by what the gateway found; it measures nothing itself."""
    _given[:] = [matrix]


def proven() -> Matrix:
    """The outcome for this machine: given, kept from before, or measured (a second or two).

    Raises TemporaryFailure where the self-test cannot run.
    """
    return _given[0] if _given else _found()


@cache
def _found() -> Matrix:
    places = [Path(os.environ[LOCATION])] if LOCATION in os.environ else []
    places.append(_folder() / f"selftest-{_key()}.json")
    for place in places:
        if (kept := _read(place)) is not None:
            return kept
    matrix = Matrix(measure())
    if not any(_LATE in one.why for one in matrix.outcomes):
        with suppress(OSError):
            os.environ[LOCATION] = str(_keep(matrix, places[-1]))
    return matrix


def refresh() -> Matrix:
    """Measure again, and keep that."""
    _found.cache_clear()
    os.environ.pop(LOCATION, None)
    with suppress(OSError):
        (_folder() / f"selftest-{_key()}.json").unlink()
    return proven()


def measure() -> list[Outcome]:
    """Run the self-test; a decoder that brings its process down has failed what it was at.

    Raises TemporaryFailure where it cannot run at all.
    """
    outcomes: list[Outcome] = []
    after = 0
    for _ in range(_MOST_CRASHES):
        text, ended = _run(after)
        lines = text.splitlines()
        outcomes += [_outcome(json.loads(line)) for line in lines if line.startswith("{")]
        if lines and lines[-1] == "done":
            return outcomes
        begun = [int(line) for line in lines if line.isdigit()]
        if not begun:
            raise TemporaryFailure(f"the decoders' self-test does not start: {ended}")
        outcomes.append(_fallen(begun[-1], ended))
        after = begun[-1] + 1
    raise TemporaryFailure("the decoders' self-test does not come to its end")


def _run(after: int) -> tuple[str, str]:
    """What the process wrote, and how it ended."""
    package = str(Path(__file__).parents[2])
    known = os.environ.get("PYTHONPATH", "")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (package, known)))}
    command = [sys.executable, "-m", "gateway.transcode.selftest", "--after", str(after)]
    try:
        ended = subprocess.run(  # noqa: S603 - our own module
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_QUIET,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        said = late.stdout or b""
        text = said.decode() if isinstance(said, bytes) else said
        return text.rpartition("\n")[0], f"{_LATE} {_QUIET:g} s"
    except OSError as error:
        return "", str(error)
    how = f"signal {-ended.returncode}" if ended.returncode < 0 else f"exit {ended.returncode}"
    return ended.stdout, f"{how} {ended.stderr[-200:]}".strip()


def _fallen(number: int, ended: str) -> Outcome:
    from gateway.transcode.selftest import tries

    backend, probe = tries()[number]
    return Outcome(
        syntax=probe.syntax,
        backend=backend.name,
        cell=cell_of(probe.form),
        what=probe.describe(),
        state=FAILED,
        why=f"brought its process down ({ended})",
        samples=probe.rows * probe.columns * probe.samples,
    )


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


def _keep(matrix: Matrix, place: Path) -> Path:
    """Where the outcome was kept: at ``place``, or in a temporary file where that cannot be."""
    text = json.dumps([asdict(one) for one in matrix.outcomes])
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _write(text, place.parent).rename(place)
    except OSError:
        return _write(text, None)


def _write(text: str, folder: Path | None) -> Path:
    with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".json", delete=False) as file:
        file.write(text)
    return Path(file.name)
