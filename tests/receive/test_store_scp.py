"""The SCP against a scripted peer: what it is given is kept or refused, and answered."""

import asyncio
import struct

import pytest

from gateway import dimse
from gateway.failures import PermanentFailure, TemporaryFailure
from gateway.upper_layer import pdu
from gateway.upper_layer.events import (
    Abort,
    AssociateRequest,
    AsynchronousWindow,
    Fragment,
    ReleaseReply,
    ReleaseRequest,
    RoleSelection,
    UserInformation,
)
from tests.receive.running import SOON, released, running
from tests.scripted_peer import (
    CT,
    EXPLICIT_LE,
    IMPLICIT_LE,
    VERIFICATION,
    command,
    data_set,
    request,
    store,
    until,
)

QUERY = "1.2.840.10008.5.1.4.1.2.2.1"
PRIVATE = "1.2.840.113619.4.27"


async def test_an_echo_is_answered(scp):
    async with await scp.call() as peer:
        await peer.associate((VERIFICATION, IMPLICIT_LE))
        await peer.send(command(dimse.C_ECHO_RQ, message_id=77, sop_class=VERIFICATION))
        answer = await peer.answer()
        assert (answer.field, answer.message_id, answer.status) == (0x8030, 77, 0)
        assert answer.sop_class == VERIFICATION
        await released(peer)
    await scp.idle()
    (line,) = scp.logged("association closed")
    assert (line["received"], line["refused"], line["outcome"]) == (0, 0, "released")
    assert (line["calling"], line["called"]) == ("MODALITY", "GATEWAY")
    assert line["address"] == "127.0.0.1"


async def test_an_instance_is_kept_as_it_came_and_answered(scp):
    data = data_set("1.2.3", pixels=50_000)
    async with await scp.call() as peer:
        await peer.associate()
        await peer.send(store("1.2.3", data, message_id=9))
        answer = await peer.answer()
        assert answer == dimse.Command(
            dimse.C_STORE_RSP, 9, CT, "1.2.3", status=0x0000, error_comment=""
        )
        await released(peer)
    (part,) = scp.intake.kept
    assert part.data == data
    assert not part.aborted
    announced = part.announced
    assert announced.sop_class_uid == CT
    assert announced.sop_instance_uid == "1.2.3"
    assert announced.transfer_syntax == EXPLICIT_LE
    assert (announced.origin.calling, announced.origin.called) == ("MODALITY", "GATEWAY")
    assert announced.origin.address == "127.0.0.1"


async def test_data_goes_to_the_part_as_views_and_nothing_is_put_together(scp):
    data = data_set("1.2.3", pixels=400_000)
    async with await scp.call() as peer:
        await peer.associate()
        await peer.send(store("1.2.3", data, piece=100_000))
        await peer.answer()
        await released(peer)
    (part,) = scp.intake.kept
    assert part.data == data
    assert part.views >= 4


@pytest.mark.parametrize("piece", [1, 2, 7, 4090, 131_066])
async def test_any_size_of_fragments_makes_the_same_instance(scp, piece):
    data = data_set("1.2.3", pixels=min(300 * piece, 200_000))
    async with await scp.call() as peer:
        await peer.associate()
        await peer.send(store("1.2.3", data, piece=piece))
        assert (await peer.answer()).status == 0
        await released(peer)
    assert scp.intake.kept[0].data == data


async def test_a_message_in_one_byte_segments_is_understood(scp):
    data = data_set("1.2.3")
    async with await scp.call() as peer:
        for byte in pdu.encode(request()) + store("1.2.3", data):
            peer.writer.write(bytes((byte,)))
            await peer.writer.drain()
        await peer.read()
        assert (await peer.answer()).status == 0
        await released(peer)
    assert scp.intake.kept[0].data == data


async def test_several_values_in_one_pdu_make_a_message(scp):
    values = pdu.encode(command(1, sop_class=CT, sop_instance="1.2.3", has_data_set=True))[
        6:
    ] + b"".join(
        pdu.encode(Fragment(1, False, last, part))[6:]
        for part, last in ((b"abc", False), (b"", False), (b"def", True))
    )
    async with await scp.call() as peer:
        await peer.associate()
        await peer.send(struct.pack(">BxL", 4, len(values)) + values)
        assert (await peer.answer()).status == 0
        await released(peer)
    assert scp.intake.kept[0].data == b"abcdef"


