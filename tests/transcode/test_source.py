"""A deflated data set, small and large."""

import mmap
import zlib
from pathlib import Path

import numpy as np
import pytest

from gateway.transcode.source import _pass_over, open_source
from gateway.transfer_syntax import DEFLATED
from tests.transcode.objects import header, save


@pytest.mark.parametrize(("side", "held"), [(64, bytes), (2048, mmap.mmap)])
def test_a_small_data_set_is_inflated_in_memory_and_a_large_one_in_a_file(
    tmp_path: Path, side: int, held: type
) -> None:
    pixels = np.random.default_rng(1).integers(0, 60, (side, side)).astype("<u2").tobytes()
    ds = header(side, side)
    ds.PixelData = pixels
    ds["PixelData"].VR = "OW"
    source = save(tmp_path / "in.dcm", ds, DEFLATED)
    opened = open_source(source, tmp_path)
    element = opened.pixel_data
    assert isinstance(opened.data, held)
    assert bytes(opened.data[element.value : element.end]) == pixels
    raw = source.read_bytes()[opened.meta.dataset_offset :]
    assert bytes(opened.data) == zlib.decompress(raw, -15)
    assert [path.name for path in tmp_path.iterdir()] == ["in.dcm"]


@pytest.mark.parametrize("group", [0x0000, 0x0002, 0x0006])
def test_an_element_of_a_group_that_no_data_set_has_is_passed_over_by_nobody(group: int) -> None:
    data = group.to_bytes(2, "little") + b"\x01\x00UL\x04\x00\x04\x00\x00\x00" + bytes(64)
    assert _pass_over(data, 0, len(data), []) == 0
