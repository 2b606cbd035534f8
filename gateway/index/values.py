"""The values of an attribute in a header, by its path through sequences, as texts."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.index.record import as_text


def values_at(texts: Mapping[int, str], path: Sequence[int]) -> list[str]:
    """The values at ``path`` in any of the items on the way; () where there are none."""
    text = texts.get(path[0], "")
    if not text:
        return []
    (attribute,) = json.loads("{" + text + "}").values()
    return [found for found in map(as_text, _walk(attribute, path[1:])) if found]


def _walk(attribute: Mapping[str, Any], path: Sequence[int]) -> Iterator[Any]:
    for value in attribute.get("Value", []):
        if not path:
            yield value
        elif isinstance(value, dict):
            yield from _walk(value.get(f"{path[0]:08X}", {}), path[1:])
