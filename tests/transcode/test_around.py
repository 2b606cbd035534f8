"""What stands around Pixel Data is copied where nothing is changed, and rewritten where it is."""

from pathlib import Path

import pytest

from gateway.dataset.rewrite import rewrite
from gateway.transcode.around import data_set_part
from gateway.transcode.image_pixel import LOSSY, LOSSY_METHOD, PHOTOMETRIC, Changes, cs
from gateway.transcode.source import open_source
from gateway.transfer_syntax import BY_UID
from tests.transcode.objects import EXPLICIT_LE, header, save

_BEFORE, _INSIDE, _AFTER = 0x00200011, 0x00281050, 0x00400002


@pytest.mark.parametrize(
    "changes",
    [
        {LOSSY: cs("01")},
        {LOSSY: cs("01"), LOSSY_METHOD: cs("ISO_10918_1"), PHOTOMETRIC: cs("RGB")},
        {PHOTOMETRIC: None, LOSSY: cs("01")},
        {_AFTER: cs("A")},
        {_BEFORE: cs("A"), _INSIDE: cs("B"), _AFTER: None},
    ],
)
def test_a_change_comes_to_the_same_as_rewriting_all(tmp_path: Path, changes: Changes) -> None:
    ds = header(4, 4, WindowCenter="40", AccessionNumber="7", StudyID="S")
    ds.SpecificCharacterSet, ds.ScheduledProcedureStepStartDate = "ISO_IR 100", "20260101"
    ds.PixelData = bytes(32)
    source = open_source(save(tmp_path / "in.dcm", ds, EXPLICIT_LE), tmp_path)
    target, end = BY_UID[EXPLICIT_LE], source.pixel_data.start
    parts = data_set_part(source, source.start, end, target, changes)
    whole = rewrite(source.data, source.start, end, source.syntax, target, changes)
    assert b"".join(parts) == b"".join(whole)
