"""(e) DICOMweb: a study of compressed CT retrieved, described, searched and stored, by curl.

Orthanc decodes with its GDCM plugin, as Debian sets it up, and with the DCMTK that it embeds. With
the plugin it dies now and then; it is begun anew then, and the table says how often.
"""

import http.client
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Protocol

from pydicom import dcmread

from tests.bench import objects
from tests.bench.measure import Measured, Measurement, interleaved
from tests.peers import Never, Orthanc, RunningGateway, absent, until
from tests.peers.receivers import DICOMWEB

_BOUNDARY = "bench-boundary"
_STUDY = "1.2.826.0.1.3680043.8.498.1.1"
_EXPLICIT = 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.1'
_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_FRAMES = 'multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1'
_JSON = "application/dicom+json"
_ATTEMPTS = 8
"""How often a server that dies while it is measured is begun anew."""
_CONNECTIONS = 6
"""As many as a browser opens to one host."""
_FRESH = 9
"""Rounds at least where each begins with a fresh gateway."""


class Server(Protocol):
    """A running DICOMweb server."""

    web_port: int


Request = Callable[[Server], float]
"""Asks a server for something; the seconds until it was there."""


def measure(folder: Path, *, rounds: int, quick: bool) -> list[Measurement]:
    """400 JPEG Lossless CT in one study, against Orthanc with its DICOMweb plugin."""
    if reason := absent("curl"):
        return [Measurement("DICOMweb", 0, [], [reason])]
    count = 100 if quick else 400
    files = objects.copies(objects.template(objects.JPEG_LOSSLESS), folder / "ct", count)
    body = folder / "study.multipart"
    body.write_bytes(_multipart(files))
    return _Tables(folder, body, [_sop_uid(number) for number in range(1, count + 1)]).all(rounds)


