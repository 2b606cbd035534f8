"""Data elements, items and fragments found in a buffer (PS3.5 Section 7, A.4).

A defined-length value is stepped over and never looked into; one of undefined length is walked
to its delimiter without recursion. What readers have to forgive is forgiven: a head without a VR
in an explicit data set, an unknown VR, an explicit item in an implicit sequence, a stray
delimiter, zeros after the last element, encapsulated Pixel Data without its delimiter at the end.
"""

from collections.abc import Container, Iterator
from typing import NamedTuple

from gateway.dataset.heads import (
    DEFAULT_LIMITS,
    EXPLICIT,
    ITEM,
    ITEM_DELIMITER,
    PIXEL_DATA,
    SEQUENCE_DELIMITER,
    SHORT_CODES,
    UNDEFINED,
    Buffer,
    Form,
    Limits,
    MalformedDataSet,
    form_of,
    inner_form,
    is_fragments,
    item_form,
    name,
    odd_head,
    read_head,
    syntax_of,
    too_long,
    too_many,
    zeros,
)
from gateway.dataset.mapped import LET_GO, let_go
from gateway.transfer_syntax import TransferSyntax

__all__ = [
    "DEFAULT_LIMITS",
    "PIXEL_DATA",
    "UNDEFINED",
    "Buffer",
    "Element",
    "Item",
    "Limits",
    "MalformedDataSet",
    "elements",
    "fragments",
    "item_syntax",
    "items",
]


class Element(NamedTuple):
    """One data element of a buffer; all offsets in bytes from the buffer's start.

    ``tag`` is 0xGGGGEEEE, ``vr`` is "" where the head carries none. The head begins at
    ``start``, the value at ``value``; ``length`` may be UNDEFINED; ``end`` follows the value
    and its delimiter.
    """

    tag: int
    vr: str
    start: int
    value: int
    length: int
    end: int


class Item(NamedTuple):
    """One item of a sequence: its data set is [value, stop), its delimiter ends at ``end``."""

    start: int
    value: int
    stop: int
    end: int
    length: int


def elements(
    data: Buffer,
    start: int,
    end: int,
    syntax: TransferSyntax,
    limits: Limits = DEFAULT_LIMITS,
    until: int = 0xFFFFFFFF,
    only: Container[int] | None = None,
) -> Iterator[Element]:
    """The top-level data elements in [start, end), in their order (PS3.5 Section 7.1).

    ``start`` is the first byte of a data set, of an item's, or of any element. Pixel Data is an
    element like any other. Raises MalformedDataSet at the first element that does not fit. An
    element of a tag beyond ``until`` that does not fit or has an undefined length is the last:
    its value is not looked at and taken to reach to ``end``. ``only`` are the tags up to
    ``until`` that are wanted, None for all.
    """
    return elements_of(data, start, end, form_of(syntax), limits, until, only)


def elements_of(
    data: Buffer,
    start: int,
    end: int,
    form: Form,
    limits: Limits = DEFAULT_LIMITS,
    until: int = 0xFFFFFFFF,
    only: Container[int] | None = None,
) -> Iterator[Element]:
    """As ``elements``, by the form of the heads."""
    explicit, short, head = form.explicit, form.short, form.head
    vr_of, new = SHORT_CODES.get, tuple.__new__
    left, most, count, position, last_head = limits.heads, limits.elements, 0, start, end - 8
    vr: str | None = ""
    while position <= last_head:
        value = position + 8
        if explicit:
            group, number, code, length = short(data, position)
            if (vr := vr_of(code)) is None:
                vr, value, length = odd_head(data, position, end, form)
        else:
            group, number, length = head(data, position)
        tag, stop = group << 16 | number, value + length
        if tag < 0x10000 or group == 0xFFFE:
            if _ends_here(data, Element(tag, "", position, value, length, end)):
                return
        else:
            if stop > end or length == UNDEFINED:
                what = Element(tag, vr or "", position, value, length, end)
                stop, left = (end, left) if tag > until else end_of(data, what, form, limits, left)
            count += 1
            if count > most:
                raise too_many("elements in a data set", most, position, tag)
            if only is None or tag in only or tag > until:
                yield new(Element, (tag, vr, position, value, length, stop))
        position = stop
    if position < end and not zeros(data, position, end):
        raise MalformedDataSet(f"the data set ends inside a head at offset {position}")


