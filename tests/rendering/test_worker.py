"""Pictures of huge frames within the memory of a worker."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from gateway.failures import PermanentFailure
from gateway.rendering.parameters import thumbnail_view
from gateway.rendering.render import Task, render
from gateway.rendering.view import View
from gateway.transcode.pool import TranscodePool
from tests.rendering.truth import pixels_of
from tests.transcode.objects import EXPLICIT_LE, header, save

MEMORY = 160 << 20


@pytest_asyncio.fixture
async def pool() -> AsyncIterator[TranscodePool]:
    opened = TranscodePool(1, memory=MEMORY)
    yield opened
    await opened.aclose()


def _vast(path: Path, side: int) -> Path:
    """A square RGB object whose pixels are a hole in the file, but for a first white row."""
    ds = header(side, side, SamplesPerPixel=3, PhotometricInterpretation="RGB")
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelData = b"\xff\xff"
    ds["PixelData"].VR = "OB"
    head = save(path, ds, EXPLICIT_LE).read_bytes()[:-6]
    size = 3 * side * side
    with path.open("wb") as file:
        file.write(head + size.to_bytes(4, "little"))
        file.write(b"\xff" * 3 * side)
        file.truncate(len(head) + 4 + size)
    return path


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_a_thumbnail_of_a_frame_larger_than_the_memory_is_made(
    pool: TranscodePool, tmp_path: Path
) -> None:
    file = _vast(tmp_path / "vast.dcm", 12_000)
    assert file.stat().st_size > 2 * MEMORY
    out = tmp_path / "thumbnail"
    await pool.run(render, Task(file, "image/png", thumbnail_view({})), out)
    picture = pixels_of(out)
    assert picture.shape == (256, 256, 3)
    assert np.median(picture) == 0


async def test_a_picture_larger_than_the_memory_is_refused_and_the_worker_lives(
    pool: TranscodePool, tmp_path: Path
) -> None:
    file = _vast(tmp_path / "vast.dcm", 9_000)
    out = tmp_path / "picture"
    with pytest.raises(PermanentFailure, match="more memory than a worker has"):
        await pool.run(render, Task(file, "image/png", View()), out)
    assert _names(tmp_path) == ["vast.dcm"]
    await pool.run(render, Task(file, "image/png", View(viewport=(9, 9))), out)
    assert pixels_of(out).shape == (9, 9, 3)
