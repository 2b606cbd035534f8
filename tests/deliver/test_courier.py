"""Batches over associations: their order, what is proposed, what is made ready ahead."""

from gateway.deliver.policy import Destination
from gateway.transcode.reader import Reader
from gateway.transfer_syntax import EXPLICIT_LE, IMPLICIT_LE, J2K, RLE
from tests.deliver.fakes import CT, MR, quiet
from tests.deliver.street import Street
from tests.deliver.unreliable_sender import Answer, UnreliableSender


async def test_a_batch_goes_over_one_association_in_the_order_in_which_it_was_due(
    street: Street,
) -> None:
    uids = [street.spool.keep("pacs") for _ in range(150)]
    pacs = UnreliableSender()
    async with street.running(pacs=pacs):
        assert pacs.uids() == uids
        assert pacs.events.count("connect") == 1


async def test_order_is_kept_when_a_later_transcode_is_ready_first(street: Street) -> None:
    street.transcoder.gate.clear()
    uids = [street.spool.keep("pacs", syntax=J2K)]
    uids += [street.spool.keep("pacs") for _ in range(3)]
    pacs = UnreliableSender(accepts=[EXPLICIT_LE])
    async with street.running(pacs=pacs):
        assert pacs.stored == []
        street.transcoder.gate.set()
        await quiet()
        assert pacs.uids() == uids


async def test_what_is_proposed_is_each_pair_of_the_batch_once(street: Street) -> None:
    for sop_class, syntax in [(CT, J2K), (CT, J2K), (MR, RLE), (CT, EXPLICIT_LE)]:
        street.spool.keep("pacs", sop_class=sop_class, syntax=syntax)
    pacs = UnreliableSender()
    async with street.running(pacs=pacs):
        assert pacs.wanted == [[(CT, J2K), (MR, RLE), (CT, EXPLICIT_LE)]]


async def test_no_more_pairs_are_proposed_than_an_association_has_room_for(
    street: Street,
) -> None:
    for number in range(60):
        street.spool.keep("pacs", sop_class=f"1.2.{number}")
    pacs = UnreliableSender()
    async with street.running(pacs=pacs):
        assert [len(wanted) for wanted in pacs.wanted] == [40, 20]
        assert street.spool.states() == "d" * 60


async def test_an_arrival_joins_the_open_association_while_it_lingers(street: Street) -> None:
    street.spool.keep("pacs")
    pacs = UnreliableSender()
    async with street.running(pacs=pacs):
        await street.time.advance(1.9)
        await street.arrives("pacs")
        await street.time.advance(1.9)
        assert pacs.events == ["connect", "store 1.2.1", "store 1.2.2"]
        await street.time.advance(0.1)
        assert pacs.events[-1] == "release"


async def test_an_arrival_that_was_not_proposed_gets_a_new_association(street: Street) -> None:
    street.spool.keep("pacs", syntax=EXPLICIT_LE)
    pacs = UnreliableSender()
    async with street.running(pacs=pacs):
        await street.arrives("pacs", syntax=RLE)
        assert pacs.events == ["connect", "store 1.2.1", "release", "connect", "store 1.2.2"]
        assert pacs.wanted[1] == [(CT, RLE)]


async def test_while_one_is_sent_the_next_are_made_ready_and_no_more_than_that(
    street: Street,
) -> None:
    for _ in range(20):
        street.spool.keep("pacs", syntax=J2K)
    pacs = UnreliableSender(*[Answer.OK] * 5, Answer.HANG, accepts=[IMPLICIT_LE])
    async with street.running(pacs=pacs):
        assert len(pacs.stored) == 5
        assert len(street.transcoder.calls) == 5 + 1 + 3


async def test_looking_ahead_is_bounded_in_bytes_too(street: Street) -> None:
    for _ in range(20):
        street.spool.keep("pacs", syntax=J2K, size=400)
    pacs = UnreliableSender(*[Answer.OK] * 5, Answer.HANG, accepts=[IMPLICIT_LE])
    async with street.running(pacs=pacs, pace={"ahead_bytes": 1000}):
        assert len(street.transcoder.calls) == 5 + 2


async def test_an_instance_larger_than_the_bound_still_goes(street: Street) -> None:
    for _ in range(3):
        street.spool.keep("pacs", size=5000)
    pacs = UnreliableSender()
    async with street.running(pacs=pacs, pace={"ahead_bytes": 1000}):
        assert street.spool.states() == "ddd"
        assert pacs.events.count("connect") == 1


async def test_a_new_arrival_is_made_ready_while_another_is_being_sent(street: Street) -> None:
    pacs = UnreliableSender(accepts=[IMPLICIT_LE])
    street.spool.keep("pacs", syntax=J2K)
    async with street.running(pacs=pacs):
        pacs.gate.clear()
        await street.arrives("pacs", syntax=J2K)
        await street.arrives("pacs", syntax=J2K)
        assert len(street.transcoder.calls) == 3
        assert len(pacs.stored) == 1
        pacs.gate.set()
        await quiet()
        assert street.spool.states() == "ddd"


async def test_several_associations_share_the_work_where_the_node_allows_them(
    street: Street,
) -> None:
    for _ in range(40):
        street.spool.keep("pacs")
    pacs = UnreliableSender()
    destination = Destination(Reader("pacs"), pacs, max_associations=3)
    async with street.running(destination):
        assert street.spool.states() == "d" * 40
        assert len(set(pacs.uids())) == len(pacs.stored) == 40
        assert pacs.most_open == 3


async def test_each_association_takes_no_more_than_it_can_make_ready(street: Street) -> None:
    for _ in range(20):
        street.spool.keep("pacs", syntax=J2K)
    pacs = UnreliableSender(*[Answer.OK] * 10, Answer.HANG, accepts=[IMPLICIT_LE])
    pacs.most = 1
    async with street.running(Destination(Reader("pacs"), pacs, max_associations=2)):
        assert len(pacs.stored) == 10
        assert len(street.transcoder.calls) == 10 + 1 + 3


async def test_a_few_instances_are_not_worth_a_second_association(street: Street) -> None:
    for _ in range(10):
        street.spool.keep("pacs")
    pacs = UnreliableSender()
    async with street.running(Destination(Reader("pacs"), pacs, max_associations=2)):
        await street.time.advance(2)
        pacs.most_open = 0
        street.spool.keep("pacs")
        street.spool.keep("pacs")
        await street.arrives("pacs")
        assert street.spool.states() == "d" * 13
        assert pacs.most_open == 1


async def test_a_node_that_refuses_one_association_too_many_keeps_those_it_serves(
    street: Street,
) -> None:
    for _ in range(60):
        street.spool.keep("pacs")
    pacs = UnreliableSender()
    pacs.most = 1
    async with street.running(Destination(Reader("pacs"), pacs, max_associations=2)) as scheduler:
        assert street.spool.states() == "d" * 60
        assert scheduler.standing()["pacs"].failures == 0
        assert pacs.events.count("connect") == 2
        await street.time.advance(30)
        assert pacs.events.count("connect") == 2
