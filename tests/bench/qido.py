"""Searching an index of a million instances over HTTP.

The million is written into the tables at once, as receptions of 50,000 studies would have left
them; what is measured is the gateway's own resource over a socket, from the request to the last
byte at one curl that takes compressed answers. Beside it stands the processor time that each
request takes of the serving process: what else runs on the machine adds little to that.
"""

import asyncio
import json
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from gateway.dicomweb.matching import name_groups, words_of
from gateway.index import INDEX, Index
from gateway.index.entry import Reception, entry_of
from gateway.index.schema import connect, key_columns, prepare
from gateway.serve import qido_rs
from gateway.serve.app import application
from gateway.serve.serving import ServeSettings
from tests.bench.measure import Measurement, Row
from tests.peers import absent

_STUDIES: Final = 50_000
_SERIES: Final = 2
_INSTANCES: Final = 10
_ROOT: Final = "1.2.826.0.1.3680043.8.498"
_QUERIES: Final = 200
_FAMILIES: Final = [
    first + middle + last
    for first in ("Ab", "Ber", "Cor", "Do", "Ek", "Fran", "Gol", "Ha", "Ib", "Jo")
    for middle in ("a", "ber", "di", "en", "fu", "gel", "hol", "ing", "ja", "ker")
    for last in ("son", "mann", "ski", "ova", "dal", "er", "hart", "ich", "let", "man")
]
_STREAMED_MB: Final = 100


def measure(work: Path, *, rounds: int, quick: bool) -> Iterator[Measurement]:
    """Indexed keys, lists as viewers ask for them, and all instances in one answer."""
    if reason := absent("curl"):
        yield Measurement("QIDO-RS", 0, [], [reason])
        return
    work.mkdir(parents=True, exist_ok=True)
    studies = _STUDIES // 20 if quick else _STUDIES
    began = time.perf_counter()
    make(work, studies)
    made = time.perf_counter() - began
    count = studies * _SERIES * _INSTANCES
    found = asyncio.run(_measure(work, studies, rounds))
    found.title = f"QIDO-RS, {count:,} instances in the index"
    size = (work / INDEX).stat().st_size >> 20
    found.notes.append(f"the index has {size} MB and was written in {made:.0f} s")
    yield found


def make(folder: Path, studies: int) -> None:
    """Write an index of ``studies`` x 2 series x 10 instances, each study of its own patient."""
    prepare(folder / INDEX)
    chance = random.Random(4)  # noqa: S311 - the same names in every run
    with closing(connect(folder / INDEX, "rw")) as connection:
        connection.execute("BEGIN")
        for first in range(1, studies + 1, 1000):
            _write(connection, range(first, min(first + 1000, studies + 1)), chance)
        connection.execute("COMMIT")
    with closing(sqlite3.connect(folder / "ledger.sqlite3")) as ledger:
        ledger.execute("ATTACH ? AS held", (str(folder / INDEX),))
        ledger.execute(_LEDGER)
        ledger.execute(_AS_HELD)
        ledger.commit()


_LEDGER: Final = """CREATE TABLE main.instance (spool_id INTEGER PRIMARY KEY,
    sop_instance_uid, sop_class_uid, transfer_syntax, study_uid, series_uid, mislabelled)"""
_AS_HELD: Final = """INSERT INTO main.instance SELECT spool_id, i.uid, sop_class, transfer_syntax,
    st.uid, se.uid, 0 FROM held.instance i JOIN held.series se USING (series_id)
    JOIN held.study st USING (study_id) ORDER BY spool_id"""


def _write(connection: sqlite3.Connection, numbers: range, chance: random.Random) -> None:
    tables: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    for study in numbers:
        tables[0].append(_study(study, chance))
        for series in range(study * _SERIES, (study + 1) * _SERIES):
            tables[1].append(_series(study, series))
            tables[2].extend(_instance(series, number) for number in range(1, _INSTANCES + 1))
    for table, rows, names in zip(("study", "series", "instance"), tables, _NAMES, strict=True):
        places = ", ".join("?" * len(rows[0]))
        connection.executemany(
            f"INSERT INTO {table} ({names}) VALUES ({places})",  # noqa: S608 - constants
            rows,
        )


_OWN: Final = (
    "study_id, uid, source, series, instances, modalities, attributes",
    "series_id, study_id, uid, source, instances, attributes",
    "spool_id, series_id, uid, sop_class, transfer_syntax, shown, attributes",
)
_NAMES: Final = [", ".join((own, *key_columns(level))) for level, own in enumerate(_OWN)]


