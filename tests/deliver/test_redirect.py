"""Destinations change while the scheduler works: nothing is lost, and nothing sent twice."""

from datetime import timedelta

from gateway.deliver.policy import Destination, RoutePolicy
from gateway.deliver.store_scu import StoreScu, Target
from gateway.deliver.stow_client import StowClient
from gateway.transcode.reader import Reader
from gateway.web_client.origin_server import OriginServer
from gateway.web_client.settings import ServerSettings
from tests.deliver.fakes import quiet
from tests.deliver.street import Street
from tests.deliver.unreliable_sender import Answer, UnreliableSender

POLICIES = {"route": RoutePolicy()}


async def test_a_destination_that_stays_as_it_is_keeps_its_association(street: Street) -> None:
    pacs = UnreliableSender()
    async with street.running(pacs=pacs) as scheduler:
        await street.arrives("pacs")
        scheduler.redirect([Destination(Reader("pacs"), pacs)], POLICIES)
        await street.arrives("pacs")
    assert pacs.uids() == ["1.2.1", "1.2.2"]
    assert pacs.events.count("connect") == 1


async def test_what_is_being_sent_ends_before_the_changed_destination_is_called(
    street: Street,
) -> None:
    for _ in range(5):
        street.spool.keep("pacs")
    old, new = UnreliableSender(), UnreliableSender()
    old.gate.clear()
    async with street.running(pacs=old) as scheduler:
        scheduler.redirect([Destination(Reader("pacs"), new)], POLICIES)
        await quiet()
        assert new.events == []
        old.gate.set()
        await quiet()
    assert old.uids() == ["1.2.1"]
    assert new.uids() == ["1.2.2", "1.2.3", "1.2.4", "1.2.5"]
    assert street.spool.states() == "ddddd"


async def test_a_verdict_is_in_the_ledger_before_the_changed_destination_reads_it(
    street: Street,
) -> None:
    street.spool.keep("pacs")
    old, new = UnreliableSender(), UnreliableSender()
    street.spool.gate.clear()
    async with street.running(pacs=old) as scheduler:
        scheduler.redirect([Destination(Reader("pacs"), new)], POLICIES)
        await quiet()
        assert (old.uids(), new.events) == (["1.2.1"], [])
        street.spool.gate.set()
        await quiet()
    assert new.uids() == []
    assert street.spool.states() == "d"


async def test_what_is_owed_to_a_destination_that_is_gone_stays_and_goes_when_it_is_back(
    street: Street,
) -> None:
    pacs, back = UnreliableSender(), UnreliableSender()
    async with street.running(pacs=pacs) as scheduler:
        scheduler.redirect([], POLICIES)
        await street.arrives("pacs")
        await street.time.advance(60)
        assert street.spool.states() == "o"
        scheduler.redirect([Destination(Reader("pacs"), back)], POLICIES)
        await quiet()
    assert (pacs.uids(), back.uids()) == ([], ["1.2.1"])


async def test_a_destination_that_comes_and_goes_at_once_is_called_by_one_lane_at_a_time(
    street: Street,
) -> None:
    for _ in range(3):
        street.spool.keep("pacs")
    pacs = UnreliableSender()
    pacs.gate.clear()
    async with street.running(pacs=pacs) as scheduler:
        for _ in range(4):
            scheduler.redirect([], POLICIES)
            scheduler.redirect([Destination(Reader("pacs"), pacs)], POLICIES)
        await quiet()
        pacs.gate.set()
        await quiet()
    assert sorted(pacs.uids()) == ["1.2.1", "1.2.2", "1.2.3"]
    assert pacs.most_open == 1


async def test_a_new_destination_has_what_is_owed_to_it_already(street: Street) -> None:
    street.spool.keep("archive")
    archive = UnreliableSender()
    async with street.running() as scheduler:
        scheduler.redirect([Destination(Reader("archive"), archive)], POLICIES)
        await quiet()
    assert archive.uids() == ["1.2.1"]


async def test_a_route_is_obeyed_as_it_is_now(street: Street) -> None:
    pacs = UnreliableSender(Answer.OUT_OF_RESOURCES)
    async with street.running(pacs=pacs) as scheduler:
        hour = timedelta(hours=1)
        changed = {"route": RoutePolicy(retry_first=hour, retry_longest=hour * 2)}
        scheduler.redirect([Destination(Reader("pacs"), pacs)], changed)
        uid = await street.arrives("pacs")
    assert street.spool.row(uid).delivery.due_at == street.time.now + hour


async def test_closing_waits_for_what_a_lane_that_leaves_is_sending(street: Street) -> None:
    street.spool.keep("pacs")
    pacs = UnreliableSender()
    async with street.running(pacs=pacs) as scheduler:
        street.spool.gate.clear()
        scheduler.redirect([], POLICIES)
        street.spool.gate.set()
    assert street.spool.states() == "d"


def test_senders_to_one_peer_are_equal_and_to_others_are_not() -> None:
    """By this an unchanged destination is known."""
    target, settings = Target("PACS", "10.0.0.1", 104), ServerSettings("pacs", "https://pacs/")
    assert StoreScu(target) == StoreScu(Target("PACS", "10.0.0.1", 104))
    assert StoreScu(target) != StoreScu(Target("PACS", "10.0.0.1", 105))
    server = OriginServer(settings)
    assert StowClient(server) == StowClient(server)
    assert StowClient(server) != StowClient(OriginServer(settings))
    assert len({StowClient(server), StowClient(server)}) == 1
