"""Bodies of files: the same bytes whoever sends them, the kernel or this process."""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.failures import TemporaryFailure
from gateway.serve.body import CHUNK, PIECE, TURN, Body, write
from gateway.serve.streaming import Opened, opened, send, soon_opened
from tests.serve.test_streaming import chunks_of
from tests.serve.test_tls import certificate

SIZES = (0, 10, (64 << 10) - 1, 64 << 10, PIECE, PIECE + 10, 2 * TURN + 17)
SENDFILE, PREADV = os.sendfile, os.preadv


def _refused(*_: int) -> int:
    raise OSError(errno.EINVAL, "not from this file system")


def _later(*_: int) -> int:
    raise BlockingIOError(errno.EAGAIN, "no room")


def _a_little(out: int, file: int, at: int, size: int) -> int:
    return SENDFILE(out, file, at, min(size, 1000 + at % 7919))


def _not_cached(descriptor: int, buffers: Sequence[memoryview], at: int, flags: int = 0) -> int:
    if flags & os.RWF_NOWAIT:
        raise BlockingIOError(errno.EAGAIN, "not in memory")
    return PREADV(descriptor, buffers, at)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    made = [tmp_path / f"{size}" for size in SIZES]
    for file in made:
        file.write_bytes(os.urandom(int(file.name)))
    return made


def _parts(files: Sequence[Path]) -> list[tuple[bytes, Path, bytes]]:
    """Heads and tails, some empty, around each file."""
    return [
        (b"head %d" % number if number % 3 else b"", file, b"tail" if number % 2 else b"")
        for number, file in enumerate(files)
    ]


def _whole(files: Sequence[Path]) -> bytes:
    parts = _parts(files)
    return b"<" + b"".join(a + file.read_bytes() + b + b"|" for a, file, b in parts) + b">"