def _study(number: int, chance: random.Random) -> tuple[Any, ...]:
    uid, last = f"{_ROOT}.1.{number}", (number * _SERIES + _SERIES - 1) * 100 + _INSTANCES
    name = f"{chance.choice(_FAMILIES)}^{chance.choice(('Ann', 'Bo', 'Kim', 'Lee', 'Max'))}"
    date = f"{2016 + number % 10}{1 + number % 12:02}{1 + number % 28:02}"
    texts = _texts(name, date, number)
    keys = {
        "study_date": date,
        "study_time": f"{number % 24:02}3000000000",
        "accession": f"A{number}",
        "patient_id": f"P{number}",
        "label": f"S{number}",
        "description": "Head",
        "sex": "F",
        **dict(zip(_PATIENT, (*name_groups(name), words_of(name)), strict=True)),
    }
    columns = [keys.get(column, "") for column in key_columns(0)]
    attributes = entry_of(_reception(number, 0, 0), texts).study.attributes
    count = _SERIES * _INSTANCES
    return number, uid, last, _SERIES, count, "CT", attributes, *columns


_PATIENT: Final = ("patient", "patient_ideographic", "patient_phonetic", "patient_words")


def _texts(name: str, date: str, number: int) -> dict[int, str]:
    """The JSON members of a header."""
    values = {
        0x00080020: ("DA", date),
        0x00080050: ("SH", f"A{number}"),
        0x00081030: ("LO", "Head"),
        0x00100020: ("LO", f"P{number}"),
        0x00100040: ("CS", "F"),
    }
    texts = {
        tag: f'"{tag:08X}":{{"vr":"{vr}","Value":["{value}"]}}'
        for tag, (vr, value) in values.items()
    }
    texts[0x00100010] = f'"00100010":{{"vr":"PN","Value":[{{"Alphabetic":"{name}"}}]}}'
    return texts


def _series(study: int, number: int) -> tuple[Any, ...]:
    keys: dict[str, Any] = {"modality": "CT", "number": number % _SERIES + 1, "description": "Ax"}
    columns = [keys.get(column, "") for column in key_columns(1)]
    texts = {0x00080060: '"00080060":{"vr":"CS","Value":["CT"]}'}
    attributes = entry_of(_reception(study, number, 0), texts).series.attributes
    last = number * 100 + _INSTANCES
    return number, study, f"{_ROOT}.2.{number}", last, _INSTANCES, attributes, *columns


def _instance(series: int, number: int) -> tuple[Any, ...]:
    spool_id = series * 100 + number
    reception = _reception(0, series, spool_id)
    texts = {
        0x00200013: f'"00200013":{{"vr":"IS","Value":[{number}]}}',
        0x00280010: '"00280010":{"vr":"US","Value":[512]}',
        0x00280011: '"00280011":{"vr":"US","Value":[512]}',
        0x00280100: '"00280100":{"vr":"US","Value":[16]}',
    }
    attributes = entry_of(reception, texts).own.attributes
    syntax = reception.transfer_syntax
    return spool_id, series, reception.uid, reception.sop_class, syntax, 1, attributes, number


def _reception(study: int, series: int, spool_id: int) -> Reception:
    return Reception(
        spool_id,
        f"{_ROOT}.3.{spool_id}",
        "1.2.840.10008.5.1.4.1.1.2",
        "1.2.840.10008.1.2.4.70",
        f"{_ROOT}.1.{study}",
        f"{_ROOT}.2.{series}",
    )


def _keys(studies: int) -> dict[str, Callable[[random.Random], tuple[str, int]]]:
    """What is searched for: a path with query, and how many results there are (-1: some)."""

    def study(chance: random.Random) -> int:
        return chance.randint(1, studies)

    def year(chance: random.Random) -> str:
        start = 2016 + chance.randrange(10)
        return f"{start}0{chance.randint(1, 9)}01-{start}1231"

    each = _SERIES * _INSTANCES
    return {
        "study by UID": lambda c: (f"/studies?StudyInstanceUID={_ROOT}.1.{study(c)}", 1),
        "instance by UID": lambda c: (
            f"/instances?SOPInstanceUID={_ROOT}.3.{study(c) * _SERIES * 100 + 1}",
            1,
        ),
        "instances of a study": lambda c: (f"/studies/{_ROOT}.1.{study(c)}/instances", each),
        "patient ID": lambda c: (f"/studies?PatientID=P{study(c)}", 1),
        "accession number": lambda c: (f"/studies?AccessionNumber=A{study(c)}", 1),
        "name prefix": lambda c: (f"/studies?PatientName={c.choice(_FAMILIES)}*", -1),
        "dates, limit 101": lambda c: (f"/studies?StudyDate={year(c)}&limit=101", -1),
        "series of dates, limit 101": lambda c: (
            f"/series?StudyDate={year(c)}&limit=101",
            101,
        ),
        "instances of dates, limit 101": lambda c: (
            f"/instances?StudyDate={year(c)}&limit=101",
            101,
        ),
        "OHIF's list": lambda _: (
            "/studies?limit=101&offset=0&fuzzymatching=true"
            "&includefield=00081030%2C00080060%2C00080090%2C00100030",
            101,
        ),
        "OHIF's filters": lambda c: (
            f"/studies?limit=101&offset=0&fuzzymatching=true&ModalitiesInStudy=MR%2CCT"
            f"&PatientName=*{c.choice(_FAMILIES)[:4]}*&StudyDate={year(c)}",
            -1,
        ),
    }


