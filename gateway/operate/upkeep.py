"""What is looked after beside the work: retention, the clock, the disk, what a person changed.

Chores outlive whatever goes wrong in them: a gateway that no longer tidies up fills its disk.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime, timedelta

from gateway import telemetry
from gateway.failures import Failure
from gateway.spool import Spool

MINUTE = timedelta(minutes=1)
LOOK_EVERY = timedelta(seconds=1)


class Upkeep:
    """The chores of a gateway.

    ``anew`` makes all lanes end their rest and read the ledger, ``due`` only has them look.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        anew: Callable[[], None],
        due: Callable[[], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._spool = spool
        self._anew = anew
        self._due = due
        self._clock = clock
        self._changes: int | None = None

    def start(self) -> list[asyncio.Task[None]]:
        """One task for each chore, to be cancelled by the caller."""
        chores = (
            ("notice what was changed by hand", LOOK_EVERY, self.notice_changes_by_hand),
            ("let go what is complete", LOOK_EVERY, self.let_go),
            ("look at the clock", MINUTE, self.mind_the_clock),
            ("probe the disk", MINUTE, self.mind_the_disk),
            ("remove what is over its time", MINUTE, self.tidy),
        )
        return [
            asyncio.create_task(repeat(what, every, chore), name=what)
            for what, every, chore in chores
        ]

    async def notice_changes_by_hand(self) -> None:
        """Let a retry, hold or drop from the shell have its effect at once.

        The first look only learns how many changes there were before.
        """
        found = await self._spool.changes_by_hand()
        if self._changes is not None and found != self._changes:
            self._anew()
        self._changes = found

    async def let_go(self) -> None:
        """Have series and studies delivered of which nothing came for long enough."""
        if await self._spool.let_go(self._clock()):
            self._due()

    async def mind_the_clock(self) -> None:
        """Where the clock was set back, nobody waits until it has caught up."""
        count = await self._spool.bring_forward(self._clock())
        if count:
            telemetry.alarm("the clock was set back: what was put off is due now", count=count)
            self._anew()

    async def mind_the_disk(self) -> None:
        """Find out whether a disk that has failed can be believed again."""
        if self._spool.broken:
            await self._spool.probe()

    async def tidy(self) -> None:
        """Retention."""
        gone = await self._spool.tidy(self._clock())
        if gone.instances or gone.derived or gone.orphans:
            telemetry.note(
                "removed from the spool",
                instances=gone.instances,
                derived=gone.derived,
                orphans=gone.orphans,
            )

    async def tell_what_nobody_delivers(
        self, nodes: Collection[str], routes: Collection[str]
    ) -> None:
        """Alarm for deliveries whose node or route the configuration does not have any more."""
        strangers: dict[str, int] = {}
        strays: dict[str, tuple[int, set[str]]] = {}
        for owed, count in (await self._spool.owed()).items():
            if owed.destination not in nodes:
                strangers[owed.destination] = strangers.get(owed.destination, 0) + count
            elif owed.route not in routes:
                so_far, names = strays.get(owed.route, (0, set()))
                strays[owed.route] = so_far + count, names | {owed.destination}
        for name, count in sorted(strangers.items()):
            telemetry.alarm(
                "deliveries are owed to a node that is not in the configuration",
                destination=name,
                owed=count,
                do=f"restore the node; or see them by dicom-gateway queue list --destination"
                f" {name}, and give them up by queue drop --destination {name}",
            )
        for name, (count, names) in sorted(strays.items()):
            telemetry.alarm(
                "deliveries are owed by a route that is not in the configuration",
                route=name,
                owed=count,
                destinations=" ".join(sorted(names)),
                do="they go out with the default settings of a route; restore the route, or"
                " see queue list --destination and hold or drop them",
            )


async def repeat(what: str, every: timedelta, chore: Callable[[], Awaitable[None]]) -> None:
    """Do a chore for ever. What goes wrong is said once per kind until it goes well again."""
    said: set[tuple[type, object]] = set()
    while True:
        try:
            await chore()
        except Exception as error:  # noqa: BLE001 - one bad day must not end it
            kind = type(error), getattr(error, "errno", None)
            if kind not in said:
                said.add(kind)
                _tell(what, error)
        else:
            said.clear()
        await asyncio.sleep(every.total_seconds())


def _tell(what: str, error: Exception) -> None:
    if isinstance(error, Failure | OSError):
        telemetry.alarm(f"cannot {what}", reason=str(error))
    else:
        telemetry.bug(f"cannot {what}", error)
