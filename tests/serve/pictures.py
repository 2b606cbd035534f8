"""A gateway with an object of each kind that is looked at, and what a client makes of pictures."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from gateway.model import Instance
from gateway.serve import rendered, wado_uri
from tests.rendering.pictures import colour_file, grey_file
from tests.serve.gallery import Gateway, opened_gateway
from tests.transcode.objects import EXPLICIT_LE, encapsulated, header, save

PDF = b"%PDF-1.4\n%%EOF"
"""Of an even length that its object does not need to pad."""
VIDEO = b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 9
MPEG4 = "1.2.840.10008.1.2.4.102"
ENHANCED_SR = "1.2.840.10008.5.1.4.1.1.88.22"
ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
SERIES_OF_CT, SERIES_OF_REPORTS = "1.2.3.4", "1.2.3.5"
RAMP = np.arange(3 * 24 * 32, dtype=np.uint16).reshape(3, 24, 32)
RAMP[1] = RAMP[1, ::-1]


@dataclass
class Exhibition:
    """A gateway and what hangs in it."""

    gateway: Gateway
    client: aiohttp.ClientSession
    ct: Instance
    compressed: Instance
    frames: Instance
    colour: Instance
    report: Instance
    pdf: Instance
    video: Instance
    broken: Instance
    beside: tuple[Instance, Instance]
    lonely: Instance

    async def get(
        self, url: str, headers: Mapping[str, str] | None = None, **query: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        """(status, headers, body) of an answer."""
        async with self.client.get(url, headers=headers, params=query) as answer:
            return answer.status, answer.headers, await answer.read()

    def study(self, more: str, study: str = "1.2.3") -> str:
        """The address of something of a study."""
        return self.gateway.url(f"/dicom-web/studies/{study}{more}")


@asynccontextmanager
async def exhibition(folder: Path) -> AsyncIterator[Exhibition]:
    """Open it; every picture is made by real workers and sent through a real socket."""
    opening = opened_gateway(
        folder,
        lambda serving: [rendered.routes(serving)],
        lambda serving: wado_uri.routes(serving, rendered.rendered_by_uri),
    )
    async with opening as gateway, aiohttp.ClientSession() as client:
        hang = gateway.gallery.hang
        yield Exhibition(
            gateway,
            client,
            ct=hang(_bundled("CT_small.dcm")),
            compressed=hang(_bundled("JPEG2000.dcm")),
            frames=hang(grey_file(folder / "frames.dcm", RAMP, FrameTime="40")),
            colour=hang(colour_file(folder / "colour.dcm", _colours())),
            report=hang(_report(folder / "report.dcm"), series=SERIES_OF_REPORTS),
            pdf=hang(_pdf(folder / "pdf.dcm"), series=SERIES_OF_REPORTS),
            video=hang(_video(folder / "video.dcm"), study="1.2.9"),
            broken=hang(_broken(folder / "broken.dcm"), study="1.2.8"),
            beside=(
                hang(_broken(folder / "beside.dcm"), study="1.2.6"),
                hang(_bundled("CT_small.dcm"), study="1.2.6"),
            ),
            lonely=hang(_report(folder / "lonely.dcm"), study="1.2.7"),
        )


def _bundled(name: str) -> Path:
    return Path(str(get_testdata_file(name, download=False)))


def _colours() -> Any:
    return np.random.default_rng(7).integers(0, 256, (20, 30, 3), np.uint8)


def _report(path: Path) -> Path:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = ENHANCED_SR, "2.25.1234567890", "SR"
    return save(path, ds, EXPLICIT_LE)


def _pdf(path: Path) -> Path:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = ENCAPSULATED_PDF, "2.25.1234567890"
    ds.EncapsulatedDocument = PDF + b"\0" * (len(PDF) & 1)
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.EncapsulatedDocumentLength = len(PDF)
    return save(path, ds, EXPLICIT_LE)


def _video(path: Path) -> Path:
    ds = header(480, 640, SamplesPerPixel=3, PhotometricInterpretation="YBR_PARTIAL_420")
    ds.NumberOfFrames = 25
    pieces = [VIDEO[:1000], VIDEO[1000:1002], VIDEO[1002:]]
    return encapsulated(path, ds, MPEG4, pieces, table=False)


def _broken(path: Path) -> Path:
    """A header and no codestream."""
    return encapsulated(path, header(16, 16), "1.2.840.10008.1.2.4.90", [b"no codestream at all"])


def picture_of(body: bytes) -> Image.Image:
    """The picture that a body holds, read to its end."""
    image = Image.open(BytesIO(body))
    image.load()
    return image


def frames_of(body: bytes) -> list[Any]:
    """The pixels of each frame of an animated picture."""
    image = Image.open(BytesIO(body))
    found = []
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        found.append(np.asarray(image.convert("L")))
    return found
