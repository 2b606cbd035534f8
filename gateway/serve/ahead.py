"""What is asked for next is made while what was asked for first is being sent, in order."""

import asyncio
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Sequence,
)
from typing import Any, Generic, TypeVar

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")


class Begun(Generic[_Made]):
    """What ``made`` makes of something that is under way already, when its turn has come."""

    __slots__ = ("_made", "under_way")

    def __init__(
        self, under_way: asyncio.Future[Any], made: Callable[[], Coroutine[Any, Any, _Made]]
    ) -> None:
        self.under_way, self._made = under_way, made

    def __await__(self) -> Generator[Any, None, _Made]:
        """Called by ``await``."""
        return self._made().__await__()


async def ahead(
    items: AsyncIterator[_Item],
    make: Callable[[_Item], _Made | Begun[_Made] | Coroutine[Any, Any, _Made]],
    window: int,
    drop: Callable[[_Made], None],
) -> AsyncGenerator[tuple[_Item, _Made], None]:
    """Each item and what ``make`` makes of it, in order; the next ``window`` are made meanwhile.

    When the caller stops, what is being made is cancelled and what was made is dropped.
    """
    begun: deque[tuple[_Item, _Made | Begun[_Made] | asyncio.Task[_Made]]] = deque()
    news, room = asyncio.Event(), asyncio.Event()

    async def feed() -> None:
        async for item in items:
            while len(begun) >= window:
                room.clear()
                await room.wait()
            made = make(item)
            begun.append(
                (item, asyncio.create_task(made) if isinstance(made, Coroutine) else made)
            )
            news.set()

    feeding = asyncio.create_task(feed())
    feeding.add_done_callback(lambda _: news.set())
    try:
        while True:
            while begun:
                item, made = begun[0]
                whole = await made if isinstance(made, asyncio.Task | Begun) else made
                begun.popleft()
                room.set()
                yield item, whole
            if feeding.done():
                break
            news.clear()
            await news.wait()
        await feeding
    finally:
        await _stop(feeding, [made for _, made in begun], drop)


async def _stop(
    feeding: asyncio.Task[None],
    begun: Sequence[_Made | Begun[_Made] | asyncio.Task[_Made]],
    drop: Callable[[_Made], None],
) -> None:
    making: list[asyncio.Future[Any]] = [
        made.under_way if isinstance(made, Begun) else made
        for made in begun
        if isinstance(made, asyncio.Task | Begun)
    ]
    for each in (feeding, *making):
        each.cancel()
    await asyncio.gather(feeding, *making, return_exceptions=True)
    for made in begun:
        if isinstance(made, Begun):
            continue
        if not isinstance(made, asyncio.Task):
            drop(made)
        elif not made.cancelled() and made.exception() is None:
            drop(made.result())
