"""The Native DICOM Model of a data set in XML, made from its JSON (PS3.19 Annex A.1).

Both models say the same (PS3.18 F.1); XML adds the keyword, and names private elements by their
creator, with 00 in the place of the block that the creator has reserved (PS3.5 7.8.1).
"""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from gateway.dataset.json_values import GROUPS

NAMESPACE: Final = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
COMPONENTS: Final = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
"""Of a person name's component group, in the order of PS3.5 6.2.1.1."""

_HEAD: Final = (
    f'<?xml version="1.0" encoding="UTF-8"?><NativeDicomModel xmlns="{NAMESPACE}" '
    'xml:space="preserve">'
)
_UNKNOWN: Final = "\N{REPLACEMENT CHARACTER}"
_NOT_IN_XML: Final = {
    **dict.fromkeys((*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF), _UNKNOWN),
    **dict.fromkeys(range(0xD800, 0xE000), _UNKNOWN),
}
"""What no XML 1.0 document can hold (XML 2.2)."""


def to_xml(json_object: bytes) -> bytes:
    """The XML document, in UTF-8, of one DICOM JSON Model object that ``json_model`` wrote."""
    attributes = json.loads(json_object, parse_float=str, parse_int=str)
    body = "".join(_data_set(attributes))
    return f"{_HEAD}{body}</NativeDicomModel>".encode(errors="replace")


def _data_set(attributes: Mapping[str, Any]) -> Iterator[str]:
    for tag, content in attributes.items():
        private = int(tag[3], 16) & 1 and int(tag[4:], 16) > 0xFF
        creator = _text_of(attributes.get(f"{tag[:4]}00{tag[4:6]}")) if private else ""
        name = f"{tag[:4]}00{tag[6:]}" if creator else tag
        yield f'<DicomAttribute tag="{name}" vr="{content["vr"]}"{_named(tag, creator)}>'
        yield from _content(content)
        yield "</DicomAttribute>"


def _text_of(creator: Mapping[str, Any] | None) -> str:
    values = creator.get("Value", [""]) if creator else [""]
    return values[0] if isinstance(values[0], str) else ""


def _named(tag: str, creator: str) -> str:
    if creator:
        return f" privateCreator={quoteattr(_clean(creator))}"
    keyword = _keyword(int(tag, 16))
    return f' keyword="{keyword}"' if keyword else ""


@lru_cache(maxsize=16384)
def _keyword(tag: int) -> str:
    from pydicom.datadict import keyword_for_tag

    return keyword_for_tag(tag)


def _content(content: Mapping[str, Any]) -> Iterator[str]:
    if "BulkDataURI" in content:
        yield f"<BulkData uri={quoteattr(_clean(content['BulkDataURI']))}/>"
    elif "InlineBinary" in content:
        yield f"<InlineBinary>{content['InlineBinary']}</InlineBinary>"
    for number, value in enumerate(content.get("Value", ()), 1):
        if content["vr"] == "SQ":
            yield f'<Item number="{number}">'
            yield from _data_set(value)
            yield "</Item>"
        elif content["vr"] == "PN":
            yield f'<PersonName number="{number}">{"".join(_person(value or {}))}</PersonName>'
        elif value is not None:
            yield f'<Value number="{number}">{_escaped(value)}</Value>'


def _person(groups: Mapping[str, str]) -> Iterator[str]:
    for name in GROUPS:
        if name in groups:
            components = groups[name].split("^", len(COMPONENTS) - 1)
            named = zip(COMPONENTS, components, strict=False)
            inside = (f"<{one}>{_escaped(text)}</{one}>" for one, text in named if text)
            yield f"<{name}>{''.join(inside)}</{name}>"


def _clean(text: str) -> str:
    return text.translate(_NOT_IN_XML) if not text.isprintable() else text


def _escaped(text: str) -> str:
    """As content: a carriage return would be read as a line feed (XML 2.11)."""
    return escape(_clean(text), {"\r": "&#13;"})
