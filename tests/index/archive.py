"""A spool with intake and index, into which tests put objects made of pydicom data sets."""

import json
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from gateway.config import load_text
from gateway.dicomweb.query import Level, parse_query
from gateway.index import Asked, Index
from gateway.intake import Announced, Intake
from gateway.model import Arrival, Instance, Origin, Owed
from gateway.route.rules import compile_rules
from gateway.serve.holdings import LocalHoldings
from gateway.spool import Spool
from gateway.spool.schema import LEDGER, connect
from tests.spool.arrivals import Clock

CT = "1.2.840.10008.5.1.4.1.1.2"
SR = "1.2.840.10008.5.1.4.1.1.88.11"


def image(study: str, series: str, uid: str, **attributes: Any) -> Dataset:
    """A small CT image without pixels; attributes by keyword, None leaves one out."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = CT
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = study, series, uid
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Doe^Jane", "P1", "", "F"
    ds.StudyDate, ds.StudyTime, ds.AccessionNumber = "20260301", "101500", "A1"
    ds.ReferringPhysicianName, ds.StudyID, ds.StudyDescription = "House^Gregory", "S1", "Head"
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "CT", 1, 1
    ds.Rows = ds.Columns = 2
    ds.BitsAllocated = 16
    for keyword, value in attributes.items():
        if value is None:
            with suppress(AttributeError):
                delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


@dataclass
class Archive:
    """A spool, its one door, and the index beside it."""

    folder: Path
    spool: Spool
    intake: Intake
    index: Index
    kept: list[Instance] = field(default_factory=list)

    async def keep(self, *datasets: Dataset, syntax: str = str(ExplicitVRLittleEndian)) -> None:
        """Take objects in, one after the other; the index is told of them."""
        for ds in datasets:
            await self.keep_file(encoded(ds, syntax), syntax, ds)

    async def keep_file(self, data: bytes, syntax: str, ds: Dataset) -> None:
        """The same of an encoded data set."""
        announced = Announced(
            Origin(Arrival.C_STORE, "CT1", "GATEWAY", "10.0.0.7"),
            str(ds.SOPClassUID),
            str(ds.SOPInstanceUID),
            syntax,
        )
        part = self.intake.begin(announced)
        part.write(data)
        self.kept.append(await self.intake.admit(part, announced))

    async def forget(self, *instances: Instance) -> None:
        """What retention does: the row goes, then the file; the index is told."""
        with closing(connect(self.folder / LEDGER)) as connection:
            for one in instances:
                connection.execute("DELETE FROM instance WHERE spool_id = ?", (one.spool_id,))
                one.file.unlink()
        self.index.removed([one.spool_id for one in instances])

    async def held(self, study: str, series: str = "", sop: str = "") -> list[str]:
        """The SOP Instance UIDs that are held, in order."""
        found = LocalHoldings(self.index, self.spool).instances(study, series, sop)
        return [instance.sop_instance_uid async for instance in found]

    async def search(
        self, level: Level, query: str = "", *, study: str = "", series: str = ""
    ) -> list[dict[str, Any]]:
        """The results of a query written as in a URL, decoded."""
        parameters = [tuple(part.split("=", 1)) for part in query.split("&") if part]
        parsed = parse_query(parameters).within(StudyInstanceUID=study, SeriesInstanceUID=series)
        asked = Asked(level, parsed, "/dicom-web", bool(study), bool(series))
        answer = await self.index.search(asked)
        return [json.loads(one) async for page in answer.pages for one in page]

    async def found(self, level: Level, query: str) -> list[str]:
        """The UIDs of what a query finds, sorted."""
        tag = ("0020000D", "0020000E", "00080018")[level]
        return sorted(value(one, tag) for one in await self.search(level, query))


def value(result: dict[str, Any], tag: str) -> Any:
    """The first value of an attribute of a result; None where there is none."""
    return (result[tag].get("Value") or [None])[0]


def encoded(ds: Dataset, syntax: str) -> bytes:
    """The data set alone, without File Meta Information."""
    uid = UID(syntax)
    raw = DicomBytesIO()
    raw.is_implicit_VR, raw.is_little_endian = uid.is_implicit_VR, uid.is_little_endian
    write_dataset(raw, ds)
    plain = raw.getvalue()
    if not uid.is_deflated:
        return plain
    deflate = zlib.compressobj(wbits=-15)
    return deflate.compress(plain) + deflate.flush()


def open_index(folder: Path, spool: Spool) -> Index:
    """The index of a spool."""
    return Index.open(folder, ledger=spool.ledger, file_of=spool.file_of)


@asynccontextmanager
async def opened_archive(folder: Path) -> AsyncIterator[Archive]:
    """An archive in ``folder``, compared with the ledger if there was one."""
    spool = Spool.open(folder, clock=Clock(), refuse_below_free=0)
    index = open_index(folder, spool)

    try:
        await index.reconcile()
        yield archive_of(folder, spool, index)
    finally:
        await index.aclose()
        await spool.aclose()


def archive_of(folder: Path, spool: Spool, index: Index) -> Archive:
    """An archive over what is open."""

    def kept(instance: Instance, _: Sequence[Owed]) -> None:
        index.kept(instance)

    rules = compile_rules(load_text("version: 1\n", "test"))
    return Archive(folder, spool, Intake(spool, rules, kept=kept, clock=Clock()), index)
