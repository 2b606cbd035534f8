"""What the index holds, and that it follows the ledger through everything that can happen."""

import asyncio
import errno
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from gateway import telemetry
from gateway.dataset.json_model import JsonModel
from gateway.dicomweb.query import Level, parse_query
from gateway.failures import TemporaryFailure
from gateway.index import INDEX, Asked
from gateway.index import index as index_module
from gateway.index import store as store_module
from gateway.index.entry import Entry, Reception
from gateway.serve.holdings import LocalHoldings
from gateway.spool import Spool
from tests.index.archive import (
    Archive,
    archive_of,
    encoded,
    image,
    open_index,
    opened_archive,
    value,
)
from tests.spool.arrivals import Clock


async def test_instances_come_by_series_then_number_then_arrival(archive: Archive) -> None:
    await archive.keep(
        image("1.1", "1.1.2", "1.1.2.10", SeriesNumber=2, InstanceNumber=10),
        image("1.1", "1.1.2", "1.1.2.9", SeriesNumber=2, InstanceNumber=9),
        image("1.1", "1.1.1", "1.1.1.2", SeriesNumber=1, InstanceNumber=1),
        image("1.1", "1.1.1", "1.1.1.1", SeriesNumber=1, InstanceNumber=1),
        image("1.2", "1.2.1", "1.2.1.1"),
    )
    assert await archive.held("1.1") == ["1.1.1.2", "1.1.1.1", "1.1.2.9", "1.1.2.10"]
    assert await archive.held("1.1", "1.1.1") == ["1.1.1.2", "1.1.1.1"]
    assert await archive.held("1.1", "1.1.1", "1.1.1.1") == ["1.1.1.1"]
    assert await archive.held("1.1", "1.2.1") == await archive.held("") == []


async def test_an_instance_is_handed_out_as_it_was_kept(archive: Archive) -> None:
    await archive.keep(image("1.1", "1.1.1", "1.1.1.1"))
    holdings = LocalHoldings(archive.index, archive.spool)
    assert [one async for one in holdings.instances("1.1")] == archive.kept
    assert archive.kept[0].file.is_file()