class _Tables:
    """One table for each kind of request; the servers stay up from one to the next."""

    def __init__(self, folder: Path, body: Path, uids: Sequence[str]) -> None:
        self.folder, self.body, self.uids = folder, body, uids
        self._numbers = itertools.count(1)

    def all(self, rounds: int) -> list[Measurement]:
        """STOW into empty servers, then everything else from servers that hold the study."""
        count = len(self.uids)
        stored = self._table("STOW-RS", self._stored, rounds, fresh=True)
        explicit, frames = self._explicit, "frames as Explicit LE, one request each"
        rest = [
            self._table("WADO-RS as Explicit LE, first time", explicit, rounds, True, True),
            self._table("WADO-RS as Explicit LE, again", explicit, rounds, False, True),
            self._table("WADO-RS as stored", self._as_stored, rounds, False),
            self._table(f"{frames}, first time", self._frames, rounds, True, True),
            self._table(f"{frames}, again", self._frames, rounds, False, True),
            self._table("metadata of the study", self._metadata, rounds, False),
            self._table("QIDO-RS instances of the study", self._instances, rounds, False),
        ]
        note = (
            f"{count} JPEG Lossless CT ({objects.source_of(objects.JPEG_LOSSLESS)}) in one study; "
            f"curl receives to /dev/null; frames: {_CONNECTIONS} connections of one curl; the "
            "gateway has stored and decoded one instance of another study before"
        )
        seen = self._seen_through(rounds)
        for table in (stored, *rest, seen):
            table.notes.append(note)
        return [stored, *rest, seen]

    def _seen_through(self, rounds: int) -> Measurement:
        """The first byte of the study from Orthanc itself, and through a gateway before it."""
        title = "DICOMweb: first byte of the study as stored, from an upstream (Orthanc)"
        if reason := Orthanc.missing() or ("" if DICOMWEB.is_file() else "no orthanc-dicomweb"):
            return Measurement(title, 0, [], [reason])
        systems: dict[str, Measured | str] = {
            "gateway": lambda: self._through(upstream=True),
            "Orthanc": lambda: self._through(upstream=False),
        }
        table = interleaved(title, 1, systems, max(rounds, _FRESH))
        medians = ", ".join(f"{row.system} {1000 * row.median:.0f} ms" for row in table.rows)
        table.notes.append(
            f"medians: {medians}. Each round has a fresh gateway that has decoded one instance of "
            "another study and has asked its upstream nothing yet; Orthanc is asked beside such a "
            "one as well, and by the same client"
        )
        return table

    def _through(self, *, upstream: bool) -> float:
        with Orthanc(self._new_folder("origin")) as origin:
            self._stored(origin)
            _first_byte(origin)  # both read what is in the page cache
            node = f'{{ dicomweb: {{ url: "{_url(origin)}" }} }}'
            text = f"nodes: {{ origin: {node} }}\nserve: {{ upstream: [origin] }}\n"
            gateway = RunningGateway(text, self._new_folder("gateway")).start()
            try:
                self._settled(gateway)
                return _first_byte(gateway if upstream else origin)
            finally:
                gateway.stop()

    def _settled(self, gateway: RunningGateway) -> None:
        """Wait until its decoders are proven and its workers there: it is busy with that for a
        second after each start, beside what is measured.
        """
        image = dcmread(BytesIO(objects.template(objects.JPEG_LOSSLESS)))
        image.StudyInstanceUID += ".1"
        file, body = self.folder / "other.dcm", self.folder / "other.multipart"
        image.save_as(file)
        body.write_bytes(_multipart([file]))
        self._stored(gateway, body)
        path = f"/studies/{image.StudyInstanceUID}/series/{image.SeriesInstanceUID}/instances/"
        _curl(gateway, path + image.SOPInstanceUID, "-H", f"Accept: {_EXPLICIT}")

    def _table(
        self, what: str, request: Request, rounds: int, fresh: bool, decoded: bool = False
    ) -> Measurement:
        """``decoded``: Orthanc's two decoders are told apart."""
        ends: list[str] = []
        systems: dict[str, Measured | str] = {
            "gateway": lambda: self._gateway(request, fresh),
            "Orthanc": self._orthanc(request, fresh, ends),
        }
        if decoded:
            systems["Orthanc, its DCMTK"] = self._orthanc(request, fresh, ends, gdcm=False)
        found = interleaved(f"DICOMweb: {what}", len(self.uids), systems, rounds)
        if ends:
            found.notes.append(f"Orthanc died {len(ends)} times and was begun anew")
        return found

    def _new_folder(self, name: str) -> Path:
        return self.folder / f"{name}-{next(self._numbers)}"

    def _gateway(self, request: Request, fresh: bool) -> float:
        folder = self._new_folder("gateway")
        gateway = RunningGateway("", folder).start()
        try:
            self._settled(gateway)
            return self._asked(gateway, request, fresh)
        finally:
            gateway.stop()
            shutil.rmtree(folder, ignore_errors=True)

    def _orthanc(
        self, request: Request, fresh: bool, ends: list[str], *, gdcm: bool = True
    ) -> Measured | str:
        if not DICOMWEB.is_file():
            return "the package orthanc-dicomweb is not installed"

        def measured() -> float:
            for _ in range(_ATTEMPTS - 1):
                before = len(ends)
                try:
                    return self._once(request, fresh, ends, gdcm)
                except AssertionError:
                    if len(ends) == before:
                        raise
            return self._once(request, fresh, ends, gdcm)

        return Orthanc.missing() or measured

    def _once(self, request: Request, fresh: bool, ends: list[str], gdcm: bool) -> float:
        """``ends`` gets what was asked for when Orthanc died."""
        folder = self._new_folder("orthanc")
        try:
            with Orthanc(folder, gdcm=gdcm) as orthanc:
                try:
                    return self._asked(orthanc, request, fresh)
                except AssertionError:
                    if _is_ending(orthanc):
                        ends.append(request.__name__)
                    raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _asked(self, server: Server, request: Request, fresh: bool) -> float:
        """The seconds of one request to a server that holds the study.

        One instance was asked for before; unless ``fresh``, all of them.
        """
        if request != self._stored:
            self._stored(server)
            self._instances(server)
            self._warmed(server)
        if not fresh:
            request(server)
        return request(server)

    def _stored(self, server: Server, body: Path | None = None) -> float:
        content = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'
        return _curl(
            server,
            "/studies",
            "-X",
            "POST",
            "-H",
            f"Content-Type: {content}",
            "-H",
            f"Accept: {_JSON}",
            "-H",
            "Expect:",
            "-T",
            str(body or self.body),
        )

    def _warmed(self, server: Server) -> None:
        path = f"/studies/{_STUDY}/series/{_STUDY[:-1]}2/instances/{self.uids[-1]}"
        _curl(server, path, "-H", f"Accept: {_EXPLICIT}")

    def _explicit(self, server: Server) -> float:
        return _curl(server, f"/studies/{_STUDY}", "-H", f"Accept: {_EXPLICIT}")

    def _as_stored(self, server: Server) -> float:
        return _curl(server, f"/studies/{_STUDY}", "-H", f"Accept: {_STORED}")

    def _metadata(self, server: Server) -> float:
        return _curl(server, f"/studies/{_STUDY}/metadata", "-H", f"Accept: {_JSON}")

    def _instances(self, server: Server) -> float:
        out = self.folder / "instances.json"
        path = f"/studies/{_STUDY}/instances"
        seconds = _curl(server, path, "-H", f"Accept: {_JSON}", out=out)
        found = len(json.loads(out.read_text()))
        assert found == len(self.uids), f"{found} of {len(self.uids)} instances found"
        return seconds

    def _frames(self, server: Server) -> float:
        """Here curl's start counts: it tells the time of each request, not of all."""
        series = f"/studies/{_STUDY}/series/{_STUDY[:-1]}2/instances"
        lines = [
            f'url = "{_url(server)}{series}/{uid}/frames/1"\noutput = "/dev/null"'
            for uid in self.uids
        ]
        config = self.folder / "frames.curl"
        config.write_text("\n".join(lines))
        options = ["--parallel", "--parallel-max", str(_CONNECTIONS), "-K", str(config)]
        return _timed(["curl", "-sS", "-f", "-H", f"Accept: {_FRAMES}", *options])


