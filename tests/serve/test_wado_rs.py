"""Retrieval as streams: nothing is left out, nothing is taken for whole that is not."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pydicom
import pytest

from gateway.derivation import Derivations, Derived
from gateway.dicomweb.multipart import MalformedMultipart
from gateway.failures import PermanentFailure, TemporaryFailure
from gateway.model import Instance, Rendition
from gateway.serve import frames, rendered, wado_rs
from gateway.serve.problems import NotAcceptable
from gateway.serve.streaming import Opened
from tests.serve import objects
from tests.serve.gallery import Gateway, opened_gateway
from tests.serve.parts import Parts, parts_of

LE, JLS, MP4 = objects.EXPLICIT_LE, objects.JPEG_LS, objects.VIDEO
ONLY_LE = {"Accept": f'multipart/related; type="application/dicom"; transfer-syntax={LE}'}
AS_STORED = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
STUDY = "/dicom-web/studies/1.2.3"


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with opened_gateway(
        tmp_path,
        lambda serving: [
            wado_rs.routes(serving),
            frames.routes(serving),
            rendered.routes(serving),
        ],
    ) as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def parts_at(
    client: aiohttp.ClientSession, url: str, headers: dict[str, str] | None = None
) -> Parts:
    async with client.get(url, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return await parts_of(answer)


def syntaxes(parts: Parts) -> list[str]:
    return [headers["content-type"].partition("transfer-syntax=")[2] for headers, _ in parts]


async def test_stored_files_come_byte_for_byte_and_in_order(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    made = [objects.jpeg_ls(tmp_path / f"{n}.dcm", objects.pictures(1, n)) for n in range(20)]
    hung = [gateway.gallery.hang(file) for file in made]
    parts = await parts_at(client, gateway.url(STUDY), AS_STORED)
    assert [body for _, body in parts] == [file.read_bytes() for file in made]
    for (headers, body), instance in zip(parts, hung, strict=True):
        assert headers["content-length"] == str(len(body))
        assert gateway.url(headers["content-location"]) == gateway.of(instance)
    assert gateway.shelf.made() == set()


async def test_what_was_served_gets_its_digests_once_nothing_is_being_made(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    for number in range(4):
        gateway.gallery.hang(
            objects.jpeg_ls(tmp_path / f"{number}.dcm", objects.pictures(1, number))
        )
    parts = await parts_at(client, gateway.url(STUDY), ONLY_LE)
    recorded = {passport.native_digest for _, passport in gateway.shelf.recorded}
    assert recorded == {""}
    amended = gateway.shelf.amended
    await _until(lambda: len(amended) == 4)
    for instance, key, passport in amended:
        frame = pydicom.dcmread(instance.file)
        stored = next(pydicom.encaps.generate_frames(frame.PixelData, number_of_frames=1))
        assert key == LE
        assert passport.stored_digest == sha256(stored).hexdigest()
    sent = {sha256(pydicom.dcmread(BytesIO(body)).PixelData).hexdigest() for _, body in parts}
    assert {passport.native_digest for _, _, passport in amended} == sent


async def test_a_study_that_a_client_has_is_neither_sent_nor_read_again(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    file = objects.jpeg_ls(tmp_path / "1.dcm", objects.pictures(1))
    gateway.gallery.hang(file)
    for path in (STUDY, f"{STUDY}/series/1.2.3.4"):
        async with client.get(gateway.url(path), headers=AS_STORED) as answer:
            tag = answer.headers["ETag"]
            assert answer.headers["Vary"] == "Accept, Authorization"
        held = file.rename(tmp_path / "away")
        known = AS_STORED | {"If-None-Match": tag}
        async with client.get(gateway.url(path), headers=known) as answer:
            assert (answer.status, answer.headers["ETag"]) == (304, tag)
        held.rename(file)
        async with client.get(
            gateway.url(path), headers=ONLY_LE | {"If-None-Match": tag}
        ) as other:
            assert other.status == 200
        gateway.gallery.hang(file)
        async with client.get(gateway.url(path), headers=known) as answer:
            assert answer.status == 200
            assert answer.headers["ETag"] != tag


@pytest.mark.parametrize("path", [STUDY, f"{STUDY}/series/1.2.3.4", ""])
async def test_what_was_not_decoded_once_is_no_answer_to_keep(
    gateway: Gateway,
    client: aiohttp.ClientSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
) -> None:
    def failing(*_: object, **__: object) -> asyncio.Future[Derived]:
        ended = asyncio.get_running_loop().create_future()
        ended.set_exception(PermanentFailure("two decoders brought their workers down"))
        return ended

    accept = {"Accept": f"{ONLY_LE['Accept']}, {AS_STORED['Accept']};q=0.5"}
    instance = gateway.gallery.hang(objects.jpeg_ls(tmp_path / "1.dcm", objects.pictures(1)))
    url = gateway.url(path) if path else gateway.of(instance)
    with monkeypatch.context() as patch:
        patch.setattr(Derivations, "begin", failing)
        async with client.get(url, headers=accept) as answer:
            known = accept | {"If-None-Match": answer.headers["ETag"]}
            assert syntaxes(await parts_of(answer)) == [JLS]
    async with client.get(url, headers=known) as answer:
        assert answer.status == 200
        assert syntaxes(await parts_of(answer)) == [LE]


@pytest.mark.parametrize("asked", [None, ONLY_LE, AS_STORED])
@pytest.mark.parametrize(("make", "label"), [(objects.jpeg_ls, LE), (objects.native, JLS)])
async def test_pixels_under_a_wrong_label_are_made_right_unless_asked_for_as_stored(
    gateway: Gateway,
    client: aiohttp.ClientSession,
    tmp_path: Path,
    make: Callable[..., Path],
    label: str,
    asked: dict[str, str] | None,
) -> None:
    pictures = objects.pictures(2)
    file = objects.under(label, make(tmp_path / "a.dcm", pictures))
    gateway.gallery.hang(file)
    parts = await parts_at(client, gateway.url(STUDY), asked)
    ((_, body),) = parts
    if asked == AS_STORED:
        assert (body, syntaxes(parts)) == (file.read_bytes(), [label])
    else:
        assert syntaxes(parts) == [LE]
        assert pydicom.dcmread(BytesIO(body)).PixelData == pictures.tobytes()


async def test_an_answer_with_pixels_that_stayed_as_they_are_labelled_is_none_to_keep(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """What is undecodable under a native label is told from what was decoded into it."""
    lost = objects.under(LE, objects.undecodable(tmp_path / "lost.dcm"))
    gateway.gallery.hang(lost)
    gateway.gallery.hang(objects.native(tmp_path / "right.dcm", objects.pictures(1)))
    parts = await parts_at(client, gateway.url(STUDY))
    assert parts[0][1] == lost.read_bytes()
    async with client.get(gateway.url(STUDY)) as answer:
        assert "ETag" not in answer.headers
        await answer.read()


async def test_a_file_of_many_pieces_comes_whole(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    file = objects.native(tmp_path / "raw.dcm", objects.pictures(1))
    with file.open("ab") as out:
        out.write(b"\xfc\xff\xfc\xffOB\0\0" + (7 << 20).to_bytes(4, "little"))
        out.write(bytes(range(256)) * (7 << 12))
    gateway.gallery.hang(file)
    ((_, body),) = await parts_at(client, gateway.url(STUDY))
    assert body == file.read_bytes()


@pytest.mark.parametrize("count", ["9" * 5000, "\u00b2", "++1"])
async def test_a_number_of_frames_that_is_none_spoils_its_own_instance_alone(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path, count: str
) -> None:
    good = objects.jpeg_ls(tmp_path / "good.dcm", objects.pictures(1))
    bad = objects.jpeg_ls(tmp_path / "bad.dcm", objects.pictures(1))
    said = b"(\0\x08\0IS"
    before, number, after = bad.read_bytes().partition(said + b"\x02\x001 ")
    assert number
    text = count.encode("latin-1") + b" " * (len(count) % 2)
    bad.write_bytes(before + said + len(text).to_bytes(2, "little") + text + after)
    spoilt = gateway.gallery.hang(bad)
    gateway.gallery.hang(good)
    assert syntaxes(await parts_at(client, gateway.url(STUDY))) == [JLS, LE]
    for more in ("/frames/1", "/rendered"):
        async with client.get(gateway.of(spoilt, more), headers={"Accept": "*/*"}) as answer:
            assert answer.status in (200, 406, 409), (more, await answer.text())


async def test_a_study_leaves_nothing_out_where_some_cannot_be_decoded(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    files = [
        objects.undecodable(tmp_path / "broken.dcm"),
        objects.jpeg_ls(tmp_path / "jls.dcm", objects.pictures(2)),
        objects.video(tmp_path / "video.dcm"),
        objects.native(tmp_path / "raw.dcm", objects.pictures(1)),
    ]
    for file in files:
        gateway.gallery.hang(file)
    parts = await parts_at(client, gateway.url(STUDY), ONLY_LE)
    assert syntaxes(parts) == [JLS, LE, MP4, LE]
    bodies = [body for _, body in parts]
    assert bodies[0] == files[0].read_bytes()
    assert objects.pictures(2).tobytes() in bodies[1]
    assert bodies[2] == files[2].read_bytes()


async def test_only_what_nothing_of_fits_is_refused(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    only_jls = {"Accept": f'multipart/related; type="application/dicom"; transfer-syntax={JLS}'}
    gateway.gallery.hang(objects.native(tmp_path / "raw.dcm", objects.pictures(1)))
    async with client.get(gateway.url(STUDY), headers=only_jls) as answer:
        assert answer.status == 406
        assert f"transfer-syntax={LE} or 1.2.840.10008.1.2 or" in (await answer.json())["error"]
    gateway.gallery.hang(objects.jpeg_ls(tmp_path / "jls.dcm", objects.pictures(1)))
    assert syntaxes(await parts_at(client, gateway.url(STUDY), only_jls)) == [LE, JLS]


async def test_what_fits_is_found_behind_whatever_many_that_do_not(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    only_jls = {"Accept": f'multipart/related; type="application/dicom"; transfer-syntax={JLS}'}
    raw = objects.native(tmp_path / "raw.dcm", objects.pictures(1))
    for _ in range(40):
        gateway.gallery.hang(raw)
    gateway.gallery.hang(objects.jpeg_ls(tmp_path / "jls.dcm", objects.pictures(1)))
    parts = await asyncio.wait_for(parts_at(client, gateway.url(STUDY), only_jls), 20)
    assert syntaxes(parts) == [LE] * 40 + [JLS]


async def test_what_cannot_be_begun_now_is_told_by_the_status(
    gateway: Gateway,
    client: aiohttp.ClientSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise TemporaryFailure("no room")

    for name in "ab":
        gateway.gallery.hang(objects.jpeg_ls(tmp_path / f"{name}.dcm", objects.pictures(1)))
    monkeypatch.setattr(gateway.serving.pool, "transcode", full)
    async with client.get(gateway.url(STUDY), headers=ONLY_LE) as answer:
        assert (answer.status, (await answer.json())["error"]) == (503, "no room")


async def test_a_lone_instance_that_cannot_be_decoded_is_refused_in_words(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    gateway.gallery.hang(objects.undecodable(tmp_path / "broken.dcm"))
    async with client.get(gateway.url(STUDY), headers=ONLY_LE) as answer:
        assert answer.status == 406
        error = (await answer.json())["error"]
    assert "starts like no JPEG" in error
    assert "Possible: transfer-syntax=*" in error


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/dicom-web/studies/1.2.99", 404, "nothing is held of study 1.2.99"),
        ("/dicom-web/studies/1.2.3/series/1.9", 404, "series 1.9 of study 1.2.3"),
        (f"{STUDY}/series/1.2.3.4/instances/1.9", 404, "instance 1.9"),
        ("/dicom-web/studies/..%2F..%2Fetc", 400, "is not a UID"),
        ("/dicom-web/studies/" + "1" * 65, 400, "is not a UID"),
        (f"{STUDY}/series/x/instances/1.9", 400, "the series UID 'x' is not a UID"),
        ("/dicom-web/nowhere", 404, "Not Found"),
    ],
)
async def test_what_is_not_there_and_what_is_no_address(
    gateway: Gateway,
    client: aiohttp.ClientSession,
    tmp_path: Path,
    path: str,
    status: int,
    text: str,
) -> None:
    gateway.gallery.hang(objects.native(tmp_path / "raw.dcm", objects.pictures(1)))
    async with client.get(gateway.url(path)) as answer:
        assert answer.status == status
        assert text in (await answer.json())["error"]


async def test_another_method_is_refused_in_words(
    gateway: Gateway, client: aiohttp.ClientSession
) -> None:
    async with client.put(gateway.url(STUDY)) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")
        assert "error" in await answer.json()


async def test_head_says_what_get_would_and_decodes_nothing(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    instance = gateway.gallery.hang(objects.jpeg_ls(tmp_path / "a.dcm", objects.pictures(1)))
    async with client.head(gateway.url(STUDY)) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith(
            'multipart/related; type="application/dicom"; boundary='
        )
        assert await answer.read() == b""
    stored = {"Accept": "application/dicom; transfer-syntax=*"}
    async with client.head(gateway.of(instance), headers=stored) as answer:
        assert int(answer.headers["Content-Length"]) == instance.size
    assert gateway.shelf.made() == set()


async def test_a_body_that_is_one_file_can_be_had_by_ranges(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    instance = gateway.gallery.hang(objects.jpeg_ls(tmp_path / "a.dcm", objects.pictures(1)))
    wanted = {"Accept": "application/dicom; transfer-syntax=*", "Range": "bytes=128-131"}
    async with client.get(gateway.of(instance), headers=wanted) as answer:
        assert (answer.status, await answer.read()) == (206, b"DICM")


async def test_addresses_stand_below_the_root_that_is_configured(
    client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    tables = lambda serving: [wado_rs.routes(serving)]  # noqa: E731
    async with opened_gateway(tmp_path, tables, root_url="https://pacs.example/gw/") as gateway:
        gateway.gallery.hang(objects.native(tmp_path / "raw.dcm", objects.pictures(1)))
        ((headers, _),) = await parts_at(client, gateway.url(STUDY))
    assert headers["content-location"] == (
        "https://pacs.example/gw/dicom-web/studies/1.2.3/series/1.2.3.4/instances/2.25.1"
    )


async def test_a_file_that_vanishes_cuts_the_connection(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    for number in range(3):
        gateway.gallery.hang(objects.native(tmp_path / f"{number}.dcm", objects.pictures(1)))
    gateway.gallery.instances_held[2].file.unlink()
    async with client.get(gateway.url(STUDY)) as answer:
        assert answer.status == 200
        with pytest.raises((aiohttp.ClientPayloadError, MalformedMultipart)):
            await parts_of(answer)


async def test_where_the_only_file_is_gone_the_client_hears_that_it_may_come_again(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    gateway.gallery.hang(objects.jpeg_ls(tmp_path / "a.dcm", objects.pictures(1))).file.unlink()
    async with client.get(gateway.url(STUDY)) as answer:
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert "a.dcm" in (await answer.json())["error"]


async def test_a_stored_file_that_became_shorter_is_not_taken_for_what_was_received(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    for number in range(3):
        gateway.gallery.hang(objects.native(tmp_path / f"{number}.dcm", objects.pictures(1)))
    first, _, last = gateway.gallery.instances_held
    os.truncate(last.file, last.size - 2)
    async with client.get(gateway.url(STUDY), headers=AS_STORED) as answer:
        assert answer.status == 200
        with pytest.raises((aiohttp.ClientPayloadError, MalformedMultipart)):
            await parts_of(answer)
    os.truncate(first.file, first.size - 2)
    for headers in (AS_STORED, {"Accept": "application/dicom; transfer-syntax=*"}):
        url = f"{STUDY}/series/{first.series_uid}/instances/{first.sop_instance_uid}"
        async with client.get(gateway.url(url), headers=headers) as answer:
            assert answer.status == 503
            assert f"has {first.size - 2} bytes" in (await answer.json())["error"]
    first.file.unlink()
    async with client.get(gateway.url(url), headers=headers) as answer:
        assert answer.status == 503


class Slow:
    """Derivations that wait, and know how many were asked for."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0
        self.go_on = asyncio.Event()

    def begin(
        self, instance: Instance, target: str, rendition: Rendition, *, only_now: bool
    ) -> asyncio.Future[Derived]:
        assert only_now
        return asyncio.ensure_future(self._derived(instance, target))

    async def _derived(self, instance: Instance, target: str) -> Derived:
        self.begun += 1
        try:
            await self.go_on.wait()
        finally:
            self.ended += 1
        return Derived(instance.file, target)