async def test_a_study_does_not_wait_for_what_came_of_another_to_be_indexed(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed: list[str] = []
    add = store_module.Store.add

    def noted(store: store_module.Store, batch: list[Reception]) -> None:
        indexed.extend(one.study for one in batch)
        add(store, batch)

    monkeypatch.setattr(store_module.Store, "add", noted)
    await archive.keep(image("1.1", "1.1.1", "1.1.1.1"))
    assert await archive.held("1.1") == ["1.1.1.1"]
    await archive.keep(image("1.2", "1.2.1", "1.2.1.1"), image("1.2", "1.2.1", "1.2.1.2"))
    assert await archive.held("1.1") == ["1.1.1.1"]
    assert await archive.held("1.3") == []
    assert indexed == ["1.1"]
    assert await archive.held("1.2") == ["1.2.1.1", "1.2.1.2"]
    await archive.keep(image("1.1", "1.1.1", "1.1.1.2"))
    assert await archive.held("1.1") == ["1.1.1.1", "1.1.1.2"]
    assert indexed == ["1.1", "1.2", "1.2", "1.1"]


async def test_several_receptions_count_once_and_the_latest_serves(archive: Archive) -> None:
    for name in ("Doe^Jane", "Doe^Janet"):
        await archive.keep(image("1.1", "1.1.1", "1.1.1.1", PatientName=name))
    (study,) = await archive.search(Level.STUDY)
    assert value(study, "00201208") == 1
    assert value(study, "00100010") == {"Alphabetic": "Doe^Janet"}
    assert list(await archive.index.spool_ids("1.1")) == [archive.kept[1].spool_id]


async def test_an_older_reception_serves_again_when_the_latest_is_removed(
    archive: Archive,
) -> None:
    for name in ("Doe^Jane", "Doe^Janet"):
        await archive.keep(image("1.1", "1.1.1", "1.1.1.1", PatientName=name))
    await archive.index.caught_up()
    await archive.forget(archive.kept[1])
    (study,) = await archive.search(Level.STUDY)
    assert value(study, "00100010") == {"Alphabetic": "Doe^Jane"}
    assert list(await archive.index.spool_ids("1.1")) == [archive.kept[0].spool_id]
    await archive.forget(archive.kept[0])
    assert await archive.search(Level.STUDY) == await archive.search(Level.SERIES) == []


async def test_how_many_match_is_said_as_it_is_now_however_often_it_is_asked(
    archive: Archive,
) -> None:
    async def matches() -> int | None:
        asked = Asked(Level.INSTANCE, parse_query([("limit", "1"), ("PatientID", "P1")]))
        first, again = await archive.index.search(asked), await archive.index.search(asked)
        assert first.matches == again.matches
        return first.matches

    await archive.keep(*(image("1.1", "1.1.1", f"1.1.1.{n}", PatientID="P1") for n in range(3)))
    assert await matches() == 3
    await archive.keep(image("1.1", "1.1.1", "1.1.1.9", PatientID="P1"))
    assert await matches() == 4
    await archive.forget(archive.kept[0])
    assert await matches() == 3


async def test_an_instance_that_moved_to_another_study_moves_back(archive: Archive) -> None:
    await archive.keep(image("1.1", "1.1.1", "7.7"), image("1.2", "1.2.1", "7.7", Modality="SR"))
    assert await archive.found(Level.STUDY, "") == ["1.2"]
    assert await archive.found(Level.SERIES, "") == ["1.2.1"]
    await archive.forget(archive.kept[1])
    assert await archive.found(Level.STUDY, "") == ["1.1"]


async def test_a_study_of_two_patients_shows_the_latest(archive: Archive) -> None:
    await archive.keep(
        image("1.1", "1.1.1", "1.1.1.1", PatientID="P1"),
        image("1.1", "1.1.2", "1.1.2.1", PatientID="P2", Modality="SR"),
    )
    (study,) = await archive.search(Level.STUDY)
    assert value(study, "00100020") == "P2"
    assert study["00080061"]["Value"] == ["CT", "SR"]
    assert (value(study, "00201206"), value(study, "00201208")) == (2, 2)
    assert await archive.search(Level.STUDY, "PatientID=P1") == []


async def test_what_is_forgotten_before_it_was_indexed_is_never_shown(archive: Archive) -> None:
    await archive.keep(image("1.1", "1.1.1", "1.1.1.1"), image("1.1", "1.1.1", "1.1.1.2"))
    await archive.forget(archive.kept[0])
    assert await archive.held("1.1") == ["1.1.1.2"]


async def test_a_file_that_vanished_is_passed_over(archive: Archive) -> None:
    await archive.keep(image("1.1", "1.1.1", "1.1.1.1"), image("1.1", "1.1.1", "1.1.1.2"))
    archive.kept[0].file.unlink()
    assert await archive.held("1.1") == ["1.1.1.2"]


async def test_a_damaged_header_leaves_what_stands_before_the_damage(archive: Archive) -> None:
    await archive.keep(image("1.1", "1.1.1", "1.1.1.1"), image("1.1", "1.1.1", "1.1.1.2"))
    for one, size in zip(archive.kept, (-30, 200), strict=True):
        data = one.file.read_bytes()
        one.file.write_bytes(data[:size])
    assert len(await archive.held("1.1")) == 2
    found = {value(one, "00080018") for one in await archive.search(Level.INSTANCE)}
    assert found == {"1.1.1.1", "1.1.1.2"}


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
async def test_headers_are_read_in_every_encoding(archive: Archive, syntax: str) -> None:
    ds = image("1.1", "1.1.1", "1.1.1.1", PatientName="Müller^Jürgen=山田", Rows=300)
    await archive.keep(ds, syntax=str(syntax))
    (found,) = await archive.search(Level.INSTANCE)
    assert value(found, "00280010") == 300
    assert value(found, "00083002") == str(syntax)
    (study,) = await archive.search(Level.STUDY)
    assert value(study, "00100010") == {"Alphabetic": "Müller^Jürgen", "Ideographic": "山田"}


async def test_under_a_wrong_label_what_can_be_had_is_said_to_be_available(
    tmp_path: Path,
) -> None:
    """Also where the index is made anew from the ledger."""
    ds = image("1.1", "1.1.1", "1.1.1.1", PixelData=bytes(8))
    ds["PixelData"].VR = "OW"
    jpeg_ls, explicit = "1.2.840.10008.1.2.4.80", str(ExplicitVRLittleEndian)
    async with opened_archive(tmp_path) as archive:
        await archive.keep_file(encoded(ds, explicit), jpeg_ls, ds)
        (found,) = await archive.search(Level.INSTANCE)
        assert value(found, "00083002") == explicit
    (tmp_path / INDEX).unlink()
    async with opened_archive(tmp_path) as archive:
        assert await archive.search(Level.INSTANCE) == [found]


async def test_an_instance_without_a_series_is_kept_out_of_sight(archive: Archive) -> None:
    await archive.keep(image("1.1", "1.1.1", "1.1.1.1", SeriesInstanceUID=None))
    assert await archive.search(Level.INSTANCE) == []
    assert await archive.held("1.1") == []


async def test_an_index_is_found_again_as_it_was(tmp_path: Path) -> None:
    async with opened_archive(tmp_path) as archive:
        await archive.keep(image("1.1", "1.1.1", "1.1.1.1"))
        await archive.index.caught_up()
        inode = (tmp_path / INDEX).stat().st_ino
    async with opened_archive(tmp_path) as archive:
        assert await archive.held("1.1") == ["1.1.1.1"]
        assert (tmp_path / INDEX).stat().st_ino == inode


@pytest.mark.parametrize("harm", ["delete", "garble", "version", "empty", "cut", "table"])
async def test_an_index_that_cannot_serve_is_made_anew(
    tmp_path: Path, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (index_module, store_module):
        monkeypatch.setattr(module, "PAGE", 4)
    async with opened_archive(tmp_path) as archive:
        await archive.keep(*(image("1.1", "1.1.1", f"1.1.1.{number}") for number in range(1, 20)))
        before = await archive.search(Level.INSTANCE)
    _harm(tmp_path / INDEX, harm)
    async with opened_archive(tmp_path) as archive:
        assert len(await archive.held("1.1")) == 19
        assert await archive.search(Level.INSTANCE) == before


def _harm(file: Path, harm: str) -> None:
    if harm == "delete":
        file.unlink()
    elif harm == "garble":
        file.write_bytes(b"no database" * 1000)
    elif harm == "empty":
        file.write_bytes(b"")
    elif harm == "cut":
        file.write_bytes(file.read_bytes()[:8192])
    else:
        statement = "PRAGMA user_version = 99" if harm == "version" else "DROP TABLE series"
        with closing(sqlite3.connect(file)) as connection:
            connection.execute(statement)


async def test_an_index_that_is_damaged_while_it_serves_is_made_anew(tmp_path: Path) -> None:
    async with opened_archive(tmp_path) as archive:
        await archive.keep(image("1.1", "1.1.1", "1.1.1.1"))
        await archive.index.caught_up()
        _let_go(archive)
        size = (tmp_path / INDEX).stat().st_size
        (tmp_path / INDEX).write_bytes(b"\xff" * size)
        await archive.keep(image("1.1", "1.1.1", "1.1.1.2"))
        with pytest.raises(TemporaryFailure):
            await archive.index.caught_up()
        assert await archive.held("1.1") == ["1.1.1.1", "1.1.1.2"]


async def test_an_index_that_turns_out_damaged_when_it_is_read_is_made_anew(
    tmp_path: Path,
) -> None:
    async with opened_archive(tmp_path) as archive:
        await archive.keep(image("1.1", "1.1.1", "1.1.1.1"))
        await archive.index.caught_up()
        _let_go(archive)
        size = (tmp_path / INDEX).stat().st_size
        (tmp_path / INDEX).write_bytes(b"\xff" * size)
        with pytest.raises(TemporaryFailure, match="damaged"):
            await archive.search(Level.STUDY)
        assert await archive.held("1.1") == ["1.1.1.1"]
        assert await archive.found(Level.INSTANCE, "") == ["1.1.1.1"]


def _let_go(archive: Archive) -> None:
    """Have nothing cached: close the connections, so that the file is read again."""
    store = archive.index._store
    store.close()
    store._connection = index_module.sqlite3.connect(store.file, check_same_thread=False)
    store._connection.isolation_level = None


async def test_a_crash_between_ledger_and_index_is_repaired(tmp_path: Path) -> None:
    async with opened_archive(tmp_path) as archive:
        await archive.keep(image("1.1", "1.1.1", "1.1.1.1"), image("1.1", "1.1.1", "1.1.1.2"))
        await archive.index.caught_up()
        await archive.keep(image("1.2", "1.2.1", "1.2.1.1"))
        gone = archive.kept[0]
        with closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as connection:
            connection.execute("DELETE FROM instance WHERE spool_id = ?", (gone.spool_id,))
            connection.commit()
        gone.file.unlink()
    async with opened_archive(tmp_path) as archive:
        assert await archive.found(Level.INSTANCE, "") == ["1.1.1.2", "1.2.1.1"]


async def test_more_notes_than_are_held_are_found_in_the_ledger(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "_MOST_WAITING", 3)
    await archive.keep(*(image("1.1", "1.1.1", f"1.1.1.{number}") for number in range(1, 12)))
    assert len(await archive.held("1.1")) == 11


async def test_notes_that_come_too_many_while_some_are_written_lose_nothing(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "_MOST_WAITING", 3)
    await archive.keep(*(image("1.1", "1.1.1", f"1.1.1.{n}") for n in (1, 2)))
    add = archive.index._store.add
    written = asyncio.Event()

    async def in_writer(task: Callable[..., Any], *facts: Any) -> Any:
        if task == add and not written.is_set():
            written.set()
            await archive.keep(*(image("1.1", "1.1.1", f"1.1.1.{n}") for n in (3, 4)))
        return task(*facts)

    monkeypatch.setattr(archive.index, "_in_writer", in_writer)
    assert len(await archive.held("1.1")) == 4
    await archive.keep(image("1.1", "1.1.1", "1.1.1.9"))
    assert len(await archive.held("1.1")) == 5


async def test_a_header_that_no_reader_foresaw_keeps_nobody_from_being_found(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = store_module.read_entry

    def reader(model: JsonModel, reception: Reception, file: Path) -> Entry | None:
        if reception.uid == "1.1.1.2":
            raise AttributeError("what nobody thought of")
        return read(model, reception, file)

    monkeypatch.setattr(store_module, "read_entry", reader)
    await archive.keep(*(image("1.1", "1.1.1", f"1.1.1.{number}") for number in (1, 2, 3)))
    assert sorted(await archive.held("1.1")) == ["1.1.1.1", "1.1.1.2", "1.1.1.3"]


async def test_request_attributes_that_are_no_sequence_are_none(archive: Archive) -> None:
    file = image("1.1", "1.1.1", "1.1.1.1")
    file.add_new(0x00400275, "LO", "no sequence at all")
    await archive.keep(file)
    assert await archive.held("1.1") == ["1.1.1.1"]


async def test_a_search_does_not_wait_for_ever_for_an_index_made_anew(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "_PATIENCE", -1.0)
    await archive.keep(image("1.1", "1.1.1", "1.1.1.1"))
    archive.index._compare(1)
    with pytest.raises(TemporaryFailure, match="made anew, 1 instances"):
        await archive.search(Level.STUDY)
    assert await archive.held("1.1") == ["1.1.1.1"]


async def test_an_index_that_has_caught_up_is_believed_again(archive: Archive) -> None:
    """Also where less was missing than had been counted: retention goes on meanwhile."""
    await archive.keep(image("1.1", "1.1.1", "1.1.1.1"))
    archive.index._compare(1_000_000)
    assert await archive.held("1.1") == ["1.1.1.1"]
    assert await archive.found(Level.STUDY, "") == ["1.1"]
    assert archive.index._missing == 0


async def test_the_background_task_indexes_what_nobody_asks_for(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "_PAUSE", 0.01)
    running = asyncio.create_task(archive.index.run())
    try:
        await archive.keep(image("1.1", "1.1.1", "1.1.1.1"))
        while archive.index._done < 1:  # noqa: ASYNC110 - a note is taken, nobody is told
            await asyncio.sleep(0)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert await archive.held("1.1") == ["1.1.1.1"]


def full(archive: Archive) -> None:
    """No more may be written: SQLITE_FULL, as on a full disk."""
    connection = archive.index._store.prepare()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("PRAGMA max_page_count = 1")


def read_only(archive: Archive) -> None:
    archive.index._store.prepare().execute("PRAGMA query_only = 1")


@pytest.mark.parametrize("harm", [full, read_only])
async def test_an_index_that_cannot_be_written_still_serves_what_is_there(
    archive: Archive,
    monkeypatch: pytest.MonkeyPatch,
    harm: Callable[[Archive], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    texts = {"PatientComments": "x" * 8192, "StudyDescription": "y" * 60, "StudyID": "z" * 16}
    await archive.keep(image("1.1", "1.1.1", "1.1.1.2"), image("1.2", "1.2.1", "1.2.1.1"))
    assert await archive.index.caught_up() == ""
    harm(archive)
    later = [image("1.1", "1.1.2", f"1.1.2.{n}", **texts) for n in range(1, 60)]
    await archive.keep(*later, image("1.1", "1.1.1", "1.1.1.1"), image("1.1", "1.1.1", "1.1.1.2"))
    assert await archive.held("1.1") == [
        *("1.1.1.1", "1.1.1.2"),
        *(str(each.SOPInstanceUID) for each in later),
    ]
    assert await archive.held("1.1", "1.1.1") == ["1.1.1.1", "1.1.1.2"]
    assert await archive.held("1.1", "1.1.1", "1.1.1.2") == ["1.1.1.2"]
    assert await archive.held("1.1", "1.1.3") == await archive.held("1.9") == []
    assert await archive.found(Level.STUDY, "") == ["1.1", "1.2"]
    asked = Asked(Level.STUDY, parse_query(()), "/dicom-web")
    (remark,) = (await archive.index.search(asked)).remarks
    assert "cannot be written" in remark
    assert capsys.readouterr().out.count("searches miss what is kept") == 1
    assert telemetry.INDEX_REFUSED._value.get() == 1

    connection = archive.index._store.prepare()
    connection.execute("PRAGMA query_only = 0")
    connection.execute("PRAGMA max_page_count = 1000000")
    monkeypatch.setattr(archive.index, "_try_again", 0.0)
    assert len(await archive.found(Level.INSTANCE, "StudyInstanceUID=1.1")) == 61
    assert (await archive.index.search(asked)).remarks == ()
    assert telemetry.INDEX_REFUSED._value.get() == 0


async def test_without_an_index_what_is_received_is_held_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / INDEX).mkdir(parents=True)
    spool = Spool.open(tmp_path, clock=Clock(), refuse_below_free=0)
    index = open_index(tmp_path, spool)
    archive = archive_of(tmp_path, spool, index)
    try:
        await archive.keep(image("1.1", "1.1.1", "1.1.1.1"))
        assert await archive.held("1.1") == ["1.1.1.1"]
        with pytest.raises(TemporaryFailure):
            await archive.search(Level.STUDY)
        (tmp_path / INDEX).rmdir()
        monkeypatch.setattr(index, "_try_again", 0.0)
        assert await archive.found(Level.STUDY, "") == ["1.1"]
    finally:
        await index.aclose()
        await spool.aclose()


async def test_a_file_on_a_bad_sector_is_known_by_its_uids(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = store_module.read_entry

    def failing(model: Any, reception: Any, file: Path) -> Any:
        if reception.uid == "1.1.1.1":
            raise OSError(errno.EIO, "Input/output error")
        return read(model, reception, file)

    monkeypatch.setattr(store_module, "read_entry", failing)
    await archive.keep(image("1.1", "1.1.1", "1.1.1.1"), image("1.1", "1.1.1", "1.1.1.2"))
    assert await archive.found(Level.INSTANCE, "") == ["1.1.1.1", "1.1.1.2"]
