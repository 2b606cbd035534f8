"""``dicom-gateway demo``: the main job end to end, on loopback, with images that pydicom ships.

A gateway and a toy legacy node that reads Implicit VR Little Endian only are started in a temporary
folder; compressed images are sent to the gateway by C-STORE; what the legacy node got is shown.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom.data
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from gateway.config import Config, load_text
from gateway.dataset.part10 import FileMeta, read_file_meta
from gateway.deliver.store_scu import StoreScu, Target
from gateway.failures import Failure
from gateway.intake import Intake
from gateway.model import Arrival, Instance, Origin, Owed
from gateway.operate import logs
from gateway.receive.store_scp import ScpSettings, StoreScp
from gateway.route.rules import compile_rules
from gateway.service import Service, utc_now
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


def demo() -> None:
    """Send compressed images through a gateway to a node that reads Implicit VR LE only."""
    console = Console()
    logs.set_up(level="error")
    with tempfile.TemporaryDirectory(prefix="dicom-gateway-demo-") as folder:
        arrived, rows, samples = asyncio.run(_run(Path(folder), console))
        console.print(_table(arrived, rows, samples))
    lost = len(samples) - len(arrived)
    console.print(
        f"{len(arrived)} of {len(samples)} images arrived uncompressed"
        + (f", [bold red]{lost} did not[/]" if lost else "; nothing was lost")
    )
    raise typer.Exit(1 if lost else 0)


async def _run(
    folder: Path, console: Console
) -> tuple[dict[str, Path], dict[str, QueueRow], list[_Sample]]:
    """SOP Instance UID -> file at the legacy node, and -> ledger row; and the samples."""
    samples = _samples()
    node = _LegacyNode(folder / "legacy-node")
    port = await node.start()
    config = load_text(_CONFIG.format(folder=folder, port=port), "demo")
    try:
        async with Service(config) as service:
            with _progress(console) as progress:
                await _send(samples, service.dicom_port, progress)
                await _wait(samples, node, config, progress)
            rows = {row.sop_instance_uid: row for row in _rows(config)}
    finally:
        await node.stop()
    return dict(node.arrived), rows, samples


def _samples() -> list[_Sample]:
    folder = Path(pydicom.data.__file__).parent / "test_files"
    files = [folder / name for name in SAMPLES if (folder / name).is_file()]
    return [_Sample(file, read_file_meta(file.read_bytes())) for file in files]


class _LegacyNode:
    """A node that accepts Implicit VR Little Endian and nothing else."""

    def __init__(self, folder: Path) -> None:
        self._spool = Spool.open(folder, clock=utc_now, refuse_below_free=1 << 20, keep=None)
        self.arrived: dict[str, Path] = {}
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
        self.arrived[instance.sop_instance_uid] = instance.file


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


async def _wait(
    samples: list[_Sample], node: _LegacyNode, config: Config, progress: Progress
) -> None:
    """Until every sample has arrived or is held."""
    task = progress.add_task("gateway -> legacy node", total=len(samples))
    expected = {sample.meta.sop_instance_uid for sample in samples}
    while True:
        settled = {row.sop_instance_uid for row in _rows(config) if row.state != "owed"}
        progress.update(task, completed=len(expected & (set(node.arrived) | settled)))
        if expected <= settled:
            return
        await asyncio.sleep(0.05)


def _rows(config: Config) -> list[QueueRow]:
    try:
        with Queue(Path(config.gateway.spool.path), clock=utc_now) as queue:
            return queue.list(limit=1000)
    except Failure:
        return []


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), console=console
    )


def _table(
    arrived: dict[str, Path], rows: dict[str, QueueRow], samples: list[_Sample]
) -> Table:
    table = Table(title="What came in, and what the legacy node got", header_style="bold")
    for heading, justify in (
        ("image", "left"),
        ("came in as", "left"),
        ("kB", "right"),
        ("decoder", "left"),
        ("ms", "right"),
        ("went out as", "left"),
        ("kB", "right"),
    ):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for sample in samples:
        uid = sample.meta.sop_instance_uid
        table.add_row(
            sample.file.stem,
            name_of(sample.meta.transfer_syntax),
            _kilobytes(sample.file),
            *_outcome(rows.get(uid), arrived.get(uid)),
        )
    return table


def _outcome(row: QueueRow | None, file: Path | None) -> tuple[str, str, str, str]:
    """Decoder, milliseconds from receipt to confirmation, syntax and size at the legacy node."""
    if row is None or row.settled_at is None or file is None:
        return "", "", f"[red]{row.state if row else 'lost'}: {row.reason if row else ''}[/]", ""
    took = (row.settled_at - row.received_at).total_seconds() * 1000
    return row.decoder, f"{took:.0f}", name_of(row.delivered_as), _kilobytes(file)


def _kilobytes(file: Path) -> str:
    return f"{file.stat().st_size / 1000:,.1f}"
