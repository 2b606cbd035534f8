"""What the workers wait for before their first task: the decoders' self-test, and nothing else."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from gateway.failures import TemporaryFailure
from gateway.model import Checks, Rendition
from gateway.transcode import limits, matrix, worker
from gateway.transcode.outcome import Outcome
from gateway.transcode.pool import TranscodePool
from tests.transcode.objects import EXPLICIT_LE, JPEG_LS, encapsulated, header


class Slow:
    """A self-test that takes until it is let go, and then finds what was found before."""

    def __init__(self) -> None:
        self.found = matrix.proven().outcomes
        self.go, self.begun, self.calls = threading.Event(), threading.Event(), 0
        self.fails = False

    def measure(self, stop: threading.Event) -> list[Outcome]:
        self.calls += 1
        self.begun.set()
        while not self.go.wait(0.01):
            if stop.is_set():
                raise TemporaryFailure("the decoders' self-test was stopped")
        if self.fails:
            raise TemporaryFailure("the decoders' self-test does not run: exit 1")
        return list(self.found)


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    test = Slow()
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "cache"))
    monkeypatch.setattr(matrix, "_known", [])
    monkeypatch.setattr(matrix, "measure", test.measure)
    yield test
    test.go.set()


def source(folder: Path) -> Path:
    stream = imagecodecs.jpegls_encode(np.arange(64, dtype="<u2").reshape(8, 8))
    return encapsulated(folder / "in.dcm", header(8, 8), JPEG_LS, [stream])


async def test_tasks_wait_for_one_self_test_and_the_event_loop_does_not(
    slow: Slow, tmp_path: Path
) -> None:
    pool = TranscodePool(1)
    try:
        tasks = [
            asyncio.create_task(pool.transcode(source(tmp_path), EXPLICIT_LE, tmp_path / name))
            for name in ("a", "b")
        ]
        warming = asyncio.create_task(pool.warm())
        await asyncio.to_thread(slow.begun.wait)
        assert not any(task.done() for task in (*tasks, warming))
        slow.go.set()
        assert [(await task).decoder for task in tasks] == ["imagecodecs"] * 2
        await warming
        assert slow.calls == 1
    finally:
        await pool.aclose()


async def test_closing_does_not_wait_for_the_self_test(slow: Slow, tmp_path: Path) -> None:
    pool = TranscodePool(1)
    task = asyncio.create_task(pool.transcode(source(tmp_path), EXPLICIT_LE, tmp_path / "out"))
    await asyncio.to_thread(slow.begun.wait)
    await asyncio.wait_for(pool.aclose(), 10)
    with pytest.raises(TemporaryFailure, match="stopped"):
        await asyncio.wait_for(task, 10)
    assert not slow.go.is_set()


async def test_a_self_test_that_fails_is_run_again_for_the_next_task(
    slow: Slow, tmp_path: Path
) -> None:
    pool = TranscodePool(1)
    slow.go.set()
    slow.fails = True
    try:
        with pytest.raises(TemporaryFailure, match="self-test does not run"):
            await pool.transcode(source(tmp_path), EXPLICIT_LE, tmp_path / "out")
        slow.fails = False
        done = await pool.transcode(source(tmp_path), EXPLICIT_LE, tmp_path / "out")
        assert (done.decoder, slow.calls) == ("imagecodecs", 2)
    finally:
        await pool.aclose()


def test_naming_the_decoders_is_granted_processor_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An icon is decoded for it, by native code."""
    granted: list[int] = []
    monkeypatch.setattr(worker, "allow", granted.append)
    given = (EXPLICIT_LE, Rendition(), Checks())
    assert worker.decoder_names(source(tmp_path), tmp_path, *given)[0] == "imagecodecs"
    assert granted
    assert granted[0] * limits.SECONDS_PER_BYTE > 1
