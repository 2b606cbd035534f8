"""The web listener over real sockets: nobody is shut out, and nobody's URL is logged."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator

import pytest
import structlog
from aiohttp import web

from gateway.serve import listener, request_body
from gateway.serve.listener import Site, quiet_logger
from gateway.serve.problems import Problem

GET = b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Door:
    """A server of three connections whose /wait answers when it is told to."""

    def __init__(self) -> None:
        self.port = 0
        self.go_on = asyncio.Event()
        self.asked = asyncio.Semaphore(0)
        self.opened: list[Connection] = []
        self.timeouts: list[int] = []

    async def answer(self, request: web.Request) -> web.Response:
        if request.path == "/timeout" and request.transport is not None:
            found: socket.socket = request.transport.get_extra_info("socket")
            self.timeouts.append(found.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
        if request.path == "/wait":
            self.asked.release()
            await self.go_on.wait()
        return web.Response(text="here")

    async def take(self, request: web.Request) -> web.Response:
        came = 0
        try:
            async for piece in request_body.pieces(request, 1 << 20, 100):
                came += len(piece)
                self.asked.release()
        except Problem as problem:
            return web.Response(status=problem.status, text=str(problem))
        return web.Response(text=str(came))

    async def enter(self, path: bytes = b"") -> Connection:
        self.opened.append(await asyncio.open_connection("127.0.0.1", self.port))
        if path:
            self.opened[-1][1].write(GET % path)
        return self.opened[-1]

    async def status(self, path: bytes = b"now") -> bytes:
        reader, _ = await self.enter(path)
        return (await reader.readline()).split()[1]


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    door, application = Door(), web.Application()
    application.router.add_get("/{path}", door.answer)
    application.router.add_post("/body", door.take)
    runner = web.AppRunner(application, access_log=None, logger=quiet_logger())
    await runner.setup()
    await Site(runner, "127.0.0.1", 0, most=3, header_seconds=0.2).start()
    door.port = runner.addresses[0][1]
    try:
        yield door
    finally:
        door.go_on.set()
        for _, writer in door.opened:
            writer.close()
        await runner.cleanup()


async def test_connections_that_say_nothing_make_way(door: Door) -> None:
    silent = [await door.enter() for _ in range(3)]
    assert await door.status() == b"200"
    assert await silent[0][0].read() == b""
    assert await door.status() == b"200"


async def test_a_connection_at_work_is_left_alone_and_a_kept_one_goes(door: Door) -> None:
    working, _ = await door.enter(b"wait")
    await door.asked.acquire()
    kept = [await door.enter(b"now") for _ in range(2)]
    for reader, _ in kept:
        await reader.readuntil(b"here")
    assert await door.status() == b"200"
    assert await kept[0][0].read() == b""
    door.go_on.set()
    assert (await working.readline()).split()[1] == b"200"


async def test_a_header_that_comes_too_slowly_is_given_up_and_told_the_limit(door: Door) -> None:
    whole = GET % b"now"
    reader, writer = await door.enter()
    writer.write(whole)
    assert (await reader.readline()).split()[1] == b"200"
    await reader.readuntil(b"here")
    writer.write(whole[:10])
    async with asyncio.timeout(10):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"within 0.2 s (web.header_timeout)" in answer


async def test_a_request_at_work_and_a_silent_connection_are_no_slow_headers(door: Door) -> None:
    silent, _ = await door.enter()
    working, writer = await door.enter()
    writer.write((GET % b"wait")[:10])
    await asyncio.sleep(0)
    writer.write((GET % b"wait")[10:])
    await door.asked.acquire()
    slow, writer = await door.enter()
    writer.write(b"GET ")
    async with asyncio.timeout(10):
        assert (await slow.readline()).split()[1] == b"408"
    door.go_on.set()
    assert (await working.readline()).split()[1] == b"200"
    assert not silent.at_eof()


async def test_chunks_that_are_none_are_a_bad_request_at_once(door: Door) -> None:
    reader, writer = await door.enter()
    head = b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head + b"3\r\nabc\r\n")
    await door.asked.acquire()
    writer.write(b"zz\r\nabc\r\n")
    async with asyncio.timeout(10):
        assert (await reader.readline()).split()[1] == b"400"


async def test_where_all_are_at_work_a_new_one_is_told_so(door: Door) -> None:
    working = [await door.enter(b"wait") for _ in range(3)]
    for _ in working:
        await door.asked.acquire()
    reader, _ = await door.enter(b"now")
    refusal = await reader.read()
    assert refusal.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 10\r\n" in refusal
    head, body = refusal.split(b"\r\n\r\n")
    assert re.findall(rb"Content-Length: (\d+)", head) == [str(len(body)).encode()]
    door.go_on.set()
    for reader, _ in working:
        assert (await reader.readline()).split()[1] == b"200"


async def test_a_reader_that_takes_nothing_is_given_up_by_the_kernel(door: Door) -> None:
    await door.status(b"timeout")
    assert door.timeouts == [listener.STALLED_MILLISECONDS]


async def test_what_is_no_http_is_noted_without_its_text(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    with structlog.testing.capture_logs() as logs:
        reader, writer = await door.enter()
        writer.write(b"GET /studies?PatientName=Secret" + b"^" * 70_000 + b" HTTP/1.1\r\n")
        assert b" 400 " in await reader.readline()
    (log,) = logs
    assert log["event"] == "what is no HTTP was refused"
    assert "Secret" not in caplog.text + str(log)
