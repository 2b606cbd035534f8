"""The decoders' self-test, in a process of its own: ``python -m gateway.transcode.selftest``.

Says on standard output, a line of JSON each, which probe it begins with which decoder and how it
ended. A decoder that brings this process down has failed the probe begun last: whoever reads
goes on with it or behind it, in a new process. ``--after N`` passes over the first N tries,
``--without A,B`` over those of some decoders.
"""

import contextlib
import json
import os
import resource
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from struct import pack
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from gateway.model import UID
from gateway.transcode.decoders import BACKENDS, ROWS
from gateway.transcode.form import Backend
from gateway.transcode.outcome import FAILED, NOT_OFFERED, PROVEN, Outcome
from gateway.transcode.probes import (
    Probe,
    all_probes,
    cell_of,
    container_of,
    picture,
)
from gateway.transcode.samples import conform
from gateway.transfer_syntax import BY_UID, DEFLATED, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE

if TYPE_CHECKING:
    from gateway.transcode.form import Samples

NATIVE_SYNTAXES: Final = (IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED)
_MEMORY: Final = 2 << 30
_SECONDS: Final = 60
_ROUNDS: Final = 3


def tries() -> list[tuple[Backend, Probe]]:
    """Every decoder with every probe of the codings it is registered for, in a fixed order."""
    return [
        (backend, probe)
        for backend in BACKENDS
        if backend.version()
        for probe in all_probes()
        if backend in ROWS[probe.coding]
    ]


def attempt(backend: Backend, probe: Probe) -> Outcome:
    """One try; what it raises is a failure."""
    form = probe.form
    cell = cell_of(form)
    if not backend.supports(form):
        return _outcome(backend, probe, cell, NOT_OFFERED)
    try:
        got, seconds = _timed(backend, probe)
        error = _difference(got, probe)
    except BaseException as raised:  # noqa: BLE001 - a Rust library's panic is no Exception
        text = " ".join(str(raised).split())[:120]
        return _outcome(backend, probe, cell, FAILED, why=f"{type(raised).__name__} {text}")
    if error > probe.bound:
        allowed = f"up to {probe.bound} is allowed" if probe.bound else "none is allowed"
        why = f"wrong by up to {error} where {allowed}"
        return _outcome(backend, probe, cell, FAILED, why=why, error=error)
    return _outcome(backend, probe, cell, PROVEN, seconds=seconds, error=error)


def _outcome(
    backend: Backend, probe: Probe, cell: tuple[Any, ...], state: str, **more: Any
) -> Outcome:
    size = probe.rows * probe.columns * probe.samples
    what = probe.describe()
    return Outcome(
        probe.syntax, backend.name, cell, what, state, samples=size, timed=probe.timed, **more
    )


def _timed(backend: Backend, probe: Probe) -> tuple["Samples", float]:
    """The samples, and the least time of a few rounds where the probe is a large one."""
    form, best = probe.form, float("inf")
    view = memoryview(probe.stream)
    got = conform(backend.decode(view, form), form)
    for _ in range(_ROUNDS if probe.timed else 0):
        begin = perf_counter()
        conform(backend.decode(view, form), form)
        best = min(best, perf_counter() - begin)
    return got, best if probe.timed else 0.0


def _difference(got: "Samples", probe: Probe) -> int:
    import numpy as np

    wanted = probe.wanted
    kind = f"<{wanted.dtype.kind}{got.dtype.itemsize}"
    have = got.view(kind).reshape(wanted.shape).astype(np.int64)
    return int(np.abs(have - wanted.astype(np.int64)).max())


def native_outcomes() -> Iterator[Outcome]:
    """The uncompressed syntaxes: whole objects, through the gateway's own path and back."""
    with suppress(OSError), tempfile.TemporaryDirectory(prefix="dicom-gateway-") as folder:
        for syntax in NATIVE_SYNTAXES:
            for bits in (1, 8, 10, 12, 16, 32):
                for signed in (False, True) if bits > 1 else (False,):
                    for samples in (1, 3) if bits > 1 else (1,):
                        yield _native(Path(folder), syntax, bits, signed, samples)


