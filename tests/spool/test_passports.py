"""How pixels were made is kept with the instance, and decodes without an end are counted."""

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.model import Delivered, Instance, Passport, Verification
from gateway.spool import PassportRow, Queue, Spool, commit
from gateway.spool.ledger import Ledger
from tests.spool.arrivals import Clock, beside, contradictions, keep

IMPLICIT = "1.2.840.10008.1.2"
PASSPORT = Passport(
    target=IMPLICIT,
    decoder="imagecodecs",
    version="2026.3.6",
    self_test="proven",
    frames=3,
    seconds=0.0125,
    colour="YBR_FULL_422 to RGB",
    notes=("Bits Stored 16 to 12", 'a "quoted" note'),
    stderr="a \\x1b[31mwarning",
    stored_digest="ab" * 32,
    native_digest="cd" * 32,
    verification=Verification("equal", ("imagecodecs 1 (a)", "gdcm 2 (b)"), 3),
)


def made(spool: Spool, selector: int | str) -> Sequence[PassportRow]:
    """What ``queue show`` says of how pixels were made."""
    with beside(spool) as queue:
        return queue.passports(selector)


async def settle(spool: Spool, clock: Clock) -> None:
    for delivery in await spool.due("pacs", limit=10, now=clock()):
        await spool.settle(delivery, Delivered(IMPLICIT, "imagecodecs"))


async def test_a_passport_is_there_when_its_delivery_is_settled(
    spool: Spool, clock: Clock
) -> None:
    instance = await keep(spool, "1.2.1", "pacs")
    spool.record(instance, IMPLICIT, PASSPORT)
    await settle(spool, clock)
    (by_uid,) = made(spool, "1.2.1")
    (by_delivery,) = made(spool, "1")
    assert by_uid == by_delivery
    assert (by_uid.spool_id, by_uid.form, by_uid.made_at) == (1, IMPLICIT, clock())
    assert by_uid.passport == PASSPORT


async def test_passports_are_written_though_nothing_comes_in(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit, "_MOST_RIDERS", 3)
    instance = await keep(spool, "1.2.1")
    for number in range(3):
        assert made(spool, "1.2.1") == []
        spool.record(instance, f"{IMPLICIT}+{number}", PASSPORT)
    async with asyncio.timeout(20):
        while not made(spool, "1.2.1"):  # noqa: ASYNC110 - nobody is told of it
            await asyncio.sleep(0.01)
    assert len(made(spool, "1.2.1")) == 3


async def test_one_form_has_one_passport_and_the_newest_stands(spool: Spool, clock: Clock) -> None:
    instance = await keep(spool, "1.2.1", "pacs")
    unverified = replace(PASSPORT, decoder="gdcm", verification=None)
    spool.record(instance, IMPLICIT, PASSPORT)
    spool.record(instance, f"{IMPLICIT}+RGB", PASSPORT)
    spool.record(instance, IMPLICIT, unverified)
    await settle(spool, clock)
    found = made(spool, "1.2.1")
    assert [(row.form, row.passport) for row in found] == [
        (IMPLICIT, unverified),
        (f"{IMPLICIT}+RGB", PASSPORT),
    ]


async def test_what_is_known_later_stands_in_the_passport_that_there_is(
    spool: Spool, clock: Clock
) -> None:
    """When the pixels were made it keeps; of what has no passport there is none then either."""
    instance = await keep(spool, "1.2.1", "pacs")
    began = clock()
    spool.record(instance, IMPLICIT, replace(PASSPORT, stored_digest="", native_digest=""))
    clock.advance(seconds=60)
    spool.amend(instance, IMPLICIT, PASSPORT)
    spool.amend(instance, f"{IMPLICIT}+RGB", PASSPORT)
    await settle(spool, clock)
    found = made(spool, "1.2.1")
    assert [(row.form, row.made_at, row.passport) for row in found] == [
        (IMPLICIT, began, PASSPORT)
    ]


