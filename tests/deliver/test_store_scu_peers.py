"""The SCU against receivers that others wrote, and against our own SCP."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage

from gateway.dataset.part10 import read_file_meta
from gateway.failures import AlreadyThere, PermanentFailure, TemporaryFailure
from tests.deliver.calling import J2K, MR, instance, scu
from tests.peers import Storescp
from tests.receive.running import running
from tests.scripted_peer import (
    CT,
    EXPLICIT_LE,
    IMPLICIT_LE,
    data_set,
    no_loop_errors,
    part10,
)

SIZES = (0, 2, 4000, 4090, 16_000, 16_378, 131_066, 300_000, 1_500_000)


@pytest_asyncio.fixture(autouse=True)
async def _no_loop_errors() -> AsyncIterator[None]:
    with no_loop_errors():
        yield


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """SOP Instance UID -> Part 10 file, around the sizes of PDUs."""
    found = {}
    for number, size in enumerate(SIZES, 1):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(part10(f"1.2.{number}", size))
        found[f"1.2.{number}"] = path
    return found


def data_set_of(path: Path) -> bytes:
    """A Part 10 file without its file meta information."""
    data = path.read_bytes()
    return data[read_file_meta(data).dataset_offset :]


@contextmanager
def pynetdicom_scp(
    handle: Callable[[evt.Event], int], *syntaxes: str, max_pdu: int = 16_384
) -> Iterator[int]:
    """The port of a pynetdicom SCP that accepts CT in these transfer syntaxes."""
    entity = AE("ARCHIVE")
    entity.maximum_pdu_size = max_pdu
    entity.add_supported_context(CTImageStorage, list(syntaxes or (EXPLICIT_LE, IMPLICIT_LE)))
    handlers = [(evt.EVT_C_STORE, handle)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("max_pdu", [0, 4096, 16_382, 131_072])
async def test_pynetdicom_gets_every_byte(files, max_pdu):
    got: dict[str, bytes] = {}

    def handle(event: evt.Event) -> int:
        got[event.request.AffectedSOPInstanceUID] = event.request.DataSet.getvalue()
        return 0

    with pynetdicom_scp(handle, max_pdu=max_pdu) as port:
        async with scu(port).connect([(CT, EXPLICIT_LE)]) as session:
            for uid, path in files.items():
                assert await session.store(instance(uid), path, EXPLICIT_LE) == ""
    assert got == {f"1.2.{n}": data_set(f"1.2.{n}", size) for n, size in enumerate(SIZES, 1)}


async def test_pynetdicoms_statuses_come_back_one_by_one(files):
    statuses = iter((0x0000, 0xA700, 0xA900, 0xB000, 0xC000, 0x0111, 0x0000))
    expected = ("", TemporaryFailure, PermanentFailure, "0xB000 coercion of data elements")
    expected += (PermanentFailure, AlreadyThere, "")
    told: list[object] = []
    with pynetdicom_scp(lambda _: next(statuses)) as port:
        async with scu(port).connect([(CT, EXPLICIT_LE)]) as session:
            for _ in expected:
                try:
                    told.append(await session.store(instance(), files["1.2.1"], EXPLICIT_LE))
                except (TemporaryFailure, PermanentFailure) as failure:
                    told.append(type(failure))
            assert session.alive
    assert tuple(told) == expected


async def test_what_pynetdicom_refuses_is_not_accepted():
    with pynetdicom_scp(lambda _: 0, IMPLICIT_LE) as port:
        async with scu(port).connect([(CT, J2K), (MR, EXPLICIT_LE)]) as session:
            assert session.accepted(CT) == {IMPLICIT_LE}
            assert session.accepted(MR) == frozenset()


async def test_an_association_that_pynetdicom_rejects_is_temporary():
    with pynetdicom_scp(lambda _: 0) as port:
        rejecting = AE("NOBODY")
        rejecting.require_called_aet = True
        rejecting.add_supported_context(CTImageStorage)
        server = rejecting.start_server(("127.0.0.1", 0), block=False)
        try:
            with pytest.raises(TemporaryFailure, match="called AE title not recognized"):
                async with scu(server.server_address[1]).connect([(CT, EXPLICIT_LE)]):
                    raise AssertionError
        finally:
            server.shutdown()
            server.server_close()
        assert port


@asynccontextmanager
async def storescp(folder: Path, *options: str) -> AsyncIterator[Storescp]:
    """DCMTK's storescp, started without standing in the loop's way."""
    peer = Storescp(folder, *options)
    await asyncio.to_thread(peer.start)
    try:
        yield peer
    finally:
        await asyncio.to_thread(peer.stop)


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("storescp") is None, reason="DCMTK is not installed")
@pytest.mark.parametrize("options", [("-pdu", "4096"), ("-pdu", "131072", "+xa")])
async def test_storescp_gets_every_byte(files, tmp_path, options):
    async with storescp(tmp_path / "peer", "+B", *options) as peer:
        async with scu(peer.port).connect([(CT, EXPLICIT_LE)]) as session:
            for uid, path in files.items():
                assert await session.store(instance(uid), path, EXPLICIT_LE) == ""
        stored = {path.name.removeprefix("CT."): data_set_of(path) for path in peer.files()}
    assert stored == {uid: data_set_of(path) for uid, path in files.items()}


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("storescp") is None, reason="DCMTK is not installed")
async def test_storescp_that_reads_only_implicit_accepts_nothing_else(tmp_path):
    async with (
        storescp(tmp_path / "peer", "+xi") as peer,
        scu(peer.port).connect([(CT, J2K)]) as session,
    ):
        assert session.accepted(CT) == {IMPLICIT_LE}


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("storescp") is None, reason="DCMTK is not installed")
@pytest.mark.parametrize("option", ["--abort-during", "--abort-after", "--refuse"])
async def test_storescp_that_breaks_off_is_temporary(files, tmp_path, option):
    async with storescp(tmp_path / "peer", option) as peer:
        with pytest.raises(TemporaryFailure):
            async with scu(peer.port).connect([(CT, EXPLICIT_LE)]) as session:
                await session.store(instance("1.2.9"), files["1.2.9"], EXPLICIT_LE)


@pytest.mark.parametrize("max_pdu_length", [4096, 131_072, 1_048_576])
async def test_our_scp_gets_every_byte_from_our_scu(files, max_pdu_length):
    async with running(max_pdu_length=max_pdu_length) as scp:
        async with scu(scp.port).connect([(CT, EXPLICIT_LE), (MR, J2K)]) as session:
            assert session.accepted(MR) == {J2K, EXPLICIT_LE, IMPLICIT_LE}
            for uid, path in files.items():
                assert await session.store(instance(uid), path, EXPLICIT_LE) == ""
        await scp.idle()
        (line,) = scp.logged("association closed")
        assert (line["received"], line["outcome"]) == (len(files), "released")
    assert [part.data for part in scp.intake.kept] == [
        data_set_of(path) for path in files.values()
    ]


@pytest.mark.parametrize("kind", [TemporaryFailure, PermanentFailure])
async def test_the_two_words_survive_the_way_from_scp_to_scu(files, kind):
    async with running() as scp, scu(scp.port).connect([(CT, EXPLICIT_LE)]) as session:
        scp.intake.at_admit = kind("said at the door")
        with pytest.raises(kind) as failed:
            await session.store(instance(), files["1.2.3"], EXPLICIT_LE)
        assert failed.value.remark == "said at the door"
        scp.intake.at_admit = None
        assert await session.store(instance(), files["1.2.3"], EXPLICIT_LE) == ""


async def test_many_of_ours_at_once(files):
    async def bring(port: int) -> None:
        async with scu(port).connect([(CT, EXPLICIT_LE)]) as session:
            for uid, path in files.items():
                assert await session.store(instance(uid), path, EXPLICIT_LE) == ""

    async with running() as scp:
        await asyncio.gather(*(bring(scp.port) for _ in range(15)))
        assert len(scp.intake.kept) == 15 * len(files)
