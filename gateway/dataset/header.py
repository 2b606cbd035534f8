"""The few attributes of an instance that routes, ledger and logs read, as text.

Only the file's beginning is looked at: the walk ends at the first element beyond the highest
wanted tag, and of a deflated data set only so much is inflated.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from gateway.dataset.beginning import beginning, first_look
from gateway.dataset.dictionary import vr_of
from gateway.dataset.elements import Element, elements, item_syntax, items
from gateway.dataset.heads import DEFAULT_LIMITS, UNDEFINED, Buffer, Limits, MalformedDataSet
from gateway.dataset.inflate import inflated
from gateway.dataset.part10 import FileMeta, meta_elements, read_file_meta
from gateway.dataset.text import text_of
from gateway.dataset.wanted import Creators, Items, Plan
from gateway.transfer_syntax import BY_UID, DEFLATED, EXPLICIT_LE, TransferSyntax

_CHARACTER_SET: Final = 0x00080005
_PIXEL_REPRESENTATION: Final = 0x00280103
_FIRST_LOOK: Final = 65536


class _Known(NamedTuple):
    """What values depend on: Specific Character Set, and whether pixels have a sign."""

    charsets: bytes = b""
    signed: bool = False


_NOTHING_KNOWN: Final = _Known()


def read_header(file: Path, plan: Plan, limits: Limits = DEFAULT_LIMITS) -> dict[str, str]:
    """The wanted attributes of a Part 10 file that are present: keyword -> text.

    ``plan`` maps 0xGGGGEEEE to what is wanted there, the keyword as a rule; group 0002 may be
    among them. Values are joined by a backslash, also those of several items; padding is removed;
    bytes are "". Raises OSError, MalformedDataSet.
    """
    data, whole = first_look(file)
    if whole:
        return header_of(data, plan, limits)
    with suppress(MalformedDataSet):
        found, passed = _read(data, plan, limits)
        if passed:
            return found
    return header_of(beginning(file, max(plan, default=0), limits), plan, limits)


def header_of(data: Buffer, plan: Plan, limits: Limits = DEFAULT_LIMITS) -> dict[str, str]:
    """As ``read_header``, of a Part 10 file's bytes."""
    return _read(data, plan, limits)[0]


def _read(data: Buffer, plan: Plan, limits: Limits) -> tuple[dict[str, str], bool]:
    """What is wanted, and whether all of it was passed."""
    if not data:
        raise MalformedDataSet("the file is empty")
    meta = read_file_meta(data)
    found: dict[str, str] = {}
    if any(tag < 0x00030000 for tag in plan):
        for element in meta_elements(data):
            name = plan.get(element.tag)
            if isinstance(name, str):
                value = bytes(data[element.value : element.end])
                found[name] = text_of(element.vr, value)
    if meta.transfer_syntax == DEFLATED:
        return found | _deflated_texts(data, meta, plan, limits), True
    syntax = BY_UID.get(meta.transfer_syntax, BY_UID[EXPLICIT_LE])
    more, passed = texts(data, meta.dataset_offset, len(data), syntax, plan, limits)
    return found | more, passed


def texts(
    data: Buffer,
    start: int,
    end: int,
    syntax: TransferSyntax,
    plan: Plan,
    limits: Limits = DEFAULT_LIMITS,
    known: _Known = _NOTHING_KNOWN,
) -> tuple[dict[str, str], bool]:
    """({keyword: text} of what is wanted in [start, end), whether all of it was passed).

    The second is False where the data ended before an element beyond the highest wanted tag.
    """
    highest = max(plan, default=0)
    found: dict[str, str] = {}
    only = {_CHARACTER_SET, _PIXEL_REPRESENTATION, *plan}
    for element in elements(data, start, end, syntax, limits, highest, only):
        tag = element.tag
        if tag > highest:
            return found, True
        if tag in plan:
            name = plan[tag]
            if isinstance(name, str):
                found[name] = _text(data, element, syntax, limits, known)
            elif isinstance(name, Creators):
                plan = _block(plan, name, tag, _value(data, element, limits))
                only.update(plan)
            else:
                _add(found, _in_items(data, element, syntax, name, limits, known))
        if tag == _CHARACTER_SET:
            known = known._replace(charsets=_value(data, element, limits))
        elif tag == _PIXEL_REPRESENTATION:
            signed = _value(data, element, limits).strip(b"\0") == b"\1"
            known = known._replace(signed=signed)
    return found, False


def _block(plan: Plan, creators: Creators, tag: int, value: bytes) -> Plan:
    """The plan with the elements of a private block whose creator stands at ``tag``."""
    wanted = creators.blocks.get(value.decode("latin-1").strip(" \0"))
    if not wanted or tag & 0xFF00:
        return plan
    first = tag & 0xFFFF0000 | (tag & 0xFF) << 8
    return {**plan, **{first | element: each for element, each in wanted.items()}}


def _in_items(
    data: Buffer,
    element: Element,
    syntax: TransferSyntax,
    wanted: Items,
    limits: Limits,
    known: _Known,
) -> dict[str, str]:
    """What is wanted of a sequence; what is malformed inside it ends the search, no more."""
    found: dict[str, str] = {}
    count = 0
    if element.vr not in ("SQ", "UN", ""):
        return found
    try:
        for item in items(data, element, syntax, limits):
            count += 1
            if wanted.plan:
                inner = item_syntax(data, element, item, syntax)
                span = data, item.value, item.stop, inner
                _add(found, texts(*span, wanted.plan, limits, known)[0])
    except MalformedDataSet:
        pass
    if wanted.name and count:
        found[wanted.name] = str(count)
    return found


def _add(found: dict[str, str], more: Mapping[str, str]) -> None:
    """Values of one more item beside those of the items before it."""
    for name, text in more.items():
        if text:
            found[name] = f"{found[name]}\\{text}" if found.get(name) else text


def _value(data: Buffer, element: Element, limits: Limits) -> bytes:
    if element.length == UNDEFINED:
        return b""
    return bytes(data[element.value : min(element.end, element.value + limits.value)])


def _text(
    data: Buffer, element: Element, syntax: TransferSyntax, limits: Limits, known: _Known
) -> str:
    vr, little = element.vr, syntax.little_endian
    if vr in ("", "UN"):
        vr, little = vr_of(element.tag), little or vr == "UN"
    if vr.startswith("US or"):
        vr = "SS" if known.signed and "SS" in vr else "US"
    return text_of(vr[:2], _value(data, element, limits), little, known.charsets)


def _deflated_texts(data: Buffer, meta: FileMeta, plan: Plan, limits: Limits) -> dict[str, str]:
    """Inflate so much, and four times so much, until the highest wanted tag is passed."""
    plain, enough = bytearray(), _FIRST_LOOK
    syntax = BY_UID[EXPLICIT_LE]
    for piece in inflated(data, meta.dataset_offset, limits):
        plain += piece
        if len(plain) >= enough:
            try:
                found, passed = texts(plain, 0, len(plain), syntax, plan, limits)
            except MalformedDataSet:
                passed, found = False, {}
            if passed:
                return found
            enough *= 4
        if len(plain) > limits.header:
            raise MalformedDataSet(
                f"the deflated header is longer than {limits.header} bytes or malformed"
            )
    return texts(plain, 0, len(plain), syntax, plan, limits)[0]
