"""Handing out what is due, recording verdicts, counting, and opening again."""

import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.failures import PermanentFailure, TemporaryFailure
from gateway.model import Deferred, Delivered, Owed, Rejected
from gateway.spool import DestinationCounts, Spool, queries
from gateway.spool.schema import LEDGER, connect
from tests.spool.arrivals import (
    START,
    Clock,
    arriving,
    by_hand,
    keep,
    rows,
    states,
)


async def one_due(spool: Spool, destination: str, clock: Clock):
    (delivery,) = await spool.due(destination, limit=10, now=clock())
    return delivery


async def test_a_kept_instance_is_handed_out_as_it_came(spool: Spool, clock: Clock) -> None:
    instance = await keep(spool, "1.2.1", "pacs", content=b"0123")
    delivery = await one_due(spool, "pacs", clock)
    assert delivery.instance == instance
    assert (delivery.destination, delivery.route, delivery.attempts) == ("pacs", "to-pacs", 0)
    assert delivery.due_at == START
    assert instance.file.read_bytes() == b"0123"
    assert instance.size == 4


async def test_the_size_is_that_of_the_bytes_written(spool: Spool) -> None:
    part = spool.create()
    part.write(b"12345")
    instance = await spool.commit(part, arriving("1.2.1", size=99), [])
    assert instance.size == 5


async def test_the_same_instance_again_is_kept_beside_the_first(
    spool: Spool, clock: Clock
) -> None:
    first = await keep(spool, "1.2.1", "pacs", content=b"first")
    second = await keep(spool, "1.2.1", "pacs", content=b"second")
    assert first.file.read_bytes() == b"first"
    assert second.file.read_bytes() == b"second"
    assert len(await spool.due("pacs", limit=10, now=clock())) == 2


async def test_a_large_file_is_kept_too(spool: Spool) -> None:
    instance = await keep(spool, "1.2.1", content=b"x" * (5 << 20))
    assert instance.file.stat().st_size == 5 << 20


async def test_due_gives_the_oldest_first_and_leaves_out_what_is_in_flight(
    spool: Spool, clock: Clock
) -> None:
    for minutes in (3, 1, 2, 5):
        at = START + timedelta(minutes=minutes)
        await keep(spool, f"1.2.{minutes}", "pacs", "other", received_at=at)
    now = clock.advance(minutes=4)
    found = await spool.due("pacs", limit=10, now=now)
    assert [one.instance.sop_instance_uid for one in found] == ["1.2.1", "1.2.2", "1.2.3"]
    in_flight = {found[0].delivery_id}
    (next_one,) = await spool.due("pacs", limit=1, now=now, exclude=in_flight)
    assert next_one == found[1]


async def test_next_due_at_looks_past_what_is_in_flight(spool: Spool, clock: Clock) -> None:
    assert await spool.next_due_at("pacs") is None
    await keep(spool, "1.2.1", "pacs")
    await keep(spool, "1.2.2", "pacs", received_at=START + timedelta(minutes=1))
    first = await one_due(spool, "pacs", clock)
    assert await spool.next_due_at("pacs") == START
    later = await spool.next_due_at("pacs", exclude=[first.delivery_id])
    assert later == START + timedelta(minutes=1)


async def test_a_delivered_one_is_done_and_says_how(spool: Spool, clock: Clock) -> None:
    await keep(spool, "1.2.1", "pacs")
    delivery = await one_due(spool, "pacs", clock)
    settled_at = clock.advance(seconds=5)
    await spool.settle(delivery, Delivered("1.2.840.10008.1.2", "native", "0xB000"))
    (row,) = rows(spool)
    assert (row.state, row.delivered_as, row.decoder, row.warning, row.settled_at) == (
        "delivered",
        "1.2.840.10008.1.2",
        "native",
        "0xB000",
        settled_at,
    )
    assert await spool.due("pacs", limit=10, now=clock()) == []


async def test_a_deferred_one_is_due_later_with_its_reason(spool: Spool, clock: Clock) -> None:
    await keep(spool, "1.2.1", "pacs")
    delivery = await one_due(spool, "pacs", clock)
    later = clock() + timedelta(seconds=30)
    await spool.settle(delivery, Deferred(TemporaryFailure("connection refused"), later))
    assert await spool.due("pacs", limit=10, now=clock()) == []
    assert await spool.next_due_at("pacs") == later
    clock.advance(seconds=30)
    assert (await one_due(spool, "pacs", clock)).attempts == 1
    (row,) = rows(spool, "owed", "pacs")
    assert (row.reason, row.attempts) == ("connection refused", 1)


