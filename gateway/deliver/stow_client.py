"""STOW-RS user agent: sessions with a destination that is an origin server (PS3.18 §10.5).

Several instances go in one request, and each has its own verdict from the answer. What concerns
the destination as a whole (credentials, its address, an overload) is never held against an
instance; what is said of a request with many is found out of each by asking with one.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from gateway.deliver.session import ConnectionLost, Item
from gateway.failures import Failure, PermanentFailure, TemporaryFailure
from gateway.model import UID, Instance
from gateway.transfer_syntax import BY_UID
from gateway.web_client import OriginServer, Refused, Unanswered, Unwelcome, Upload
from gateway.web_client.store import Receipt

MOST: Final = 50
MOST_BYTES: Final = 256 << 20
"""What one request carries, unless a single instance is larger."""
_TOO_LARGE: Final = 413
_OF_THE_INSTANCE: Final = frozenset((400, 409, _TOO_LARGE, 415, 422))
"""Statuses that are about what was sent; any other is about the destination."""
_EVERYTHING: Final = frozenset(BY_UID)


class StowClient:
    """Opens sessions with one origin server; what it learns of its limits stays."""

    def __init__(self, server: OriginServer) -> None:
        self.server = server
        self.most = MOST
        self.most_bytes = MOST_BYTES
        self._not_before = 0.0

    def __eq__(self, other: object) -> bool:
        """Whether both send to the same server over the same connections."""
        return isinstance(other, StowClient) and other.server is self.server

    def __hash__(self) -> int:
        return hash(self.server)

    @asynccontextmanager
    async def connect(self, wanted: Collection[tuple[UID, UID]]) -> AsyncIterator["StowSession"]:
        """A session; nothing is sent before the first instance, and no limit is on ``wanted``.

        Raises TemporaryFailure as long as the server has asked to be left alone (Retry-After).
        """
        left = self._not_before - asyncio.get_running_loop().time()
        if left > 0:
            name = self.server.settings.name
            raise TemporaryFailure(f"{name} asked not to be asked for another {left:.0f} s")
        yield StowSession(self)

    def leave_alone(self, seconds: float) -> None:
        """The server has asked for a rest."""
        self._not_before = asyncio.get_running_loop().time() + seconds

    def too_large(self, items: Sequence[Item]) -> None:
        """A request with these was longer than the server takes."""
        self.most = max(len(items) // 2, 1)
        self.most_bytes = max(sum(item.size for item in items) // 2, 1)


class StowSession:
    """Requests to one origin server, one at a time."""

    def __init__(self, client: StowClient) -> None:
        self._client = client
        self.alive = True

    def accepted(self, sop_class: UID) -> frozenset[UID]:
        """HTTP negotiates nothing here: what the node can read is the configuration's word."""
        return _EVERYTHING

    def proposed(self, sop_class: UID, syntaxes: Collection[UID]) -> bool:
        """Nothing has to be proposed."""
        return True

    def fits(self, items: Sequence[Item]) -> bool:
        """Whether these may go in one request."""
        within = sum(item.size for item in items) <= self._client.most_bytes
        return len(items) <= self._client.most and within

    async def store(self, instance: Instance, file: Path, transfer_syntax: UID) -> str:
        """As ``Session.store``, in a request of its own."""
        (answer,) = await self.store_batch([Item(instance, file, transfer_syntax)])
        if isinstance(answer, Failure):
            raise answer
        return answer

    async def store_batch(self, items: Sequence[Item]) -> list[str | Failure]:
        """As ``BatchSession.store_batch``."""
        uploads = [Upload(item.instance.sop_instance_uid, item.file) for item in items]
        try:
            receipt = await self._client.server.store(uploads)
        except Unanswered as failure:
            self.alive = False
            raise ConnectionLost(str(failure)) from None
        if receipt.itemized:
            return await self._itemized(items, receipt)
        if receipt.status == 200:
            return [""] * len(items)
        return await self._of_all(items, receipt)

    async def _itemized(self, items: Sequence[Item], receipt: Receipt) -> list[str | Failure]:
        """What the answer says of each; those it does not name are asked about one by one."""
        said = receipt.outcomes
        unnamed = [item for item in items if item.instance.sop_instance_uid not in said]
        if len(items) == 1 and unnamed:
            return [receipt.nameless or _unnamed(receipt.status)]
        answers = await self._in_pieces(unnamed, len(unnamed)) if unnamed else []
        found = iter(answers)
        return [
            said[uid] if (uid := item.instance.sop_instance_uid) in said else next(found)
            for item in items
        ]

    async def _of_all(self, items: Sequence[Item], receipt: Receipt) -> list[str | Failure]:
        """The answer names no instance, and is no plain success."""
        failure = receipt.failure or _undecided(self._client.server.settings.name)
        if isinstance(failure, Refused) and failure.retry_after:
            self._client.leave_alone(failure.retry_after)
        if receipt.status != 202 and receipt.status not in _OF_THE_INSTANCE:
            raise failure if isinstance(failure, TemporaryFailure) else _elsewhere(failure)
        if len(items) == 1:
            return [failure]
        if receipt.status == _TOO_LARGE:
            self._client.too_large(items)
        return await self._in_pieces(items, 2 if receipt.status == _TOO_LARGE else len(items))

    async def _in_pieces(self, items: Sequence[Item], count: int) -> list[str | Failure]:
        """The same in so many requests; once one breaks off, the rest is as if it had too."""
        answers: list[str | Failure] = []
        size = -(-len(items) // count)
        for start in range(0, len(items), size):
            piece = items[start : start + size]
            try:
                answers += await self.store_batch(piece)
            except TemporaryFailure as failure:
                return answers + [failure] * (len(items) - start)
        return answers


def _unnamed(status: int) -> PermanentFailure:
    return PermanentFailure(
        f"the destination answered {status} and does not list the instance as stored: look there,"
        " then retry or drop it"
    )


def _undecided(name: str) -> PermanentFailure:
    return PermanentFailure(
        f"{name} answered 202 and does not say whether it has stored the instance: look there,"
        " then retry or drop it"
    )


def _elsewhere(failure: Failure) -> TemporaryFailure:
    """A status that says the address or method is wrong: somebody will mend the configuration."""
    status = failure.status if isinstance(failure, Unwelcome) else 0
    hint = ": is dicomweb.url its root?" if status in (404, 405) else ""
    return TemporaryFailure(f"{failure}{hint}")
