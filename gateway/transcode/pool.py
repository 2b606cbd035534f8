"""The worker processes: each task has a time and a memory budget, and a worker may die.

A worker that crashed, hung or outgrew its memory is replaced and the instance is begun again
with the next decoder, once. An object of many frames is split into ranges, each of them a task
that writes its frames at their places in the result, for several workers to share. A task that
takes long stops between two frames and leaves the rest to another one, so that the time for one
task is not the time for the whole object.
"""

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from math import ceil
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final, TypeVar

from gateway import telemetry
from gateway.failures import Failure, PermanentFailure, TemporaryFailure
from gateway.model import UID, Checks, Rendition, Undigested
from gateway.tags import TagChanges
from gateway.transcode.crew import Crew, NoWorker, Start
from gateway.transcode.decode import DecoderFailed
from gateway.transcode.instance import Transcoded
from gateway.transcode.later import digests_of_files
from gateway.transcode.matrix import Matrix, proven
from gateway.transcode.member import Closed, Overdue, WorkerEnded, serve
from gateway.transcode.output import beside_of
from gateway.transcode.worker import (
    MOST_AT_ONCE,
    Heard,
    Split,
    concluded,
    decode_range,
    decoder_names,
    digests_of,
    initialize,
    transcode_each,
    transcode_or_split,
)

_Result = TypeVar("_Result")

TASKS_PER_WORKER: Final = 2_000
"""A worker is replaced after so many tasks: native libraries leak."""
_AT_ONCE: Final = 7 / 8
"""The part of the frames left that is shared out before the rest: few tasks are needed, and the
short ones at the end even out what one worker lost.
"""
_PATIENCE: Final = 4
"""The part of its time after which a range of frames is continued by another task: what is left
is enough for a frame that takes three times as long.
"""
_LONGEST: Final = 10.0
"""Seconds that a range goes on at most: half of what a worker may compute for the smallest."""
_AS_STORED: Final = Rendition()
_NONE: Final = Checks()


_STOPPED: Final = "the workers were stopped"
_SAID: Final = (Failure, DecoderFailed, OSError)
"""What a task is known to raise."""


class _WorkerLost(Exception):
    """A worker did not come back with an answer; the text says how it ended."""


