"""Streams: whole or not at all, and never held."""

import asyncio
import errno
import gc
import os
import tracemalloc
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Self

import aiohttp
import pytest

from gateway.failures import TemporaryFailure
from gateway.serve import frames, streaming, wado_rs
from gateway.serve.ahead import ahead
from gateway.serve.body import Body
from gateway.serve.streaming import (
    PIECE,
    Opened,
    attended,
    opened,
    send,
    soon_opened,
    while_there,
)
from tests.serve import objects
from tests.serve.gallery import Gateway, opened_gateway
from tests.serve.making import Work, each, quiet
from tests.transcode.objects import header, save


def _not_cached(descriptor: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
    if flags & os.RWF_NOWAIT:
        raise BlockingIOError(errno.EAGAIN, "not in memory")
    return os.readv(descriptor, buffers) if os.lseek(descriptor, offset, os.SEEK_SET) >= 0 else 0


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize(("offset", "size"), [(0, -1), (5, 10), (7, -1), (0, 0)])
async def test_a_run_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached: bool, offset: int, size: int
) -> None:
    file = tmp_path / "a"
    content = os.urandom(3 * PIECE + 17)
    file.write_bytes(content)
    if not cached:
        monkeypatch.setattr(os, "preadv", _not_cached)
    wanted = content[offset:] if size < 0 else content[offset : offset + size]
    for run in (await soon_opened(file, offset, size), opened(file, offset, size)):
        assert await _sent(run) == wanted
        assert run.descriptor == -1


async def _sent(run: Opened) -> bytes:
    sink = Sink()
    await send(sink, run)
    return bytes(sink.content)


async def test_a_file_that_is_gone_or_became_shorter_is_a_temporary_failure(
    tmp_path: Path,
) -> None:
    file = tmp_path / "a.dcm"
    with pytest.raises(TemporaryFailure, match=r"a\.dcm cannot be read: No such file"):
        await soon_opened(file)
    file.write_bytes(b"x" * 10)
    with pytest.raises(TemporaryFailure, match="has become shorter"):
        await soon_opened(file, 10, 5)
    file.write_bytes(bytes(3 * PIECE))
    run = await soon_opened(file)
    os.truncate(file, PIECE)
    with pytest.raises(TemporaryFailure, match="became shorter while it was sent"):
        await _sent(run)
    assert run.descriptor == -1


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with opened_gateway(
        tmp_path, lambda serving: [wado_rs.routes(serving), frames.routes(serving)]
    ) as running:
        yield running


@pytest.mark.parametrize("resource", ["", "/frames/1,2"])
async def test_memory_is_flat_whatever_the_size(
    gateway: Gateway, tmp_path: Path, resource: str
) -> None:
    """Two frames of 96 MB are sent; what is held at once is some pieces of them."""
    ds = header(8192, 6144, NumberOfFrames=2)
    ds.PixelData = b""
    ds["PixelData"].VR = "OW"
    file = save(tmp_path / "a.dcm", ds, objects.EXPLICIT_LE)
    length = 2 * 8192 * 6144 * 2
    with file.open("r+b") as out:
        out.seek(-4, os.SEEK_END)
        out.write(length.to_bytes(4, "little"))
        out.truncate(out.tell() + length)
    url, total = gateway.of(gateway.gallery.hang(file), resource), 0
    tracemalloc.start()
    try:
        async with aiohttp.ClientSession() as client, client.get(url) as answer:
            async for piece in answer.content.iter_any():
                total += len(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert length < total < length + 2048
    assert peak < 24 << 20


class Leaving:
    """A request whose client leaves when it is told to."""

    def __init__(self) -> None:
        self.left = False

    @property
    def transport(self) -> Self:
        return self

    def is_closing(self) -> bool:
        return self.left


async def test_who_leaves_ends_what_is_made_for_him_and_nothing_else_goes_wrong() -> None:
    work, request = Work(), Leaving()
    request.left = True

    async def retrieve() -> None:
        async with aclosing(ahead(each(range(9)), work.make, 3, work.dropped.append)) as stream:
            await while_there(request, anext(stream, None))  # type: ignore[arg-type]

    with pytest.raises(ConnectionResetError):
        await retrieve()
    assert (work.begun, sorted(work.cancelled)) == ([0, 1, 2], [0, 1, 2])


async def test_a_body_ends_when_its_client_leaves_in_the_midst_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streaming, "_GLANCE_SECONDS", 0.0)
    work, request = Work(), Leaving()
    work.go_on(0)

    async def retrieve() -> None:
        stream = ahead(each(range(9)), work.make, 3, work.dropped.append)
        with attended(request):  # type: ignore[arg-type]
            async with aclosing(stream):
                async for _ in stream:
                    request.left = True

    with pytest.raises(ConnectionResetError, match="the client has left"):
        await retrieve()
    assert sorted(work.cancelled) == [1, 2, 3]
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_a_request_is_let_go_of_at_once_when_its_body_has_ended() -> None:
    request = Leaving()
    gone = weakref.ref(request)
    gc.disable()
    try:
        with attended(request):  # type: ignore[arg-type]
            await asyncio.sleep(0.001)
        del request
        assert gone() is None
    finally:
        gc.enable()


