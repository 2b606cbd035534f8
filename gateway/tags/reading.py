"""A data set or item as changes look at it: its elements, texts, items and private blocks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from gateway.dataset.elements import Element, elements, item_syntax, items
from gateway.dataset.heads import (
    DEFAULT_LIMITS,
    UNDEFINED,
    Buffer,
    MalformedDataSet,
    name,
    too_many,
)
from gateway.dataset.scope import Scope, tells
from gateway.dataset.text import text_of
from gateway.model import Private, Step
from gateway.tags.changes import TagPath
from gateway.transfer_syntax import TransferSyntax
from gateway.value_representation import ONE_VALUE

CHARACTER_SET: Final = 0x00080005
"""The VRs in which a backslash separates nothing (PS3.5 6.4)."""


@dataclass(slots=True)
class DataSet:
    """The elements of a data set or item, by tag; all offsets are those in ``data``.

    ``charsets`` is the value of Specific Character Set that holds here, ``depth`` the number of
    sequences around.
    """

    data: Buffer
    syntax: TransferSyntax
    charsets: bytes
    scope: Scope
    depth: int = 0
    found: dict[int, Element] = field(default_factory=dict)

    def vr_of(self, element: Element) -> str:
        """The VR as written, or by the dictionaries where that tells nothing."""
        if element.vr not in ("", "UN"):
            return element.vr
        return self.scope.vr_of(self.data, element)

    def raw(self, element: Element) -> bytes:
        """The value's bytes. Raises MalformedDataSet where it is too long to be held."""
        if element.length > DEFAULT_LIMITS.value:
            most = f"at most {DEFAULT_LIMITS.value} are read"
            raise MalformedDataSet(f"{name(element.tag)} has {element.length} bytes; {most}")
        return bytes(self.data[element.value : element.end])

    def texts(self, element: Element, vr: str) -> list[str]:
        """The values as text, none where the element is empty."""
        little = self.syntax.little_endian or element.vr == "UN"
        text = text_of(vr, self.raw(element), little, self.charsets)
        if vr in ONE_VALUE:
            return [text] if text else []
        return text.split("\\") if text else []

    def items_of(self, element: Element) -> Iterator["DataSet"]:
        """The items of a sequence, in their order. Raises MalformedDataSet."""
        if self.depth >= DEFAULT_LIMITS.depth:
            what = "sequences within each other"
            raise too_many(what, DEFAULT_LIMITS.depth, element.start, element.tag)
        for item in items(self.data, element, self.syntax):
            own = item_syntax(self.data, element, item, self.syntax)
            span = (item.value, item.stop)
            yield read(self.data, [span], own, self)

    def tag_of(self, step: Step) -> int | None:
        """Where a step leads; None where its creator has reserved no block here."""
        if isinstance(step, int):
            return step
        return next((tag for tag, creator in self.blocks(step) if creator == step.creator), None)

    def blocks(self, step: Private) -> Iterator[tuple[int, str]]:
        """(tag of the private element in this block, its creator) of all reserved blocks."""
        first = step.group << 16
        for number in range(0x10, 0x100):
            element = self.found.get(first | number)
            if element is not None:
                creator = "".join(self.texts(element, "LO")[:1]).strip()
                yield first | number << 8 | step.element, creator

    def find(self, path: TagPath) -> list[str] | None:
        """The values at a path, in the first item that has it; None where none has."""
        tag = self.tag_of(path[0])
        element = None if tag is None else self.found.get(tag)
        if element is None:
            return None
        if len(path) == 1:
            return self.texts(element, self.vr_of(element))
        there = (item.find(path[1:]) for item in self.items_of(element))
        return next((values for values in there if values is not None), None)


def read(
    data: Buffer,
    spans: Iterable[tuple[int, int]],
    syntax: TransferSyntax,
    around: DataSet | None = None,
) -> DataSet:
    """The elements in these spans of ``data``, which are one data set or item together.

    ``around`` is the data set that an item stands in. Raises MalformedDataSet.
    """
    made = DataSet(data, syntax, b"", Scope())
    if around is not None:
        made.charsets, made.scope = around.charsets, Scope(around.scope)
        made.depth = around.depth + 1
    for start, end in spans:
        for element in elements(data, start, end, syntax):
            made.found[element.tag] = element
            if tells(element.tag) and element.length != UNDEFINED:
                made.scope.note(element.tag, made.raw(element), syntax.little_endian)
    declared = made.found.get(CHARACTER_SET)
    if declared is not None:
        made.charsets = made.raw(declared)
    return made
