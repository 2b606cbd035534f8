"""What the SCU sends, and what it makes of the answers."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gateway import dimse
from gateway.deliver.p_data import open_data_set, p_data
from gateway.dimse import Command
from gateway.failures import AlreadyThere, Failure, PermanentFailure, TemporaryFailure
from gateway.upper_layer import pdu
from gateway.upper_layer.events import (
    Abort,
    AssociateRequest,
    Fragment,
    ReleaseReply,
    ReleaseRequest,
)
from tests.deliver.calling import (
    J2K,
    MR,
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
    data_set,
    listening,
    no_loop_errors,
    part10,
    until,
)


@pytest_asyncio.fixture(autouse=True)
async def _no_loop_errors() -> AsyncIterator[None]:
    with no_loop_errors():
        yield


async def test_the_request_names_both_sides_and_proposes_each_syntax_by_itself():
    heard: list[AssociateRequest] = []

    async def script(peer: ScriptedPeer) -> None:
        heard.append(await peer.accept())
        await released(peer)

    wanted = [(CT, J2K), (MR, IMPLICIT_LE), (CT, EXPLICIT_LE), (CT, J2K)]
    async with listening(script) as port, scu(port).connect(wanted) as session:
        assert session.alive
        assert session.accepted(CT) == {J2K, EXPLICIT_LE, IMPLICIT_LE}
        assert session.accepted(MR) == {EXPLICIT_LE, IMPLICIT_LE}
        assert session.accepted("1.2") == frozenset()
        assert session.proposed(CT, {J2K, IMPLICIT_LE})
        assert not session.proposed(MR, {J2K})
        assert not session.proposed("1.2", {IMPLICIT_LE})
        assert session.proposed(MR, set())
    assert not session.alive
    (asked,) = heard
    assert (asked.called, asked.calling) == ("ARCHIVE", "GATEWAY")
    assert [context.context_id for context in asked.contexts] == [1, 3, 5, 7, 9]
    assert [(each.abstract_syntax, each.transfer_syntaxes) for each in asked.contexts] == [
        (CT, (J2K,)),
        (CT, (EXPLICIT_LE,)),
        (CT, (IMPLICIT_LE,)),
        (MR, (IMPLICIT_LE,)),
        (MR, (EXPLICIT_LE,)),
    ]
    assert asked.user.max_length == 131_072


async def test_the_data_set_arrives_byte_for_byte_and_success_is_no_warning(file):
    heard: list[tuple[Command, bytes]] = []

    async def script(peer: ScriptedPeer) -> None:
        await peer.accept()
        asked, data = await peer.message()
        heard.append((asked, data))
        await peer.send(response(asked, 0x0000))
        await released(peer)

    assert await store_once(script, file) == ""
    ((asked, data),) = heard
    assert asked == Command(dimse.C_STORE_RQ, 1, CT, "1.2.3", has_data_set=True)
    assert data == data_set("1.2.3", 200_000)


@pytest.mark.parametrize("max_length", [0, 4096, 4097, 16_382, 16_384, 131_072, 1_000_000])
async def test_no_pdu_is_longer_than_the_peer_allows(tmp_path, max_length):
    """Sizes around the borders of PDUs and of the buffers in which they are read."""
    piece = (min(max_length or 262_144, 262_144) - 6) & ~1
    sizes = [each for count in (1, 2, 1 + 524_288 // piece) for each in _around(count * piece)]
    base = len(data_set("1.2.3"))
    file = tmp_path / "one.dcm"
    longest = 0

    async def script(peer: ScriptedPeer) -> None:
        nonlocal longest
        await peer.accept(max_length)
        for size in sizes:
            asked, data = await peer.message()
            assert data == data_set("1.2.3", size - base)
            await peer.send(response(asked, 0))
        await released(peer)

    read = pdu.head

    def measured(data: memoryview) -> tuple[int, int]:
        nonlocal longest
        kind, length = read(data)
        longest = max(longest, length if kind == pdu.P_DATA else 0)
        return kind, length

    async with listening(script) as port, scu(port).connect(WANTED) as session:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pdu, "head", measured)
            for size in sizes:
                file.write_bytes(part10("1.2.3", size - base))
                assert await session.store(instance(), file, EXPLICIT_LE) == ""
    assert longest == piece + 6
    assert not max_length or longest <= max_length


def _around(size: int) -> tuple[int, int, int]:
    return size - 2, size, size + 2


async def test_a_peer_with_a_tiny_maximum_length_gets_the_command_in_pieces_too(tmp_path):
    file = tmp_path / "one.dcm"
    file.write_bytes(part10("1.2.3", 300_000))
    lengths: list[int] = []

    async def script(peer: ScriptedPeer) -> None:
        await peer.accept(max_length=64)
        data = bytearray()
        last = False
        while not last:
            fragment = await peer.expect(Fragment)
            lengths.append(len(fragment.data) + 6)
            data += fragment.data
            last = fragment.is_last and not fragment.is_command
        assert data.endswith(data_set("1.2.3", 300_000))
        await peer.send(response(Command(1, 1, CT, "1.2.3"), 0))
        await released(peer)

    assert await store_once(script, file) == ""
    assert max(lengths) == 64
    assert len(lengths) > 1024  # more than one preadv takes


async def test_an_empty_data_set_is_one_empty_last_fragment(tmp_path):
    file = tmp_path / "empty.dcm"
    meta = part10("1.2.3")[: -len(data_set("1.2.3"))]
    file.write_bytes(meta)
    with open_data_set(file) as (descriptor, offset):
        assert offset == len(meta)
        (only,) = p_data(descriptor, offset, 1, 16_378)
    assert bytes(only) == pdu.encode(Fragment(1, False, True, b""))


async def test_many_instances_share_an_association(tmp_path):
    files = []
    for number in range(1, 21):
        files.append(tmp_path / f"{number}.dcm")
        files[-1].write_bytes(part10(f"1.2.{number}", number * 1000))

    async def script(peer: ScriptedPeer) -> None:
        await peer.accept()
        for number in range(1, 21):
            asked, data = await peer.message()
            assert (asked.message_id, asked.sop_instance) == (number, f"1.2.{number}")
            assert data == data_set(f"1.2.{number}", number * 1000)
            await peer.send(response(asked, 0xB000 if number == 7 else 0))
        await released(peer)

    async with listening(script) as port, scu(port).connect(WANTED) as session:
        told = [
            await session.store(instance(f"1.2.{n}"), each, EXPLICIT_LE)
            for n, each in enumerate(files, 1)
        ]
    assert [bool(warning) for warning in told] == [n == 7 for n in range(1, 21)]


@pytest.mark.parametrize(
    ("status", "warning"),
    [
        (0x0000, ""),
        (0x0001, "0x0001 requested optional attributes are not supported"),
        (0x0107, "0x0107 attribute list error"),
        (0xB000, "0xB000 coercion of data elements"),
        (0xB007, "0xB007 data set does not match SOP class (warning)"),
    ],
)
async def test_a_warning_is_stored_and_told(file, status, warning):
    assert await store_once(answering(status), file) == warning


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (0xA700, TemporaryFailure),
        (0xA701, TemporaryFailure),
        (0x0110, TemporaryFailure),
        (0x0124, TemporaryFailure),
        (0x0213, TemporaryFailure),
        (0xFE00, TemporaryFailure),
        (0xA900, PermanentFailure),
        (0xC000, PermanentFailure),
        (0xC123, PermanentFailure),
        (0x0111, AlreadyThere),
        (0x0117, PermanentFailure),
        (0x0122, PermanentFailure),
        (0x0211, PermanentFailure),
        (0x1234, PermanentFailure),
        (0xFF00, PermanentFailure),
    ],
)
async def test_a_failure_status_is_one_of_the_two_words(file, status, kind):
    with pytest.raises(Failure) as failed:
        await store_once(answering(status, "as it was said"), file)
    assert type(failed.value) is kind
    assert f"0x{status:04X}" in str(failed.value)
    assert failed.value.remark == "as it was said"
    assert "as it was said" not in str(failed.value)


async def test_a_failure_status_leaves_the_association_open_for_the_next(file):
    async def script(peer: ScriptedPeer) -> None:
        await peer.accept()
        for status in (0xA700, 0xC000, 0x0000):
            asked, _ = await peer.message()
            await peer.send(response(asked, status))
        await released(peer)

    async with listening(script) as port, scu(port).connect(WANTED) as session:
        with pytest.raises(TemporaryFailure):
            await session.store(instance(), file, EXPLICIT_LE)
        with pytest.raises(PermanentFailure):
            await session.store(instance(), file, EXPLICIT_LE)
        assert session.alive
        assert await session.store(instance(), file, EXPLICIT_LE) == ""


async def test_leaving_after_the_peer_has_gone_is_no_error():
    async def script(peer: ScriptedPeer) -> None:
        await peer.accept()
        await peer.send(Abort())
        await peer.closed()

    async with listening(script) as port, scu(port).connect(WANTED) as session:
        await until(lambda: not session.alive)


async def test_a_release_that_is_not_answered_is_cut_off():
    async def script(peer: ScriptedPeer) -> None:
        await peer.accept()
        await peer.expect(ReleaseRequest)
        assert await peer.closed() in (pdu.encode(Abort()), b"")

    async with listening(script) as port:
        async with scu(port, release_seconds=SOON).connect(WANTED) as session:
            pass
        await session.connection.ended()


async def test_a_release_collision_is_resolved():
    async def script(peer: ScriptedPeer) -> None:
        await peer.accept()
        await peer.expect(ReleaseRequest)
        await peer.send(ReleaseRequest())
        await peer.expect(ReleaseReply)
        await peer.send(ReleaseReply())
        assert await peer.closed() == b""

    async with listening(script) as port, scu(port).connect(WANTED):
        pass


async def test_an_error_inside_aborts_the_association():
    async def script(peer: ScriptedPeer) -> None:
        await peer.accept()
        assert await peer.expect(Abort) == Abort(0, 0)
        assert await peer.closed() == b""

    async with listening(script) as port:
        with pytest.raises(ZeroDivisionError):
            async with scu(port).connect(WANTED):
                raise ZeroDivisionError


async def test_a_cancelled_store_aborts_the_association(file):
    waiting = asyncio.Event()

    async def script(peer: ScriptedPeer) -> None:
        await peer.accept()
        await peer.message()
        waiting.set()
        assert await peer.expect(Abort) == Abort(0, 0)

    async def storing(port: int) -> None:
        async with scu(port).connect(WANTED) as session:
            await session.store(instance(), file, EXPLICIT_LE)

    async with listening(script) as port:
        task = asyncio.ensure_future(storing(port))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
