"""JPEG processes without a decoder of a permissive licence: sent as stored, or held."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from gateway.failures import PermanentFailure
from gateway.transcode.choose import choose_target
from gateway.transcode.instance import transcode
from gateway.transcode.matrix import proven
from gateway.transcode.survey import survey
from tests.transcode.objects import EXPLICIT_LE, IMPLICIT_LE, encapsulated, header

UNDECODED = [f"1.2.840.10008.1.2.4.{number}" for number in (58, *range(59, 67))]
IMAGE = np.arange(16 * 24, dtype="u1").reshape(16, 24)
BITS = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}


def lossless_arithmetic() -> bytes:
    """The frame header of process 15 before other bytes."""
    stream = bytes(imagecodecs.jpeg8_encode(IMAGE, lossless=True))
    return stream.replace(b"\xff\xc3", b"\xff\xcb", 1)


def hierarchical() -> bytes:
    """A sequential frame of the whole size, which another one would refine."""
    stream = bytes(imagecodecs.jpeg8_encode(IMAGE))
    return stream[:2] + b"\xff\xde\0\x0b\x08\0\x10\0\x18\1\1\x11\0" + stream[2:]


@pytest.mark.parametrize("syntax", UNDECODED)
def test_they_go_as_stored_where_that_is_accepted_and_else_have_a_reason(
    syntax: str, tmp_path: Path
) -> None:
    assert choose_target(syntax, [syntax, IMPLICIT_LE]) == syntax
    assert choose_target(syntax, [IMPLICIT_LE]) == IMPLICIT_LE
    lossless = syntax.endswith(".58")
    stream = lossless_arithmetic() if lossless else hierarchical()
    source = encapsulated(tmp_path / "in.dcm", header(16, 24, **BITS), syntax, [stream])
    said = "lossless, arithmetic coding" if lossless else "hierarchical"
    with pytest.raises(PermanentFailure, match=f"JPEG {said}: no decoder is at hand"):
        transcode(source, IMPLICIT_LE, tmp_path / "out.dcm")


@pytest.mark.parametrize("syntax", UNDECODED)
def test_a_process_that_is_decoded_is_so_under_their_labels_too(
    syntax: str, tmp_path: Path
) -> None:
    stream = bytes(imagecodecs.jpeg8_encode(IMAGE, lossless=True))
    source = encapsulated(tmp_path / "in.dcm", header(16, 24, **BITS), syntax, [stream])
    transcode(source, EXPLICIT_LE, tmp_path / "out.dcm")
    assert (tmp_path / "out.dcm").read_bytes().endswith(IMAGE.tobytes())


def test_the_matrix_says_how_they_are_treated() -> None:
    notes = {row.uid: row.note for row in survey(proven())}
    said = "no decoder of a permissive licence: sent as stored where accepted, else held"
    assert {uid for uid, note in notes.items() if note == said} == set(UNDECODED)
