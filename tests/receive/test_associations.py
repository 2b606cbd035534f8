"""Which associations are taken, how long they last, and how the SCP stops."""

import asyncio

import pytest

from gateway.upper_layer import pdu
from gateway.upper_layer.events import (
    Abort,
    AssociateReject,
    Fragment,
)
from tests.receive.running import SOON, released, running
from tests.scripted_peer import (
    CT,
    command,
    data_set,
    request,
    store,
    until,
)

QUERY = "1.2.840.10008.5.1.4.1.2.2.1"
PRIVATE = "1.2.840.113619.4.27"


@pytest.mark.parametrize(
    ("settings", "values", "rejection"),
    [
        ({"check_called_ae": True}, {"called": "SOMEBODY"}, (1, 1, 7)),
        ({"accept_from": ("CT1", "MR1")}, {"calling": "CT2"}, (1, 1, 3)),
        ({}, {"application_context": "1.2.3"}, (1, 1, 2)),
        ({"max_associations": 0}, {}, (2, 3, 2)),
        ({"max_associations_per_peer": 0}, {}, (2, 3, 2)),
    ],
)
async def test_an_association_is_rejected_with_the_reason(settings, values, rejection):
    async with running(**settings) as scp:
        async with await scp.call() as peer:
            await peer.send(request(**values))
            assert await peer.expect(AssociateReject) == AssociateReject(*rejection)
        await scp.idle()
        (line,) = scp.logged("association refused")
        assert line["reason"] == str(AssociateReject(*rejection))
        assert line["calling"] == values.get("calling", "MODALITY")


async def test_a_rejected_peer_that_does_not_close_is_logged_once():
    async with running(check_called_ae=True, artim_seconds=SOON) as scp:
        async with await scp.call() as peer:
            await peer.send(request(called="SOMEBODY"))
            await peer.expect(AssociateReject)
            await peer.closed()
        await scp.idle()
        assert len(scp.logged("association refused")) == 1


@pytest.mark.parametrize("called", [b"GATEWAY", b" GATEWAY ", b"GATEWAY\0\0", b"  GATEWAY\0 "])
async def test_titles_are_compared_without_padding(called):
    settings = {"check_called_ae": True, "accept_from": ("MODALITY",)}
    async with running(**settings) as scp, await scp.call() as peer:
        whole = bytearray(pdu.encode(request()))
        whole[10:42] = called.ljust(16) + b" MODALITY\0".ljust(16)
        await peer.send(bytes(whole))
        (accept,) = await peer.read()
        assert (accept.called, accept.calling) == ("GATEWAY", "MODALITY")
        await released(peer)


@pytest.mark.parametrize("limit", ["max_associations", "max_associations_per_peer"])
async def test_one_association_too_many_is_rejected_until_another_ends(limit):
    async with (
        running(**{limit: 2}) as scp,
        await scp.call() as first,
        await scp.call() as second,
    ):
        await first.associate()
        await second.associate()
        async with await scp.call() as third:
            await third.send(request())
            assert (await third.expect(AssociateReject)).result == 2
        await released(first)
        await first.__aexit__()
        await until(lambda: scp.scp.associations.total() == 1)
        async with await scp.call() as fourth:
            await fourth.associate()


async def test_connections_that_ask_for_nothing_are_limited():
    async with running(max_strangers=2) as scp:
        async with await scp.call() as first, await scp.call():
            await until(lambda: len(scp.scp._peers) == 2)
            async with await scp.call() as third:
                assert await third.closed() == b""
            await until(lambda: len(scp.scp._peers) == 2)
            await first.associate()
            async with await scp.call() as fourth:
                await fourth.associate()
        await scp.idle()
        (line,) = scp.logged("association refused")
        assert "too many connections" in line["reason"]


