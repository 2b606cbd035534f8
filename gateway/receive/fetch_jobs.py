"""Fetches that a person asked for: begun over HTTP, watched until they end.

``POST /api/fetch`` with ``{"from": NODE, "studies": [UID, …]}``, or with one ``study`` and, below
it, a ``series`` and an ``instance``, answers 202 and where to look; ``GET /api/fetch/{id}`` says
how far it is. Ended fetches are remembered for a while, and forgotten when the gateway ends.
"""

import asyncio
import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from aiohttp import web

from gateway import telemetry
from gateway.failures import Failure, PermanentFailure
from gateway.model import is_uid
from gateway.receive.wado_fetch import Fetcher
from gateway.retrieval import Retrieval, Retrieved, Scope

MOST_RUNNING: Final = 32
MOST_REMEMBERED: Final = 500
MOST_STUDIES: Final = 1000
BODY_SECONDS: Final = 30.0
MOST_NAMED: Final = 100
"""Missing or refused instances that an answer names."""


@dataclass(slots=True)
class Study:
    """One scope of a job and how far it is."""

    scope: Scope
    retrieval: Retrieval | None = None
    result: Retrieved | None = None
    failure: str = ""

    @property
    def state(self) -> str:
        """waiting, running, done or failed."""
        if self.failure or (self.result is not None and not self.result.complete):
            return "failed"
        if self.result is not None:
            return "done"
        return "waiting" if self.retrieval is None else "running"

    def model(self) -> dict[str, Any]:
        """As JSON has it."""
        said: dict[str, Any] = {"study": self.scope.study, "state": self.state}
        said |= {
            name: uid
            for name, uid in (("series", self.scope.series), ("instance", self.scope.sop))
            if uid
        }
        if self.result is not None:
            return said | _outcome(self.result)
        if self.retrieval is not None:
            listed = self.retrieval.listed
            said["expected"] = None if listed is None else len(listed)
            said["received"] = self.retrieval.received
        return said | ({"failure": self.failure} if self.failure else {})


def _outcome(result: Retrieved) -> dict[str, Any]:
    return {
        "expected": result.expected,
        "held": result.held,
        "received": result.received,
        "bytes": result.bytes,
        "unlisted": result.unlisted,
        "missing": len(result.missing),
        "missing_instances": list(result.missing[:MOST_NAMED]),
        "refused": len(result.refused),
        "refused_instances": dict(list(result.refused.items())[:MOST_NAMED]),
        "failure": result.differences,
    }


@dataclass(slots=True)
class Job:
    """Some studies to be fetched from one node, one after the other."""

    id: str
    node: str
    studies: list[Study]
    began: datetime
    ended: datetime | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def state(self) -> str:
        """running, done or failed."""
        if self.ended is None:
            return "running"
        return "failed" if any(each.state != "done" for each in self.studies) else "done"

    def model(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "id": self.id,
            "from": self.node,
            "state": self.state,
            "began": self.began.isoformat(),
            "ended": self.ended.isoformat() if self.ended else None,
            "studies": [each.model() for each in self.studies],
        }


