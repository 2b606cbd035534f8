"""Derived files: made when there is room, made once, and with a word on what was decided."""

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway import telemetry
from gateway.derivation import Derivations, Derived
from gateway.failures import TemporaryFailure
from gateway.model import Checks, Instance, Passport, Rendition, Verification
from gateway.spool import Spool
from gateway.tags import TagChanges
from gateway.transfer_syntax import EXPLICIT_LE, J2K, name_of
from tests.deliver.fakes import FakeSpool, FakeTime, FakeTranscoder, Made, quiet

AS_IT_IS = Rendition()
NOTES = ("Bits Stored mended", "a Digital Signature over Pixel Data no longer holds")


class Noting(FakeTranscoder):
    """Has something to say of what it makes."""

    notes: tuple[str, ...] = NOTES

    async def transcode(
        self,
        source: Path,
        target: str,
        out: Path,
        rendition: Rendition = AS_IT_IS,
        checks: Checks = Checks(),  # noqa: B008 - a frozen value
        tags: TagChanges | None = None,
    ) -> Made:
        await super().transcode(source, target, out, rendition, checks)
        return Made(notes=self.notes)


@pytest.fixture
def spool(tmp_path: Path) -> FakeSpool:
    return FakeSpool(tmp_path, FakeTime())


def instance_in(spool: FakeSpool) -> Instance:
    spool.keep("pacs", syntax=J2K)
    return spool.rows[1].delivery.instance


async def test_nothing_is_made_where_the_disk_has_not_half_the_watermark_left(
    spool: FakeSpool,
) -> None:
    transcoder, instance = FakeTranscoder(), instance_in(spool)
    derivations = Derivations(spool, transcoder)
    spool.free = 0.49
    with pytest.raises(TemporaryFailure, match="too little is free"):
        await derivations.derive(instance, EXPLICIT_LE, AS_IT_IS)
    assert transcoder.calls == []
    spool.free = 0.51
    made = await derivations.derive(instance, EXPLICIT_LE, AS_IT_IS)
    spool.free = 0.0
    assert await derivations.derive(instance, EXPLICIT_LE, AS_IT_IS) == made
    assert len(transcoder.calls) == 1


async def test_half_the_watermark_is_left_to_derived_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool.open(tmp_path / "spool", clock=FakeTime().clock, refuse_below_free=1_000_000)
    room = SimpleNamespace(f_bavail=0, f_frsize=1, f_files=0, f_favail=0)
    monkeypatch.setattr(os, "statvfs", lambda _: room)
    room.f_bavail = 500_000
    spool.check_room(0.5)
    with pytest.raises(TemporaryFailure, match="fewer than the 1000000 of spool"):
        spool.create()
    room.f_bavail = 499_999
    with pytest.raises(TemporaryFailure, match="fewer than the 500000 that are 50% of spool"):
        spool.check_room(0.5)
    monkeypatch.undo()
    await spool.aclose()


async def test_what_was_decided_is_told_with_the_file_and_in_the_log(spool: FakeSpool) -> None:
    instance = instance_in(spool)
    derivations = Derivations(spool, Noting())
    with capture_logs() as lines:
        made = await derivations.derive(instance, EXPLICIT_LE, AS_IT_IS)
    assert made == Derived(made.file, EXPLICIT_LE, "fake", NOTES)
    assert await derivations.derive(instance, EXPLICIT_LE, AS_IT_IS) == made
    (line,) = lines
    assert line["log_level"] == "info"
    assert line["notes"] == "; ".join(NOTES)
    assert (line["decoder"], line["photometric"]) == ("fake", "RGB")


@pytest.mark.parametrize(("state", "counted"), [("one lineage", 1), ("equal", 0)])
async def test_what_nobody_could_verify_is_counted(
    spool: FakeSpool, state: str, counted: int
) -> None:
    class Verifying(FakeTranscoder):
        async def transcode(self, *arguments: Any, **more: Any) -> Made:
            await super().transcode(*arguments, **more)
            verification = Verification(state, ("fake",))
            return Made(passport=Passport(EXPLICIT_LE, "fake", verification=verification))

    instance = instance_in(spool)
    counter = telemetry.UNVERIFIED.labels(name_of(instance.transfer_syntax))
    before = counter._value.get()
    await Derivations(spool, Verifying()).derive(instance, EXPLICIT_LE, AS_IT_IS, "all")
    assert counter._value.get() == before + counted


async def test_without_notes_the_line_is_for_debugging(spool: FakeSpool) -> None:
    derivations = Derivations(spool, FakeTranscoder())
    with capture_logs() as lines:
        await derivations.derive(instance_in(spool), EXPLICIT_LE, AS_IT_IS)
    assert [(line["log_level"], "notes" in line) for line in lines] == [("debug", False)]


