"""A data set from one native encoding to another, with some elements changed (PS3.5 Annex A).

In the same encoding everything but the changes is a span of the source, byte for byte. In
another one each head is written anew: values keep their bytes but for the byte order, defined
lengths stay defined, undefined ones undefined. UN stays UN, which is Implicit VR Little Endian
inside whatever stands around it (6.2.2). Group lengths outside group 0002 are retired (7.2) and
left out where they would be wrong.
"""

from collections.abc import Iterable, Iterator, Mapping
from struct import Struct
from typing import Final, NamedTuple

from gateway.dataset.byte_order import WIDTHS, swapped
from gateway.dataset.elements import Element, elements_of, items_of
from gateway.dataset.heads import (
    DEFAULT_LIMITS,
    EXPLICIT,
    IMPLICIT,
    ITEM,
    ITEM_DELIMITER,
    PIXEL_DATA,
    SEQUENCE_DELIMITER,
    SHORT_CODES,
    SHORT_VRS,
    UNDEFINED,
    Buffer,
    Form,
    Limits,
    form_of,
    inner_form,
    is_fragments,
    item_form,
    name,
    too_many,
)
from gateway.dataset.scope import TELLING, Scope, tells
from gateway.failures import PermanentFailure
from gateway.transfer_syntax import TransferSyntax

_LONG_VALUE: Final = 4096
_HELD: Final = 1 << 20
"""Bytes of a data set that are copied at once, to be read the faster."""
_TAG_VR_LENGTH: Final = Struct("<HHHH").unpack_from
_SHORT: Final = frozenset(int.from_bytes(code, "little") for code in SHORT_CODES)
_PUT_LENGTH: Final = Struct("<I").pack_into
_LONGEST_SHORT: Final = 0xFFFE
_BEYOND: Final = 0xFFFFFFFF
_PADDED_BY_ZERO: Final = frozenset(("UI", "OB", "UN"))
_LE, _SHORT_LE, _LONG_LE = Struct("<HHI"), Struct("<HH2sH"), Struct("<HH2sHI")
_BE, _SHORT_BE, _LONG_BE = Struct(">HHI"), Struct(">HH2sH"), Struct(">HH2sHI")


class NewValue(NamedTuple):
    """What an element shall be: its VR, its value in little endian.

    The value of an SQ is its items in Explicit VR Little Endian. An odd length is padded.
    """

    vr: str
    value: bytes


def rewrite(
    data: Buffer,
    start: int,
    end: int,
    source: TransferSyntax,
    target: TransferSyntax,
    changes: Mapping[int, NewValue | None],
    limits: Limits = DEFAULT_LIMITS,
) -> list[bytes | memoryview]:
    """The elements in [start, end) of ``data`` in the encoding of ``target``, as pieces.

    ``changes`` maps top-level tags to what they shall be, None to leave one out; what is not
    there is added in the order of tags. Long pieces are views of ``data``.

    Raises MalformedDataSet, and PermanentFailure where encapsulated Pixel Data would have to
    stand in an encoding that has none (A.4).
    """
    view, was, now = memoryview(data), form_of(source), form_of(target)
    writer = _Writer(now, limits)
    found = elements_of(view, start, end, was, limits)
    if was is now:
        _splice(view, start, found, writer, changes)
        return writer.pieces()
    scope = Scope()
    if now.explicit and not was.explicit:
        scope.look_ahead(view, elements_of(view, start, end, was, limits))
    pending = _Pending(changes)
    if was is EXPLICIT and now is IMPLICIT and end - start <= _HELD:
        found = _odd_ones(view, start, end, writer, pending, scope, limits)
    for element in found:
        if pending.first <= element.tag:
            pending.write_up_to(element.tag, writer)
        if element.tag not in changes:
            writer.element(view, element, was, scope, 0)
    pending.write_up_to(_BEYOND, writer)
    return writer.pieces()


def _odd_ones(
    view: memoryview,
    start: int,
    end: int,
    writer: "_Writer",
    pending: "_Pending",
    scope: Scope,
    limits: Limits,
) -> Iterator[Element]:
    """Write the plain elements of an Explicit VR Little Endian data set without their VRs; the
    others, and those that ``pending`` has a say in, are yielded in between.
    """
    data = bytearray(view[start:end])
    position, count = start, 0
    while count <= limits.elements:
        position, plain = writer.shortened(data, position - start, pending, scope)
        position += start
        count += plain + 1
        odd = next(elements_of(view, position, end, EXPLICIT, limits), None)
        if odd is None:
            return
        yield odd
        position = odd.end
    raise too_many("elements in a data set", limits.elements, position, 0)


