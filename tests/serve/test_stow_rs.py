"""STOW-RS over real HTTP into a real spool: each instance has its own outcome, none is lost."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pydicom
import pytest
from aiohttp import web
from pydicom.data import get_testdata_file

from gateway.config import load_text
from gateway.dicomweb.multipart import closing, part_head
from gateway.intake import Intake
from gateway.model import Instance
from gateway.route.rules import compile_rules
from gateway.serve import stow_rs
from gateway.serve.auth import AuthSettings, Gate, Keepers, gatekeeping
from gateway.serve.problems import problems
from gateway.serve.serving import ServeSettings, Serving
from gateway.spool import Spool
from tests.serve.test_auth import running

ROUTES = """
version: 1
nodes:
  pacs: { dimse: { ae_title: PACS, host: 127.0.0.1, port: 104 } }
routes:
  - { name: all-to-pacs, send_to: [pacs] }
"""
MULTIPART = 'multipart/related; type="application/dicom"; boundary=b0'
FILES = ("CT_small.dcm", "JPEG2000.dcm", "MR_small.dcm", "MR_small_RLE.dcm")


def test_file(name: str) -> bytes:
    return Path(str(get_testdata_file(name))).read_bytes()


test_file.__test__ = False  # type: ignore[attr-defined]


def multipart(*parts: bytes, content_type: str = "application/dicom") -> bytes:
    heads = [
        part_head("b0", {"Content-Type": content_type}, first=not number)
        for number in range(len(parts))
    ]
    return b"".join(
        (*(head + part for head, part in zip(heads, parts, strict=True)), closing("b0"))
    )


class Server:
    """STOW-RS alone, before an intake that keeps what it kept in ``kept``."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.kept: list[Instance] = []
        self.url = ""
        self.gate = Gate()
        self.session: aiohttp.ClientSession
        intake = Intake(
            spool,
            compile_rules(load_text(ROUTES, "test")),
            kept=lambda instance, _: self.kept.append(instance),
            clock=lambda: datetime.now(UTC),
        )
        unused: Any = None
        self.serving = Serving(
            unused, unused, unused, intake, ServeSettings(), lambda: datetime.now(UTC)
        )

    @asynccontextmanager
    async def running(self, **settings: Any) -> AsyncIterator["Server"]:
        serving = replace(self.serving, settings=replace(self.serving.settings, **settings))
        guards = [problems, gatekeeping(Keepers(AuthSettings(store=self.gate, admin=self.gate)))]
        application = web.Application(middlewares=guards, client_max_size=1)
        application.add_routes(stow_rs.routes(serving))
        async with running(application) as self.url, aiohttp.ClientSession() as self.session:
            yield self

    async def post(
        self, body: Any, content_type: str = MULTIPART, study: str = "", **headers: str
    ) -> tuple[int, dict[str, Any], aiohttp.ClientResponse]:
        path = f"/studies/{study}" if study else "/studies"
        sent = {"Content-Type": content_type, **headers}
        async with self.session.post(self.url + path, data=body, headers=sent) as response:
            return response.status, await response.json(content_type=None), response


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    spool = Spool.open(tmp_path / "spool", clock=lambda: datetime.now(UTC), refuse_below_free=1)
    yield Server(spool)
    await spool.aclose()


def half_stored(folder: Path) -> list[Path]:
    return list(folder.rglob("*.part"))


def uids(model: dict[str, Any], tag: str) -> set[str]:
    items = model.get(tag, {}).get("Value", [])
    return {item["00081155"]["Value"][0] for item in items}


def reasons(model: dict[str, Any]) -> list[int]:
    """Of the instances that failed, and of the parts that are none."""
    failed = [model.get(tag, {}).get("Value", []) for tag in ("00081198", "0008119A")]
    return [item["00081197"]["Value"][0] for items in failed for item in items]


