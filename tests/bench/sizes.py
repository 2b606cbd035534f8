"""(d) Sizes: seconds and memory of the worker pool from one frame to ten thousand, and 2 GiB.

Digests are made or left for later as for a web client.

Memory is the proportional set size (PSS) of this process and all below it, sampled while the pool
works: pages that several processes share count once, and the result goes through the page cache.
"""

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import imagecodecs
import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from gateway.model import Checks
from gateway.transcode.pool import TranscodePool
from gateway.transfer_syntax import EXPLICIT_LE
from tests.bench.measure import Measurement, Row
from tests.transcode.objects import JPEG_LS, header, save

_AS_SERVED = Checks(digests=True, later=True)
_FRAMES = (1, 10, 100, 1_000, 10_000)
_SIDE = 128
_LARGE = 4_096
_LARGE_SIDE = 512


def measure(folder: Path, *, rounds: int, quick: bool) -> list[Measurement]:
    """Time per frame for ever more frames; then peak memory for a native result of 2 GiB."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = _FRAMES[:-1] if quick else _FRAMES
    rows = []
    for count in counts:
        source = _object(folder / "in.dcm", _SIDE, count)
        seconds = [_run(source, folder / "out.dcm")[0] / count for _ in range(rounds)]
        rows.append(Row(f"{count} frames of {_SIDE} x {_SIDE}", seconds))
    flat = Measurement("seconds per frame, two workers", 1, rows)
    large = _LARGE // 8 if quick else _LARGE
    source = _object(folder / "in.dcm", _LARGE_SIDE, large)
    seconds, peak = _run(source, folder / "out.dcm")
    size = (folder / "out.dcm").stat().st_size
    memory = Measurement(
        f"{large} frames of {_LARGE_SIDE} x {_LARGE_SIDE} x 16 bit: {size >> 20} MiB native",
        large,
        [Row("gateway", [seconds])],
        [f"peak memory of all processes together: {peak >> 20} MiB (wanted: below 400)"],
    )
    for left in folder.iterdir():
        left.unlink()
    return [flat, memory]


def _object(path: Path, side: int, frames: int) -> Path:
    """An object of JPEG-LS frames that are all alike."""
    y, x = np.mgrid[:side, :side]
    noise = np.random.default_rng(1).integers(0, 6, (side, side))
    image = ((y * 3 + x * 5) % 1000 + noise).astype("<u2")
    stream = imagecodecs.jpegls_encode(image)
    ds: Dataset = header(side, side, NumberOfFrames=frames)
    ds.PixelData = encapsulate([stream] * frames)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return save(path, ds, JPEG_LS)


def _run(source: Path, out: Path) -> tuple[float, int]:
    """Seconds of one transcode in a warm pool, and the peak memory of all processes."""

    async def run() -> tuple[float, int]:
        pool = TranscodePool(2)
        try:
            await asyncio.gather(*(pool.warm() for _ in range(4)))
            for _ in range(2):
                await pool.transcode(source, EXPLICIT_LE, out, checks=_AS_SERVED)
            with _Sampler() as sampler:
                begin = time.perf_counter()
                await pool.transcode(source, EXPLICIT_LE, out, checks=_AS_SERVED)
                return time.perf_counter() - begin, sampler.peak
        finally:
            await pool.aclose()

    return asyncio.run(run())


class _Sampler:
    """Watches the memory of this process and its descendants from a thread."""

    def __init__(self) -> None:
        self.peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "_Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.peak = max(self.peak, sum(map(_pss, _family(os.getpid()))))
            if self._stop.wait(0.1):
                return


def _family(process: int) -> Iterator[int]:
    yield process
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in children:
            yield from _family(int(child))


def _pss(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)


def spread(measurement: Measurement) -> float:
    """The slowest over the fastest of the rows from ten frames on."""
    each = [median(row.seconds) for row in measurement.rows[1:]]
    return max(each) / min(each)
