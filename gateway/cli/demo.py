"""``dicom-gateway demo``: the main job end to end, on loopback, with images that pydicom ships.

A gateway and a toy legacy node that reads Implicit VR Little Endian only are started in a
temporary folder; compressed images are sent to the gateway by C-STORE; what the legacy node got
is shown.
"""

import asyncio
import tempfile
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom.data
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from gateway.clock import utc_now
from gateway.config import Config, load_text
from gateway.dataset.part10 import FileMeta, read_file_meta
from gateway.deliver.store_scu import StoreScu, Target
from gateway.failures import Failure
from gateway.intake import Intake
from gateway.model import Arrival, Instance, Origin, Owed
from gateway.operate import logs
from gateway.receive.store_scp import ScpSettings, StoreScp
from gateway.route.rules import compile_rules
from gateway.service import Service
from gateway.spool import Queue, QueueRow, Spool
from gateway.transfer_syntax import IMPLICIT_LE, name_of

SAMPLES = (
    "MR_small_RLE.dcm",
    "SC_rgb_rle_2frame.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "examples_ybr_color.dcm",
    "JPGExtended.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "JPEGLSNearLossless_16.dcm",
    "MR_small_jp2klossless.dcm",
    "examples_jpeg2k.dcm",
    "JPEG2000.dcm",
)

_CONFIG = """
version: 1
gateway:
  dicom: {{ listen: "127.0.0.1:0" }}
  web:   {{ listen: "127.0.0.1:0" }}
  spool: {{ path: "{folder}/gateway", refuse_below_free: 1MiB }}
nodes:
  legacy_viewer:
    dimse: {{ ae_title: OLDVIEW, host: 127.0.0.1, port: {port} }}
    can_read: {{ syntaxes: [implicit-le], color: RGB }}
routes:
  - {{ name: everything-to-the-old-viewer, send_to: [legacy_viewer] }}
"""


@dataclass(frozen=True, slots=True)
class _Sample:
    """A file to send, and what its meta information says."""

    file: Path
    meta: FileMeta


@dataclass(frozen=True, slots=True)
class _Trip:
    """A sample, its row in the ledger, and the file at the legacy node, if it got there."""

    sample: _Sample
    row: QueueRow
    file: Path | None


def demo() -> None:
    """Send compressed images through a gateway to a node that reads Implicit VR LE only."""
    console = Console()
    logs.set_up(level="error")
    with tempfile.TemporaryDirectory(prefix="dicom-gateway-demo-") as folder:
        trips = asyncio.run(_run(Path(folder), console))
        console.print(_table(trips))
    lost = sum(trip.file is None for trip in trips)
    console.print(
        f"{len(trips) - lost} of {len(trips)} images arrived uncompressed"
        + (f", [bold red]{lost} did not[/]" if lost else "; nothing was lost")
    )
    raise typer.Exit(1 if lost else 0)


async def _run(folder: Path, console: Console) -> list[_Trip]:
    samples = _samples()
    node = _LegacyNode(folder / "legacy-node")
    port = await node.start()
    config = load_text(_CONFIG.format(folder=folder, port=port), "demo")
    try:
        async with Service(config) as service:
            await service.warm()
            with _progress(console) as progress:
                await _send(samples, service.dicom_port, progress)
                await _wait(len(samples), config, progress)
            rows = _rows(config)
    finally:
        await node.stop()
    return [
        _Trip(sample, row, node.next_arrival(row.sop_instance_uid))
        for sample, row in zip(samples, rows, strict=True)
    ]


def _samples() -> list[_Sample]:
    folder = Path(pydicom.data.__file__).parent / "test_files"
    files = [folder / name for name in SAMPLES if (folder / name).is_file()]
    return [_Sample(file, read_file_meta(file.read_bytes())) for file in files]


