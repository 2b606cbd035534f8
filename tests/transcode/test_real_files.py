"""Every real file in a native or compressed syntax of this stage, into the three targets."""

import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pydicom
import pytest

from gateway.failures import PermanentFailure
from gateway.transcode.instance import transcode
from gateway.transcode.located import located, located_at
from tests.real_files import FOLDER, catalogue, needs_real_files, references
from tests.transcode.attributes import differences
from tests.transcode.objects import EXPLICIT_BE, EXPLICIT_LE, TARGETS, digest

pytestmark = [pytest.mark.data, needs_real_files]

REFUSED: Final = {
    "dcm4che__3gb-bulk-data-truncated.dcm": "cut: Pixel Data claims 3 GB of which 98 kB are there",
    "pydicom__MR_truncated.dcm": "cut: Pixel Data lacks its last 62 bytes",
    "pydicom__rtplan_truncated.dcm": "cut within a sequence",
    "healthcare-dicom-dicomweb-adapter__example3.dcm": "Pixel Data holds no codestream",
    "libdicom__generated_encapsulated_defined_bot_2_to_2.dcm": "made-up bytes, no codestream",
    "pydicom__JPEG2000-embedded-sequence-delimiter.dcm": "random bytes after a SIZ of 0 x 0 tiles",
}
"""Files that must be refused, and why."""

_UNCOMPRESSED = "no decoder: uncompressed samples, as many as the header says, labelled"

OWN_PIXELS: Final = {
    "dicom-test-files__RG3_JPLY.dcm": (
        "8 samples of 1024 overshoot 10 bits stored: clamped to 1023, where decoders keep 1024",
        "c3f8afd4",
    ),
    "pydicom-data__JLSL_16_15_1_1F.dcm": (
        "decoders tie: sign-extended from 15 bits stored, as pydicom does",
        "bb0a20c3",
    ),
    "fo-dicom__genFile.dcm": (f"{_UNCOMPRESSED} JPEG Baseline", "73d9ab22"),
    "libdicom__generated_encapsulated_defined_bot_1_to_1.dcm": (
        f"{_UNCOMPRESSED} .90",
        "8a851ff8",
    ),
    "libdicom__generated_encapsulated_empty_bot_2_to_1.dcm": (f"{_UNCOMPRESSED} .90", "be45cb26"),
}
"""Files whose digest is ours: why, and its beginning."""

UNREADABLE: Final = {
    "fo-dicom__GH177_D_CLUNIE_CT1_IVRLE_BigEndian_undefined_length.dcm": "not even the original",
    "fo-dicom__GH364.dcm": "not even the original",
}
"""Files that pydicom cannot read, whatever wrote them."""

NO_BIG_ENDIAN: Final = {
    "pydicom__UN_sequence.dcm": "pydicom takes the little-endian items in UN for big-endian ones",
}
"""Files whose big-endian form pydicom cannot read."""

_counts: Counter[str] = Counter()


def _files() -> list[str]:
    return sorted(row["file"] for row in catalogue())


@pytest.mark.parametrize("name", _files())
def test_pixels_and_attributes_are_those_of_the_original(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out.dcm"
    for target in TARGETS:
        if name in REFUSED:
            with pytest.raises(PermanentFailure):
                transcode(FOLDER / name, target, out)
            assert not list(tmp_path.iterdir())
            _counts["refused"] += 1
            continue
        done = transcode(FOLDER / name, target, out)
        assert done.size == out.stat().st_size
        if done.native is not None and target == EXPLICIT_LE:
            told, found = located_at(done.native), located(out)
            assert (told.frames, told.run(told.frames)) == (found.frames, found.run(told.frames))
            _counts["frames where they were told to stand"] += 1
        if name in UNREADABLE or (name in NO_BIG_ENDIAN and target == EXPLICIT_BE):
            _counts["written, read by no pydicom"] += 1
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom on odd originals
            _compare(name, out, target)


def _compare(name: str, out: Path, target: str) -> None:
    old, new = pydicom.dcmread(FOLDER / name, force=True), pydicom.dcmread(out)
    assert new.file_meta.TransferSyntaxUID == target
    assert list(differences(old, new)) == []
    _counts["attributes equal"] += 1
    row = references().get(name)
    if row is None or "PixelData" not in new or not new.PixelData:
        return
    wanted = row["consensus"] if len(row["consensus"]) == 64 else row["majority_lossy"]
    if name in OWN_PIXELS:
        wanted = OWN_PIXELS[name][1]
    assert wanted, "a file without a trusted digest: decide, and list it"
    assert digest(new).startswith(wanted)
    _counts["pixels equal"] += 1


def test_how_many_of_how_many(figures: Callable[[str], None]) -> None:
    total = len(TARGETS) * len(_files())
    figures(f"real files x targets: {total}; " + ", ".join(_said()))
    assert sum(_counts.values()) > 0


def _said() -> list[str]:
    return [f"{what} {count}" for what, count in sorted(_counts.items())]
