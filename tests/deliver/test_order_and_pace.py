"""In which order, how fast and in which hours a destination is served."""

from datetime import UTC, timedelta

from gateway.config.windows import parse_window
from gateway.deliver.policy import RoutePolicy
from tests.deliver.fakes import NOON, quiet
from tests.deliver.street import Street
from tests.deliver.unreliable_sender import UnreliableSender

HOUR = 3600


async def test_the_higher_priority_goes_first(street: Street) -> None:
    for priority in (-1, 0, 1, -1, 0, 1):
        street.spool.keep("pacs", priority=priority)
    pacs = UnreliableSender()
    async with street.running(pacs=pacs):
        await quiet()
    assert pacs.uids() == ["1.2.3", "1.2.6", "1.2.2", "1.2.5", "1.2.1", "1.2.4"]


async def test_what_is_urgent_overtakes_what_is_in_memory_already(street: Street) -> None:
    for _ in range(60):
        street.spool.keep("pacs", priority=-1)
    pacs = UnreliableSender()
    pacs.gate.clear()
    async with street.running(pacs=pacs) as scheduler:
        urgent = street.spool.keep("pacs", priority=1)
        scheduler.wake("pacs", 1)
        await quiet()
        pacs.gate.set()
        await quiet()
    assert pacs.uids().index(urgent) < 5
    assert street.spool.states() == "d" * 61
    assert len(pacs.uids()) == 61


async def test_so_many_instances_a_second(street: Street) -> None:
    street.policies["route"] = RoutePolicy(objects_per_s=2)
    for _ in range(20):
        street.spool.keep("pacs")
    pacs = UnreliableSender()
    async with street.running(pacs=pacs):
        assert len(pacs.stored) == 3
        for second in range(1, 6):
            for _ in range(10):
                await street.time.advance(0.1)
            assert len(pacs.stored) == 3 + 2 * second


async def test_so_many_bits_a_second_whatever_the_size(street: Street) -> None:
    street.policies["route"] = RoutePolicy(mbit_per_s=8)
    for _ in range(3):
        street.spool.keep("pacs", size=10_000_000)
    pacs = UnreliableSender()
    async with street.running(pacs=pacs):
        assert len(pacs.stored) == 1
        await street.time.advance(8.9)
        assert len(pacs.stored) == 1
        await street.time.advance(0.1)
        assert len(pacs.stored) == 2
        await street.time.advance(10)
        assert len(pacs.stored) == 3


async def test_what_grows_when_it_is_decompressed_is_paid_for_as_it_is_sent(
    street: Street,
) -> None:
    street.policies["route"] = RoutePolicy(mbit_per_s=0.0004, change="always")
    for _ in range(2):
        street.spool.keep("pacs", syntax="1.2.840.10008.1.2.4.90", size=100)
    pacs = UnreliableSender()
    async with street.running(pacs=pacs):
        await street.time.advance(2.9)
        assert len(pacs.stored) == 1
        await street.time.advance(0.2)
        assert len(pacs.stored) == 2


async def test_a_route_without_a_rate_is_not_slowed_by_one_that_has(street: Street) -> None:
    street.policies |= {"slow": RoutePolicy(objects_per_s=0.001)}
    street.spool.keep("pacs", route="slow")
    street.spool.keep("pacs", route="route")
    pacs = UnreliableSender()
    async with street.running(pacs=pacs):
        await quiet()
    assert len(pacs.stored) == 2


async def test_outside_its_hours_a_route_waits_and_others_do_not(street: Street) -> None:
    night = parse_window("18:00-06:00")
    street.policies["night"] = RoutePolicy(during=(night,), zone=UTC)
    for number in range(200):
        street.spool.keep("pacs", route="night" if number < 150 else "route")
    pacs = UnreliableSender()
    async with street.running(pacs=pacs):
        await quiet()
        assert len(pacs.stored) == 50
        await street.time.advance(5.9 * HOUR)
        assert len(pacs.stored) == 50
        await street.time.advance(0.2 * HOUR)
        await quiet()
        assert len(pacs.stored) == 200
        late = await street.arrives("pacs", route="night")
        assert late in pacs.uids()
    assert {row.delivery.attempts for row in street.spool.rows.values()} == {0}


async def test_when_the_window_closes_what_is_left_waits_for_the_next_one(street: Street) -> None:
    window = parse_window("12:00-13:00")
    street.policies["route"] = RoutePolicy(during=(window,), zone=UTC, objects_per_s=0.001)
    for _ in range(3):
        street.spool.keep("pacs")
    pacs = UnreliableSender()
    async with street.running(pacs=pacs):
        for _ in range(12):
            await street.time.advance(300)
        assert len(pacs.stored) == 3
        street.spool.keep("pacs")
        uid = await street.arrives("pacs")
        assert street.spool.row(uid).delivery.due_at == NOON + timedelta(days=1)
        assert len(pacs.stored) == 3


async def test_a_ledger_that_cannot_put_off_is_asked_again_and_nothing_goes_out(
    street: Street,
) -> None:
    street.policies["route"] = RoutePolicy(during=(parse_window("18:00-19:00"),), zone=UTC)
    street.spool.failing["put_off"] = 1
    uid = street.spool.keep("pacs")
    pacs = UnreliableSender()
    async with street.running(pacs=pacs):
        await street.time.advance(5)
        assert pacs.stored == []
        assert street.spool.row(uid).delivery.due_at == NOON + timedelta(hours=6)
