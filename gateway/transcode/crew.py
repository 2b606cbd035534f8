"""Worker processes for the event loop: each does one task at a time, and may die alone.

A worker is reached by a socket of its own: it reads a task, answers it, and ends when the socket
closes. The end of the socket, in turn, tells of the worker's. Where all are busy, a second task
waits in the socket of one, and goes to another where that is free sooner, or the worker dies.
"""

import asyncio
import os
import pickle
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeAlias

from gateway.transcode.member import Closed, Member, Task, WorkerEnded, begun

Start: TypeAlias = Callable[[Connection, Connection], BaseProcess]
"""Begins a process whose main function is ``member.serve``."""


class NoWorker(Exception):
    """No worker can be started; the text says why."""


class Crew:
    """At most ``count`` processes, each replaced after ``tasks`` tasks; they come when needed.

    ``start`` begins one, whose main function is ``member.serve`` with the connections that it is
    given: one for tasks and answers, one for permits.
    """

    def __init__(self, count: int, tasks: int, start: Start) -> None:
        self._count, self._tasks, self._start = count, tasks, start
        self._waiting: deque[Task] = deque()
        self._workers: list[Member] = []
        self._coming = 0
        self._beside: set[asyncio.Task[None]] = set()
        self._closed = False

    async def fill(self) -> None:
        """Have all workers there may be, with their libraries loaded."""
        self._call(self._count)
        while self._expected():
            await asyncio.wait(self._beside, return_when=asyncio.FIRST_COMPLETED)

    async def run(self, function: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
        """What ``function`` gives, or raises, in a worker that has so many seconds for it.

        Raises Overdue, WorkerEnded, NoWorker, Closed. A worker whose caller is cancelled is
        killed before the caller goes on, if it has begun the task.
        """
        if self._closed:
            raise Closed
        future = asyncio.get_running_loop().create_future()
        task = Task(pickle.dumps((function, arguments)), seconds, future)
        self._waiting.append(task)
        self._hand_out()
        try:
            return await future
        except asyncio.CancelledError:
            if (worker := task.worker) is not None and task in worker.given:
                if not worker.take_back([task]):
                    await worker.end(task)
                self._hand_out()
            raise

    async def aclose(self) -> None:
        """Kill what runs, give up what waits: their callers meet Closed."""
        self._closed = True
        self._refuse(Closed())
        await asyncio.gather(*(worker.end() for worker in self._workers))
        while self._beside:
            await asyncio.wait(self._beside)

    def met(self, worker: Member) -> None:
        """This worker has come; it is not ready yet."""
        self._coming -= 1
        self._workers.append(worker)

    def heard(self, worker: Member) -> None:
        """This worker has done a task, or is ready for its first."""
        if worker.done >= self._tasks:
            self._workers.remove(worker)
            worker.dismiss()
        self._hand_out()

    def lost(self, worker: Member, undone: Sequence[Task]) -> None:
        """This worker has ended, and these tasks are another one's."""
        if worker in self._workers:
            self._workers.remove(worker)
        self._waiting.extendleft(reversed(undone))
        if worker.given:
            self._do_beside(worker.bring_the_news(self._closed))
        if self._closed:
            self._refuse(Closed())
        if worker.ready.exception() is None:  # no other one is called for one that never was
            self._hand_out()

    def _hand_out(self) -> None:
        """Give workers what waits, in its order, and call more where there are too few."""
        self._recall()
        while self._waiting:
            if self._waiting[0].answer.done():
                self._waiting.popleft()
            elif (worker := self._next_worker()) is not None:
                worker.do(self._waiting.popleft())
            else:
                break
        if self._waiting:
            self._call(len(self._waiting))

    def _recall(self) -> None:
        """What waits behind a long task, or while another worker is idle, need not."""
        lined_up = [worker for worker in self._workers if len(worker.given) > 1]
        if not lined_up:
            return
        idle = any(not worker.given and worker.ready.done() for worker in self._workers)
        for worker in lined_up:
            if idle or worker.is_at_a_long_one():
                self._waiting.extendleft(reversed(worker.take_back(worker.given[1:])))

    def _next_worker(self) -> Member | None:
        """An idle one; where no more may come, also one that has a short task to do before."""
        for most in (0, 1) if len(self._workers) == self._count else (0,):
            for worker in self._workers:
                fits = len(worker.given) == most and worker.done + most < self._tasks
                if fits and not worker.is_at_a_long_one() and worker.is_there():
                    return worker
        return None

    def _call(self, wanted: int) -> None:
        """Have ``wanted`` workers on their way, if there is room for so many."""
        room = 0 if self._closed else self._count - len(self._workers) - self._coming
        for _ in range(min(room, wanted - self._expected()) if room > 0 else 0):
            self._coming += 1
            self._do_beside(self._hire())

    def _expected(self) -> int:
        """How many workers are on their way, or not ready yet."""
        return self._coming + sum(not worker.ready.done() for worker in self._workers)

    async def _hire(self) -> None:
        try:
            worker = await self._hired()
        except (OSError, EOFError, RuntimeError) as error:  # no process, no fork server, no thread
            self._coming -= 1
            self._none_came(error)
            return
        if self._closed:
            await worker.end()
        try:
            await worker.ready
        except WorkerEnded as error:
            self._none_came(error)

    def _none_came(self, error: Exception) -> None:
        if not self._workers and not self._coming:
            self._refuse(NoWorker(str(error)))

    async def _hired(self) -> Member:
        ours, theirs = socket.socketpair()
        permits = socket.socketpair()
        try:
            with (
                Connection(theirs.detach()) as tasks,
                Connection(os.dup(permits[1].fileno())) as begins,
            ):
                process = await asyncio.to_thread(begun, self._start, tasks, begins)
        except BaseException:
            for each in (ours, *permits):
                each.close()
            raise
        loop = asyncio.get_running_loop()
        _, worker = await loop.create_unix_connection(
            lambda: Member(self, process, ours, permits), sock=ours
        )
        return worker

    def _refuse(self, why: Exception) -> None:
        """Tell all who wait that no worker will do what they want."""
        while self._waiting:
            task = self._waiting.popleft()
            if not task.answer.done():
                task.answer.set_exception(why)

    def _do_beside(self, what: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(what)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)