async def test_a_silent_stranger_is_closed_when_artim_expires():
    async with running(artim_seconds=SOON) as scp:
        async with await scp.call() as peer:
            assert await peer.closed() == b""
        await scp.idle()
        (line,) = scp.logged("association refused")
        assert line["reason"].startswith("ARTIM timer expired")
        assert line["address"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({"idle_seconds": SOON}, []),
        ({"message_seconds": SOON}, [Fragment(1, True, False, b"half a command")]),
        (
            {"message_seconds": SOON},
            [
                command(1, sop_class=CT, sop_instance="1.2.3", has_data_set=True),
                Fragment(1, False, False, b"half an object"),
            ],
        ),
    ],
    ids=["between messages", "in a command", "in a data set"],
)
async def test_a_peer_that_falls_silent_is_aborted(settings, sent):
    async with running(artim_seconds=SOON, **settings) as scp:
        async with await scp.call() as peer:
            await peer.associate()
            await peer.send(*sent)
            assert await peer.expect(Abort) == Abort(2, 0)
        await scp.idle()
        assert scp.logged("association closed")[0]["outcome"].startswith("idle")
        assert all(part.aborted for part in scp.intake.parts)


async def test_silence_while_we_commit_is_not_the_peers(scp):
    scp.intake.gate.clear()
    async with await scp.call() as peer:
        await peer.associate()
        (served,) = scp.scp._peers
        assert served.patience == 300.0
        await peer.send(command(1, sop_class=CT, sop_instance="1.2.3", has_data_set=True))
        await until(lambda: served.patience == 60.0)
        await peer.send(Fragment(1, False, True, data_set("1.2.3")))
        await until(lambda: served.patience is None)
        scp.intake.gate.set()
        await peer.answer()
        assert served.patience == 300.0
        await released(peer)


async def test_stop_answers_the_message_under_way_and_then_ends_the_association():
    async with running(grace=10.0) as scp:
        scp.intake.gate.clear()
        async with await scp.call() as peer:
            await peer.associate()
            await peer.send(store("1.2.3", data_set("1.2.3")))
            await until(lambda: scp.intake.waiting)
            stopping = asyncio.ensure_future(scp.scp.stop(10.0))
            await until(lambda: scp.scp.associations.draining)
            assert not stopping.done()
            scp.intake.gate.set()
            assert (await peer.answer()).status == 0
            assert await peer.expect(Abort) == Abort(0, 0)
        await stopping
        assert len(scp.intake.kept) == 1
        with pytest.raises(ConnectionRefusedError):
            await scp.call()


async def test_an_association_that_idles_does_not_use_up_the_grace():
    async with running() as scp:
        async with await scp.call() as peer:
            await peer.associate()
            stopping = asyncio.ensure_future(scp.scp.stop(3600.0))
            assert await peer.expect(Abort) == Abort(0, 0)
        await stopping


async def test_stop_aborts_what_has_not_ended_after_its_grace():
    async with running() as scp:
        async with await scp.call() as peer, await scp.call() as stranger:
            await peer.associate()
            stopping = asyncio.ensure_future(scp.scp.stop(SOON))
            assert await stranger.closed() == b""
            assert await peer.expect(Abort) == Abort(0, 0)
            await peer.writer.drain()
            peer.writer.close()
            await stopping
        assert scp.logged("association closed")[0]["outcome"] == "the gateway stops"


async def test_stop_cuts_off_a_peer_that_ignores_the_abort_and_waits_for_its_commit(monkeypatch):
    monkeypatch.setattr("gateway.receive.store_scp._LAST_WORDS", SOON)
    async with running() as scp:
        scp.intake.gate.clear()
        async with await scp.call() as peer:
            await peer.associate()
            await peer.send(store("1.2.3", data_set("1.2.3")))
            await until(lambda: scp.intake.waiting)
            stopping = asyncio.ensure_future(scp.scp.stop(0.0))
            await scp.idle()
            assert not stopping.done()
            scp.intake.gate.set()
            await stopping
            assert len(scp.intake.kept) == 1


async def test_a_request_during_the_drain_is_rejected_as_transient():
    async with running() as scp, await scp.call() as busy:
        await busy.associate()
        async with await scp.call() as late:
            await until(lambda: len(scp.scp._peers) == 2)
            scp.scp.associations.draining = True
            await late.send(request())
            assert await late.expect(AssociateReject) == AssociateReject(2, 3, 2)