async def test_what_is_stored_is_durable_routed_and_listed(server: Server) -> None:
    async with server.running() as at:
        status, model, response = await at.post(multipart(*map(test_file, FILES)))
    sent = {str(pydicom.dcmread(BytesIO(test_file(name))).SOPInstanceUID) for name in FILES}
    assert (status, response.content_type) == (200, "application/dicom+json")
    assert uids(model, "00081199") == {each.sop_instance_uid for each in server.kept} == sent
    assert "00081198" not in model
    assert (await server.spool.counts()).destinations["pacs"].owed == len(FILES)
    for instance in server.kept:
        assert instance.origin.address == "127.0.0.1"
        pydicom.dcmread(instance.file)


async def test_the_answer_is_a_data_set_that_names_where_each_instance_is(server: Server) -> None:
    async with server.running(root_url="https://pacs.example") as at:
        _, model, _ = await at.post(multipart(test_file("CT_small.dcm")))
    answer = pydicom.Dataset.from_json(model)
    (item,) = answer.ReferencedSOPSequence
    kept = server.kept[0]
    assert item.ReferencedSOPClassUID == kept.sop_class_uid
    assert item.RetrieveURL == (
        f"https://pacs.example/dicom-web/studies/{kept.study_uid}/series/{kept.series_uid}"
        f"/instances/{kept.sop_instance_uid}"
    )


async def test_a_chunked_body_without_a_length_is_taken(server: Server) -> None:
    body = multipart(*map(test_file, FILES))

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 777):
            yield body[start : start + 777]

    async with server.running() as at:
        status, model, _ = await at.post(pieces())
    assert (status, len(model["00081199"]["Value"])) == (200, len(FILES))


async def test_one_file_alone_needs_no_multipart(server: Server) -> None:
    async with server.running() as at:
        status, model, _ = await at.post(test_file("CT_small.dcm"), "application/dicom")
    assert (status, len(uids(model, "00081199"))) == (200, 1)


async def test_a_bad_part_fails_alone(server: Server) -> None:
    good = test_file("CT_small.dcm")
    async with server.running() as at:
        status, model, _ = await at.post(multipart(good, b"hello", b"", test_file("MR_small.dcm")))
    assert (status, len(uids(model, "00081199"))) == (202, 2)
    assert reasons(model) == [0xC000, 0xC000]


async def test_an_instance_of_another_study_fails_with_its_reason(server: Server) -> None:
    ct, mr = test_file("CT_small.dcm"), test_file("MR_small.dcm")
    study = str(pydicom.dcmread(BytesIO(ct)).StudyInstanceUID)
    async with server.running() as at:
        status, model, _ = await at.post(multipart(ct, mr), study=study)
        assert (status, reasons(model)) == (202, [0xA900])
        assert uids(model, "00081199") == {each.sop_instance_uid for each in server.kept}
        status, model, _ = await at.post(multipart(mr), study=study)
        assert (status, reasons(model)) == (409, [0xA900])


async def test_an_unknown_transfer_syntax_fails_with_its_reason(server: Server) -> None:
    strange = test_file("CT_small.dcm").replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0")
    async with server.running() as at:
        status, model, _ = await at.post(multipart(strange))
    assert (status, reasons(model)) == (409, [0xC122])


@pytest.mark.parametrize("cut", [10, 200, 5000, 39_000])
async def test_a_part_that_is_cut_off_is_not_kept_and_those_before_it_are(
    server: Server, cut: int, tmp_path: Path
) -> None:
    good = test_file("CT_small.dcm")
    whole = multipart(good, good)
    first = len(multipart(good)) - len(closing("b0"))
    async with server.running() as at:
        status, model, response = await at.post(whole[: first + cut])
        assert (status, len(uids(model, "00081199"))) == (202, 1)
        assert "cut off" in response.headers["Warning"]
        status, model, _ = await at.post(whole[:cut])
        assert status == 400
        assert "cut off" in model["error"] or "ends before" in model["error"]
    assert len(server.kept) == 1
    assert half_stored(tmp_path) == []


