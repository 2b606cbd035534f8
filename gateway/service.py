"""The composition root: builds every stage from the configuration and runs them together.

The only module that knows the order of the stages. Nothing here decides about an instance.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web

from gateway import __version__, telemetry
from gateway.config import Config, Node, Route
from gateway.deliver.pace import Pace
from gateway.deliver.policy import Destination, RoutePolicy
from gateway.deliver.scheduler import Scheduler
from gateway.deliver.store_scu import StoreScu, Target
from gateway.failures import Failure
from gateway.intake import Intake
from gateway.model import UID, Instance, Owed, Rendition
from gateway.operate.web import application
from gateway.receive.store_scp import ScpSettings, StoreScp
from gateway.route.rules import compile_rules
from gateway.spool import Spool
from gateway.transcode.pool import TranscodePool
from gateway.transfer_syntax import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE

TIDY_EVERY = timedelta(minutes=1)
LOOK_EVERY = timedelta(seconds=1)


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class Service:
    """A running gateway; ``dicom_port`` and ``web_port`` are what it listens on once started."""

    def __init__(self, config: Config, *, clock: Callable[[], datetime] = utc_now) -> None:
        self.config = config
        self.dicom_port = self.web_port = 0
        self._clock = clock
        settings = config.gateway
        self.spool = Spool.open(
            Path(settings.spool.path),
            clock=clock,
            refuse_below_free=settings.spool.refuse_below_free,
            keep=settings.spool.keep,
        )
        self._pool = TranscodePool(
            settings.transcode.workers,
            seconds=settings.transcode.timeout,
            memory=settings.transcode.memory,
        )
        self._scheduler = Scheduler(
            self.spool,
            self._pool,
            [_destination(name, node, config) for name, node in config.nodes.items()],
            {route.name: _policy(route) for route in config.routes},
            Pace(clock=clock, ahead=self._pool.workers + 2, glance=None),
        )
        rules = compile_rules(config)
        self._intake = Intake(self.spool, rules, kept=self._kept, clock=clock)
        self._scp = StoreScp(self._intake, _scp_settings(config))
        self._web: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._draining = False

    async def __aenter__(self) -> "Service":
        """Start listening and delivering. Raises ``OSError`` where a port is taken."""
        settings = self.config.gateway
        try:
            await self._listen()
        except BaseException:
            await self._close()
            raise
        telemetry.note(
            "gateway started",
            version=__version__,
            ae_title=settings.ae_title,
            dicom=f"{settings.dicom.listen.host}:{self.dicom_port}",
            web=f"{settings.web.listen.host}:{self.web_port}",
            spool=str(settings.spool.path),
            nodes=len(self.config.nodes),
            routes=len(self.config.routes),
        )
        return self

    async def warm(self) -> None:
        """Wait until the decoding workers are there; nothing else has to."""
        await self._pool.warm()

    async def __aexit__(self, *_: object) -> None:
        """Take nothing new, end what runs within the drain limit, close everything."""
        self._draining = True
        grace = self.config.gateway.drain_timeout
        telemetry.note("gateway stops", drain_s=grace)
        await self._scp.stop(grace)
        await self._scheduler.aclose(timedelta(seconds=grace))
        await self._close()
        telemetry.note("gateway stopped")

    async def _listen(self) -> None:
        listen = self.config.gateway.web.listen
        self._tasks = [
            asyncio.create_task(self._scheduler.run(), name="scheduler"),
            asyncio.create_task(self._pool.warm(), name="warm workers"),
            asyncio.create_task(self._tidy(), name="tidy"),
            asyncio.create_task(self._notice_changes_by_hand(), name="changes by hand"),
        ]
        self._web = web.AppRunner(
            application(self.spool, self._not_ready, self._clock), access_log=None
        )
        await self._web.setup()
        site = web.TCPSite(self._web, listen.host, listen.port)
        await site.start()
        self.web_port = self._web.addresses[0][1]
        dicom = self.config.gateway.dicom.listen
        self.dicom_port = await self._scp.start(dicom.host, dicom.port)

    async def _close(self) -> None:
        if self._web is not None:
            await self._web.cleanup()
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                telemetry.bug("a stage ended with an error", result)
        await self._pool.aclose()
        await self.spool.aclose()

    def _kept(self, _: Instance, owed: Sequence[Owed]) -> None:
        for each in owed:
            self._scheduler.wake(each.destination)

    def _not_ready(self) -> str:
        return "the gateway stops" if self._draining else ""

    async def _notice_changes_by_hand(self) -> None:
        """Wake all lanes, resting ones too, when ``dicom-gateway queue`` has changed something."""
        known: int | None = None
        while True:
            with contextlib.suppress(Failure):
                found = await self.spool.changes_by_hand()
                if known is not None and found != known:
                    self._scheduler.changed_by_hand()
                known = found
            await asyncio.sleep(LOOK_EVERY.total_seconds())

    async def _tidy(self) -> None:
        """Retention, for ever: a ledger that cannot be read now is tried again."""
        while True:
            await asyncio.sleep(TIDY_EVERY.total_seconds())
            with contextlib.suppress(Failure):
                await self.spool.tidy(self._clock())


def _destination(name: str, node: Node, config: Config) -> Destination:
    dimse, can_read = node.dimse, node.can_read
    readable = None if can_read.syntaxes is None else frozenset(can_read.syntaxes)
    natives: tuple[UID, ...] = (EXPLICIT_LE, IMPLICIT_LE)
    if readable is not None and EXPLICIT_BE in readable:
        natives += (EXPLICIT_BE,)
    target = Target(
        called_ae=dimse.ae_title,
        host=dimse.host,
        port=dimse.port,
        calling_ae=dimse.calling_ae or config.gateway.ae_title,
        natives=natives,
        connect_seconds=dimse.connect_timeout,
        associate_seconds=dimse.associate_timeout,
        response_seconds=dimse.response_timeout,
        max_pdu_length=config.gateway.dicom.max_pdu,
    )
    return Destination(
        name=name,
        sender=StoreScu(target),
        can_read=readable,
        rendition=Rendition(color=can_read.color, planar=can_read.planar),
        max_instance=can_read.max_instance,
        max_associations=dimse.max_associations,
    )


def _policy(route: Route) -> RoutePolicy:
    delivery = route.delivery
    give_up_after = delivery.give_up_after
    return RoutePolicy(
        change=route.pixels.change,
        if_undecodable=route.pixels.if_undecodable,
        retry_first=timedelta(seconds=delivery.retry.first),
        retry_longest=timedelta(seconds=delivery.retry.longest),
        give_up_after=None if give_up_after is None else timedelta(seconds=give_up_after),
    )


def _scp_settings(config: Config) -> ScpSettings:
    dicom = config.gateway.dicom
    return ScpSettings(
        ae_title=config.gateway.ae_title,
        check_called_ae=dicom.check_called_ae,
        accept_from=dicom.accept_from or (),
        max_pdu_length=dicom.max_pdu,
        max_associations=dicom.max_associations,
        max_associations_per_peer=dicom.max_associations_per_peer,
        artim_seconds=dicom.artim_timeout,
        idle_seconds=dicom.idle_timeout,
        message_seconds=dicom.message_timeout,
        max_object=dicom.max_instance,
    )
