"""DICOM nodes that store what they are sent, and count it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway import dimse
from gateway.upper_layer.events import Abort, Fragment, ReleaseReply, ReleaseRequest
from tests.scripted_peer import ScriptedPeer, command


class Node:
    """A storage SCP that counts what it confirmed."""

    def __init__(self) -> None:
        self.port = 0
        self.confirmed: Counter[str] = Counter()

    async def play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one association."""
        async with ScriptedPeer(reader, writer) as peer:
            await peer.accept()
            uid, context_id, message_id = "", 0, 0
            while True:
                for event in await peer.read():
                    if isinstance(event, ReleaseRequest):
                        await peer.send(ReleaseReply())
                        return
                    if isinstance(event, Abort):
                        return
                    assert isinstance(event, Fragment)
                    if event.is_command:
                        asked = dimse.decode_command(bytes(event.data))
                        uid, message_id = asked.sop_instance, asked.message_id
                        context_id = event.context_id
                    elif event.is_last:
                        self.confirmed[uid] += 1
                        await peer.send(
                            command(
                                dimse.C_STORE_RSP, context_id, message_id,
                                sop_class=asked.sop_class, sop_instance=uid, status=0,
                            )
                        )  # fmt: skip


@asynccontextmanager
async def serving(*nodes: Node) -> AsyncIterator[None]:
    """The nodes listen; what goes wrong in one of them comes out here."""
    tasks: list[asyncio.Task[None]] = []
    servers = []
    for node in nodes:

        def called(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, node: Node = node
        ) -> None:
            tasks.append(asyncio.ensure_future(node.play(reader, writer)))

        servers.append(await asyncio.start_server(called, "127.0.0.1", 0))
        node.port = servers[-1].sockets[0].getsockname()[1]
    try:
        yield
        async with asyncio.timeout(15):
            await asyncio.gather(*tasks)
    finally:
        for server in servers:
            server.close()
