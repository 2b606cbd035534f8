"""What runs inside a worker process: one instance, a range of its frames, or many instances.

A worker is disposable: it decodes foreign bytes with native code, so it has a memory limit,
writes no core, reads no terminal and dies with its parent. Tasks carry paths and ranges, never
pixels.
"""

import ctypes
import fcntl
import gc
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Final

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from gateway.dataset.mapped import let_go
from gateway.failures import Failure, TemporaryFailure
from gateway.model import UID, Checks, Rendition
from gateway.tags import TagChanges
from gateway.transcode import lineage
from gateway.transcode.backends import imagecodecs
from gateway.transcode.decode import DecoderFailed, Decoding, decoded_frames
from gateway.transcode.form import Backend, FrameFormat
from gateway.transcode.frames import Frame
from gateway.transcode.instance import (
    Findings,
    Plan,
    Transcoded,
    described,
    finish_plan,
    make_plan,
    mark,
    prepare_file,
    transcode,
)
from gateway.transcode.limits import allow, confine
from gateway.transcode.matrix import Matrix, give
from gateway.transcode.native import is_native, stored_value
from gateway.transcode.output import beside_of, write_at
from gateway.transcode.plan import Pixels
from gateway.transcode.record import Digests, Stderr, digest_of_file, distinct
from gateway.transcode.samples import Finish
from gateway.transcode.source import Source, StrPath, open_bytes, open_source
from gateway.transcode.turns import backends_for
from gateway.transcode.verify import Tally, verdict, watched

MANY_FRAMES: Final = 8
"""Objects of more frames than this are split into ranges."""
WORTH_SPLITTING: Final = 8 << 20
"""... if their native pixels have more bytes than this."""
MOST_AT_ONCE: Final = 128 << 20
"""Native bytes that are decoded in one task where frames allow it: some 10 s of JPEG 2000."""
_PR_SET_PDEATHSIG: Final = 1
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_KEPT: Final = 64 << 20
"""Freed memory a worker keeps: frames come one after another, and fresh pages cost faults."""
_UNKNOWN: Final = 64 << 20
"""Bytes of pixels that are assumed where nothing is known yet."""
_stderr: Final[list[Stderr]] = []
"""The pipe of this process, once it is a worker."""

imagecodecs.load()  # once, in the parent of all workers


@dataclass(frozen=True, slots=True)
class Split:
    """An instance whose file stands prepared: all but the frames are written beside ``out``.

    Frame k goes to ``offset`` + k * ``frame_bytes``.
    """

    source: Path
    out: Path
    form: FrameFormat
    finish: Finish
    frames: Sequence[Frame]
    offset: int
    frame_bytes: int
    backend: str
    described: str
    checks: Checks
    result: Transcoded

    def part(self, first: int, stop: int) -> "Split":
        """The frames [first, stop) alone."""
        offset = self.offset + first * self.frame_bytes
        return replace(self, frames=self.frames[first:stop], offset=offset)


@dataclass(frozen=True, slots=True)
class Heard:
    """What a range of frames gave rise to beside its pixels, and how many of them are done."""

    frames: int
    tally: Tally | None
    stderr: str
    notes: tuple[str, ...] = ()