@asynccontextmanager
async def _server(
    files: Sequence[Path], *, length: int | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[TestServer]:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = Body()
        response.content_length = length
        await response.prepare(request)
        await write(response, b"<")
        for number, (head, file, tail) in enumerate(_parts(files)):
            run = opened(file) if number % 2 else await soon_opened(file)
            await send(response, run, head, tail)
            await write(response, b"|")
        await write(response, b">")
        return response

    async with _answering(answer, tls) as server:
        yield server


@asynccontextmanager
async def _answering(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
    tls: ssl.SSLContext | None = None,
    before: Callable[[web.Request, web.StreamResponse], Awaitable[None]] | None = None,
) -> AsyncIterator[TestServer]:
    app = web.Application()
    if before is not None:
        app.on_response_prepare.append(before)
    app.router.add_get("/", answer)
    server = TestServer(app, scheme="https" if tls else "http")
    await server.start_server(ssl=tls)
    try:
        yield server
    finally:
        await server.close()


async def _got(
    server: TestServer, version: str = "1.1", tls: ssl.SSLContext | None = None
) -> tuple[bytes, bytes]:
    """The header and the body as they came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=tls)
    lines = f"GET / HTTP/{version}", "Host: x", "Connection: close", "", ""
    writer.write("\r\n".join(lines).encode())
    got = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    header, _, body = got.partition(b"\r\n\r\n")
    return header, body


def _unframed(header: bytes, body: bytes) -> bytes:
    return b"".join(chunks_of(body)) if b"chunked" in header else body


@pytest.mark.parametrize("form", ["chunks", "length", "1.0"])
@pytest.mark.parametrize("sendfile", [SENDFILE, _refused, _later, _a_little])
@pytest.mark.parametrize("preadv", [PREADV, _not_cached])
async def test_the_body_is_the_same_whatever_the_kernel_takes(
    files: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    sendfile: Callable[..., int],
    preadv: Callable[..., int],
) -> None:
    monkeypatch.setattr(os, "sendfile", sendfile)
    monkeypatch.setattr(os, "preadv", preadv)
    wanted = _whole(files)
    length = len(wanted) if form == "length" else None
    async with _server(files, length=length) as server:
        header, body = await _got(server, "1.0" if form == "1.0" else "1.1")
    assert (b"chunked" in header) == (form == "chunks")
    assert _unframed(header, body) == wanted


async def test_files_of_some_length_are_given_to_the_kernel_with_their_frames_before_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []

    def sendfile(out: int, file: int, at: int, size: int) -> int:
        taken = SENDFILE(out, file, at, size)
        given.append(taken)
        return taken

    monkeypatch.setattr(os, "sendfile", sendfile)
    file = tmp_path / "a"
    file.write_bytes(os.urandom(200_000))
    async with _server([file]) as server:
        header, body = await _got(server)
    assert sum(given) == 200_000
    assert _unframed(header, body) == _whole([file])


@pytest.mark.parametrize("form", ["length", "chunks", "1.0"])
async def test_a_header_goes_out_with_what_follows_and_nothing_waits_for_what_is_not_there_yet(
    tmp_path: Path, form: str
) -> None:
    held: list[bool] = []
    file = tmp_path / "a"
    file.write_bytes(os.urandom(100_000))

    async def answer(request: web.Request) -> web.StreamResponse:
        response = Body()
        response.content_length = 200_002 if form == "length" else None
        await response.prepare(request)
        for tail in (b"<", b">"):
            await send(response, await soon_opened(file), b"", tail)
            held.append(_is_corked(request))
        return response

    async def before_the_header(request: web.Request, _: web.StreamResponse) -> None:
        held.append(_is_corked(request))

    async with _answering(answer, before=before_the_header) as server:
        header, body = await _got(server, "1.0" if form == "1.0" else "1.1")
    assert _unframed(header, body) == file.read_bytes() + b"<" + file.read_bytes() + b">"
    known = form == "length"
    assert held == [True, known, known]


async def test_nothing_of_the_next_answer_is_held_back_for_the_last_one() -> None:
    held: list[bool] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        held.append(_is_corked(request))
        response = Body(headers={"Broken": "a\nb"} if request.query else None)
        try:
            response.content_length = 3
            await response.prepare(request)
        except ValueError:
            return web.Response(text="refused")
        if request.method != "HEAD":
            await write(response, b"abc")
        return response

    async with _answering(answer) as server, aiohttp.ClientSession() as client:
        for path, text in (("/", "abc"), ("/?broken", "refused"), ("/", "abc")):
            async with client.get(server.make_url(path)) as got:
                assert await got.text() == text
        async with client.head(server.make_url("/")) as got:
            assert got.headers["Content-Length"] == "3"
        async with client.get(server.make_url("/")) as got:
            assert await got.text() == "abc"
    assert held == [False] * 5


def _is_corked(request: web.Request) -> bool:
    assert request.transport is not None
    end = request.transport.get_extra_info("socket")
    return bool(end.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK))


async def test_what_is_not_in_memory_is_not_waited_for_by_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a file is still there, its beginning is not: the loop may not read it."""

    def preadv(descriptor: int, buffers: Sequence[memoryview], at: int, flags: int = 0) -> int:
        if flags & os.RWF_NOWAIT and 100_000 <= at < 900_000:
            raise BlockingIOError(errno.EAGAIN, "not in memory")
        return PREADV(descriptor, buffers, at)

    def sendfile(out: int, file: int, at: int, size: int) -> int:
        assert at >= 900_000, "it would have to be read"
        return SENDFILE(out, file, at, size)

    monkeypatch.setattr(os, "preadv", preadv)
    monkeypatch.setattr(os, "sendfile", sendfile)
    file = tmp_path / "a"
    file.write_bytes(os.urandom(1_500_000))
    async with _server([file]) as server:
        header, body = await _got(server)
    assert _unframed(header, body) == _whole([file])


@pytest.mark.parametrize("sendfile", [SENDFILE, _refused])
async def test_no_chunk_is_longer_than_many_a_client_can_count(
    files: list[Path], monkeypatch: pytest.MonkeyPatch, sendfile: Callable[..., int]
) -> None:
    monkeypatch.setattr(os, "sendfile", sendfile)
    monkeypatch.setattr("gateway.serve.streaming.CHUNK", 300_000)
    async with _server(files) as server:
        header, body = await _got(server)
    assert max(len(chunk) for chunk in chunks_of(body)) < 300_100
    assert _unframed(header, body) == _whole(files)
    assert CHUNK < 1 << 31


async def test_what_is_encrypted_is_not_given_to_the_kernel(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sendfile", pytest.fail)
    file = certificate(tmp_path, "server")
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(file)
    client_side = ssl.create_default_context(cafile=str(file))
    client_side.check_hostname = False
    async with _server(files, tls=server_side) as server:
        header, body = await _got(server, tls=client_side)
    assert _unframed(header, body) == _whole(files)


async def test_one_connection_serves_one_body_after_the_other(files: list[Path]) -> None:
    connector = aiohttp.TCPConnector(limit=1)
    async with _server(files) as server, aiohttp.ClientSession(connector=connector) as client:
        for _ in range(3):
            async with client.get(server.make_url("/")) as answer:
                assert await answer.read() == _whole(files)


async def test_a_slow_client_gets_all_of_it(files: list[Path]) -> None:
    async with _server(files) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=4096)
        writer.write(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
        got = bytearray()
        while piece := await asyncio.wait_for(reader.read(5000), 30):
            got += piece
            await asyncio.sleep(0)
        writer.close()
    assert bytes(got).partition(b"\r\n\r\n")[2] == _whole(files)


@pytest.mark.parametrize("sendfile", [SENDFILE, _later])
async def test_a_file_that_becomes_shorter_ends_the_body_in_the_midst_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sendfile: Callable[..., int]
) -> None:
    monkeypatch.setattr(os, "sendfile", sendfile)
    file = tmp_path / "a"
    file.write_bytes(bytes(4 * PIECE))
    met: list[BaseException] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        response = Body()
        await response.prepare(request)
        run = await soon_opened(file)
        os.truncate(file, PIECE)
        try:
            await send(response, run)
        except TemporaryFailure as failure:
            met.append(failure)
            assert run.descriptor == -1
            raise ConnectionResetError from None
        return response

    async with _answering(answer) as server:
        _, body = await _got(server)
    assert "shorter" in str(met[0])
    assert not body.endswith(b"0\r\n\r\n")


async def test_a_client_that_left_is_noticed_and_its_file_closed(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(bytes(64 << 20))
    ended: asyncio.Future[tuple[BaseException, Opened]] = (
        asyncio.get_running_loop().create_future()
    )

    async def answer(request: web.Request) -> web.StreamResponse:
        response, run = Body(), await soon_opened(file)
        await response.prepare(request)
        try:
            await send(response, run, b"head")
        except BaseException as error:
            ended.set_result((error, run))
            raise
        return response

    async with _answering(answer) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0)
        writer.transport.abort()
        error, run = await asyncio.wait_for(ended, 20)
    assert isinstance(error, ConnectionError | asyncio.CancelledError)
    assert run.descriptor == -1
