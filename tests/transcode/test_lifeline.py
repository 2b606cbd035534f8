"""Workers end with the gateway, wherever they are."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.peers import until

REPOSITORY = Path(__file__).parents[2]
_GATEWAY = """
import asyncio, sys
from tests.transcode import misbehaving
from gateway.transcode.pool import TranscodePool

async def main():
    pool = TranscodePool(1, seconds=600)
    await pool._run(misbehaving.hang, sys.argv[1])

asyncio.run(main())
"""


def gone(pid: int) -> bool:
    """No such process, or one that nobody has buried yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def test_a_worker_that_hangs_does_not_outlive_a_gateway_that_is_killed(tmp_path: Path) -> None:
    said = tmp_path / "worker"
    command = [sys.executable, "-c", _GATEWAY, str(said)]
    with subprocess.Popen(command, cwd=REPOSITORY) as gateway:
        try:
            until(lambda: said.exists() and said.read_text() != "", "a worker that hangs", 20.0)
            worker = int(said.read_text())
            assert not gone(worker)
        finally:
            os.kill(gateway.pid, signal.SIGKILL)
    until(lambda: gone(worker), "the end of the worker", 20.0)
