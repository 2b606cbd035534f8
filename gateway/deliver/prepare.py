"""One instance made ready for one destination: the transfer syntax chosen, the pixels in it."""

import asyncio
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from gateway import telemetry
from gateway.dataset.header import read_header
from gateway.dataset.part10 import read_file_meta
from gateway.deliver.policy import Destination, RoutePolicy
from gateway.derivation import Derivations, Derived
from gateway.failures import PermanentFailure, TemporaryFailure
from gateway.model import UID, Instance, Rendition
from gateway.spool.digest import check_digest
from gateway.tags import TagChanges
from gateway.transcode.choose import Way
from gateway.transcode.verify import Disagreement
from gateway.transfer_syntax import NATIVE

_BITS_STORED: Final = 0x00280101
_PHOTOMETRIC: Final = "PhotometricInterpretation"
_META: Final = 1 << 16
"""Bytes in which the file meta information ends."""


async def prepare(
    instance: Instance,
    accepted: Collection[UID],
    destination: Destination,
    policy: RoutePolicy,
    derivations: Derivations,
) -> Derived:
    """The file to send, in a transfer syntax out of ``accepted``; as stored where that will do.

    Raises PermanentFailure when no accepted transfer syntax will do, the pixels cannot be decoded
    (and may not go as stored), two decoders disagree, the stored file is damaged or the
    destination cannot read what it would get, and TemporaryFailure when something on this side is
    short.
    """
    reader = destination.reader
    reader.check_sop_class(instance.sop_class_uid)
    stored, photometric = instance.transfer_syntax, instance.header.get(_PHOTOMETRIC, "")
    way = Way(
        stored,
        photometric,
        accepted,
        reader,
        policy.change,
        policy.if_undecodable,
        instance.mislabelled,
        odd=bool(instance.size & 1),  # the file meta information before it is even
    )
    target, rendition = way.form()
    tags = reader.changes(policy.tags, instance.header)
    if instance.digest is not None:
        await asyncio.to_thread(check_digest, instance.file, instance.digest)
    as_it_is = Derived(instance.file, stored)
    try:
        if way.is_stored(target) and rendition == Rendition() and not tags:
            ready = as_it_is
        else:
            ready = await _derived(instance, target, rendition, policy, tags, derivations)
    except Disagreement:
        raise
    except PermanentFailure as failure:
        if not way.goes_as_stored(failure):
            raise way.said(failure) from failure
        ready = as_it_is
        if tags:
            ready = await _derived(instance, stored, Rendition(), RoutePolicy(), tags, derivations)
        telemetry.alarm(
            "sent as stored",
            instance=instance.sop_instance_uid,
            destination=destination.name,
            reason=str(failure),
        )
    reader.check_size(_size(ready.file))
    if reader.bits is not None:
        reader.check_bits(await asyncio.to_thread(_bits_stored, ready.file))
    return ready


async def _derived(
    instance: Instance,
    target: UID,
    rendition: Rendition,
    policy: RoutePolicy,
    tags: TagChanges | None,
    derivations: Derivations,
) -> Derived:
    """The instance in that form, which is not the one that is stored."""
    verify = policy.verified(instance.sop_instance_uid) if target in NATIVE else ""
    ready = await derivations.derive(instance, target, rendition, verify, tags=tags)
    if tags and tags.renames:
        return replace(ready, sop_instance_uid=await asyncio.to_thread(_uid_in, ready.file))
    return ready


def _uid_in(file: Path) -> UID:
    """The SOP Instance UID that a derived file goes out with. Raises TemporaryFailure."""
    with _reading(file), file.open("rb") as opened:
        return read_file_meta(opened.read(_META)).sop_instance_uid


def _size(file: Path) -> int:
    with _reading(file):
        try:
            return file.stat().st_size
        except FileNotFoundError:
            raise PermanentFailure(f"the spool's file {file.name} is missing") from None


def _bits_stored(file: Path) -> str:
    with _reading(file):
        return read_header(file, {_BITS_STORED: "BitsStored"}).get("BitsStored", "")


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Raises TemporaryFailure where a file of the spool cannot be read."""
    try:
        yield
    except OSError as error:
        text = f"the spool's file {file.name} cannot be read: {error.strerror}"
        raise TemporaryFailure(text) from error
