"""(a) Receiving: how long a sender needs until everything it sent has been answered."""

import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench import objects
from tests.bench.measure import Measured, Measurement, interleaved
from tests.peers import Orthanc, Peer, PynetdicomReceiver, Storescp, absent, start_gateway
from tests.peers.senders import environment, storescu_command

_TUNED = ("--fork", "+B", "-pdu", "131072")


def measure(folder: Path, *, rounds: int, quick: bool) -> list[Measurement]:
    """400 CT by one association and by four, and 1,000 small objects, against the peers."""
    if reason := absent("storescu"):
        return [Measurement("Receive", 0, [], [reason])]
    many, small = (100, 200) if quick else (400, 1000)
    ct = objects.template(objects.EXPLICIT_LE)
    tiny = objects.small_template()
    objects.copies(ct, folder / "ct", many)
    quarters = _quarters(ct, folder, many)
    objects.copies(tiny, folder / "small", small)
    kb, tiny_kb = len(ct) // 1024, len(tiny) // 1024
    runs = [
        (f"Receive {many} CT of {kb} kB, one association", many, [folder / "ct"]),
        (f"Receive 4 x {many // 4} CT of {kb} kB, four associations", many, quarters),
        (f"Receive {small} objects of {tiny_kb} kB, one association", small, [folder / "small"]),
    ]
    return [_run(title, count, sources, folder, rounds) for title, count, sources in runs]


def _quarters(image: bytes, folder: Path, count: int) -> list[Path]:
    """The same files in four folders."""
    files = objects.copies(image, folder / "all", count)
    quarters = [folder / f"ct{number}" for number in range(4)]
    for number, file in enumerate(files):
        quarters[number % 4].mkdir(exist_ok=True)
        file.rename(quarters[number % 4] / file.name)
    return quarters


def _run(title: str, count: int, sources: list[Path], folder: Path, rounds: int) -> Measurement:
    at = folder / "receivers"
    systems: dict[str, Measured | str] = {
        "gateway": lambda: _gateway(at / "gateway", sources, count),
        "storescp --fork": _peer(Storescp(at / "storescp", "--fork"), sources, count),
        "storescp --fork, tuned": _peer(Storescp(at / "storescp", *_TUNED), sources, count),
        "pynetdicom": _peer(PynetdicomReceiver(at / "pynetdicom"), sources, count),
        "Orthanc": _peer(Orthanc(at / "orthanc"), sources, count),
    }
    measurement = interleaved(title, count, systems, rounds)
    measurement.notes.append(
        "storescu --max-send-pdu 131072; TCP_NODELAY=1 for DCMTK's programs on both sides. "
        "Tuned: +B -pdu 131072. "
        "The gateway and Orthanc sync to disk, storescp and pynetdicom do not."
    )
    measurement.notes.append(f"image: {objects.source_of(objects.EXPLICIT_LE)}")
    return measurement


def _peer(peer: Peer, sources: Sequence[Path], count: int) -> Measured | str:
    if reason := peer.missing():
        return reason

    def measured() -> float:
        shutil.rmtree(peer.folder, ignore_errors=True)
        with peer:
            seconds = send_all(peer.port, sources)
            arrived = peer.arrived()
        assert arrived == count, f"{arrived} of {count} arrived"
        shutil.rmtree(peer.folder)
        return seconds

    return measured


def _gateway(folder: Path, sources: Sequence[Path], count: int) -> float:
    shutil.rmtree(folder, ignore_errors=True)
    gateway = start_gateway("", folder)
    try:
        seconds = send_all(gateway.port, sources)
        received = gateway.metric("gateway_received_total")
    finally:
        gateway.stop()
    assert received == count, f"{received:g} of {count} received"
    shutil.rmtree(folder)
    return seconds


def send_all(port: int, sources: Sequence[Path], *options: str) -> float:
    """Seconds that one storescu per folder takes, all at the same time."""
    arguments = ("-q", "--max-send-pdu", "131072", "+sd", *options)
    commands = [storescu_command(port, [folder], *arguments) for folder in sources]
    start = time.perf_counter()
    senders = [subprocess.Popen(command, env=environment()) for command in commands]
    statuses = [sender.wait() for sender in senders]
    seconds = time.perf_counter() - start
    assert statuses == [0] * len(sources), f"storescu ended with {statuses}"
    return seconds
