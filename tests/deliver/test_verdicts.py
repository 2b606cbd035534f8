"""A destination that fails in each of its ways: what becomes of the delivery and of its lane."""

from datetime import timedelta
from typing import Any

import pytest

from gateway.deliver.policy import Destination, RoutePolicy
from gateway.failures import PermanentFailure, TemporaryFailure
from gateway.model import Deferred, Delivered
from gateway.transcode.reader import Reader
from gateway.transfer_syntax import EXPLICIT_LE, IMPLICIT_LE, J2K
from tests.deliver.fakes import CT, MR, NOON, quiet
from tests.deliver.street import Street
from tests.deliver.unreliable_sender import Answer, UnreliableSender


async def test_success_is_delivered(street: Street) -> None:
    pacs = UnreliableSender()
    uid = street.spool.keep("pacs")
    async with street.running(pacs=pacs):
        assert street.spool.row(uid).verdicts == [Delivered(EXPLICIT_LE)]
        assert pacs.stored == [(uid, EXPLICIT_LE, "1.dcm")]


async def test_a_warning_is_delivered_and_kept_as_text(street: Street) -> None:
    uid = street.spool.keep("pacs")
    async with street.running(pacs=UnreliableSender(Answer.WARNING)):
        warning = "0xB000 coercion of data elements"
        assert street.spool.row(uid).verdicts == [Delivered(EXPLICIT_LE, "", warning)]


@pytest.mark.parametrize("answer", [Answer.REFUSE_CONNECTION, Answer.REJECT, Answer.CONNECT_BUG])
async def test_without_an_association_one_delivery_is_put_off_and_the_rest_stay_untried(
    street: Street, answer: Answer
) -> None:
    for _ in range(5):
        street.spool.keep("pacs")
    pacs = UnreliableSender(answer)
    async with street.running(pacs=pacs) as scheduler:
        assert street.spool.states() == "1oooo"
        assert pacs.events == ["connect"]
        assert scheduler.standing()["pacs"].closed(NOON)
        await street.time.advance(29)
        assert pacs.events == ["connect"]
        await street.time.advance(1)
        assert street.spool.states() == "ddddd"


async def test_a_destination_that_stays_down_is_probed_ever_more_rarely(street: Street) -> None:
    for _ in range(9):
        street.spool.keep("pacs")
    pacs = UnreliableSender(*[Answer.REFUSE_CONNECTION] * 4)
    tries = []
    async with street.running(pacs=pacs):
        for second in range(1, 400):
            await street.time.advance(1)
            if pacs.events.count("connect") > len(tries) + 1:
                tries.append(second)
        assert tries == [30, 81, 168, 316], "30 s, then each rest 1.7 times the last"
        assert street.spool.states() == "d" * 9


async def test_a_refused_sop_class_is_held_with_what_was_offered(street: Street) -> None:
    uid = street.spool.keep("pacs")
    async with street.running(pacs=UnreliableSender(Answer.REFUSE_CONTEXTS)) as scheduler:
        assert street.spool.states() == "h"
        assert "the node accepted nothing" in street.spool.row(uid).reason
        assert not scheduler.standing()["pacs"].failures


async def test_out_of_resources_puts_this_one_off_and_shuts_the_window(street: Street) -> None:
    for _ in range(4):
        street.spool.keep("pacs")
    pacs = UnreliableSender(Answer.OK, Answer.OK, Answer.OUT_OF_RESOURCES, Answer.HANG)
    async with street.running(pacs=pacs) as scheduler:
        assert street.spool.states() == "dd1o"
        assert scheduler.standing()["pacs"].window == 1
        assert pacs.events.count("connect") == 1
        due_at = street.spool.row("1.2.3").delivery.due_at
        assert due_at == NOON + timedelta(seconds=30)


async def test_three_times_out_of_resources_in_a_row_lets_the_lane_rest(street: Street) -> None:
    for _ in range(6):
        street.spool.keep("pacs")
    pacs = UnreliableSender(*[Answer.OUT_OF_RESOURCES] * 3)
    async with street.running(pacs=pacs):
        assert street.spool.states() == "111ooo"
        assert pacs.events[-1] == "release"
        await street.time.advance(90)
        assert street.spool.states() == "dddddd"


