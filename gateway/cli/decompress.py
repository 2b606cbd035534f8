"""``dicom-gateway decompress``: the gateway's decompression for files and folders."""

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gateway.failures import Failure, PermanentFailure, TemporaryFailure
from gateway.model import UID, Checks
from gateway.transcode.instance import Transcoded
from gateway.transcode.pool import TranscodePool
from gateway.transcode.verify import Disagreement
from gateway.transfer_syntax import BY_NAME, BY_UID, EXPLICIT_LE, NATIVE, name_of

_TOGETHER = 16
"""Small files go to a worker in batches: less is said, more is decoded."""
_SMALL = 4 << 20

Pair = tuple[Path, Path]
Tell = Callable[[Path, Transcoded | Failure | None], None]


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted of every file."""

    target: UID
    checks: Checks


@dataclass(slots=True)
class Summary:
    """What became of the files."""

    decoders: Counter[str] = field(default_factory=Counter)
    verified: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    failures: list[tuple[Path, Failure]] = field(default_factory=list)


def decompress(
    sources: Annotated[list[Path], typer.Argument(help="DICOM files and folders of them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the results go.")],
    to: Annotated[
        str, typer.Option(help="explicit-le, implicit-le or explicit-be, or the UID.")
    ] = "explicit-le",
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Worker processes; default: the cores.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Decode twice, by different code bases; compare.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a file on standard output.")
    ] = False,
) -> None:
    """Write uncompressed copies; names and sub-folders are kept, sources are never touched.

    With --verify a file whose decoders disagree fails, and nothing is written for it.
    """
    target = _target(to)
    pairs = list(pairs_of(sources, out))
    console = Console(stderr=True)
    order = Order(target, Checks(verify="all" if verify else "", digests=verify or as_json))
    tell = _tell if as_json else None
    summary = asyncio.run(_decompress(pairs, order, jobs, console, tell))
    for file, failure in summary.failures:
        console.print(f"[red]failed[/] {file}: {failure}", highlight=False, soft_wrap=True)
    done = summary.decoders.total()
    by = ", ".join(f"{count} by {name}" for name, count in summary.decoders.most_common())
    console.print(
        f"{done} of {len(pairs)} files written as {name_of(target)}"
        + (f" ({by})" if by else "")
        + (f"; {_verified(summary.verified)}" if verify and done else "")
        + (f", {summary.skipped} skipped: not DICOM" if summary.skipped else "")
        + (f", [red]{len(summary.failures)} failed[/]" if summary.failures else ""),
        highlight=False,
        soft_wrap=True,
    )
    raise typer.Exit(1 if summary.failures or not done else 0)


def _verified(states: Counter[str]) -> str:
    """What came of the comparisons."""
    words = {
        "equal": "equal by two decoders",
        "within bound": "equal within 1 by two decoders",
        "one lineage": "not verified: all decoders are of one lineage",
        "": "without compressed pixels",
    }
    return ", ".join(f"{count} {words[state]}" for state, count in states.most_common())


def _tell(file: Path, result: Transcoded | Failure | None) -> None:
    """One line for machines."""
    facts: dict[str, object] = {"file": str(file)}
    if isinstance(result, Transcoded):
        facts |= {"state": "written", **asdict(result.passport)}
    elif result is not None:
        disagree = isinstance(result, Disagreement)
        facts |= {"state": "disagreement" if disagree else "failed", "reason": str(result)}
    else:
        facts["state"] = "skipped"
    typer.echo(json.dumps(facts))


def _target(text: str) -> UID:
    uid = BY_NAME[text].uid if text in BY_NAME else text
    if uid not in NATIVE:
        allowed = ", ".join(BY_UID[each].name for each in (EXPLICIT_LE, *NATIVE[1:]))
        raise typer.BadParameter(f"{text!r} is not an uncompressed transfer syntax: {allowed}")
    return uid


def pairs_of(sources: Iterable[Path], out: Path) -> Iterator[Pair]:
    """(source, destination) of every file; what a folder holds keeps its place below it."""
    taken: dict[str, Path] = {}
    for source in sources:
        if not source.exists():
            raise typer.BadParameter(f"{source} does not exist")
        if source.resolve() == out.resolve():
            raise typer.BadParameter(f"{source} would be overwritten: name another --out")
        alone = source.is_file()
        for below in [source.name] if alone else _files_below(source, out):
            file, place = source if alone else source / below, out / below
            if _same(file, place):
                raise typer.BadParameter(f"{file} would be overwritten: name another --out")
            if below in taken:
                raise typer.BadParameter(f"{file} and {taken[below]} would both become {place}")
            taken[below] = file
            yield file, place


def _files_below(folder: Path, out: Path) -> Iterator[str]:
    """Their names from ``folder`` on; what lies in ``out`` is no source."""
    results = out.resolve()
    if folder.resolve().is_relative_to(results):
        raise typer.BadParameter(f"{folder} lies in {out}: name another --out")
    return _walk(str(folder), "", results)


def _walk(folder: str, before: str, results: Path) -> Iterator[str]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise typer.BadParameter(f"cannot read the folder {folder}: {error.strerror}") from error
    for entry in entries:
        if entry.is_file():
            yield before + entry.name
    for entry in entries:
        if entry.is_dir(follow_symlinks=False) and not _is(entry, results):
            yield from _walk(entry.path, f"{before}{entry.name}/", results)


def _is(entry: "os.DirEntry[str]", folder: Path) -> bool:
    return entry.name == folder.name and Path(entry.path).resolve() == folder


def _same(file: Path, place: Path) -> bool:
    """Whether writing to ``place`` would replace ``file``."""
    try:
        there = os.stat(place)  # noqa: PTH116 - for every file
    except OSError:
        return False
    return os.path.samestat(there, file.stat()) and place.resolve() == file.resolve()


async def _decompress(
    pairs: list[Pair], order: Order, jobs: int | None, console: Console, tell: Tell | None
) -> Summary:
    pool = TranscodePool(jobs)
    try:
        return await decompress_in(pool, pairs, order, console, tell)
    finally:
        await pool.aclose()


async def decompress_in(
    pool: TranscodePool, pairs: list[Pair], order: Order, console: Console, tell: Tell | None
) -> Summary:
    """Decompress all files in the workers of ``pool``, and show how far it has come."""
    summary = Summary()
    columns = (
        TextColumn("decompressing"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    quiet = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=quiet) as progress:
        task = progress.add_task("", total=len(pairs))
        async for file, result in _results(pool, pairs, order):
            _count(summary, file, result)
            if tell is not None:
                tell(file, result)
            progress.advance(task)
    return summary


def _count(summary: Summary, file: Path, result: Transcoded | Failure | None) -> None:
    if result is None:
        summary.skipped += 1
    elif isinstance(result, Failure):
        summary.failures.append((file, result))
    else:
        summary.decoders[result.decoder or "copying"] += 1
        summary.verified[result.verification.state if result.verification else ""] += 1


async def _results(
    pool: TranscodePool, pairs: list[Pair], order: Order
) -> AsyncIterator[tuple[Path, Transcoded | Failure | None]]:
    """Each source with its result as it is done, None for files that are not DICOM."""
    batches = batches_of(pairs, pool.workers)
    running: set[asyncio.Task[list[tuple[Path, Transcoded | Failure | None]]]] = set()
    while True:
        for batch in islice(batches, 2 * pool.workers - len(running)):
            running.add(asyncio.create_task(_batch(pool, batch, order)))
        if not running:
            return
        done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            for pair in task.result():
                yield pair


def batches_of(pairs: list[Pair], workers: int) -> Iterator[list[Pair]]:
    """The tasks: a large file each, or three quarters of a worker's share of those left.

    So there are few of them, and no worker is left alone with much.
    """
    left, batch, most = len(pairs), [], 0
    for pair in pairs:
        left -= 1
        if pair[0].stat().st_size > _SMALL:
            yield [pair]
            continue
        most = most or min(_TOGETHER, ceil(3 * (left + 1) / (4 * workers)))
        batch.append(pair)
        if len(batch) == most:
            yield batch
            batch, most = [], 0
    if batch:
        yield batch


async def _batch(
    pool: TranscodePool, batch: list[Pair], order: Order
) -> list[tuple[Path, Transcoded | Failure | None]]:
    try:
        _make_folders(batch)
    except OSError as error:
        text = f"cannot make the folder {error.filename}: {error.strerror}"
        return [(source, TemporaryFailure(text)) for source, _ in batch]
    if len(batch) == 1:
        outcomes = [await _one(pool, *batch[0], order)]
    else:
        outcomes = await pool.transcode_many(batch, order.target, checks=order.checks)
    return [
        (source, None if _is_other(source, outcome) else outcome)
        for (source, _), outcome in zip(batch, outcomes, strict=True)
    ]


def _make_folders(batch: list[Pair]) -> None:
    for folder in {str(place).rpartition("/")[0] for _, place in batch}:
        Path(folder).mkdir(parents=True, exist_ok=True)


def _is_other(source: Path, outcome: Transcoded | Failure) -> bool:
    """Whether the file could not be read as DICOM because it is none."""
    return isinstance(outcome, PermanentFailure) and not _looks_like_dicom(source)


async def _one(
    pool: TranscodePool, source: Path, place: Path, order: Order
) -> Transcoded | Failure:
    try:
        return await pool.transcode(source, order.target, place, checks=order.checks)
    except Failure as failure:
        return failure


def _looks_like_dicom(file: Path) -> bool:
    """A Part 10 file, or a data set that begins with an element of a low group (PS3.10 §7)."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            first = os.read(descriptor, 132)
        finally:
            os.close(descriptor)
    except OSError:
        return True
    return first[128:] == b"DICM" or first[:2] in (b"\x02\0", b"\x08\0", b"\0\x08")
