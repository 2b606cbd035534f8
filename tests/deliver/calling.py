"""Our SCU calling a scripted peer."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway import dimse
from gateway.deliver.store_scu import StoreScu, Target
from gateway.dimse import Command
from gateway.model import Arrival, Instance, Origin
from gateway.upper_layer.events import (
    Fragment,
    ReleaseReply,
    ReleaseRequest,
)
from tests.scripted_peer import (
    CT,
    EXPLICIT_LE,
    ScriptedPeer,
    listening,
)

SOON = 0.3
J2K = "1.2.840.10008.1.2.4.91"
MR = "1.2.840.10008.5.1.4.1.1.4"
WANTED = [(CT, EXPLICIT_LE)]
Script = Callable[[ScriptedPeer], Awaitable[None]]


def instance(uid: str = "1.2.3", sop_class: str = CT) -> Instance:
    """What the ledger would say of an instance."""
    return Instance(
        sop_instance_uid=uid,
        sop_class_uid=sop_class,
        transfer_syntax=EXPLICIT_LE,
        study_uid="1.2.3.1",
        series_uid="1.2.3.2",
        origin=Origin(Arrival.C_STORE),
        size=0,
        received_at=datetime(2024, 5, 6, tzinfo=UTC),
    )


def scu(port: int, **settings: Any) -> StoreScu:
    """Our side; times are short only where a test waits for their end."""
    return StoreScu(Target("ARCHIVE", "127.0.0.1", port, **settings))


async def store_once(script: Script, file: Path, **settings: Any) -> str:
    """Open an association, store one instance, release."""
    async with listening(script) as port, scu(port, **settings).connect(WANTED) as session:
        return await session.store(instance(), file, EXPLICIT_LE)


async def released(peer: ScriptedPeer) -> None:
    """Answer the release that must come, and wait for the close."""
    await peer.expect(ReleaseRequest)
    await peer.send(ReleaseReply())
    assert await peer.closed() == b""


def answering(status: int, comment: str = "") -> Script:
    """A peer that stores one instance with this status."""

    async def script(peer: ScriptedPeer) -> None:
        await peer.accept()
        asked, _ = await peer.message()
        await peer.send(response(asked, status, comment))
        if dimse.failure_for(status) is None:
            await released(peer)
        else:
            await peer.closed()

    return script


def response(asked: Command, status: int, comment: str = "") -> Fragment:
    """The C-STORE-RSP to a request."""
    data = dimse.encode_command(asked.answer(status, comment))
    return Fragment(1, is_command=True, is_last=True, data=data)
