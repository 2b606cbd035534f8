"""What a node can read, and the reasons for which it is not sent an instance at all."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.config.units import format_size
from gateway.failures import PermanentFailure
from gateway.model import UID, Rendition
from gateway.tags import Change, TagChanges
from gateway.tags.recode import readable


@dataclass(frozen=True, slots=True)
class Reader:
    """What the configuration says that a node can read.

    ``can_read`` None means every transfer syntax that it accepts, ``sop_classes`` None every SOP
    class. ``bits`` is the most that Bits Stored may be, ``max_instance`` the largest Part 10 file
    in bytes that may be sent to it, None for any. ``charsets`` are the terms of Specific
    Character Set that it reads, best first; () for any.
    """

    name: str
    can_read: frozenset[UID] | None = None
    rendition: Rendition = field(default_factory=Rendition)
    max_instance: int | None = None
    sop_classes: frozenset[UID] | None = None
    bits: int | None = None
    charsets: tuple[str, ...] = ()

    def check_sop_class(self, sop_class: UID) -> None:
        """Raises PermanentFailure for one that is not read in any form."""
        if self.sop_classes is not None and sop_class not in self.sop_classes:
            raise PermanentFailure(
                f"{self.name} does not read SOP class {sop_class} (can_read.sop_classes): "
                "drop this delivery, and have the route leave such instances out with unless"
            )

    def check_size(self, size: int) -> None:
        """Raises PermanentFailure where the Part 10 file to send is too large."""
        if self.max_instance is not None and size > self.max_instance:
            limit = format_size(self.max_instance)
            raise PermanentFailure(
                f"{size} bytes are more than {self.name} takes (can_read.max_instance: {limit})"
            )

    def check_bits(self, stored: str) -> None:
        """Fewer bits would be other pixels: raises PermanentFailure where Bits Stored is more."""
        if self.bits is not None and stored.isdecimal() and int(stored) > self.bits:
            raise PermanentFailure(
                f"{stored} bits per sample are more than {self.name} reads"
                f" (can_read.bits: {self.bits})"
            )

    def changes(self, tags: tuple[Change, ...], header: Mapping[str, str]) -> TagChanges | None:
        """What attributes go through: the route's ``tags``, and text in a character set that the
        node reads where the instance's own, by its ``header``, is another. None for nothing.
        """
        charsets = self.charsets
        if readable(header.get("SpecificCharacterSet", ""), charsets):
            charsets = ()
        return TagChanges(tags, charsets) if tags or charsets else None
