"""Bodies over real HTTP: refused before they come, bounded in pace, no torso left behind."""

import asyncio
import gzip
import re
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.failures import TemporaryFailure
from gateway.serve import stow_rs
from gateway.serve.auth import Gate
from gateway.serve.problems import TooLarge
from gateway.serve.request_body import (
    FREE,
    SILENCE,
    SLOWEST,
    TooSlow,
    check_expansion,
    check_pace,
)
from gateway.serve.stow_metadata import Described, MetadataParts
from gateway.spool import Spool
from tests.serve.test_stow_rs import MULTIPART, Server, half_stored, multipart, test_file

HEAD = "POST /studies HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Server]:
    spool = Spool.open(tmp_path / "spool", clock=lambda: datetime.now(UTC), refuse_below_free=1)
    async with Server(spool).running() as server:
        yield server
    await spool.aclose()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - files tell nobody
            await asyncio.sleep(0.01)


class Talk:
    """A client that sends what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    @asynccontextmanager
    async def to(cls, server: Server, **fields: str | int) -> AsyncIterator["Talk"]:
        host, port = re.findall(r"//(.+):(\d+)", server.url)[0]
        talk = cls(*await asyncio.open_connection(host, int(port)))
        lines = (f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
        talk.writer.write((HEAD + "".join(lines) + "\r\n").encode())
        try:
            yield talk
        finally:
            talk.writer.close()

    async def status(self) -> int:
        return int((await self.reader.readuntil(b"\r\n\r\n")).split()[1])


async def test_who_waits_to_be_told_to_continue_is_refused_without_sending(at: Server) -> None:
    fields = {"Content_Length": 10 << 40, "Expect": "100-continue"}
    async with Talk.to(at, Content_Type=MULTIPART, **fields) as talk:
        assert await talk.status() == 413
    fields["Content_Length"] = 10
    async with Talk.to(at, Content_Type="text/html", **fields) as talk:
        assert await talk.status() == 415


async def test_who_waits_to_be_told_to_continue_is_told(at: Server) -> None:
    body = multipart(test_file("CT_small.dcm"))
    fields = {"Content_Type": MULTIPART, "Content_Length": len(body)}
    async with Talk.to(at, **fields, Expect="100-Continue") as talk:
        assert await talk.status() == 100
        talk.writer.write(body)
        assert await talk.status() == 200
    async with Talk.to(at, **fields, Expect="a-miracle") as talk:
        assert await talk.status() == 417


async def test_a_body_in_gzip_is_taken(at: Server) -> None:
    body = gzip.compress(multipart(test_file("CT_small.dcm")))
    status, _, _ = await at.post(body, **{"Content-Encoding": "gzip"})
    assert (status, len(at.kept)) == (200, 1)


async def test_a_body_that_is_not_in_its_encoding_is_a_bad_request(at: Server) -> None:
    status, model, _ = await at.post(b"0123456789", **{"Content-Encoding": "gzip"})
    assert (status, "Content-Encoding" in model["error"]) == (400, True)


@pytest.mark.parametrize("encoding", ["compress", "x-secret"])
async def test_an_encoding_that_is_not_known_is_refused(at: Server, encoding: str) -> None:
    fields = {"Content_Type": MULTIPART, "Content_Length": 3}
    async with Talk.to(at, **fields, Content_Encoding=encoding) as talk:
        assert await talk.status() == 415


@pytest.mark.parametrize("content_type", ["application/dicom", MULTIPART])
async def test_nothing_stays_of_a_file_whose_sender_leaves(
    at: Server, tmp_path: Path, content_type: str
) -> None:
    file = test_file("CT_small.dcm") + bytes(200_000)
    body = file if content_type == "application/dicom" else multipart(file)[:-100]
    async with Talk.to(at, Content_Type=content_type, Content_Length=1_000_000) as talk:
        talk.writer.write(body)
        await until(lambda: bool(half_stored(tmp_path)))
    await until(lambda: not half_stored(tmp_path))
    assert at.kept == []


async def test_a_body_beyond_those_at_once_waits_its_turn_or_is_told_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stow_rs, "BODIES", 1)
    monkeypatch.setattr(stow_rs, "TURN_SECONDS", 0.05)
    spool = Spool.open(tmp_path / "spool", clock=lambda: datetime.now(UTC), refuse_below_free=1)
    body = multipart(test_file("CT_small.dcm") + bytes(200_000))
    async with Server(spool).running() as at:
        async with Talk.to(at, Content_Type=MULTIPART, Content_Length=len(body)) as first:
            first.writer.write(body[:-10])
            await until(lambda: bool(half_stored(tmp_path)))
            status, model, response = await at.post(multipart(test_file("MR_small.dcm")))
            assert (status, "come again" in model["error"]) == (503, True)
            assert "Retry-After" in response.headers
            first.writer.write(body[-10:])
            assert await first.status() == 200
        status, _, _ = await at.post(multipart(test_file("MR_small.dcm")))
        assert status == 200
    await spool.aclose()


async def test_one_user_has_no_more_bodies_at_once_than_the_limit_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stow_rs, "OF_ONE", 2)
    monkeypatch.setattr(stow_rs, "TURN_SECONDS", 0.01)
    turns = stow_rs.Turns()
    async with turns.turn("ann"), turns.turn("ann"), turns.turn("bob"):
        with pytest.raises(TemporaryFailure, match="2 bodies of this user are coming in"):
            async with turns.turn("ann"):
                pass
        async with turns.turn(""), turns.turn(""), turns.turn(""), turns.turn("bob"):
            pass
    async with turns.turn("ann"):
        pass


async def test_bodies_are_counted_by_who_sends_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate says who it is; where there is none, nobody is anybody."""
    monkeypatch.setattr(stow_rs, "OF_ONE", 1)
    monkeypatch.setattr(stow_rs, "TURN_SECONDS", 0.05)
    spool = Spool.open(tmp_path / "spool", clock=lambda: datetime.now(UTC), refuse_below_free=1)
    server = Server(spool)
    server.gate = Gate(tokens_file=tmp_path / "tokens")
    (tmp_path / "tokens").write_text("ann\nbob\n")
    body = multipart(test_file("CT_small.dcm") + bytes(200_000))
    fields = {"Content_Type": MULTIPART, "Content_Length": len(body)}
    async with (
        server.running() as at,
        Talk.to(at, **fields, Authorization="Bearer ann") as first,
    ):
        first.writer.write(body[:-10])
        await until(lambda: bool(half_stored(tmp_path)))
        small = multipart(test_file("MR_small.dcm"))
        status, model, _ = await at.post(small, Authorization="Bearer ann")
        assert (status, "1 bodies of this user" in model["error"]) == (503, True)
        status, _, _ = await at.post(small, Authorization="Bearer bob")
        assert status == 200
    await spool.aclose()