async def test_many_instances_and_echoes_share_an_association(scp):
    async with await scp.call() as peer:
        await peer.associate(
            (VERIFICATION, IMPLICIT_LE),
            (CT, EXPLICIT_LE),
            (CT, IMPLICIT_LE),
            (PRIVATE, EXPLICIT_LE),
        )
        for number in range(1, 31):
            context = 3 + 2 * (number % 3)
            uid = f"1.2.{number}"
            data = data_set(uid, pixels=number * 300)
            await peer.send(store(uid, data, context_id=context, message_id=number))
            answer = await peer.answer()
            assert (answer.message_id, answer.status) == (number, 0)
            await peer.send(command(dimse.C_ECHO_RQ, message_id=99, sop_class=VERIFICATION))
            assert (await peer.answer()).message_id == 99
        await released(peer)
    await scp.idle()
    syntaxes = [part.announced.transfer_syntax for part in scp.intake.kept]
    assert syntaxes[:3] == [IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_LE]
    assert scp.logged("association closed")[0]["received"] == 30


async def test_a_refused_context_is_answered_and_the_others_work(scp):
    async with await scp.call() as peer:
        accept = await peer.associate((QUERY, IMPLICIT_LE), (CT, "1.2.3.4"), (CT, EXPLICIT_LE))
        assert [context.result for context in accept.contexts] == [3, 4, 0]
        await peer.send(store("1.2.3", data_set("1.2.3"), context_id=5))
        assert (await peer.answer()).status == 0
        await released(peer)


async def test_negotiated_items_are_answered(scp):
    user = UserInformation(
        max_length=4096,
        implementation_class="1.2.3",
        window=AsynchronousWindow(5, 5),
        roles=(RoleSelection(CT, scu=True, scp=True),),
    )
    asked = request()
    async with await scp.call() as peer:
        await peer.send(AssociateRequest(asked.called, asked.calling, asked.contexts, user))
        (accept,) = await peer.read()
        assert accept.user.window == (1, 1)
        assert accept.user.roles == (RoleSelection(CT, scu=True, scp=False),)
        assert accept.user.max_length == 131_072
        await released(peer)


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (TemporaryFailure("the disk is full"), 0xA700),
        (PermanentFailure("not a data set"), 0xC000),
    ],
)
@pytest.mark.parametrize("where", ["at_begin", "at_write", "at_admit"])
async def test_a_failure_is_answered_with_its_status_and_the_association_goes_on(
    scp, where, failure, status
):
    async with await scp.call() as peer:
        await peer.associate()
        setattr(scp.intake, where, failure)
        await peer.send(store("1.2.3", data_set("1.2.3", pixels=200_000), message_id=3))
        answer = await peer.answer()
        assert (answer.message_id, answer.status) == (3, status)
        assert answer.sop_instance == "1.2.3"
        assert answer.error_comment == str(failure)
        setattr(scp.intake, where, None)
        await peer.send(store("1.2.4", data_set("1.2.4")))
        assert (await peer.answer()).status == 0
        await released(peer)
    await scp.idle()
    assert [part.announced.sop_instance_uid for part in scp.intake.kept] == ["1.2.4"]
    assert all(part.aborted for part in scp.intake.parts[:-1])
    (line,) = scp.logged("instance refused")
    assert (line["instance"], line["reason"]) == ("1.2.3", str(failure))
    assert line["status"] == f"0x{status:04X}"
    (closed,) = scp.logged("association closed")
    assert (closed["received"], closed["refused"]) == (1, 1)


async def test_an_error_nobody_expected_is_answered_as_out_of_resources():
    async with running() as scp:
        scp.intake.at_admit = ZeroDivisionError("secret")
        async with await scp.call() as peer:
            await peer.associate()
            await peer.send(store("1.2.3", data_set("1.2.3")))
            answer = await peer.answer()
            assert (answer.status, answer.error_comment) == (0xA700, "")
            await released(peer)
        (bug,) = [log for log in scp.logs if log["log_level"] == "error"]
        scp.logs.remove(bug)


async def test_a_long_reason_fits_the_error_comment(scp):
    scp.intake.at_admit = PermanentFailure("x" * 100)
    async with await scp.call() as peer:
        await peer.associate()
        await peer.send(store("1.2.3", data_set("1.2.3")))
        assert (await peer.answer()).error_comment == "x" * 64
        await released(peer)


