"""Data sets for the tests: pydicom's own files, and ones written byte by byte."""

import copy
import struct
import zlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pydicom
import pytest
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from gateway.dataset.elements import Limits, elements
from gateway.dataset.part10 import read_file_meta
from gateway.dataset.rewrite import NewValue, rewrite
from gateway.transfer_syntax import BY_UID, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, TransferSyntax
from tests import real_files

BUNDLED = Path(pydicom.__file__).parent / "data"

ELE, ILE, EBE = BY_UID[EXPLICIT_LE], BY_UID[IMPLICIT_LE], BY_UID[EXPLICIT_BE]
NATIVE = [ELE, ILE, EBE]

UNDEFINED = 0xFFFFFFFF

CUT = {
    "MR_truncated.dcm": "(7FE0,0010)",
    "rtplan_truncated.dcm": "(300A,00B0)",
    "pydicom__MR_truncated.dcm": "(7FE0,0010)",
    "pydicom__rtplan_truncated.dcm": "(300A,00B0)",
    "dcm4che__3gb-bulk-data-truncated.dcm": "(7FE0,0010)",
}
"""Files that end in the middle of this element."""
NO_DATA_SET = "no_meta.dcm"
"""Its first byte is a stray 0x20."""
NOT_FOR_PYDICOM = "fo-dicom__GH177_D_CLUNIE_CT1_IVRLE_BigEndian_undefined_length.dcm"
"""pydicom reads on beyond the end of an item in it."""


class DataSet(NamedTuple):
    """The bytes of a data set, how they are encoded, and the label of their file."""

    data: bytes
    syntax: TransferSyntax
    transfer_syntax: str


def bundled(name: str) -> Path:
    return next(BUNDLED.rglob(name))


@cache
def every_file(but: frozenset[str] = frozenset()) -> list[object]:
    """pydicom's files and the real files beside the checkout, as parameters of a test."""
    mine = [
        path
        for path in sorted(BUNDLED.rglob("*"))
        if path.is_file() and (path.suffix == ".dcm" or "dicomdirtests" in path.parts)
        if path.suffix != ".txt" and path.name not in but | {"README"}
    ]
    real = [path for path in sorted(real_files.FOLDER.glob("*.dcm")) if path.name not in but]
    marks = [pytest.mark.data]
    return [
        *(pytest.param(path, id=str(path.relative_to(BUNDLED))) for path in mine),
        *(pytest.param(path, id=path.name, marks=marks) for path in real),
    ]


def cut_files() -> list[object]:
    """Those of them that end in the middle of an element, and its tag."""
    mine = [
        (BUNDLED / "test_files" / name, tag)
        for name, tag in CUT.items()
        if (BUNDLED / "test_files" / name).is_file()
    ]
    real = [(path, CUT[path.name]) for path in real_files.FOLDER.glob("*.dcm") if path.name in CUT]
    return [pytest.param(path, tag, id=path.name) for path, tag in mine + real]


def data_set(path: Path) -> DataSet:
    """A file's data set, inflated where it is deflated."""
    data = path.read_bytes()
    meta = read_file_meta(data)
    syntax = BY_UID[meta.transfer_syntax]
    data = data[meta.dataset_offset :]
    if syntax.deflated:
        data = zlib.decompressobj(-15).decompress(data)
    return DataSet(data, syntax, meta.transfer_syntax)


def values_in(data: bytes, syntax: TransferSyntax) -> dict[int, tuple[str, bytes]]:
    """The top-level elements: tag -> (VR, value)."""
    found = elements(data, 0, len(data), syntax)
    return {each.tag: (each.vr, data[each.value : each.end]) for each in found}


def recoded(
    data: bytes,
    source: TransferSyntax,
    target: TransferSyntax,
    changes: dict[int, NewValue | None] | None = None,
    **limits: int,
) -> bytes:
    """A whole data set rewritten, in one piece."""
    return b"".join(rewrite(data, 0, len(data), source, target, changes or {}, Limits(**limits)))


def encode(dataset: pydicom.Dataset, syntax: TransferSyntax) -> bytes:
    """A data set as pydicom writes it, with the words of OW, OF, OD and OV in byte order."""
    out = DicomBytesIO()
    out.is_implicit_VR, out.is_little_endian = not syntax.explicit, syntax.little_endian
    if not syntax.little_endian:
        dataset = copy.deepcopy(dataset)
        dataset.walk(_swap_words)
    write_dataset(out, dataset)
    return out.getvalue()


def _swap_words(_: pydicom.Dataset, one: pydicom.DataElement) -> None:
    width = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}.get(one.VR)
    if width:
        words = [one.value[at : at + width] for at in range(0, len(one.value), width)]
        one.value = b"".join(word[::-1] for word in words)


def head(tag: int, vr: str, length: int, syntax: TransferSyntax = ELE) -> bytes:
    """The head of an element; an item's or delimiter's with vr ""."""
    order = "<" if syntax.little_endian else ">"
    words = (tag >> 16, tag & 0xFFFF)
    if not syntax.explicit or not vr:
        return struct.pack(order + "HHI", *words, length)
    if vr in ("OB", "OW", "SQ", "UN", "UT"):
        return struct.pack(order + "HH2sHI", *words, vr.encode(), 0, length)
    return struct.pack(order + "HH2sH", *words, vr.encode(), length)


def element(tag: int, vr: str, value: bytes, syntax: TransferSyntax = ELE) -> bytes:
    return head(tag, vr, len(value), syntax) + value


def item(content: bytes, *, undefined: bool = False, syntax: TransferSyntax = ELE) -> bytes:
    if not undefined:
        return head(0xFFFEE000, "", len(content), syntax) + content
    end = head(0xFFFEE00D, "", 0, syntax)
    return head(0xFFFEE000, "", UNDEFINED, syntax) + content + end


def sequence(
    tag: int, *items: bytes, undefined: bool = False, vr: str = "SQ", syntax: TransferSyntax = ELE
) -> bytes:
    content = b"".join(items)
    if not undefined:
        return head(tag, vr, len(content), syntax) + content
    inner = ILE if vr == "UN" else syntax
    return head(tag, vr, UNDEFINED, syntax) + content + head(0xFFFEE0DD, "", 0, inner)


def nested(depth: int, *, undefined: bool, syntax: TransferSyntax = ELE) -> bytes:
    """Sequences within each other, built from inside without quadratic cost."""
    before, after = [], []
    length = 0
    for _ in range(depth):
        if undefined:
            before.append(head(0x00400275, "SQ", UNDEFINED, syntax))
            before.append(head(0xFFFEE000, "", UNDEFINED, syntax))
            after.append(head(0xFFFEE00D, "", 0, syntax) + head(0xFFFEE0DD, "", 0, syntax))
        else:
            item_head = head(0xFFFEE000, "", length, syntax)
            sequence_head = head(0x00400275, "SQ", length + 8, syntax)
            before.append(item_head)
            before.append(sequence_head)
            length += len(item_head) + len(sequence_head)
    return b"".join(before if undefined else reversed(before)) + b"".join(after)
