"""Questions to the ledger, asked in threads of their own so that the event loop never waits."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from gateway.failures import TemporaryFailure
from gateway.spool.schema import LEDGER, connect

T = TypeVar("T")


class Reader:
    """One thread with one read-only connection."""

    def __init__(self, root: Path, name: str) -> None:
        self._ledger = root / LEDGER
        self._connection = connect(self._ledger, "ro")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def ask(self, question: Callable[..., T], *facts: Any) -> T:
        """``question(connection, *facts)``. Raises TemporaryFailure when it cannot be read."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, question, self._connection, *facts)
        except sqlite3.Error as error:
            raise TemporaryFailure(f"cannot read the ledger {self._ledger}: {error}") from error

    async def work(self, task: Callable[..., T], *facts: Any) -> T:
        """``task(*facts)`` in the same thread, for what is slow but needs no connection."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, task, *facts)

    def close(self) -> None:
        """Finish what was asked, then close. Blocks."""
        self._thread.shutdown(wait=True)
        self._connection.close()
