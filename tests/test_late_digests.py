"""Digests of what web clients wait for: taken afterwards, one at a time, and bounded."""

import asyncio
from pathlib import Path

import pytest

from gateway import late_digests
from gateway.derivation import Derivations
from gateway.failures import TemporaryFailure
from gateway.model import Checks, Instance, Passport, Rendition, Undigested
from gateway.tags import TagChanges
from gateway.transfer_syntax import EXPLICIT_LE, IMPLICIT_LE, J2K
from tests.deliver.fakes import FakeSpool, FakeTime, FakeTranscoder, Made, quiet

AS_IT_IS = Rendition()
LEFT = Undigested(((0, 10),), (20, 30))


class Leaving(FakeTranscoder):
    """Leaves digests for later where it may; ``digesting`` shut makes them wait."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[str] = []
        self.digesting = asyncio.Event()
        self.digesting.set()

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
        if checks.later:
            return Made(undigested=LEFT)
        passport = Passport(EXPLICIT_LE, "fake", stored_digest="at", native_digest="once")
        return Made(passport=passport)

    async def digests(self, source: Path, out: Path, left: Undigested) -> tuple[str, str]:
        assert left == LEFT
        self.begun.append(out.name)
        await self.digesting.wait()
        return await super().digests(source, out, left)


class Table:
    """Derivations over a fake spool of some instances."""

    def __init__(self, folder: Path, instances: int = 3) -> None:
        self.spool, self.transcoder = FakeSpool(folder, FakeTime()), Leaving()
        self.pauses = 0
        self.pausing = asyncio.Event()
        self.pausing.set()
        for _ in range(instances):
            self.spool.keep("pacs", syntax=J2K)
        self.instances = [row.delivery.instance for row in self.spool.rows.values()]
        self.derivations = Derivations(self.spool, self.transcoder, self.pause)

    async def pause(self) -> None:
        self.pauses += 1
        await asyncio.sleep(0)
        await self.pausing.wait()

    async def serve(self, instance: Instance, target: str = EXPLICIT_LE) -> None:
        await self.derivations.derive(instance, target, AS_IT_IS, only_now=True)

    def digests(self) -> list[tuple[str, str]]:
        """Those in the ledger."""
        found = self.spool.passports.values()
        return [(each.stored_digest, each.native_digest) for each in found]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path)


async def test_a_web_client_waits_for_no_digest_and_the_passport_gets_them_later(
    table: Table,
) -> None:
    table.transcoder.digesting.clear()
    await table.serve(table.instances[0])
    assert table.digests() == [("", "")]
    await quiet()
    assert table.digests() == [("", "")]
    table.transcoder.digesting.set()
    await quiet()
    assert table.digests() == [("of 1.dcm", f"of 1-{EXPLICIT_LE}")]


async def test_what_is_delivered_is_digested_at_once(table: Table) -> None:
    await table.derivations.derive(table.instances[0], EXPLICIT_LE, AS_IT_IS)
    assert table.digests() == [("at", "once")]
    await quiet()
    assert table.transcoder.begun == []


async def test_they_are_taken_one_after_another(table: Table) -> None:
    table.transcoder.digesting.clear()
    for instance in table.instances:
        await table.serve(instance)
    await quiet()
    assert len(table.transcoder.begun) == 1
    table.transcoder.digesting.set()
    await quiet()
    assert len(table.transcoder.begun) == 3
    assert ("", "") not in table.digests()


async def test_none_is_begun_while_something_is_being_made(table: Table) -> None:
    first, second, third = table.instances
    table.transcoder.digesting.clear()
    await table.serve(first)
    await table.serve(second)
    await quiet()
    table.transcoder.gate.clear()
    making = asyncio.create_task(table.serve(third))
    await quiet()
    table.transcoder.digesting.set()
    await quiet()
    assert len(table.transcoder.begun) == 1
    table.transcoder.gate.set()
    await making
    await quiet()
    assert len(table.transcoder.begun) == 3


async def test_none_is_begun_soon_after_something_was_asked_for(table: Table) -> None:
    """Also where that was made before: it is being sent now."""
    first, second, _ = table.instances
    table.transcoder.digesting.clear()
    await table.serve(first)
    await table.serve(second)
    await quiet()
    table.pausing.clear()
    assert table.derivations.ready(first, EXPLICIT_LE)
    table.transcoder.digesting.set()
    await quiet()
    assert (table.pauses, len(table.transcoder.begun)) == (2, 1)
    await table.serve(first)
    table.pausing.set()
    await quiet()
    assert (table.pauses, len(table.transcoder.begun)) == (3, 2)


@pytest.mark.parametrize("begun", [False, True])
async def test_a_delivery_of_what_a_web_client_had_made_waits_for_its_digests(
    table: Table, begun: bool
) -> None:
    """Its passport is complete before it can be settled."""
    table.transcoder.digesting.clear()
    instance = table.instances[0]
    table.pausing.clear()
    await table.serve(instance)
    if begun:
        table.pausing.set()
    await quiet()
    assert len(table.transcoder.begun) == begun
    delivering = asyncio.create_task(table.derivations.derive(instance, EXPLICIT_LE, AS_IT_IS))
    await quiet()
    assert not delivering.done()
    table.transcoder.digesting.set()
    await delivering
    assert table.digests() == [("of 1.dcm", f"of 1-{EXPLICIT_LE}")]
    table.pausing.set()
    await quiet()
    assert len(table.transcoder.begun) == 1


async def test_a_delivery_that_joins_a_web_client_waits_for_the_digests(table: Table) -> None:
    table.pausing.clear()
    table.transcoder.gate.clear()
    viewer = asyncio.create_task(table.serve(table.instances[0]))
    await quiet()
    delivering = asyncio.create_task(
        table.derivations.derive(table.instances[0], EXPLICIT_LE, AS_IT_IS)
    )
    await quiet()
    table.transcoder.gate.set()
    await delivering
    assert table.digests() == [("of 1.dcm", f"of 1-{EXPLICIT_LE}")]
    await viewer


async def test_only_so_many_wait(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_digests, "MOST", 2)
    table.transcoder.digesting.clear()
    for instance in table.instances:
        await table.serve(instance)
    assert [each.later for each in table.transcoder.checks] == [True, True, False]
    table.transcoder.digesting.set()
    await quiet()
    await table.serve(table.instances[0], IMPLICIT_LE)
    assert table.transcoder.checks[-1].later


async def test_a_stop_gives_up_what_waits(table: Table) -> None:
    table.transcoder.digesting.clear()
    for instance in table.instances:
        await table.serve(instance)
    await quiet()
    await table.derivations.aclose()
    table.transcoder.digesting.set()
    await quiet()
    assert len(table.transcoder.begun) == 1
    assert table.digests() == [("", "")] * 3


async def test_a_ledger_that_is_closed_meanwhile_fails_nobody(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: object) -> None:
        raise TemporaryFailure("the spool is closed")

    await table.serve(table.instances[0])
    monkeypatch.setattr(table.spool, "amend", closed)
    await table.derivations.derive(table.instances[0], EXPLICIT_LE, AS_IT_IS)
    assert table.digests() == [("", "")]


async def make_anew(table: Table, instance: Instance) -> None:
    """Lose what was made of it, and have it made for a delivery."""
    derived = await table.derivations.derive(instance, EXPLICIT_LE, AS_IT_IS, only_now=True)
    derived.file.unlink()
    await table.derivations.derive(instance, EXPLICIT_LE, AS_IT_IS)


async def made_anew_while_digests_are_taken(table: Table) -> None:
    """Those of the first instance, as it was made before."""
    table.transcoder.digesting.clear()
    await table.serve(table.instances[0])
    while not table.transcoder.begun:  # noqa: ASYNC110 - the transcoder tells nobody
        await asyncio.sleep(0)
    await make_anew(table, table.instances[0])


async def test_what_was_made_anew_meanwhile_keeps_its_own_digests(table: Table) -> None:
    table.pausing.clear()
    instance = table.instances[0]
    await table.serve(instance)
    await make_anew(table, instance)
    table.pausing.set()
    await quiet()
    assert (table.digests(), table.transcoder.begun) == ([("at", "once")], [])


async def test_digests_that_were_being_taken_are_none_of_what_was_made_anew(table: Table) -> None:
    await made_anew_while_digests_are_taken(table)
    table.transcoder.digesting.set()
    await quiet()
    assert table.digests() == [("at", "once")]


async def test_a_stop_also_ends_those_that_nobody_needs_any_more(table: Table) -> None:
    before = asyncio.all_tasks()
    await made_anew_while_digests_are_taken(table)
    await table.derivations.aclose()
    assert asyncio.all_tasks() == before


async def test_what_nobody_foresaw_keeps_no_others_from_their_digests(
    table: Table, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    digests, failed = table.transcoder.digests, []

    async def once_wrong(source: Path, out: Path, left: Undigested) -> tuple[str, str]:
        if not failed:
            failed.append(out)
            raise RuntimeError("nobody foresaw it")
        return await digests(source, out, left)

    monkeypatch.setattr(table.transcoder, "digests", once_wrong)
    for instance in table.instances:
        await table.serve(instance)
    await quiet()
    assert len([each for each in table.digests() if all(each)]) == 2
