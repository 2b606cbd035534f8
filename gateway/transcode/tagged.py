"""What a route changes in the attributes, put into the plan of a transcode.

The changes are worked out from the data set as it is stored and spliced into what goes out, in
the encoding that goes out: all else is what it would have been without them.
"""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.dataset.heads import UNDEFINED, name
from gateway.dataset.splice import Edits, splice
from gateway.failures import PermanentFailure
from gateway.model import UID
from gateway.tags import TagChanges
from gateway.tags.edits import edits, new_uid
from gateway.tags.reading import read
from gateway.transcode.around import data_set_part, pixel_head
from gateway.transcode.image_pixel import PIXEL_DATA
from gateway.transcode.source import Source
from gateway.transfer_syntax import BY_UID, EXPLICIT_LE, TransferSyntax, name_of

_SIGNATURES: Final = 0xFFFAFFFA
_NAMED: Final = 16
"""Changed attributes that the record names."""


@dataclass(frozen=True, slots=True)
class Tagging:
    """The edits to one instance; ``uid`` is its SOP Instance UID as it goes out."""

    uid: UID
    edits: Edits = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def before_pixels(self, parts: list[Any], syntax: TransferSyntax) -> list[Any]:
        """The data set up to Pixel Data, encoded as ``syntax``, with the changes."""
        return self._changed(
            parts, syntax, {t: e for t, e in self.edits.items() if t < PIXEL_DATA}
        )

    def after_pixels(self, parts: list[Any], syntax: TransferSyntax) -> list[Any]:
        """What follows Pixel Data."""
        return self._changed(
            parts, syntax, {t: e for t, e in self.edits.items() if t > PIXEL_DATA}
        )

    def whole(self, parts: list[Any], syntax: TransferSyntax) -> list[Any]:
        """A data set without Pixel Data."""
        return self._changed(parts, syntax, self.edits)

    def _changed(self, parts: list[Any], syntax: TransferSyntax, own: Edits) -> list[Any]:
        """Elements that stand out of order on the wrong side are left out, never left as is."""
        if not self.edits:
            return parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        return list(splice(data, 0, len(data), syntax, dict.fromkeys(self.edits) | dict(own)))


def tagging(source: Source, wanted: TagChanges | None) -> Tagging:
    """What the changes make of an instance. Raises PermanentFailure where they cannot be made."""
    uid = source.meta.sop_instance_uid
    if not wanted:
        return Tagging(uid)
    spans = [(source.start, source.end)]
    if source.pixels is not None:
        spans = [(source.start, source.pixels.start), (source.pixels.end, source.end)]
    data_set = read(source.data, spans, source.syntax)
    made = edits(wanted, data_set)
    notes = [_changed_attributes(made)] if made else []
    if made and _SIGNATURES in data_set.found:
        notes.append("a Digital Signature over changed attributes no longer holds")
    return Tagging(new_uid(made) or uid, made, tuple(notes))


def _changed_attributes(made: Edits) -> str:
    tags = [name(tag) for tag in sorted(made)]
    more = f" and {len(tags) - _NAMED} more" if len(tags) > _NAMED else ""
    return f"changed by the route: {', '.join(tags[:_NAMED])}{more}"


def as_stored(source: Source, target: UID, made: Tagging) -> list[Any]:
    """The data set of an encapsulated or deflated instance with the changes, Pixel Data as it is.

    Raises PermanentFailure where ``target`` is not what the instance is stored in.
    """
    if target != source.meta.transfer_syntax:
        raise PermanentFailure(f"{name_of(target)} is not a target: nothing is compressed here")
    syntax, pixels = BY_UID[EXPLICIT_LE], source.pixels
    if pixels is None:
        parts = made.whole(data_set_part(source, source.start, source.end, syntax, {}), syntax)
    else:
        before = data_set_part(source, source.start, pixels.start, syntax, {})
        after = data_set_part(source, pixels.end, source.end, syntax, {})
        parts = [
            *made.before_pixels(before, syntax),
            *_pixel_data(source),
            *made.after_pixels(after, syntax),
        ]
    return list(_deflated(parts)) if BY_UID[target].deflated else parts


def _pixel_data(source: Source) -> list[Any]:
    """The element as it stands, byte for byte; its head with a VR where that is missing."""
    element, view = source.pixel_data, memoryview(source.data)
    if source.syntax.explicit and element.vr:
        return [view[element.start : element.end]]
    vr = "OB" if element.length == UNDEFINED else "OW"
    head = pixel_head(vr, element.length, BY_UID[EXPLICIT_LE])
    return [head, view[element.value : element.end]]


def _deflated(parts: Iterable[Any]) -> Iterator[bytes]:
    """One deflate stream of even length (PS3.5 A.5)."""
    stream, size = zlib.compressobj(wbits=-zlib.MAX_WBITS), 0
    for part in parts:
        piece = stream.compress(part)
        size += len(piece)
        yield piece
    last = stream.flush()
    yield last + b"\0" * ((size + len(last)) & 1)
