"""The composition root: builds every stage from the configuration and runs them together.

The only module that knows the order of the stages. Nothing here decides about an instance.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from aiohttp import web

from gateway import __version__, telemetry, wiring
from gateway.clock import utc_now
from gateway.config import Config, ConfigError
from gateway.config.files import unreadable
from gateway.deliver.pace import Pace
from gateway.deliver.scheduler import Scheduler
from gateway.derivation import Derivations
from gateway.failures import Failure
from gateway.index import Index
from gateway.intake import Intake
from gateway.model import UID, Arrival, Instance, Owed
from gateway.operate.api import add_reload
from gateway.operate.reload import Reloader
from gateway.operate.status_page import add_status_page
from gateway.operate.upkeep import LOOK_EVERY, Upkeep, repeat
from gateway.operate.web import application
from gateway.receive.fetch_jobs import FetchJobs
from gateway.receive.fetch_jobs import routes as fetch_routes
from gateway.receive.fetch_memory import Memory
from gateway.receive.fetch_rules import FetchRules
from gateway.receive.store_scp import StoreScp
from gateway.receive.wado_fetch import Fetcher
from gateway.rehearsal import rehearse
from gateway.route.rules import compile_rules
from gateway.route.warnings import QUERY_RETRIEVE_IS_NOT_SERVED
from gateway.serve.auth import Keepers, gatekeeping
from gateway.serve.cors import sharing
from gateway.serve.deletion import routes as deletion_routes
from gateway.serve.holdings import LocalHoldings
from gateway.serve.hosts import by_own_name
from gateway.serve.listener import LINGER_SECONDS, Site, quiet_logger
from gateway.serve.problems import problems
from gateway.serve.resources import mount
from gateway.serve.serving import Serving
from gateway.serve.tls import listener_context
from gateway.serve.upstream import UpstreamHoldings
from gateway.serve.upstream_search import UpstreamSearch
from gateway.spool import Spool
from gateway.transcode.pool import TranscodePool
from gateway.web_client import OriginServer, OriginServers

_LAST_ANSWERS = timedelta(seconds=2)
"""How long the web server goes on with what was asked when it closes."""


class Service:
    """A running gateway; ``dicom_port`` and ``web_port`` are what it listens on once started.

    ``file`` is where the configuration came from, for it to be reloaded.
    """

    def __init__(
        self,
        config: Config,
        file: Path | None = None,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.config = config
        self.dicom_port = self.web_port = 0
        self._clock = clock
        settings = config.gateway
        self.spool = Spool.open(
            Path(settings.spool.path),
            clock=clock,
            refuse_below_free=settings.spool.refuse_below_free,
            keep=settings.spool.keep,
            longest_retry=wiring.longest_retry(config),
        )
        self._pool = TranscodePool(
            settings.transcode.workers,
            seconds=settings.transcode.timeout,
            memory=settings.transcode.memory,
        )
        self._derivations = Derivations(self.spool, self._pool)
        self._servers = OriginServers(wiring.origin_servers(config))
        self._scheduler = Scheduler(
            self.spool,
            self._derivations,
            wiring.destinations(config, self._servers),
            wiring.policies(config),
            Pace(clock=clock, ahead=self._pool.workers + 2, glance=None),
        )
        rules = compile_rules(config)
        self._index = Index.open(
            Path(settings.spool.path), ledger=self.spool.ledger, file_of=self.spool.file_of
        )
        self.spool.tell_removed = self._index.removed
        self._intake = Intake(self.spool, rules, kept=self._kept, clock=clock)
        local = LocalHoldings(self._index, self.spool)
        upstream = self._upstream()
        self._holdings = UpstreamHoldings(local, upstream, self._intake)
        self._search = UpstreamSearch(self._index, upstream)
        self._local = local
        self._fetcher = Fetcher(self._servers, self._intake, self._held)
        self._fetches = FetchJobs(self._fetcher, clock)
        self._fetching: asyncio.Task[None] | None = None
        self._keepers = Keepers(wiring.auth_settings(config))
        self._scp = StoreScp(self._intake, wiring.scp_settings(config))
        self._web: web.AppRunner | None = None
        scheduler = self._scheduler
        self._upkeep = Upkeep(
            self.spool, anew=scheduler.changed_by_hand, due=scheduler.wake_all, clock=clock
        )
        self._reloader = Reloader(file, config, self._prepare, clock)
        self._delivering: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
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
        _tell_what_will_not_work(self.config)
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

    def reload(self) -> None:
        """Read the configuration's file anew, in a moment; what comes of it is in the log."""
        self._start(self._reload(), "reload")

    async def _reload(self) -> None:
        with contextlib.suppress(Failure):
            await self._reloader.reload()

    def _prepare(self, config: Config) -> Callable[[], None]:
        """All that can be done before another configuration comes into force."""
        rules = compile_rules(config)
        if problems := rehearse(config, rules):
            raise ConfigError(problems)
        policies = wiring.policies(config)
        servers, settings = wiring.origin_servers(config), wiring.scp_settings(config)
        gates, longest = wiring.auth_settings(config), wiring.longest_retry(config)

        def swap() -> None:
            self._servers.replace(servers)
            destinations = wiring.destinations(config, self._servers)
            before, self.config = self.config, config
            self.spool.longest_retry = max(self.spool.longest_retry, longest)
            self.spool.keep = config.gateway.spool.keep
            self.spool.refuse_below(config.gateway.spool.refuse_below_free)
            self._scheduler.redirect(destinations, policies)
            self._intake.rules = rules
            self._scp.associations.settings = settings
            self._keepers.replace(gates)
            self._holdings.servers = self._search.servers = self._upstream()
            if wiring.zone(before) != wiring.zone(config) or before.fetch != config.fetch:
                self._fetch_anew()
            _tell_what_will_not_work(config)
            self._start(self._reconsider(), "reconsider what is owed")

        return swap

    async def _reconsider(self) -> None:
        """What is owed under another configuration: by whom, and when."""
        await self._tell_what_nobody_delivers()
        if await self.spool.reconsider(self._clock()):
            self._scheduler.wake_all()

    async def _tell_what_nobody_delivers(self) -> None:
        config = self.config
        routes = {route.name for route in config.routes}
        try:
            await self._upkeep.tell_what_nobody_delivers(config.nodes, routes)
        except Failure as failure:
            telemetry.alarm("cannot see what is owed to whom", reason=str(failure))

    async def _listen(self) -> None:
        settings = self.config.gateway
        self._web = web.AppRunner(
            self._application(),
            access_log=None,
            logger=quiet_logger(),
            lingering_time=LINGER_SECONDS,
            shutdown_timeout=_LAST_ANSWERS.total_seconds(),
            keepalive_timeout=settings.web.idle_timeout,
            max_line_size=settings.web.max_header,
            max_field_size=settings.web.max_header,
        )
        await self._web.setup()
        listen, tls = settings.web.listen, settings.web.tls
        context = None
        if tls is not None:
            context = listener_context(tls.certificate, tls.key, tls.client_ca)
        with wiring.named_port("gateway.web.listen", listen):
            await Site(
                self._web,
                listen.host,
                listen.port,
                most=settings.web.max_connections,
                header_seconds=settings.web.header_timeout,
                context=context,
            ).start()
        self.web_port = self._web.addresses[0][1]
        listen = settings.dicom.listen
        with wiring.named_port("gateway.dicom.listen", listen):
            self.dicom_port = await self._scp.start(listen.host, listen.port)

    def _application(self) -> web.Application:
        shared = sharing(lambda: self.config.gateway.web.cors.origins)
        named = by_own_name(self._keepers, lambda: self.config.gateway.web.root_url or "")
        guards = (shared, problems, named, gatekeeping(self._keepers))
        root = application(self.spool, self._not_ready, self._clock, guards)
        add_reload(root, self._reloader)
        add_status_page(
            root,
            self.spool,
            lambda: self._reloader.standing,
            self._not_ready,
            self._clock,
            lambda: bool(self.config.routes),
        )
        serve = self.config.serve
        deletion = deletion_routes(self._local, self.spool) if serve.allow_delete else ()
        root.add_routes(fetch_routes(self._fetches))
        if serve.enabled:
            mount(root, self._serving(), self._index, deletion, self._search)
        return root

    def _upstream(self) -> list[OriginServer]:
        """The servers whose instances are served as if they were here."""
        return [self._servers[name] for name in self.config.serve.upstream]

    async def _held(self, study: UID) -> set[UID]:
        """What need not be fetched: what was only looked at has been passed on to nobody."""
        return {
            each.sop_instance_uid
            async for each in self._local.instances(study)
            if each.origin.arrival is not Arrival.UPSTREAM
        }

    def _serving(self) -> Serving:
        return Serving(
            holdings=self._holdings,
            derivations=self._derivations,
            pool=self._pool,
            intake=self._intake,
            settings=wiring.serve_settings(self.config),
            clock=self._clock,
        )

    def _start_stages(self) -> None:
        self._delivering = self._start(self._scheduler.run(), "scheduler")
        self._start(self._prove_and_warm(), "warm workers")
        self._start(self._index.run(), "index")
        self._fetch_anew()
        for task in self._upkeep.start():
            self._mind(task)
        what = "watch the configuration"
        self._start(repeat(what, LOOK_EVERY, self._look_at_the_file), what)

    async def _look_at_the_file(self) -> None:
        if self.config.gateway.reload == "on-change":
            await self._reloader.look()

    def _fetch_anew(self) -> None:
        """Follow the rules as they are now, once those that are followed have come to an end."""
        doing = self._fetch_by_rules(self.config, self._fetching)
        self._fetching = self._start(doing, "fetch rules")

    async def _fetch_by_rules(self, config: Config, earlier: asyncio.Task[None] | None) -> None:
        """Follow the rules until cancelled; what was fetched is remembered beside the spool."""
        if earlier is not None:
            earlier.cancel()
            await asyncio.wait({earlier})
        if not config.fetch:
            return
        memory = Memory.open(Path(config.gateway.spool.path))
        rules = FetchRules(
            wiring.fetch_rules(config),
            self._fetcher,
            memory,
            clock=self._clock,
            zone=wiring.zone(config),
        )
        try:
            await rules.run()
        finally:
            await memory.aclose()

    def _start(self, doing: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        """Have something done until the gateway stops."""
        task = asyncio.create_task(doing, name=name)
        self._mind(task)
        return task

    def _mind(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_tell_of_an_error)

    async def _prove_and_warm(self) -> None:
        """The decoders' self-test, once ports are open: only what is transcoded waits for it."""
        try:
            await self._pool.warm()
        except Failure as failure:
            telemetry.alarm("decoders cannot be tested: transcoding waits", reason=str(failure))

    async def _close(self) -> None:
        if self._web is not None:
            await self._web.cleanup()
        await self._fetches.aclose()
        await self._holdings.aclose()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._derivations.aclose()
        await self._index.aclose()
        await self._pool.aclose()
        await self._servers.aclose()
        await self.spool.aclose()

    def _kept(self, instance: Instance, owed: Sequence[Owed]) -> None:
        self._index.kept(instance)
        for each in owed:
            self._scheduler.wake(each.destination, each.terms.priority)

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


def _tell_what_will_not_work(config: Config) -> None:
    if config.query_retrieve:
        telemetry.alarm(QUERY_RETRIEVE_IS_NOT_SERVED, entries=len(config.query_retrieve))
    for remark in unreadable(config):
        telemetry.alarm("a file of the configuration cannot be used", reason=str(remark))


def _tell_of_an_error(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        telemetry.bug(f"{task.get_name()} ended with an error", error)
