"""Rounds, medians and tables: every system takes its turn in every round of the same run."""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median


@dataclass
class Row:
    """One system's seconds in every round of one measurement, or why there are none."""

    system: str
    seconds: list[float] = field(default_factory=list)
    missing: str = ""

    @property
    def median(self) -> float:
        """The median over the rounds, in seconds."""
        return median(self.seconds) if self.seconds else 0.0

    @property
    def least(self) -> float:
        """The fastest round, in seconds: what others do on the machine only adds to it."""
        return min(self.seconds, default=0.0)


@dataclass
class Measurement:
    """One table: what was done, how many objects, and one row per system."""

    title: str
    objects: int
    rows: list[Row]
    notes: list[str] = field(default_factory=list)

    def markdown(self, reference: str = "gateway") -> str:
        """The table; the last column says how many times the gateway's time a system takes."""
        ours = next((row.median for row in self.rows if row.system == reference), 0.0)
        cells = [["system", "median s", "rounds", "objects/s", "ms/object", "x gateway"]]
        cells += [self._cells(row, ours) for row in self.rows]
        failed = [f"{row.system}: {row.missing}" for row in self.rows if row.missing]
        return page(self.title, cells, (*failed, *self.notes))

    def _cells(self, row: Row, ours: float) -> list[str]:
        if not row.seconds:
            return [row.system, "none", "see below", "", "", ""]
        each = row.median / self.objects
        rounds = " ".join(f"{value:.2f}" for value in row.seconds)
        ratio = f"{row.median / ours:.2f}" if ours else ""
        return [
            row.system,
            f"{row.median:.2f}",
            rounds,
            f"{1 / each:.1f}",
            f"{1000 * each:.2f}",
            ratio,
        ]


@dataclass
class Frames(Measurement):
    """A table of frames: ``objects`` of them with ``native`` bytes in all."""

    native: int = 0

    def markdown(self, reference: str = "gateway") -> str:
        """By the fastest rounds; the last column as in any measurement."""
        ours = next((row.least for row in self.rows if row.system == reference), 0.0)
        cells = [["system", "us/frame", "median", "MB/s", "x gateway"]]
        cells += [self._of_frames(row, ours) for row in self.rows]
        failed = [f"{row.system}: {row.missing}" for row in self.rows if row.missing]
        return page(self.title, cells, (*failed, *self.notes))

    def _of_frames(self, row: Row, ours: float) -> list[str]:
        if not row.seconds:
            return [row.system, "none", "see below", "", ""]
        micro = 1e6 / self.objects
        return [
            row.system,
            f"{row.least * micro:.0f}",
            f"{row.median * micro:.0f}",
            f"{self.native / row.least / 1e6:.0f}",
            f"{row.least / ours:.2f}" if ours else "",
        ]


@dataclass
class Summary:
    """A table of ratios: ``cells`` with their heads first."""

    title: str
    cells: list[list[str]]
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """The table."""
        return page(self.title, self.cells, self.notes)


def page(title: str, cells: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """A title, a table whose first row are its heads, and notes."""
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = [_line(row, widths) for row in cells]
    lines.insert(1, _line(["-" * width for width in widths], widths))
    return "\n".join([f"### {title}", "", *lines, "", *(f"- {note}" for note in notes), ""])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return (
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        + " |"
    )


Measured = Callable[[], float]
"""Does the work once and returns its seconds; raises when a count is wrong."""


def interleaved(
    title: str, objects: int, systems: Mapping[str, Measured | str], rounds: int
) -> Measurement:
    """Measure every system once per round, in turn; a text in place of a system says why not."""
    rows = {
        name: Row(name, missing=s if isinstance(s, str) else "") for name, s in systems.items()
    }
    for _ in range(rounds):
        for name, system in systems.items():
            if not isinstance(system, str) and not rows[name].missing:
                _once(rows[name], system)
    return Measurement(title, objects, list(rows.values()))


def _once(row: Row, system: Measured) -> None:
    os.sync()
    try:
        row.seconds.append(system())
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        row.missing = "failed: " + " ".join(str(error).split())[:300]
        row.seconds.clear()


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": str(os.cpu_count()),
        "system": platform.platform(),
        "python": platform.python_version(),
        "dcmtk": _first_line("storescp", "--version"),
        "orthanc": _first_line("Orthanc", "--version"),
    }


def _first_line(program: str, *arguments: str) -> str:
    if shutil.which(program) is None:
        return "not installed"
    ended = subprocess.run([program, *arguments], capture_output=True, text=True)
    return next((line.strip() for line in ended.stdout.splitlines() if line.strip()), "?")


def show(measurement: Measurement | Summary) -> None:
    """Print one table to the terminal."""
    sys.stdout.write(measurement.markdown() + "\n")
    sys.stdout.flush()


def write(measurements: Sequence[Measurement | Summary], folder: Path) -> Path:
    """Keep the run as JSON and markdown; the markdown file's path."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = machine()
    stamp = facts["when"].replace(":", "").replace("+0000", "Z")
    data = {"machine": facts, "measurements": [asdict(one) for one in measurements]}
    (folder / f"{stamp}.json").write_text(json.dumps(data, indent=1))
    lines = [f"# Benchmark of {facts['when']}", ""]
    lines += [f"- {key}: {value}" for key, value in facts.items()] + [""]
    lines += [one.markdown() for one in measurements]
    page = folder / f"{stamp}.md"
    page.write_text("\n".join(lines))
    return page