async def test_a_passport_costs_no_transaction_of_its_own(
    spool: Spool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = await keep(spool, "1.2.1", "pacs")
    transactions: list[int] = []
    run = Ledger.run

    def counted(ledger: Ledger, steps: list) -> list[int]:
        transactions.append(len(steps))
        return run(ledger, steps)

    monkeypatch.setattr(Ledger, "run", counted)
    spool.record(instance, IMPLICIT, PASSPORT)
    await settle(spool, clock)
    assert transactions == [2]


async def test_what_no_transaction_followed_is_written_when_the_spool_closes(
    folder: Path, clock: Clock
) -> None:
    spool = Spool.open(folder, clock=clock, refuse_below_free=0)
    instance = await keep(spool, "1.2.1", "pacs")
    spool.record(instance, IMPLICIT, PASSPORT)
    await spool.aclose()
    with Queue(folder, clock=clock) as queue:
        assert [row.passport for row in queue.passports("1.2.1")] == [PASSPORT]


async def test_a_passport_whose_transaction_failed_goes_with_the_next(
    spool: Spool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = await keep(spool, "1.2.1", "pacs")
    run, failures = Ledger.run, [sqlite3.OperationalError("database or disk is full")]

    def failing(ledger: Ledger, steps: list) -> list[int]:
        if failures:
            raise failures.pop()
        return run(ledger, steps)

    monkeypatch.setattr(Ledger, "run", failing)
    spool.record(instance, IMPLICIT, PASSPORT)
    (delivery,) = await spool.due("pacs", limit=1, now=clock())
    with pytest.raises(Exception, match="disk is full"):
        await spool.settle(delivery, Delivered(IMPLICIT))
    await spool.probe()
    await settle(spool, clock)
    assert len(made(spool, "1.2.1")) == 1


async def test_a_passport_of_an_instance_that_is_gone_disturbs_nobody(
    spool: Spool, clock: Clock
) -> None:
    instance = await keep(spool, "1.2.1", "pacs")
    spool.record(replace(instance, spool_id=77), IMPLICIT, PASSPORT)
    await settle(spool, clock)
    assert contradictions(spool) == []
    assert spool.broken == ""


async def test_what_is_known_later_of_an_instance_that_is_gone_disturbs_nobody(
    spool: Spool, clock: Clock
) -> None:
    gone = await keep(spool, "1.2.1")
    await keep(spool, "1.2.2", "pacs")
    spool.record(gone, IMPLICIT, PASSPORT)
    assert await spool.remove([gone.spool_id]) == 1
    spool.amend(gone, IMPLICIT, PASSPORT)
    await settle(spool, clock)
    assert made(spool, "1.2.1") == []
    assert spool.broken == ""


async def test_retention_takes_the_passport_with_the_instance(spool: Spool, clock: Clock) -> None:
    instance = await keep(spool, "1.2.1", "pacs")
    spool.record(instance, IMPLICIT, PASSPORT)
    await settle(spool, clock)
    assert (await spool.tidy(clock.advance(days=8))).instances == 1
    assert made(spool, "1.2.1") == []
    assert contradictions(spool) == []


def reopened(folder: Path, clock: Clock) -> Spool:
    return Spool.open(folder, clock=clock, refuse_below_free=0, keep=timedelta(days=7))


async def left_by_a_killed_gateway(folder: Path, clock: Clock, *names: str) -> Instance:
    """A spool with one instance, and derived files as a gateway leaves them that is killed."""
    spool = reopened(folder, clock)
    instance = await keep(spool, "1.2.1", "pacs")
    path = spool.derived_path(instance, IMPLICIT)
    await spool.aclose()
    for name in names:
        await asyncio.to_thread(path.with_name(name).write_bytes, b"half")
    return instance


async def test_a_decode_that_was_stopped_in_good_order_does_not_count(
    folder: Path, clock: Clock
) -> None:
    spool = reopened(folder, clock)
    instance = await keep(spool, "1.2.1", "pacs")
    path = spool.derived_path(instance, IMPLICIT)
    await asyncio.to_thread(path.with_name(f"1-{IMPLICIT}.tmp").write_bytes, b"half")
    await spool.aclose()
    spool = reopened(folder, clock)
    assert await spool.interruptions(instance, IMPLICIT) == 0
    await spool.aclose()


async def test_a_decode_that_the_gateway_did_not_survive_is_counted_once(
    folder: Path, clock: Clock
) -> None:
    instance = await left_by_a_killed_gateway(folder, clock, f"1-{IMPLICIT}.tmp")
    for _ in range(2):
        spool = reopened(folder, clock)
        assert await spool.interruptions(instance, IMPLICIT) == 1
        assert await spool.interruptions(instance, f"{IMPLICIT}+RGB") == 0
        await spool.aclose()


async def test_what_was_whole_or_belongs_to_nobody_is_not_counted(
    folder: Path, clock: Clock
) -> None:
    names = (f"1-{IMPLICIT}", f"1-{IMPLICIT}+RGB", f"9-{IMPLICIT}.tmp", "notes.tmp")
    instance = await left_by_a_killed_gateway(folder, clock, *names)
    spool = reopened(folder, clock)
    assert await spool.interruptions(instance, IMPLICIT) == 0
    assert contradictions(spool) == []
    await spool.aclose()


async def test_a_person_who_retries_wipes_the_slate(folder: Path, clock: Clock) -> None:
    instance = await left_by_a_killed_gateway(folder, clock, f"1-{IMPLICIT}.tmp")
    spool = reopened(folder, clock)
    with Queue(folder, clock=clock) as queue:
        assert queue.retry("1.2.1") == 1
    assert await spool.interruptions(instance, IMPLICIT) == 0
    await spool.aclose()


async def test_retention_takes_the_count_with_the_instance(folder: Path, clock: Clock) -> None:
    await left_by_a_killed_gateway(folder, clock, f"1-{IMPLICIT}.tmp")
    spool = reopened(folder, clock)
    await settle(spool, clock)
    assert (await spool.tidy(clock.advance(days=8))).instances == 1
    assert contradictions(spool) == []
    await spool.aclose()


async def test_a_decode_that_comes_to_its_end_clears_what_interrupted_earlier_ones(
    folder: Path, clock: Clock
) -> None:
    instance = await left_by_a_killed_gateway(folder, clock, f"1-{IMPLICIT}.tmp")
    spool = reopened(folder, clock)
    assert await spool.interruptions(instance, IMPLICIT) == 1
    spool.record(instance, IMPLICIT, PASSPORT)
    await keep(spool, "1.2.2", "pacs")
    assert await spool.interruptions(instance, IMPLICIT) == 0
    await spool.aclose()
