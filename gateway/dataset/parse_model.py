"""Metadata that a client sends, in JSON or XML, as one tree (PS3.18 Annex F, PS3.19 Annex A.1).

The tree is that of the DICOM JSON Model: tag -> {"vr", and "Value", "InlineBinary" or
"BulkDataURI"}. XML is read with a bare parser that refuses every DTD, so that there is nothing to
expand or to fetch; depth and size are limited before memory is used.
"""

import json
from collections.abc import Iterable
from typing import Any, Final, NoReturn, TypeAlias
from xml.parsers import expat

from gateway.dataset.heads import DEFAULT_LIMITS, Limits
from gateway.dataset.json_values import GROUPS
from gateway.dataset.xml_model import COMPONENTS
from gateway.failures import PermanentFailure

Model: TypeAlias = dict[str, Any]

LONGEST: Final = 16 << 20
"""Bytes of the longest metadata that are read."""
MOST_VALUES: Final = 2_500_000
"""Objects, arrays and values in them: as a tree each takes some hundred bytes."""
_LAST_NUMBER: Final = 1_000_000
_CREATORS: Final = range(0x10, 0x100)
_BY_CREATOR: Final = " of "


class InvalidMetadata(PermanentFailure):
    """What was sent is no DICOM JSON or Native DICOM Model; the text names the attribute."""


class Literal(str):
    """A JSON number with a fraction or exponent, by its digits."""

    __slots__ = ()


def parse_json(text: bytes) -> list[Model]:
    """The data sets in an application/dicom+json body: an array of objects, or one of them.

    Numbers with a fraction are ``Literal``. Raises InvalidMetadata.
    """
    _check_length(text)
    if sum(text.count(mark) for mark in (b"{", b"[", b",")) > MOST_VALUES:
        raise InvalidMetadata(f"the JSON has more than {MOST_VALUES} values")
    try:
        parsed = json.loads(
            text.decode("utf-8-sig"),
            object_pairs_hook=_object,
            parse_float=Literal,
            parse_constant=str,
        )
    except UnicodeDecodeError as error:
        raise InvalidMetadata(f"the JSON is not UTF-8 at offset {error.start}") from error
    except RecursionError as error:
        raise InvalidMetadata("the JSON is nested too deep") from error
    except ValueError as error:
        raise InvalidMetadata(f"the metadata are not JSON: {error}") from error
    models = parsed if isinstance(parsed, list) else [parsed]
    for number, model in enumerate(models, 1):
        if not isinstance(model, dict):
            raise InvalidMetadata(f"object {number} of the JSON array is no DICOM JSON object")
    return models


def _object(pairs: list[tuple[str, Any]]) -> Model:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidMetadata(f"{twice[:32]!r} stands twice in one object")
    return found


def _check_length(text: bytes) -> None:
    if len(text) > LONGEST:
        raise InvalidMetadata(
            f"the metadata have {len(text)} bytes; at most {LONGEST} are read at once"
        )


def parse_xml(text: bytes, limits: Limits = DEFAULT_LIMITS) -> Model:
    """The data set in an application/dicom+xml body. Raises InvalidMetadata."""
    _check_length(text)
    reader = _Reader(limits)
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _no_dtd
    parser.EntityDeclHandler = _no_dtd
    parser.ExternalEntityRefHandler = _no_dtd
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise InvalidMetadata(f"the metadata are not XML: {error}") from error
    except (LookupError, ValueError) as error:
        raise InvalidMetadata(f"the XML cannot be read: {error}") from error
    return reader.model


def _no_dtd(*_: object) -> NoReturn:
    raise InvalidMetadata("the XML has a document type declaration: none is read here")