@pytest.mark.parametrize(
    ("content_type", "status", "says"),
    [
        ("application/json", 415, 'multipart/related; type="application/dicom"'),
        ("", 415, "application/dicom"),
        ("text/html", 415, "text/html"),
        ('multipart/related; type="image/png"; boundary=b0', 415, "image/png"),
        ('multipart/related; type="application/dicom"', 400, "boundary"),
        ('multipart/related; type="application/dicom"; boundary=other', 400, "other"),
    ],
)
async def test_a_body_of_another_kind_is_refused_with_what_is_taken(
    server: Server, content_type: str, status: int, says: str
) -> None:
    async with server.running() as at:
        found, model, _ = await at.post(multipart(test_file("CT_small.dcm")), content_type)
    assert (found, server.kept) == (status, [])
    assert says in model["error"]


async def test_a_declared_length_beyond_the_limit_is_refused_before_it_comes(
    server: Server,
) -> None:
    async with server.running() as at:
        host, port = re.findall(r"//(.+):(\d+)", at.url)[0]
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /studies HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART}\r\n"
        writer.write(f"{head}Content-Length: {10 << 40}\r\n\r\n".encode())
        line = await reader.readline()
        writer.close()
    assert b" 413 " in line


async def test_a_chunked_body_beyond_the_limit_is_refused_and_nothing_half_stored(
    server: Server, tmp_path: Path
) -> None:
    async with server.running(max_body=100_000) as at:
        good = test_file("CT_small.dcm")
        status, _, _ = await at.post(multipart(*[good] * 10))
    assert status in (202, 413)
    assert half_stored(tmp_path) == []


async def test_a_file_beyond_the_limit_fails_and_its_neighbours_do_not(server: Server) -> None:
    small, large = test_file("CT_small.dcm"), test_file("JPEG2000.dcm")
    async with server.running(max_instance=100_000) as at:
        status, model, _ = await at.post(multipart(small, large + bytes(100_000), small))
    assert (status, len(model["00081199"]["Value"]), reasons(model)) == (202, 2, [0xC000])


async def test_a_full_disk_is_said_before_the_body_comes(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.spool._disk, "refuse_below_free", 1 << 60)
    async with server.running() as at:
        status, model, _ = await at.post(multipart(test_file("CT_small.dcm")))
    assert status == 507
    assert "refuse_below_free" in model["error"]


async def test_a_disk_that_fills_meanwhile_fails_what_it_has_no_room_for(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = test_file("CT_small.dcm")
    create = server.spool.create

    def full_after_one() -> Any:
        part = create()
        monkeypatch.setattr(server.spool._disk, "refuse_below_free", 1 << 60)
        return part

    monkeypatch.setattr(server.spool, "create", full_after_one)
    async with server.running() as at:
        status, model, _ = await at.post(multipart(good, good, good))
    assert (status, reasons(model)) == (202, [0xA700, 0xA700])


async def test_a_client_that_leaves_takes_nothing_with_it_and_leaves_nothing_half(
    server: Server, tmp_path: Path
) -> None:
    good = test_file("CT_small.dcm")
    body = multipart(good, good)
    async with server.running() as at:
        host, port = re.findall(r"//(.+):(\d+)", at.url)[0]
        _, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /studies HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART}\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-3000])
        while not server.kept:  # noqa: ASYNC110
            await asyncio.sleep(0)
        writer.transport.abort()
        async with asyncio.timeout(10):
            while half_stored(tmp_path):  # noqa: ASYNC110 - the file system tells nobody
                await asyncio.sleep(0)
    assert len(server.kept) == 1


async def test_a_study_that_is_no_uid_is_refused(server: Server) -> None:
    async with server.running() as at:
        status, model, _ = await at.post(multipart(), study="1.2.x")
    assert status == 400
    assert "1.2.x" in model["error"]


async def test_a_body_without_parts_stores_nothing_and_says_so(server: Server) -> None:
    async with server.running() as at:
        status, _, _ = await at.post(b"--b0--\r\n")
    assert status == 400


async def test_what_a_preamble_hides_never_reaches_the_disk(server: Server) -> None:
    program = b"MZ\x90\0" + test_file("CT_small.dcm")[4:]
    async with server.running() as at:
        status, _, _ = await at.post(multipart(program))
    assert status == 200
    assert server.kept[0].file.read_bytes()[:132] == bytes(128) + b"DICM"
