"""What WADO-RS gives of every real file has the reference's pixels; its frames too."""

import hashlib
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Callable
from io import BytesIO

import aiohttp
import pydicom
import pytest
import pytest_asyncio
from pydicom.dataset import Dataset

from gateway.serve import frames, wado_rs
from gateway.transfer_syntax import BY_UID, EXPLICIT_LE
from tests.real_files import FOLDER, catalogue, needs_real_files, references
from tests.serve.gallery import Gateway, opened_gateway
from tests.serve.parts import parts_of
from tests.transcode.objects import digest
from tests.transcode.test_real_files import OWN_PIXELS, REFUSED, UNREADABLE

pytestmark = [pytest.mark.data, needs_real_files, pytest.mark.asyncio(loop_scope="module")]

_counts: Counter[str] = Counter()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    folder = tmp_path_factory.mktemp("serve")
    tables = lambda serving: [wado_rs.routes(serving), frames.routes(serving)]  # noqa: E731
    async with opened_gateway(folder, tables) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def _files() -> list[str]:
    return sorted(row["file"] for row in catalogue())


@pytest.mark.parametrize("name", _files())
async def test_instance_and_frames(
    name: str, gateway: Gateway, client: aiohttp.ClientSession
) -> None:
    instance = gateway.gallery.hang(FOLDER / name)
    only = f'multipart/related; type="application/dicom"; transfer-syntax={EXPLICIT_LE}'
    async with client.get(gateway.of(instance), headers={"Accept": only}) as answer:
        syntax = BY_UID[instance.transfer_syntax]
        if (name in REFUSED and syntax.uid != EXPLICIT_LE) or syntax.video:
            assert answer.status == 406, name
            _counts["refused with 406"] += 1
            return
        assert answer.status == 200, await answer.text()
        ((headers, body),) = await parts_of(answer)
    assert headers["content-type"] == f"application/dicom; transfer-syntax={EXPLICIT_LE}"
    if name in UNREADABLE or name in REFUSED:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom on odd originals
        native = pydicom.dcmread(BytesIO(body), force=True)
        if "TransferSyntaxUID" not in native.file_meta:
            assert body == instance.file.read_bytes()
            _counts["files without File Meta Information, as stored"] += 1
            return
        if "PixelData" not in native or not native.PixelData:
            _counts["no pixels"] += 1
            return
        _check_pixels(name, native)
        await _check_frames(gateway.of(instance), client, native)


def _check_pixels(name: str, native: Dataset) -> None:
    row = references().get(name)
    if row is None:
        return
    wanted = row["consensus"] if len(row["consensus"]) == 64 else row["majority_lossy"]
    wanted = OWN_PIXELS[name][1] if name in OWN_PIXELS else wanted
    assert digest(native).startswith(wanted)
    assert wanted
    _counts["instances equal the reference"] += 1


async def _check_frames(url: str, client: aiohttp.ClientSession, native: Dataset) -> None:
    """All frames together are the pixels of the whole, and each says its transfer syntax."""
    count = int(native.get("NumberOfFrames", 1) or 1)
    numbers = ",".join(str(number) for number in range(1, count + 1))
    if len(numbers) > 4000:
        numbers, count = "1", 1
    async with client.get(f"{url}/frames/{numbers}") as answer:
        assert answer.status == 200, await answer.text()
        found = await parts_of(answer)
    assert len(found) == count
    expected = f"application/octet-stream; transfer-syntax={EXPLICIT_LE}"
    assert {headers["content-type"] for headers, _ in found} == {expected}
    pixels = bytes(native.PixelData)
    if native.BitsAllocated == 1 and native.Rows * native.Columns % 8:
        _counts["objects of single-bit frames within bytes"] += 1
        return
    joined = b"".join(body for _, body in found)
    assert hashlib.sha256(joined).digest() == hashlib.sha256(pixels[: len(joined)]).digest()
    assert len(pixels) - len(joined) <= 1 or count == 1
    _counts["objects whose frames equal"] += 1


async def test_how_many_of_how_many(figures: Callable[[str], None]) -> None:
    said = ", ".join(f"{what} {count}" for what, count in sorted(_counts.items()))
    figures(f"real files retrieved: {len(_files())}; {said}")
    assert _counts["instances equal the reference"] > 0
