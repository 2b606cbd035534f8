"""The face of the spool: take in, keep, hand out what is due, record what became of it."""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Self

from gateway import telemetry
from gateway.failures import TemporaryFailure
from gateway.model import UID, Arriving, Delivery, Instance, Order, Owed, Passport, Verdict
from gateway.spool import gathering, passports, queries
from gateway.spool.commit import Committer
from gateway.spool.disk import Disk, describe
from gateway.spool.due import due, next_due_at
from gateway.spool.files import Files, Part
from gateway.spool.latest import Latest
from gateway.spool.ledger import (
    Ledger,
    bringing_forward,
    missing,
    putting_off,
    reconsidering,
    settling,
)
from gateway.spool.readers import Reader
from gateway.spool.rows import Counts, instance_at, instance_values
from gateway.spool.schema import LEDGER, connect, prepare
from gateway.spool.sweep import (
    Tidied,
    check_ledger_is_there,
    remove_derived,
    remove_files,
    remove_orphans,
    sweep,
)

_CHUNK = 100
LENT = "as-received"
"""The key of what is lent: a second name among the derived files."""
DERIVED_KEEP = timedelta(hours=1)
"""For how long after its last use a derived file stays that nobody is owed."""


class Spool:
    """Instances and what is owed, on one disk, held by one process.

    What a person sees of it and changes in it goes through a ``Queue``.
    Everything is called from one event loop; what blocks runs in the spool's own threads. Failures
    are TemporaryFailure unless said otherwise.
    """

    def __init__(
        self,
        files: Files,
        disk: Disk,
        ledger: Ledger,
        *,
        due: Reader,
        view: Reader,
        clock: Callable[[], datetime],
        keep: timedelta | None,
        longest_retry: timedelta,
        suspects: set[int],
    ) -> None:
        """Use ``Spool.open``."""
        self._files = files
        self._disk = disk
        self._ledger = ledger
        self._due = due
        self._view = view
        self._latest = Latest(view, files.file_of)
        self._clock = clock
        self.keep = keep
        """How long finished instances stay, None for ever; may be changed."""
        self.longest_retry = longest_retry
        """No delivery is put off for longer; grows where a new configuration waits longer."""
        self._suspects = suspects
        self.tell_removed: Callable[[Sequence[int]], None] = _nobody
        """Is told the spool ids of instances that retention has removed."""
        self._committer = Committer(ledger, disk)
        self._committer.start()

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        clock: Callable[[], datetime],
        refuse_below_free: int = 5 << 30,
        keep: timedelta | None = timedelta(days=7),
        longest_retry: timedelta = timedelta(days=1),
    ) -> Self:
        """Open or create a spool, and put aside what nobody was told of. Blocks.

        ``refuse_below_free`` is in bytes; finished instances stay for ``keep`` (None: for ever);
        no delivery is put off for longer than ``longest_retry``.
        Raises TemporaryFailure when another gateway has it or the disk refuses, PermanentFailure
        when a newer gateway has written it, or when there are images and no ledger.
        """
        now = clock()
        disk = Disk(path, refuse_below_free)
        files = Files(path, disk)
        with ExitStack() as undo:
            undo.callback(files.close)
            try:
                files.open()
                ledger, suspects = _open_ledger(files, now, undo)
                ledger.run([bringing_forward(now, now + longest_retry), reconsidering(now)])
                due = undo.enter_context(closing(Reader(path, "spool-due")))
                view = undo.enter_context(closing(Reader(path, "spool-view")))
            except OSError as error:
                where = error.filename or path
                raise TemporaryFailure(f"cannot open {where}: {describe(error)}") from error
            except sqlite3.Error as error:
                raise TemporaryFailure(f"cannot open the ledger in {path}: {error}") from error
            undo.pop_all()
        return cls(
            files,
            disk,
            ledger,
            due=due,
            view=view,
            clock=clock,
            keep=keep,
            longest_retry=longest_retry,
            suspects=suspects,
        )

    @property
    def broken(self) -> str:
        """Why nothing is taken in: what failed on the disk; "" while it is sound."""
        return self._disk.broken

    def create(self) -> Part:
        """A new part to write an arriving instance into.

        Raises TemporaryFailure below the watermark, and after a failed write or sync until a
        probe has succeeded (each refusal asks for one).
        """
        self.check_taking()
        return self._files.create()

    def check_taking(self) -> None:
        """Raise TemporaryFailure when nothing can be taken in now, as ``create`` does."""
        self._committer.check_open()
        if self._disk.broken:
            self._committer.probe()
            raise TemporaryFailure(f"the spool's disk has failed: {self._disk.broken}")
        self._disk.check_room()

    def check_room(self, share: float = 1.0) -> None:
        """Raise TemporaryFailure when less is free than ``share`` of the watermark."""
        self._disk.check_room(share)

    async def probe(self) -> bool:
        """Write, sync and delete a small file; True when instances can be taken in again."""
        return bool(await asyncio.shield(self._committer.probe()))

    async def commit(self, part: Part, arriving: Arriving, owed: Sequence[Owed]) -> Instance:
        """Keep an instance, and that it is owed; on return both would survive a power cut.

        The part is consumed. When the caller is cancelled meanwhile the instance may be kept all
        the same: the peer, unanswered, sends a duplicate. Raises TemporaryFailure: nothing kept.
        """
        self._committer.check_open()
        file = self._files.file_of(part.spool_id)
        instance = instance_at(arriving, part.spool_id, part.size, part.digest, file)
        values = instance_values(instance)
        kept = partial(self._latest.kept, instance)
        await self._committer.keep(part, os.fspath(file), values, owed, kept)
        return instance

    def lend(self, part: Part, arriving: Arriving) -> Instance | None:
        """An instance to be read before it is kept, under a name that outlives the part's.

        It is not durable, and no promise may rest on it. None where it cannot be given a name.
        """
        instance = instance_at(arriving, part.spool_id, part.size, part.digest, part.path)
        try:
            path = self._files.derived_path(instance, LENT)
            path.hardlink_to(part.path)
        except (OSError, TemporaryFailure):
            return None
        return replace(instance, file=path)

    async def due(
        self,
        destination: str,
        *,
        limit: int,
        now: datetime,
        exclude: Collection[int] = (),
        order: Order | None = None,
    ) -> list[Delivery]:
        """Deliveries owed and due, in their order; ``exclude`` are the ids in flight."""
        file_of, without = self._files.file_of, frozenset(exclude)
        in_order = order or Order()
        return await self._due.ask(due, destination, limit, now, without, file_of, in_order)

    async def next_due_at(
        self, destination: str, *, exclude: Collection[int] = ()
    ) -> datetime | None:
        """When the next delivery that is not in flight falls due; None when none is owed."""
        return await self._due.ask(next_due_at, destination, frozenset(exclude))

    async def settle(self, delivery: Delivery, verdict: Verdict) -> None:
        """Record what became of one try, durably.

        What a person has dropped stays dropped, and what a person holds is not put off; a
        destination's confirmation of a held delivery is recorded.
        """
        await self._committer.change(settling(delivery.delivery_id, verdict, self._clock()))

    async def bring_forward(self, now: datetime) -> int:
        """Make due what is put off further than any retry is: the clock was set back since.

        Returns how many deliveries.
        """
        after = now + self.longest_retry
        if not await self._view.ask(queries.is_owed_after, after):
            return 0
        return await self._committer.change(bringing_forward(now, after))

    async def put_off(self, deliveries: Sequence[Delivery], until: datetime) -> None:
        """Make these due later, though they were not tried; what a person has changed stays."""
        ids = [each.delivery_id for each in deliveries]
        await self._committer.change(putting_off(ids, until))

    async def reconsider(self, now: datetime) -> int:
        """Make due what was put off without a try: the hours of its route may have changed.

        Returns how many deliveries.
        """
        return await self._committer.change(reconsidering(now))

    async def let_go(self, now: datetime) -> int:
        """Make due what was gathered and is complete; returns how many deliveries."""
        if not await self._view.ask(gathering.is_complete, now):
            return 0
        return await self._committer.change(lambda connection: gathering.let_go(connection, now))

    async def instances(self, spool_ids: Sequence[int]) -> list[Instance]:
        """Those of these instances that are kept, in the order of the ids."""
        return await self._view.ask(queries.instances, spool_ids, self._files.file_of)

    async def instance(self, study: UID, series: UID, sop: UID) -> Instance | None:
        """That instance as it was received last, None where it is not of that study and series.

        ``series`` "" is any.
        """
        return await self._latest.find(study, series, sop)

    @property
    def ledger(self) -> Path:
        """The ledger's file, for what is derived from it to be compared with."""
        return self._files.root / LEDGER

    def file_of(self, spool_id: int) -> Path:
        """Where the file of a kept instance is."""
        return self._files.file_of(spool_id)

    def record(self, instance: Instance, key: str, passport: Passport) -> None:
        """Keep how a derived file was made, with the next transaction that there is."""
        now = self._clock()
        self._committer.ride(
            lambda connection: passports.record(connection, instance.spool_id, key, passport, now)
        )

    def amend(self, instance: Instance, key: str, passport: Passport) -> None:
        """Put what is known by now in the passport that a derived file has, as ``record``."""
        self._committer.ride(
            lambda connection: passports.amend(connection, instance.spool_id, key, passport)
        )

    async def interruptions(self, instance: Instance, key: str) -> int:
        """How often a gateway ended, killed, while it made this derived file."""
        if instance.spool_id not in self._suspects:
            return 0
        return await self._view.ask(passports.interruptions, instance.spool_id, key)

    async def owed(self) -> dict[Owed, int]:
        """How many deliveries are owed to each destination by each route."""
        return await self._view.ask(queries.owed)

    async def changes_by_hand(self) -> int:
        """A number that grows with each change that a ``Queue`` beside this process has made."""
        return await self._view.ask(queries.changes_by_hand)

    async def counts(self) -> Counts:
        """The ledger in numbers."""
        return await self._view.ask(queries.counts)

    def derived_path(self, instance: Instance, key: str) -> Path:
        """Where the transcode of an instance named ``key`` is kept; its folder exists.

        ``key`` is a transfer syntax UID with an optional suffix of letters, digits and ``._+-``;
        ValueError otherwise. The file may be gone at any time when no delivery is owed, and after
        a restart: write it beside it, under its name and ``.tmp``, and rename it. What still ends
        in that at the next start was being made when the gateway ended, and is counted.
        """
        return self._files.derived_path(instance, key)

    def refuse_below(self, free: int) -> None:
        """From now on take nothing in while less than so many bytes are free."""
        self._disk.refuse_below_free = free

    async def tidy(self, now: datetime) -> Tidied:
        """Remove what is finished, or was set aside, for longer than ``keep``, and derived files
        that nobody is owed and nobody has used for an hour; where the disk is short, at once.

        The row goes first and durably, then the file. What is owed or held is never touched.
        """
        instances = orphans = 0
        if self.keep is not None:
            instances = await self._tidy_instances(now - self.keep)
            orphans = await self._view.work(remove_orphans, self._files, now - self.keep)
        before, short = now - DERIVED_KEEP, not self._disk.has_room()
        derived = await self._view.ask(remove_derived, self._files, before, short)
        return Tidied(instances=instances, derived=derived, orphans=orphans)

    async def remove(self, spool_ids: Sequence[int]) -> int:
        """Remove instances now, but for those that are owed or held; returns how many went."""
        at_once = self._clock() + timedelta(days=1)
        removed = await self._forget(spool_ids, at_once)
        self.tell_removed(await self._view.ask(remove_files, self._files, sorted(spool_ids)))
        return removed

    async def _tidy_instances(self, before: datetime) -> int:
        first = removed = 0
        last = self._files.next_id
        while ids := await self._view.ask(queries.finished, before, first, last, _CHUNK):
            removed += await self._forget(ids, before)
            gone = await self._view.ask(remove_files, self._files, ids)
            self.tell_removed(gone)
            first = ids[-1] + 1
        if removed:
            await self._view.work(self._files.remove_empty_folders)
        return removed

    def _forget(self, spool_ids: Sequence[int], before: datetime) -> asyncio.Future[int]:
        gone = partial(self._latest.gone, spool_ids)
        return self._committer.change(self._ledger.forgetting(spool_ids, before), gone)

    async def aclose(self) -> None:
        """Finish what was handed over, then close and let another process have the spool."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._committer.close()
        for part in (self._due, self._view, self._ledger, self._files):
            part.close()


def _nobody(_: Sequence[int]) -> None:
    """Nobody has asked to be told."""


def _open_ledger(files: Files, now: datetime, undo: ExitStack) -> tuple[Ledger, set[int]]:
    """Migrate, sweep, and hold what is owed of files that have vanished.

    Decodes that were interrupted are counted before their traces are removed; the instances of
    which there ever were any are returned.
    """
    check_ledger_is_there(files)
    prepare(files.root)
    ledger = Ledger(files.root)
    undo.callback(ledger.close)
    unfinished = files.interrupted()
    ledger.run([lambda connection: passports.count_interrupted(connection, unfinished)])
    files.empty_derived()
    with closing(connect(files.root / LEDGER, "ro")) as connection:
        swept = sweep(files, connection, now)
        suspects = passports.all_interrupted(connection)
    files.next_id = max(swept.next_id, ledger.next_spool_id)
    held = sum(ledger.run([missing(lost, files.file_of(lost)) for lost in swept.missing]))
    if held:
        telemetry.alarm("spool files are missing", spool=str(files.root), deliveries_held=held)
    if swept.orphans:
        telemetry.alarm(
            "images without a row in the ledger are set aside",
            count=swept.orphans,
            folder=str(files.orphans),
            do="after a crash: nothing, their senders had no answer and send them again; after an "
            "older ledger was restored: send these files to the gateway again",
        )
    telemetry.note(
        "spool opened",
        spool=str(files.root),
        parts_swept=swept.parts,
        decodes_interrupted=len(unfinished),
    )
    return ledger, suspects