async def test_any_answer_about_an_instance_shows_that_the_destination_is_there(
    street: Street,
) -> None:
    for _ in range(6):
        street.spool.keep("pacs")
    shorts = [Answer.OUT_OF_RESOURCES] * 2
    async with street.running(
        pacs=UnreliableSender(*shorts, Answer.CANNOT_UNDERSTAND, *shorts)
    ) as scheduler:
        assert street.spool.states() == "11h11d"
        assert scheduler.standing()["pacs"].failures == 0


async def test_an_unwelcome_instance_is_held_and_never_stops_the_lane(street: Street) -> None:
    for _ in range(7):
        street.spool.keep("pacs")
    pacs = UnreliableSender(*[Answer.CANNOT_UNDERSTAND] * 5)
    async with street.running(pacs=pacs):
        assert street.spool.states() == "hhhhhdd"
        assert street.spool.row("1.2.1").reason == "0xC000 cannot understand"
        assert pacs.events.count("connect") == 1
        await street.time.advance(10_000)
        assert len(pacs.stored) == 2, "a permanent refusal is tried once"


async def test_a_hang_is_not_delivered_and_another_destination_goes_on(street: Street) -> None:
    for _ in range(20):
        street.spool.keep("pacs", "archive")
    hung, archive = UnreliableSender(Answer.HANG), UnreliableSender()
    async with street.running(pacs=hung, archive=archive):
        assert street.spool.states("archive") == "d" * 20
        assert street.spool.states("pacs") == "o" * 20
    assert hung.events[-1] == "abort"
    assert street.spool.states("pacs") == "o" * 20, "a try that never ended is no try"


async def test_a_dead_destination_does_not_slow_another(street: Street) -> None:
    for _ in range(20):
        street.spool.keep("pacs", "archive")
    dead = UnreliableSender(*[Answer.REFUSE_CONNECTION] * 9)
    async with street.running(pacs=dead, archive=UnreliableSender()):
        assert street.spool.states("archive") == "d" * 20
        assert street.spool.states("pacs") == "1" + "o" * 19


async def test_a_connection_that_hangs_is_cancelled_at_the_end_without_a_try(
    street: Street,
) -> None:
    street.spool.keep("pacs")
    async with street.running(pacs=UnreliableSender(Answer.CONNECT_HANG)):
        assert street.spool.states() == "o"
    assert street.spool.states() == "o"


@pytest.mark.parametrize("answer", [Answer.DROP, Answer.BUG])
async def test_a_broken_association_costs_one_try_and_the_next_gets_a_new_one(
    street: Street, answer: Answer
) -> None:
    for _ in range(4):
        street.spool.keep("pacs")
    pacs = UnreliableSender(Answer.OK, answer)
    async with street.running(pacs=pacs):
        assert street.spool.states() == "d1dd"
        assert pacs.uids() == ["1.2.1", "1.2.3", "1.2.4"]
        assert pacs.events.count("connect") == 2
        await street.time.advance(30)
        assert street.spool.states() == "dddd"


async def test_an_unexpected_error_is_logged_as_a_bug_and_the_association_aborted(
    street: Street, logged: list[Any]
) -> None:
    uid = street.spool.keep("pacs")
    pacs = UnreliableSender(Answer.BUG)
    async with street.running(pacs=pacs):
        assert pacs.events == ["connect", f"store {uid}", "abort"]
        assert "unexpected RuntimeError" in street.spool.row(uid).reason
        assert [line["event"] for line in logged if "exc_info" in line] == ["store"]


async def test_a_peer_that_hangs_up_after_accepting_is_a_failure_each_time(
    street: Street,
) -> None:
    for _ in range(5):
        street.spool.keep("pacs")
    pacs = UnreliableSender(*[Answer.CLOSE_AT_ONCE] * 3)
    async with street.running(pacs=pacs):
        assert street.spool.states() == "111oo"
        assert pacs.events.count("connect") == 3
        await street.time.advance(90)
        assert street.spool.states() == "ddddd"


async def test_what_was_made_ready_goes_on_in_its_order_after_a_break(street: Street) -> None:
    uids = [street.spool.keep("pacs") for _ in range(12)]
    pacs = UnreliableSender(*[Answer.OK] * 5, Answer.DROP)
    async with street.running(pacs=pacs):
        assert pacs.uids() == uids[:5] + uids[6:]


