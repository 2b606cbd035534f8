"""A gateway's web side over plain files: what is held is what a test hangs up."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.dataset.labelled import mislabelled
from gateway.dataset.part10 import read_file_meta
from gateway.derivation import Derivations
from gateway.intake import Intake
from gateway.model import UID, Arrival, Instance, Origin, Passport
from gateway.serve.app import application
from gateway.serve.serving import ServeSettings, Serving
from gateway.transcode.pool import TranscodePool
from gateway.transfer_syntax import BY_UID

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)
STUDY, SERIES = "1.2.3", "1.2.3.4"


@dataclass
class Gallery:
    """The instances that are held; ``asked`` counts how many were handed out."""

    instances_held: list[Instance] = field(default_factory=list)
    asked: int = 0

    def hang(
        self, file: Path, study: UID = STUDY, series: UID = SERIES, *, marked: bool = True
    ) -> Instance:
        """Hold a file; its SOP Instance UID is a number of our own, so that any file will do.

        Whether it is mislabelled was found out unless not ``marked``, as in an older ledger.
        """
        number = len(self.instances_held) + 1
        meta = read_file_meta(file.read_bytes())
        syntax = BY_UID.get(meta.transfer_syntax)
        held = Instance(
            sop_instance_uid=f"2.25.{number}",
            sop_class_uid=meta.sop_class_uid,
            transfer_syntax=meta.transfer_syntax,
            study_uid=study,
            series_uid=series,
            origin=Origin(Arrival.C_STORE),
            size=file.stat().st_size,
            received_at=NOON,
            mislabelled=marked and syntax is not None and mislabelled(file, syntax),
            spool_id=number,
            file=file,
        )
        self.instances_held.append(held)
        return held

    async def instances(
        self, study: UID, series: UID = "", sop: UID = ""
    ) -> AsyncIterator[Instance]:
        """As ``Holdings`` says."""
        for each in list(self.instances_held):
            same_series = series in ("", each.series_uid)
            if each.study_uid == study and same_series and sop in ("", each.sop_instance_uid):
                self.asked += 1
                yield each

    async def instance(self, study: UID, series: UID, sop: UID) -> Instance | None:
        """As ``Holdings`` says."""
        return await anext(self.instances(study, series, sop), None)

    async def sample(self, study: UID, series: UID, most: int) -> list[Instance]:
        """As ``Holdings`` says."""
        return [each async for each in self.instances(study, series)]

    async def version(self, study: UID, series: UID) -> str:
        """As ``Holdings`` says."""
        held = [each for each in self.instances_held if each.study_uid == study]
        return " ".join(str(each.spool_id) for each in held if series in ("", each.series_uid))


class Shelf:
    """Derived files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recorded: list[tuple[str, Passport]] = []
        self.amended: list[tuple[Instance, str, Passport]] = []
        folder.mkdir(parents=True, exist_ok=True)

    def derived_path(self, instance: Instance, key: str) -> Path:
        return self.folder / f"{instance.spool_id}-{key}"

    def record(self, instance: Instance, key: str, passport: Passport) -> None:
        """As the ledger does."""
        self.recorded.append((key, passport))

    def amend(self, instance: Instance, key: str, passport: Passport) -> None:
        """As the ledger does."""
        self.amended.append((instance, key, passport))

    async def interruptions(self, instance: Instance, key: str) -> int:
        return 0

    def check_room(self, share: float = 1.0) -> None:
        """There is room."""

    def made(self) -> set[str]:
        """The keys of what was derived."""
        return {file.name.partition("-")[2] for file in self.folder.iterdir()}


@dataclass
class Gateway:
    """A web server on loopback with all that stands behind it."""

    gallery: Gallery
    shelf: Shelf
    serving: Serving
    server: TestServer

    def url(self, path: str) -> str:
        """The address of a path below the server's root."""
        return f"http://127.0.0.1:{self.server.port}{path}"

    def of(self, instance: Instance, more: str = "") -> str:
        """The WADO-RS address of an instance."""
        return self.url(
            f"/dicom-web/studies/{instance.study_uid}/series/{instance.series_uid}"
            f"/instances/{instance.sop_instance_uid}{more}"
        )


Tables = Callable[[Serving], Iterable[Iterable[web.RouteDef]]]


@asynccontextmanager
async def opened_gateway(
    folder: Path,
    tables: Tables,
    wado_uri: Callable[[Serving], Iterable[web.RouteDef]] = lambda _: (),
    **settings: Any,
) -> AsyncIterator[Gateway]:
    """A gateway that serves these resources."""
    gallery, shelf, pool = Gallery(), Shelf(folder / "derived"), TranscodePool(2)
    derivations = Derivations(shelf, pool)
    nobody = cast(Intake, None)
    serving = Serving(gallery, derivations, pool, nobody, ServeSettings(**settings), lambda: NOON)
    server = TestServer(application(tables(serving), wado_uri(serving)))
    await server.start_server()
    try:
        yield Gateway(gallery, shelf, serving, server)
    finally:
        await server.close()
        await derivations.aclose()
        await pool.aclose()
