"""Runs the decoders' self-test in processes of its own, and sees how they end.

A process that ended or hung is tried once more with the same picture before its decoder is
blamed; all of them together have one limit.
"""

import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any, Final

from gateway.failures import TemporaryFailure
from gateway.transcode.form import Backend
from gateway.transcode.outcome import FAILED, Outcome, outcome_of
from gateway.transcode.probes import Probe, cell_of

_PROGRAM: Final = ("-m", "gateway.transcode.selftest")
_QUIET: Final = 15.0
"""Seconds without a sign after which the self-test's process counts as hanging."""
_WHOLE: Final = 120.0
"""Seconds for all of its processes together."""
_GLANCE: Final = 0.2
"""Seconds after which a stop is noticed."""
HANGS: Final = "gave no sign for"
"""Perhaps the machine's doing, not the decoder's: such an outcome holds for this start only."""


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
        return [outcome_of(json.loads(line)) for line in self.lines if line.startswith("{")]

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
    command = [sys.executable, "-P", *_PROGRAM, "--after", str(first)]
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
        return _Round(lines, f"{HANGS} {_QUIET:g} s", hung=True)
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