class _Reader:
    """Builds the tree while the parser goes through the document."""

    def __init__(self, limits: Limits) -> None:
        self.model: Model = {}
        self._limits = limits
        self._open: list[tuple[str, Any, dict[str, str]]] = []
        self._words: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins: what it is depends on the one around it."""
        name = name.rpartition(" ")[2]
        around = self._open[-1][0] if self._open else ""
        if around not in _INSIDE.get(name, ()):
            raise InvalidMetadata(f"<{name[:40]}> stands in <{around or 'the document'}>")
        if len(self._open) > 2 * self._limits.depth + 8:
            raise InvalidMetadata("the XML is nested too deep")
        self._words = []
        made: Any = {} if name in _HOLDING else None
        if name == "DicomAttribute":
            made = {"vr": attributes.get("vr", "")}
        elif name == "NativeDicomModel":
            self.model = made
        self._open.append((name, made, attributes))

    def text(self, words: str) -> None:
        """Some of the text of the element that is open."""
        self._words.append(words)

    def end(self, _: str) -> None:
        """The open element ends: its content goes into the one around it."""
        name, made, attributes = self._open.pop()
        text, self._words = "".join(self._words), []
        around: Any = self._open[-1][1] if self._open else None
        if name == "DicomAttribute":
            _finish(made)
            _put_attribute(around, attributes, made)
        elif name in ("Value", "Item", "PersonName"):
            if name == "Item":
                _number_private(made)
            _put_value(around, attributes, text if name == "Value" else made)
        elif name == "BulkData":
            _put_once(around, "BulkDataURI", attributes.get("uri") or attributes.get("uuid", ""))
        elif name == "InlineBinary":
            _put_once(around, "InlineBinary", "".join(text.split()))
        elif name in COMPONENTS:
            around[name] = text
        elif name in GROUPS:
            parts = "^".join(made.get(each, "") for each in COMPONENTS)
            _put_once(around, name, parts.rstrip("^"))
        else:
            _number_private(self.model)


_INSIDE: Final[dict[str, Iterable[str]]] = {
    "NativeDicomModel": ("",),
    "DicomAttribute": ("NativeDicomModel", "Item"),
    **dict.fromkeys(
        ("Value", "Item", "PersonName", "BulkData", "InlineBinary"), ("DicomAttribute",)
    ),
    **dict.fromkeys(GROUPS, ("PersonName",)),
    **dict.fromkeys(COMPONENTS, GROUPS),
}
_HOLDING: Final = frozenset(("NativeDicomModel", "Item", "PersonName", *GROUPS))


def _put_once(around: Model, name: str, value: str) -> None:
    if name in around:
        raise InvalidMetadata(f"{name} stands twice in one element")
    around[name] = value


def _put_value(around: Model, attributes: dict[str, str], value: Any) -> None:
    """A value at its number; they may stand in any order, and empty ones be left out."""
    values = around.setdefault("Value", {})
    said = attributes.get("number", str(len(values) + 1))
    number = int(said) if said.isascii() and said.isdigit() and len(said) < 8 else 0
    if not 0 < number <= _LAST_NUMBER or number in values:
        raise InvalidMetadata(f"a value of number {said[:16]!r}: they count from 1, each once")
    values[number] = value


def _finish(attribute: Model) -> None:
    """Values by number become a list; those that are left out are null."""
    values = attribute.get("Value")
    if values is not None:
        if max(values) > 2 * len(values) + 1000:
            raise InvalidMetadata(f"{len(values)} values with numbers up to {max(values)}")
        attribute["Value"] = [values.get(number) for number in range(1, max(values) + 1)]


def _put_attribute(around: Model, attributes: dict[str, str], made: Model) -> None:
    tag, creator = attributes.get("tag", "").upper(), attributes.get("privateCreator", "")
    key = f"{tag}{_BY_CREATOR}{creator}" if creator and tag[4:6] == "00" else tag
    if key in around:
        raise InvalidMetadata(f"the attribute {tag[:16]!r} stands twice in one data set")
    around[key] = made


def _number_private(data_set: Model) -> None:
    """Give attributes that are named by their creator the block it has, or a free one (7.8.1)."""
    named = [key for key in data_set if _BY_CREATOR in key]
    for key in named:
        tag, _, creator = key.partition(_BY_CREATOR)
        block = _block_of(data_set, tag[:4], creator)
        whole = f"{tag[:4]}{block:02X}{tag[6:]}"
        if whole in data_set:
            raise InvalidMetadata(f"the attribute {whole} stands twice in one data set")
        data_set[whole] = data_set.pop(key)


def _block_of(data_set: Model, group: str, creator: str) -> int:
    free: int | None = None
    for block in _CREATORS:
        known = data_set.get(f"{group}00{block:02X}")
        if known is None:
            free = block if free is None else free
        elif known.get("Value") == [creator]:
            return block
    if free is None:
        raise InvalidMetadata(f"group {group[:4]!r} has no block left for {creator[:64]!r}")
    data_set[f"{group}00{free:02X}"] = {"vr": "LO", "Value": [creator]}
    return free
