"""All text of a data set in another Specific Character Set, or a refusal (PS3.3 C.12.1.1.2)."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from gateway.dataset.charset import encoded
from gateway.dataset.elements import Element
from gateway.dataset.heads import UNDEFINED, is_fragments, name
from gateway.dataset.rewrite import NewValue
from gateway.dataset.splice import InItems
from gateway.dataset.text import decoded_exactly, is_plain, terms_of
from gateway.failures import PermanentFailure
from gateway.tags.reading import CHARACTER_SET, DataSet
from gateway.value_representation import CHARSET_VRS

_ASCII: Final = ("", "ISO_IR 6")
"""What every character set can write as it is: the default repertoire."""
_EXTENDING: Final = "ISO 2022 "
_NEVER_FIRST: Final = frozenset(f"{_EXTENDING}IR {number}" for number in (58, 87, 149, 159))
"""Sets of several bytes a character: they extend another one, or the default repertoire."""


def readable(declared: str, wanted: Iterable[str]) -> bool:
    """Whether text under this Specific Character Set needs no other one.

    ``declared`` is its value, terms separated by a backslash. Text in the default repertoire is
    ASCII and the same everywhere.
    """
    terms = {term.strip() for term in declared.split("\\")}
    return terms <= {*_ASCII, *wanted}


def recode(data_set: DataSet, wanted: tuple[str, ...], made: dict[int, Any]) -> bytes | None:
    """Add to ``made`` what writes all text in the first of ``wanted`` that has every character.

    Text that is in one of them already stays as it is. Returns the Specific Character Set that
    text is written in then, None for as it is. Raises PermanentFailure where some text cannot be
    read or written exactly.
    """
    if _all_readable(data_set, wanted):
        return None
    reasons = []
    for target in _targets(wanted):
        tree: dict[int, Any] = {CHARACTER_SET: NewValue("CS", target)}
        try:
            _recode(data_set, target, tree)
        except PermanentFailure as failure:
            reasons.append(str(failure))
        else:
            made.update(tree)
            return target
    raise PermanentFailure("; ".join(reasons))


def _targets(wanted: tuple[str, ...]) -> Iterator[bytes]:
    """Values of Specific Character Set: a term that stands alone, or all with code extensions."""
    extending = [term for term in wanted if term.startswith(_EXTENDING)]
    for term in wanted:
        if term not in extending:
            yield term.encode()
        elif term == extending[0]:
            default = [""] if term in _NEVER_FIRST else []
            yield "\\".join((*default, *extending)).encode()


def _all_readable(data_set: DataSet, wanted: tuple[str, ...]) -> bool:
    """Also in items, which may have character sets of their own."""
    if not readable("\\".join(terms_of(data_set.charsets)), wanted):
        return False
    return all(
        _all_readable(item, wanted)
        for element in data_set.found.values()
        if _is_sequence(data_set, element)
        for item in data_set.items_of(element)
    )


def _is_sequence(data_set: DataSet, element: Element) -> bool:
    if element.length == UNDEFINED:
        return not is_fragments(element.tag, element.vr)
    return element.length > 0 and data_set.vr_of(element) == "SQ"


def _recode(data_set: DataSet, target: bytes, made: dict[int, Any]) -> None:
    for tag, element in data_set.found.items():
        if _is_sequence(data_set, element):
            trees: dict[int, Any] = {}
            for number, item in enumerate(data_set.items_of(element), 1):
                tree: dict[int, Any] = {CHARACTER_SET: None} if CHARACTER_SET in item.found else {}
                _recode(item, target, tree)
                if tree:
                    trees[number] = tree
            if trees:
                made[tag] = InItems(trees)
        elif (vr := data_set.vr_of(element)) in CHARSET_VRS:
            value = bytes(data_set.data[element.value : element.end])
            if not is_plain(value):
                made[tag] = NewValue(vr, _written(tag, vr, value, data_set.charsets, target))


def _written(tag: int, vr: str, value: bytes, charsets: bytes, target: bytes) -> bytes:
    try:
        return encoded(decoded_exactly(value.rstrip(b" \0"), charsets), target, vr)
    except ValueError as error:
        text = f"{name(tag)} cannot be written in {target.decode('latin-1')!a}: {error}"
        raise PermanentFailure(text) from error