class TranscodePool:
    """Transcodes instances in disposable worker processes.

    ``workers`` processes (None: one per CPU core); ``seconds`` of wall time and ``memory`` bytes
    for each task. ``prepare`` runs once in every worker.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        seconds: float = 120.0,
        memory: int = 4 << 30,
        prepare: Callable[[], None] | None = None,
    ) -> None:
        self.workers = workers or os.cpu_count() or 1
        self._seconds = seconds
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["__main__", "gateway.transcode.worker"])
        self._lifeline = os.pipe2(os.O_CLOEXEC)
        path = f"/proc/{os.getpid()}/fd/{self._lifeline[0]}"
        self._arguments = (memory, path, prepare)
        self._crew: Crew | None = None
        self._starting = asyncio.Lock()
        self._closed = False
        self._leaving = threading.Event()

    async def _started(self) -> Crew:
        """The processes. Before the first task it is found out, beside the event loop, what the
        decoders can do here: whoever asks meanwhile waits for that.
        """
        async with self._starting:
            if self._crew is None:
                matrix = None if self._closed else await asyncio.to_thread(proven, self._leaving)
                if self._closed or matrix is None:
                    raise TemporaryFailure(_STOPPED)
                self._crew = Crew(self.workers, TASKS_PER_WORKER, self._starter(matrix))
            return self._crew

    def _starter(self, matrix: Matrix) -> Start:
        memory, lifeline, prepare = self._arguments
        arguments = (memory, lifeline, matrix, prepare)

        def start(connection: Connection, permits: Connection) -> BaseProcess:
            process = self._context.Process(
                target=serve, args=(connection, permits, initialize, arguments), daemon=True
            )
            process.start()
            return process

        return start

    async def transcode(
        self,
        source: Path,
        target: UID,
        out: Path,
        rendition: Rendition = _AS_STORED,
        checks: Checks = _NONE,
        tags: TagChanges | None = None,
    ) -> Transcoded:
        """Write the instance in ``source`` to ``out`` in the syntax ``target``.

        That is a native one, or with ``tags``, what a route changes, the one it is stored in.

        Raises PermanentFailure for an instance that cannot be decoded, also when two decoders
        brought their worker down or disagree; TemporaryFailure when files cannot be read or
        written.
        """
        lost: list[str] = []
        notes: list[str] = []
        attempt = 0
        while True:
            try:
                done = await self._attempt(source, target, out, rendition, attempt, checks, tags)
            except DecoderFailed as failure:
                notes.append(str(failure))
            except _WorkerLost as end:
                names = await self._names(source, target, out, rendition, checks)
                who = names[attempt] if attempt < len(names) else "no decoder"
                beside = " or the decoder beside it" if checks.verify else ""
                lost.append(f"{who}{beside} {end}")
                if len(lost) > 1 or attempt + 1 >= len(names):
                    raise PermanentFailure(_given_up(lost)) from end
            except PermanentFailure as failure:
                if not notes and not lost:
                    raise
                text = "; ".join((*lost, *notes, str(failure)))
                raise type(failure)(text) from failure
            else:
                return _with_notes(done, (*lost, *notes))
            attempt += 1

    async def digests(self, source: Path, out: Path, left: Undigested) -> tuple[str, str]:
        """The digests that a transcode of ``source`` to ``out`` has left for later.

        Of the stored frames and of what was made of them, "" for a file that cannot be read any
        more. No worker is needed: nothing foreign is run, and what workers do is waited for.
        """
        return await asyncio.to_thread(digests_of_files, source, out, left)

    async def transcode_many(
        self,
        pairs: Sequence[tuple[Path, Path]],
        target: UID,
        rendition: Rendition = _AS_STORED,
        checks: Checks = _NONE,
    ) -> list[Transcoded | Failure]:
        """Transcode several small instances, (source, out) each, as one task.

        The answers stand in the same order, a failure in the place of its instance. Where the
        worker is lost, they are taken one by one.
        """
        try:
            return await self._run(transcode_each, pairs, target, rendition, checks)
        except (_WorkerLost, Failure):
            return [
                await self._single(source, target, out, rendition, checks) for source, out in pairs
            ]
        except BaseException:  # the worker is gone, and what it was writing stands there
            for _, out in pairs:
                _remove(out)
            raise

    async def _single(
        self, source: Path, target: UID, out: Path, rendition: Rendition, checks: Checks
    ) -> Transcoded | Failure:
        try:
            return await self.transcode(source, target, out, rendition, checks)
        except Failure as failure:
            return failure

    async def run(self, function: Callable[..., _Result], *arguments: Any) -> _Result:
        """What ``function`` gives in a worker, with the time and memory of any task.

        It and its arguments must be importable and picklable: paths and numbers, never pixels.
        Raises what it raises, PermanentFailure where it brought its worker down.
        """
        try:
            return await self._run(function, *arguments)
        except _WorkerLost as end:
            raise PermanentFailure(f"a worker {end}: look at the object") from end

    async def warm(self) -> None:
        """Start the workers now, so that the first instance need not wait for them."""
        await (self._crew or await self._started()).fill()

    async def aclose(self) -> None:
        """Stop: what is running is killed, what waits is given up."""
        if self._closed:
            return
        self._closed = True
        self._leaving.set()
        if self._crew is not None:
            await self._crew.aclose()
        for end in self._lifeline:
            os.close(end)

    async def _attempt(
        self,
        source: Path,
        target: UID,
        out: Path,
        rendition: Rendition,
        attempt: int,
        checks: Checks,
        tags: TagChanges | None,
    ) -> Transcoded:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            done = await self._run(
                transcode_or_split, str(source), target, str(out), rendition, attempt, checks, tags
            )
            if isinstance(done, Transcoded):
                return done
            result = (await self._ranges(done))._replace(seconds=loop.time() - began)
            beside_of(out).rename(out)
        except OSError as error:
            _remove(out)
            raise TemporaryFailure(f"cannot write the transcoded file: {error}") from error
        except BaseException:
            _remove(out)
            raise
        return result

    async def _ranges(self, split: Split) -> Transcoded:
        """All ranges of frames, side by side; the first failure cancels the others."""
        ranges = ranges_of(len(split.frames), self.workers, split.frame_bytes)
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(self._range(split, *each)) for each in ranges]
        heard: list[Heard] = []
        for task in running:
            if isinstance(answer := task.result(), Exception):
                raise answer
            heard += answer
        return concluded(split, heard, await self._digests(split))

    async def _digests(self, split: Split) -> tuple[str, str]:
        """For the record only: a disk too slow for them undoes no decoded instance."""
        if not split.checks.digests:
            return "", ""
        try:
            return await self._run(digests_of, split)
        except _WorkerLost:
            return "", ""

    async def _range(self, split: Split, first: int, stop: int) -> list[Heard] | Exception:
        """One range; its failure as a value, so that the others end before the file goes."""
        heard: list[Heard] = []
        patience = min(self._seconds / _PATIENCE, _LONGEST)
        try:
            while first < stop:
                part = split.part(first, stop)
                heard.append(await self._run(decode_range, part, first, patience))
                first += heard[-1].frames
        except (Failure, DecoderFailed, _WorkerLost) as failure:
            return failure
        return heard

    async def _names(
        self, source: Path, target: UID, out: Path, rendition: Rendition, checks: Checks
    ) -> list[str]:
        try:
            return await self._run(decoder_names, source, out.parent, target, rendition, checks)
        except (Failure, _WorkerLost):
            return []

    async def _run(self, function: Callable[..., _Result], *arguments: Any) -> _Result:
        """Run a task in a worker. Raises what it raised, or _WorkerLost.

        What nobody foresaw is a PermanentFailure: it is this one instance that cannot be used.
        """
        crew = self._crew or await self._started()
        try:
            result: _Result = await crew.run(function, *arguments, seconds=self._seconds)
        except Overdue:
            raise _WorkerLost(f"did not end within {self._seconds:g} s") from None
        except WorkerEnded as end:
            raise _WorkerLost(f"brought its worker down ({end})") from None
        except MemoryError:
            raise _WorkerLost("asked for more memory than a worker may have") from None
        except NoWorker as error:
            raise TemporaryFailure(
                f"no decoding worker can be started ({error}): is there memory for one?"
            ) from error
        except Closed:
            raise TemporaryFailure(_STOPPED) from None
        except _SAID:
            raise
        except Exception as error:
            telemetry.bug("a task in a worker met what nobody foresaw", error)
            raise PermanentFailure(
                f"the gateway met an error that nobody foresaw ({type(error).__name__}) in this "
                "instance; its log has it"
            ) from error
        return result


def ranges_of(frames: int, workers: int, frame_bytes: int) -> Iterator[tuple[int, int]]:
    """The tasks that ``frames`` are cut into, [first, stop): none has too many bytes."""
    first, most = 0, max(1, MOST_AT_ONCE // frame_bytes)
    while first < frames:
        left = frames - first
        step = min(most, ceil(_AT_ONCE * left / workers) if workers > 1 else left)
        for _ in range(workers):
            stop = min(first + step, frames)
            if first < stop:
                yield first, stop
            first = stop


def _given_up(lost: Sequence[str]) -> str:
    return "; ".join(lost) + "; no other decoder is tried: look at the object"


def _with_notes(done: Transcoded, notes: tuple[str, ...]) -> Transcoded:
    if not notes:
        return done
    return done._replace(notes=(*notes, *done.notes))


def _remove(out: Path) -> None:
    with suppress(OSError):
        beside_of(out).unlink(missing_ok=True)
