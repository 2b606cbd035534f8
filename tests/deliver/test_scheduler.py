"""Shared transcodes, waking, the ledger's trouble, and ending."""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.deliver.policy import Destination, RoutePolicy
from gateway.failures import PermanentFailure
from gateway.model import Delivered, Rendition
from gateway.transcode.reader import Reader
from gateway.transfer_syntax import EXPLICIT_LE, IMPLICIT_LE, J2K
from tests.deliver.fakes import quiet
from tests.deliver.street import Street
from tests.deliver.unreliable_sender import Answer, UnreliableSender


async def test_what_is_accepted_goes_as_stored_and_the_rest_is_transcoded(
    street: Street,
) -> None:
    street.spool.keep("pacs", "viewer", syntax=J2K)
    pacs, viewer = UnreliableSender(), UnreliableSender()
    reads = Destination(Reader("viewer", can_read=frozenset({IMPLICIT_LE})), viewer)
    async with street.running(reads, pacs=pacs):
        assert pacs.stored == [("1.2.1", J2K, "1.dcm")]
        assert viewer.stored == [("1.2.1", IMPLICIT_LE, f"1-{IMPLICIT_LE}")]
        verdicts = street.spool.row("1.2.1", "viewer").verdicts
        assert verdicts == [Delivered(IMPLICIT_LE, "fake")]


async def test_two_destinations_that_want_the_same_share_one_transcode(street: Street) -> None:
    for _ in range(5):
        street.spool.keep("one", "two", syntax=J2K)
    one, two = (UnreliableSender(accepts=[IMPLICIT_LE]) for _ in range(2))
    street.transcoder.gate.clear()
    async with street.running(one=one, two=two):
        street.transcoder.gate.set()
        await quiet()
        assert len(street.transcoder.calls) == 5
        assert one.stored == two.stored
        assert len(one.stored) == 5


async def test_a_destination_that_comes_later_uses_what_was_made(street: Street) -> None:
    street.spool.keep("one", "two", syntax=J2K)
    one = UnreliableSender(accepts=[IMPLICIT_LE])
    two = UnreliableSender(Answer.REFUSE_CONNECTION, accepts=[IMPLICIT_LE])
    async with street.running(one=one, two=two):
        await street.time.advance(30)
        assert len(street.transcoder.calls) == 1
        assert street.spool.row("1.2.1", "two").verdicts[-1] == Delivered(IMPLICIT_LE, "fake")


async def test_one_that_stops_waiting_does_not_stop_the_transcode_for_the_other(
    street: Street,
) -> None:
    street.spool.keep("one", "two", syntax=J2K)
    one, two = (UnreliableSender(accepts=[IMPLICIT_LE]) for _ in range(2))
    street.transcoder.gate.clear()
    async with street.running(one=one):
        making = asyncio.create_task(
            street.scheduler._derivations.derive(
                street.spool.row("1.2.1", "two").delivery.instance, IMPLICIT_LE, Rendition()
            )
        )
        await quiet()
        making.cancel()
        street.transcoder.gate.set()
        await quiet()
        assert street.spool.states("one") == "d"
    assert two.stored == []


@pytest.mark.parametrize(
    ("header", "syntax", "calls"),
    [
        ({"PhotometricInterpretation": "MONOCHROME2"}, J2K, 0),
        ({"PhotometricInterpretation": "RGB"}, J2K, 1),
        ({"PhotometricInterpretation": "RGB"}, EXPLICIT_LE, 0),
        ({"PhotometricInterpretation": "YBR_RCT"}, J2K, 1),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, EXPLICIT_LE, 1),
        ({}, J2K, 1),
    ],
)
async def test_colour_is_changed_only_where_there_is_colour_to_change(
    street: Street, header: dict[str, str], syntax: str, calls: int
) -> None:
    street.spool.keep("viewer", syntax=syntax, **header)
    viewer = Destination(Reader("viewer", rendition=Rendition(color="RGB")), UnreliableSender())
    async with street.running(viewer):
        assert street.spool.states("viewer") == "d"
        expected = [("1", EXPLICIT_LE, Rendition(color="RGB"))] * calls
        assert street.transcoder.calls == expected


async def test_pixels_change_never_changes_no_colour_either(street: Street) -> None:
    street.policies["route"] = RoutePolicy(change="never")
    street.spool.keep("viewer", syntax=J2K, PhotometricInterpretation="YBR_RCT")
    viewer = Destination(Reader("viewer", rendition=Rendition(color="RGB")), UnreliableSender())
    async with street.running(viewer):
        assert street.spool.row("1.2.1", "viewer").verdicts == [Delivered(J2K)]


async def test_what_is_put_off_is_tried_again_when_it_is_due_while_others_go_on(
    street: Street,
) -> None:
    street.spool.keep("pacs")
    pacs = UnreliableSender(Answer.OUT_OF_RESOURCES)
    async with street.running(pacs=pacs):
        await street.time.advance(29)
        await street.arrives("pacs")
        assert street.spool.states() == "1d"
        await street.time.advance(1)
        assert street.spool.states() == "dd"