def initialize(
    memory: int, lifeline: str, matrix: Matrix, prepare: Callable[[], None] | None
) -> None:
    """Make this process fit for foreign bytes; ``memory`` in bytes is its own to write to.

    Read-only maps of stored files do not count. ``lifeline`` is the path of a pipe that the
    gateway holds open, ``matrix`` what it found of the decoders. ``prepare`` runs last (tests
    change decoders).
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _hang_on(lifeline)
    library = ctypes.CDLL(None)
    library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if hasattr(library, "mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, _KEPT // 2)
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT)
    give(matrix)
    confine(memory)
    _stderr.append(Stderr())  # native libraries print what they please
    if prepare is not None:
        prepare()
    gc.freeze()  # what is there by now stays: it is not looked through again and again


def _hang_on(lifeline: str) -> None:
    """End, wherever in native code this process is, when the gateway does.

    The death signal of ``prctl`` tells of the fork server, which lives as long as its workers; a
    pipe that loses its writer raises SIGIO, and that ends a process.
    """
    try:
        descriptor = os.open(lifeline, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        os._exit(0)
    except OSError:
        return  # a gateway that may not be looked at: its workers end with their task
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)


def printed() -> str:
    """What native code has printed since this was last asked."""
    return _stderr[0].take() if _stderr else ""


def transcode_or_split(
    source: StrPath,
    target: UID,
    out: StrPath,
    rendition: Rendition,
    attempt: int,
    checks: Checks,
    tags: TagChanges | None = None,
) -> Transcoded | Split:
    """Transcode one instance; where it has many frames, only prepare its file."""
    began = perf_counter()
    printed()  # by a task that failed
    allow(_UNKNOWN)
    opened = open_source(source, os.path.dirname(out))  # noqa: PTH120 - without a Path
    mark(opened, out)
    plan = make_plan(opened, target, rendition, tags)
    if plan.pixels is not None:
        allow(plan.pixels.length)
    if plan.pixels is not None and _worth_splitting(plan.pixels, opened):
        return _prepared(opened, plan, plan.pixels, source, target, out, attempt, checks, began)
    done = finish_plan(plan, opened, target, out, attempt, checks, began)
    text = printed()
    return done._replace(stderr=text) if text else done


def _worth_splitting(pixels: Pixels, opened: Source) -> bool:
    in_the_file = pixels.data is opened.data and not opened.inflated
    many = len(pixels.frames) > MANY_FRAMES and pixels.length > WORTH_SPLITTING
    large = len(pixels.frames) > 1 and pixels.length > MOST_AT_ONCE
    apart = pixels.frame_bytes > 0 and pixels.form.bits_allocated > 1
    return in_the_file and apart and (many or large)


def _prepared(
    opened: Source,
    plan: Plan,
    pixels: Pixels,
    source: StrPath,
    target: UID,
    out: StrPath,
    attempt: int,
    checks: Checks,
    began: float,
) -> Split:
    backend = backends_for(pixels, attempt, checks.skip)[0]
    offset = prepare_file(plan, pixels, out)
    return Split(
        source=Path(source),
        out=Path(out),
        form=pixels.form,
        finish=pixels.finish,
        frames=pixels.frames,
        offset=offset,
        frame_bytes=pixels.frame_bytes,
        backend=backend.name,
        described=lineage.described(backend, pixels.form),
        checks=checks,
        result=described(plan, opened, target, Findings(list(plan.notes), backend), began),
    )


def decode_range(split: Split, first: int, patience: float) -> Heard:
    """Decode the frames of ``split`` into their places; ``first`` numbers them in messages.

    After ``patience`` seconds the rest is left for another task. Raises DecoderFailed where the
    decoder gave up: the instance begins again with the next.
    """
    until = perf_counter() + patience
    printed()
    allow(len(split.frames) * split.frame_bytes)
    backend = _backend(split)
    beside = watched(backend, split.form, split.checks.verify, first)
    decoding = Decoding(split.form, split.finish, split.frames, first)
    data = open_bytes(split.source)
    done, length = _put(decoded_frames(decoding, data, beside or backend), split, data, until)
    if not done or length != done * split.frame_bytes:
        raise DecoderFailed(f"{backend.name}: frames of another length than the header says")
    return Heard(done, beside.tally if beside else None, printed(), tuple(decoding.notes))


def _put(frames: Iterator[Any], split: Split, data: Any, until: float) -> tuple[int, int]:
    """Write frames, of ``data``, into their places until that time; how many came, their bytes."""
    done, position, held = 0, split.offset, split.frames[0][0][0]
    try:
        descriptor = os.open(beside_of(split.out), os.O_WRONLY | os.O_CLOEXEC)
        try:
            for frame in frames:
                position = write_at(descriptor, frame, position)
                start, length = split.frames[done][-1]
                held = let_go(data, held, start + length)
                done += 1
                if perf_counter() > until:
                    break
        finally:
            os.close(descriptor)
    except OSError as error:
        raise TemporaryFailure(f"cannot write the transcoded file: {error}") from error
    return done, position - split.offset


def _backend(split: Split) -> Backend:
    found = backends_for(split, 0)
    return next(backend for backend in found if backend.name == split.backend)


def digests_of(split: Split) -> tuple[str, str]:
    """The digests of a whole instance whose frames are all in their places."""
    allow(len(split.frames) * split.frame_bytes)
    stored, source = Digests(), open_source(split.source, split.out.parent)
    if is_native(source):
        stored.store_value(stored_value(source))
    else:
        stored.store(source.data, split.frames)
    try:
        descriptor = os.open(beside_of(split.out), os.O_RDONLY | os.O_CLOEXEC)
        try:
            length = len(split.frames) * split.frame_bytes
            return stored.sums[0], digest_of_file(descriptor, [(split.offset, length)])
        finally:
            os.close(descriptor)
    except OSError as error:
        raise TemporaryFailure(f"cannot read the transcoded file: {error}") from error


def concluded(split: Split, heard: Sequence[Heard], digests: tuple[str, str]) -> Transcoded:
    """The record of an instance that was decoded in ranges. Raises Disagreement."""
    tallies = [each.tally for each in heard if each.tally is not None]
    for each in tallies[1:]:
        tallies[0].add(each)
    notes = dict.fromkeys((*split.result.notes, *(note for each in heard for note in each.notes)))
    return split.result._replace(
        notes=tuple(notes),
        stderr=distinct([each.stderr for each in heard]),
        stored_digest=digests[0],
        native_digest=digests[1],
        verification=verdict(
            split.described, split.form, split.checks.verify, tallies[0] if tallies else None
        ),
    )


def transcode_each(
    pairs: Sequence[tuple[Path, Path]], target: UID, rendition: Rendition, checks: Checks
) -> list[Transcoded | Failure]:
    """Transcode several instances, one after the other; a failure stands in its place."""
    return [_one(source, target, out, rendition, checks) for source, out in pairs]


def _one(
    source: Path, target: UID, out: Path, rendition: Rendition, checks: Checks
) -> Transcoded | Failure:
    try:
        allow(_UNKNOWN)
        return transcode(source, target, out, rendition=rendition, checks=checks)
    except Failure as failure:
        return failure
    except Exception as error:  # noqa: BLE001 - one instance does not fail the others
        return TemporaryFailure(f"an error nobody expected: {type(error).__name__} {error}")


def decoder_names(
    source: Path, scratch: Path, target: UID, rendition: Rendition, checks: Checks
) -> list[str]:
    """The decoders that would be tried, in order: to say which one brought a worker down."""
    allow(_UNKNOWN)  # an icon is decoded for it
    plan = make_plan(open_source(source, scratch), target, rendition)
    if plan.pixels is None:
        return []
    return [one.name for one in backends_for(plan.pixels, 0, checks.skip)]
