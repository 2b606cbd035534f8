"""Which transfer syntax an instance is sent in: what is stored, what was accepted, what is read.

Nothing is ever compressed here: the answer is the syntax as stored or a native one. Among the
native ones Explicit VR Little Endian comes first (PS3.5 A.2), then Implicit VR Little Endian,
the default transfer syntax of DICOM (PS3.5 A.1), then the retired big-endian one.
"""

from collections.abc import Collection, Iterable
from typing import Literal, TypeAlias

from gateway.failures import PermanentFailure
from gateway.model import UID
from gateway.transfer_syntax import BY_UID, NATIVE, name_of

Change: TypeAlias = Literal["never", "if-needed", "always"]


class NativeTooLong(PermanentFailure):
    """Pixel Data that uncompressed would exceed 2**32 - 2 bytes: it exists as stored only."""


def choose_target(
    source: UID,
    accepted: Collection[UID],
    *,
    change: str = "if-needed",
    can_read: Collection[UID] | None = None,
) -> UID:
    """The transfer syntax to send in.

    ``source`` is the syntax as stored, ``accepted`` what the node agreed to for this SOP class,
    ``can_read`` what the configuration says the node can read (None: anything). ``change`` is
    "never" (as stored or not at all), "if-needed", or "always" (native even where the compressed
    form would be accepted). Raises PermanentFailure when nothing fits.
    """
    usable = [uid for uid in accepted if can_read is None or uid in can_read]
    for target in _wishes(source, change):
        if target in usable:
            return target
    raise PermanentFailure(_nothing_fits(source, accepted, change, can_read))


def _wishes(source: UID, change: str) -> tuple[UID, ...]:
    """The acceptable targets, best first."""
    if change not in ("never", "if-needed", "always"):
        raise ValueError(f"pixels.change is {change!r}: never, if-needed or always is allowed")
    if change == "never" or not _decodable(source):
        return (source,)
    if change == "always" and BY_UID[source].encapsulated:
        return NATIVE
    return (source, *(uid for uid in NATIVE if uid != source))


def _decodable(source: UID) -> bool:
    return source in BY_UID and not BY_UID[source].video


def _nothing_fits(
    source: UID, accepted: Collection[UID], change: str, can_read: Collection[UID] | None
) -> str:
    if not accepted:
        return (
            f"stored as {name_of(source)}; the node accepted nothing for this SOP class: "
            "it refused every presentation context"
        )
    text = f"stored as {name_of(source)}; the node accepted {_names(accepted)}"
    if can_read is not None:
        text += f" and can read {_names(can_read)}"
    if source not in BY_UID:
        return text + "; this transfer syntax is unknown here, so it goes as stored or not at all"
    if BY_UID[source].video:
        return text + "; video is never decoded here, so it goes as stored or not at all"
    if change == "never":
        return text + "; the route says pixels.change: never"
    return text + "; none of them can be produced"


def _names(syntaxes: Iterable[UID]) -> str:
    return ", ".join(sorted(name_of(uid) for uid in syntaxes)) or "nothing"
