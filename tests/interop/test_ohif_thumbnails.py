"""OHIF's ways to ask for thumbnails, by script and by <img>, each shown by a real browser."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from pydicom.uid import JPEG2000Lossless

from gateway.config import load_text
from gateway.service import Service
from tests.interop import ohif
from tests.interop.test_ohif import CONFIG, series
from tests.serve.test_stow_rs import MULTIPART, multipart

pytestmark = [pytest.mark.interop, ohif.needs_ohif]

SHOWN = """() => [...document.querySelectorAll('img')]
    .filter(one => /thumbnail|rendered|^blob:|^data:image.jpeg/.test(one.src))
    .some(one => one.complete && one.naturalWidth > 64)"""
"""Whether the page shows a picture that came from the gateway."""


@pytest.mark.parametrize(
    ("way", "resource"),
    [
        ("thumbnail", "/thumbnail?accept=image%2Fjpeg"),
        ("thumbnailDirect", "/thumbnail?accept=image/jpeg"),
    ],
)
async def test_a_compressed_study_has_its_thumbnail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, resource: str
) -> None:
    from playwright.async_api import async_playwright

    source = cast(list[dict[str, Any]], ohif.CONFIG["dataSources"])[0]
    monkeypatch.setitem(source["configuration"], "thumbnailRendering", way)
    study, files = series(JPEG2000Lossless)
    config = load_text(CONFIG.format(spool=tmp_path / "spool"), "test")
    asked: list[tuple[str, str, int]] = []
    async with (
        Service(config, clock=lambda: datetime.now(UTC)) as service,
        aiohttp.ClientSession() as session,
        ohif.hospital(f"http://127.0.0.1:{service.web_port}", asked) as address,
        async_playwright() as playwright,
    ):
        url = f"http://127.0.0.1:{service.web_port}/dicom-web/studies"
        headers = {"Content-Type": MULTIPART}
        async with session.post(url, data=multipart(*files), headers=headers) as stored:
            assert stored.status == 200
        browser = await playwright.chromium.launch(
            executable_path=str(ohif.CHROMIUM), args=ohif.FLAGS
        )
        page = await browser.new_page()
        await page.goto(f"{address}/viewer?StudyInstanceUIDs={study}")
        try:
            async with asyncio.timeout(90):
                await page.wait_for_function(SHOWN, timeout=0)
        finally:
            await page.screenshot(path=tmp_path / "viewer.png")
            await browser.close()
    assert {status for path, _, status in asked if path.endswith(resource)} == {200}, asked
