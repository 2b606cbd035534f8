"""Series and studies are held back until they are complete, through restarts, never for ever."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.failures import TemporaryFailure
from gateway.model import Deferred, Delivered, Owed, Terms
from gateway.spool import Spool
from tests.spool.arrivals import Clock, arriving, beside, contradictions, rows

MINUTE = timedelta(minutes=1)
SERIES = Terms(gather="series", quiet_for=MINUTE, deadline=10 * MINUTE)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def spool(tmp_path: Path, clock: Clock):
    opened = opening(tmp_path, clock)
    yield opened
    await opened.aclose()


def opening(folder: Path, clock: Clock) -> Spool:
    return Spool.open(folder / "spool", clock=clock, refuse_below_free=0)


async def keep(
    spool: Spool, uid: str, terms: Terms = SERIES, *destinations: str, series: str = "1.2.3.4"
) -> None:
    """One instance by the route ``all``, received now."""
    with spool.create() as part:
        part.write(b"pixels")
        instance = replace(arriving(uid, received_at=spool._clock()), series_uid=series)
        owed = [Owed(name, "all", terms) for name in destinations or ("pacs",)]
        await spool.commit(part, instance, owed)


async def due(spool: Spool, destination: str = "pacs") -> list[str]:
    found = await spool.due(destination, limit=100, now=spool._clock())
    return [each.instance.sop_instance_uid for each in found]


async def let_go(spool: Spool) -> int:
    return await spool.let_go(spool._clock())


async def test_a_series_goes_when_nothing_came_for_long_enough(spool: Spool, clock: Clock) -> None:
    for number in range(5):
        await keep(spool, f"1.{number}")
        clock.advance(seconds=59)
        assert await let_go(spool) == 0
        assert await due(spool) == []
    clock.advance(seconds=1)
    assert await let_go(spool) == 5
    assert await due(spool) == [f"1.{number}" for number in range(5)]
    assert contradictions(spool) == []


async def test_a_series_that_never_ends_goes_at_the_deadline(spool: Spool, clock: Clock) -> None:
    for number in range(20):
        await keep(spool, f"1.{number}")
        clock.advance(seconds=30)
    assert await let_go(spool) == 20
    assert len(await due(spool)) == 20


async def test_at_the_deadline_it_is_due_though_nobody_lets_go(spool: Spool, clock: Clock) -> None:
    await keep(spool, "1.1")
    clock.advance(minutes=9, seconds=30)
    await keep(spool, "1.2")
    clock.advance(seconds=30)
    assert await due(spool) == ["1.1", "1.2"]


async def test_a_late_instance_is_held_back_anew_without_those_that_went(
    spool: Spool, clock: Clock
) -> None:
    await keep(spool, "1.1")
    clock.advance(minutes=1)
    await let_go(spool)
    (sent,) = await spool.due("pacs", limit=9, now=clock())
    await spool.settle(sent, Delivered("1.2.840.10008.1.2.1"))
    clock.advance(minutes=30)
    await keep(spool, "1.2")
    assert await due(spool) == []
    clock.advance(minutes=1)
    assert await let_go(spool) == 1
    assert await due(spool) == ["1.2"]


async def test_each_series_route_and_destination_is_complete_by_itself(
    spool: Spool, clock: Clock
) -> None:
    await keep(spool, "1.1", SERIES, "pacs", "archive")
    clock.advance(seconds=40)
    await keep(spool, "1.2", SERIES, "archive", series="1.9")
    await keep(spool, "1.3", SERIES, "archive")
    clock.advance(seconds=20)
    assert await let_go(spool) == 1
    assert (await due(spool), await due(spool, "archive")) == (["1.1"], [])
    clock.advance(seconds=40)
    assert await let_go(spool) == 3
    assert await due(spool, "archive") == ["1.1", "1.2", "1.3"]


async def test_a_study_is_gathered_over_its_series(spool: Spool, clock: Clock) -> None:
    study = replace(SERIES, gather="study")
    await keep(spool, "1.1", study)
    clock.advance(seconds=50)
    await keep(spool, "1.2", study, series="1.9")
    clock.advance(seconds=50)
    assert await let_go(spool) == 0
    clock.advance(seconds=10)
    assert await let_go(spool) == 2


async def test_what_names_no_series_waits_for_none(spool: Spool) -> None:
    await keep(spool, "1.1", SERIES, series="")
    assert await due(spool) == ["1.1"]


async def test_gathering_goes_on_after_a_restart(tmp_path: Path, clock: Clock) -> None:
    spool = opening(tmp_path, clock)
    await keep(spool, "1.1")
    await spool.aclose()
    clock.advance(seconds=50)
    spool = opening(tmp_path, clock)
    assert await due(spool) == []
    await keep(spool, "1.2")
    clock.advance(seconds=59)
    assert await let_go(spool) == 0
    await spool.aclose()
    clock.advance(seconds=1)
    spool = opening(tmp_path, clock)
    assert await let_go(spool) == 2
    assert await due(spool) == ["1.1", "1.2"]
    await spool.aclose()


async def test_what_a_person_retries_does_not_wait_and_what_he_drops_or_holds_never_goes(
    spool: Spool, clock: Clock
) -> None:
    for uid in ("1.1", "1.2", "1.3", "1.4"):
        await keep(spool, uid)
    with beside(spool) as queue:
        assert queue.retry("1.1") == queue.drop("1.2") == queue.hold("1.3") == 1
    assert await due(spool) == ["1.1"]
    (tried,) = await spool.due("pacs", limit=9, now=clock())
    later = clock() + timedelta(hours=1)
    await spool.settle(tried, Deferred(TemporaryFailure("down"), later))
    clock.advance(minutes=1)
    await let_go(spool)
    assert await due(spool) == ["1.4"]
    assert [row.state for row in rows(spool)] == ["owed", "dropped", "held", "owed"]
    assert rows(spool)[0].due_at == later


async def test_what_is_gathered_is_not_brought_forward_by_a_new_configuration(
    spool: Spool, clock: Clock
) -> None:
    await keep(spool, "1.1")
    await keep(spool, "1.2", Terms())
    (plain,) = await spool.due("pacs", limit=9, now=clock())
    await spool.put_off([plain], clock() + timedelta(hours=6))
    assert await due(spool) == []
    assert await spool.reconsider(clock()) == 1
    assert await due(spool) == ["1.2"]


async def test_what_was_put_off_is_looked_at_again_at_the_next_start(
    tmp_path: Path, clock: Clock
) -> None:
    spool = opening(tmp_path, clock)
    await keep(spool, "1.1", Terms())
    await spool.put_off(
        await spool.due("pacs", limit=9, now=clock()), clock() + timedelta(hours=6)
    )
    assert (await spool.next_due_at("pacs"), await due(spool)) == (
        clock() + timedelta(hours=6),
        [],
    )
    await spool.aclose()
    spool = opening(tmp_path, clock)
    assert await due(spool) == ["1.1"]
    await spool.aclose()


async def test_what_is_urgent_comes_first_and_then_what_came_first(
    spool: Spool, clock: Clock
) -> None:
    for number, priority in enumerate((0, -1, 1, 0, 1)):
        await keep(spool, f"1.{number}", Terms(priority))
        clock.advance(seconds=1)
    assert await due(spool) == ["1.2", "1.4", "1.0", "1.3", "1.1"]
    first = await spool.due("pacs", limit=2, now=clock())
    rest = await spool.due(
        "pacs", limit=2, now=clock(), exclude=[each.delivery_id for each in first]
    )
    assert [each.instance.sop_instance_uid for each in rest] == ["1.0", "1.3"]
    assert [each.priority for each in (*first, *rest)] == [1, 1, 0, 0]
    ids = [each.delivery_id for each in (*first, *rest)]
    assert await spool.next_due_at("pacs", exclude=ids) == clock() - timedelta(seconds=4)