def _is_ending(orthanc: Orthanc) -> bool:
    """Whether it has died, or does so within a moment: its connections end before it."""
    child = orthanc.child
    with suppress(Never):
        until(lambda: child is None or not child.running(), "Orthanc ended", 5.0)
        return True
    return False


def _first_byte(server: Server) -> float:
    """Seconds until the first byte of the body of the study as stored."""
    connection = http.client.HTTPConnection("127.0.0.1", server.web_port, timeout=120)
    start = time.perf_counter()
    connection.request("GET", f"/dicom-web/studies/{_STUDY}", headers={"Accept": _STORED})
    response = connection.getresponse()
    assert response.status == 200, response.status
    assert response.read(1)
    seconds = time.perf_counter() - start
    connection.close()
    return seconds


def _curl(server: Server, path: str, *options: str, out: Path = Path("/dev/null")) -> float:
    """Seconds of one request as curl has it, its own start left out; it fails on a refusal."""
    request = ["-o", str(out), "-w", "%{time_total}", *options, _url(server) + path]
    return float(_ended(["curl", "-sS", "-f", *request]))


def _url(server: Server) -> str:
    return f"http://127.0.0.1:{server.web_port}/dicom-web"


def _timed(command: Sequence[str]) -> float:
    start = time.perf_counter()
    _ended(command)
    return time.perf_counter() - start


def _ended(command: Sequence[str]) -> str:
    """What a command printed."""
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"curl ended with {ended.returncode}: {ended.stderr[-200:]}"
    return ended.stdout


def _multipart(files: Sequence[Path]) -> bytes:
    head = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    parts = (head + file.read_bytes() + b"\r\n" for file in files)
    return b"".join(parts) + f"--{_BOUNDARY}--\r\n".encode()


def _sop_uid(number: int) -> str:
    return f"1.2.826.0.1.3680043.8.498.1.3.{1_000_000 + number}"
