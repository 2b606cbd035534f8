"""(b) The main job: compressed CT in, Explicit VR Little Endian out, until all have arrived."""

import os
import shutil
import time
from pathlib import Path

from tests.bench import objects
from tests.bench.decompress import loop
from tests.bench.measure import Measured, Measurement, interleaved
from tests.bench.receive import send_all
from tests.peers import Orthanc, RunningGateway, Storescp, absent, until

_PROPOSE = {objects.JPEG_LOSSLESS: "-xs", objects.JPEG_LS: "-xt", objects.J2K: "-xv"}

_ROUTES = """\
nodes:
  sink:
    dimse: {{ ae_title: SINK, host: 127.0.0.1, port: {port} }}
    can_read: {{ syntaxes: [explicit-le] }}
routes:
  - name: everything-uncompressed
    send_to: [sink]
"""

NATIVE_BYTES = 512 * 512 * 2


def measure(folder: Path, *, rounds: int, quick: bool) -> list[Measurement]:
    """JPEG Lossless, JPEG-LS and JPEG 2000 through the gateway and through Orthanc."""
    if reason := absent("storescu", "storescp"):
        return [Measurement("Decompress and forward", 0, [], [reason])]
    count = 100 if quick else 400
    return [_run(syntax, folder, count, rounds) for syntax in _PROPOSE]


def _run(syntax: str, folder: Path, count: int, rounds: int) -> Measurement:
    source = folder / syntax
    objects.copies(objects.template(syntax), source, count)
    at = folder / "systems"
    systems: dict[str, Measured | str] = {
        "gateway": lambda: _gateway(at, syntax, source, count),
        "Orthanc as installed": _orthanc(at, syntax, source, count, no_delay=False),
        "Orthanc, TCP_NODELAY=1": _orthanc(at, syntax, source, count, no_delay=True),
    }
    title = f"{count} {objects.NAMES[syntax]} CT in, Explicit VR LE out"
    measurement = interleaved(title, count, systems, rounds)
    measurement.notes.append(
        "from the start of storescu until the last file stands at DCMTK storescp +xe; "
        f"image: {objects.source_of(syntax)}; Orthanc by a Lua script that forwards each instance"
    )
    measurement.notes.append(_bound(measurement, source, folder / "out", count))
    return measurement


def _bound(measurement: Measurement, source: Path, out: Path, count: int) -> str:
    """How near the gateway comes to what the codec alone takes on all cores."""
    cores = os.cpu_count() or 1
    alone = loop("bare", source, out, count) / cores
    ours = measurement.rows[0].median
    share = f"; the gateway runs at {100 * alone / ours:.0f} % of that" if ours else ""
    return f"the bare codec on {cores} cores needs {alone:.2f} s{share}"


def _gateway(at: Path, syntax: str, source: Path, count: int) -> float:
    with _sink(at) as sink:
        gateway = RunningGateway(_ROUTES.format(port=sink.port), at / "gateway")
        with gateway:
            return _until_arrived(gateway.port, syntax, source, sink, count)


def _orthanc(at: Path, syntax: str, source: Path, count: int, *, no_delay: bool) -> Measured | str:
    def measured() -> float:
        with _sink(at) as sink:
            orthanc = Orthanc(at / "orthanc", forward_to=sink.port, no_delay=no_delay)
            with orthanc:
                return _until_arrived(orthanc.port, syntax, source, sink, count)

    return Orthanc.missing() or measured


def _sink(at: Path) -> Storescp:
    """A fresh receiver that takes uncompressed objects only."""
    shutil.rmtree(at, ignore_errors=True)
    return Storescp(at / "sink", "+xe", "+B")


def _until_arrived(port: int, syntax: str, source: Path, sink: Storescp, count: int) -> float:
    start = time.perf_counter()
    send_all(port, [source], "-R", _PROPOSE[syntax])
    sink.wait_for(count, 120.0)
    until(lambda: _whole(sink) >= count, f"{count} whole uncompressed images", 5.0)
    return time.perf_counter() - start


def _whole(sink: Storescp) -> int:
    """How many files have the size of an uncompressed image."""
    return sum(1 for file in sink.files() if file.stat().st_size >= NATIVE_BYTES)
