"""Frames through one decoder: preflight, decode, check, finish. No file is written here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from gateway.failures import PermanentFailure
from gateway.transcode.codestream import Codestream, read_codestream
from gateway.transcode.colour import decide_colour
from gateway.transcode.form import Backend, Coding, FrameFormat
from gateway.transcode.frames import Frame, join
from gateway.transcode.image_pixel import different
from gateway.transcode.presets import decode_either
from gateway.transcode.samples import Finish, apart, conform, finished, pack, spread_422
from gateway.transcode.words import Swapped

EXPANSION: Final = 1_000
SMALL: Final = 16 << 20
"""Frames up to this size may expand without limit: a blank one does, and does no harm."""


class DecoderFailed(Exception):
    """One decoder could not; the next may. The text names decoder, frame and reason."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """A run of frames of one instance: their form, what is done to them, where they stand.

    ``first`` is the number of the first of them, for messages, from 0.
    """

    form: FrameFormat
    finish: Finish
    frames: Sequence[Frame]
    first: int = 0
    known: tuple[Any, Codestream | None] | None = None
    """The bytes and declarations of the first of them, where they were read before."""
    notes: list[str] = field(default_factory=list)
    """What only decoding shows, for the record."""


def decoded_frames(decoding: Decoding, data: Any, backend: Backend) -> Iterator[Any]:
    """The native bytes of each frame, in order; single-bit frames as whole bytes of all.

    Raises PermanentFailure for a frame that contradicts the header, DecoderFailed where the
    decoder gave up.
    """
    view = data if isinstance(data, Swapped) else memoryview(data)
    carry, known = np.empty(0, bool), decoding.known
    for number, frame in enumerate(decoding.frames, decoding.first + 1):
        stream, found = known or (join(view, frame), None)
        samples, known = _decoded(stream, decoding, backend, number, found), None
        if decoding.form.bits_allocated == 1:
            packed, carry = pack(samples, carry)
            yield packed
        elif decoding.form.spanning:
            yield from (finished(one, decoding.finish) for one in apart(samples, decoding.form))
        else:
            yield finished(samples, decoding.finish)
    if len(carry):
        yield np.packbits(carry, bitorder="little").tobytes()


def _decoded(
    frame: Any, decoding: Decoding, backend: Backend, number: int, known: Codestream | None
) -> Any:
    form = decoding.form
    try:
        if form.spanning:
            form = _as_spanned(frame, form)
        frame = _checked(frame, form, known)
        if form.paired:
            pairs = backend.decode(frame, form._replace(samples_per_pixel=2))
            return spread_422(pairs, form.rows, form.columns)
        if form.coding is Coding.JPEG_LS and form.precision < 8:
            either = decode_either(frame, lambda one: backend.decode(one, form), decoding.notes)
            return conform(either, form, decoding.notes)
        return conform(backend.decode(frame, form), form, decoding.notes)
    except PermanentFailure as failure:
        raise PermanentFailure(f"frame {number}: {failure}") from failure
    except (MemoryError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a Rust library's panic is no Exception
        text = " ".join(str(error).split())[:200]
        raise DecoderFailed(
            f"{backend.name} could not decode frame {number}: {type(error).__name__} {text}"
        ) from error


def _as_spanned(frame: Any, form: FrameFormat) -> FrameFormat:
    """The form of a codestream of several frames: each may hold another number of them."""
    found = read_codestream(frame)
    return form._replace(samples_per_pixel=found.components) if found else form


def _checked(frame: Any, form: FrameFormat, known: Codestream | None) -> Any:
    """The raw codestream of a frame, after it was held against the form."""
    if form.coding is Coding.NATIVE:
        return _whole(frame, form)
    size = form.bits // 8
    if size > SMALL and size > EXPANSION * len(frame):
        raise PermanentFailure(
            f"{len(frame)} bytes would expand to {size}, more than {EXPANSION} times"
        )
    if form.coding in (Coding.RLE, Coding.DEFLATED):
        return frame
    found = known or read_codestream(frame)
    if found is None:
        raise PermanentFailure("the frame does not start with a codestream")
    _compare(found, form)
    if found.lines_at:
        at, rows = found.lines_at, found.rows.to_bytes(2, "big")
        return b"".join((frame[:at], rows, frame[at + 2 :]))
    if found.end:
        return b"".join((frame[found.start : found.end], b"\xff\xd9"))
    return frame[found.start :] if found.start else frame


def _whole(frame: Any, form: FrameFormat) -> Any:
    """A frame of samples as they are, without padding. Raises PermanentFailure when short."""
    size = 2 * form.rows * form.columns if form.paired else -(-form.bits // 8)
    if len(frame) < size:
        raise PermanentFailure(f"the frame has {len(frame)} bytes, {size} are needed")
    return frame[:size]


def _compare(found: Codestream, form: FrameFormat) -> None:
    stated = (form.rows, form.columns, form.samples_per_pixel)
    if stated != (found.rows, found.columns, found.components):
        raise PermanentFailure(different(stated, found))
    kind = (form.coding, form.precision, form.codestream_signed)
    if kind != (found.coding, found.precision, found.signed):
        raise PermanentFailure(
            f"the frame is {found.process} of {found.precision} bits, "
            f"the first one {form.coding.value} of {form.precision}"
        )
    if found.lossy and not form.lossy:
        raise PermanentFailure(
            f"the frame is {found.process}, irreversible, which neither the first one nor the "
            "transfer syntax is"
        )
    if form.encoded:
        colour = decide_colour(form.stated, found)
        if colour.encoded != form.encoded:
            raise PermanentFailure(
                f"the samples of the frame are {colour.encoded} ({colour.why}), "
                f"those of the first one {form.encoded}"
            )