def _splice(
    view: memoryview,
    start: int,
    found: Iterable[Element],
    writer: "_Writer",
    changes: Mapping[int, NewValue | None],
) -> None:
    """Write spans of the source, and the changes between; no group length of a changed group.

    An element that lacks its VR in an explicit data set is given one: it is broken otherwise.
    """
    left_out = {*changes, *(tag & 0xFFFF0000 for tag in changes)}
    pending, scope, form = _Pending(changes), Scope(), writer.form
    copied = stop = start
    for element in found:
        tag, vr, begin, _, _, stop = element
        bare = form.explicit and not vr
        if tag in left_out or bare or pending.first < tag:
            writer.add(view[copied:begin])
            pending.write_up_to(tag, writer)
            copied = stop if tag in left_out or bare else begin
            if bare and tag not in left_out:
                writer.element(view, element, form, scope, 0)
    writer.add(view[copied:stop])
    pending.write_up_to(_BEYOND, writer)


class _Pending:
    """The changes not yet written. ``first`` is the lowest tag among them."""

    def __init__(self, changes: Mapping[int, NewValue | None]) -> None:
        new = [(tag, value) for tag, value in changes.items() if value is not None]
        self._new = sorted(new, reverse=True)
        self.first = self._new[-1][0] if new else _BEYOND + 1
        self._touched = TELLING.union(changes)
        self._groups = frozenset(tag >> 16 for tag in self._touched)

    def concerns(self, group: int) -> bool:
        """Whether ``has`` may be true of an element of this group."""
        return group in self._groups or group >= self.first >> 16

    def has(self, tag: int) -> bool:
        """Whether this element is changed or tells of others, or a change is due before it."""
        return tag >= self.first or tag in self._touched

    def write_up_to(self, tag: int, writer: "_Writer") -> None:
        """Write the changes of all tags up to this one."""
        while self.first <= tag:
            writer.new(*self._new.pop())
            self.first = self._new[-1][0] if self._new else _BEYOND + 1


