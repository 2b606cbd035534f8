"""Peers that do not associate, do not answer or break off: a failure each, with its reason."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from gateway import dimse
from gateway.deliver.p_data import open_data_set, p_data
from gateway.deliver.session import ConnectionLost
from gateway.deliver.store_scu import StoreScu, Target
from gateway.failures import TemporaryFailure
from gateway.upper_layer.events import (
    REJECT_CALLED,
    REJECT_CONGESTION,
    Abort,
    AnsweredContext,
    AssociateAccept,
    AssociateRequest,
    Fragment,
    ReleaseReply,
    ReleaseRequest,
    UserInformation,
)
from tests.deliver.calling import (
    J2K,
    SOON,
    WANTED,
    answering,
    instance,
    released,
    response,
    scu,
    store_once,
)
from tests.scripted_peer import (
    CT,
    EXPLICIT_LE,
    IMPLICIT_LE,
    ScriptedPeer,
    command,
    listening,
    no_loop_errors,
    part10,
    until,
)


@pytest_asyncio.fixture(autouse=True)
async def _no_loop_errors() -> AsyncIterator[None]:
    with no_loop_errors():
        yield


async def test_a_port_that_nobody_listens_on_is_temporary():
    async def script(_: ScriptedPeer) -> None:
        raise AssertionError

    async with listening(script) as port:
        pass
    with pytest.raises(TemporaryFailure, match=rf"ARCHIVE@127.0.0.1:{port}.*is the node up"):
        async with scu(port).connect(WANTED):
            raise AssertionError


async def test_a_name_that_is_none_is_temporary():
    target = Target("ARCHIVE", "no-such-host.invalid", 104)
    with pytest.raises(TemporaryFailure, match="no-such-host"):
        async with StoreScu(target).connect(WANTED):
            raise AssertionError


@pytest.mark.parametrize(
    ("rejection", "words"),
    [(REJECT_CALLED, "called AE title not recognized"), (REJECT_CONGESTION, "congestion")],
)
async def test_a_rejected_association_is_temporary_with_the_reason(rejection, words):
    async def script(peer: ScriptedPeer) -> None:
        await peer.expect(AssociateRequest)
        await peer.send(rejection)
        assert await peer.closed() == b""

    async with listening(script) as port:
        with pytest.raises(TemporaryFailure, match=words):
            async with scu(port).connect(WANTED):
                raise AssertionError


async def greets(peer: ScriptedPeer) -> None:
    await peer.send(b"SSH-2.0-OpenSSH_9.2p1\r\n")
    await peer.closed()


async def aborts(peer: ScriptedPeer) -> None:
    await peer.expect(AssociateRequest)
    await peer.send(Abort(2, 0))
    await peer.closed()


async def closes(peer: ScriptedPeer) -> None:
    await peer.expect(AssociateRequest)


async def closes_at_once(_: ScriptedPeer) -> None:
    return


async def answers_with_a_release(peer: ScriptedPeer) -> None:
    await peer.expect(AssociateRequest)
    await peer.send(ReleaseReply())
    assert await peer.expect(Abort) == Abort(2, 2)


async def answers_malformed(peer: ScriptedPeer) -> None:
    await peer.expect(AssociateRequest)
    await peer.send(b"\2\0\0\0\0\4abcd")
    assert await peer.expect(Abort) == Abort(2, 6)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (greets, "SSH"),
        (aborts, "aborted by the peer's upper layer"),
        (closes, "closed|lost"),
        (closes_at_once, "closed|lost|ended"),
        (answers_with_a_release, "ReleaseReply in Sta5"),
        (answers_malformed, "ends early"),
    ],
)
async def test_a_peer_that_does_not_associate_is_temporary_with_what_it_did(script, words):
    async with listening(script) as port:
        with pytest.raises(TemporaryFailure, match=words) as failed:
            async with scu(port).connect(WANTED):
                raise AssertionError
    assert str(failed.value).count("ARCHIVE@127.0.0.1") == 1


async def test_a_greeting_before_our_request_is_named(monkeypatch):
    """The bytes may be there before we have asked for anything."""
    greeted = asyncio.Event()
    dial = StoreScu._dial

    async def dial_and_listen(self: StoreScu, session: Any) -> None:
        await dial(self, session)
        await greeted.wait()
        await until(lambda: session.connection.reason)

    monkeypatch.setattr(StoreScu, "_dial", dial_and_listen)

    async def script(peer: ScriptedPeer) -> None:
        await peer.send(b"SSH-2.0-OpenSSH_9.2p1\r\n")
        greeted.set()
        await peer.closed()

    async with listening(script) as port:
        with pytest.raises(ConnectionLost, match="SSH"):
            async with scu(port).connect(WANTED):
                raise AssertionError


async def test_a_peer_that_does_not_answer_the_request_is_given_up():
    async def script(peer: ScriptedPeer) -> None:
        await peer.expect(AssociateRequest)
        assert await peer.expect(Abort) == Abort(0, 0)

    async with listening(script) as port:
        with pytest.raises(TemporaryFailure, match=f"did not answer.*{SOON} s"):
            async with scu(port, associate_seconds=SOON).connect(WANTED):
                raise AssertionError


async def test_refused_contexts_are_not_among_the_accepted():
    async def script(peer: ScriptedPeer) -> None:
        asked = await peer.expect(AssociateRequest)
        answers = (
            AnsweredContext(1, 0, J2K),
            AnsweredContext(3, 4, EXPLICIT_LE),
            AnsweredContext(5, 0, EXPLICIT_LE),  # not what was proposed there
            AnsweredContext(99, 0, IMPLICIT_LE),  # never proposed
        )
        user = UserInformation(max_length=4096)
        await peer.send(AssociateAccept(asked.called, asked.calling, answers, user))
        await released(peer)

    async with listening(script) as port, scu(port).connect([(CT, J2K)]) as session:
        assert session.accepted(CT) == {J2K}
        assert session.proposed(CT, {EXPLICIT_LE})


async def test_more_wishes_than_contexts_are_left_out_whole():
    """128 contexts (PS3.8 9.3.2.2): 42 classes with three syntaxes each, one more does not fit."""
    heard: list[AssociateRequest] = []

    async def script(peer: ScriptedPeer) -> None:
        heard.append(await peer.accept())
        await released(peer)

    wanted = [(f"1.2.{number}", J2K) for number in range(1, 60)]
    async with listening(script) as port, scu(port).connect(wanted) as session:
        fits = [number for number in range(1, 60) if session.accepted(f"1.2.{number}")]
        assert fits == list(range(1, 43))
        assert session.proposed("1.2.42", {J2K, EXPLICIT_LE, IMPLICIT_LE})
        assert not session.proposed("1.2.43", {J2K})
    assert [context.context_id for context in heard[0].contexts] == list(range(1, 253, 2))


async def silent(peer: ScriptedPeer) -> None:
    await peer.accept()
    await peer.message()
    assert await peer.expect(Abort) == Abort(0, 0)


async def test_a_peer_that_does_not_answer_a_store_is_given_up(file):
    with pytest.raises(ConnectionLost, match=f"no progress within {SOON} s"):
        await store_once(silent, file, response_seconds=SOON)


async def test_a_peer_that_stops_reading_is_given_up(tmp_path):
    file = tmp_path / "large.dcm"
    file.write_bytes(part10("1.2.3", 24 << 20))
    stop = asyncio.Event()

    async def script(peer: ScriptedPeer) -> None:
        await peer.accept()
        peer.writer.transport.pause_reading()
        await stop.wait()

    async with (
        listening(script) as port,
        scu(port, response_seconds=SOON).connect(WANTED) as open_,
    ):
        with pytest.raises(ConnectionLost, match="no progress"):
            await open_.store(instance(), file, EXPLICIT_LE)
        assert not open_.alive
        open_.connection.cut()
        stop.set()


async def aborts_in_the_middle(peer: ScriptedPeer) -> None:
    await peer.accept()
    await peer.expect(Fragment)
    await peer.expect(Fragment)
    await peer.send(Abort(0, 0))
    await peer.closed()


async def closes_in_the_middle(peer: ScriptedPeer) -> None:
    await peer.accept()
    await peer.expect(Fragment)
    await peer.expect(Fragment)


async def resets_in_the_middle(peer: ScriptedPeer) -> None:
    await peer.accept()
    await peer.expect(Fragment)
    peer.writer.transport.abort()


async def releases_in_the_middle(peer: ScriptedPeer) -> None:
    await peer.accept()
    await peer.message()
    await peer.send(ReleaseRequest())
    await peer.expect(ReleaseReply)
    await peer.closed()


async def answers_garbage(peer: ScriptedPeer) -> None:
    await peer.accept()
    await peer.message()
    await peer.send(b"\xff" * 100)
    assert await peer.expect(Abort) == Abort(2, 1)


async def answers_no_command(peer: ScriptedPeer) -> None:
    await peer.accept()
    await peer.message()
    await peer.send(Fragment(1, True, True, b"\1\2\3"))
    assert await peer.expect(Abort) == Abort(0, 0)


async def answers_without_end(peer: ScriptedPeer) -> None:
    await peer.accept()
    await peer.message()
    for _ in range(3):
        await peer.send(Fragment(1, True, False, bytes(8000)))
    assert await peer.expect(Abort) == Abort(0, 0)


async def answers_without_a_status(peer: ScriptedPeer) -> None:
    await peer.accept()
    await peer.message()
    await peer.send(command(dimse.C_STORE_RSP))
    await peer.closed()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (aborts_in_the_middle, "aborted by the peer's application|closed|lost"),
        (closes_in_the_middle, "closed|lost"),
        (resets_in_the_middle, "closed|lost"),
        (releases_in_the_middle, "the peer released the association"),
        (answers_garbage, "unrecognized PDU type 0xFF"),
        (answers_no_command, "malformed response"),
        (answers_without_end, "endless command set"),
        (answers_without_a_status, "no status"),
    ],
)
async def test_what_is_not_an_answer_is_a_lost_connection(file, script, words):
    with pytest.raises(ConnectionLost, match=words) as failed:
        await store_once(script, file)
    assert str(failed.value).count("ARCHIVE@127.0.0.1") <= 1


async def test_an_answer_to_something_else_is_no_answer(file):
    async def script(peer: ScriptedPeer) -> None:
        await peer.accept()
        asked, _ = await peer.message()
        await peer.send(
            response(replace(asked, message_id=99), 0),
            command(dimse.C_ECHO_RSP, message_id=asked.message_id, status=0),
            Fragment(1, is_command=False, is_last=True, data=b"whatever"),
            response(asked, 0xA700),
        )
        await peer.closed()

    with pytest.raises(TemporaryFailure, match="0xA700"):
        await store_once(script, file)


@pytest.mark.parametrize("then_closes", [True, False])
async def test_a_success_before_the_whole_data_set_was_sent_is_none(tmp_path, then_closes):
    file = tmp_path / "large.dcm"
    file.write_bytes(part10("1.2.3", 64 << 20))

    async def script(peer: ScriptedPeer) -> None:
        await peer.accept()
        fragment = await peer.expect(Fragment)
        asked = dimse.decode_command(bytes(fragment.data))
        await peer.send(response(asked, 0x0000))
        if not then_closes:
            with contextlib.suppress(AssertionError):  # an A-ABORT comes in the middle
                while not (await peer.expect(Fragment)).is_last:
                    pass

    with pytest.raises(ConnectionLost, match="before it had all of it"):
        await store_once(script, file)


async def test_a_refusal_before_the_whole_data_set_was_sent_is_one(tmp_path):
    file = tmp_path / "large.dcm"
    file.write_bytes(part10("1.2.3", 8 << 20))

    async def script(peer: ScriptedPeer) -> None:
        await peer.accept()
        fragment = await peer.expect(Fragment)
        asked = dimse.decode_command(bytes(fragment.data))
        await peer.send(response(asked, 0xA700))
        while not (await peer.expect(Fragment)).is_last:
            pass
        await released(peer)

    with pytest.raises(TemporaryFailure, match="0xA700"):
        await store_once(script, file)


async def test_a_lost_association_refuses_the_next_instance(file):
    async with listening(aborts_in_the_middle) as port, scu(port).connect(WANTED) as session:
        for _ in range(2):
            with pytest.raises(ConnectionLost):
                await session.store(instance(), file, EXPLICIT_LE)
            assert not session.alive


async def test_a_file_that_is_missing_costs_no_association(file, tmp_path):
    async with listening(answering(0)) as port, scu(port).connect(WANTED) as session:
        with pytest.raises(TemporaryFailure, match=r"gone\.dcm cannot be read"):
            await session.store(instance(), tmp_path / "gone.dcm", EXPLICIT_LE)
        assert session.alive
        assert await session.store(instance(), file, EXPLICIT_LE) == ""


def test_a_file_that_becomes_shorter_is_never_sent_as_whole(tmp_path):
    file = tmp_path / "large.dcm"
    file.write_bytes(part10("1.2.3", 2 << 20))
    with open_data_set(file) as (descriptor, offset):
        chunks = p_data(descriptor, offset, 1, 16_378)
        next(chunks)
        os.truncate(file, 1 << 20)
        with pytest.raises(TemporaryFailure, match="shorter"):
            list(chunks)
