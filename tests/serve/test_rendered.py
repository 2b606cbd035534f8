"""Rendered resources and thumbnails through a real socket, as clients ask for them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from gateway.serve.rendered import representatives
from gateway.spool.files import UNFINISHED
from tests.rendering.truth import by_pydicom
from tests.serve.parts import parts_of
from tests.serve.pictures import (
    PDF,
    RAMP,
    SERIES_OF_CT,
    SERIES_OF_REPORTS,
    VIDEO,
    Exhibition,
    exhibition,
    frames_of,
    picture_of,
)
from tests.transcode.objects import EXPLICIT_LE

pytestmark = pytest.mark.asyncio(loop_scope="module")

OHIF = {"Accept": 'multipart/related; type="application/octet-stream"'}
BROWSER = {"Accept": "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hall(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Exhibition]:
    async with exhibition(tmp_path_factory.mktemp("hall")) as opened:
        yield opened


@pytest.mark.parametrize(
    ("headers", "query", "media_type"),
    [
        ({}, {}, "image/jpeg"),
        ({"Accept": "*/*"}, {}, "image/jpeg"),
        ({"Accept": "image/*"}, {}, "image/jpeg"),
        ({"Accept": "image/png"}, {}, "image/png"),
        ({"Accept": "image/gif"}, {}, "image/gif"),
        ({"Accept": "image/png;q=0.5, image/gif"}, {}, "image/gif"),
        ({"Accept": "image/webp, image/png"}, {}, "image/png"),
        ({"Accept": "text/html, image/jpeg"}, {}, "image/jpeg"),
        ({"Accept": "image/jpeg;q=0, */*"}, {}, "image/png"),
        (BROWSER, {}, "image/jpeg"),
        (OHIF, {"accept": "image/jpeg"}, "image/jpeg"),
        (OHIF, {"accept": "image/png"}, "image/png"),
        (BROWSER, {"accept": "image/jpeg"}, "image/jpeg"),
    ],
)
@pytest.mark.parametrize("resource", ["/rendered", "/thumbnail", "/frames/1/rendered"])
async def test_the_media_type_is_what_the_client_likes_best(
    hall: Exhibition,
    resource: str,
    headers: dict[str, str],
    query: dict[str, str],
    media_type: str,
) -> None:
    status, answered, body = await hall.get(hall.gateway.of(hall.ct, resource), headers, **query)
    assert (status, answered["Content-Type"]) == (200, media_type), body
    assert int(answered["Content-Length"]) == len(body)
    image = picture_of(body)
    assert f"image/{image.format}".lower() == media_type
    assert image.size == (128, 128)


@pytest.mark.parametrize(
    "accept", ["text/html", "application/dicom", "image/webp", OHIF["Accept"]]
)
async def test_what_is_not_made_is_refused_with_what_is(hall: Exhibition, accept: str) -> None:
    status, _, body = await hall.get(hall.gateway.of(hall.ct, "/rendered"), {"Accept": accept})
    assert status == 406
    assert b"image/jpeg, image/png, image/gif" in body


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"window": "40"}, b"parameter window"),
        ({"viewport": "big"}, b"parameter viewport"),
        ({"viewport": "9,9,500,500,5,5"}, b"outside the picture of 128 x 128"),
        ({"quality": "0"}, b"parameter quality"),
        ({"annotation": "ruler"}, b"parameter annotation"),
        ({"iccprofile": "rommrgb"}, b"parameter iccprofile"),
        ({"iccprofile": "yes", "accept": "image/gif"}, b"parameter iccprofile"),
        ({"annotation": "patient", "viewport": "32,32"}, b"parameter annotation"),
    ],
)
async def test_a_wrong_parameter_is_400_and_named(
    hall: Exhibition, query: dict[str, str], named: bytes
) -> None:
    status, _, body = await hall.get(hall.gateway.of(hall.ct, "/rendered"), **query)
    assert status == 400
    assert named in body


async def test_a_compressed_object_looks_as_its_pixels_do(hall: Exhibition) -> None:
    png = {"Accept": "image/png"}
    status, _, body = await hall.get(hall.gateway.of(hall.compressed, "/rendered"), png)
    assert status == 200
    native = next(
        file for file in hall.gateway.shelf.folder.iterdir() if file.name == f"2-{EXPLICIT_LE}"
    )
    assert np.abs(np.asarray(picture_of(body)).astype(int) - by_pydicom(native)).max() <= 1


async def test_a_picture_fills_its_viewport_without_distortion(hall: Exhibition) -> None:
    url = hall.gateway.of(hall.colour, "/rendered")
    sizes = []
    for viewport in ("60,60", "600,20", "60,60,10,0,5,20", "15,10"):
        _, _, body = await hall.get(url, viewport=viewport)
        sizes.append(picture_of(body).size)
    assert sizes == [(60, 40), (30, 20), (15, 60), (15, 10)]


async def test_lower_quality_makes_a_smaller_jpeg(hall: Exhibition) -> None:
    url = hall.gateway.of(hall.ct, "/rendered")
    sizes = [len((await hall.get(url, quality=quality))[2]) for quality in ("10", "60", "100")]
    assert sizes == sorted(sizes)
    assert sizes[0] * 2 < sizes[2]


async def test_a_multi_frame_object_moves_as_gif(hall: Exhibition) -> None:
    url = hall.gateway.of(hall.frames, "/rendered")
    status, answered, body = await hall.get(url, {"Accept": "image/gif"})
    assert (status, answered["Content-Type"]) == (200, "image/gif")
    image = picture_of(body)
    assert (image.n_frames, image.info["duration"], image.info["loop"]) == (3, 40, 0)
    truth = np.rint(RAMP / RAMP.max() * 255)
    assert all((a == b).all() for a, b in zip(frames_of(body), truth, strict=True))


async def test_a_single_frame_of_it_is_a_jpeg_or_png(hall: Exhibition) -> None:
    for resource, frame in (("/rendered", 0), ("/frames/2/rendered", 1), ("/thumbnail", 0)):
        url = hall.gateway.of(hall.frames, resource)
        status, answered, body = await hall.get(url, {"Accept": "image/png"})
        assert (status, answered["Content-Type"]) == (200, "image/png")
        truth = np.rint((RAMP[frame] - RAMP[frame].min()) / 767 * 255)
        assert (np.asarray(picture_of(body)) == truth).all()


async def test_several_frames_are_a_multipart_or_a_gif_of_these(hall: Exhibition) -> None:
    url = hall.gateway.of(hall.frames, "/frames/3,2,3/rendered")
    async with hall.client.get(url, headers={"Accept": "image/png"}) as answer:
        assert answer.status == 200
        parts = await parts_of(answer)
    assert [headers["content-type"] for headers, _ in parts] == ["image/png"] * 3
    assert [headers["content-location"].rsplit("/", 2)[1] for headers, _ in parts] == list("323")
    assert parts[0][1] == parts[2][1] != parts[1][1]
    _, _, body = await hall.get(url, {"Accept": "image/gif"})
    assert len(frames_of(body)) == 3


async def test_a_multipart_of_a_multi_frame_object_has_all_frames(hall: Exhibition) -> None:
    accept = {"Accept": 'multipart/related; type="image/jpeg"'}
    async with hall.client.get(
        hall.gateway.of(hall.frames, "/rendered"), headers=accept
    ) as answer:
        parts = await parts_of(answer)
    assert [picture_of(body).size for _, body in parts] == [(32, 24)] * 3


@pytest.mark.parametrize(
    ("frames", "status", "said"),
    [
        ("4", 404, "the object has 3"),
        ("1,4", 404, "the object has 3"),
        ("0", 400, "numbers from 1"),
        ("a", 400, "numbers from 1"),
        ("1,,2", 400, "numbers from 1"),
        ("1" * 40, 400, "numbers from 1"),
    ],
)
async def test_frames_that_are_not_there_are_said(
    hall: Exhibition, frames: str, status: int, said: str
) -> None:
    url = hall.gateway.of(hall.frames, f"/frames/{frames}/rendered")
    answered, _, body = await hall.get(url)
    assert (answered, said in body.decode()) == (status, True), body


async def test_a_series_is_a_multipart_of_its_pictures(hall: Exhibition) -> None:
    url = hall.study(f"/series/{SERIES_OF_CT}/rendered")
    async with hall.client.get(url, headers={"Accept": "image/jpeg"}) as answer:
        assert answer.headers["Content-Type"].startswith("multipart/related")
        assert 'type="image/jpeg"' in answer.headers["Content-Type"]
        parts = await parts_of(answer)
    places = [headers["content-location"] for headers, _ in parts]
    assert [place.rsplit("/", 2)[1] for place in places] == [f"2.25.{n}" for n in (1, 2, 3, 4)]
    assert [picture_of(body).size for _, body in parts][2:] == [(32, 24), (30, 20)]


async def test_a_study_leaves_out_what_has_no_picture(hall: Exhibition) -> None:
    async with hall.client.get(hall.study("/rendered")) as answer:
        assert len(await parts_of(answer)) == 4


async def test_what_cannot_be_read_says_so_in_its_part(hall: Exhibition) -> None:
    async with hall.client.get(hall.study("/rendered", "1.2.6")) as answer:
        assert answer.status == 200
        (first, text), (second, picture) = await parts_of(answer)
    assert first["content-type"].startswith("text/plain")
    assert hall.beside[0].sop_instance_uid in first["content-location"]
    assert b"codestream" in text
    assert second["content-type"] == "image/jpeg"
    assert picture_of(picture).size == (128, 128)
    assert (await hall.get(hall.study("/thumbnail", "1.2.6")))[0] == 200


async def test_the_middle_of_a_series_stands_for_it_and_reports_come_last(
    hall: Exhibition,
) -> None:
    ct, report = hall.ct, hall.report
    slices = [replace(ct, sop_instance_uid=f"1.{n}") for n in range(5)]
    others = [replace(ct, sop_instance_uid=f"2.{n}", series_uid="1.2.3.6") for n in range(3)]
    found = [one.sop_instance_uid for one in representatives([report, *slices, *others])]
    assert found[:4] == ["1.2", "2.1", "1.1", "1.3"]
    assert found[-1] == report.sop_instance_uid
    assert len(found) == 9


async def test_thumbnails_of_study_and_series_are_one_picture(hall: Exhibition) -> None:
    for url in (hall.study("/thumbnail"), hall.study(f"/series/{SERIES_OF_CT}/thumbnail")):
        status, answered, body = await hall.get(url, BROWSER)
        assert (status, answered["Content-Type"]) == (200, "image/jpeg")
        assert max(picture_of(body).size) <= 256


async def test_a_thumbnail_has_the_size_asked_for(hall: Exhibition) -> None:
    _, _, body = await hall.get(hall.study("/thumbnail"), viewport="64,32")
    assert picture_of(body).size == (43, 32)
    _, _, body = await hall.get(hall.gateway.of(hall.ct, "/thumbnail"), viewport="64,64")
    assert picture_of(body).size == (64, 64)


@pytest.mark.parametrize("resource", ["/rendered", "/thumbnail"])
async def test_where_nothing_has_a_picture_it_is_406_and_where_nothing_is_404(
    hall: Exhibition, resource: str
) -> None:
    reports = hall.study(f"/series/{SERIES_OF_REPORTS}{resource}")
    lonely = hall.gateway.of(hall.lonely, resource)
    for url in (reports, lonely, hall.study(resource, "1.2.7")):
        assert (await hall.get(url))[0] == 406
    for url in (hall.study(resource, "1.2.777"), hall.study(f"/series/1.9{resource}")):
        assert (await hall.get(url))[0] == 404
    assert (await hall.get(hall.study(resource, "1.2.x")))[0] == 400


async def test_pixels_that_cannot_be_read_are_a_clear_refusal(hall: Exhibition) -> None:
    for url in (
        hall.gateway.of(hall.broken, "/rendered"),
        hall.study("/rendered", "1.2.8"),
        hall.study("/thumbnail", "1.2.8"),
    ):
        status, _, body = await hall.get(url)
        assert (status, b"codestream" in body) == (409, True), body


async def test_a_video_is_passed_through_by_range(hall: Exhibition) -> None:
    url = hall.gateway.of(hall.video, "/rendered")
    for asked, status, said, expected in (
        (None, 200, None, VIDEO),
        ("bytes=0-", 206, f"bytes 0-{len(VIDEO) - 1}/{len(VIDEO)}", VIDEO),
        ("bytes=990-1009", 206, f"bytes 990-1009/{len(VIDEO)}", VIDEO[990:1010]),
        ("bytes=-16", 206, f"bytes {len(VIDEO) - 16}-{len(VIDEO) - 1}/{len(VIDEO)}", VIDEO[-16:]),
        ("bytes=1001-99999", 206, f"bytes 1001-{len(VIDEO) - 1}/{len(VIDEO)}", VIDEO[1001:]),
        ("bytes=0-1,5-6", 200, None, VIDEO),
        ("bytes=5-2", 200, None, VIDEO),
        ("lines=1-2", 200, None, VIDEO),
    ):
        headers = {"Accept": "*/*"} | ({"Range": asked} if asked else {})
        answered, found, body = await hall.get(url, headers)
        assert (answered, found.get("Content-Range"), body) == (status, said, expected), asked
        assert (found["Content-Type"], found["Accept-Ranges"]) == ("video/mp4", "bytes")
    status, found, _ = await hall.get(url, {"Range": "bytes=99999-"})
    assert (status, found["Content-Range"]) == (416, f"bytes */{len(VIDEO)}")


async def test_a_video_has_no_pictures(hall: Exhibition) -> None:
    for resource in ("/thumbnail", "/frames/1/rendered"):
        status, _, body = await hall.get(hall.gateway.of(hall.video, resource))
        assert (status, b"video" in body) == (406, True)
    for resource in ("/thumbnail", "/rendered"):
        assert (await hall.get(hall.study(resource, "1.2.9")))[0] == 406
    url = hall.gateway.of(hall.video, "/rendered")
    status, _, body = await hall.get(url, {"Accept": "image/jpeg"})
    assert (status, b"video/mp4" in body) == (406, True)


async def test_an_encapsulated_document_is_given_as_what_it_is(hall: Exhibition) -> None:
    url = hall.gateway.of(hall.pdf, "/rendered")
    for accept in ("*/*", "application/pdf"):
        status, answered, body = await hall.get(url, {"Accept": accept})
        assert (status, answered["Content-Type"], body) == (200, "application/pdf", PDF)
    assert (await hall.get(url, {"Accept": "image/jpeg"}))[0] == 406
    status, _, body = await hall.get(url, {"Range": "bytes=1-3"})
    assert (status, body) == (206, PDF[1:4])


async def test_what_a_client_has_is_not_sent_again(hall: Exhibition) -> None:
    urls = (hall.gateway.of(hall.ct, "/rendered"), hall.study("/thumbnail"))
    for url in (*urls, hall.gateway.of(hall.video, "/rendered")):
        _, answered, _ = await hall.get(url)
        known = {"If-None-Match": answered["ETag"]}
        assert (await hall.get(url, known))[0] == 304
        assert (await hall.get(url, {"If-None-Match": '"other"'}))[0] == 200
    _, other, _ = await hall.get(urls[0], quality="50")
    assert (await hall.get(urls[0], {"If-None-Match": other["ETag"]}))[0] == 200


async def test_a_range_of_something_else_is_not_heeded(hall: Exhibition) -> None:
    url = hall.gateway.of(hall.video, "/rendered")
    tag = (await hall.get(url))[1]["ETag"]
    same = await hall.get(url, {"Range": "bytes=2-5", "If-Range": tag})
    assert (same[0], same[2]) == (206, VIDEO[2:6])
    other = await hall.get(url, {"Range": "bytes=2-5", "If-Range": '"other"'})
    assert (other[0], other[2]) == (200, VIDEO)


async def test_head_has_the_length_and_no_body(hall: Exhibition) -> None:
    for instance in (hall.ct, hall.video):
        url = hall.gateway.of(instance, "/rendered")
        async with hall.client.head(url) as answer:
            assert answer.status == 200
            assert int(answer.headers["Content-Length"]) > 1000
            assert await answer.read() == b""


async def test_wado_uri_gives_pictures_in_its_own_words(hall: Exhibition) -> None:
    def query(instance: Any, **more: str) -> dict[str, str]:
        return {
            "requestType": "WADO",
            "studyUID": instance.study_uid,
            "seriesUID": instance.series_uid,
            "objectUID": instance.sop_instance_uid,
            **more,
        }

    wado = hall.gateway.url("/wado")
    status, answered, _ = await hall.get(wado, **query(hall.ct))
    assert (status, answered["Content-Type"]) == (200, "image/jpeg")
    asked = query(
        hall.ct, contentType="image/png", windowCenter="40", windowWidth="400", rows="64"
    )
    status, answered, by_uri = await hall.get(wado, **asked)
    assert (status, answered["Content-Type"]) == (200, "image/png")
    by_rs = await hall.get(
        hall.gateway.of(hall.ct, "/rendered"),
        {"Accept": "image/png"},
        window="40,400,linear",
        viewport="16384,64",
    )
    assert by_uri == by_rs[2]
    region = query(hall.colour, contentType="image/png", region="0.5,0.0,1.0,0.5")
    assert picture_of((await hall.get(wado, **region))[2]).size == (15, 10)
    frame = query(hall.frames, contentType="image/png", frameNumber="3")
    truth = np.rint((RAMP[2] - RAMP[2].min()) / 767 * 255)
    assert (np.asarray(picture_of((await hall.get(wado, **frame))[2])) == truth).all()
    moving = query(hall.frames, contentType="image/gif")
    assert len(frames_of((await hall.get(wado, **moving))[2])) == 3
    for wrong, status in (({"frameNumber": "9"}, 404), ({"windowCenter": "1"}, 400)):
        asked = query(hall.frames, contentType="image/jpeg", **wrong)
        assert (await hall.get(wado, **asked))[0] == status
    pdf = query(hall.pdf, contentType="application/pdf")
    assert (await hall.get(wado, **pdf))[2] == PDF


async def test_dicomweb_client_gets_pictures(hall: Exhibition) -> None:
    api = pytest.importorskip("dicomweb_client.api")
    client = api.DICOMwebClient(url=hall.gateway.url("/dicom-web"))
    uids = (hall.frames.study_uid, hall.frames.series_uid, hall.frames.sop_instance_uid)

    def ask() -> list[bytes]:
        png = ("image/png",)
        return [
            client.retrieve_instance_rendered(*uids),
            client.retrieve_instance_rendered(*uids, media_types=("image/jpeg",)),
            client.retrieve_instance_rendered(
                *uids, media_types=png, params={"viewport": "64,64", "window": "40,400,linear"}
            ),
            client.retrieve_instance_rendered(*uids, media_types=("image/gif",)),
            client.retrieve_instance_frames_rendered(*uids, [2], media_types=png),
        ]

    found = await asyncio.to_thread(ask)
    formats = [(image.format, image.size) for image in map(picture_of, found)]
    assert formats == [
        ("JPEG", (32, 24)),
        ("JPEG", (32, 24)),
        ("PNG", (64, 48)),
        ("GIF", (32, 24)),
        ("PNG", (32, 24)),
    ]
    series = await asyncio.to_thread(client.retrieve_series_rendered, *uids[:2])
    assert series.count(b"Content-Type: image/jpeg") == 4


async def test_a_client_that_leaves_leaves_nothing_behind(hall: Exhibition) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", hall.gateway.server.port)
    path = hall.study(f"/series/{SERIES_OF_CT}/rendered?viewport=4000,4000").split("/", 3)[3]
    writer.write(f"GET /{path} HTTP/1.1\r\nHost: x\r\nAccept: image/png\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()
    async with asyncio.timeout(60):
        while list(hall.gateway.shelf.folder.glob(f"*{UNFINISHED}")):
            status, _, _ = await hall.get(hall.gateway.of(hall.ct, "/rendered"))
            assert status == 200
