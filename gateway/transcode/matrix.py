"""Which decoder was proven for what on this machine, and how fast it is.

The self-test runs once for each set of library versions and processor; its outcome is kept in the
user's cache folder. A cell that a decoder failed is closed to it.
"""

import hashlib
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from threading import Event, Lock
from typing import Final

from gateway import __version__
from gateway.transcode.form import Backend, FrameFormat
from gateway.transcode.measure import HANGS, measure
from gateway.transcode.outcome import FAILED, Outcome, outcome_of
from gateway.transcode.probes import DEPTHS, Cell, cell_of, digest

_AS_FAST: Final = 1.5
"""Decoders within this factor of the fastest count as equally fast: the registered order rules."""
_CALL: Final = 50e-6
"""Seconds for a test picture, up to which it is the call that takes them and not the picture."""


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
                each = max(one.seconds, _CALL) / max(one.samples, 1)
                self._times[key] = min(each, self._times.get(key, each))

    def closed(self, form: FrameFormat, backend: str) -> str:
        """Why this decoder may not serve frames of this form, "" where it may."""
        failed = [one for one in self.tried(form, backend) if one.state == FAILED]
        return f"{failed[0].what}: {failed[0].why}" if failed else ""

    def tried(self, form: FrameFormat, backend: str) -> list[Outcome]:
        """What stands for frames of this form; none where nothing like them was tried.

        A depth that has no test picture stands with the next deeper one.
        """
        coding, lossy, depth, *rest = cell_of(form)
        for deeper in (d for d in DEPTHS if d >= depth):
            tried = self._tried.get(((coding, lossy, deeper, *rest), backend))  # type: ignore[arg-type]
            if tried:
                return tried
        return []

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
    if not any(HANGS in one.why for one in matrix.outcomes):
        _keep(matrix, place)
    return matrix


def refresh() -> Matrix:
    """Measure again, and keep that."""
    _known.clear()
    with suppress(OSError):
        (_folder() / f"selftest-{_key()}.json").unlink()
    return proven()


def _key() -> str:
    """Names the versions of everything that decodes, the test pictures and the processor."""
    from gateway.transcode.decoders import versions

    facts = [__version__, digest(), sys.version, platform.machine(), _processor(), *versions()]
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
        return Matrix([outcome_of(row) for row in json.loads(place.read_bytes())])
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
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
            beside.rename(place)
        except OSError:
            beside.unlink(missing_ok=True)
