"""One frame of a large object decoded without the others; runs in a worker."""

from pathlib import Path
from time import perf_counter

from gateway.failures import PermanentFailure
from gateway.model import UID, Rendition
from gateway.transcode.decode import DecoderFailed, Decoding, decoded_frames
from gateway.transcode.limits import allow
from gateway.transcode.output import write_all, written
from gateway.transcode.plan import plan_frames
from gateway.transcode.source import open_source
from gateway.transcode.turns import backends_for
from gateway.transfer_syntax import BY_UID


def decode_frame(source: Path, target: UID, number: int, out: Path) -> tuple[str, float]:
    """Write frame ``number``, from 1, of an encapsulated object as native bytes to ``out``.

    Returns the name of the decoder, which is the one that would serve the whole object, and the
    seconds it took. Raises PermanentFailure where it fails: the whole has to be decoded by
    another then, since frames of two decoders never mix.
    """
    began = perf_counter()
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
    return backend.name, perf_counter() - began
