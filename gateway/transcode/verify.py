"""A second opinion: each frame is decoded again by a decoder of another lineage and compared.

What is compared are samples in their container, before colours are converted or bytes swapped.
Reversible codestreams have one right answer: every sample is equal. For lossy ones the standards
leave the arithmetic open: JPEG DCT and irreversible wavelets may be off by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from gateway.failures import PermanentFailure
from gateway.model import Verification
from gateway.transcode.form import Backend, Coding, FrameFormat
from gateway.transcode.lineage import described, others
from gateway.transcode.samples import conform

if TYPE_CHECKING:
    from gateway.transcode.form import Samples

_ROUNDED: Final = (Coding.JPEG_8, Coding.JPEG_12, Coding.JPEG_2000, Coding.HTJ2K)
_CHUNK: Final = 1 << 20
"""Samples that are looked at together once a frame is known to differ."""


class Disagreement(PermanentFailure):
    """Two decoders see different pixels, or only one of them sees any."""


@dataclass(slots=True)
class Tally:
    """What came of the comparisons so far, in one process.

    ``different`` frames have ``samples`` that are off by more than the bound, the first of them
    at ``place``; ``maximum`` is the largest difference of all; ``refused`` says which second
    decoder gave up, where and why, if no other could be asked.
    """

    decoders: list[str] = field(default_factory=list)
    bound: int = 0
    frames: int = 0
    different: int = 0
    samples: int = 0
    maximum: int = 0
    place: str = ""
    refused: str = ""

    def add(self, other: "Tally") -> None:
        """Take in what another process counted, of later frames."""
        self.decoders += [name for name in other.decoders if name not in self.decoders]
        self.frames += other.frames
        self.different += other.different
        self.samples += other.samples
        self.maximum = max(self.maximum, other.maximum)
        self.place = self.place or other.place
        self.refused = self.refused or other.refused


class Comparing:
    """A backend that decodes as ``first`` does, and has each frame decoded once more."""

    def __init__(
        self, first: Backend, seconds: Sequence[Backend], form: FrameFormat, before: int = 0
    ) -> None:
        """``before`` frames of the instance stand before the first one: messages count them."""
        self.name, self.requires = first.name, first.requires
        self.tally = Tally([described(first, form)], bound=_bound(form))
        self._first = first
        self._seconds = list(seconds)
        self._before = before

    def version(self) -> str:
        """That of the first decoder."""
        return self._first.version()

    def supports(self, form: FrameFormat) -> bool:
        """What the first decoder supports."""
        return self._first.supports(form)

    def decode(self, frame: Any, form: FrameFormat) -> "Samples":
        """The first decoder's samples, after they were compared."""
        samples = self._first.decode(frame, form)
        mine = conform(samples, form)
        if (other := self._again(frame, form)) is not None:
            self._compare(_plain(mine, form), _plain(other, form), form)
        self.tally.frames += 1
        return samples

    def _again(self, frame: Any, form: FrameFormat) -> "Samples | None":
        """The samples of the first second decoder that gets through; the others are let go."""
        reasons = []
        while self._seconds:
            second = self._seconds[0]
            try:
                samples = conform(second.decode(frame, form), form)
            except (MemoryError, KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # noqa: BLE001 - a Rust library's panic is no Exception
                text = " ".join(str(error).split())[:200]
                reasons.append(f"{described(second, form)}: {type(error).__name__} {text}")
                del self._seconds[0]
            else:
                self._name(described(second, form))
                return samples
        if reasons and not self.tally.refused:
            where = f"frame {self._before + self.tally.frames + 1}"
            self.tally.refused = f"{where} could not be decoded by {'; '.join(reasons)}"
        return None

    def _name(self, decoder: str) -> None:
        if decoder not in self.tally.decoders:
            self.tally.decoders.append(decoder)

    def _compare(self, mine: "Samples", other: "Samples", form: FrameFormat) -> None:
        if np.array_equal(mine, other):
            return
        over, first = 0, -1
        for start in range(0, mine.size, _CHUNK):
            part = mine[start : start + _CHUNK].astype(np.int64)
            off = np.abs(part - other[start : start + _CHUNK])
            self.tally.maximum = max(self.tally.maximum, int(off.max()))
            beyond = off > self.tally.bound
            count = int(np.count_nonzero(beyond))
            if count and first < 0:
                first = start + int(beyond.argmax())
            over += count
        if not over:
            return
        self.tally.different += 1
        self.tally.samples += over
        if not self.tally.place:
            self.tally.place = _place(form, self._before + self.tally.frames, first, mine, other)


def watched(first: Backend, form: FrameFormat, verify: str, before: int = 0) -> Comparing | None:
    """``first`` with another decoder beside it, where ``verify`` asks for it and there is one."""
    if not _asked(form, verify) or not (seconds := others(first, form)):
        return None
    return Comparing(first, seconds, form, before)


def verdict(
    decoder: str, form: FrameFormat, verify: str, tally: Tally | None
) -> Verification | None:
    """The record of what was compared; None where nothing was asked. Raises Disagreement.

    ``decoder`` describes the one that was compared with others, or alone.
    """
    if not verify or form.coding is Coding.NATIVE:
        return None
    if not _asked(form, verify):
        return Verification("not asked", (decoder,))
    if tally is None:
        return Verification("one lineage", (decoder,))
    if tally.different:
        raise Disagreement(_difference(tally))
    if tally.refused:
        raise Disagreement(
            f"{tally.decoders[0]} decoded what nobody else could confirm: {tally.refused}"
        )
    return Verification(
        "within bound" if tally.maximum else "equal",
        tuple(tally.decoders),
        tally.frames,
        tally.maximum,
        tally.bound,
    )


def _asked(form: FrameFormat, verify: str) -> bool:
    if not verify or form.coding is Coding.NATIVE:
        return False
    return verify == "all" or not form.lossy


def _bound(form: FrameFormat) -> int:
    return 1 if form.lossy and form.coding in _ROUNDED else 0


def _plain(samples: "Samples", form: FrameFormat) -> "Samples":
    """In one row, signed as the header says: libraries differ in the type they return."""
    if form.bits_allocated == 1:
        return samples.reshape(-1).astype(bool).astype("u1")
    kind = "i" if form.signed else "u"
    return samples.reshape(-1).view(f"<{kind}{samples.dtype.itemsize}")


def _place(form: FrameFormat, frame: int, index: int, mine: "Samples", other: "Samples") -> str:
    pixel, sample = divmod(index, form.samples_per_pixel)
    row, column = divmod(pixel, form.columns)
    colour = f", sample {sample + 1}" if form.samples_per_pixel > 1 else ""
    return (
        f"frame {frame + 1}, row {row + 1}, column {column + 1}{colour}: "
        f"{mine[index]} against {other[index]}"
    )


def _difference(tally: Tally) -> str:
    bound = f" by more than {tally.bound}" if tally.bound else ""
    return (
        f"{' and '.join(tally.decoders)} disagree{bound}: {tally.samples} samples in "
        f"{tally.different} of {tally.frames} frames, at most by {tally.maximum}; "
        f"the first is {tally.place}"
    )
