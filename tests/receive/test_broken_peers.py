"""Peers that break off or break the rules: nothing half is kept, and the next one is served."""

import struct

import pytest

from gateway import dimse
from gateway.upper_layer.events import (
    Abort,
    Fragment,
)
from tests.receive.running import released, still_works
from tests.scripted_peer import (
    CT,
    EXPLICIT_LE,
    IMPLICIT_LE,
    VERIFICATION,
    command,
    data_set,
    store,
    until,
)

QUERY = "1.2.840.10008.5.1.4.1.2.2.1"
PRIVATE = "1.2.840.113619.4.27"


@pytest.mark.parametrize("ending", ["close", "reset", "half a PDU more"])
async def test_an_object_cut_in_the_middle_is_not_kept(scp, ending):
    whole = store("1.2.3", data_set("1.2.3", pixels=50_000), piece=10_000)
    async with await scp.call() as peer:
        await peer.associate()
        await peer.send(whole[: len(whole) // 2])
        await until(lambda: scp.intake.parts and scp.intake.parts[0].size > 10_000)
        if ending == "reset":
            peer.writer.transport.abort()
        elif ending == "half a PDU more":
            await peer.send(whole[len(whole) // 2 : 42_000])
    await scp.idle()
    (part,) = scp.intake.parts
    assert part.aborted
    assert scp.intake.kept == []
    (line,) = scp.logged("instance refused")
    assert line["instance"] == "1.2.3"
    assert "in the middle" in line["reason"]
    (closed,) = scp.logged("association closed")
    assert (closed["received"], closed["refused"]) == (0, 1)
    assert closed["outcome"] != "released"
    await still_works(scp)


async def test_an_abort_between_fragments_drops_the_object(scp):
    async with await scp.call() as peer:
        await peer.associate()
        await peer.send(
            command(1, sop_class=CT, sop_instance="1.2.3", has_data_set=True),
            Fragment(1, False, False, bytes(1000)),
            Abort(0, 0),
        )
        assert await peer.closed() == b""
    await scp.idle()
    assert scp.intake.parts[0].aborted
    assert scp.logged("association closed")[0]["outcome"] == "aborted by the peer's application"


async def test_a_release_in_the_middle_of_an_object_drops_it(scp):
    async with await scp.call() as peer:
        await peer.associate()
        await peer.send(
            command(1, sop_class=CT, sop_instance="1.2.3", has_data_set=True),
            Fragment(1, False, False, bytes(1000)),
        )
        await released(peer)
    await scp.idle()
    assert scp.intake.parts[0].aborted


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (Fragment(1, False, True, b"data"), "a data set without a command"),
        (Fragment(3, False, True, b"data"), "presentation context 3 was not accepted"),
        (Fragment(1, True, False, bytes(16_385)), "a command set of more than 16384 bytes"),
        (Fragment(1, True, True, b"\1\2\3"), "malformed command set"),
        (Fragment(1, True, True, b""), "malformed command set"),
        (command(dimse.C_STORE_RSP, status=0), "a response that nobody waits for, 0x8001"),
        (command(0x0020, has_data_set=True), "DIMSE operation 0x0020 is not offered"),
        (command(0x0030, has_data_set=True), "DIMSE operation 0x0030 is not offered"),
    ],
)
async def test_what_dimse_does_not_allow_is_aborted_with_the_reason(scp, wrong, reason):
    async with await scp.call() as peer:
        await peer.associate()
        await peer.send(wrong)
        assert await peer.expect(Abort) == Abort(0, 0)
    await scp.idle()
    assert scp.logged("association closed")[0]["outcome"].startswith(reason)
    await still_works(scp)


async def test_an_endless_command_set_in_small_pieces_is_aborted(scp):
    async with await scp.call() as peer:
        await peer.associate()
        for _ in range(200):
            await peer.send(Fragment(1, True, False, bytes(100)))
        assert await peer.expect(Abort) == Abort(0, 0)


async def test_a_command_set_in_pieces_is_understood(scp):
    whole = command(0x0030, sop_class=VERIFICATION).data
    async with await scp.call() as peer:
        await peer.associate((VERIFICATION, IMPLICIT_LE))
        await peer.send(Fragment(1, True, False, whole[:11]), Fragment(1, True, True, whole[11:]))
        assert (await peer.answer()).status == 0
        await released(peer)


@pytest.mark.parametrize("is_command", [True, False])
async def test_a_message_in_two_contexts_is_aborted(scp, is_command):
    """The data set would be kept under a transfer syntax that is not its own."""
    head = command(1, sop_class=CT, sop_instance="1.2.3", has_data_set=True)
    async with await scp.call() as peer:
        await peer.associate((CT, EXPLICIT_LE), (CT, IMPLICIT_LE))
        if is_command:
            await peer.send(
                Fragment(1, True, False, head.data[:20]), Fragment(3, True, True, head.data[20:])
            )
        else:
            await peer.send(head, Fragment(3, False, True, data_set("1.2.3")))
        assert await peer.expect(Abort) == Abort(0, 0)
    await scp.idle()
    assert scp.intake.kept == []
    assert all(part.aborted for part in scp.intake.parts)


async def test_a_command_inside_a_data_set_is_aborted(scp):
    async with await scp.call() as peer:
        await peer.associate()
        await peer.send(
            command(1, sop_class=CT, sop_instance="1.2.3", has_data_set=True),
            Fragment(1, False, False, b"data"),
            command(0x0030),
        )
        assert await peer.expect(Abort) == Abort(0, 0)
    await scp.idle()
    assert scp.intake.parts[0].aborted


async def test_an_unknown_operation_is_refused_and_the_association_goes_on(scp):
    async with await scp.call() as peer:
        await peer.associate()
        await peer.send(command(0x0100, message_id=4))
        answer = await peer.answer()
        assert (answer.field, answer.message_id, answer.status) == (0x8100, 4, 0x0211)
        await peer.send(command(dimse.C_CANCEL_RQ))
        await peer.send(command(1, message_id=5, sop_class=CT, sop_instance="1.2.3"))
        answer = await peer.answer()
        assert (answer.field, answer.message_id, answer.status) == (0x8001, 5, 0xC000)
        await released(peer)


async def test_a_pdu_longer_than_agreed_is_aborted(scp):
    async with await scp.call() as peer:
        await peer.associate()
        await peer.send(struct.pack(">BxL", 4, 131_073))
        assert await peer.expect(Abort) == Abort(2, 6)
    await scp.idle()
    (line,) = scp.logged("association closed")
    assert line["outcome"] == "P-DATA-TF of 131073 bytes, agreed are 6 to 131072"


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(200), "a TLS hello"),
        (b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n", "an HTTP request"),
        (bytes(range(100, 200)), "unrecognized PDU type 0x64"),
    ],
)
async def test_a_stranger_is_named_in_the_log_with_its_address(scp, first, words):
    async with await scp.call() as peer:
        await peer.send(first)
        assert await peer.expect(Abort) == Abort(0, 0)
    await scp.idle()
    (line,) = scp.logged("association refused")
    assert line["reason"].startswith(words)
    assert line["address"] == "127.0.0.1"
    assert scp.logged("association closed") == []
    await still_works(scp)


async def test_a_connection_that_asks_for_nothing_is_not_worth_a_line(scp):
    """A load balancer's check opens and closes every few seconds."""
    async with await scp.call():
        pass
    await scp.idle()
    assert scp.logs == []
