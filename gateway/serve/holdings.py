"""What this gateway itself holds, found by the index and told by the ledger.

A single instance needs no index: the ledger finds it, mostly without a look at the disk.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Final, Protocol

from gateway.index import Index
from gateway.model import UID, Instance

_FIRST_PAGE: Final = 16
_PAGE: Final = 500
"""Instances that the ledger is asked for at once: few at first, so that an answer begins soon."""


class Ledger(Protocol):
    """Tells of instances by their spool ids; ``spool.Spool`` does."""

    async def instances(self, spool_ids: Sequence[int]) -> list[Instance]:
        """Those that are still kept, in the order that was asked for."""
        ...

    async def instance(self, study: UID, series: UID, sop: UID) -> Instance | None:
        """As ``Holdings.instance``."""
        ...


class LocalHoldings:
    """The instances in the spool."""

    def __init__(self, index: Index, ledger: Ledger) -> None:
        self._index = index
        self._ledger = ledger

    async def instances(
        self, study: UID, series: UID = "", sop: UID = ""
    ) -> AsyncIterator[Instance]:
        """As ``Holdings.instances``: by series, Instance Number, and arrival."""
        if sop:
            if (one := await self._ledger.instance(study, series, sop)) is not None:
                yield one
            return
        spool_ids = await self._index.spool_ids(study, series)
        start, size = 0, _FIRST_PAGE
        while start < len(spool_ids):
            for instance in await self._ledger.instances(spool_ids[start : start + size]):
                yield instance
            start, size = start + size, min(4 * size, _PAGE)

    async def instance(self, study: UID, series: UID, sop: UID) -> Instance | None:
        """As ``Holdings.instance``."""
        return await self._ledger.instance(study, series, sop)

    async def sample(self, study: UID, series: UID, most: int) -> Sequence[Instance]:
        """As ``Holdings.sample``: the middle of each series."""
        return await self._ledger.instances(await self._index.sample(study, series, most))

    async def version(self, study: UID, series: UID) -> str:
        """As ``Holdings.version``.

        Spool ids may be given again only where all that came later are gone, so when the latest
        was received tells for all of them.
        """
        spool_ids = await self._index.spool_ids(study, series)
        latest = await self._ledger.instances([max(spool_ids)]) if spool_ids else []
        ids = hashlib.sha256(b"".join(b"%d " % each for each in spool_ids)).hexdigest()
        return f"{ids} {latest[0].received_at.isoformat()}" if latest else ""
