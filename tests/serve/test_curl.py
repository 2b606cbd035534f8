"""Transcripts: what curl is told, line by line."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.serve import frames, wado_rs
from tests.serve import objects
from tests.serve.gallery import Gateway, opened_gateway

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here"),
    pytest.mark.asyncio(loop_scope="module"),
]

PICTURES = objects.pictures(2)
INSTANCE = "/dicom-web/studies/1.2.3/series/1.2.3.4/instances/2.25.1"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    folder: Path = tmp_path_factory.mktemp("curl")
    async with opened_gateway(
        folder, lambda serving: [wado_rs.routes(serving), frames.routes(serving)]
    ) as running:
        running.gallery.hang(objects.jpeg_ls(folder / "jls.dcm", PICTURES))
        yield running


async def curl(gateway: Gateway, path: str, *options: str) -> bytes:
    """All that curl prints with --include, without what changes from call to call."""
    command = ("curl", "-sS", "-i", "--noproxy", "*", *options, gateway.url(path))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    out = re.sub(rb"(Date|Server|ETag|Last-Modified|Cache-Control|Vary): [^\r]*\r\n", b"", out)
    return re.sub(rb"[0-9a-f]{32}", b"BOUNDARY", out)


def lines(*text: str) -> bytes:
    return "".join(f"{line}\r\n" for line in text).encode()


async def test_a_frame_as_stored_in_a_multipart(gateway: Gateway) -> None:
    accept = "Accept: multipart/related; type=application/octet-stream; transfer-syntax=*"
    out = await curl(gateway, f"{INSTANCE}/frames/2", "-H", accept)
    head, _, body = out.partition(b"\r\n\r\n")
    assert head + b"\r\n" == lines(
        "HTTP/1.1 200 OK",
        'Content-Type: multipart/related; type="image/jls"; boundary=BOUNDARY',
        f"Content-Length: {len(body) + 2 * (32 - len('BOUNDARY'))}",
    )
    assert body.startswith(
        lines(
            "--BOUNDARY",
            "Content-Type: image/jls; transfer-syntax=1.2.840.10008.1.2.4.80",
            f"Content-Location: {INSTANCE}/frames/2",
            "",
        )
        + b"\xff\xd8\xff"
    )
    assert body.endswith(lines("", "--BOUNDARY--"))


async def test_a_frame_uncompressed_by_itself(gateway: Gateway) -> None:
    out = await curl(gateway, f"{INSTANCE}/frames/2", "-H", "Accept: application/octet-stream")
    assert out == (
        lines(
            "HTTP/1.1 200 OK",
            "Content-Type: application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1",
            "Content-Length: 120",
            "",
        )
        + PICTURES[1].tobytes()
    )


async def test_a_study_by_default_is_uncompressed(gateway: Gateway) -> None:
    out = await curl(gateway, "/dicom-web/studies/1.2.3")
    head = lines(
        "--BOUNDARY",
        "Content-Type: application/dicom; transfer-syntax=1.2.840.10008.1.2.1",
    )
    assert head in out
    assert PICTURES.tobytes() in out


async def test_an_old_client_without_chunks_has_the_end_of_the_connection(
    gateway: Gateway,
) -> None:
    out = await curl(gateway, "/dicom-web/studies/1.2.3", "--http1.0")
    assert out.startswith(lines("HTTP/1.0 200 OK"))
    assert b"chunked" not in out
    assert out.endswith(lines("", "--BOUNDARY--"))


async def test_the_head_alone(gateway: Gateway) -> None:
    out = await curl(gateway, INSTANCE, "--head")
    assert out == lines(
        "HTTP/1.1 200 OK",
        'Content-Type: multipart/related; type="application/dicom"; boundary=BOUNDARY',
        "",
    )


async def test_a_refusal_lists_what_is_possible(gateway: Gateway) -> None:
    out = await curl(gateway, INSTANCE, "-H", "Accept: image/png")
    head, _, body = out.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 406 Not Acceptable\r\n")
    assert b"Content-Type: application/json; charset=utf-8" in head
    assert body == (
        b'{"error": "nothing that the client accepts can be made of what is held. Possible: '
        b'multipart/related; type=\\"application/dicom\\"; transfer-syntax=1.2.840.10008.1.2.4.80 '
        b"or 1.2.840.10008.1.2.1 or 1.2.840.10008.1.2 or 1.2.840.10008.1.2.2, "
        b'or transfer-syntax=* for the stored one"}'
    )


async def test_a_part_of_a_file(gateway: Gateway) -> None:
    accept = "Accept: application/dicom; transfer-syntax=*"
    out = await curl(gateway, INSTANCE, "-H", accept, "-r", "128-131")
    assert out.startswith(b"HTTP/1.1 206 Partial Content\r\n")
    assert out.endswith(b"\r\n\r\nDICM")


async def test_what_curl_has_it_is_not_sent_again(gateway: Gateway) -> None:
    path = f"{INSTANCE}/frames/1"
    process = await asyncio.create_subprocess_exec(
        *("curl", "-sSI", "--noproxy", "*", gateway.url(path)), stdout=asyncio.subprocess.PIPE
    )
    head, _ = await process.communicate()
    (tag,) = re.findall(rb'ETag: ("[0-9a-f]{32}")', head)
    out = await curl(gateway, path, "-H", f"If-None-Match: {tag.decode()}")
    assert out == lines("HTTP/1.1 304 Not Modified", "")
    other = await curl(gateway, f"{INSTANCE}/frames/2", "-H", f"If-None-Match: {tag.decode()}")
    assert other.startswith(b"HTTP/1.1 200 OK")
