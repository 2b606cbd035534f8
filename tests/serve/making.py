"""Work for ``ahead``, which goes on when a test says so."""

import asyncio
from collections.abc import AsyncIterator, Iterable


async def each(numbers: Iterable[int]) -> AsyncIterator[int]:
    for number in numbers:
        yield number


class Work:
    """Makes a number of a number, when it is told to go on."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.dropped: list[int] = []
        self.cancelled: list[int] = []
        self.gates: dict[int, asyncio.Event] = {}

    async def make(self, number: int) -> int:
        self.begun.append(number)
        try:
            await self.gates.setdefault(number, asyncio.Event()).wait()
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        return number * 10

    def go_on(self, *numbers: int) -> None:
        for number in numbers:
            self.gates.setdefault(number, asyncio.Event()).set()


async def quiet() -> None:
    for _ in range(50):
        await asyncio.sleep(0)
