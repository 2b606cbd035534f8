"""Tasks and workers, without anything that is transcoded."""

import asyncio
import multiprocessing
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from gateway.failures import PermanentFailure
from gateway.transcode import member
from gateway.transcode.crew import Crew, NoWorker, Start
from gateway.transcode.member import Closed, Overdue, WorkerEnded, serve
from tests.transcode import crew_tasks

CONTEXT = multiprocessing.get_context("forkserver")


def starting(prepare: Callable[[], None] = crew_tasks.nothing) -> Start:
    def start(connection: Connection, permits: Connection) -> BaseProcess:
        arguments = (connection, permits, prepare, ())
        process = CONTEXT.Process(target=serve, args=arguments, daemon=True)
        process.start()
        return process

    return start


@asynccontextmanager
async def crew_of(count: int = 1, tasks: int = 1000, start: Any = None) -> AsyncIterator[Crew]:
    crew = Crew(count, tasks, start or starting())
    try:
        yield crew
    finally:
        await crew.aclose()


async def pids(crew: Crew, number: int) -> Sequence[int]:
    return [await crew.run(os.getpid, seconds=30) for _ in range(number)]


async def standing(file: Path) -> None:
    async with asyncio.timeout(30):
        while not file.exists():  # noqa: ASYNC110, ASYNC240 - the worker tells nobody
            await asyncio.sleep(0.005)


async def test_a_task_is_done_in_another_process() -> None:
    async with crew_of() as crew:
        assert (await pids(crew, 1))[0] != os.getpid()


async def test_tasks_and_answers_of_many_megabytes_come_through() -> None:
    data = os.urandom(9 << 20)
    async with crew_of() as crew:
        assert await crew.run(crew_tasks.size_of, data, seconds=30) == (len(data), data)


@pytest.mark.parametrize(
    ("kind", "expected", "text"),
    [
        ("failure", PermanentFailure, "cannot be decoded"),
        ("odd", ZeroDivisionError, "odd"),
        ("two words", RuntimeError, "TwoWords: two words"),
        ("stop", RuntimeError, "StopIteration"),
        ("exit", RuntimeError, "SystemExit: leave"),
    ],
)
async def test_what_a_task_raises_is_raised_here_and_its_worker_stays(
    kind: str, expected: type[Exception], text: str
) -> None:
    async with crew_of() as crew:
        before = await pids(crew, 1)
        with pytest.raises(expected, match=text):
            await crew.run(crew_tasks.raised, kind, seconds=30)
        assert await pids(crew, 1) == before


async def test_what_nobody_foresaw_tells_where_in_the_worker_it_was() -> None:
    async with crew_of() as crew:
        with pytest.raises(ZeroDivisionError) as caught:
            await crew.run(crew_tasks.raised, "odd", seconds=30)
    assert "in raised" in "".join(caught.value.__notes__)


async def test_a_worker_that_dies_fails_its_own_task_only() -> None:
    async with crew_of(2) as crew:
        await crew.fill()
        died, *others = await asyncio.gather(
            crew.run(crew_tasks.kill_itself, seconds=30),
            *(crew.run(os.getpid, seconds=30) for _ in range(8)),
            return_exceptions=True,
        )
    assert isinstance(died, WorkerEnded)
    assert str(died) == f"signal {signal.SIGSEGV.value}"
    assert all(isinstance(pid, int) for pid in others)


async def test_of_workers_that_die_together_each_is_known_by_its_own_end() -> None:
    async with crew_of(2) as crew:
        for _ in range(20):
            ends = await asyncio.gather(
                *(crew.run(crew_tasks.kill_itself, seconds=30) for _ in range(2)),
                *(crew.run(os.getpid, seconds=30) for _ in range(4)),
                return_exceptions=True,
            )
            assert [str(end) for end in ends[:2]] == [f"signal {signal.SIGSEGV.value}"] * 2


async def test_a_task_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    async with crew_of() as crew:
        before = await pids(crew, 1)
        with pytest.raises(Overdue):
            await crew.run(crew_tasks.linger, tmp_path / "started", seconds=0.2)
        assert await pids(crew, 1) != before


async def test_a_task_has_its_own_time_whenever_the_one_before_it_began(tmp_path: Path) -> None:
    """The timer that was set for the one before it rings while it runs."""
    going, told = tmp_path / "going", tmp_path / "told"
    async with crew_of() as crew:
        running = asyncio.create_task(crew.run(crew_tasks.until, going, told, seconds=30))
        await standing(going)
        crew._workers[0]._kill_overdue()
        told.touch()
        assert isinstance(await running, int)


async def test_no_task_is_lost_to_a_worker_that_was_killed_while_idle() -> None:
    async with crew_of() as crew:
        for _ in range(10):
            pid = await crew.run(os.getpid, seconds=30)
            crew_tasks.kill(pid)  # of which the event loop has noticed nothing
            assert await crew.run(os.getpid, seconds=30) != pid