async def test_nothing_is_asked_of_the_ledger_while_nothing_happens(street: Street) -> None:
    street.spool.keep("pacs")
    async with street.running(pacs=UnreliableSender()):
        await street.time.advance(5)
        street.spool.failing = {"due": 1, "next_due_at": 1}
        for _ in range(50):
            await street.time.advance(60)
        assert street.spool.failing == {"due": 1, "next_due_at": 1}


async def test_what_a_person_retries_from_another_process_is_found_at_a_glance(
    street: Street,
) -> None:
    uid = street.spool.keep("pacs")
    pacs = UnreliableSender(Answer.CANNOT_UNDERSTAND)
    async with street.running(pacs=pacs, pace={"glance": timedelta(seconds=5)}):
        await street.time.advance(60)
        assert street.spool.states() == "h"
        street.spool.row(uid).state = "owed"
        await street.time.advance(4)
        assert street.spool.row(uid).state == "owed"
        await street.time.advance(1)
        assert street.spool.states() == "d"


async def test_a_ledger_that_cannot_be_read_is_asked_again(street: Street) -> None:
    street.spool.keep("pacs")
    street.spool.failing = {"due": 2}
    async with street.running(pacs=UnreliableSender()):
        assert street.spool.states() == "o"
        await street.time.advance(5)
        await street.time.advance(5)
        assert street.spool.states() == "d"


async def test_a_ledger_that_failed_is_asked_again_when_something_else_happens(
    street: Street,
) -> None:
    street.spool.keep("pacs")
    pacs = UnreliableSender()
    pacs.gate.clear()
    async with street.running(pacs=pacs):
        street.spool.failing = {"due": 1}
        await street.arrives("pacs")
        pacs.gate.set()
        await quiet()
        assert street.spool.states() == "dd"


async def test_the_ledger_is_not_asked_over_and_over_during_a_long_transfer(
    street: Street,
) -> None:
    for _ in range(2):
        street.spool.keep("pacs")
    async with street.running(pacs=UnreliableSender(Answer.OUT_OF_RESOURCES, Answer.HANG)):
        asked = street.spool.calls.total()
        for _ in range(29):
            await street.time.advance(1)
        assert street.spool.calls.total() == asked


async def test_a_ledger_that_contradicts_itself_causes_no_storm(street: Street) -> None:
    street.spool.keep("pacs")
    street.spool.hiding = True
    async with street.running(pacs=UnreliableSender()):
        assert street.spool.calls.total() <= 4
        street.spool.hiding = False
        await street.time.advance(1)
        assert street.spool.states() == "d"


async def test_only_so_many_verdicts_may_wait_for_a_slow_ledger(street: Street) -> None:
    for _ in range(100):
        street.spool.keep("pacs")
    street.spool.gate.clear()
    pacs = UnreliableSender()
    async with street.running(pacs=pacs):
        assert len(pacs.stored) == 64
        street.spool.gate.set()
        await quiet()
        assert street.spool.states() == "d" * 100


async def test_the_end_waits_for_verdicts_that_are_being_written(street: Street) -> None:
    street.spool.keep("pacs")
    street.spool.gate.clear()
    async with street.running(pacs=UnreliableSender()) as scheduler:
        closing = asyncio.create_task(scheduler.aclose(timedelta(0)))
        await quiet()
        assert not closing.done()
        street.spool.gate.set()
        await quiet()
        assert closing.done()
        assert street.spool.states() == "d"


async def test_the_end_does_not_wait_for_a_ledger_that_fails_for_good(street: Street) -> None:
    street.spool.keep("pacs")
    street.spool.failing = {"settle": 10**9}
    async with street.running(pacs=UnreliableSender()):
        assert street.spool.states() == "o"
    assert street.spool.calls["settle"] <= 3


async def test_a_verdict_that_cannot_be_written_is_written_later_and_nothing_is_resent(
    street: Street,
) -> None:
    street.spool.keep("pacs")
    street.spool.failing = {"settle": 2}
    pacs = UnreliableSender()
    async with street.running(pacs=pacs):
        assert street.spool.states() == "o"
        await street.arrives("pacs")
        await street.time.advance(5)
        await street.time.advance(5)
        assert street.spool.states() == "dd"
        assert len(pacs.stored) == 2


async def test_a_person_can_end_the_rest_of_a_lane(street: Street) -> None:
    street.spool.keep("pacs")
    street.spool.keep("pacs")
    pacs = UnreliableSender(Answer.REFUSE_CONNECTION)
    async with street.running(pacs=pacs) as scheduler:
        scheduler.wake("pacs")
        await quiet()
        assert pacs.events == ["connect"]
        scheduler.changed_by_hand()
        await quiet()
        assert street.spool.states() == "1d"


