"""The self-test and what it decides: who may serve, and in which order."""

import errno
import json
import os
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.failures import TemporaryFailure
from gateway.transcode import decoders, matrix, measure, selftest
from gateway.transcode.backends import imagecodecs
from gateway.transcode.form import Coding, FrameFormat
from gateway.transcode.matrix import Matrix
from gateway.transcode.outcome import FAILED, NOT_OFFERED, PROVEN, Outcome
from gateway.transcode.probes import DEPTHS, all_probes, cell_of, picture
from gateway.transcode.record import standing
from gateway.transcode.survey import survey

FORM = FrameFormat("", 4, 4, coding=Coding.JPEG_LS, precision=12, bits_stored=12)
HT = FORM._replace(coding=Coding.HTJ2K, precision=8, bits_allocated=8, bits_stored=8)


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
    assert found.closed(FORM._replace(precision=11), "one")
    assert found.closed(FORM._replace(precision=17), "one") == ""


def test_the_record_tells_what_was_proven_from_what_was_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = Matrix(
        [outcome("one"), outcome("two", FAILED, why="wrong"), outcome("3", NOT_OFFERED)]
    )
    monkeypatch.setattr(matrix, "_known", [found])
    one, two, three = named("one", "two", "3")
    unlike = "not proven: there is no test picture of this kind"
    assert standing(one, FORM) == "proven"
    assert standing(one, FORM._replace(precision=9)) == "proven by a deeper test picture"
    assert standing(two, FORM) == "failed: wrong"
    assert [standing(three, FORM), standing(one, FORM._replace(samples_per_pixel=4))] == [
        unlike
    ] * 2


def test_the_fastest_comes_first_unless_it_is_about_as_fast() -> None:
    slow, fast = outcome("slow", seconds=3.0), outcome("fast", seconds=1.0)
    equal = outcome("equal", seconds=1.2)
    found = Matrix([slow, fast, equal])
    assert order(found, "slow", "equal", "fast") == ["equal", "fast", "slow"]


def test_what_a_call_costs_is_no_speed() -> None:
    """A CT has fifty times the samples of a test picture, and is decoded by one call too."""
    first, second = outcome("first", seconds=40e-6), outcome("second", seconds=10e-6)
    assert order(Matrix([first, second]), "first", "second") == ["first", "second"]


def test_exactness_comes_before_speed() -> None:
    near, exact = outcome("near", seconds=1.0, error=1), outcome("exact", seconds=9.0)
    assert order(Matrix([near, exact]), "near", "exact") == ["exact", "near"]


def test_irreversible_htj2k_is_closed_to_a_decoder_that_does_not_clip() -> None:
    for bits in (8, 10, 12, 16):
        allocated = 8 if bits == 8 else 16
        for signed in (False, True):
            form = HT._replace(lossy=True, precision=bits, bits_allocated=allocated, signed=signed)
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
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(matrix, "_known", [])
    return tmp_path / "dicom-gateway"


def measured(monkeypatch: pytest.MonkeyPatch, *outcomes: Outcome) -> None:
    monkeypatch.setattr(matrix, "measure", lambda stop: list(outcomes))


def test_the_outcome_is_kept_and_read_again(
    cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch, outcome("one", seconds=2.0))
    first = matrix.proven()
    assert len(list(cache_folder.iterdir())) == 1
    matrix._known.clear()
    monkeypatch.setattr(matrix, "measure", lambda stop: pytest.fail("measured again"))
    assert matrix.proven().outcomes == first.outcomes


def test_a_damaged_cache_is_measured_again(
    cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch, outcome("one"))
    matrix.proven()
    (kept,) = cache_folder.iterdir()
    kept.write_text("[{")
    matrix._known.clear()
    assert matrix.proven().outcomes == (outcome("one"),)