class FetchJobs:
    """The jobs that run, and those that ended lately."""

    def __init__(self, fetcher: Fetcher, clock: Callable[[], datetime]) -> None:
        self._fetcher = fetcher
        self._clock = clock
        self._jobs: dict[str, Job] = {}

    def start(self, node: str, scopes: list[Scope]) -> Job:
        """Begin to fetch. Raises PermanentFailure for an unknown node, or too many at once."""
        self._fetcher.server(node)
        if sum(job.ended is None for job in self._jobs.values()) >= MOST_RUNNING:
            raise PermanentFailure(f"{MOST_RUNNING} fetches are running: wait until one has ended")
        job = Job(secrets.token_hex(8), node, [Study(each) for each in scopes], self._clock())
        self._jobs[job.id] = job
        self._forget()
        job.task = asyncio.create_task(self._run(job), name=f"fetch {job.id}")
        return job

    def find(self, job_id: str) -> Job | None:
        """The job of that id, None where it is not known."""
        return self._jobs.get(job_id)

    async def aclose(self) -> None:
        """Stop what runs; what is durable stays."""
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, job: Job) -> None:
        try:
            for study in job.studies:
                await self._fetch(job, study)
        finally:
            job.ended = self._clock()

    async def _fetch(self, job: Job, study: Study) -> None:
        def begun(retrieval: Retrieval) -> None:
            study.retrieval = retrieval

        try:
            study.result = await self._fetcher.fetch(job.node, study.scope, begun=begun)
        except Failure as failure:
            study.failure = str(failure)
        except Exception as error:  # noqa: BLE001 - one study does not fail the others
            telemetry.bug("a study could not be fetched", error)
            study.failure = "an error of the gateway: see its log"

    def _forget(self) -> None:
        ended = [job_id for job_id, job in self._jobs.items() if job.ended is not None]
        for job_id in ended[: max(len(ended) - MOST_REMEMBERED, 0)]:
            del self._jobs[job_id]


def routes(jobs: FetchJobs) -> list[web.RouteDef]:
    """``POST /api/fetch`` and ``GET /api/fetch/{id}``."""

    async def begin(request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await request.read()
        except TimeoutError:
            text = f"the body did not come within {BODY_SECONDS:g} s"
            return web.json_response({"error": text}, status=408)
        try:
            node, scopes = asked(body)
            job = jobs.start(node, scopes)
        except PermanentFailure as failure:
            return web.json_response({"error": str(failure)}, status=400)
        address = f"/api/fetch/{job.id}"
        return web.json_response(job.model(), status=202, headers={"Location": address})

    async def look(request: web.Request) -> web.Response:
        job = jobs.find(request.match_info["id"])
        if job is None:
            text = "no such fetch: it ended long ago, or the gateway was restarted"
            return web.json_response({"error": text}, status=404)
        return web.json_response(job.model(), headers={"Cache-Control": "no-store"})

    return [web.post("/api/fetch", begin), web.get("/api/fetch/{id}", look)]


def asked(body: bytes) -> tuple[str, list[Scope]]:
    """The node and what to fetch from it. Raises PermanentFailure that says what is wrong."""
    try:
        said = json.loads(body)
    except ValueError:
        raise PermanentFailure("the body is not JSON") from None
    if not isinstance(said, dict):
        raise PermanentFailure('the body is no object such as {"from": NODE, "studies": [UID]}')
    unknown = sorted(set(said) - {"from", "studies", "study", "series", "instance"})
    if unknown:
        raise PermanentFailure(f"unknown: {', '.join(map(repr, unknown))[:200]}")
    node = said.get("from")
    if not isinstance(node, str) or not node:
        raise PermanentFailure('"from" does not name a node')
    return node, _scopes(said)


def _scopes(said: Mapping[str, Any]) -> list[Scope]:
    below = {name: said[name] for name in ("study", "series", "instance") if name in said}
    studies = said.get("studies")
    loose = "instance" in below and "series" not in below
    if (studies is None) == ("study" not in below) or (below and studies is not None) or loose:
        raise PermanentFailure(
            'name "studies", or one "study" and within it "series", and within that "instance"'
        )
    if studies is None:
        uids = [below.get(name, "") for name in ("study", "series", "instance")]
        _check(uid for uid in uids if uid != "")
        return [Scope(*uids)]
    if not isinstance(studies, list) or not 1 <= len(studies) <= MOST_STUDIES:
        raise PermanentFailure(f'"studies" is no list of 1 to {MOST_STUDIES} Study Instance UIDs')
    _check(studies)
    return [Scope(uid) for uid in dict.fromkeys(studies)]


def _check(uids: Iterable[Any]) -> None:
    for uid in uids:
        if not isinstance(uid, str) or not is_uid(uid):
            raise PermanentFailure(f"{str(uid)[:80]!r} is not a UID")
