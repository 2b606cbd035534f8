"""The instances that came last, or were asked for last, by SOP Instance UID, in memory.

A viewer asks for the instances of a series one by one, and most often for what has just come in.
What is remembered is what the ledger has: each SOP Instance as it was received last.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from gateway.model import UID, Instance
from gateway.spool.readers import Reader
from gateway.spool.rows import INSTANCE_COLUMNS, instance_of

REMEMBERED: Final = 4096
"""Instances, of some 2 kB each."""

# A reception without a study or a series hides none that can be asked for.
_LATEST: Final = (
    f"SELECT {INSTANCE_COLUMNS} FROM instance i WHERE i.sop_instance_uid = ? "  # noqa: S608
    "AND i.study_uid <> '' AND i.series_uid <> '' ORDER BY i.spool_id DESC LIMIT 1"
)


class Latest:
    """Finds instances by their UIDs: in memory, else in the ledger, in one turn of its thread.

    It has to be told of every reception and of all that goes, as soon as the ledger has it.
    """

    def __init__(self, ledger: Reader, file_of: Callable[[int], Path]) -> None:
        self._ledger, self._file_of = ledger, file_of
        self._known: OrderedDict[UID, Instance] = OrderedDict()
        self._changes = self._let_go = 0

    async def find(self, study: UID, series: UID, sop: UID) -> Instance | None:
        """The last reception of ``sop``, None where that belongs elsewhere; series "" is any.

        Raises TemporaryFailure when the ledger cannot be read.
        """
        found = self._known.get(sop)
        if found is None:
            changes = self._changes
            found = await self._ledger.ask(_latest, sop, self._file_of)
            if found is not None and changes == self._changes:
                self._remember(found)
        if found is None or study != found.study_uid or series not in ("", found.series_uid):
            return None
        return found

    def kept(self, instance: Instance) -> None:
        """This reception is in the ledger; one that began after it may have been there before."""
        self._changes += 1
        known = self._known.get(instance.sop_instance_uid)
        is_last = instance.spool_id > (self._let_go if known is None else known.spool_id)
        if is_last and instance.study_uid and instance.series_uid:
            self._remember(instance)

    def gone(self, spool_ids: Sequence[int]) -> None:
        """These may be in the ledger no more."""
        self._changes += 1
        ids = frozenset(spool_ids)
        for uid in [uid for uid, one in self._known.items() if one.spool_id in ids]:
            self._let_go_of(self._known.pop(uid))

    def _remember(self, instance: Instance) -> None:
        self._known[instance.sop_instance_uid] = instance
        self._known.move_to_end(instance.sop_instance_uid)
        if len(self._known) > REMEMBERED:
            self._let_go_of(self._known.popitem(last=False)[1])

    def _let_go_of(self, instance: Instance) -> None:
        """The ledger may have it all the same: none that began before it is the last for that."""
        self._let_go = max(self._let_go, instance.spool_id)


def _latest(
    connection: sqlite3.Connection, sop: UID, file_of: Callable[[int], Path]
) -> Instance | None:
    row = connection.execute(_LATEST, (sop,)).fetchone()
    return None if row is None else instance_of(row, file_of(row[-1]))