async def test_an_object_that_exceeds_the_limit_is_read_to_its_end_and_refused():
    async with running(max_object=100_000) as scp, await scp.call() as peer:
        await peer.associate()
        await peer.send(store("1.2.3", data_set("1.2.3", pixels=500_000)))
        answer = await peer.answer()
        assert answer.status == 0xC000
        assert "max_object" in answer.error_comment
        assert scp.intake.parts[0].aborted
        await peer.send(store("1.2.4", data_set("1.2.4")))
        assert (await peer.answer()).status == 0
        await released(peer)


async def test_no_answer_is_given_before_the_commit(scp):
    scp.intake.gate.clear()
    async with await scp.call() as peer:
        await peer.associate()
        await peer.send(store("1.2.3", data_set("1.2.3")))
        await until(lambda: scp.intake.waiting)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SOON):
                await peer.reader.readexactly(1)
        scp.intake.gate.set()
        assert (await peer.answer()).status == 0
        await released(peer)


async def test_a_release_is_answered_when_the_last_commit_is(scp):
    scp.intake.gate.clear()
    async with await scp.call() as peer:
        await peer.associate()
        await peer.send(
            store("1.2.3", data_set("1.2.3"), message_id=1),
            store("1.2.4", data_set("1.2.4"), message_id=2),
            ReleaseRequest(),
        )
        await until(lambda: scp.intake.waiting == 2)
        scp.intake.gate.set()
        answers = [(await peer.answer()).message_id for _ in range(2)]
        assert answers == [1, 2]
        await peer.expect(ReleaseReply)
    await scp.idle()
    assert scp.logged("association closed")[0]["outcome"] == "released"


@pytest.mark.parametrize("ending", ["abort", "close", "reset"])
async def test_an_instance_stays_kept_when_the_peer_goes_before_the_answer(scp, ending):
    scp.intake.gate.clear()
    async with await scp.call() as peer:
        await peer.associate()
        await peer.send(store("1.2.3", data_set("1.2.3")))
        await until(lambda: scp.intake.waiting)
        if ending == "abort":
            await peer.send(Abort())
        if ending == "reset":
            peer.writer.transport.abort()
    await scp.idle()
    assert scp.logged("association closed") == []
    scp.intake.gate.set()
    await until(lambda: scp.intake.kept)
    await until(lambda: scp.logged("association closed"))
    assert not scp.intake.kept[0].aborted
    assert scp.logged("association closed")[0]["received"] == 1


async def test_a_peer_that_does_not_wait_for_answers_is_not_read_without_end(scp):
    """Each instance that waits for its commit holds an open file."""
    scp.intake.gate.clear()
    many, pixels = 100, 20_000
    async with await scp.call() as peer:
        await peer.associate()
        flood = asyncio.ensure_future(
            peer.send(
                *(
                    store(f"1.2.{n}", data_set(f"1.2.{n}", pixels), message_id=n)
                    for n in range(many)
                )
            )
        )
        await until(lambda: scp.intake.waiting >= 16)
        begun = len(scp.intake.parts)
        await until(lambda: len(scp.intake.parts) == begun)
        assert begun < 30
        scp.intake.gate.set()
        answers = [(await peer.answer()) for _ in range(many)]
        await flood
        assert {answer.message_id for answer in answers} == set(range(many))
        await released(peer)
    assert len(scp.intake.kept) == many


async def test_a_flood_of_echoes_that_reads_no_answer_does_not_fill_the_memory(scp):
    echo = pdu.encode(command(0x0030, sop_class=VERIFICATION))
    async with await scp.call() as peer:
        await peer.associate((VERIFICATION, IMPLICIT_LE))
        peer.writer.transport.pause_reading()
        (connection,) = scp.scp._peers.values()
        for _ in range(1000):
            peer.writer.write(echo * 1000)
            await asyncio.sleep(0)
            if not connection._writable.is_set():
                break
        await until(lambda: not connection._writable.is_set())
        transport = connection._transport
        assert transport is not None
        assert not transport.is_reading()
        assert transport.get_write_buffer_size() < 2 << 20
        peer.writer.transport.abort()
    await scp.scp.stop(0)
