"""The composition root: builds every stage from the configuration and runs them together.

The only module that knows the order of the stages. Nothing here decides about an instance.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web

from gateway import __version__, telemetry
from gateway.config import Config, Dimse, Listen, Node, Route
from gateway.deliver.backoff import SPREAD
from gateway.deliver.pace import Pace
from gateway.deliver.policy import Destination, RoutePolicy
from gateway.deliver.scheduler import Scheduler
from gateway.deliver.store_scu import StoreScu, Target
from gateway.derivation import Derivations
from gateway.failures import Failure, TemporaryFailure
from gateway.index import Index
from gateway.intake import Intake
from gateway.model import UID, Instance, Owed, Rendition
from gateway.operate.upkeep import Upkeep
from gateway.operate.web import application
from gateway.receive.store_scp import ScpSettings, StoreScp
from gateway.route.rules import compile_rules
from gateway.serve.holdings import LocalHoldings
from gateway.serve.resources import mount
from gateway.serve.serving import ServeSettings, Serving
from gateway.spool import Spool
from gateway.transcode.pool import TranscodePool
from gateway.transfer_syntax import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE

_LAST_ANSWERS = timedelta(seconds=2)
"""How long the web server goes on with what was asked when it closes."""


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
            longest_retry=_longest_retry(config),
        )
        self._pool = TranscodePool(
            settings.transcode.workers,
            seconds=settings.transcode.timeout,
            memory=settings.transcode.memory,
        )
        self._derivations = Derivations(self.spool, self._pool)
        self._scheduler = Scheduler(
            self.spool,
            self._derivations,
            [
                _destination(name, node, node.dimse, config)
                for name, node in config.nodes.items()
                if node.dimse is not None and node.send_by == "dimse"
            ],
            {route.name: _policy(route) for route in config.routes},
            Pace(clock=clock, ahead=self._pool.workers + 2, glance=None),
        )
        rules = compile_rules(config)
        self._index = Index.open(
            Path(settings.spool.path), ledger=self.spool.ledger, file_of=self.spool.file_of
        )
        self.spool.tell_removed = self._index.removed
        self._intake = Intake(self.spool, rules, kept=self._kept, clock=clock)
        self._scp = StoreScp(self._intake, _scp_settings(config))
        self._web: web.AppRunner | None = None
        self._upkeep = Upkeep(self.spool, anew=self._scheduler.changed_by_hand, clock=clock)
        self._delivering: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._draining = False

    async def __aenter__(self) -> "Service":
        """Start listening and delivering. Raises ``TemporaryFailure`` where a port is taken."""
        settings = self.config.gateway
        try:
            await self._listen()
            self._start_stages()
            await self._tell_what_nobody_delivers()
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
        """Take nothing new, end what runs, all within the one drain limit, close everything."""
        self._draining = True
        grace = self.config.gateway.drain_timeout
        telemetry.note("gateway stops", drain_s=grace)
        stopped = await asyncio.gather(
            self._scp.stop(grace),
            self._scheduler.aclose(timedelta(seconds=grace)),
            return_exceptions=True,
        )
        for error in stopped:
            if isinstance(error, Exception):
                telemetry.bug("a stage did not stop", error)
        await self._close()
        telemetry.note("gateway stopped")

    async def _tell_what_nobody_delivers(self) -> None:
        routes = {route.name for route in self.config.routes}
        try:
            await self._upkeep.tell_what_nobody_delivers(self.config.nodes, routes)
        except Failure as failure:
            telemetry.alarm("cannot see what is owed to whom", reason=str(failure))

    async def _listen(self) -> None:
        settings = self.config.gateway
        root = application(self.spool, self._not_ready, self._clock)
        mount(root, self._serving(), self._index)
        self._web = web.AppRunner(
            root, access_log=None, shutdown_timeout=_LAST_ANSWERS.total_seconds()
        )
        await self._web.setup()
        listen = settings.web.listen
        with _named("gateway.web.listen", listen):
            await web.TCPSite(self._web, listen.host, listen.port).start()
        self.web_port = self._web.addresses[0][1]
        listen = settings.dicom.listen
        with _named("gateway.dicom.listen", listen):
            self.dicom_port = await self._scp.start(listen.host, listen.port)

    def _serving(self) -> Serving:
        return Serving(
            holdings=LocalHoldings(self._index, self.spool),
            derivations=self._derivations,
            pool=self._pool,
            intake=self._intake,
            settings=ServeSettings(max_instance=self.config.gateway.dicom.max_instance),
            clock=self._clock,
        )

    def _start_stages(self) -> None:
        self._delivering = asyncio.create_task(self._scheduler.run(), name="scheduler")
        warming = asyncio.create_task(self._pool.warm(), name="warm workers")
        indexing = asyncio.create_task(self._index.run(), name="index")
        self._tasks = [self._delivering, warming, indexing, *self._upkeep.start()]
        for task in self._tasks:
            task.add_done_callback(_tell_of_an_error)

    async def _close(self) -> None:
        if self._web is not None:
            await self._web.cleanup()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._derivations.aclose()
        await self._index.aclose()
        await self._pool.aclose()
        await self.spool.aclose()

    def _kept(self, instance: Instance, owed: Sequence[Owed]) -> None:
        self._index.kept(instance)
        for each in owed:
            self._scheduler.wake(each.destination)

    def _not_ready(self) -> str:
        """Why nothing can be taken in or passed on at present; "" when all is well."""
        if self._draining:
            return "the gateway stops"
        if self._delivering is None:
            return "the gateway starts"
        if self._delivering.done():
            return "deliveries have come to an end: see the log, and restart the gateway"
        try:
            self.spool.check_taking()
        except Failure as failure:
            return str(failure)
        return ""


@contextlib.contextmanager
def _named(setting: str, listen: Listen) -> Iterator[None]:
    """Say which port cannot be had, and why."""
    try:
        yield
    except OSError as error:
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else error.strerror or str(error)
        raise TemporaryFailure(
            f"cannot listen on {listen} ({setting}): {reason}. End what uses it, or change "
            "it in the configuration"
        ) from error


def _tell_of_an_error(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        telemetry.bug(f"{task.get_name()} ended with an error", error)


def _longest_retry(config: Config) -> timedelta:
    """No delivery is put off for longer, whichever route, known or not, it comes by."""
    policies = [RoutePolicy(), *map(_policy, config.routes)]
    return max(policy.retry_longest for policy in policies) * (1 + SPREAD)


def _destination(name: str, node: Node, dimse: Dimse, config: Config) -> Destination:
    can_read = node.can_read
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
        verify=route.pixels.verify,
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
