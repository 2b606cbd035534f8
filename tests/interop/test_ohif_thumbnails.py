"""OHIF's ways to ask for thumbnails, by script and by <img>, each shown by a real browser."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from pydicom.uid import JPEG2000Lossless

from tests.interop import ohif
from tests.interop.test_ohif import series

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
    source = cast(list[dict[str, Any]], ohif.CONFIG["dataSources"])[0]
    monkeypatch.setitem(source["configuration"], "thumbnailRendering", way)
    study, files = series(JPEG2000Lossless)
    async with ohif.opened(tmp_path, files) as (address, browser, asked):
        page = await browser.new_page()
        await page.goto(f"{address}/viewer?StudyInstanceUIDs={study}")
        try:
            async with asyncio.timeout(90):
                await page.wait_for_function(SHOWN, timeout=0)
        finally:
            await page.screenshot(path=tmp_path / "viewer.png")
    assert {status for path, _, status in asked if path.endswith(resource)} == {200}, asked
