"""One instance made ready for one destination: the transfer syntax chosen, the pixels in it."""

import asyncio
from collections.abc import Collection
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
from gateway.tags import TagChanges
from gateway.tags.recode import readable
from gateway.transcode.choose import NativeTooLong, Reader, choose_form
from gateway.transcode.verify import Disagreement
from gateway.transfer_syntax import NATIVE

_BITS_STORED: Final = 0x00280101
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
    (and may not go as stored), two decoders disagree or the destination cannot take a file of
    this size, and
    TemporaryFailure when something on this side is short.
    """
    _check_sop_class(instance, destination)
    reader = Reader(destination.name, destination.can_read, destination.rendition)
    target, wanted = choose_form(
        instance.transfer_syntax, _photometric(instance), accepted, reader, policy.change
    )
    tags = _tags(instance, destination, policy)
    try:
        ready = await _derived(instance, target, wanted, policy, tags, derivations)
    except Disagreement:
        raise
    except PermanentFailure as failure:
        if not _may_go_as_stored(failure, instance, accepted, destination, policy, wanted):
            raise _said_by(policy, failure) from failure
        stored = instance.transfer_syntax
        ready = await _derived(instance, stored, Rendition(), RoutePolicy(), tags, derivations)
        telemetry.alarm(
            "sent as stored",
            instance=instance.sop_instance_uid,
            destination=destination.name,
            reason=str(failure),
        )
    _check_size(ready.file, destination)
    if destination.bits is not None:
        await asyncio.to_thread(_check_bits, ready.file, destination.name, destination.bits)
    return ready


async def _derived(
    instance: Instance,
    target: UID,
    wanted: Rendition,
    policy: RoutePolicy,
    tags: TagChanges | None,
    derivations: Derivations,
) -> Derived:
    """The file in that form: the stored one where nothing is to be done to it."""
    rendition = wanted if target in NATIVE else Rendition()
    if target == instance.transfer_syntax and rendition == Rendition() and not tags:
        return Derived(instance.file, target)
    verify = policy.verified(instance.sop_instance_uid) if target in NATIVE else ""
    ready = await derivations.derive(instance, target, rendition, verify, tags=tags)
    if tags and tags.renames:
        return replace(ready, sop_instance_uid=await asyncio.to_thread(_uid_in, ready.file))
    return ready


def _tags(instance: Instance, destination: Destination, policy: RoutePolicy) -> TagChanges | None:
    """What changes in the attributes on this way, None for nothing.

    Whether text has to be written in another character set, the instance's own one tells.
    """
    charsets = destination.charsets
    if readable(instance.header.get("SpecificCharacterSet", ""), charsets):
        charsets = ()
    return TagChanges(policy.tags, charsets) if policy.tags or charsets else None


def _uid_in(file: Path) -> UID:
    """The SOP Instance UID that a derived file goes out with. Raises TemporaryFailure."""
    try:
        with file.open("rb") as opened:
            return read_file_meta(opened.read(_META)).sop_instance_uid
    except OSError as error:
        text = f"the spool's file {file.name} cannot be read: {error.strerror}"
        raise TemporaryFailure(text) from error


def _check_sop_class(instance: Instance, destination: Destination) -> None:
    classes, sop_class = destination.sop_classes, instance.sop_class_uid
    if classes is not None and sop_class not in classes:
        raise PermanentFailure(
            f"{destination.name} does not read SOP class {sop_class} (can_read.sop_classes): "
            "drop this delivery, and have the route leave such instances out with unless"
        )


def _photometric(instance: Instance) -> str:
    return instance.header.get("PhotometricInterpretation", "")


def _may_go_as_stored(
    failure: PermanentFailure,
    instance: Instance,
    accepted: Collection[UID],
    destination: Destination,
    policy: RoutePolicy,
    wanted: Rendition,
) -> bool:
    """Whether what could not be decoded is sent as it is: never in a syntax that is not read.

    What is only too long uncompressed goes where nothing that the node asks for is missing.
    """
    syntax, can_read = instance.transfer_syntax, destination.can_read
    if syntax not in accepted or (can_read is not None and syntax not in can_read):
        return False
    if isinstance(failure, NativeTooLong) and wanted.color in ("", _photometric(instance)):
        return True
    return policy.if_undecodable == "forward-as-stored"


def _said_by(policy: RoutePolicy, failure: PermanentFailure) -> PermanentFailure:
    """The reason for which an instance is held; "reject" is the route's own word for it."""
    if policy.if_undecodable != "reject" or isinstance(failure, NativeTooLong):
        return failure
    return PermanentFailure(f"rejected by the route: {failure}")


def _check_size(file: Path, destination: Destination) -> None:
    try:
        size = file.stat().st_size
    except FileNotFoundError:
        raise PermanentFailure(f"the spool's file {file.name} is missing") from None
    except OSError as error:
        text = f"the spool's file {file.name} cannot be read: {error.strerror}"
        raise TemporaryFailure(text) from error
    limit = destination.max_instance
    if limit is not None and size > limit:
        raise PermanentFailure(
            f"{size} bytes are more than max_instance of {destination.name} allows ({limit})"
        )


def _check_bits(file: Path, name: str, most: int) -> None:
    """Fewer bits would be other pixels: what has more of them is held."""
    try:
        text = read_header(file, {_BITS_STORED: "BitsStored"}).get("BitsStored", "")
    except OSError as error:
        text = f"the spool's file {file.name} cannot be read: {error.strerror}"
        raise TemporaryFailure(text) from error
    if text.isdecimal() and int(text) > most:
        raise PermanentFailure(
            f"{text} bits per sample are more than {name} reads (can_read.bits: {most})"
        )