async def test_nothing_is_begun_for_a_client_that_has_left_before() -> None:
    request = Leaving()
    request.left = True
    with pytest.raises(ConnectionResetError), attended(request):  # type: ignore[arg-type]
        raise AssertionError
    await asyncio.sleep(0)


async def test_a_body_that_is_cancelled_by_others_is_not_taken_for_one_whose_client_left() -> None:
    async def retrieve() -> None:
        with attended(Leaving()):  # type: ignore[arg-type]
            await asyncio.Event().wait()

    task = asyncio.create_task(retrieve())
    await quiet()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(("size", "writes"), [(0, 1), (10, 1), (PIECE, 1), (PIECE + 10, 2)])
@pytest.mark.parametrize("cached", [True, False])
async def test_what_goes_before_and_behind_a_run_is_written_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, writes: int, cached: bool
) -> None:
    file, sink = tmp_path / "file", Sink()
    file.write_bytes(content := os.urandom(size))
    if not cached:
        monkeypatch.setattr(os, "preadv", _not_cached)
    await send(sink, await soon_opened(file), b"head", b"tail")
    assert (bytes(sink.content), sink.writes) == (b"head" + content + b"tail", writes)


async def test_what_is_in_memory_anyway_is_not_read_ahead(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(1000))
    run = await soon_opened(file)
    assert run.first == b""
    run.close()


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_body_arrives_whole_with_chunks_and_without(
    gateway: Gateway, tmp_path: Path, version: str
) -> None:
    """RFC 9112 7.1 is for HTTP/1.1 alone; other parts than files go in between."""
    file = objects.native(tmp_path / "a.dcm", objects.pictures(1))
    with file.open("ab") as out:
        out.write(b"\xfc\xff\xfc\xffOB\0\0" + (3 * PIECE).to_bytes(4, "little"))
        out.write(content := os.urandom(3 * PIECE))
    gateway.gallery.hang(file)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.server.port)
    lines = f"GET /dicom-web/studies/1.2.3 HTTP/{version}", "Host: x", "Connection: close", "", ""
    writer.write("\r\n".join(lines).encode())
    head, _, body = (await asyncio.wait_for(reader.read(), 20)).partition(b"\r\n\r\n")
    writer.close()
    assert (b"Transfer-Encoding: chunked" in head) == (version == "1.1")
    whole = b"".join(chunks_of(body)) if version == "1.1" else body
    assert whole.startswith(b"--")
    assert whole.partition(b"\r\n\r\n")[2].startswith(file.read_bytes())
    assert content + b"\r\n--" in whole


def chunks_of(body: bytes) -> Iterator[bytes]:
    """The content of each chunk; what is no such body is a ValueError."""
    while True:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        yield rest[:length]
        body = rest[length:].removeprefix(b"\r\n")
        if not length:
            return


def test_what_nobody_takes_over_is_closed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(PIECE + 1))
    run = opened(file)
    descriptor = run.descriptor
    os.fstat(descriptor)
    del run
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


async def test_what_is_read_ahead_is_bounded_for_all_clients_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_bytes(content := os.urandom(1000))
    before = Opened.ahead
    monkeypatch.setattr(streaming, "AHEAD", before + 2000)
    runs = [opened(file) for _ in range(4)] + [await soon_opened(file)]
    assert [len(run.first) for run in runs] == [1000, 1000, 0, 0, 0]
    assert Opened.ahead == before + 2000
    for run in runs:
        sink = Sink()
        await send(sink, run)
        assert (bytes(sink.content), run.descriptor) == (content, -1)
    assert Opened.ahead == before


class Sink(Body):
    """Takes what is written, where no connection is."""

    def __init__(self) -> None:
        super().__init__()
        self.content = bytearray()
        self.writes = 0

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        self.content += self.owed() + data
        self.writes += 1

    async def pass_on(self, memory: memoryview, size: int) -> None:
        self.content += memory[:size]
        self.writes += 1