async def test_a_rejected_one_is_held_with_its_reason(spool: Spool, clock: Clock) -> None:
    await keep(spool, "1.2.1", "pacs", "other")
    delivery = await one_due(spool, "pacs", clock)
    await spool.settle(delivery, Rejected(PermanentFailure("status 0xC000")))
    (row,) = rows(spool, "held")
    assert (row.destination, row.reason, row.attempts) == ("pacs", "status 0xC000", 1)
    assert await spool.due("pacs", limit=10, now=clock()) == []
    assert len(await spool.due("other", limit=10, now=clock())) == 1


VERDICTS = [
    Delivered("1.2.840.10008.1.2"),
    Deferred(TemporaryFailure("later"), START),
    Rejected(PermanentFailure("no")),
]


@pytest.mark.parametrize("verdict", VERDICTS)
async def test_what_a_person_dropped_in_flight_stays_dropped(
    spool: Spool, clock: Clock, verdict: Delivered | Deferred | Rejected
) -> None:
    await keep(spool, "1.2.1", "pacs")
    delivery = await one_due(spool, "pacs", clock)
    assert by_hand(spool, "drop", delivery.delivery_id) == 1
    before = rows(spool)
    await spool.settle(delivery, verdict)
    assert rows(spool) == before
    assert states(before) == ["dropped"]


async def test_what_a_person_holds_in_flight_is_not_put_off_but_may_be_confirmed(
    spool: Spool, clock: Clock
) -> None:
    await keep(spool, "1.2.1", "pacs")
    delivery = await one_due(spool, "pacs", clock)
    by_hand(spool, "hold", "1.2.1")
    await spool.settle(delivery, VERDICTS[1])
    assert states(rows(spool)) == ["held"]
    await spool.settle(delivery, VERDICTS[0])
    assert states(rows(spool)) == ["delivered"]


HOUR = timedelta(hours=1)


async def put_off(spool: Spool, clock: Clock) -> None:
    """One that waits for its retry, and one that was never tried."""
    await keep(spool, "1.2.1", "pacs", received_at=clock())
    delivery = await one_due(spool, "pacs", clock)
    await spool.settle(delivery, Deferred(TemporaryFailure("busy"), clock() + HOUR))
    await keep(spool, "1.2.2", "viewer", received_at=clock())


async def test_after_the_clock_was_set_back_what_is_put_off_too_far_is_due_now(
    spool: Spool, clock: Clock
) -> None:
    clock.advance(days=30)
    await put_off(spool, clock)
    assert await spool.bring_forward(clock()) == 0
    clock.advance(days=-30)
    assert await spool.bring_forward(clock()) == 2
    for destination in ("pacs", "viewer"):
        assert (await one_due(spool, destination, clock)).due_at == START
    assert (await one_due(spool, "pacs", clock)).attempts == 1
    assert await spool.bring_forward(clock()) == 0


async def test_a_clock_that_was_set_back_before_the_start_holds_nothing_up(
    spool: Spool, folder: Path, clock: Clock
) -> None:
    clock.advance(hours=3)
    await put_off(spool, clock)
    await spool.aclose()
    clock.advance(hours=-3)
    again = Spool.open(folder, clock=clock, refuse_below_free=0, longest_retry=HOUR)
    assert (await one_due(again, "pacs", clock)).due_at == START
    assert (await one_due(again, "viewer", clock)).due_at == START
    await again.aclose()


async def test_a_restart_does_not_cut_a_retry_short(
    spool: Spool, folder: Path, clock: Clock
) -> None:
    await put_off(spool, clock)
    await spool.aclose()
    again = Spool.open(folder, clock=clock, refuse_below_free=0, longest_retry=HOUR)
    assert await again.next_due_at("pacs") == START + HOUR
    await again.aclose()


async def test_what_is_owed_by_destination_and_route(spool: Spool, clock: Clock) -> None:
    for number in range(3):
        await keep(spool, f"1.2.{number}", "pacs")
    await keep(spool, "1.2.9", "pacs", "viewer")
    await spool.settle((await spool.due("pacs", limit=1, now=clock()))[0], VERDICTS[0])
    assert await spool.owed() == {Owed("pacs", "to-pacs"): 3, Owed("viewer", "to-viewer"): 1}


async def test_counts_by_destination(spool: Spool, clock: Clock) -> None:
    for number in range(6):
        at = START + timedelta(seconds=number)
        await keep(spool, f"1.2.{number}", "pacs", received_at=at, content=b"12345")
    await keep(spool, "1.2.9")
    deliveries = await spool.due("pacs", limit=10, now=clock.advance(hours=1))
    await spool.settle(deliveries[0], VERDICTS[0])
    await spool.settle(deliveries[1], VERDICTS[2])
    await spool.settle(deliveries[3], VERDICTS[1])
    by_hand(spool, "drop", deliveries[4].delivery_id)
    counts = await spool.counts()
    assert counts.destinations == {
        "pacs": DestinationCounts(
            owed=3,
            deferred=1,
            held=1,
            delivered=1,
            dropped=1,
            oldest=START + timedelta(seconds=2),
        )
    }
    assert counts.destinations["pacs"].received == 6
    assert (counts.instances, counts.size) == (7, 36)


