"""What no single value can tell: names that are given twice or that name nothing.

Works on the raw values, so that these problems are seen together with all others.
"""

from collections.abc import Iterator
from typing import Any

from gateway.config.problems import Complaint, Path, closest, shown


def check(data: dict[str, Any]) -> Iterator[Complaint]:
    """Problems between values; what has the wrong shape is left to the models."""
    nodes = data.get("nodes")
    names = list(nodes) if isinstance(nodes, dict) else []
    routes = data.get("routes")
    for index, route in enumerate(routes if isinstance(routes, list) else []):
        if isinstance(route, dict):
            yield from _unknown_nodes(route, ("routes", index), names, nodes)
    yield from _repeated_names(routes if isinstance(routes, list) else [])
    yield from _shared_port(data.get("gateway"))


def _unknown_nodes(
    route: dict[str, Any], path: Path, names: list[str], nodes: Any
) -> Iterator[Complaint]:
    for key in ("from", "send_to"):
        for where, value in _entries(route.get(key), (*path, key)):
            if value in names or (key == "from" and ":" in value):
                continue
            yield Complaint(where, _no_node(value, names, nodes, key))


def _entries(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """The texts of a value or of a list of values, with their paths."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            if isinstance(entry, str):
                yield (*path, index), entry


def _no_node(value: str, names: list[str], nodes: Any, key: str) -> str:
    text = f"{shown(value)} is no node; nodes: {', '.join(names) or 'none'}"
    owner = next((n for n in names if _ae_title(nodes[n]) == value.strip()), "")
    near = owner or closest(value, names)
    if near:
        return f"{text}; did you mean {near}?"
    return f"{text}; an AE title is written calling_ae:{value}" if key == "from" else text


def _ae_title(node: Any) -> str:
    dimse = node.get("dimse") if isinstance(node, dict) else None
    title = dimse.get("ae_title") if isinstance(dimse, dict) else None
    return title.strip() if isinstance(title, str) else ""


def _repeated_names(routes: list[Any]) -> Iterator[Complaint]:
    seen: set[str] = set()
    for index, route in enumerate(routes):
        name = route.get("name") if isinstance(route, dict) else None
        if not isinstance(name, str):
            continue
        if name in seen:
            text = f"the name {shown(name)} is taken by another route; names must differ"
            yield Complaint(("routes", index, "name"), text)
        seen.add(name)


def _shared_port(gateway: Any) -> Iterator[Complaint]:
    listens = [_listen(gateway, key) for key in ("dicom", "web")]
    if listens[0] and listens[0] == listens[1] and not str(listens[0]).endswith(":0"):
        text = f"{shown(listens[1])} is the place where gateway.dicom listens; ports must differ"
        yield Complaint(("gateway", "web", "listen"), text)


def _listen(gateway: Any, key: str) -> str:
    section = gateway.get(key) if isinstance(gateway, dict) else None
    listen = section.get("listen") if isinstance(section, dict) else None
    return listen.strip() if isinstance(listen, str) else ""