class _Writer:
    """Elements written in one form, gathered as pieces; long values are views of the source."""

    __slots__ = ("_done", "_gathered", "_limits", "form")

    def __init__(self, form: Form, limits: Limits) -> None:
        self.form = form
        self._limits = limits
        self._done: list[bytes | memoryview] = []
        self._gathered = bytearray()

    def pieces(self) -> list[bytes | memoryview]:
        """All that was written."""
        self._flush()
        return self._done

    def add(self, piece: memoryview) -> None:
        """Write bytes as they are."""
        if len(piece) > _LONG_VALUE:
            self._flush()
            self._done.append(piece)
        else:
            self._gathered += piece

    def _flush(self) -> None:
        if self._gathered:
            self._done.append(memoryview(self._gathered))
            self._gathered = bytearray()

    def shortened(
        self, data: bytearray, start: int, pending: "_Pending", scope: Scope
    ) -> tuple[int, int]:
        """Write elements of short VRs from ``start`` on as Implicit VR has them.

        Both kinds of head have eight bytes, so the lengths are put into ``data``, over the VRs.
        The position of the first element that is not plain, and how many were.
        """
        head, codes, put, position = _TAG_VR_LENGTH, _SHORT, _PUT_LENGTH, start
        last, count, passed, lowest, creators, watched = len(data), 0, -1, 0, 0, False
        while position + 8 <= last:
            group, number, code, length = head(data, position)
            if group != passed:
                passed, lowest, watched = group, _lowest_plain(group), pending.concerns(group)
                creators = 0x100 if group & 1 else 0
            stop = position + 8 + length
            if number < lowest or code not in codes or stop > last:
                break
            if watched and pending.has(group << 16 | number):
                break
            if number < creators:
                scope.note(group << 16 | number, data[position + 8 : stop])
            put(data, position + 4, length)
            position, count = stop, count + 1
        self._gathered += memoryview(data)[start:position]
        return position, count

    def element(
        self, data: memoryview, element: Element, form: Form, scope: Scope, depth: int
    ) -> None:
        """Write an element found in ``form``; a group length is left out."""
        tag, vr, _, value, length, stop = element
        if tag & 0xFFFF == 0:
            return
        if vr not in WIDTHS:
            vr = "UN" if vr else scope.vr_of(data, element)
        if length == UNDEFINED or vr == "SQ":
            self._structure(data, element._replace(vr=vr), form, scope, depth)
            return
        if tells(tag):
            scope.note(tag, data[value:stop], form.little)
        self._plain(tag, vr, data[value:stop], form.little)

    def new(self, tag: int, new: NewValue) -> None:
        """Write a changed element."""
        vr, value = new
        if len(value) & 1:
            value += b"\0" if vr in _PADDED_BY_ZERO else b" "
        if vr == "SQ" and self.form is not EXPLICIT:
            whole = Element(tag, vr, 0, 0, len(value), len(value))
            self._structure(memoryview(value), whole, EXPLICIT, Scope(), 0)
        else:
            self._plain(tag, vr, memoryview(value), True)

    def _plain(self, tag: int, vr: str, value: memoryview, little: bool) -> None:
        """One value; longer than a short VR's length can say, it becomes UN (6.2.2)."""
        order, length, width = self.form.little, len(value), WIDTHS.get(vr, 1)
        if length > _LONGEST_SHORT and self.form.explicit and vr in SHORT_VRS:
            vr, order = "UN", True
        self._head(tag, vr, length)
        self.add(memoryview(swapped(value, width)) if little != order and width > 1 else value)

    def _head(self, tag: int, vr: str, length: int) -> None:
        little, explicit = self.form.little, self.form.explicit
        group, number = tag >> 16, tag & 0xFFFF
        if not explicit or group == 0xFFFE:
            self._gathered += (_LE if little else _BE).pack(group, number, length)
        elif vr in SHORT_VRS:
            short = _SHORT_LE if little else _SHORT_BE
            self._gathered += short.pack(group, number, vr.encode(), length)
        else:
            long = _LONG_LE if little else _LONG_BE
            self._gathered += long.pack(group, number, vr.encode(), 0, length)

    def _structure(
        self, data: memoryview, element: Element, form: Form, scope: Scope, depth: int
    ) -> None:
        """A sequence, or what else has an undefined length."""
        tag, vr, start, value, length, stop = element
        if depth >= self._limits.depth:
            raise too_many("sequences within each other", self._limits.depth, start, tag)
        if length == UNDEFINED and is_fragments(tag, vr):
            self._fragments(tag, data[value:stop], start)
        elif vr == "UN" and self.form.explicit and _is_implicit(data, element, form):
            self._head(tag, vr, length)
            self.add(data[value:stop])
        elif length == UNDEFINED:
            self._head(tag, "SQ", UNDEFINED)
            self._items(data, element, form, scope, depth)
            self._head(SEQUENCE_DELIMITER, "", 0)
        else:
            inside = _Writer(self.form, self._limits)
            inside._items(data, element, form, scope, depth)
            self._take(tag, "SQ", inside)

    def _items(
        self, data: memoryview, element: Element, form: Form, scope: Scope, depth: int
    ) -> None:
        around = inner_form(data, element.value, element.vr, form)
        for _, value, stop, _, length in items_of(data, element, form, self._limits):
            inner, its_scope = item_form(data, value, stop, around), Scope(scope)
            writer = self if length == UNDEFINED else _Writer(self.form, self._limits)
            if length == UNDEFINED:
                self._head(ITEM, "", UNDEFINED)
            for part in elements_of(data, value, stop, inner, self._limits):
                writer.element(data, part, inner, its_scope, depth + 1)
            if length == UNDEFINED:
                self._head(ITEM_DELIMITER, "", 0)
            else:
                self._take(ITEM, "", writer)

    def _take(self, tag: int, vr: str, inside: "_Writer") -> None:
        """A head, and what was written elsewhere as its value."""
        pieces = inside.pieces()
        self._head(tag, vr, sum(map(len, pieces)))
        for piece in pieces:
            self.add(memoryview(piece))

    def _fragments(self, tag: int, value: memoryview, start: int) -> None:
        if self.form is not EXPLICIT:
            raise PermanentFailure(
                f"{name(tag)} at offset {start} is encapsulated, which only Explicit VR "
                "Little Endian can hold: decompress it, or leave it out"
            )
        self._head(tag, "OB", UNDEFINED)
        self.add(value)


def _lowest_plain(group: int) -> int:
    """The first element number of a group that is no group length; of a private one, a creator."""
    if not 8 <= group < PIXEL_DATA >> 16:
        return 0x10000
    return 0x10 if group & 1 else 1


def _is_implicit(data: memoryview, element: Element, form: Form) -> bool:
    """Whether a UN element's first item is Implicit VR Little Endian, as it should be (6.2.2)."""
    inner = inner_form(data, element.value, element.vr, form)
    return item_form(data, element.value + 8, element.end, inner) is IMPLICIT
