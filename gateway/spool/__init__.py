"""The spool: instances as files, and the ledger of what is owed to whom.

An instance is *kept* when it would survive the loss of power, and not a moment earlier. The
order in which ``commit`` works is the whole argument:

1. the bytes are in ``<spool_id>.part`` and ``fdatasync`` has returned: the content is on the disk;
2. ``rename`` to ``<spool_id>.dcm``: a name without ``.part`` never stands for unsynced content;
3. ``fsync`` of the folder has returned: the name is on the disk;
4. one ledger transaction, WAL with ``synchronous=FULL``, holds the instance and every delivery
   that it is owed: its ``fdatasync`` is the instant from which the instance is kept;
5. only then does ``commit`` return, and the peer is answered.

A crash before 3 leaves a ``.part``, which ``Spool.open`` deletes; one before 4 may leave a file
without a row. Both were never acknowledged, and the peer sends them again. A crash between 4 and
5 leaves an instance that the peer sends once more: a duplicate, which is a new instance beside
the first and harmless. There is no third case, since a row is never written before its file and
its name are safe, and retention deletes the row first and the file afterwards.

That argument holds as long as the ledger is the one that was written beside the files. After a
restore or a repair it may be older, or gone, and then a file without a row may be an acknowledged
image. So no start ever deletes a ``.dcm``: without a row it is moved to ``orphans``, under its
name and with an alarm, where retention takes it ``keep`` later; and where there are images but
no ledger at all the spool is not opened.

Instances that wait together share one folder ``fsync`` and one transaction (group commit); each
file is synced by itself, so a file that fails fails alone.

A write or sync that failed is never repeated on the same descriptor, because the kernel may have
dropped the dirty pages and would then report success: the file is given up, the ledger's
connection is opened anew, and nothing is taken in before a probe was written and synced. When
the ledger's own COMMIT fails its frames may still be in the log and be replayed after a crash, so
the instance files stay until a later transaction has overwritten those frames.

The ledger is the queue: *due* is a query, *deferred* a date, *held* a state. A delivery is in
exactly one of four states, and ``delivered`` and ``dropped`` are final::

    owed --Delivered--> delivered          owed --Deferred--> owed, later
    owed --Rejected---> held --a person--> owed or dropped

Derived files (transcode results) are a cache: unsynced, emptied at start, tidied away. One that
stands half-made at start tells of a decode that the last gateway did not survive: that is counted
in the ledger before the cache is emptied, so that no instance can bring the gateway down for ever.
"""

from gateway.spool.files import Part
from gateway.spool.passports import PassportRow
from gateway.spool.queued import Queue
from gateway.spool.rows import Counts, DestinationCounts, QueueRow
from gateway.spool.spool import Spool

__all__ = ["Counts", "DestinationCounts", "Part", "PassportRow", "Queue", "QueueRow", "Spool"]
