"""Whether a stored file is still what was received."""

import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.failures import PermanentFailure, TemporaryFailure
from gateway.spool import Spool
from gateway.spool.digest import check_digest, digest_of
from tests.spool.arrivals import Clock, keep

CONTENT = bytes(range(256)) * 9000


@given(st.lists(st.binary(max_size=50)))
def test_the_digest_of_pieces_is_that_of_the_whole(pieces: list[bytes]) -> None:
    found = 0
    for piece in pieces:
        found = digest_of(memoryview(piece), found)
    assert found == digest_of(b"".join(pieces)) == zlib.crc32(b"".join(pieces))


def test_the_file_that_was_received_passes_and_each_damage_is_found(tmp_path: Path) -> None:
    file = tmp_path / "7.dcm"
    file.write_bytes(CONTENT)
    digest = digest_of(CONTENT)
    check_digest(file, digest)
    flipped = bytearray(CONTENT)
    flipped[len(CONTENT) // 2] ^= 1
    for damaged in (flipped, CONTENT[:-1], CONTENT + b"\0", b""):
        file.write_bytes(damaged)
        with pytest.raises(PermanentFailure, match=r"file 7\.dcm is damaged"):
            check_digest(file, digest)
    file.unlink()
    with pytest.raises(PermanentFailure, match="is missing"):
        check_digest(file, digest)
    file.mkdir()
    with pytest.raises(TemporaryFailure, match="cannot be read"):
        check_digest(file, digest)


async def test_the_ledger_keeps_the_digest_of_what_was_written(
    tmp_path: Path, clock: Clock
) -> None:
    spool = Spool.open(tmp_path, clock=clock, refuse_below_free=0)
    kept = await keep(spool, "1.2.3", "pacs", content=CONTENT)
    (delivery,) = await spool.due("pacs", limit=1, now=clock())
    await spool.aclose()
    assert delivery.instance.digest == kept.digest == digest_of(CONTENT)
