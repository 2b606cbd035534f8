"""The self-test and what it decides: who may serve, and in which order."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.transcode import decoders, matrix, selftest
from gateway.transcode.backends import imagecodecs
from gateway.transcode.form import Coding, FrameFormat
from gateway.transcode.matrix import FAILED, NOT_OFFERED, PROVEN, Matrix, Outcome
from gateway.transcode.probes import DEPTHS, all_probes, cell_of, picture

FORM = FrameFormat("", 4, 4, coding=Coding.JPEG_LS, precision=12, bits_stored=12)
HT = replace(FORM, coding=Coding.HTJ2K, precision=8, bits_allocated=8, bits_stored=8)


class Liar:
    """Decodes as imagecodecs does, but for one sample."""

    name = "liar"
    requires = "liar>=1"

    def version(self) -> str:
        return "1"

    def supports(self, form: FrameFormat) -> bool:
        return True

    def decode(self, frame: Any, form: FrameFormat) -> Any:
        samples = imagecodecs.decode(frame, form).copy()
        samples.flat[-1] ^= 1
        return samples


def outcome(backend: str, state: str = PROVEN, **more: Any) -> Outcome:
    given = {"cell": cell_of(FORM), "what": "12 bit", "timed": False} | more
    return Outcome("", backend, state=state, **given)


def named(*names: str) -> list[Any]:
    backends = []
    for name in names:
        backends.append(Liar())
        backends[-1].name = name
    return backends


def order(found: Matrix, *names: str) -> list[str]:
    return [one.name for one in found.ordered(FORM, named(*names))]


def test_the_archive_covers_every_depth_sign_and_number_of_samples() -> None:
    cells = {(one.coding, one.bits, one.signed, one.samples) for one in all_probes()}
    for coding in (Coding.RLE, Coding.DEFLATED, Coding.NATIVE):
        for bits in (8, 10, 12, 16, 32):
            for signed in (False, True):
                for samples in (1, 3):
                    assert (coding, bits, signed, samples) in cells
        assert (coding, 1, False, 1) in cells
    for coding in (Coding.JPEG_LOSSLESS, Coding.JPEG_LS, Coding.JPEG_2000, Coding.HTJ2K):
        for bits in (8, 10, 12, 16):
            for signed in (False, True):
                assert {(coding, bits, signed, 1), (coding, bits, signed, 3)} <= cells


def test_the_picture_holds_both_extremes() -> None:
    for bits in DEPTHS[1:]:
        for signed in (False, True):
            image = picture(17, 24, 1, bits, signed).astype(np.int64)
            low = -(1 << (bits - 1)) if signed else 0
            assert (image.min(), image.max()) == (low, low + (1 << bits) - 1)


def test_a_decoder_that_is_wrong_in_one_sample_fails() -> None:
    probe = next(one for one in all_probes() if one.coding is Coding.JPEG_LS)
    assert selftest.attempt(imagecodecs, probe).state == PROVEN
    found = selftest.attempt(Liar(), probe)
    assert (found.state, found.why) == (FAILED, "wrong by up to 1 where none is allowed")


def test_a_decoder_that_raises_fails_and_one_that_does_not_offer_is_not_asked() -> None:
    probe = replace(all_probes()[0], stream=b"nothing", coding=Coding.RLE)
    assert selftest.attempt(imagecodecs, probe).state == FAILED
    assert selftest.attempt(imagecodecs, replace(probe, coding=Coding.NATIVE)).state == NOT_OFFERED


def test_what_failed_is_closed_and_what_is_proven_serves() -> None:
    found = Matrix([outcome("one", FAILED, why="wrong"), outcome("two")])
    assert found.closed(FORM, "one") == "12 bit: wrong"
    assert order(found, "one", "two") == ["two"]


def test_one_failure_among_the_pictures_of_a_cell_closes_it() -> None:
    found = Matrix([outcome("one"), outcome("one", FAILED, why="wrong"), outcome("one")])
    assert order(found, "one") == []


def test_a_depth_without_a_picture_stands_with_the_next_deeper() -> None:
    deeper = (*cell_of(FORM)[:2], 16, *cell_of(FORM)[3:])
    found = Matrix([outcome("one", FAILED, why="wrong", cell=deeper)])
    assert found.closed(replace(FORM, precision=11), "one")
    assert found.closed(replace(FORM, precision=17), "one") == ""


def test_the_fastest_comes_first_unless_it_is_about_as_fast() -> None:
    slow, fast = outcome("slow", seconds=3.0), outcome("fast", seconds=1.0)
    equal = outcome("equal", seconds=1.2)
    found = Matrix([slow, fast, equal])
    assert order(found, "slow", "equal", "fast") == ["equal", "fast", "slow"]


def test_exactness_comes_before_speed() -> None:
    near, exact = outcome("near", seconds=1.0, error=1), outcome("exact", seconds=9.0)
    assert order(Matrix([near, exact]), "near", "exact") == ["exact", "near"]


def test_irreversible_htj2k_is_closed_to_a_decoder_that_does_not_clip() -> None:
    for bits in (8, 10, 12, 16):
        allocated = 8 if bits == 8 else 16
        for signed in (False, True):
            form = replace(HT, lossy=True, precision=bits, bits_allocated=allocated, signed=signed)
            assert [one.name for one in decoders.candidates(form)] == ["pylibjpeg"]
    assert decoders.candidates(HT)[0].name == "imagecodecs"


def test_every_cell_of_the_archive_has_a_decoder() -> None:
    without = {
        f"{probe.syntax} {probe.describe()}"
        for probe in all_probes()
        if not decoders.candidates(probe.form)
    }
    assert without == set()


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path))
    monkeypatch.setenv(matrix.LOCATION, "")  # so that it is as before afterwards
    monkeypatch.delenv(matrix.LOCATION)
    matrix._found.cache_clear()
    yield tmp_path / "dicom-gateway"
    matrix._found.cache_clear()


def test_the_outcome_is_kept_and_read_again(
    cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "measure", lambda: [outcome("one", seconds=2.0)])
    first = matrix.proven()
    (kept,) = cache_folder.iterdir()
    assert os.environ[matrix.LOCATION] == str(kept)
    matrix._found.cache_clear()
    monkeypatch.setattr(matrix, "measure", lambda: pytest.fail("measured again"))
    assert matrix.proven().outcomes == first.outcomes


def test_a_damaged_cache_is_measured_again(
    cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "measure", lambda: [outcome("one")])
    matrix.proven()
    (kept,) = cache_folder.iterdir()
    kept.write_text("[{")
    matrix._found.cache_clear()
    assert matrix.proven().outcomes == (outcome("one"),)


def test_a_folder_that_cannot_be_written_does_not_matter(
    tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dicom-gateway").write_text("a file in the way")
    monkeypatch.setattr(matrix, "measure", lambda: [outcome("one")])
    assert matrix.proven().outcomes == (outcome("one"),)
    kept = Path(os.environ[matrix.LOCATION])
    assert json.loads(kept.read_text()) == [asdict(outcome("one")) | {"cell": list(cell_of(FORM))}]
    kept.unlink()


def test_a_crash_in_the_self_test_fails_that_cell_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is killed at its third try, goes on behind it, and ends."""
    tried = selftest.tries()
    line = json.dumps(asdict(outcome("one")))
    answers = {
        0: (f"0\n{line}\n1\n{line}\n2\n", f"signal {int(signal.SIGABRT)}"),
        3: (f"3\n{line}\ndone\n", "exit 0"),
    }
    monkeypatch.setattr(matrix, "_run", answers.__getitem__)
    found = matrix.measure()
    assert [one.state for one in found] == [PROVEN, PROVEN, FAILED, PROVEN]
    assert found[2].backend == tried[2][0].name
    assert found[2].why == "brought its process down (signal 6)"
