"""The DICOM JSON Model of a data set, written straight from its bytes (PS3.18 Annex F).

Group lengths and group 0002 are left out (F.2.2), Specific Character Set becomes ISO_IR 192
since JSON is UTF-8, a UN element whose VR the dictionaries know is given it where its value
fits (PS3.5 6.2.2). Values that are long, and pixels, become BulkDataURIs: their bytes are not
looked at.

Most elements of a study repeat from instance to instance. A ``JsonModel`` remembers the text of
the elements it met by their bytes, so that one dictionary look-up answers for them.
"""

from base64 import b64encode
from collections.abc import Callable, Collection, Container, Iterator, Mapping
from typing import Final, TypeAlias

from gateway.dataset.byte_order import WIDTHS, swapped
from gateway.dataset.dictionary import vr_of
from gateway.dataset.elements import Element, elements_of, items_of
from gateway.dataset.heads import (
    DEFAULT_LIMITS,
    PIXEL_DATA,
    UNDEFINED,
    Buffer,
    Form,
    Limits,
    MalformedDataSet,
    form_of,
    inner_form,
    is_fragments,
    item_form,
    too_many,
)
from gateway.dataset.json_memory import Memory, Texts
from gateway.dataset.json_values import quoted, value_text
from gateway.dataset.rewrite import NewValue
from gateway.dataset.scope import Scope, tells
from gateway.dataset.text import printable
from gateway.transfer_syntax import TransferSyntax
from gateway.value_representation import BINARY

BulkDataURI: TypeAlias = Callable[[str], str]
"""The URI of the value at a path such as "7FE00010" or "54000100/1/54001010"."""

CHARACTER_SET: Final = 0x00080005
UTF_8: Final = "ISO_IR 192"
PIXELS: Final = frozenset((PIXEL_DATA, 0x7FE00008, 0x7FE00009))
"""Pixel Data in all its kinds."""
INLINE_BINARY: Final = 1024
INLINE_TEXT: Final = 256 << 10
"""Longer values become BulkDataURIs: binary ones, and numbers and text."""

_NEVER_BULK: Final = frozenset(
    ("AE", "AS", "AT", "CS", "DA", "DT", "LO", "PN", "SH", "SQ", "TM", "UI", "UR")
)
WATCHED: Final = frozenset((0x0028, 0x0088, *range(0x6000, 0x6100, 2), 0x7FE0))
"""The groups that describe pixels, icons and overlays."""

_NOTHING_KNOWN: Final = Scope()
_LOOK: Final = 4096
_HEAD: Final = 65536
"""Bytes in which remembered elements are looked for."""
_LONGEST_CHARSETS: Final = 1024
_MOST_REMEMBERED: Final = 32 << 20
_MOST_MEMORIES: Final = 64
_LONGEST_REMEMBERED: Final = 8192


def to_json(
    data: Buffer,
    start: int,
    end: int,
    syntax: TransferSyntax,
    *,
    bulk: BulkDataURI | None = None,
    changes: Mapping[int, NewValue | None] | None = None,
    only: Collection[int] | None = None,
) -> bytes:
    """The DICOM JSON Model object of the data set in [start, end), in UTF-8.

    As ``JsonModel.attributes`` and ``json_object``, for a single data set.
    """
    return json_object(JsonModel().attributes(data, start, end, syntax, bulk, only), changes)


def json_object(
    attributes: Mapping[int, str], changes: Mapping[int, NewValue | None] | None = None
) -> bytes:
    """Attributes by tag as a DICOM JSON Model object in ascending order (F.2.2).

    ``changes`` are put in or, where they are None, left out; no sequences, no binary values.
    """
    texts = dict(attributes)
    for tag, new in (changes or {}).items():
        texts.pop(tag, None)
        if new is not None:
            texts[tag] = attribute(tag, new.vr, value_text(new.vr, new.value))
    return ("{" + ",".join([texts[tag] for tag in sorted(texts)]) + "}").encode(errors="replace")


def attribute(tag: int, vr: str, values: str) -> str:
    """One attribute object with its name; ``values`` is JSON text, "" for an empty one."""
    if not values:
        return f'"{tag:08X}":{{"vr":"{vr}"}}'
    return f'"{tag:08X}":{{"vr":"{vr}","Value":[{values}]}}'


def bulk_attribute(tag: int, vr: str, uri: str) -> str:
    """One attribute object with its name, whose value is elsewhere."""
    return f'"{tag:08X}":{{"vr":"{vr}","BulkDataURI":{quoted(uri)}}}'