async def test_a_worker_is_replaced_after_its_tasks() -> None:
    async with crew_of(tasks=3) as crew:
        seen = await pids(crew, 7)
    assert [len(set(seen[first : first + 3])) for first in (0, 3)] == [1, 1]
    assert len(set(seen)) == 3


async def test_no_more_workers_come_than_there_may_be() -> None:
    async with crew_of(2) as crew:
        await crew.fill()
        seen = await asyncio.gather(*(crew.run(os.getpid, seconds=30) for _ in range(50)))
    assert len(set(seen)) == 2


async def test_each_task_has_a_worker_while_there_may_be_more(tmp_path: Path) -> None:
    async with crew_of(3) as crew:
        running = []
        for n in range(3):
            started = tmp_path / str(n)
            running.append(asyncio.create_task(crew.run(crew_tasks.linger, started, seconds=30)))
            await standing(started)
        for one in running:
            one.cancel()
        await asyncio.wait(running)


async def test_tasks_that_come_at_once_share_the_workers_that_come(tmp_path: Path) -> None:
    async with crew_of(2) as crew:
        running = [
            asyncio.create_task(crew.run(crew_tasks.linger, tmp_path / str(n), seconds=30))
            for n in range(2)
        ]
        for n in range(2):
            await standing(tmp_path / str(n))
        for one in running:
            one.cancel()
        await asyncio.wait(running)


