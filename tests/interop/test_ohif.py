"""OHIF in a real browser opens a compressed study through the gateway, and shows a picture."""

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from imagecodecs import jpeg2k_encode, jpeg8_encode, jpegls_encode
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, generate_uid

from tests.interop import ohif

pytestmark = [pytest.mark.interop, ohif.needs_ohif]
SLICES = 5
ENCODERS: dict[str, Callable[[Any], bytes]] = {
    JPEGLosslessSV1: lambda pixels: jpeg8_encode(pixels.view("uint16"), lossless=True),
    JPEGLSLossless: lambda pixels: jpegls_encode(pixels.view("uint16")),
    JPEG2000Lossless: lambda pixels: jpeg2k_encode(
        pixels, reversible=True, level=0, codecformat="j2k"
    ),
}


def series(transfer_syntax: str) -> tuple[str, list[bytes]]:
    """A study of CT slices one above the other, compressed: (Study Instance UID, files)."""
    study, one, files = generate_uid(), generate_uid(), []
    for number in range(SLICES):
        data = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
        data.StudyInstanceUID, data.SeriesInstanceUID = study, one
        data.SOPInstanceUID = generate_uid()
        data.PatientID, data.PatientName = f"OHIF-{transfer_syntax[-2:]}", "Test^Ohif"
        data.InstanceNumber = number + 1
        data.ImagePositionPatient = [-158.1, -179.0, -75.7 + 5 * number]
        data.PixelData = encapsulate([ENCODERS[transfer_syntax](data.pixel_array)])
        data["PixelData"].VR = "OB"
        data.file_meta.TransferSyntaxUID = transfer_syntax
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        written = io.BytesIO()
        data.save_as(written, enforce_file_format=True)
        files.append(written.getvalue())
    return str(study), files


def bright(screenshot: bytes) -> float:
    """The share of pixels that are not dark, in the middle of the window."""
    picture = np.asarray(Image.open(io.BytesIO(screenshot)).convert("L"))
    height, width = picture.shape
    middle = picture[height // 4 : 3 * height // 4, width // 3 : 2 * width // 3]
    return float((middle > 30).mean())


@pytest.mark.parametrize("transfer_syntax", list(ENCODERS))
async def test_a_compressed_study_is_listed_opened_and_seen(
    tmp_path: Path, transfer_syntax: str
) -> None:
    study, files = series(transfer_syntax)
    async with ohif.opened(tmp_path, files) as (address, browser, asked):
        context = await browser.new_context(
            service_workers="block", viewport={"width": 1280, "height": 800}
        )
        page = await context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto(f"{address}/")
        await page.get_by_text("Test, Ohif").first.wait_for(timeout=60_000)
        await page.goto(f"{address}/viewer?StudyInstanceUIDs={study}")
        seen = 0.0
        async with asyncio.timeout(90):
            while seen < 0.2:
                seen = bright(await page.screenshot(path=tmp_path / "viewer.png"))
        frames = [each for each in asked if "/frames/" in each[0]]
    assert seen >= 0.2
    assert frames
    assert {status for _, _, status in asked} == {200}, asked
    assert errors == []