def test_a_folder_that_cannot_be_made_does_not_matter_and_nothing_is_left_elsewhere(
    tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache_folder.write_text("a file in the way")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    measured(monkeypatch, outcome("one"))
    assert matrix.proven().outcomes == (outcome("one"),)
    assert [path.name for path in tmp_path.iterdir()] == ["dicom-gateway"]


def test_a_folder_that_takes_no_file_is_left_as_it_was(
    cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    measured(monkeypatch, outcome("one"))
    monkeypatch.setattr(Path, "rename", full)
    assert matrix.proven().outcomes == (outcome("one"),)
    assert list(cache_folder.iterdir()) == []


def test_a_hang_is_not_kept_for_the_next_start(
    cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(monkeypatch, outcome("one", FAILED, why="hung (gave no sign for 15 s)"))
    matrix.proven()
    assert not cache_folder.exists()


def test_many_that_ask_at_once_wait_for_one_measurement(
    cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count: list[int] = []
    meet = threading.Barrier(5)

    def once(stop: object) -> list[Outcome]:
        count.append(1)
        return [outcome("one")]

    def ask() -> Matrix:
        meet.wait()
        return matrix.proven()

    monkeypatch.setattr(matrix, "measure", once)
    with ThreadPoolExecutor(5) as threads:
        found = [future.result() for future in [threads.submit(ask) for _ in range(5)]]
    assert len(count) == 1
    assert all(one is found[0] for one in found)


LINE = json.dumps(asdict(outcome("one")))


class Program:
    """The self-test's place taken by a program that is told what to say and how to end."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.rounds = 0
        monkeypatch.setattr(measure, "_PROGRAM", ("-S", str(folder / "program.py")))

    def say(self, *rounds: str) -> None:
        """What each of its processes does, as Python; the last goes for all that follow."""
        (self.folder / "program.py").write_text(
            "import os, signal, sys\n"
            "from pathlib import Path\n"
            f"log = Path({str(self.folder / 'log')!r})\n"
            "with log.open('a') as file: file.write(' '.join(sys.argv[1:]) + '\\n')\n"
            f"line = {LINE!r}\n"
            "def say(*lines): print(*lines, sep='\\n', flush=True)\n"
            f"rounds = {rounds!r}\n"
            "number = log.read_text().count('\\n') - 1\n"
            "exec(rounds[min(number, len(rounds) - 1)])\n"
        )

    @property
    def asked(self) -> list[str]:
        """The arguments of each process so far."""
        return (self.folder / "log").read_text().splitlines()


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    return Program(tmp_path, monkeypatch)


CRASH = "os.kill(os.getpid(), signal.SIGSEGV)"


def test_a_crash_that_does_not_come_back_blames_nobody(program: Program) -> None:
    program.say(f"say(0, line, 1, line, 2); {CRASH}", "say(2, line, 'done')")
    assert [one.state for one in measure.measure()] == [PROVEN] * 3
    assert program.asked == ["--after 0 --without ", "--after 2 --without "]


def test_a_crash_that_comes_back_fails_that_picture_only(program: Program) -> None:
    program.say(f"say(0, line, 1, line, 2); {CRASH}", f"say(2); {CRASH}", "say(3, line, 'done')")
    found = measure.measure()
    assert [one.state for one in found] == [PROVEN, PROVEN, FAILED, PROVEN]
    assert found[2].backend == selftest.tries()[2][0].name
    assert found[2].why == "brought its process down (signal 11)"
    assert program.asked[-1] == "--after 3 --without "


def test_a_decoder_that_hangs_twice_is_dropped_and_the_others_are_tried(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "_QUIET", 1.0)
    tried = selftest.tries()
    at = next(n for n, (backend, _) in enumerate(tried) if backend.name == "gdcm")
    program.say(
        f"say({at - 1}, line, {at}); signal.pause()",
        f"say({at}); signal.pause()",
        "say('done')",
    )
    found = Matrix(measure.measure())
    assert program.asked[-1] == f"--after {at + 1} --without gdcm"
    mine = [one for one in found.outcomes if one.backend == "gdcm"]
    assert len(mine) == len([one for one, _ in tried if one.name == "gdcm"])
    assert {one.state for one in mine} == {FAILED}
    assert mine[0].why == "hung (gave no sign for 1 s)"
    assert mine[1].why == f"not tried: it hung with {mine[0].what} (gave no sign for 1 s)"
    squares = [one for row in survey(found) for one in row.squares if one.backend == "gdcm"]
    assert any("hung (gave no sign" in one.why for one in squares)
    assert all(one.proven == 0 for one in squares)


def test_all_rounds_together_have_one_limit(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "_WHOLE", 1.0)
    program.say("number = 0\nwhile True: say(number, line); number += 1")
    with pytest.raises(TemporaryFailure, match="did not come to its end within 1 s"):
        measure.measure()


def test_a_self_test_that_does_not_start_says_why(program: Program) -> None:
    program.say("raise ImportError('no such library')")
    with pytest.raises(TemporaryFailure, match="does not run: exit 1 ImportError: no such libr"):
        measure.measure()
    assert len(program.asked) == 2


def test_modules_in_the_folder_that_the_gateway_is_started_in_are_none_of_the_self_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json.py", "gateway.py"):
        (tmp_path / name).write_text(f"raise SystemExit({name!r})")
    monkeypatch.chdir(tmp_path)
    behind_all = len(selftest.tries())
    assert measure._run(behind_all, frozenset(), time.monotonic() + 60, None).done


def test_a_self_test_that_is_told_to_stop_ends_its_process(program: Program) -> None:
    program.say("say(0); Path(log.with_name('pid')).write_text(str(os.getpid())); signal.pause()")
    stop = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(measure.measure, stop)
        while not (pid := program.folder / "pid").exists() or not pid.read_text():
            assert not future.done()
        stop.set()
        with pytest.raises(TemporaryFailure, match="was stopped"):
            future.result(10)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


CRASHING = """
import os, signal
from pathlib import Path
from gateway.transcode import selftest
from gateway.transcode.backends import jpeg_ls, pillow

once = Path({once!r})
few, decode = selftest.tries()[:0], pillow.decode
for backend in (pillow, jpeg_ls):
    few += [one for one in selftest.tries() if one[0] is backend][:2]

def crash_once(frame, form):
    if not once.exists():
        once.touch()
        os.kill(os.getpid(), signal.SIGABRT)
    return decode(frame, form)

pillow.decode = crash_once
jpeg_ls.decode = lambda frame, form: os.kill(os.getpid(), signal.SIGABRT)
selftest.tries, selftest.native_outcomes = lambda: few, lambda: ()
selftest.main()
"""


def test_a_real_self_test_goes_on_behind_a_decoder_that_crashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "crashing.py"
    script.write_text(CRASHING.format(once=str(tmp_path / "once")))
    monkeypatch.setattr(measure, "_PROGRAM", (str(script),))
    tried = selftest.tries()
    few = [
        one
        for name in ("pillow", "pyjpegls")
        for one in [t for t in tried if t[0].name == name][:2]
    ]
    monkeypatch.setattr(selftest, "tries", lambda: few)
    found = [(one.backend, one.state) for one in measure.measure()]
    assert found == [("pillow", PROVEN)] * 2 + [("pyjpegls", FAILED)] * 2