async def test_tasks_begin_in_the_order_they_came(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    async with crew_of() as crew:
        tasks = [crew.run(crew_tasks.lines_of, file, str(n), seconds=30) for n in range(20)]
        await asyncio.gather(*tasks)
    assert file.read_text().split() == [str(n) for n in range(20)]


async def test_a_caller_that_is_cancelled_goes_on_when_its_worker_is_gone(tmp_path: Path) -> None:
    async with crew_of() as crew:
        pid = (await pids(crew, 1))[0]
        running = asyncio.create_task(
            crew.run(crew_tasks.linger, tmp_path / "started", seconds=30)
        )
        await standing(tmp_path / "started")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert crew_tasks.dead(pid)
        assert await pids(crew, 1) != [pid]


async def test_a_task_that_is_given_up_while_it_waits_is_never_begun(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    async with crew_of() as crew:
        await crew.fill()
        first = asyncio.create_task(crew.run(crew_tasks.lines_of, file, "first", seconds=30))
        waiting = asyncio.create_task(crew.run(crew_tasks.lines_of, file, "given up", seconds=30))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(first, crew.run(crew_tasks.lines_of, file, "last", seconds=30))
    assert file.read_text().split() == ["first", "last"]


async def test_who_runs_and_who_waits_meets_a_closed_crew(tmp_path: Path) -> None:
    crew = Crew(1, 1000, starting())
    running = asyncio.create_task(crew.run(crew_tasks.linger, tmp_path / "started", seconds=30))
    waiting = asyncio.create_task(crew.run(os.getpid, seconds=30))
    await standing(tmp_path / "started")
    await crew.aclose()
    for task in (running, waiting):
        with pytest.raises(Closed):
            await task
    with pytest.raises(Closed):
        await crew.run(os.getpid, seconds=30)


async def test_closing_while_workers_come_leaves_none_behind() -> None:
    begun: list[BaseProcess] = []

    def start(*connections: Connection) -> BaseProcess:
        begun.append(starting()(*connections))
        return begun[-1]

    crew = Crew(3, 1000, start)
    coming = asyncio.create_task(crew.fill())
    async with asyncio.timeout(30):
        while not begun:  # noqa: ASYNC110 - a thread tells nobody
            await asyncio.sleep(0)
    await crew.aclose()
    await coming
    assert not any(process.is_alive() for process in begun)


@pytest.mark.parametrize("kind", [OSError, EOFError, RuntimeError])
async def test_without_a_worker_tasks_are_refused_until_one_can_be_started(
    kind: type[Exception],
) -> None:
    broken = True

    def start(*connections: Connection) -> BaseProcess:
        if broken:
            raise kind("no memory for a process")
        return starting()(*connections)

    async with crew_of(start=start) as crew:
        with pytest.raises(NoWorker, match="no memory for a process"):
            await crew.run(os.getpid, seconds=30)
        broken = False
        assert await pids(crew, 1)


async def test_a_worker_that_cannot_be_prepared_is_no_worker() -> None:
    async with crew_of(start=starting(crew_tasks.end_at_once)) as crew:
        with pytest.raises(NoWorker, match="before it was ready"):
            await crew.run(os.getpid, seconds=30)


async def test_a_worker_killed_beside_its_answer_is_given_no_other_task(tmp_path: Path) -> None:
    async with crew_of() as crew:
        for n in range(5):
            await crew.fill()
            file = tmp_path / str(n)
            given_up = asyncio.create_task(crew.run(crew_tasks.lines_of, file, "", seconds=30))
            await asyncio.sleep(0)
            while not file.exists():  # while the event loop stands still
                os.sched_yield()
            given_up.cancel()
            assert isinstance(await crew.run(os.getpid, seconds=30), int)
            await asyncio.wait((given_up,))  # until its worker is gone


def standing_still_until(file: Path) -> None:
    """The event loop does nothing meanwhile."""
    last = time.monotonic() + 30
    while not file.exists():
        assert time.monotonic() < last, f"nobody makes {file.name}"
        os.sched_yield()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """No task is a long one, however busy the machine is."""
    monkeypatch.setattr(member, "_SHORT", 60.0)


@pytest.mark.usefixtures("short")
async def test_a_second_task_waits_where_the_event_loop_is_not_needed_to_begin_it(
    tmp_path: Path,
) -> None:
    going, told, file = tmp_path / "going", tmp_path / "told", tmp_path / "lines"
    async with crew_of() as crew:
        await crew.fill()
        first = asyncio.create_task(crew.run(crew_tasks.until, going, told, seconds=60))
        second = asyncio.create_task(lines(crew, file, "two"))
        await asyncio.sleep(0)
        told.touch()
        standing_still_until(file)
        await asyncio.gather(first, second)


async def lines(crew: Crew, file: Path, text: str) -> None:
    await crew.run(crew_tasks.lines_of, file, text, seconds=30)


async def test_what_waits_behind_a_task_that_ends_its_worker_is_done_by_another() -> None:
    async with crew_of() as crew:
        await crew.fill()
        died, behind = await asyncio.gather(
            crew.run(crew_tasks.kill_itself, seconds=30),
            crew.run(os.getpid, seconds=30),
            return_exceptions=True,
        )
    assert str(died) == f"signal {signal.SIGSEGV.value}"
    assert isinstance(behind, int)


async def test_what_waits_behind_a_long_task_goes_to_a_worker_that_is_free(tmp_path: Path) -> None:
    async with crew_of(2) as crew:
        await crew.fill()
        names = [tmp_path / name for name in ("long", "never", "short", "now")]
        long, short = (
            asyncio.create_task(crew.run(crew_tasks.until, *names[n : n + 2], seconds=30))
            for n in (0, 2)
        )
        behind = [asyncio.create_task(crew.run(os.getpid, seconds=30)) for _ in range(2)]
        await standing(names[0])
        await standing(names[2])
        assert not any(task.done() for task in behind)
        names[3].touch()
        assert await asyncio.gather(*behind) == [await short] * 2
        assert not long.done()
        names[1].touch()
        assert await long != await short


async def test_a_task_that_is_given_up_behind_another_harms_no_worker(tmp_path: Path) -> None:
    file, going = tmp_path / "lines", tmp_path / "going"
    async with crew_of() as crew:
        before = await pids(crew, 1)
        first = asyncio.create_task(crew.run(crew_tasks.until, going, tmp_path / "go", seconds=30))
        behind = asyncio.create_task(lines(crew, file, "given up"))
        await standing(going)
        behind.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(behind, 20)
        assert not first.done()
        after = asyncio.create_task(lines(crew, file, "after"))
        (tmp_path / "go").touch()
        await after
        assert [await first, *await pids(crew, 1)] == before * 2
    assert file.read_text().split() == ["after"]


@pytest.mark.usefixtures("short")
async def test_what_was_begun_by_a_worker_that_was_killed_for_another_is_done_again(
    tmp_path: Path,
) -> None:
    file, go, going, told = (tmp_path / name for name in ("first", "go", "going", "told"))
    async with crew_of() as crew:
        await crew.fill()
        first = asyncio.create_task(crew.run(crew_tasks.until, file, go, seconds=60))
        second = asyncio.create_task(crew.run(crew_tasks.until, going, told, seconds=60))
        await asyncio.sleep(0)
        go.touch()
        standing_still_until(going)  # and nobody has heard that the first is done
        first.cancel()
        await asyncio.wait((first,))
        told.touch()
        pid = await second
    begun = [int(each) for each in going.read_text().split()]
    assert (len(set(begun)), begun[-1]) == (2, pid)


async def test_the_time_of_a_task_begins_when_its_worker_begins_it(tmp_path: Path) -> None:
    async with crew_of() as crew:
        await crew.fill()
        going, told = tmp_path / "going", tmp_path / "told"
        first = asyncio.create_task(crew.run(crew_tasks.until, going, told, seconds=30))
        behind = asyncio.create_task(crew.run(os.getpid, seconds=0.2))
        await standing(going)
        await asyncio.wait((behind,), timeout=0.3)
        told.touch()
        assert await behind == await first