async def test_a_peer_that_hangs_up_while_the_first_is_decoded_costs_it_a_try(
    street: Street,
) -> None:
    street.transcoder.gate.clear()
    street.spool.keep("pacs", syntax=J2K)
    pacs = UnreliableSender(accepts=[IMPLICIT_LE])
    async with street.running(pacs=pacs):
        pacs.sessions[0].alive = False
        street.transcoder.gate.set()
        await quiet()
        assert street.spool.states() == "1"
        await street.time.advance(30)
        assert street.spool.states() == "d"
        assert len(street.transcoder.calls) == 1


async def test_a_peer_that_hangs_up_between_two_costs_the_second_nothing(street: Street) -> None:
    street.transcoder.gate.clear()
    street.spool.keep("pacs")
    street.spool.keep("pacs", syntax=J2K)
    pacs = UnreliableSender(accepts=[EXPLICIT_LE])
    async with street.running(pacs=pacs):
        assert street.spool.states() == "do"
        pacs.sessions[0].alive = False
        street.transcoder.gate.set()
        await quiet()
        assert street.spool.states() == "dd"
        assert len(street.spool.row("1.2.2").verdicts) == len(pacs.sessions) - 1 == 1


async def test_an_association_that_breaks_the_rules_lets_the_lane_rest(street: Street) -> None:
    for _ in range(3):
        street.spool.keep("pacs")
    pacs = UnreliableSender()
    pacs.broken = True
    async with street.running(pacs=pacs):
        assert pacs.events.count("connect") == 3
        pacs.broken = False
        await street.time.advance(90)
        assert street.spool.states() == "ddd"


async def test_a_failing_release_changes_nothing(street: Street) -> None:
    pacs = UnreliableSender()
    pacs.release_failure = TemporaryFailure("the release was not answered")
    street.spool.keep("pacs")
    async with street.running(pacs=pacs) as scheduler:
        await street.time.advance(2)
        assert "release" in pacs.events
        assert street.spool.states() == "d"
        assert not scheduler.standing()["pacs"].failures
        await street.arrives("pacs")
        assert street.spool.states() == "dd"


async def test_each_delivery_waits_longer_after_each_of_its_own_failures(street: Street) -> None:
    uid = street.spool.keep("pacs")
    async with street.running(pacs=UnreliableSender(*[Answer.OUT_OF_RESOURCES] * 2)):
        await street.time.advance(30)
        first, second = street.spool.row(uid).verdicts
        assert isinstance(first, Deferred)
        assert isinstance(second, Deferred)
        assert first.due_at == NOON + timedelta(seconds=30)
        assert second.due_at == NOON + timedelta(seconds=30 + 51)


async def test_a_route_may_give_up_and_then_the_delivery_is_held_with_the_reason(
    street: Street,
) -> None:
    street.policies["route"] = RoutePolicy(give_up_after=timedelta(minutes=1))
    uid = street.spool.keep("pacs")
    async with street.running(pacs=UnreliableSender(*[Answer.REFUSE_CONNECTION] * 9)):
        await street.time.advance(30)
        assert street.spool.states() == "2"
        await street.time.advance(51)
        assert street.spool.states() == "h"
        reason = street.spool.row(uid).reason
        assert reason == "given up 81 s after it was received, at try 3: connection refused"


async def test_without_a_limit_it_is_tried_for_ever(street: Street) -> None:
    street.spool.keep("pacs")
    pacs = UnreliableSender(*[Answer.REFUSE_CONNECTION] * 30)
    async with street.running(pacs=pacs):
        for _ in range(31):
            await street.time.advance(900)
        assert street.spool.states() == "d"


async def test_an_undecodable_instance_is_held_and_the_others_go_on(street: Street) -> None:
    street.transcoder.failures["1"] = PermanentFailure("frame 3: the codestream is cut")
    for _ in range(3):
        street.spool.keep("viewer", syntax=J2K)
    viewer = Destination(Reader("viewer", can_read=frozenset({IMPLICIT_LE})), UnreliableSender())
    async with street.running(viewer):
        assert street.spool.states("viewer") == "hdd"
        assert street.spool.row("1.2.1", "viewer").reason == "frame 3: the codestream is cut"


