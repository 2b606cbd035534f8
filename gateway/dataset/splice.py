"""Elements changed, added and left out in a data set and in its items, all others copied byte for
byte (PS3.5 7).

The encoding stays as it is. Items and sequences around a change keep their kind of length; heads
are rewritten only where a defined length becomes another. Group lengths of changed groups are
retired (7.2) and left out, since they would be wrong.
"""

from collections.abc import Iterator, Mapping
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from gateway.dataset.elements import Element, Item, elements, item_syntax, items
from gateway.dataset.heads import (
    DEFAULT_LIMITS,
    UNDEFINED,
    Buffer,
    Limits,
    name,
)
from gateway.dataset.rewrite import NewValue, rewrite
from gateway.failures import PermanentFailure
from gateway.transfer_syntax import TransferSyntax

_LENGTHS: Final = {True: Struct("<I").pack, False: Struct(">I").pack}
_WITH_ITEMS: Final = frozenset(("", "SQ", "UN"))

Piece: TypeAlias = bytes | memoryview


class InItems(NamedTuple):
    """Changes inside a sequence, by the number of the item, from 1; no item is added."""

    items: Mapping[int, "Edits"]


Edits: TypeAlias = Mapping[int, NewValue | InItems | None]
"""Tags of one data set or item and what they shall be, None to leave one out."""


def splice(
    data: Buffer,
    start: int,
    end: int,
    syntax: TransferSyntax,
    edits: Edits,
    limits: Limits = DEFAULT_LIMITS,
) -> list[Piece]:
    """The elements in [start, end) of ``data`` with the changes, in the encoding they have.

    Long pieces are views of ``data``. Raises MalformedDataSet, and PermanentFailure where an
    element to be changed inside is no sequence.
    """
    view = memoryview(data)
    flat = {tag: new for tag, new in edits.items() if not isinstance(new, InItems)}
    nested = {tag: new.items for tag, new in edits.items() if isinstance(new, InItems)}
    walk = elements(view, start, end, syntax, limits) if nested else ()
    inside = [element for element in walk if element.tag in nested]
    elsewhere: dict[int, NewValue | None] = dict.fromkeys(flat)
    elsewhere |= {element.tag & 0xFFFF0000: None for element in inside}
    pieces: list[Piece] = []
    written, position = 0, start
    for element in inside:
        due = {tag: new for tag, new in flat.items() if written <= tag < element.tag}
        pieces += rewrite(view, position, element.start, syntax, syntax, elsewhere | due, limits)
        pieces += _sequence(view, element, syntax, nested[element.tag], limits)
        written, position = max(written, element.tag), element.end
    due = {tag: new for tag, new in flat.items() if tag >= written}
    return pieces + rewrite(view, position, end, syntax, syntax, elsewhere | due, limits)


def _sequence(
    view: memoryview,
    element: Element,
    syntax: TransferSyntax,
    changes: Mapping[int, Edits],
    limits: Limits,
) -> Iterator[Piece]:
    """A sequence of which some items are changed."""
    if element.vr not in _WITH_ITEMS:
        raise PermanentFailure(f"{name(element.tag)} is of VR {element.vr}: it has no items")
    body: list[Piece] = []
    stop = element.value
    for count, item in enumerate(items(view, element, syntax, limits), 1):
        stop = item.end
        if count in changes:
            own = item_syntax(view, element, item, syntax)
            body += _item(view, item, splice(view, item.value, item.stop, own, changes[count]))
        else:
            body.append(view[item.start : item.end])
    head = view[element.start : element.value]
    if element.length == UNDEFINED:
        return iter([head, *body, view[stop : element.end]])
    return iter([head[:-4], _length(body, syntax.little_endian), *body])


def _item(view: memoryview, item: Item, content: list[Piece]) -> list[Piece]:
    head = view[item.start : item.value]
    if item.length == UNDEFINED:
        return [head, *content, view[item.stop : item.end]]
    return [head[:-4], _length(content, bytes(head[:2]) == b"\xfe\xff"), *content]


def _length(content: list[Piece], little: bool) -> bytes:
    size = sum(map(len, content))
    if size >= UNDEFINED:
        raise PermanentFailure(f"a sequence of {size} bytes is longer than its length can say")
    return _LENGTHS[little](size)