def _ends_here(data: Buffer, element: Element) -> bool:
    """Nothing but zeros follows; a stray delimiter or item is passed over, the rest malformed."""
    tag, _, position, value, length, end = element
    if tag == 0 and zeros(data, position, end):
        return True
    if tag in (ITEM, ITEM_DELIMITER, SEQUENCE_DELIMITER) and length <= end - value:
        return False
    raise MalformedDataSet(f"{name(tag)} at offset {position} is no element of a data set")


def end_of(
    data: Buffer, element: Element, form: Form, limits: Limits, left: int
) -> tuple[int, int]:
    """The offset after a value of undefined length, and how many of ``left`` heads remain.

    ``element.end`` bounds the search. Raises MalformedDataSet also for a defined length that
    does not fit, and where no delimiter is found (except for fragments at the end).
    """
    tag, vr, start, value, length, end = element
    if length != UNDEFINED:
        raise too_long(tag, start, length, end - value)
    if is_fragments(tag, vr):
        return _end_of_fragments(data, tag, value, end, limits), left
    return _end_of_sequence(data, element, inner_form(data, value, vr, form), limits, left)


def _end_of_sequence(
    data: Buffer, element: Element, form: Form, limits: Limits, left: int
) -> tuple[int, int]:
    """Walk items, and what they hold of undefined length, with a stack instead of recursion."""
    tag, _, start, position, _, end = element
    opened = [(form, form)]  # the form of each open sequence's items, and that around it
    in_item = False
    while opened:
        start, left = position, left - 1
        tag, vr, position, length = read_head(data, start, end, form)
        if left < 0:
            raise too_many("heads in all", limits.heads, start, tag)
        if in_item == (tag in (ITEM, SEQUENCE_DELIMITER)):
            raise _misplaced(tag, start)
        if tag == SEQUENCE_DELIMITER:
            form, in_item = opened.pop()[1], True
        elif tag == ITEM_DELIMITER:
            form, in_item = opened[-1][0], False
        elif length != UNDEFINED:
            position += length
        elif tag == ITEM:
            form, in_item = item_form(data, position, end, form), True
        elif is_fragments(tag, vr):
            position = _end_of_fragments(data, tag, position, end, limits, nested=True)
        else:
            inside = inner_form(data, position, vr, form)
            opened.append((inside, form))
            form, in_item = inside, False
            if len(opened) > limits.depth:
                raise too_many("sequences within each other", limits.depth, start, tag)
    return position, left


def _misplaced(tag: int, position: int) -> MalformedDataSet:
    return MalformedDataSet(
        f"{name(tag)} at offset {position}: a sequence holds items, an item elements"
    )


def _end_of_fragments(
    data: Buffer, tag: int, position: int, end: int, limits: Limits, nested: bool = False
) -> int:
    """The offset after the sequence delimiter, or where the data end on a whole fragment."""
    head = EXPLICIT.head
    count, held = 0, position
    while end - position >= 8:
        group, number, length = head(data, position)
        inner = group << 16 | number
        position += 8
        if inner == SEQUENCE_DELIMITER:
            return position
        if inner != ITEM:
            if inner == 0 and not nested and zeros(data, position, end):
                return position - 8
            raise _misplaced(inner, position - 8)
        if length > end - position:
            raise too_long(inner, position - 8, length, end - position)
        position += length
        count += 1
        if position - held > LET_GO:
            held = let_go(data, held, position)
        if count > limits.fragments:
            raise too_many("fragments", limits.fragments, position, tag)
    if nested or not zeros(data, position, end):
        raise MalformedDataSet(f"{name(tag)}: its last fragment is cut off at offset {position}")
    return position


