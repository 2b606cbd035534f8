"""What every form of Accept gets at every retrieval resource, over a real socket."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from gateway.dicomweb.media_types import parse_media_type
from gateway.model import Instance
from gateway.serve import bulkdata, frames, metadata, rendered, wado_rs
from tests.serve import objects
from tests.serve.gallery import Gateway, opened_gateway
from tests.serve.parts import parts_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

LE, IMPLICIT, BE = objects.EXPLICIT_LE, objects.IMPLICIT_LE, objects.EXPLICIT_BE
JLS, MP4, J2K = objects.JPEG_LS, objects.VIDEO, "1.2.840.10008.1.2.4.90"
DICOM, OCTETS, MULTI = "application/dicom", "application/octet-stream", "multipart/related"
M_DICOM, M_OCTETS = f'{MULTI}; type="{DICOM}"', f'{MULTI}; type="{OCTETS}"'
MICROSCOPY = ", ".join(
    f'{MULTI}; type="{kind}"; transfer-syntax={syntax}'
    for kind, syntax in [
        ("image/jls", JLS),
        ("image/jls", JLS[:-1] + "1"),
        ("image/jp2", J2K),
        ("image/jp2", J2K[:-1] + "1"),
        ("image/jpx", J2K[:-1] + "2"),
        ("image/jpx", J2K[:-1] + "3"),
        (OCTETS, "*"),
        ("image/jpeg", "1.2.840.10008.1.2.4.50"),
    ]
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"

Row = tuple[str, str, str | None, str | None, int, str, str]

INSTANCES: list[Row] = [
    # object, resource, Accept, accept=, status, media type, of the part, its transfer syntax
    ("jls", "", None, None, 200, f"{MULTI} {DICOM}", LE),
    ("jls", "", "*/*", None, 200, f"{MULTI} {DICOM}", LE),
    ("jls", "", "*", None, 200, f"{MULTI} {DICOM}", LE),
    ("jls", "", BROWSER, None, 200, f"{MULTI} {DICOM}", LE),
    ("jls", "", MULTI, None, 200, f"{MULTI} {DICOM}", LE),
    ("jls", "", M_DICOM, None, 200, f"{MULTI} {DICOM}", LE),
    ("jls", "", f"{MULTI};type={DICOM}", None, 200, f"{MULTI} {DICOM}", LE),
    ("jls", "", f'{MULTI}; type="*/*"', None, 200, f"{MULTI} {DICOM}", LE),
    ("jls", "", f"{M_DICOM}; transfer-syntax=*", None, 200, f"{MULTI} {DICOM}", JLS),
    ("jls", "", f'{M_DICOM}; transfer-syntax="*"', None, 200, f"{MULTI} {DICOM}", JLS),
    ("jls", "", f"{M_DICOM}; transfer-syntax={JLS}", None, 200, f"{MULTI} {DICOM}", JLS),
    ("jls", "", f'{M_DICOM}; transfer-syntax="{LE}"', None, 200, f"{MULTI} {DICOM}", LE),
    ("jls", "", f"{M_DICOM}; transfer-syntax={IMPLICIT}", None, 200, f"{MULTI} {DICOM}", IMPLICIT),
    ("jls", "", f"{M_DICOM}; transfer-syntax={BE}", None, 200, f"{MULTI} {DICOM}", BE),
    ("jls", "", f"{M_DICOM}; transfer-syntax={J2K}", None, 406, "", ""),
    (
        "jls",
        "",
        f"{M_DICOM}; transfer-syntax={J2K}, {M_DICOM}; transfer-syntax={JLS}",
        None,
        200,
        f"{MULTI} {DICOM}",
        JLS,
    ),
    (
        "jls",
        "",
        f"{M_DICOM}; transfer-syntax={JLS};q=0.5, {M_DICOM}; transfer-syntax={LE};q=0.9",
        None,
        200,
        f"{MULTI} {DICOM}",
        LE,
    ),
    ("jls", "", f"{M_DICOM}; transfer-syntax={JLS};q=0", None, 406, "", ""),
    *((name, "", None, None, 200, f"{MULTI} {DICOM}", LE) for name in ("coded", "plain")),
    ("coded", "", f"{M_DICOM}; transfer-syntax={LE}", None, 200, f"{MULTI} {DICOM}", LE),
    ("coded", "", f"{M_DICOM}; transfer-syntax=*", None, 200, f"{MULTI} {DICOM}", LE),
    ("plain", "", f"{M_DICOM}; transfer-syntax=*", None, 200, f"{MULTI} {DICOM}", JLS),
    ("plain", "", f"{M_DICOM}; transfer-syntax={JLS}", None, 406, "", ""),
    ("lost", "", None, None, 406, "", ""),
    ("lost", "", f"{DICOM}; transfer-syntax={LE}", None, 406, "", ""),
    ("lost", "", f"{DICOM}; transfer-syntax=*", None, 200, DICOM, LE),
    ("jls", "", DICOM, None, 200, DICOM, LE),
    ("jls", "", f"{DICOM}; transfer-syntax=*", None, 200, DICOM, JLS),
    ("jls", "", f"{DICOM};transfer-syntax={JLS}", None, 200, DICOM, JLS),
    ("jls", "", "application/*", None, 200, DICOM, LE),
    ("jls", "", f"image/png, {DICOM};q=0.1", None, 200, DICOM, LE),
    ("jls", "", "image/png", None, 406, "", ""),
    ("jls", "", f'{MULTI}; type="image/jls"', None, 406, "", ""),
    ("jls", "", "image/png", DICOM, 200, DICOM, LE),
    ("jls", "", M_DICOM, f"{DICOM}; transfer-syntax=*", 200, DICOM, JLS),
    ("jls", "", M_DICOM, "image/png", 406, "", ""),
    ("raw", "", None, None, 200, f"{MULTI} {DICOM}", LE),
    ("raw", "", f"{M_DICOM}; transfer-syntax={JLS}", None, 406, "", ""),
    ("implicit", "", None, None, 200, f"{MULTI} {DICOM}", LE),
    ("implicit", "", f"{M_DICOM}; transfer-syntax=*", None, 200, f"{MULTI} {DICOM}", IMPLICIT),
    ("video", "", None, None, 200, f"{MULTI} {DICOM}", MP4),
    ("video", "", f"{M_DICOM}; transfer-syntax=*", None, 200, f"{MULTI} {DICOM}", MP4),
    ("video", "", f"{M_DICOM}; transfer-syntax={LE}", None, 406, "", ""),
    ("broken", "", None, None, 200, f"{MULTI} {DICOM}", JLS),
    ("broken", "", f"{M_DICOM}; transfer-syntax={LE}", None, 406, "", ""),
    ("broken", "", f"{DICOM}; transfer-syntax={LE}", None, 406, "", ""),
    (
        "broken",
        "",
        f"{M_DICOM}; transfer-syntax={LE}, {M_DICOM}; transfer-syntax=*;q=0.1",
        None,
        200,
        f"{MULTI} {DICOM}",
        JLS,
    ),
    ("jls", "series", None, None, 200, f"{MULTI} {DICOM}", LE),
    ("jls", "series", f"{M_DICOM}; transfer-syntax=*", None, 200, f"{MULTI} {DICOM}", JLS),
    ("jls", "series", DICOM, None, 406, "", ""),
    ("jls", "study", BROWSER, None, 200, f"{MULTI} {DICOM}", LE),
    ("jls", "study", M_DICOM, f"{M_DICOM}; transfer-syntax=*", 200, f"{MULTI} {DICOM}", JLS),
    ("jls", "study", f"{M_DICOM}; transfer-syntax={J2K}", None, 406, "", ""),
]

FRAMES: list[Row] = [
    ("jls", "/frames/1", None, None, 200, f"{MULTI} {OCTETS}", LE),
    ("jls", "/frames/1", "*/*", None, 200, f"{MULTI} {OCTETS}", LE),
    ("jls", "/frames/1", f'{MULTI}; type="*/*"', None, 200, f"{MULTI} {OCTETS}", LE),
    ("jls", "/frames/1", M_OCTETS, None, 200, f"{MULTI} {OCTETS}", LE),
    (
        "jls",
        "/frames/1",
        f"{MULTI}; type={OCTETS}; transfer-syntax=*",
        None,
        200,
        f"{MULTI} image/jls",
        JLS,
    ),
    (
        "jls",
        "/frames/1",
        f'{M_OCTETS}; transfer-syntax="*"',
        None,
        200,
        f"{MULTI} image/jls",
        JLS,
    ),
    (
        "jls",
        "/frames/1",
        f'{M_OCTETS}; transfer-syntax="{LE}"',
        None,
        200,
        f"{MULTI} {OCTETS}",
        LE,
    ),
    (
        "jls",
        "/frames/1",
        f"{M_OCTETS}; transfer-syntax={IMPLICIT}",
        None,
        200,
        f"{MULTI} {OCTETS}",
        IMPLICIT,
    ),
    ("jls", "/frames/1", f"{M_OCTETS}; transfer-syntax={BE}", None, 406, "", ""),
    ("jls", "/frames/1", MICROSCOPY, None, 200, f"{MULTI} image/jls", JLS),
    ("raw", "/frames/1", MICROSCOPY, None, 200, f"{MULTI} {OCTETS}", LE),
    ("jls", "/frames/1", f'{MULTI}; type="image/jls"', None, 200, f"{MULTI} image/jls", JLS),
    ("jls", "/frames/1", f'{MULTI}; type="image/x-jls"', None, 200, f"{MULTI} image/jls", JLS),
    ("jls", "/frames/1", f'{MULTI}; type="image/*"', None, 200, f"{MULTI} image/jls", JLS),
    ("jls", "/frames/1", f'{MULTI}; type="image/jpeg"', None, 406, "", ""),
    (
        "jls",
        "/frames/1",
        f'{MULTI}; type="image/jpeg", {M_OCTETS};q=0.2',
        None,
        200,
        f"{MULTI} {OCTETS}",
        LE,
    ),
    ("jls", "/frames/1", "image/jls", None, 200, "image/jls", JLS),
    ("jls", "/frames/1", OCTETS, None, 200, OCTETS, LE),
    ("jls", "/frames/1", f"{OCTETS}; transfer-syntax=*", None, 200, "image/jls", JLS),
    ("jls", "/frames/1,2", OCTETS, None, 406, "", ""),
    ("jls", "/frames/1,2", f"{OCTETS}, {M_OCTETS};q=0.1", None, 200, f"{MULTI} {OCTETS}", LE),
    ("jls", "/frames/1", M_OCTETS, "image/jls", 200, "image/jls", JLS),
    ("raw", "/frames/1", None, None, 200, f"{MULTI} {OCTETS}", LE),
    ("raw", "/frames/1", f"{M_OCTETS}; transfer-syntax=*", None, 200, f"{MULTI} {OCTETS}", LE),
    ("raw", "/frames/1", f'{MULTI}; type="image/jls"', None, 406, "", ""),
    (
        "implicit",
        "/frames/1",
        f"{M_OCTETS}; transfer-syntax=*",
        None,
        200,
        f"{MULTI} {OCTETS}",
        LE,
    ),
    ("video", "/frames/1", f"{M_OCTETS}; transfer-syntax=*", None, 200, f"{MULTI} video/mp4", MP4),
    ("video", "/frames/1", "video/*", None, 200, "video/mp4", MP4),
    ("video", "/frames/1", M_OCTETS, None, 406, "", ""),
    ("broken", "/frames/1", M_OCTETS, None, 406, "", ""),
    ("broken", "/frames/1", None, None, 200, f"{MULTI} image/jls", JLS),
    ("coded", "/frames/1", None, None, 200, f"{MULTI} {OCTETS}", LE),
    ("plain", "/frames/1", None, None, 200, f"{MULTI} {OCTETS}", LE),
    ("plain", "/frames/1", "image/jls", None, 406, "", ""),
    ("lost", "/frames/1", None, None, 406, "", ""),
]

JSON, XML = "application/dicom+json", "application/dicom+xml"
M_XML = f'{MULTI}; type="{XML}"'

DOCUMENTS: list[Row] = [
    # no transfer syntax: what is answered is no pixels, or pixels for people
    ("jls", "/metadata", None, None, 200, JSON, ""),
    ("jls", "/metadata", "*/*", None, 200, JSON, ""),
    ("jls", "/metadata", BROWSER, None, 200, JSON, ""),
    ("jls", "/metadata", JSON, None, 200, JSON, ""),
    ("jls", "/metadata", "application/json", None, 200, "application/json", ""),
    ("jls", "/metadata", f"{M_XML}, {JSON};q=0.5", None, 200, f"{MULTI} {XML}", ""),
    ("jls", "/metadata", f"{M_XML};q=0.1, {JSON};q=0.5", None, 200, JSON, ""),
    ("jls", "/metadata", f"{MULTI}; type={XML}", None, 200, f"{MULTI} {XML}", ""),
    ("jls", "/metadata", "image/png", JSON, 200, JSON, ""),
    ("jls", "/metadata", "image/png", None, 406, "", ""),
    ("jls", "/rendered", None, None, 200, "image/jpeg", ""),
    ("jls", "/rendered", BROWSER, None, 200, "image/jpeg", ""),
    ("jls", "/rendered", "image/png, image/jpeg", None, 200, "image/png", ""),
    ("jls", "/rendered", M_OCTETS, "image/jpeg", 200, "image/jpeg", ""),
    ("jls", "/rendered", "image/jp2", None, 406, "", ""),
    ("jls", "/thumbnail", M_OCTETS, "image/jpeg", 200, "image/jpeg", ""),
    (
        "jls",
        "/thumbnail",
        "image/jxl,image/avif,image/webp,*/*;q=0.8",
        None,
        200,
        "image/jpeg",
        "",
    ),
    ("raw", "/bulkdata/7FE00010", OCTETS, None, 200, OCTETS, ""),
    ("raw", "/bulkdata/7FE00010", M_OCTETS, None, 200, f"{MULTI} {OCTETS}", ""),
    (
        "raw",
        "/bulkdata/7FE00010",
        f"{MULTI}; type=application/pdf, {M_OCTETS}",
        None,
        200,
        f"{MULTI} {OCTETS}",
        "",
    ),
]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shown(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Gateway, dict[str, Instance]]]:
    folder: Path = tmp_path_factory.mktemp("matrix")
    two = objects.pictures(2)
    files = {
        "jls": objects.jpeg_ls(folder / "jls.dcm", two),
        "raw": objects.native(folder / "raw.dcm", two),
        "implicit": objects.native(folder / "implicit.dcm", two, IMPLICIT),
        "video": objects.video(folder / "video.dcm"),
        "broken": objects.undecodable(folder / "broken.dcm"),
        "coded": objects.under(LE, objects.jpeg_ls(folder / "coded.dcm", two)),
        "plain": objects.under(JLS, objects.native(folder / "plain.dcm", two)),
        "lost": objects.under(LE, objects.undecodable(folder / "lost.dcm")),
    }
    async with opened_gateway(
        folder,
        lambda serving: [
            module.routes(serving) for module in (wado_rs, frames, metadata, bulkdata, rendered)
        ],
    ) as gateway:
        hung = {
            name: gateway.gallery.hang(file, study=f"1.2.{number}", series=f"1.2.{number}.1")
            for number, (name, file) in enumerate(files.items())
        }
        yield gateway, hung


def _id(row: Row) -> str:
    return " ".join(str(part) for part in row[:4])


@pytest.mark.parametrize("row", [*INSTANCES, *FRAMES, *DOCUMENTS], ids=_id)
async def test_what_is_asked_for_is_given(
    row: Row, shown: tuple[Gateway, dict[str, Instance]]
) -> None:
    gateway, hung = shown
    name, resource, accept, query, status, media_type, syntax = row
    url = _url(gateway, hung[name], resource)
    skip = ["Accept"] if accept is None else []
    async with aiohttp.ClientSession(skip_auto_headers=skip) as client:
        headers = {} if accept is None else {"Accept": accept}
        params = {} if query is None else {"accept": query}
        async with client.get(url, headers=headers, params=params) as answer:
            assert answer.status == status, await answer.text()
            if status != 200:
                error = (await answer.json())["error"]
                assert "Possible: " in error or row in DOCUMENTS
                return
            found = parse_media_type(answer.headers["Content-Type"])
            if found.type == MULTI:
                parts = await parts_of(answer)
                types = {headers["content-type"] for headers, _ in parts}
                assert f"{found.type} {found.parameters['type']}" == media_type
            else:
                types = {answer.headers["Content-Type"]}
                assert found.type == media_type.lower()
    if syntax:
        assert types == {f"{media_type.split()[-1]}; transfer-syntax={syntax}"}
    else:
        assert {parse_media_type(one).type for one in types} == {media_type.split()[-1]}


PAGE = Path(__file__).parents[2] / "docs" / "retrieving.md"
STORED = {"jls": "JPEG-LS", "raw": "Explicit VR LE", "implicit": "Implicit VR LE"}
STORED |= {"coded": "JPEG-LS labelled Explicit VR LE"}
STORED |= {"plain": "uncompressed labelled JPEG-LS"}
STORED |= {"lost": "undecodable labelled Explicit VR LE"}
STORED |= {"video": "MPEG-4", "broken": "undecodable JPEG-LS"}
NAMES = {LE: "Explicit VR LE", IMPLICIT: "Implicit VR LE", JLS: "JPEG-LS", MP4: "MPEG-4"}


def _line(row: Row) -> str:
    """A row as the page has it."""
    name, resource, accept, query, status, media_type, syntax = row
    where = {"": "instance", "/frames/1": "frame", "/frames/1,2": "two frames"}
    asked = f"`{accept}`" if accept else "nothing"
    asked += f", `accept={query}`" if query else ""
    kind = media_type.replace(f"{MULTI} ", "multipart of ")
    given = f"{kind}, {NAMES.get(syntax, syntax)}" if status == 200 else str(status)
    return f"| {STORED[name]} | {where.get(resource, resource)} | {asked} | {given} |"


async def test_the_page_says_what_these_tests_show() -> None:
    head = "| --- | --- | --- | --- |\n"
    table = PAGE.read_text().partition(head)[2].partition("\n\n")[0]
    shown = {_line(row) for row in (*INSTANCES, *FRAMES)}
    assert len(table.splitlines()) > 15
    assert [line for line in table.splitlines() if line not in shown] == []


def _url(gateway: Gateway, instance: Instance, resource: str) -> str:
    study = f"/dicom-web/studies/{instance.study_uid}"
    if resource == "study":
        return gateway.url(study)
    if resource == "series":
        return gateway.url(f"{study}/series/{instance.series_uid}")
    return gateway.of(instance, resource)