class _Context:
    """The data set or item that is being written, and what the meaning of its bytes depends on.

    ``path`` stands before the tags of bulk data in it; ``charsets`` is (0008,0005) as it holds;
    ``head`` are the buffer's first bytes.
    """

    __slots__ = (
        "_parent",
        "_scope",
        "bulk",
        "charsets",
        "form",
        "head",
        "memory",
        "path",
        "span",
        "watched",
    )

    def __init__(
        self,
        span: tuple[int, int],
        form: Form,
        bulk: BulkDataURI | None,
        parent: "_Context | None" = None,
        path: str = "",
    ) -> None:
        self.span, self.form, self.bulk, self.path = span, form, bulk, path
        self._parent = parent
        self._scope: Scope | None = None
        self.watched: Container[int] = ()
        self.head: bytes = parent.head if parent else b""
        self.memory: Memory | None = None
        self.charsets: bytes = parent.charsets if parent else b""

    def scope(self, data: Buffer, limits: Limits) -> Scope:
        """What the VRs of elements without one depend on; looked for when it is asked for."""
        if self._scope is None:
            around = self._parent.scope(data, limits) if self._parent else None
            self._scope = Scope(around)
            for tag, _, _, value, _, stop in elements_of(data, *self.span, self.form, limits):
                if tells(tag):
                    self._scope.note(tag, data[value:stop], self.form.little)
        return self._scope


