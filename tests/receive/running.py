"""An SCP of ours that listens, with a fake intake, and what it has logged."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from structlog.testing import capture_logs

from gateway.intake import Intake
from gateway.receive.store_scp import ScpSettings, StoreScp
from gateway.upper_layer.events import (
    ReleaseReply,
    ReleaseRequest,
)
from tests.receive.fakes import FakeIntake
from tests.scripted_peer import (
    ScriptedPeer,
    data_set,
    store,
    until,
)

SOON = 0.3


class Running:
    """An SCP that listens, its intake, and everything it has logged."""

    def __init__(self, scp: StoreScp, intake: FakeIntake, port: int, logs: list[Any]) -> None:
        self.scp = scp
        self.intake = intake
        self.port = port
        self.logs = logs

    async def call(self) -> ScriptedPeer:
        return await ScriptedPeer.connect(self.port)

    async def idle(self) -> None:
        """Return when every connection has ended."""
        await until(lambda: not self.scp._peers)

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [log for log in self.logs if log["event"] == event]


@asynccontextmanager
async def running(grace: float = 0.0, **settings: Any) -> AsyncIterator[Running]:
    intake = FakeIntake()
    scp = StoreScp(cast("Intake", intake), ScpSettings(**settings))
    port = await scp.start("127.0.0.1", 0)
    with capture_logs() as logs:
        try:
            yield Running(scp, intake, port, logs)
        finally:
            await scp.stop(grace)
    assert [log for log in logs if log["log_level"] == "error"] == []


async def released(peer: ScriptedPeer) -> None:
    """Release, and close as a peer should."""
    await peer.send(ReleaseRequest())
    await peer.expect(ReleaseReply)


async def still_works(scp: Running) -> None:
    """A new association stores an instance."""
    async with await scp.call() as peer:
        await peer.associate()
        await peer.send(store("1.2.999", data_set("1.2.999")))
        assert (await peer.answer()).status == 0x0000
        await released(peer)