@pytest.mark.parametrize(
    ("if_undecodable", "accepts", "state"),
    [
        ("quarantine", (J2K, IMPLICIT_LE), "h"),
        ("reject", (J2K, IMPLICIT_LE), "h"),
        ("forward-as-stored", (J2K, IMPLICIT_LE), "d"),
        ("forward-as-stored", (IMPLICIT_LE,), "h"),
    ],
)
async def test_an_undecodable_instance_goes_as_stored_where_the_route_says_so(
    street: Street, if_undecodable: str, accepts: tuple[str, ...], state: str
) -> None:
    street.policies["route"] = RoutePolicy(change="always", if_undecodable=if_undecodable)
    street.transcoder.failures["1"] = PermanentFailure("cut")
    uid = street.spool.keep("pacs", syntax=J2K)
    pacs = UnreliableSender(accepts=accepts)
    async with street.running(pacs=pacs):
        assert street.spool.states() == state
        assert pacs.stored == ([(uid, J2K, "1.dcm")] if state == "d" else [])


async def test_an_unexpected_decoder_error_is_put_off_and_the_association_kept(
    street: Street,
) -> None:
    street.transcoder.failures["1"] = RuntimeError("surprise")
    for _ in range(2):
        street.spool.keep("pacs", syntax=J2K)
    pacs = UnreliableSender(accepts=[IMPLICIT_LE])
    async with street.running(pacs=pacs):
        assert street.spool.states() == "1d"
        assert pacs.events == ["connect", "store 1.2.2"]


async def test_decoder_errors_in_a_row_never_let_the_lane_rest(street: Street) -> None:
    for number in range(1, 6):
        street.spool.keep("pacs", syntax=J2K)
        street.transcoder.failures[str(number)] = RuntimeError("surprise")
    street.spool.keep("pacs", syntax=J2K)
    async with street.running(pacs=UnreliableSender(accepts=[IMPLICIT_LE])):
        assert street.spool.states() == "11111d"


async def test_a_full_disk_of_ours_lets_the_lane_rest_before_all_have_been_tried(
    street: Street,
) -> None:
    for number in range(1, 10):
        street.spool.keep("pacs", syntax=J2K)
        street.transcoder.failures[str(number)] = TemporaryFailure("no space left")
    async with street.running(pacs=UnreliableSender(accepts=[IMPLICIT_LE])):
        assert street.spool.states() == "111oooooo"
        street.transcoder.failures.clear()
        await street.time.advance(90)
        assert street.spool.states() == "d" * 9


async def test_an_instance_larger_than_the_node_takes_is_held(street: Street) -> None:
    large, small = street.spool.keep("viewer", size=602), street.spool.keep("viewer", size=600)
    viewer = Destination(Reader("viewer", max_instance=600), UnreliableSender())
    async with street.running(viewer):
        assert street.spool.states("viewer") == "hd"
        assert "602 bytes" in street.spool.row(large, "viewer").reason
        assert street.spool.row(small, "viewer").state == "delivered"


async def test_the_size_that_counts_is_the_size_that_would_be_sent(street: Street) -> None:
    street.spool.keep("viewer", syntax=J2K, size=100)
    sender = UnreliableSender(accepts=[IMPLICIT_LE])
    async with street.running(Destination(Reader("viewer", max_instance=150), sender)):
        assert street.spool.states("viewer") == "h", "200 bytes when decompressed"


async def test_a_missing_spool_file_is_held_and_the_lane_is_not_blamed(street: Street) -> None:
    for _ in range(5):
        street.spool.keep("pacs")
    for number in range(1, 5):
        (street.spool.folder / f"{number}.dcm").unlink()
    async with street.running(pacs=UnreliableSender()):
        assert street.spool.states() == "hhhhd"
        assert street.spool.row("1.2.1").reason == "the spool's file 1.dcm is missing"


async def test_one_bad_class_in_a_batch_does_not_hold_the_other(street: Street) -> None:
    street.spool.keep("pacs", sop_class=MR, syntax=J2K)
    street.spool.keep("pacs", sop_class=CT)
    street.policies["route"] = RoutePolicy(change="never")
    async with street.running(pacs=UnreliableSender(accepts=[EXPLICIT_LE])):
        assert street.spool.states() == "hd"
        assert "pixels.change: never" in street.spool.row("1.2.1").reason
    await quiet()
