"""Which transfer syntax an instance is sent in: what is stored, what was accepted, what is read.

Nothing is ever compressed here: the answer is the syntax as stored or a native one. Among the
native ones Explicit VR Little Endian comes first (PS3.5 A.2), then Implicit VR Little Endian,
the default transfer syntax of DICOM (PS3.5 A.1), then the retired big-endian one.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from gateway.failures import PermanentFailure
from gateway.model import UID, Rendition
from gateway.transcode.reader import Reader
from gateway.transfer_syntax import BY_UID, NATIVE, name_of

Change: TypeAlias = Literal["never", "if-needed", "always"]

NO_COLOR: Final = frozenset({"MONOCHROME1", "MONOCHROME2"})


class NativeTooLong(PermanentFailure):
    """Pixel Data that uncompressed would exceed 2**32 - 2 bytes: it exists as stored only."""


@dataclass(frozen=True, slots=True)
class Way:
    """One instance on its way to one node.

    ``stored`` and ``photometric`` are its transfer syntax and Photometric Interpretation, ""
    where that is not known; ``accepted`` is what the node agreed to for its SOP class. The
    route's ``change`` is as for ``choose_target``; its ``if_undecodable`` is quarantine, reject
    or forward-as-stored. ``mislabelled`` is as in ``Instance``; ``odd``: its data set has an odd
    number of bytes, which no data set has (PS3.5 7.1.1) and many a node aborts an association for.
    """

    stored: UID
    photometric: str
    accepted: Collection[UID]
    reader: Reader
    change: str = "if-needed"
    if_undecodable: str = "quarantine"
    mislabelled: bool = False
    odd: bool = False

    def form(self) -> tuple[UID, Rendition]:
        """The transfer syntax to send in, and what else is done to uncompressed pixels.

        Raises PermanentFailure when nothing fits.
        """
        wanted, can_read = self._wanted(), self.reader.can_read
        usable = self._usable(wanted)
        wrong = self.mislabelled
        target = choose_target(
            self.stored, usable, change=self.change, can_read=can_read, mislabelled=wrong
        )
        return target, wanted if target in NATIVE else Rendition()

    def is_stored(self, target: UID) -> bool:
        """Whether an instance in that form is the stored one: its label alone does not say so."""
        mended = self.mislabelled or (self.odd and target in NATIVE)
        return target == self.stored and (not mended or self.change == "never")

    def goes_as_stored(self, failure: PermanentFailure) -> bool:
        """Whether what could not be decoded is sent as it is: never in a syntax that is not read.

        What is only too long uncompressed, or was to be made even, goes where nothing that the
        node asks for is missing, and where it can be read as it is labelled.
        """
        can_read = self.reader.can_read
        if self.stored not in self.accepted:
            return False
        if can_read is not None and self.stored not in can_read:
            return False
        whole = isinstance(failure, NativeTooLong) or (self.odd and self.stored in NATIVE)
        if whole and not self.mislabelled and self._wanted().color in ("", self.photometric):
            return True
        return self.if_undecodable == "forward-as-stored"

    def said(self, failure: PermanentFailure) -> PermanentFailure:
        """The reason for which it is held; "reject" is the route's own word for it."""
        if self.if_undecodable != "reject" or isinstance(failure, NativeTooLong):
            return failure
        return PermanentFailure(f"rejected by the route: {failure}")

    def _wanted(self) -> Rendition:
        """What has to be asked for beyond the transfer syntax; nothing where it changes nothing.

        A header that says RGB is believed of uncompressed pixels only: many a JPEG under such a
        header is YCbCr, and the transcode finds out.
        """
        syntax, wanted = BY_UID.get(self.stored), self.reader.rendition
        if self.change == "never" or self.photometric in NO_COLOR:
            return Rendition()
        plain = syntax is not None and not syntax.encapsulated and not self.mislabelled
        if self.photometric == "RGB" and plain:
            return Rendition(planar=wanted.planar)
        return wanted

    def _usable(self, wanted: Rendition) -> Collection[UID]:
        """Colour is changed in uncompressed pixels only; what is never decoded stays as it is.

        Where the node takes none of those, what says that it is RGB may go as it is all the same.
        Raises PermanentFailure where nothing is left.
        """
        syntax, can_read = BY_UID.get(self.stored), self.reader.can_read
        if not wanted.color or syntax is None or syntax.video:
            return self.accepted
        native = [uid for uid in self.accepted if uid in NATIVE]
        if any(can_read is None or uid in can_read for uid in native):
            return native
        if self.accepted and self.photometric != wanted.color:
            raise PermanentFailure(
                f"{self.reader.name} reads {wanted.color} only, which takes an uncompressed "
                f"transfer syntax that it can read; it accepted {_names(self.accepted)} only"
            )
        return self.accepted


def choose_target(
    source: UID,
    accepted: Collection[UID],
    *,
    change: str = "if-needed",
    can_read: Collection[UID] | None = None,
    mislabelled: bool = False,
) -> UID:
    """The transfer syntax to send in.

    ``source`` is the syntax as stored, ``accepted`` what the node agreed to for this SOP class,
    ``can_read`` what the configuration says the node can read (None: anything). ``change`` is
    "never" (as stored or not at all), "if-needed", or "always" (native even where the compressed
    form would be accepted); what is ``mislabelled`` becomes native unless it is "never", also
    where that is what its label says. Raises PermanentFailure when nothing fits.
    """
    usable = [uid for uid in accepted if can_read is None or uid in can_read]
    for target in _wishes(source, change, mislabelled):
        if target in usable:
            return target
    raise PermanentFailure(_nothing_fits(source, accepted, change, can_read, mislabelled))


def _wishes(source: UID, change: str, mislabelled: bool) -> tuple[UID, ...]:
    """The acceptable targets, best first."""
    if change not in ("never", "if-needed", "always"):
        raise ValueError(f"pixels.change is {change!r}: never, if-needed or always is allowed")
    if change == "never" or not _decodable(source):
        return (source,)
    if mislabelled or (change == "always" and BY_UID[source].encapsulated):
        return NATIVE
    return (source, *(uid for uid in NATIVE if uid != source))


def _decodable(source: UID) -> bool:
    return source in BY_UID and not BY_UID[source].video


def _nothing_fits(
    source: UID,
    accepted: Collection[UID],
    change: str,
    can_read: Collection[UID] | None,
    mislabelled: bool,
) -> str:
    if not accepted:
        return (
            f"stored as {name_of(source)}; the node accepted nothing for this SOP class: "
            "it refused every presentation context"
        )
    text = f"stored as {name_of(source)}; the node "
    if can_read is None:
        text += f"accepted {_names(accepted)}"
    elif set(can_read) == set(accepted):
        text += f"reads {_names(can_read)}"
    else:
        text += f"accepted {_names(accepted)} and can read {_names(can_read)}"
    if source not in BY_UID:
        return text + "; this transfer syntax is unknown here, so it goes as stored or not at all"
    if BY_UID[source].video:
        return text + "; video is never decoded here, so it goes as stored or not at all"
    if change == "never":
        return text + "; the route says pixels.change: never"
    if mislabelled:
        return text + "; its Pixel Data is not as its transfer syntax says"
    return text + "; none of them can be produced"


def _names(syntaxes: Iterable[UID]) -> str:
    return ", ".join(sorted(name_of(uid) for uid in syntaxes)) or "nothing"
