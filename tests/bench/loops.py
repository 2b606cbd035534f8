"""What others need for the same files: ``python -m tests.bench.loops KEY SOURCE OUT``.

Prints the seconds of the loop alone, as JSON: imports and, for the bare codec, reading excluded.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import imagecodecs
from pydicom import dcmread
from pydicom.encaps import get_frame
from pydicom.uid import ExplicitVRLittleEndian

_CODECS: dict[str, Callable[[bytes], object]] = {
    "1.2.840.10008.1.2.4.70": imagecodecs.jpeg_decode,
    "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_decode,
    "1.2.840.10008.1.2.4.90": imagecodecs.jpeg2k_decode,
}


def bare(files: Sequence[Path], _: Path) -> float:
    """Decode every frame, do nothing with it."""
    frames = [_codestream(file) for file in files]
    decode = _CODECS[str(dcmread(files[0], stop_before_pixels=True).file_meta.TransferSyntaxUID)]
    decode(frames[0])
    start = time.perf_counter()
    for frame in frames:
        decode(frame)
    return time.perf_counter() - start


def _codestream(file: Path) -> bytes:
    return get_frame(dcmread(file).PixelData, 0, number_of_frames=1)


def gdcm_change(files: Sequence[Path], out: Path) -> float:
    """GDCM's ImageChangeTransferSyntax between its own reader and writer."""
    import gdcm

    start = time.perf_counter()
    for file in files:
        reader = gdcm.ImageReader()
        reader.SetFileName(str(file))
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.ExplicitVRLittleEndian))
        if not reader.Read():
            raise SystemExit(f"GDCM cannot read {file.name}")
        change.SetInput(reader.GetImage())
        if not change.Change():
            raise SystemExit(f"GDCM cannot decode {file.name}")
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(out / file.name))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        if not writer.Write():
            raise SystemExit(f"GDCM cannot write {file.name}")
    return time.perf_counter() - start


def pydicom_decompress(files: Sequence[Path], out: Path) -> float:
    """pydicom with the best plugin it finds installed."""
    start = time.perf_counter()
    for file in files:
        dataset = dcmread(file)
        if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
            dataset.decompress()
        else:
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.save_as(out / file.name)
    return time.perf_counter() - start


_LOOPS = {"bare": bare, "gdcm": gdcm_change, "pydicom": pydicom_decompress}


def main() -> None:
    """Run one loop and print its seconds."""
    key, source, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    files = sorted(source.iterdir())
    seconds = _LOOPS[key](files, out)
    written = len(files) if key == "bare" else sum(1 for _ in out.iterdir())
    sys.stdout.write(json.dumps({"seconds": seconds, "files": written}))


if __name__ == "__main__":
    main()
