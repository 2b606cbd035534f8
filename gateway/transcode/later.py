"""Digests that nobody waits for: of bytes that stand in the stored file and in the result."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.model import Undigested
from gateway.transcode.frames import Span
from gateway.transcode.output import size_of
from gateway.transcode.record import digest_of_file
from gateway.transcode.source import Source

if TYPE_CHECKING:
    from gateway.transcode.instance import Plan

MOST_RUNS: Final = 64
"""Runs of bytes that are kept in mind for one instance."""
MOST_BYTES: Final = 64 << 20
"""Bytes that are summed up in one go: the more there are, the less their digests weigh."""


def for_later(plan: "Plan", source: Source) -> Undigested | None:
    """Where the bytes stand that the digests are of; None where these are better taken at once.

    That is where there are many, and where no file holds them: those of a deflated data set.
    """
    if source.pixels is None or source.inflated or plan.undigested:
        return None
    start = sum(size_of(part) for part in plan.head)
    frames = plan.pixels.frames if plan.pixels is not None else []
    stored: tuple[Span, ...] = tuple(span for frame in frames for span in frame)
    if plan.stored is not None:
        stored = ((source.pixels.value, len(plan.stored)),)
    if plan.pixels is not None:
        native = start, plan.pixels.length
    else:
        native = start - sum(size_of(part) for part in plan.value), stored[0][1]
    size = native[1] + sum(length for _, length in stored)
    few = len(stored) <= MOST_RUNS and size <= MOST_BYTES
    return Undigested(stored, native) if few else None


def digests_of_files(source: Path, out: Path, left: Undigested) -> tuple[str, str]:
    """Of what is stored in ``source`` and of what was made of it; "" for a file that cannot be
    read any more. Blocks.
    """
    return _digest(source, left.stored), _digest(out, (left.native,))


def _digest(file: Path, runs: Iterable[Span]) -> str:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return digest_of_file(descriptor, runs)
        finally:
            os.close(descriptor)
    except OSError:
        return ""
