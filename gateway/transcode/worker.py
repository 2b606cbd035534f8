"""What runs inside a worker process: one instance, a range of its frames, or many instances.

A worker is disposable: it decodes foreign bytes with native code, so it has a memory limit,
writes no core, reads no terminal and dies with its parent. Tasks carry paths and ranges, never
pixels.
"""

import ctypes
import os
import resource
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from gateway.failures import Failure, PermanentFailure, TemporaryFailure
from gateway.model import UID, Rendition
from gateway.transcode.backends import imagecodecs
from gateway.transcode.decode import DecoderFailed, Decoding, decoded_frames
from gateway.transcode.decoders import candidates
from gateway.transcode.form import FrameFormat
from gateway.transcode.frames import Frame
from gateway.transcode.instance import (
    Plan,
    Transcoded,
    described,
    finish_plan,
    make_plan,
    prepare_file,
    transcode,
)
from gateway.transcode.output import beside_of, write_at
from gateway.transcode.plan import Pixels
from gateway.transcode.samples import Finish
from gateway.transcode.source import Source, open_bytes, open_source

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
_MAPPED: Final = 16 << 30

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
    attempt: int
    result: Transcoded

    def part(self, first: int, stop: int) -> "Split":
        """The frames [first, stop) alone."""
        return Split(
            source=self.source,
            out=self.out,
            form=self.form,
            finish=self.finish,
            frames=self.frames[first:stop],
            offset=self.offset + first * self.frame_bytes,
            frame_bytes=self.frame_bytes,
            attempt=self.attempt,
            result=self.result,
        )


def initialize(memory: int, prepare: Callable[[], None] | None) -> None:
    """Make this process fit for foreign bytes; ``memory`` in bytes is its own to write to.

    Read-only maps of stored files do not count. ``prepare`` runs last (tests change decoders).
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    library = ctypes.CDLL(None)
    library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if hasattr(library, "mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, _KEPT // 2)
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_AS, (memory + _MAPPED, memory + _MAPPED))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)  # native libraries print what they please
    os.close(silence)
    if prepare is not None:
        prepare()


def ready() -> None:
    """Nothing: a worker that has done it is there, with its libraries loaded."""


def transcode_or_split(
    source: Path, target: UID, out: Path, rendition: Rendition, attempt: int
) -> Transcoded | Split:
    """Transcode one instance; where it has many frames, only prepare its file."""
    began = perf_counter()
    opened = open_source(source, out.parent)
    plan = make_plan(opened, target, rendition)
    if plan.pixels is not None and _worth_splitting(plan.pixels, opened):
        return _prepared(opened, plan, plan.pixels, source, target, out, attempt, began)
    return finish_plan(plan, opened, target, out, attempt, began)


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
    source: Path,
    target: UID,
    out: Path,
    attempt: int,
    began: float,
) -> Split:
    backends = candidates(pixels.form)[attempt:]
    if not backends:
        raise PermanentFailure("no decoder is left for this instance")
    offset = prepare_file(plan, pixels, out)
    return Split(
        source=source,
        out=out,
        form=pixels.form,
        finish=pixels.finish,
        frames=pixels.frames,
        offset=offset,
        frame_bytes=pixels.frame_bytes,
        attempt=attempt,
        result=described(plan, opened, target, backends[0].name, began, plan.notes),
    )


def decode_range(split: Split, first: int) -> None:
    """Decode the frames of ``split`` into their places; ``first`` numbers them in messages.

    Raises DecoderFailed where the decoder gave up: the instance begins again with the next.
    """
    backend = candidates(split.form)[split.attempt]
    decoding = Decoding(split.form, split.finish, split.frames, first)
    data = open_bytes(split.source)
    try:
        descriptor = os.open(beside_of(split.out), os.O_WRONLY | os.O_CLOEXEC)
        try:
            position = split.offset
            for frame in decoded_frames(decoding, data, backend):
                position = write_at(descriptor, frame, position)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise TemporaryFailure(f"cannot write the transcoded file: {error}") from error
    if position != split.offset + len(split.frames) * split.frame_bytes:
        raise DecoderFailed(f"{backend.name}: frames of another length than the header says")


def transcode_each(
    pairs: Sequence[tuple[Path, Path]], target: UID, rendition: Rendition
) -> list[Transcoded | Failure]:
    """Transcode several instances, one after the other; a failure stands in its place."""
    return [_one(source, target, out, rendition) for source, out in pairs]


def _one(source: Path, target: UID, out: Path, rendition: Rendition) -> Transcoded | Failure:
    try:
        return transcode(source, target, out, rendition=rendition)
    except Failure as failure:
        return failure
    except Exception as error:  # noqa: BLE001 - one instance does not fail the others
        return TemporaryFailure(f"an error nobody expected: {type(error).__name__} {error}")


def decoder_names(source: Path, scratch: Path, target: UID, rendition: Rendition) -> list[str]:
    """The decoders that would be tried, in order: to say which one brought a worker down."""
    plan = make_plan(open_source(source, scratch), target, rendition)
    return [] if plan.pixels is None else [one.name for one in candidates(plan.pixels.form)]