async def _measure(folder: Path, studies: int, rounds: int) -> Measurement:
    measurement = Measurement("", _QUERIES, [])
    async with _served(folder) as url:
        before, began = _resident(), time.perf_counter()
        await _asked(folder, url, [("/studies?limit=1", 1)])
        compared = time.perf_counter() - began
        for name, key in _keys(studies).items():
            row, worst, used = Row(name), [], []
            for _ in range(rounds):
                chance = random.Random(7)  # noqa: S311 - the same in every round
                queries = [key(chance) for _ in range(_QUERIES)]
                times, processor = await _asked(folder, url, queries)
                used.append(processor / _QUERIES)
                row.seconds.append(sum(times))
                worst.append(sorted(times)[int(_QUERIES * 0.95)])
            measurement.rows.append(row)
            measurement.notes.append(
                f"{name}: p95 {_milli(worst)} ms; processor {_milli(used)} ms a request"
            )
        measurement.notes.append("how many match is counted once until the index changes")
        measurement.notes.append(f"at start the ledger was compared in {compared:.1f} s")
        began = time.perf_counter()
        size = await _all(url)
        took = time.perf_counter() - began
        grown = (_resident() - before) >> 20
    measurement.notes.append(
        f"all instances in one answer: {size >> 20} MB in {took:.1f} s; "
        f"resident memory over the whole grew by {grown} MB"
    )
    if grown > _STREAMED_MB:
        measurement.notes.append(f"MEMORY IS NOT FLAT: it grew by more than {_STREAMED_MB} MB")
    return measurement


def _milli(seconds: Sequence[float]) -> str:
    """Each round's figure."""
    return " ".join(f"{1000 * one:.1f}" for one in seconds)


async def _asked(
    folder: Path, url: str, asked: Sequence[tuple[str, int]]
) -> tuple[list[float], float]:
    """The seconds of each request, one after the other, and the processor's of this process.

    The numbers of results are checked afterwards.
    """
    config, body = folder / "asked.curl", folder / "body.json"
    bodies = [body.with_suffix(f".{number}") for number in range(len(asked))]
    config.write_text(
        "\n".join(
            f'url = "{url}/dicom-web{path}"\noutput = "{file}"'
            for (path, _), file in zip(asked, bodies, strict=True)
        )
    )
    began = time.process_time()
    said = await _curl("--compressed", "-g", "-w", "%{time_total}\n", "-K", str(config))
    processor = time.process_time() - began
    for (path, count), file in zip(asked, bodies, strict=True):
        found = json.loads(file.read_text())
        if count not in (-1, len(found)):
            raise AssertionError(f"{path}: {len(found)} results")
    return [float(line) for line in said.split()], processor


async def _all(url: str) -> int:
    what = f"{url}/dicom-web/instances"
    return int(await _curl("-o", "/dev/null", "-w", "%{size_download}", what))


async def _curl(*options: str) -> str:
    """What a curl writes out, which fails on a refusal."""
    curl = await asyncio.create_subprocess_exec(
        "curl", "-sS", "-f", *options, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await curl.communicate()
    if curl.returncode:
        raise AssertionError(f"curl ended with {curl.returncode}")
    return said.decode()


@asynccontextmanager
async def _served(folder: Path) -> AsyncIterator[str]:
    index = Index.open(folder, ledger=folder / "ledger.sqlite3", file_of=lambda _: Path("/none"))
    runner = web.AppRunner(application([qido_rs.routes(index, ServeSettings())]))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
        await index.aclose()


def _resident() -> int:
    """Bytes of memory that this process has in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096
