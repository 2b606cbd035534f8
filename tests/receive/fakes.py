"""A stand-in for the intake: what was begun, kept, refused; failures and delays by script."""

import asyncio
from dataclasses import dataclass, field

from gateway.failures import Failure
from gateway.intake import Announced


@dataclass
class FakePart:
    """A part in memory."""

    announced: Announced
    data: bytearray = field(default_factory=bytearray)
    aborted: bool = False
    full_at: int = 0
    failure: Failure | None = None
    views: int = 0

    @property
    def size(self) -> int:
        return len(self.data)

    def write(self, data: bytes | memoryview) -> None:
        assert not self.aborted
        self.views += isinstance(data, memoryview)
        if self.failure is not None and self.size + len(data) > self.full_at:
            raise self.failure
        self.data += data

    def abort(self) -> None:
        self.aborted = True


class FakeIntake:
    """Takes everything, unless told otherwise.

    ``at_begin``, ``at_write`` and ``at_admit`` are raised there; while ``gate`` is not set every
    commit waits.
    """

    def __init__(self) -> None:
        self.parts: list[FakePart] = []
        self.kept: list[FakePart] = []
        self.at_begin: Failure | None = None
        self.at_write: Failure | None = None
        self.at_admit: BaseException | None = None
        self.waiting = 0
        self.gate = asyncio.Event()
        self.gate.set()

    def begin(self, announced: Announced) -> FakePart:
        if self.at_begin is not None:
            raise self.at_begin
        part = FakePart(announced, full_at=100, failure=self.at_write)
        self.parts.append(part)
        return part

    async def admit(self, part: FakePart, announced: Announced) -> None:
        assert part.announced == announced
        self.waiting += 1
        await self.gate.wait()
        self.waiting -= 1
        if self.at_admit is not None:
            part.abort()
            raise self.at_admit
        self.kept.append(part)
