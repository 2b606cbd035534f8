"""One instance made ready for one destination: the transfer syntax chosen, the pixels in it."""

from collections.abc import Collection
from pathlib import Path

from gateway import telemetry
from gateway.deliver.derive import Derivations, Derived
from gateway.deliver.policy import Destination, RoutePolicy
from gateway.failures import PermanentFailure, TemporaryFailure
from gateway.model import UID, Instance, Rendition
from gateway.transcode.choose import choose_target
from gateway.transcode.verify import Disagreement
from gateway.transfer_syntax import BY_UID, NATIVE

NO_COLOR = frozenset({"MONOCHROME1", "MONOCHROME2"})


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
    wanted = _rendition(instance, destination, policy)
    target = choose_target(
        instance.transfer_syntax,
        _usable(instance, accepted, wanted),
        change=policy.change,
        can_read=destination.can_read,
    )
    ready = Derived(instance.file, instance.transfer_syntax)
    if target != instance.transfer_syntax or (wanted != Rendition() and target in NATIVE):
        try:
            verify = policy.verified(instance.sop_instance_uid)
            ready = await derivations.derive(instance, target, wanted, verify)
        except Disagreement:
            raise
        except PermanentFailure as failure:
            if not _may_go_as_stored(instance, accepted, policy):
                raise
            telemetry.alarm(
                "sent as stored",
                instance=instance.sop_instance_uid,
                destination=destination.name,
                reason=str(failure),
            )
    _check_size(ready.file, destination)
    return ready


def _rendition(instance: Instance, destination: Destination, policy: RoutePolicy) -> Rendition:
    """What has to be asked for beyond the transfer syntax; nothing where it changes nothing."""
    wanted = destination.rendition
    photometric = instance.header.get("PhotometricInterpretation", "")
    if policy.change == "never" or photometric in NO_COLOR:
        return Rendition()
    if photometric == "RGB":
        return Rendition(planar=wanted.planar)
    return wanted


def _usable(instance: Instance, accepted: Collection[UID], wanted: Rendition) -> Collection[UID]:
    """Colour is changed in uncompressed pixels only; what is never decoded stays as it is."""
    syntax = BY_UID.get(instance.transfer_syntax)
    if not wanted.color or syntax is None or syntax.video:
        return accepted
    return [uid for uid in accepted if uid in NATIVE]


def _may_go_as_stored(instance: Instance, accepted: Collection[UID], policy: RoutePolicy) -> bool:
    return policy.if_undecodable == "forward-as-stored" and instance.transfer_syntax in accepted


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
