"""An instance that kills the whole gateway when it is decoded: tried, passed on, held. No loop."""

import asyncio
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from gateway.model import Owed
from gateway.spool import Queue, QueueRow, Spool
from tests.crash.poison import POISON
from tests.spool.arrivals import arriving
from tests.transcode.objects import JPEG_LS, encapsulated, header

pytestmark = pytest.mark.crash
REPOSITORY = Path(__file__).parents[2]
WHY = "3 times the gateway ended while this instance was being"


def now() -> datetime:
    return datetime.now(UTC)


async def arrive(folder: Path, firsts: list[int]) -> None:
    """Instances owed to the viewer, the first sample of each as given."""
    spool = Spool.open(folder / "spool", clock=now, refuse_below_free=0)
    for number, first in enumerate(firsts):
        image = np.full((16, 16), 100, "<u2")
        image[0, 0] = first
        stream = bytes(imagecodecs.jpegls_encode(image))
        file = encapsulated(folder / "in.dcm", header(16, 16), JPEG_LS, [stream])
        with spool.create() as part:
            part.write(file.read_bytes())
            given = arriving(f"1.2.{number}", received_at=now(), size=part.size)
            known = {name: getattr(given, name) for name in given.__slots__}
            instance = type(given)(**{**known, "transfer_syntax": JPEG_LS})
            await spool.commit(part, instance, [Owed("viewer", "route")])
    await spool.aclose()


def run(folder: Path, *decoders: str) -> bool:
    """Start the gateway once; whether it lived to deliver or hold everything."""
    command = [sys.executable, "-m", "tests.crash.poison", str(folder), *decoders]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert ended.returncode in (0, -signal.SIGKILL), ended.stderr[-2000:]
    return ended.returncode == 0


def outcome(folder: Path) -> tuple[list[str], list[QueueRow]]:
    """The decoders that tried the poisonous instance, in order, and the ledger's rows."""
    with Queue(folder / "spool", clock=now) as queue:
        return (folder / "tries").read_text().split(), list(queue.list())


@pytest.mark.parametrize(
    ("decoders", "lives", "tries", "state"),
    [
        (("kills", "decodes"), [False, True], [1, 2], "delivered"),
        (("kills", "kills"), [False, False, False, True], [1, 2, 1], "held"),
    ],
    ids=["the next decoder can", "no decoder can"],
)
def test_it_is_tried_with_the_next_decoder_and_held_after_the_third_end(
    tmp_path: Path, decoders: tuple[str, ...], lives: list[bool], tries: list[int], state: str
) -> None:
    asyncio.run(arrive(tmp_path, [POISON]))
    assert [run(tmp_path, *decoders) for _ in lives] == lives
    tried, (row,) = outcome(tmp_path)
    assert tried == [f"decoder-{number}" for number in tries]
    assert row.state == state
    with Queue(tmp_path / "spool", clock=now) as queue:
        made = [each.passport for each in queue.passports("1.2.0")]
    assert [each.decoder for each in made] == ["decoder-2"] * (state == "delivered")
    assert all(len(each.native_digest) == 64 for each in made)
    if state == "held":
        assert row.reason.startswith(WHY)


def test_with_one_decoder_it_is_tried_thrice_and_those_beside_it_are_delivered(
    tmp_path: Path,
) -> None:
    asyncio.run(arrive(tmp_path, [1, 2, POISON, 4, 5]))
    lives = 0
    while not run(tmp_path, "kills"):
        lives += 1
        assert lives <= 3
    tried, rows = outcome(tmp_path)
    assert tried == ["decoder-1"] * 3
    assert [row.state for row in rows] == [
        "delivered", "delivered", "held", "delivered", "delivered",
    ]  # fmt: skip
    assert rows[2].reason.startswith(WHY)
