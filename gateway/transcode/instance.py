"""One Part 10 file into another transfer syntax: splice the data set, stream the frames.

Nothing half-written ever stands under the result's name: it is written beside it and renamed.
It is derived data, so it is not forced to the disk. One decoder serves a whole instance: when it
fails, everything is begun again with the next.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final, NamedTuple

from gateway.dataset.elements import UNDEFINED
from gateway.dataset.part10 import encode_file_meta
from gateway.failures import PermanentFailure, TemporaryFailure
from gateway.model import UID, Checks, NativeFrames, Passport, Rendition, Undigested, Verification
from gateway.tags import TagChanges
from gateway.transcode.around import data_set_part, pixel_head
from gateway.transcode.decode import DecoderFailed, Decoding, decoded_frames
from gateway.transcode.form import Backend
from gateway.transcode.later import for_later
from gateway.transcode.lineage import described as described_decoder
from gateway.transcode.native import native_body, native_rendered, stored_value
from gateway.transcode.nested import has_coded_pixels_within, part_with_nested
from gateway.transcode.output import (
    beside_of,
    pieces_of,
    reserve,
    size_of,
    write_all,
    written,
)
from gateway.transcode.plan import Pixels, plan_frames
from gateway.transcode.record import Digests, standing
from gateway.transcode.source import Source, StrPath, open_source
from gateway.transcode.tagged import Tagging, as_stored, tagging
from gateway.transcode.turns import backends_for
from gateway.transcode.verify import verdict, watched
from gateway.transfer_syntax import BY_UID, NATIVE, TransferSyntax, name_of

_DELIMITER: Final = b"\xfe\xff\xdd\xe0\0\0\0\0"
"""A Sequence Delimitation Item: behind that of Pixel Data, no reader has to pass it over."""


class Transcoded(NamedTuple):
    """What was done. ``decoder`` is "" where no pixels were decoded; ``size`` in bytes.

    ``notes`` are corrections and colour decisions, for the record; ``native`` is where decoded
    frames stand, where each begins on a byte; ``undigested`` what digests are still to be taken
    of; the rest as in ``Passport``.
    """

    target: UID
    decoder: str
    frames: int
    seconds: float
    size: int
    photometric: str
    notes: tuple[str, ...]
    version: str = ""
    self_test: str = ""
    colour: str = ""
    stderr: str = ""
    stored_digest: str = ""
    native_digest: str = ""
    verification: Verification | None = None
    native: NativeFrames | None = None
    undigested: Undigested | None = None

    @property
    def passport(self) -> Passport:
        """What the ledger keeps of it."""
        return Passport(
            target=self.target,
            decoder=self.decoder,
            version=self.version,
            self_test=self.self_test,
            frames=self.frames,
            seconds=self.seconds,
            colour=self.colour,
            notes=self.notes,
            stderr=self.stderr,
            stored_digest=self.stored_digest,
            native_digest=self.native_digest,
            verification=self.verification,
        )


class Plan(NamedTuple):
    """A whole result: ``head``, then the frames of ``pixels`` (None: none), then ``tail``.

    ``value`` are those parts of ``head`` that are Pixel Data which needs no decoder; ``stored``
    is native Pixel Data as it stands in the file. ``undigested``: Pixel Data is not looked at.
    """

    head: list[Any]
    pixels: Pixels | None
    tail: list[Any]
    notes: tuple[str, ...] = ()
    value: Sequence[Any] = ()
    stored: memoryview | None = None
    undigested: bool = False

    @property
    def native(self) -> NativeFrames | None:
        """Where the frames will stand that are decoded."""
        if self.pixels is None or not self.pixels.frame_bytes:
            return None
        before = sum(size_of(part) for part in self.head)
        size = self.pixels.frame_bytes
        return NativeFrames(before, size, self.pixels.length // size)

    @property
    def size(self) -> int:
        """Of the result in bytes."""
        parts = sum(size_of(part) for part in (*self.head, *self.tail))
        return parts + (self.pixels.length if self.pixels else 0)


@dataclass(slots=True)
class Findings:
    """What is known of an instance when its result is written."""

    notes: list[str]
    backend: Backend | None = None
    digests: Digests | None = None
    verification: Verification | None = None
    undigested: Undigested | None = None


def transcode(
    source: Path,
    target: UID,
    out: Path,
    *,
    rendition: Rendition = Rendition(),  # noqa: B008 - a frozen value
    attempt: int = 0,
    checks: Checks = Checks(),  # noqa: B008 - a frozen value
    tags: TagChanges | None = None,
) -> Transcoded:
    """Write the instance in ``source`` to ``out`` in the transfer syntax ``target``.

    That is a native one, or with ``tags``, what a route changes, the one that it is stored in.
    Runs in a worker. ``attempt`` k begins with the k-th decoder. Raises PermanentFailure for an
    instance that cannot be decoded truthfully, TemporaryFailure when files cannot be read or
    written.
    """
    began = perf_counter()
    opened = open_source(source, out.parent)
    mark(opened, out)
    plan = make_plan(opened, target, rendition, tags)
    return finish_plan(plan, opened, target, out, attempt, checks, began)


def mark(source: Source, out: StrPath) -> None:
    """Let the result's file stand before any decoder runs: it tells of a decode under way.

    All decoders but those of Pixel Data within sequences run after it was begun in any case.
    """
    if has_coded_pixels_within(source):
        with suppress(OSError):
            beside_of(out).touch(0o600)


def finish_plan(
    plan: Plan,
    source: Source,
    target: UID,
    out: StrPath,
    attempt: int,
    checks: Checks,
    began: float,
) -> Transcoded:
    """Decode and write what was planned; ``began`` is the perf_counter at the start."""
    found = Findings(list(plan.notes))
    if checks.later and (left := for_later(plan, source)) is not None:
        found.undigested, checks = left, checks._replace(digests=False)
    _write_with_best(plan, out, attempt, checks, found)
    return described(plan, source, target, found, began)


def described(
    plan: Plan, source: Source, target: UID, found: Findings, began: float
) -> Transcoded:
    """The record of what was done, or is about to be."""
    backend = found.backend
    stored_digest, native_digest = found.digests.sums if found.digests else ("", "")
    came, goes = source.values.text(0x00280004), plan.pixels.photometric if plan.pixels else ""
    return Transcoded(
        target=target,
        decoder=backend.name if backend else "",
        frames=plan.pixels.count or len(plan.pixels.frames) if plan.pixels and backend else 0,
        seconds=perf_counter() - began,
        size=plan.size,
        photometric=goes or came,
        notes=tuple(found.notes),
        version=backend.version() if backend else "",
        self_test=standing(backend, plan.pixels.form) if backend and plan.pixels else "",
        colour=came if goes in ("", came) else f"{came} to {goes}",
        stored_digest=stored_digest,
        native_digest=native_digest,
        verification=found.verification,
        native=plan.native,
        undigested=found.undigested,
    )


def make_plan(
    source: Source, target: UID, rendition: Rendition, tags: TagChanges | None = None
) -> Plan:
    """Everything that can be known before a frame is decoded. Raises PermanentFailure."""
    syntax = BY_UID.get(target)
    if syntax is None or not (tags or target in NATIVE):
        raise PermanentFailure(f"{name_of(target)} is not a target: only native syntaxes are made")
    stored = BY_UID[source.meta.transfer_syntax]
    if stored.video and target in NATIVE:
        raise PermanentFailure(f"{stored.title} is video: it can only be sent as stored")
    made = tagging(source, tags)
    meta = encode_file_meta(
        sop_class_uid=source.meta.sop_class_uid,
        sop_instance_uid=made.uid,
        transfer_syntax=target,
        source_ae=source.meta.source_ae,
    )
    if target not in NATIVE:
        parts = as_stored(source, target, made)
        return Plan([meta, *parts], None, [], made.notes, undigested=True)
    if source.pixels is None:
        parts = part_with_nested(source, source.start, source.end, syntax, {})
        return Plan([meta, *made.whole(parts, syntax)], None, [], made.notes)
    if source.pixels.length == UNDEFINED or stored.encapsulated:
        return _framed(source, syntax, meta, plan_frames(source, syntax, rendition), made)
    return _native(source, syntax, meta, rendition, made)


def _framed(
    source: Source, target: TransferSyntax, meta: bytes, pixels: Pixels, made: Tagging
) -> Plan:
    start, end = source.start, source.pixel_data.start
    before = part_with_nested(source, start, end, target, pixels.changes)
    head = [meta, *made.before_pixels(before, target)]
    head.append(pixel_head(pixels.vr, pixels.length + (pixels.length & 1), target))
    tail = [b"\0"] if pixels.length & 1 else []
    notes, end = (*pixels.notes, *made.notes), source.pixel_data.end
    while bytes(source.data[end : end + len(_DELIMITER)]) == _DELIMITER:
        end += len(_DELIMITER)
    after = part_with_nested(source, end, source.end, target, {})
    tail += made.after_pixels(after, target)
    if end > source.pixel_data.end:
        notes = (*notes, "a second Sequence Delimitation Item behind Pixel Data was left out")
    if bytes(source.data[end : end + 4]) == b"\xfa\xff\xfa\xff":
        notes = (*notes, "a Digital Signature over Pixel Data no longer holds")
    return Plan(head, pixels, tail, notes)


def _native(
    source: Source, target: TransferSyntax, meta: bytes, rendition: Rendition, made: Tagging
) -> Plan:
    """Native Pixel Data: copied, swapped where the byte order changes, or rendered anew."""
    element = source.pixel_data
    body = native_body(source, target)
    rendered = native_rendered(source, target, rendition, body.little_endian())
    if rendered is not None:
        plan = _framed(source, target, meta, rendered, made)
        return plan._replace(stored=stored_value(source))
    before = data_set_part(source, source.start, element.start, target, {})
    size = element.length + (element.length & 1)
    head = [meta, *made.before_pixels(before, target), pixel_head(body.vr, size, target)]
    tail = [b"\0"] if element.length & 1 else []
    after = data_set_part(source, element.end, source.end, target, {})
    tail += made.after_pixels(after, target)
    value, stored = list(body.parts()), stored_value(source)
    return Plan([*head, *value], None, tail, made.notes, value=value, stored=stored)


def _write_with_best(
    plan: Plan, out: StrPath, attempt: int, checks: Checks, found: Findings
) -> None:
    """Write the result with the first decoder that gets through."""
    if plan.pixels is None:
        with written(out, plan.size) as descriptor:
            write_all(descriptor, [*plan.head, *plan.tail])
        wanted = checks.digests and not plan.undigested
        found.digests = _undecoded(plan) if wanted else None
        return
    reasons: list[str] = []
    size = plan.size
    for backend in backends_for(plan.pixels, attempt, checks.skip):
        try:
            with written(out, size) as descriptor:
                _write_checked(descriptor, plan, plan.pixels, backend, checks, found)
        except DecoderFailed as failure:
            reasons.append(str(failure))
        else:
            found.notes += reasons
            found.backend = backend
            return
    raise PermanentFailure("; ".join(reasons))


def _write_checked(
    descriptor: int,
    plan: Plan,
    pixels: Pixels,
    backend: Backend,
    checks: Checks,
    found: Findings,
) -> None:
    """Write the frames, and see what was asked to be seen. Raises Disagreement."""
    found.digests = digests = Digests() if checks.digests else None
    beside = watched(backend, pixels.form, checks.verify)
    seen = _write_frames(descriptor, plan, pixels, beside or backend, digests)
    tally = beside.tally if beside else None
    decoder = described_decoder(backend, pixels.form) if checks.verify else ""
    found.verification = verdict(decoder, pixels.form, checks.verify, tally)
    if digests and plan.stored is not None:
        digests.store_value(plan.stored)
    elif digests:
        digests.store(pixels.data, pixels.frames)
    found.notes += seen


def _undecoded(plan: Plan) -> Digests:
    """Of native Pixel Data that is copied or swapped."""
    digests, stored = Digests(), plan.stored or memoryview(b"")
    digests.store_value(stored)
    left = len(stored)
    for part in plan.value:
        for piece in pieces_of(part) or (part,):
            digests.native(memoryview(piece)[:left])
            left = max(0, left - len(piece))
    return digests


def prepare_file(plan: Plan, pixels: Pixels, out: StrPath) -> int:
    """Write all but the frames beside ``out``; the offset at which the first frame goes."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    try:
        descriptor = os.open(beside_of(out), flags, 0o600)
        try:
            reserve(descriptor, plan.size)
            write_all(descriptor, plan.head)
            offset = os.lseek(descriptor, pixels.length, os.SEEK_CUR) - pixels.length
            write_all(descriptor, plan.tail)
            os.truncate(descriptor, plan.size)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise TemporaryFailure(f"cannot write the transcoded file: {error}") from error
    return offset


def _write_frames(
    descriptor: int, plan: Plan, pixels: Pixels, backend: Backend, digests: Digests | None
) -> list[str]:
    """Head, frames and tail; one system call where there is a single frame. What was seen."""
    decoding = Decoding(pixels.form, pixels.finish, pixels.frames, known=pixels.known)
    pending = list(plan.head)
    done = 0
    for frame in decoded_frames(decoding, pixels.data, backend):
        pending.append(frame)
        if digests:
            digests.native(frame)
        done += memoryview(frame).nbytes
        if len(pixels.frames) > 1:
            write_all(descriptor, pending)
            pending = []
    if done != pixels.length:
        raise DecoderFailed(f"{backend.name}: {done} bytes came out, {pixels.length} were due")
    write_all(descriptor, [*pending, *plan.tail])
    return decoding.notes
