"""The main job over all real files: sent by a peer, decompressed, met again at a legacy node."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread

from tests.interop.compare import differences, pixel_digest
from tests.interop.real_objects import DCMSEND_ONLY, STORESCU, RealObject, rounds
from tests.peers import RunningGateway, Storescp, until
from tests.peers.senders import Answer, dcmsend, pynetdicom_store, storescu

ROUTES = """\
nodes:
  legacy:
    dimse: {{ ae_title: LEGACY, host: 127.0.0.1, port: {port} }}
    can_read: {{ syntaxes: [implicit-le] }}
routes:
  - name: everything-to-the-legacy-node
    send_to: [legacy]
"""

Send = Callable[[int, list[RealObject]], set[str]]
"""Sends objects to a port; the names of the files that were answered with success."""


@dataclass
class Report:
    """What became of every object, by file name."""

    sent: set[str] = field(default_factory=set)
    equal: set[str] = field(default_factory=set)
    unsent: set[str] = field(default_factory=set)
    held: dict[str, str] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    pixels: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    unchecked: set[str] = field(default_factory=set)
    told: str = ""

    def wrong(self) -> dict[str, str]:
        """File name -> what is not as it was sent."""
        lost = dict.fromkeys(self.lost, "acknowledged, neither delivered nor held")
        return {**self.held, **self.attributes, **self.pixels, **lost}

    def text(self, sender: str, total: int) -> str:
        """The closing lines: how many of how many."""
        counts = {
            "sent and acknowledged": total - len(self.unsent),
            "pixels and attributes as sent": len(self.equal),
            "of them without a reference for the pixels": len(self.unchecked & self.equal),
            "not sent or not acknowledged": len(self.unsent),
            "held": len(self.held),
            "other pixels": len(self.pixels),
            "other attributes": len(self.attributes),
            "lost": len(self.lost),
        }
        lines = [f"  {value:4} of {total} {what}" for what, value in counts.items()]
        return "\n".join([f"main job by {sender}:", *lines, ""])


def run(objects: list[RealObject], send: Send, folder: Path) -> Report:
    """Send all objects through a fresh gateway to a fresh legacy node, and compare."""
    report = Report()
    with Storescp(folder / "legacy", "+xi", "-pm", "+B") as legacy:
        routes = ROUTES.format(port=legacy.port)
        with RunningGateway(routes, folder / "gateway") as gateway:
            for batch in rounds(objects):
                acknowledged = send(gateway.port, batch)
                report.unsent |= {one.name for one in batch} - acknowledged
                wait_settled(gateway)
                report.sent |= acknowledged
                sent = [one for one in batch if one.name in acknowledged]
                _judge(sent, legacy, gateway, report)
    return report


def wait_settled(gateway: RunningGateway, seconds: float = 60.0) -> None:
    """Return when nothing is owed any more: every delivery is done or held."""

    def settled() -> bool:
        received = gateway.metric("gateway_received_total")
        done = gateway.metric("gateway_delivered_total") + gateway.metric("gateway_held_total")
        return received == done

    until(settled, "every delivery done or held", seconds, poll=0.05)


def _judge(
    sent: Iterable[RealObject], legacy: Storescp, gateway: RunningGateway, report: Report
) -> None:
    arrived = {dcmread(file).file_meta.MediaStorageSOPInstanceUID: file for file in legacy.files()}
    reasons = {str(row["sop_instance_uid"]): str(row["reason"]) for row in gateway.queue("held")}
    for one in sent:
        if one.uid in arrived:
            _compare(one, arrived[one.uid], report)
        elif one.uid in reasons:
            report.held[one.name] = f"held: {reasons[one.uid]}"
        else:
            report.lost.add(one.name)
    for file in arrived.values():
        file.unlink()


def _compare(one: RealObject, file: Path, report: Report) -> None:
    sent, arrived = dcmread(one.file), dcmread(file)
    decoded = sent.file_meta.TransferSyntaxUID.is_encapsulated
    changed = differences(sent, arrived, decoded=decoded)
    digest = pixel_digest(arrived)
    if changed:
        report.attributes[one.name] = f"attributes differ: {' '.join(changed)}"
    if one.digests and digest not in one.digests:
        report.pixels[one.name] = f"pixels differ: {_form(arrived)}"
    if not one.digests:
        report.unchecked.add(one.name)
    if one.name not in report.attributes and one.name not in report.pixels:
        report.equal.add(one.name)


def _form(image: object) -> str:
    words = ("PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated", "BitsStored")
    data = getattr(image, "PixelData", b"")
    facts = " ".join(f"{word}={getattr(image, word, '')}" for word in words)
    return f"{facts} bytes={len(data)} sha256={hashlib.sha256(data).hexdigest()[:12]}"


def by_storescu(port: int, objects: list[RealObject]) -> set[str]:
    """Every object in its own transfer syntax by DCMTK: storescu, or dcmsend where it must be."""
    acknowledged: set[str] = set()
    for syntax in sorted(Counter(one.syntax for one in objects)):
        files = [one.file for one in objects if one.syntax == syntax]
        acknowledged |= _dcmtk(port, syntax, files)
    return acknowledged


def _dcmtk(port: int, syntax: str, files: list[Path]) -> set[str]:
    if syntax == DCMSEND_ONLY:
        return {file.name for file in files if dcmsend(port, [file]).ok}
    options = ("-R", "-nh", "-v", STORESCU[syntax])
    answered = _answered(storescu(port, files, *options).output)
    alone = [file for file in files if file.name not in answered]
    for file in alone:
        answered |= _answered(storescu(port, [file], *options).output)
    return answered


def _answered(output: str) -> set[str]:
    """The files of a verbose storescu that were answered with success or a warning."""
    found, current = set(), ""
    for line in output.splitlines():
        if line.startswith("I: Sending file: "):
            current = Path(line.removeprefix("I: Sending file: ")).name
        elif line.startswith("I: Received Store Response (Success"):
            found.add(current)
    return found


def by_pynetdicom(port: int, objects: list[RealObject]) -> set[str]:
    """Every data set's bytes as they are in the file."""
    replies: list[Answer] = pynetdicom_store(port, [one.file for one in objects])
    return {reply.file.name for reply in replies if reply.status == 0}
