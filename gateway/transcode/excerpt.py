"""One frame of a large object decoded without the others; runs in a worker."""

from pathlib import Path
from time import perf_counter

from gateway.failures import PermanentFailure
from gateway.model import UID, Passport, Rendition
from gateway.transcode.decode import DecoderFailed, Decoding, decoded_frames
from gateway.transcode.image_pixel import PHOTOMETRIC
from gateway.transcode.limits import allow
from gateway.transcode.output import write_all, written
from gateway.transcode.plan import plan_frames
from gateway.transcode.record import standing
from gateway.transcode.source import open_source
from gateway.transcode.turns import backends_for
from gateway.transcode.worker import printed
from gateway.transfer_syntax import BY_UID


def decode_frame(source: Path, target: UID, number: int, out: Path) -> Passport:
    """Write frame ``number``, from 1, of an encapsulated object as native bytes to ``out``.

    Returns how it was made, without digests; the decoder is the one that would serve the whole
    object. Raises PermanentFailure where it fails: the whole has to be decoded by
    another then, since frames of two decoders never mix.
    """
    began = perf_counter()
    printed()  # by a task that failed
    opened = open_source(source, out.parent)
    pixels = plan_frames(opened, BY_UID[target], Rendition(), only=number)
    allow(pixels.length)
    backend = backends_for(pixels, 0)[0]
    decoding = Decoding(pixels.form, pixels.finish, pixels.frames, number - 1, pixels.known)
    try:
        parts = list(decoded_frames(decoding, pixels.data, backend))
    except DecoderFailed as failure:
        raise PermanentFailure(str(failure)) from failure
    done = sum(memoryview(part).nbytes for part in parts)
    if done != pixels.length:
        raise PermanentFailure(f"{backend.name}: {done} bytes came out, {pixels.length} were due")
    with written(out, done) as descriptor:
        write_all(descriptor, parts)
    came, goes = opened.values.text(PHOTOMETRIC), pixels.photometric
    return Passport(
        target=target,
        decoder=backend.name,
        version=backend.version(),
        self_test=standing(backend, pixels.form),
        frames=1,
        seconds=perf_counter() - began,
        colour=came if goes in ("", came) else f"{came} to {goes}",
        notes=tuple(dict.fromkeys((*pixels.notes, *decoding.notes))),
        stderr=printed(),
    )