async def test_who_comes_between_the_file_and_its_record_waits_for_both(spool: FakeSpool) -> None:
    """A passport is recorded before any delivery of the file can be settled."""
    transcoder, instance = FakeTranscoder(), instance_in(spool)
    derivations = Derivations(spool, transcoder)
    transcoder.gate.clear()
    first = asyncio.create_task(derivations.derive(instance, EXPLICIT_LE, AS_IT_IS))
    await asyncio.sleep(0)
    spool.derived_path(instance, EXPLICIT_LE).write_bytes(b"renamed by the worker")
    second = asyncio.create_task(derivations.derive(instance, EXPLICIT_LE, AS_IT_IS))
    await asyncio.sleep(0)
    assert not second.done()
    transcoder.gate.set()
    assert await second == await first
    assert (await second).decoder == "fake"
    assert list(spool.passports) == [(instance.spool_id, EXPLICIT_LE)]


class Interrupted(FakeTranscoder):
    """Counts the transcodes that were cancelled."""

    cancelled = 0

    async def transcode(self, *arguments: Any, **keywords: Any) -> Made:
        try:
            return await super().transcode(*arguments, **keywords)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


async def test_what_nobody_waits_for_any_more_is_not_made_on(spool: FakeSpool) -> None:
    transcoder, instance = Interrupted(), instance_in(spool)
    derivations = Derivations(spool, transcoder)
    transcoder.gate.clear()
    both = [
        asyncio.create_task(derivations.derive(instance, EXPLICIT_LE, AS_IT_IS, only_now=True))
        for _ in range(2)
    ]
    await quiet()
    both[0].cancel()
    await quiet()
    assert (len(transcoder.calls), transcoder.cancelled) == (1, 0)
    both[1].cancel()
    late = asyncio.create_task(derivations.derive(instance, EXPLICIT_LE, AS_IT_IS, only_now=True))
    await quiet()
    assert (len(transcoder.calls), transcoder.cancelled) == (2, 1)
    transcoder.gate.set()
    assert (await late).file.is_file()


class Stubborn(FakeTranscoder):
    """Whose worker goes on for a while when it is stopped, and counts those at work."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = asyncio.Event()
        self.at_work = self.most = 0

    async def transcode(self, *arguments: Any, **keywords: Any) -> Made:
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        try:
            return await super().transcode(*arguments, **keywords)
        except asyncio.CancelledError:
            await self.let_go.wait()
            raise
        finally:
            self.at_work -= 1


async def test_a_file_is_never_made_by_two_however_often_it_is_given_up(spool: FakeSpool) -> None:
    transcoder, instance = Stubborn(), instance_in(spool)
    derivations = Derivations(spool, transcoder)
    transcoder.gate.clear()
    for _ in range(3):
        viewer = derivations.begin(instance, EXPLICIT_LE, AS_IT_IS, only_now=True)
        await quiet()
        viewer.cancel()
        await quiet()
    late = derivations.begin(instance, EXPLICIT_LE, AS_IT_IS, only_now=True)
    await quiet()
    assert len(transcoder.calls) == 1
    transcoder.gate.set()
    transcoder.let_go.set()
    assert (await late).file.is_file()
    assert (len(transcoder.calls), transcoder.most) == (2, 1)


async def test_what_is_owed_is_made_on_whoever_leaves(spool: FakeSpool) -> None:
    transcoder, instance = Interrupted(), instance_in(spool)
    derivations = Derivations(spool, transcoder)
    transcoder.gate.clear()
    owed = asyncio.create_task(derivations.derive(instance, EXPLICIT_LE, AS_IT_IS))
    viewer = asyncio.create_task(
        derivations.derive(instance, EXPLICIT_LE, AS_IT_IS, only_now=True)
    )
    await quiet()
    viewer.cancel()
    await quiet()
    transcoder.gate.set()
    assert (await owed).file.is_file()
    assert (len(transcoder.calls), transcoder.cancelled) == (1, 0)


async def test_an_excerpt_is_made_once_and_kept(spool: FakeSpool) -> None:
    instance, derivations, made = instance_in(spool), Derivations(spool, FakeTranscoder()), []

    async def make(out: Path) -> None:
        made.append(out)
        await quiet()
        out.write_bytes(b"a frame")  # noqa: ASYNC240 - some bytes

    both = [derivations.excerpt(instance, "1.2+frame-1", make) for _ in range(2)]
    first, second = await asyncio.gather(*both)
    assert first == second == await derivations.excerpt(instance, "1.2+frame-1", make)
    assert made == [first]
    spool.free = 0.0
    with pytest.raises(TemporaryFailure, match="too little is free"):
        await derivations.excerpt(instance, "1.2+frame-2", make)


async def test_only_what_is_whole_is_ready(spool: FakeSpool) -> None:
    transcoder, instance = FakeTranscoder(), instance_in(spool)
    derivations = Derivations(spool, transcoder)
    assert derivations.ready(instance, EXPLICIT_LE) is None
    transcoder.gate.clear()
    making = asyncio.create_task(derivations.derive(instance, EXPLICIT_LE, AS_IT_IS))
    await quiet()
    assert derivations.ready(instance, EXPLICIT_LE) is None
    transcoder.gate.set()
    assert derivations.ready(instance, EXPLICIT_LE) is None
    assert await making == derivations.ready(instance, EXPLICIT_LE)