def _native(folder: Path, syntax: UID, bits: int, signed: bool, samples: int) -> Outcome:
    from gateway.transcode.instance import transcode

    image = picture(18, 24, samples, bits, signed)
    source, out = folder / "in.dcm", folder / "out.dcm"
    value = _little(image, bits)
    try:
        source.write_bytes(_object(syntax, image, bits, signed, samples))
        transcode(source, IMPLICIT_LE if syntax == EXPLICIT_LE else EXPLICIT_LE, out)
        right = out.read_bytes().endswith(value)
        why = "" if right else "other bytes than were stored"
    except Exception as raised:  # noqa: BLE001 - any failure is the outcome
        why = f"{type(raised).__name__} {raised}"[:120]
    words = f"{bits} bit {'signed' if signed else 'unsigned'}, {samples} sample" + "s" * (
        samples > 1
    )
    cell = ("NATIVE", False, container_of(bits), signed, samples, syntax)
    state = FAILED if why else PROVEN
    return Outcome(syntax, "numpy", cell, words, state, why)


def _little(image: "Samples", bits: int) -> bytes:
    import numpy as np

    if bits == 1:
        return np.packbits(image.reshape(-1), bitorder="little").tobytes()
    return image.tobytes()


def _object(syntax: UID, image: "Samples", bits: int, signed: bool, samples: int) -> bytes:
    """A Part 10 file that holds an Image Pixel Module and nothing else."""
    from gateway.dataset.part10 import encode_file_meta

    known = BY_UID[syntax]
    allocated, order = container_of(bits), "<" if known.little_endian else ">"
    value = _little(image, bits)
    if not known.little_endian and allocated > 8:
        value = image.byteswap().tobytes()
    numbers = {
        0x0002: samples,
        **({0x0006: 0} if samples > 1 else {}),
        0x0010: image.shape[0],
        0x0011: image.shape[1],
        0x0100: allocated,
        0x0101: bits,
        0x0102: bits - 1,
        0x0103: int(signed),
    }
    colour = b"MONOCHROME2 " if samples == 1 else b"RGB "
    parts = [(0x0028, n, b"US", pack(f"{order}H", v)) for n, v in numbers.items()]
    parts.append((0x0028, 0x0004, b"CS", colour))
    parts.append((0x7FE0, 0x0010, b"OB" if allocated <= 8 else b"OW", value))
    body = b"".join(
        _element(order, known.explicit, *part) for part in sorted(parts, key=lambda p: p[:2])
    )
    if known.deflated:
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        body = packer.compress(body) + packer.flush()
    meta = encode_file_meta(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.7",
        sop_instance_uid="2.25.1",
        transfer_syntax=syntax,
    )
    return meta + body


def _element(
    order: str, explicit: bool, group: int, number: int, vr: bytes, value: bytes
) -> bytes:
    if not explicit:
        return pack(f"{order}HHI", group, number, len(value)) + value
    if vr in (b"OB", b"OW"):
        return pack(f"{order}HH2sHI", group, number, vr, 0, len(value)) + value
    return pack(f"{order}HH2sH", group, number, vr, len(value)) + value


def _argument(name: str) -> str:
    """The command line's word after ``name``, "" where it has none."""
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else ""


def main() -> None:
    """Run all tries from ``--after`` on; the uncompressed syntaxes come last."""
    after, without = int(_argument("--after") or 0), _argument("--without").split(",")
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = os.fdopen(os.dup(1), "w", buffering=1)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)  # native libraries print what they please
    os.dup2(silence, 2)
    for number, (backend, probe) in enumerate(tries()):
        if number < after or backend.name in without:
            continue
        out.write(f"{number}\n")
        out.write(json.dumps(asdict(attempt(backend, probe))) + "\n")
    for outcome in native_outcomes():
        out.write(json.dumps(asdict(outcome)) + "\n")
    out.write("done\n")


if __name__ == "__main__":
    main()
