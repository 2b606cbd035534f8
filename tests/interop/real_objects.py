"""The real files that can be sent, how each is sent, and what its pixels must be on arrival."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from tests.real_files import FOLDER, catalogue, references

_4 = "1.2.840.10008.1.2.4."

STORESCU = {
    "1.2.840.10008.1.2": "-xi",
    "1.2.840.10008.1.2.1": "-xe",
    "1.2.840.10008.1.2.2": "-xb",
    "1.2.840.10008.1.2.1.99": "-xd",
    "1.2.840.10008.1.2.5": "-xr",
    _4 + "50": "-xy",
    _4 + "51": "-xx",
    _4 + "70": "-xs",
    _4 + "80": "-xt",
    _4 + "81": "-xu",
    _4 + "90": "-xv",
    _4 + "91": "-xw",
}
"""Transfer syntax UID -> the option by which DCMTK storescu proposes it."""

DCMSEND_ONLY = _4 + "57"
"""JPEG Lossless of any selection value: storescu cannot propose it, dcmsend does."""

_RIGHT = {
    # PS3.5 8.2.3: the samples are signed, so the bits above Bits Stored repeat the sign
    "pydicom-data__JLSL_16_15_1_1F.dcm": (
        "bb0a20c386271e836966f81064e1b439a2951b1faa35b48ddbd34e11fb926b6c"
    ),
    # 8 samples overshoot the 10 bits stored: 1023 here, 1024 or 0 from the reference decoders
    "dicom-test-files__RG3_JPLY.dcm": (
        "c3f8afd42451473c108526000a2027bff66634180520b14e483a8235c36a45b9"
    ),
}
"""Where the decoders are at odds: the digest of the pixels that are right, and why."""

SYNTAXES = frozenset({*STORESCU, DCMSEND_ONLY})


@dataclass(frozen=True)
class RealObject:
    """One real file; ``digests`` are the pixels that are right, empty where none are known.

    ``meta_agrees`` says that the File Meta Information names the same instance as the data set;
    where not, only a sender that reads the data set can name it in its C-STORE.
    """

    file: Path
    uid: str
    syntax: str
    digests: frozenset[str]
    meta_agrees: bool = True

    @property
    def name(self) -> str:
        """The file's name."""
        return self.file.name


def suitable() -> tuple[list[RealObject], dict[str, str]]:
    """The files that can be sent, and file name -> why the others cannot."""
    good: list[RealObject] = []
    reasons: dict[str, str] = {}
    for row in catalogue():
        found = _look(row["file"], row["transfer_syntax_uid"])
        if isinstance(found, str):
            reasons[row["file"]] = found
        else:
            good.append(found)
    return good, reasons


def rounds(objects: list[RealObject]) -> Iterator[list[RealObject]]:
    """The objects in rounds, so that within a round every SOP Instance UID is met once."""
    seen: Counter[str] = Counter()
    numbered: dict[int, list[RealObject]] = {}
    for one in objects:
        numbered.setdefault(seen[one.uid], []).append(one)
        seen[one.uid] += 1
    yield from numbered.values()


def _look(name: str, syntax: str) -> RealObject | str:
    if syntax not in SYNTAXES:
        return f"transfer syntax {syntax or 'not said'}"
    file = FOLDER / name
    try:
        header = dcmread(file, stop_before_pixels=True)
    except (InvalidDicomError, OSError, ValueError) as error:
        return f"no Part 10 file that pydicom reads: {type(error).__name__}"
    meta = header.file_meta
    uid = str(header.get("SOPInstanceUID") or "")
    if not uid or not header.get("SOPClassUID"):
        return "no SOP Class UID or SOP Instance UID"
    if len(uid) > 64:
        return "SOP Instance UID longer than 64 characters"
    named = meta.get("MediaStorageSOPInstanceUID"), meta.get("MediaStorageSOPClassUID")
    agrees = named == (uid, header.SOPClassUID)
    return RealObject(file, uid, syntax, _digests(name), agrees)


def _digests(name: str) -> frozenset[str]:
    """The consensus of the decoders; for lossy codecs what most of them agree on."""
    row = references().get(name, {})
    if name in _RIGHT:
        return frozenset({_RIGHT[name]})
    found = (row.get(key, "") for key in ("consensus", "native_bytes", "majority_lossy"))
    first = next((text for text in found if len(text) == 64), "")
    return frozenset({first} - {""})
