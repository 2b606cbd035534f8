"""The result's file: room that is set aside, and what is told where there is none."""

import ctypes
import errno
import os
from pathlib import Path

import pytest

from gateway.failures import TemporaryFailure
from gateway.transcode import output


def refusing(number: int):
    def fallocate(*_: int) -> int:
        ctypes.set_errno(number)
        return -1

    return fallocate


def test_room_is_set_aside_and_the_file_has_only_what_was_written(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with output.written(out, 1 << 20) as descriptor:
        os.write(descriptor, b"half")
        assert os.fstat(descriptor).st_size == 4
    assert out.read_bytes() == b"half"
    assert list(tmp_path.iterdir()) == [out]


def test_a_full_disk_is_told_before_anything_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "_fallocate", refusing(errno.ENOSPC))
    with pytest.raises(TemporaryFailure, match="No space left"), output.written(tmp_path / "o", 9):
        pytest.fail("decoded all the same")
    assert not list(tmp_path.iterdir())


def test_a_file_system_that_sets_nothing_aside_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "_fallocate", refusing(errno.EOPNOTSUPP))
    with output.written(tmp_path / "out", 9) as descriptor:
        os.write(descriptor, b"as usual")
    assert (tmp_path / "out").read_bytes() == b"as usual"
