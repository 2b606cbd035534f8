"""STOW-RS of metadata with bulk data apart: what is sent is stored, or nothing is, with why."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

from gateway.dataset.json_model import to_json
from gateway.dataset.part10 import read_file_meta
from gateway.dataset.xml_model import to_xml
from gateway.dicomweb.multipart import closing, part_head
from gateway.serve.stow_metadata import MetadataParts
from gateway.spool import Spool
from gateway.transfer_syntax import BY_UID, EXPLICIT_LE, JPEG_BASELINE
from tests.dataset.samples import bundled
from tests.serve.test_stow_rs import Server, half_stored, reasons, uids

JSON, XML = "application/dicom+json", "application/dicom+xml"
OCTETS = "application/octet-stream"
_Part = tuple[dict[str, str], bytes]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    spool = Spool.open(tmp_path / "spool", clock=lambda: datetime.now(UTC), refuse_below_free=1)
    yield Server(spool)
    await spool.aclose()


def body(*parts: _Part) -> bytes:
    heads = [part_head("b0", headers, first=not at) for at, (headers, _) in enumerate(parts)]
    pairs = zip(heads, (content for _, content in parts), strict=True)
    return b"".join(head + content for head, content in pairs) + closing("b0")


def multipart(kind: str) -> str:
    return f'multipart/related; type="{kind}"; boundary=b0'


def described(name: str, prefix: str = "bulk/") -> tuple[bytes, Dataset]:
    """The JSON of a file, its pixels by reference, and what pydicom reads in it."""
    data = bundled(name).read_bytes()
    meta = read_file_meta(data)
    syntax = BY_UID[meta.transfer_syntax]
    text = to_json(data, meta.dataset_offset, len(data), syntax, bulk=prefix.__add__)
    return text, pydicom.dcmread(bundled(name))


def bulk_parts(text: bytes, dataset: Dataset, prefix: str = "bulk/") -> list[_Part]:
    """Every top-level bulk data value as a part."""
    found: list[_Part] = []
    for tag, one in json.loads(text).items():
        if "BulkDataURI" in one:
            headers = {"Content-Type": OCTETS, "Content-Location": f"{prefix}{tag}"}
            found.append((headers, dataset.get_item(int(tag, 16)).value))
    return found


def same(kept: Path, sent: Dataset) -> bool:
    stored = pydicom.dcmread(kept)
    for each in (stored, sent):
        each.pop("SpecificCharacterSet", None)
        for group_length in [one.tag for one in each if not one.tag.element]:
            del each[group_length]
    return bool(stored == sent)


@pytest.mark.parametrize("kind", [JSON, XML])
async def test_metadata_and_bulk_data_become_an_instance(
    server: Server, kind: str, tmp_path: Path
) -> None:
    text, sent = described("CT_small.dcm")
    metadata = ({"Content-Type": kind}, text if kind == JSON else to_xml(text))
    async with server.running() as at:
        status, model, _ = await at.post(body(metadata, *bulk_parts(text, sent)), multipart(kind))
    assert status == 200, model
    assert uids(model, "00081199") == {sent.SOPInstanceUID}
    (kept,) = server.kept
    assert kept.transfer_syntax == EXPLICIT_LE
    assert kept.study_uid == sent.StudyInstanceUID
    assert same(kept.file, sent)
    assert half_stored(tmp_path) == []


async def test_a_json_array_holds_many_instances_and_each_has_its_outcome(server: Server) -> None:
    models, parts = [], []
    for name in ("CT_small.dcm", "MR_small.dcm", "rtplan.dcm"):
        text, sent = described(name, f"{name}/")
        models.append(json.loads(text))
        parts += bulk_parts(text, sent, f"{name}/")
    models[1]["00080060"]["Value"] = [5]
    del models[2]["00080018"]
    metadata = ({"Content-Type": JSON}, json.dumps(models).encode())
    async with server.running() as at:
        status, model, _ = await at.post(body(metadata, *parts), multipart(JSON))
    assert status == 202
    assert uids(model, "00081199") == {models[0]["00080018"]["Value"][0]}
    assert uids(model, "00081198") == {models[1]["00080018"]["Value"][0]}
    assert reasons(model) == [0xC000, 0xC000]
    assert [one.sop_instance_uid for one in server.kept] == [models[0]["00080018"]["Value"][0]]


async def test_metadata_alone_are_a_body_of_their_own(server: Server) -> None:
    text, sent = described("rtplan.dcm")
    async with server.running() as at:
        status, model, _ = await at.post(b"[" + text + b"]", JSON)
        assert (status, uids(model, "00081199")) == (200, {sent.SOPInstanceUID})
        status, model, _ = await at.post(to_xml(text), XML)
        assert (status, uids(model, "00081199")) == (200, {sent.SOPInstanceUID})


async def test_compressed_frames_are_stored_as_they_come(server: Server) -> None:
    text, sent = described("SC_rgb_jpeg_dcmtk.dcm")
    (frame,) = pydicom.encaps.generate_frames(sent.PixelData, number_of_frames=1)
    metadata = ({"Content-Type": JSON}, text)
    part = {"Content-Location": "http://elsewhere/bulk/7FE00010"}
    for content_type, status in (
        (f"image/jpeg; transfer-syntax={JPEG_BASELINE}", 200),
        ("image/jpeg", 409),
        ("image/jpeg; transfer-syntax=1.2.3", 409),
    ):
        uri = json.loads(text)
        uri["7FE00010"]["BulkDataURI"] = "/bulk/7FE00010"
        metadata = ({"Content-Type": JSON}, json.dumps(uri).encode())
        sending = body(metadata, (part | {"Content-Type": content_type}, frame))
        async with server.running() as at:
            found, model, _ = await at.post(sending, multipart(JSON))
        assert found == status, model
        if status == 409:
            assert reasons(model) == [0xC122]
    (kept,) = server.kept
    assert kept.transfer_syntax == JPEG_BASELINE
    stored = pydicom.dcmread(kept.file)
    assert [*pydicom.encaps.generate_frames(stored.PixelData, number_of_frames=1)] == [frame]


async def test_bulk_data_may_come_in_any_order_and_larger_than_a_piece(server: Server) -> None:
    model = {
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.7"]},
        "00080018": {"vr": "UI", "Value": ["1.2.3.4"]},
        "0020000D": {"vr": "UI", "Value": ["1.2"]},
        "00081032": {"vr": "SQ", "Value": [{"00282000": {"vr": "OB", "BulkDataURI": "cid:b"}}]},
        "00282000": {"vr": "OB", "BulkDataURI": "a b"},
    }
    long = bytes(range(256)) * 12_000 + b"!"
    parts = (
        ({"Content-Type": OCTETS, "Content-Location": "a%20b"}, long),
        ({"Content-Type": JSON}, json.dumps(model).encode()),
        ({"Content-Type": OCTETS, "Content-ID": "<b>"}, b"icc"),
    )
    async with server.running() as at:
        status, _, _ = await at.post(BytesIO(body(*parts)), multipart(JSON))
    assert status == 200
    stored = pydicom.dcmread(server.kept[0].file)
    assert stored.ICCProfile == long + b"\0"
    assert stored[0x00081032][0].ICCProfile == b"icc\0"


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([({"Content-Type": JSON}, b"{not json")], "not JSON"),
        ([({"Content-Type": JSON}, b"[1]")], "no DICOM JSON object"),
        ([({"Content-Type": JSON}, b"[" + b"{}," * 20_000 + b"{}]")], "of 20001 instances"),
        ([({"Content-Type": XML}, b"<!DOCTYPE a []><a/>")], "document type declaration"),
        ([({"Content-Type": OCTETS}, b"x")], "without Content-Location"),
        ([({"Content-Type": OCTETS, "Content-Location": "a"}, b"x")], "metadata of 0 instances"),
        ([], "metadata of 0 instances"),
    ],
)
async def test_what_is_no_metadata_is_a_bad_request_that_says_why(
    server: Server, parts: list[_Part], text: str, tmp_path: Path
) -> None:
    async with server.running() as at:
        status, model, _ = await at.post(body(*parts), multipart(JSON))
    assert status == 400
    assert text in model["error"]
    assert half_stored(tmp_path) == []


async def test_a_body_that_is_cut_stores_nothing(server: Server, tmp_path: Path) -> None:
    text, sent = described("CT_small.dcm")
    whole = body(({"Content-Type": JSON}, text), *bulk_parts(text, sent))
    async with server.running() as at:
        for cut in (whole[:-30], whole[: len(text)], whole[:-20_000]):
            status, model, _ = await at.post(cut, multipart(JSON))
            assert (status, bool(model["error"])) == (400, True)
    assert server.kept == []
    assert half_stored(tmp_path) == []


async def test_bulk_data_that_did_not_come_fail_their_instance(server: Server) -> None:
    text, sent = described("CT_small.dcm")
    async with server.running() as at:
        status, model, _ = await at.post(body(({"Content-Type": JSON}, text)), multipart(JSON))
    assert (status, uids(model, "00081198")) == (409, {sent.SOPInstanceUID})
    assert server.kept == []


async def test_an_instance_of_another_study_is_refused(server: Server) -> None:
    text, _ = described("rtplan.dcm")
    async with server.running() as at:
        status, model, _ = await at.post(text, JSON, study="1.2.3")
    assert (status, reasons(model)) == (409, [0xA900])


async def test_the_answer_is_xml_where_that_is_asked_for(server: Server) -> None:
    text, sent = described("rtplan.dcm")
    headers = {"Content-Type": JSON, "Accept": XML}
    async with server.running() as at:
        url = f"{at.url}/studies"
        async with at.session.post(url, data=text, headers=headers) as answer:
            assert (answer.status, answer.content_type) == (200, XML)
            assert sent.SOPInstanceUID.encode() in await answer.read()


async def test_metadata_beyond_the_limit_are_refused_before_they_are_held(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.serve.stow_metadata.LONGEST", 1000)
    async with server.running() as at:
        status, model, _ = await at.post(b"[" + b" " * 5000 + b"]", JSON)
    assert status == 400
    assert "more than 1000 bytes" in model["error"]


async def test_what_the_gateway_serves_as_metadata_it_takes_back(
    server: Server, tmp_path: Path
) -> None:
    """Retrieve metadata and bulk data, store both: the same data set."""
    scratch = server.spool.create()
    try:
        parts = MetadataParts(scratch)
        text, sent = described("JPEG2000.dcm")
        model: dict[str, Any] = json.loads(text)
        model["00083002"] = {"vr": "UI", "Value": ["1.2.840.10008.1.2.4.91"]}
        parts.begin({"content-type": JSON})
        parts.write(json.dumps(model).encode())
        parts.end()
        pixels = sent.pixel_array.tobytes()
        for headers, value in bulk_parts(text, sent):
            parts.begin({name.lower(): text for name, text in headers.items()})
            parts.write(pixels if headers["Content-Location"].endswith("7FE00010") else value)
            parts.end()
        (found,) = parts.instances()
        whole = b"".join(
            piece
            if isinstance(piece, bytes)
            else piece.file.read_bytes()[piece.offset : piece.offset + piece.length]
            for piece in parts.encoded(found)
        )
    finally:
        scratch.abort()
    (tmp_path / "back.dcm").write_bytes(whole)
    stored = pydicom.dcmread(tmp_path / "back.dcm")
    assert stored.file_meta.TransferSyntaxUID == EXPLICIT_LE
    assert (stored.pixel_array == sent.pixel_array).all()
