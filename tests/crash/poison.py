"""A small gateway whose decoders can kill it, for ``test_poison`` only.

``python -m tests.crash.poison FOLDER FIRST [SECOND]`` opens the spool in FOLDER, delivers what is
owed to a destination in the same process, and ends when nothing is owed. FIRST and SECOND are the
decoders of JPEG-LS: "kills" ends the whole gateway over a poisonous instance, "decodes" never
does. Each try to decode that one is a line in FOLDER/tries.
"""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gateway.deliver.pace import Pace
from gateway.deliver.policy import Destination, RoutePolicy
from gateway.deliver.scheduler import Scheduler
from gateway.derivation import Derivations
from gateway.spool import Spool
from gateway.transcode import decoders
from gateway.transcode.backends import imagecodecs
from gateway.transcode.form import Coding, FrameFormat
from gateway.transcode.pool import TranscodePool
from gateway.transcode.reader import Reader
from gateway.transfer_syntax import IMPLICIT_LE
from tests.deliver.unreliable_sender import UnreliableSender

POISON = 60001
"""The first sample of an instance that kills."""


class Decoder:
    """imagecodecs, unless it is to kill."""

    requires = ""

    def __init__(self, name: str, *, kills: bool) -> None:
        self.name = name
        self._kills = kills

    def version(self) -> str:
        return "1"

    def supports(self, form: FrameFormat) -> bool:
        return True

    def decode(self, frame: Any, form: FrameFormat) -> Any:
        samples = imagecodecs.decode(frame, form)
        if int(samples.flat[0]) == POISON:
            with Path(os.environ["POISON_TRIES"]).open("a") as tries:
                tries.write(f"{self.name}\n")
            if self._kills:
                os.kill(int(os.environ["POISON_GATEWAY"]), signal.SIGKILL)
                signal.pause()
        return samples


def prepare() -> None:
    """Put the decoders that the environment names in the place of the real ones."""
    named = enumerate(os.environ["POISON_DECODERS"].split(), 1)
    decoders.ROWS[Coding.JPEG_LS] = tuple(
        Decoder(f"decoder-{number}", kills=word == "kills") for number, word in named
    )


def now() -> datetime:
    return datetime.now(UTC)


async def main(folder: Path, *words: str) -> None:
    """Deliver all that is owed."""
    os.environ["POISON_GATEWAY"] = str(os.getpid())
    os.environ["POISON_TRIES"] = str(folder / "tries")
    os.environ["POISON_DECODERS"] = " ".join(words)
    spool = Spool.open(folder / "spool", clock=now, refuse_below_free=0)
    pool = TranscodePool(2, prepare=prepare)
    viewer = Destination(Reader("viewer", can_read=frozenset({IMPLICIT_LE})), UnreliableSender())
    pace = Pace(clock=now, ahead=4, glance=timedelta(milliseconds=50))
    scheduler = Scheduler(
        spool, Derivations(spool, pool), [viewer], {"route": RoutePolicy()}, pace
    )
    running = asyncio.create_task(scheduler.run())
    while (await spool.counts()).destinations["viewer"].owed:  # noqa: ASYNC110 - the ledger's
        await asyncio.sleep(0.02)
    await scheduler.aclose(timedelta(0))
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    await pool.aclose()
    await spool.aclose()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