async def _until(come_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not come_true():  # noqa: ASYNC110 - what is looked at tells nobody
            await asyncio.sleep(0.01)


async def test_a_client_that_leaves_stops_the_decoding(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = objects.jpeg_ls(tmp_path / "a.dcm", objects.pictures(1))
    for _ in range(200):
        gateway.gallery.hang(file)
    slow = Slow()
    monkeypatch.setattr(gateway.serving.derivations, "begin", slow.begin)
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.server.port)
    writer.write(f"GET {STUDY} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    window = 2 * gateway.serving.pool.workers + 2
    await _until(lambda: slow.begun == window)
    slow.go_on.set()
    await asyncio.sleep(0)
    slow.go_on.clear()
    await _until(lambda: slow.begun > window)
    writer.transport.abort()
    await _until(lambda: slow.ended == slow.begun)
    assert slow.begun <= 2 * window
    assert gateway.gallery.asked < 200


@pytest.fixture
def tidied(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The first file that is opened is tidied away before, and listed."""
    soon_opened, away = wado_rs.soon_opened, list[Path]()

    async def opened_later(file: Path) -> Opened:
        if not away:
            away.append(file)
            await asyncio.to_thread(file.unlink)
        return await soon_opened(file)

    monkeypatch.setattr(wado_rs, "soon_opened", opened_later)
    return away


async def test_what_was_tidied_away_before_its_turn_is_made_anew(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path, tidied: list[Path]
) -> None:
    for number in range(4):
        gateway.gallery.hang(objects.jpeg_ls(tmp_path / f"{number}.dcm", objects.pictures(1)))
    parts = await parts_at(client, gateway.url(STUDY))
    assert (len(tidied), syntaxes(parts)) == (1, [LE] * 4)


@pytest.mark.usefixtures("tidied")
async def test_what_cannot_be_made_anew_is_as_stored_like_any_other(
    gateway: Gateway,
    client: aiohttp.ClientSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(4):
        gateway.gallery.hang(objects.jpeg_ls(tmp_path / f"{number}.dcm", objects.pictures(1)))
    form_of, asked = wado_rs.form_of, []

    async def once(*arguments: Any) -> wado_rs.Form:
        asked.append(arguments[1])
        if asked.count(arguments[1]) > 1:
            raise NotAcceptable("no more")
        return await form_of(*arguments)

    monkeypatch.setattr(wado_rs, "form_of", once)
    assert syntaxes(await parts_at(client, gateway.url(STUDY))) == [JLS, LE, LE, LE]


@pytest.mark.usefixtures("tidied")
async def test_what_is_as_stored_in_place_of_what_was_tidied_away_is_whole_as_well(
    gateway: Gateway,
    client: aiohttp.ClientSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = gateway.gallery.hang(objects.jpeg_ls(tmp_path / "a.dcm", objects.pictures(1)))
    form_of, asked = wado_rs.form_of, []

    async def then_as_stored(*arguments: Any) -> wado_rs.Form:
        asked.append(arguments[1])
        if len(asked) == 1:
            return await form_of(*arguments)
        os.truncate(held.file, held.size - 2)
        return wado_rs.Form(held.file, held.transfer_syntax)

    monkeypatch.setattr(wado_rs, "form_of", then_as_stored)
    async with client.get(gateway.url(STUDY)) as answer:
        assert (answer.status, len(asked)) == (503, 2)


async def test_a_list_that_breaks_off_is_not_taken_for_a_short_one(
    gateway: Gateway,
    client: aiohttp.ClientSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gateway.gallery.hang(objects.undecodable(tmp_path / "broken.dcm"))
    instances = gateway.gallery.instances

    async def breaking_off(*uids: str) -> AsyncIterator[Instance]:
        async for instance in instances(*uids):
            yield instance
        raise TemporaryFailure("the index is away")

    monkeypatch.setattr(gateway.serving.holdings, "instances", breaking_off)
    async with client.get(gateway.url(STUDY), headers=ONLY_LE) as answer:
        assert (answer.status, (await answer.json())["error"]) == (503, "the index is away")


async def test_a_client_that_takes_nothing_is_let_go(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.serve.body.STALLED_SECONDS", 0.1)
    file = objects.native(tmp_path / "raw.dcm", objects.pictures(1))
    with file.open("ab") as out:
        out.write(b"\xfc\xff\xfc\xffOB\0\0" + (32 << 20).to_bytes(4, "little"))
        out.truncate(out.tell() + (32 << 20))
    gateway.gallery.hang(file)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.server.port, limit=1024)
    writer.write(f"GET {STUDY} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    got = await reader.readuntil(b"\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 200")
    total = 0
    runner = gateway.server.runner
    assert runner is not None
    assert runner.server is not None
    await _until(lambda: not runner.server.connections)
    try:
        while piece := await reader.read(1 << 20):
            total += len(piece)
    except ConnectionResetError:
        pass
    assert total < 32 << 20
    writer.close()


async def test_an_instance_that_a_client_has_is_not_sent_again(
    gateway: Gateway, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    instance = gateway.gallery.hang(objects.jpeg_ls(tmp_path / "a.dcm", objects.pictures(1)))
    for accept in (ONLY_LE, AS_STORED, {"Accept": "application/dicom"}):
        async with client.get(gateway.of(instance), headers=accept) as answer:
            known = {"If-None-Match": answer.headers["ETag"]}
            assert answer.headers["Vary"] == "Accept, Authorization"
            await answer.read()
        async with client.get(gateway.of(instance), headers=accept | known) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
        other = ONLY_LE if accept == AS_STORED else AS_STORED
        async with client.get(gateway.of(instance), headers=other | known) as answer:
            assert answer.status == 200