async def test_counting_costs_the_same_however_much_there_is(spool: Spool, folder: Path) -> None:
    """Counted in steps of SQLite's virtual machine."""

    async def steps_with(more: int) -> int:
        for number in range(more):
            await keep(spool, f"1.2.{more}.{number}", "pacs")
        steps: list[None] = []
        with closing(connect(folder / LEDGER, "ro")) as connection:
            connection.set_progress_handler(lambda: steps.append(None), 1)
            counted = queries.counts(connection)
        assert counted.instances == counted.destinations["pacs"].owed > 0
        return len(steps)

    few = await steps_with(3)
    assert await steps_with(300) <= few + 5


async def test_a_contradiction_between_sums_and_rows_is_found(spool: Spool, folder: Path) -> None:
    await keep(spool, "1.2.1", "pacs")
    with closing(connect(folder / LEDGER)) as connection:
        connection.execute("UPDATE standing SET tried = 7")
        (found,) = queries.contradictions(connection)
    assert "running sums" in found


async def test_a_restart_goes_on_where_it_stopped(
    spool: Spool, folder: Path, clock: Clock
) -> None:
    kept = await keep(spool, "1.2.1", "pacs")
    await spool.aclose()
    again = Spool.open(folder, clock=clock)
    assert (await one_due(again, "pacs", clock)).instance == kept
    await again.aclose()


async def test_what_was_never_acknowledged_is_out_of_the_way_after_a_start(
    spool: Spool, folder: Path, clock: Clock
) -> None:
    kept = await keep(spool, "1.2.1", "pacs")
    unfinished = spool.create()
    orphan = kept.file.with_name("7.dcm")
    orphan.write_bytes(b"renamed, but not in the ledger")
    stranger = kept.file.with_name("notes.txt")
    stranger.write_text("not ours")
    derived = spool.derived_path(kept, "1.2.840.10008.1.2")
    derived.write_bytes(b"cache")
    await spool.aclose()
    again = Spool.open(folder, clock=clock, refuse_below_free=0)
    assert sorted(kept.file.parent.iterdir()) == [kept.file, stranger]
    assert (folder / "orphans/7.dcm").read_bytes() == b"renamed, but not in the ledger"
    assert not unfinished.path.exists()
    assert not derived.exists()
    assert (await keep(again, "1.2.2")).spool_id == 8
    await again.aclose()


async def test_what_is_owed_of_a_vanished_file_is_held_at_start(
    spool: Spool, folder: Path, clock: Clock
) -> None:
    lost = await keep(spool, "1.2.1", "pacs")
    await keep(spool, "1.2.2", "pacs")
    await spool.aclose()
    lost.file.unlink()
    again = Spool.open(folder, clock=clock)
    assert [(row.state, row.reason) for row in rows(again)] == [
        ("held", f"the spool file is missing: {lost.file}"),
        ("owed", ""),
    ]
    await again.aclose()


async def test_after_closing_nothing_is_taken(spool: Spool, clock: Clock) -> None:
    part = spool.create()
    await keep(spool, "1.2.1", "pacs")
    delivery = await one_due(spool, "pacs", clock)
    await spool.aclose()
    for attempt in (
        spool.commit(part, arriving("1.2.2"), []),
        spool.settle(delivery, VERDICTS[0]),
    ):
        with pytest.raises(TemporaryFailure, match="closed"):
            await attempt
    with pytest.raises(TemporaryFailure, match="closed"):
        spool.create()
    part.abort()


async def test_a_ledger_of_a_newer_gateway_is_refused_in_one_sentence(
    spool: Spool, folder: Path, clock: Clock
) -> None:
    await spool.aclose()
    connection = sqlite3.connect(folder / LEDGER)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(PermanentFailure, match="written by a newer gateway"):
        Spool.open(folder, clock=clock)


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TemporaryFailure, match=r"cannot open .*file.*Not a directory"):
        Spool.open(tmp_path / "file" / "spool", clock=clock)


async def test_a_copy_taken_at_any_moment_opens(
    spool: Spool, folder: Path, tmp_path: Path, clock: Clock
) -> None:
    """What lies on the disk without any closing is enough."""
    await keep(spool, "1.2.1", "pacs")
    spool.create().write(b"in the middle")
    shutil.copytree(folder, tmp_path / "copy")
    copy = Spool.open(tmp_path / "copy", clock=clock)
    assert (await one_due(copy, "pacs", clock)).instance.file.read_bytes() == b"pixels"
    assert list((tmp_path / "copy").rglob("*.part")) == []
    await copy.aclose()
