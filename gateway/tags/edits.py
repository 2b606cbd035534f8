"""What changes make of one data set: the edits that ``dataset.splice`` writes. No I/O.

Every change reads the data set as it came. What cannot be written, by its VR, its length or the
character set, is refused with the reason: an instance is never sent half changed. No text quotes
a value.
"""

from typing import Any, Final

from gateway.dataset.elements import Element
from gateway.dataset.heads import name
from gateway.dataset.rewrite import NewValue
from gateway.dataset.splice import InItems
from gateway.failures import PermanentFailure
from gateway.model import Private, Step
from gateway.tags.allowed import SERIES, SOP_INSTANCE, STUDY, dictionary_vr
from gateway.tags.changes import (
    Change,
    Copy,
    Remove,
    Set,
    TagChanges,
    TagPath,
    Template,
)
from gateway.tags.reading import DataSet
from gateway.tags.recode import recode
from gateway.tags.results import result
from gateway.tags.values import value_of
from gateway.value_representation import check

Tree = dict[int, Any]
"""Edits while they are made: NewValue, None, or InItems whose items are trees."""

_MUST: Final = (STUDY, SERIES, SOP_INSTANCE)


def edits(wanted: TagChanges, data_set: DataSet) -> Tree:
    """The edits to a whole data set, {} where nothing changes.

    Raises PermanentFailure with the reason for which it cannot be changed as is wanted.
    """
    made: Tree = {}
    recoded = recode(data_set, wanted.charsets, made) if wanted.charsets else None
    for change in wanted.changes:
        try:
            _Work(change, data_set, recoded).apply(change.path, data_set, made)
        except ValueError as error:
            raise PermanentFailure(f"tags: {path_text(change.path)}: {error}") from error
    _check_uids(made)
    return made


def path_text(path: TagPath) -> str:
    """A path as the standard writes tags."""
    return ".".join(str(step) if isinstance(step, Private) else name(step) for step in path)


def new_uid(made: Tree) -> str:
    """The SOP Instance UID that these edits give, "" where they leave it."""
    new = made.get(SOP_INSTANCE)
    return new.value.decode("ascii") if isinstance(new, NewValue) else ""


def _check_uids(made: Tree) -> None:
    for tag in _MUST:
        new = made.get(tag)
        if not isinstance(new, NewValue):
            continue
        try:
            check("UI", new.value.decode("ascii"))
        except ValueError as error:
            raise PermanentFailure(f"tags: {name(tag)}: {error}") from error
        if not new.value:
            raise PermanentFailure(f"tags: {name(tag)}: it would be empty, no instance is without")


class _Work:
    """One change on its way through a data set and its items."""

    def __init__(self, change: Change, top: DataSet, recoded: bytes | None) -> None:
        self._change = change
        self._top = top
        self._recoded = recoded
        self._creates = isinstance(change, Set | Copy | Template)
        self._trail: list[tuple[Step, DataSet]] = []

    def apply(self, path: TagPath, here: DataSet, made: Tree) -> None:
        """Add what the change does below ``here`` to ``made``."""
        step, tag = path[0], here.tag_of(path[0])
        if len(path) > 1:
            self._enter(None if tag is None else here.found.get(tag), path, here, made)
            return
        if tag is None and self._creates and isinstance(step, Private):
            tag = _reserve(step, here, made)
        if tag is not None:
            self._change_element(tag, step, here, made)

    def _change_element(self, tag: int, step: Step, here: DataSet, made: Tree) -> None:
        element = here.found.get(tag)
        if isinstance(self._change, Remove):
            if element is not None:
                made[tag] = None
            return
        if element is None and not self._creates:
            return
        vr = self._vr(tag, step, here)
        values = here.texts(element, vr) if element else []
        new = result(self._change, vr, values, self._find)
        if new is not None:
            made[tag] = NewValue(vr, value_of(vr, new, self._charsets_of(here)))

    def _find(self, path: TagPath) -> list[str] | None:
        """The values at a path: in this item where it leads into it, else in the first that has
        them."""
        here = self._top
        for step, item in self._trail:
            if len(path) == 1 or path[0] != step:
                break
            here, path = item, path[1:]
        return here.find(path)

    def _charsets_of(self, here: DataSet) -> bytes:
        """An item may have a character set of its own, unless all text is written in another."""
        return here.charsets if self._recoded is None else self._recoded

    def _vr(self, tag: int, step: Step, here: DataSet) -> str:
        """The VR as the change says it, as the data set has it, or by the dictionaries."""
        element = here.found.get(tag)
        known = self._change.vr or dictionary_vr(step)
        if element is not None and (len(known) > 2 or known == "UN"):
            known = here.vr_of(element)
        elif len(known) > 2:
            known = here.scope.decide(tag, known, 2)
        if known == "UN":
            raise ValueError("its VR is unknown: say it, such as vr: LO")
        return known[:2]

    def _enter(self, element: Element | None, path: TagPath, here: DataSet, made: Tree) -> None:
        """Into all items that are there. None is made: it would lack what else it must have."""
        if element is None:
            return
        tag = element.tag
        below: InItems = made.get(tag) or InItems({})
        trees: dict[int, Any] = dict(below.items)
        for number, item in enumerate(here.items_of(element), 1):
            self._trail.append((path[0], item))
            self.apply(path[1:], item, trees.setdefault(number, {}))
            self._trail.pop()
        trees = {number: tree for number, tree in trees.items() if tree}
        if trees:
            made[tag] = InItems(trees)


def _reserve(step: Private, here: DataSet, made: Tree) -> int:
    """The tag of a private element in a block that is reserved for it now (PS3.5 7.8.1)."""
    first = step.group << 16
    taken = {*here.found, *made}
    for number in range(0x10, 0x100):
        creator = made.get(first | number)
        if isinstance(creator, NewValue) and creator.value == step.creator.encode():
            return first | number << 8 | step.element
    used = {tag & 0xFF if tag & 0xFFFF < 0x100 else tag >> 8 & 0xFF
            for tag in taken if tag & 0xFFFF0000 == first}  # fmt: skip
    free = next((number for number in range(0x10, 0x100) if number not in used), None)
    if free is None:
        raise ValueError(f"group {step.group:04X} has no free private block")
    made[first | free] = NewValue("LO", step.creator.encode())
    return first | free << 8 | step.element
