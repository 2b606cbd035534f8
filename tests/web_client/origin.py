"""An origin server in the hands of a test: it answers well, or as wrong as it is told to."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from gateway.dataset.part10 import encode_file_meta
from gateway.dicomweb.multipart import closing, new_boundary, part_head
from gateway.web_client import Patience, ServerSettings
from tests.web_client.bodies import sops_of

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
STUDY = "1.2.3"
QUICK = Patience(
    connect=5, first_byte=5, between_bytes=5, attempts=3, first_wait=0.001, longest_wait=0.01,
    retry_after=2,
)  # fmt: skip

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def element(tag: int, vr: str, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    head = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little") + vr.encode()
    if vr in ("OB", "OW", "UN"):
        return head + bytes(2) + len(value).to_bytes(4, "little") + value
    return head + len(value).to_bytes(2, "little") + value


def data_set(study: str, series: str, sop: str, pixels: int = 0) -> bytes:
    uids = ((0x00080016, CT), (0x00080018, sop))
    return b"".join(
        (
            *(element(tag, "UI", uid.encode()) for tag, uid in uids),
            element(0x00080060, "CS", b"CT"),
            element(0x0020000D, "UI", study.encode()),
            element(0x0020000E, "UI", series.encode()),
            *([element(0x7FE00010, "OW", bytes(pixels))] if pixels else []),
        )
    )


@dataclass(frozen=True)
class Stored:
    """An instance as the origin has it."""

    study: str
    series: str
    sop: str
    data: bytes = field(repr=False, default=b"")

    @classmethod
    def make(cls, sop: str, series: str = "1.2.3.1", study: str = STUDY, pixels: int = 0) -> Any:
        meta = encode_file_meta(
            sop_class_uid=CT, sop_instance_uid=sop, transfer_syntax=EXPLICIT_LE, source_ae="OTHER"
        )
        return cls(study, series, sop, meta + data_set(study, series, sop, pixels))


def study(count: int, *, series: int = 2, pixels: int = 0) -> list[Stored]:
    """A study of so many instances in so many series."""
    return [
        Stored.make(f"1.2.3.{1 + n % series}.{n + 1}", f"1.2.3.{1 + n % series}", pixels=pixels)
        for n in range(count)
    ]


class FakeOrigin:
    """DICOMweb over a list of instances.

    ``script`` holds, by kind of request (search, retrieve, store), handlers for the next ones;
    None in it is the usual answer. ``requests`` is what was asked.
    """

    def __init__(self, instances: Sequence[Stored] = ()) -> None:
        self.instances = list(instances)
        self.script: dict[str, deque[Handler | None]] = {}
        self.requests: list[web.Request] = []
        self.received: list[tuple[str, bytes]] = []
        self.page = 10**6
        self.boundary = ""
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/dicom-web"

    def settings(self, **facts: Any) -> ServerSettings:
        return ServerSettings("pacs", **({"url": self.url, "patience": QUICK} | facts))

    def asked(self, kind: str) -> list[str]:
        """The paths of requests of a kind, without the root."""
        return [
            each.path.removeprefix("/dicom-web") for each in self.requests if _kind(each) == kind
        ]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FakeOrigin"]:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        kind = _kind(request)
        script = self.script.get(kind)
        handler = script.popleft() if script else None
        usual = {"search": self.search, "retrieve": self.retrieve, "store": self.store}
        return await (handler or usual[kind])(request)

    def within(self, request: web.Request) -> list[Stored]:
        parts = request.path.removeprefix("/dicom-web/").split("/")
        uids = dict(zip(parts[::2], parts[1::2], strict=False))
        return [
            each
            for each in self.instances
            if uids.get("studies", each.study) == each.study
            and uids.get("series", each.series) == each.series
            and uids.get("instances", each.sop) == each.sop
            and request.query.get("SOPInstanceUID", each.sop) == each.sop
        ]

    async def search(self, request: web.Request) -> web.StreamResponse:
        level = request.path.rpartition("/")[2]
        rows: dict[str, dict[str, Any]] = {}
        for each in self.within(request):
            row = {
                "0020000D": {"vr": "UI", "Value": [each.study]},
                "00201208": {"vr": "IS", "Value": [self._count(each.study)]},
            }
            if level != "studies":
                row["0020000E"] = {"vr": "UI", "Value": [each.series]}
            if level == "instances":
                row["00080018"] = {"vr": "UI", "Value": [each.sop]}
            key = {"studies": each.study, "series": each.series, "instances": each.sop}[level]
            rows[key] = row
        offset = int(request.query.get("offset", "0"))
        limit = min(int(request.query.get("limit", str(10**6))), self.page)
        return web.Response(
            text=json.dumps(list(rows.values())[offset : offset + limit]),
            content_type="application/dicom+json",
        )

    def _count(self, study: str) -> int:
        return sum(each.study == study for each in self.instances)

    async def retrieve(self, request: web.Request) -> web.StreamResponse:
        found = self.within(request)
        if not found:
            return web.Response(status=404)
        return await self.send(request, found)

    async def send(
        self, request: web.Request, instances: Sequence[Stored], *, cut: int | None = None
    ) -> web.StreamResponse:
        """Instances as multipart/related; with ``cut`` the connection breaks off there.

        Instances before ``cut`` are whole, half of the next is sent.
        """
        boundary = new_boundary()
        said = self.boundary or boundary
        kind = f'multipart/related; type="application/dicom"; boundary={said}'
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        for number, each in enumerate(instances):
            await response.write(
                part_head(boundary, {"Content-Type": "application/dicom"}, first=number == 0)
            )
            if number == cut:
                await response.write(each.data[: len(each.data) // 2])
                return await break_off(request, response)
            await response.write(each.data)
        await response.write(closing(boundary))
        await response.write_eof()
        return response

    def cut_after(self, count: int) -> Handler:
        """An answer that breaks off inside the instance after so many."""

        async def handler(request: web.Request) -> web.StreamResponse:
            return await self.send(request, self.within(request), cut=count)

        return handler

    async def store(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        stored = sops_of(body, request.headers["Content-Type"])
        self.received += stored
        return web.json_response(
            {"00081199": {"vr": "SQ", "Value": [referenced(sop) for sop, _ in stored]}},
            content_type="application/dicom+json",
        )


def referenced(sop: str, **more: int) -> dict[str, Any]:
    """An item of a Store Instances Response; ``reason`` makes it one of a failure."""
    item: dict[str, Any] = {
        "00081150": {"vr": "UI", "Value": [CT]},
        "00081155": {"vr": "UI", "Value": [sop]},
    }
    if "reason" in more:
        item["00081197"] = {"vr": "US", "Value": [more["reason"]]}
    if "warning" in more:
        item["00081196"] = {"vr": "US", "Value": [more["warning"]]}
    return item


def answering(
    number: int, *, stored: Sequence[Any] = (), failed: Sequence[Any] = (), others: int = 0
) -> Handler:
    """A Store Instances Response with these items."""
    body: dict[str, Any] = {}
    for tag, found in (("00081199", stored), ("00081198", failed)):
        if found:
            body[tag] = {"vr": "SQ", "Value": list(found)}
    if others:
        body["0008119A"] = {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [others]}}]}

    async def handler(request: web.Request) -> web.Response:
        await request.read()
        return web.json_response(body, status=number, content_type="application/dicom+json")

    return handler


def status(number: int, **headers: str) -> Handler:
    """An answer with a status and nothing else."""

    async def handler(_: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=number, headers=named)

    return handler


async def hang(_: web.Request) -> web.StreamResponse:
    """No answer at all, until the server is stopped."""
    await asyncio.Event().wait()
    raise AssertionError


async def break_off(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """The connection is cut, after what was written has gone out."""
    transport = request.transport
    if transport is not None:
        transport.abort() if transport.is_closing() else transport.close()
    return response


def _kind(request: web.Request) -> str:
    if request.method == "POST":
        return "store"
    last = request.path.rpartition("/")[2]
    return "search" if last in ("studies", "series", "instances") else "retrieve"