async def test_a_body_that_expands_too_much_is_given_up(at: Server) -> None:
    black = test_file("CT_small.dcm") + bytes(2 << 20)
    body = gzip.compress(multipart(black))
    assert len(body) * 100 > len(black)
    status, _, _ = await at.post(body, **{"Content-Encoding": "gzip"})
    assert status == 200
    bomb = gzip.compress(multipart(test_file("CT_small.dcm") + bytes(40 << 20)))
    status, model, _ = await at.post(bomb, **{"Content-Encoding": "gzip"})
    assert (status, "web.max_expansion" in model["error"]) == (413, True)


@pytest.mark.parametrize(("came", "compressed"), [(FREE, 1), (FREE * 3, FREE), (1 << 40, None)])
def test_an_expansion_that_will_do(came: int, compressed: int | None) -> None:
    check_expansion(came, compressed, 3)


def test_an_expansion_beyond_the_limit_is_too_large() -> None:
    with pytest.raises(TooLarge, match="more than 3 times"):
        check_expansion(FREE * 3 + 1, FREE, 3)


@pytest.mark.parametrize(
    ("came", "waited"), [(0, SILENCE), (SLOWEST * 1000, 1000.0), (SLOWEST * 60, 60 + SILENCE)]
)
def test_a_pace_that_will_do(came: int, waited: float) -> None:
    check_pace(came, waited)


@pytest.mark.parametrize(("came", "waited"), [(1000, 76.0), (SLOWEST * 60, 136.0)])
def test_a_body_that_trickles_is_given_up(came: int, waited: float) -> None:
    with pytest.raises(TooSlow):
        check_pace(came, waited)


async def test_only_so_many_bodies_of_metadata_become_trees_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stow_rs, "TREES", 1)
    entered, came, go_on = [], [], threading.Event()
    instances, write = MetadataParts.instances, MetadataParts.write

    def slowly(parts: MetadataParts) -> list[Described]:
        entered.append(parts)
        go_on.wait(10)
        return instances(parts)

    def counted(parts: MetadataParts, data: bytes) -> None:
        came.append(parts)
        write(parts, data)

    monkeypatch.setattr(MetadataParts, "instances", slowly)
    monkeypatch.setattr(MetadataParts, "write", counted)
    spool = Spool.open(tmp_path / "spool", clock=lambda: datetime.now(UTC), refuse_below_free=1)
    async with Server(spool).running() as at, asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(at.post(b"[{}]", "application/dicom+json"))
        await until(lambda: len(came) == 2 and len(entered) == 1)
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(entered) == 1
        go_on.set()
        await until(lambda: len(entered) == 2)
    await spool.aclose()