class _LegacyNode:
    """A node that accepts Implicit VR Little Endian and nothing else."""

    def __init__(self, folder: Path) -> None:
        self._spool = Spool.open(folder, clock=utc_now, refuse_below_free=1 << 20, keep=None)
        self._arrived: defaultdict[str, deque[Path]] = defaultdict(deque)
        rules = compile_rules(load_text("version: 1\n", "legacy node"))
        intake = Intake(self._spool, rules, kept=self._kept, clock=utc_now)
        settings = ScpSettings(ae_title="OLDVIEW", storable=(IMPLICIT_LE,))
        self._scp = StoreScp(intake, settings)

    async def start(self) -> int:
        return await self._scp.start("127.0.0.1", 0)

    async def stop(self) -> None:
        await self._scp.stop(1.0)
        await self._spool.aclose()

    def _kept(self, instance: Instance, _: Sequence[Owed]) -> None:
        self._arrived[instance.sop_instance_uid].append(instance.file)

    def next_arrival(self, sop_instance_uid: str) -> Path | None:
        """The next file that arrived under this UID: some samples share one."""
        files = self._arrived[sop_instance_uid]
        return files.popleft() if files else None


async def _send(samples: list[_Sample], port: int, progress: Progress) -> None:
    """Be the modality: one association, every sample as it is."""
    task = progress.add_task("modality -> gateway", total=len(samples))
    sender = StoreScu(Target("GATEWAY", "127.0.0.1", port, calling_ae="MODALITY", natives=()))
    wanted = {(sample.meta.sop_class_uid, sample.meta.transfer_syntax) for sample in samples}
    async with sender.connect(wanted) as session:
        for sample in samples:
            meta = sample.meta
            instance = Instance(
                sop_instance_uid=meta.sop_instance_uid,
                sop_class_uid=meta.sop_class_uid,
                transfer_syntax=meta.transfer_syntax,
                study_uid="",
                series_uid="",
                origin=Origin(Arrival.C_STORE),
                size=sample.file.stat().st_size,
                received_at=utc_now(),
            )
            await session.store(instance, sample.file, meta.transfer_syntax)
            progress.advance(task)


async def _wait(count: int, config: Config, progress: Progress) -> None:
    """Until every sample has been delivered or is held."""
    task = progress.add_task("gateway -> legacy node", total=count)
    settled = 0
    while settled < count:
        await asyncio.sleep(0.05)
        settled = sum(row.state != "owed" for row in _rows(config))
        progress.update(task, completed=settled)


def _rows(config: Config) -> list[QueueRow]:
    try:
        with Queue(Path(config.gateway.spool.path), clock=utc_now) as queue:
            return sorted(queue.list(limit=1000), key=lambda row: row.delivery_id)
    except Failure:
        return []


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), console=console
    )


def _table(trips: list[_Trip]) -> Table:
    table = Table(
        title="What came in, and what the legacy node got", box=None, padding=(0, 1, 0, 0)
    )
    table.add_column("image", overflow="ellipsis", no_wrap=True, max_width=20)
    table.add_column("came in as", no_wrap=True)
    table.add_column("kB", justify="right", no_wrap=True)
    table.add_column("decoder", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("went out as", no_wrap=True)
    table.add_column("kB", justify="right", no_wrap=True)
    for trip in trips:
        table.add_row(
            trip.sample.file.stem,
            name_of(trip.sample.meta.transfer_syntax),
            _kilobytes(trip.sample.file),
            *_outcome(trip.row, trip.file),
        )
    return table


def _outcome(row: QueueRow, file: Path | None) -> tuple[str, str, str, str]:
    """Decoder, milliseconds from receipt to confirmation, syntax and size at the legacy node."""
    if row.settled_at is None or file is None:
        return "", "", f"[red]{row.state}: {row.reason}[/]", ""
    took = (row.settled_at - row.received_at).total_seconds() * 1000
    return row.decoder, f"{took:.0f}", name_of(row.delivered_as), _kilobytes(file)


def _kilobytes(file: Path) -> str:
    kilobytes = file.stat().st_size / 1000
    return f"{kilobytes:,.0f}" if kilobytes >= 100 else f"{kilobytes:.1f}"
