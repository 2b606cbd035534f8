"""A small process that keeps instances and says so: what the crash tests kill and mislead.

``keeper.py FOLDER INSTANCES AT_ONCE [BROKEN]`` opens the spool FOLDER, says "ready", waits for a
line, then keeps INSTANCES instances, AT_ONCE at a time. Each kept one is answered by one line
``kept UID CONTENT``, each refused one by ``refused UID REASON``. BROKEN leaves one sync out, so
that the checker of the order can be seen to fail: file, folder or ledger.
"""

import asyncio
import ctypes
import os
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import structlog

from gateway.failures import TemporaryFailure
from gateway.spool import Spool, commit, schema
from tests.spool.arrivals import arriving, owed_to

_PR_SET_PTRACER = 0x59616D61


def say(line: str) -> None:
    """One line, one write call: it cannot be torn by a kill."""
    os.write(1, f"{line}\n".encode())


async def keep(spool: Spool, number: int) -> None:
    """Keep one instance, asking again while the disk is being probed."""
    uid, content = f"1.2.{os.getpid()}.{number}", f"content-{number}-" + "x" * 3000
    try:
        with suppress(TemporaryFailure):
            if spool.broken:
                await spool.probe()
        with spool.create() as part:
            part.write(content.encode())
            instance = arriving(uid, received_at=datetime.now(UTC))
            await spool.commit(part, instance, owed_to("pacs", "viewer"))
    except TemporaryFailure as failure:
        say(f"refused {uid} {failure}")
    else:
        say(f"kept {uid} {content}")


async def main(folder: Path, instances: int, at_once: int) -> None:
    """Keep them all, in groups of ``at_once``."""
    spool = Spool.open(folder, clock=lambda: datetime.now(UTC), refuse_below_free=0)
    say("ready")
    sys.stdin.readline()
    for first in range(0, instances, at_once):
        await asyncio.gather(*(keep(spool, first + step) for step in range(at_once)))
    say("done")
    sys.stdin.readline()
    await spool.aclose()


def leave_out(sync: str) -> None:
    """Break the order on purpose."""
    if sync == "file":
        commit.Committer._sync_file = lambda _self, _keep: None
    elif sync == "folder":
        commit.sync_folder = lambda _folder: None
    elif sync == "ledger":
        connect = schema.connect

        def careless(*facts):
            connection = connect(*facts)
            connection.execute("PRAGMA synchronous = NORMAL")
            return connection

        sys.modules["gateway.spool.ledger"].connect = careless


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
    leave_out(sys.argv[4] if len(sys.argv) > 4 else "")
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