def items(
    data: Buffer,
    element: Element,
    syntax: TransferSyntax,
    limits: Limits = DEFAULT_LIMITS,
) -> Iterator[Item]:
    """The items of a sequence, in their order (PS3.5 Section 7.5).

    ``syntax`` is that of the data set the element was found in. What an item holds is read with
    ``elements(data, item.value, item.stop, item_syntax(data, element, item, syntax))``.
    """
    return items_of(data, element, form_of(syntax), limits)


def item_syntax(
    data: Buffer, element: Element, item: Item, syntax: TransferSyntax
) -> TransferSyntax:
    """The encoding of an item's data set, which in UN is Implicit VR Little Endian (6.2.2)."""
    form = inner_form(data, element.value, element.vr, form_of(syntax))
    return syntax_of(item_form(data, item.value, item.stop, form))


def items_of(
    data: Buffer, element: Element, form: Form, limits: Limits = DEFAULT_LIMITS
) -> Iterator[Item]:
    """As ``items``, by the form of the data set that the sequence stands in."""
    form = inner_form(data, element.value, element.vr, form)
    position, end, left = element.value, element.end, limits.heads
    for _ in range(limits.items + 1):
        if end - position < 8 and element.length != UNDEFINED and zeros(data, position, end):
            return
        tag, _, value, length = read_head(data, position, end, form)
        if tag == SEQUENCE_DELIMITER:
            return
        if tag != ITEM:
            raise _misplaced(tag, position)
        if length == UNDEFINED:
            stop, after, left = _end_of_item(data, value, end, form, limits, left)
        else:
            stop = after = value + length
        yield Item(position, value, stop, after, length)
        position = after
    raise too_many("items in a sequence", limits.items, position, element.tag)


def _end_of_item(
    data: Buffer, position: int, end: int, form: Form, limits: Limits, left: int
) -> tuple[int, int, int]:
    """(offset of the item's delimiter, offset after it, heads left)."""
    form = item_form(data, position, end, form)
    while True:
        start, left = position, left - 1
        tag, vr, value, length = read_head(data, start, end, form)
        if left < 0:
            raise too_many("heads in all", limits.heads, start, tag)
        if tag == ITEM_DELIMITER:
            return start, value, left
        if tag in (ITEM, SEQUENCE_DELIMITER):
            raise _misplaced(tag, start)
        position = value + length
        if length == UNDEFINED:
            what = Element(tag, vr, start, value, length, end)
            position, left = end_of(data, what, form, limits, left)


def fragments(
    data: Buffer, pixel_data: Element, limits: Limits = DEFAULT_LIMITS
) -> list[tuple[int, int]]:
    """(offset, length) of every item of encapsulated Pixel Data (PS3.5 A.4).

    The first is the Basic Offset Table, empty or not. A missing sequence delimiter, and what
    follows it, are forgiven. Raises MalformedDataSet where no item stands or one does not fit.
    """
    found: list[tuple[int, int]] = []
    position, end, head = pixel_data.value, pixel_data.end, EXPLICIT.head
    held = position
    while end - position >= 8:
        group, number, length = head(data, position)
        if group != 0xFFFE or number != 0xE000:
            break
        position += 8
        if length > end - position:
            raise too_long(ITEM, position - 8, length, end - position)
        found.append((position, length))
        position += length
        if position - held > LET_GO:
            held = let_go(data, held, position)
        if len(found) > limits.fragments:
            raise too_many("fragments", limits.fragments, position, PIXEL_DATA)
    if not found:
        raise MalformedDataSet(f"{name(pixel_data.tag)} holds no Basic Offset Table item")
    return found