class JsonModel:
    """Writes data sets as JSON, and remembers the elements it met. For one thread at a time.

    ``inline_binary`` and ``inline_text``: bytes of the longest values that are not bulk data.
    """

    def __init__(
        self,
        *,
        inline_binary: int = INLINE_BINARY,
        inline_text: int = INLINE_TEXT,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._inline_binary, self._inline_text, self._limits = inline_binary, inline_text, limits
        self._memories: dict[tuple[bool, bool, bool, bool, bytes], Memory] = {}
        self._lookups = 0
        """How often something was asked for that is not in an element's own bytes."""

    def attributes(
        self,
        data: Buffer,
        start: int,
        end: int,
        syntax: TransferSyntax,
        bulk: BulkDataURI | None = None,
        only: Collection[int] | None = None,
        found: dict[int, Element] | None = None,
        damage: list[MalformedDataSet] | None = None,
    ) -> dict[int, str]:
        """The attribute objects of the data set in [start, end) by tag, each with its name.

        ``syntax`` is that of the bytes (not a deflated one). Without ``bulk`` all binary values
        stand inline, and pixels are left empty. ``only`` names the top-level tags wanted, None
        all. In ``found`` all elements of the groups ``WATCHED`` are put, and others, such as the
        one behind those of ``only``, which shows that no more of them follow.
        Raises MalformedDataSet; with ``damage`` it is put there, and what stands before is given.
        """
        self._forget()
        context = _Context((start, end), form_of(syntax), bulk)
        context.watched = () if found is None else WATCHED
        context.head = data if isinstance(data, bytes) else bytes(data[: start + _HEAD])
        texts: Texts = {}
        try:
            self._data_set(data, context, texts, 0, only, found)
        except MalformedDataSet as error:
            if damage is None:
                raise
            damage.append(error)
        return texts

    def _forget(self) -> None:
        """Begin anew where too much is remembered."""
        size = sum(memory.size for memory in self._memories.values())
        if size > _MOST_REMEMBERED or len(self._memories) > _MOST_MEMORIES:
            self._memories.clear()

    def _data_set(
        self,
        data: Buffer,
        context: _Context,
        texts: Texts,
        depth: int,
        only: Collection[int] | None = None,
        found: dict[int, Element] | None = None,
    ) -> None:
        if only is None:
            source = self._unknown(data, context, texts)
        else:
            source = _up_to(max(only, default=0), data, context, self._limits)
        for element in source:
            tag = element.tag
            if found is not None:
                found[tag] = element
            if tag == CHARACTER_SET:
                stop = min(element.end, element.value + _LONGEST_CHARSETS)
                context.charsets, context.memory = bytes(data[element.value : stop]), None
                texts[tag] = attribute(tag, "CS", f'"{UTF_8}"' if context.charsets.strip() else "")
            elif tag & 0xFFFF and tag >> 16 != 2 and (only is None or tag in only):
                texts[tag] = self._element(data, element, context, depth)

    def _unknown(self, data: Buffer, context: _Context, texts: Texts) -> Iterator[Element]:
        """The elements that are not remembered; the others are put into ``texts``.

        Those of ``watched`` groups come in any case.
        """
        (position, end), form, limits = context.span, context.form, self._limits
        watched, head = context.watched, context.head
        known_end = min(end, len(head))
        if not form.little:
            yield from elements_of(data, position, end, form, limits)
            return
        for _ in range(limits.elements + 1):
            memory = self._memory(context)
            position = memory.recall(head, position, known_end, form.explicit, watched, texts)
            for element in elements_of(data, position, end, form, limits):
                yield element
                position = element.end
                if element.tag >> 16 not in watched:
                    break
            else:
                return
        raise too_many("elements in a data set", limits.elements, position, 0)

    def _memory(self, context: _Context) -> Memory:
        """What is remembered of elements that mean the same as in this context."""
        if context.memory is None:
            form, watching = context.form, context.watched is WATCHED
            key = (form.explicit, form.little, context.bulk is None, watching, context.charsets)
            context.memory = self._memories.setdefault(key, Memory())
        return context.memory

    def _element(self, data: Buffer, element: Element, context: _Context, depth: int) -> str:
        start, stop = element.start, element.end
        if stop - start > _LONGEST_REMEMBERED:
            return self._written(data, element, context, depth)
        memory, key = self._memory(context), bytes(data[start:stop])
        if (text := memory.get(key)) is not None:
            return text
        before = self._lookups
        text = self._written(data, element, context, depth)
        if self._lookups == before:
            memory.put(key, text)
        return text

    def _written(self, data: Buffer, element: Element, context: _Context, depth: int) -> str:
        tag, vr, start, value, length, stop = element
        if vr not in WIDTHS or vr == "UN":
            vr = self._vr_of(data, element, context)
        if length == UNDEFINED and is_fragments(tag, vr):
            return self._bulk(tag, vr, context)
        if vr == "SQ":
            if depth >= self._limits.depth:
                raise too_many("sequences within each other", self._limits.depth, start, tag)
            return attribute(tag, "SQ", self._items(data, element, context, depth))
        if self._is_bulk(tag, vr, length, context):
            return self._bulk(tag, vr, context)
        raw, little = bytes(data[value:stop]), context.form.little or element.vr == "UN"
        if vr not in BINARY:
            return attribute(tag, vr, value_text(vr, raw, little, context.charsets))
        if not raw:
            return attribute(tag, vr, "")
        raw = raw if little else swapped(raw, WIDTHS[vr])
        return f'"{tag:08X}":{{"vr":"{vr}","InlineBinary":"{b64encode(raw).decode()}"}}'

    def _vr_of(self, data: Buffer, element: Element, context: _Context) -> str:
        """By the dictionaries; UN where they do not know it, or where the value does not fit."""
        tag, vr, _, value, length, stop = element
        if vr == "UN" and length == UNDEFINED:
            return "OB" if tag == PIXEL_DATA else "SQ"
        if tag & 0x10000 or len(vr_of(tag)) > 2:
            self._lookups += 1
            found = context.scope(data, self._limits).vr_of(data, element)
        else:
            found = _NOTHING_KNOWN.vr_of(data, element)
        if vr == "UN" and not _fits(found, data[value : min(stop, value + _LOOK)], length):
            return "UN"
        return found

    def _is_bulk(self, tag: int, vr: str, length: int, context: _Context) -> bool:
        if context.bulk is None or not length:
            return tag in PIXELS and bool(length)
        if vr in BINARY:
            return length > self._inline_binary or tag in PIXELS
        return length > self._inline_text and vr not in _NEVER_BULK

    def _bulk(self, tag: int, vr: str, context: _Context) -> str:
        if context.bulk is None:
            return attribute(tag, vr, "")
        self._lookups += 1
        return bulk_attribute(tag, vr, context.bulk(f"{context.path}{tag:08X}"))

    def _items(self, data: Buffer, element: Element, context: _Context, depth: int) -> str:
        around = inner_form(data, element.value, element.vr, context.form)
        written = []
        for number, item in enumerate(items_of(data, element, context.form, self._limits), 1):
            form = item_form(data, item.value, item.stop, around)
            path = f"{context.path}{element.tag:08X}/{number}/"
            inside = _Context((item.value, item.stop), form, context.bulk, context, path)
            texts: Texts = {}
            self._data_set(data, inside, texts, depth + 1)
            written.append("{" + ",".join([texts[tag] for tag in sorted(texts)]) + "}")
        return ",".join(written)


def _up_to(tag: int, data: Buffer, context: _Context, limits: Limits) -> Iterator[Element]:
    """The elements of no greater tag, as far as they stand in order, and the next one."""
    for element in elements_of(data, *context.span, context.form, limits, tag):
        yield element
        if element.tag > tag:
            return


def _fits(vr: str, value: Buffer, length: int) -> bool:
    """Whether a value that came as UN can be one of this VR, by its first bytes and length."""
    if vr in BINARY or vr == "SQ":
        return True
    return printable(bytes(value).rstrip(b" \0")) if WIDTHS[vr] == 1 else length % WIDTHS[vr] == 0