async def test_a_clock_that_jumps_neither_stalls_nor_storms(street: Street) -> None:
    for _ in range(3):
        street.spool.keep("pacs")
    pacs = UnreliableSender(*[Answer.REFUSE_CONNECTION] * 2)
    async with street.running(pacs=pacs):
        await street.time.advance(86_400)
        assert pacs.events.count("connect") == 2
        await street.time.advance(-86_400)
        await street.arrives("pacs")
        assert pacs.events.count("connect") == 3
        assert street.spool.row("1.2.4").state == "delivered"


async def test_unknown_destinations_and_routes_do_no_harm(street: Street) -> None:
    street.spool.keep("gone", "pacs", route="removed")
    async with street.running(pacs=UnreliableSender()) as scheduler:
        scheduler.wake("gone")
        await quiet()
        assert street.spool.states("gone") == "o"
        assert street.spool.states("pacs") == "d"


async def test_the_drain_ends_what_is_being_sent_and_takes_nothing_up(street: Street) -> None:
    for _ in range(5):
        street.spool.keep("pacs")
    pacs = UnreliableSender()
    pacs.gate.clear()
    async with street.running(pacs=pacs) as scheduler:
        closing = asyncio.create_task(scheduler.aclose(timedelta(seconds=30)))
        await quiet()
        await street.time.advance(29)
        assert not closing.done()
        pacs.gate.set()
        await quiet()
        assert closing.done()
        assert street.spool.states() == "doooo"
        assert pacs.events == ["connect", "store 1.2.1", "release"]


async def test_the_drain_does_not_wait_for_decoders(street: Street) -> None:
    street.spool.keep("pacs", syntax=J2K)
    street.transcoder.gate.clear()
    async with street.running(pacs=UnreliableSender(accepts=[IMPLICIT_LE])) as scheduler:
        closing = asyncio.create_task(scheduler.aclose(timedelta(seconds=30)))
        await quiet()
        assert closing.done()
        assert street.spool.states() == "o"


async def test_what_hangs_is_cancelled_after_the_grace(street: Street) -> None:
    street.spool.keep("pacs")
    pacs = UnreliableSender(Answer.HANG)
    async with street.running(pacs=pacs) as scheduler:
        closing = asyncio.create_task(scheduler.aclose(timedelta(seconds=30)))
        await quiet()
        await street.time.advance(30)
        assert closing.done()
        assert pacs.events[-1] == "abort"
        assert street.spool.states() == "o"


async def test_a_restart_goes_on_where_the_last_run_stopped(street: Street) -> None:
    for _ in range(6):
        street.spool.keep("pacs")
    pacs = UnreliableSender(Answer.OK, Answer.CANNOT_UNDERSTAND, Answer.OK, Answer.HANG)
    async with street.running(pacs=pacs):
        assert street.spool.states() == "dhdooo"
    async with street.running(pacs=pacs):
        assert street.spool.states() == "dhdddd"
        assert len(pacs.uids()) == len(set(pacs.uids())) == 5


async def test_a_bug_in_the_lane_itself_restarts_it(street: Street) -> None:
    street.spool.keep("pacs")
    pacs = UnreliableSender()
    async with street.running(pacs=pacs) as scheduler:
        scheduler._outboxes["pacs"].listeners.append(lambda: 1 / 0)
        await street.arrives("pacs")
        scheduler._outboxes["pacs"].listeners.clear()
        await street.time.advance(5)
        await street.time.advance(60)
        assert street.spool.states() == "dd"


async def test_a_failed_transcode_is_tried_again_by_the_next_who_asks(street: Street) -> None:
    street.transcoder.failures["1"] = PermanentFailure("cut")
    street.spool.keep("one", syntax=J2K)
    one = UnreliableSender(accepts=[IMPLICIT_LE])
    async with street.running(one=one):
        assert street.spool.states("one") == "h"
        street.transcoder.failures.clear()
        street.spool.rows[1].state = "owed"
        street.scheduler.wake("one")
        await quiet()
        assert street.spool.states("one") == "d"


ANSWERS = [
    each for each in Answer if each not in (Answer.HANG, Answer.CONNECT_HANG, Answer.DUPLICATE)
]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.sampled_from(ANSWERS), max_size=25), st.integers(1, 12), st.integers(1, 3))
def test_whatever_a_destination_does_every_delivery_ends_and_none_is_sent_twice(
    tmp_path_factory: pytest.TempPathFactory, script: list[Answer], kept: int, associations: int
) -> None:
    asyncio.run(_ends(Street(tmp_path_factory.mktemp("spool")), script, kept, associations))


async def _ends(street: Street, script: list[Answer], kept: int, associations: int) -> None:
    uids = [street.spool.keep("pacs") for _ in range(kept)]
    pacs = UnreliableSender(*script)
    async with street.running(Destination(Reader("pacs"), pacs, max_associations=associations)):
        for _ in range(len(script) + 2):
            await street.time.advance(900)
        states = street.spool.states()
        assert set(states) <= {"d", "h"}
        assert len(pacs.stored) == states.count("d") == len(set(pacs.uids()))
        for uid in uids:
            row = street.spool.row(uid)
            assert row.state == ("delivered" if uid in pacs.uids() else "held")
