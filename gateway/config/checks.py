"""What no single value can tell: names that are given twice or that name nothing.

Works on the raw values, so that these problems are seen together with all others.
"""

from collections.abc import Iterator
from typing import Any

from gateway.config.problems import Complaint, Path, allowed, closest, shown
from gateway.model import AS_RECEIVED, ORDERS


def check(data: dict[str, Any]) -> Iterator[Complaint]:
    """Problems between values; what has the wrong shape is left to the models."""
    found = data.get("nodes")
    nodes: dict[str, Any] = found if isinstance(found, dict) else {}
    for index, route in _mappings(data.get("routes")):
        for key in ("from", "send_to"):
            yield from _unknown_nodes(route.get(key), ("routes", index, key), nodes)
        for where, name in _entries(route.get("send_to"), ("routes", index, "send_to")):
            if _takes_nothing(nodes.get(name)):
                yield Complaint(where, f"nothing can be sent to {name}: it has WADO-URI only")
    yield from _orders(data)
    for index, rule in _mappings(data.get("fetch")):
        yield from _unable(rule.get("from"), ("fetch", index, "from"), nodes, "dicomweb")
    yield from _query_retrieve(data, nodes)
    serve = data.get("serve")
    if isinstance(serve, dict):
        yield from _unable(serve.get("upstream"), ("serve", "upstream"), nodes, "dicomweb")
    yield from _unknown_in_examples(data, nodes)
    for key, what in (
        ("routes", "route"),
        ("fetch", "fetch rule"),
        ("query_retrieve", "entry of query_retrieve"),
    ):
        yield from _repeated_names(data.get(key), key, what)
    yield from _shared_port(data.get("gateway"))


def _orders(data: dict[str, Any]) -> Iterator[Complaint]:
    """What waits for one node waits in one line; a route that is switched off does not count."""
    wanted: dict[str, tuple[str, str]] = {}
    for index, route in _mappings(data.get("routes")):
        delivery, name = route.get("delivery"), route.get("name")
        order = delivery.get("order") if isinstance(delivery, dict) else None
        if order not in ORDERS or order == AS_RECEIVED or not isinstance(name, str):
            continue
        if route.get("enabled") == "false":
            continue
        for _, node in _entries(route.get("send_to"), ()):
            first, other = wanted.setdefault(node, (order, name))
            if first != order:
                text = (
                    f"routes.delivery.order: what waits for {node} is sent {first}, as route"
                    f" {other} says, and cannot be sent {order} as well"
                )
                yield Complaint(("routes", index, "delivery", "order"), text)
                break


def _query_retrieve(data: dict[str, Any], nodes: dict[str, Any]) -> Iterator[Complaint]:
    """Peers that ask, and that C-MOVE sends to, speak DIMSE; one entry answers for a title.

    The source is asked by QIDO-RS and WADO-RS: the gateway finds and fetches in no other way.
    """
    gateway, taken = data.get("gateway"), dict[str, str]()
    own = gateway.get("ae_title") if isinstance(gateway, dict) else None
    for index, entry in _mappings(data.get("query_retrieve")):
        path: Path = ("query_retrieve", index)
        yield from _unable(entry.get("source"), (*path, "source"), nodes, "dicomweb")
        for key in ("allow", "move_to"):
            yield from _unable(entry.get(key), (*path, key), nodes, "dimse")
        title = entry.get("called_ae", own or "")
        if isinstance(title, str) and _named(entry):
            other = taken.setdefault(title.strip(), entry["name"])
            if other != entry["name"]:
                what = f"AE title {shown(title.strip())}" if title else "the gateway's AE title"
                text = f"{what} is answered for by {other}; give each entry its own called_ae"
                yield Complaint(path, f"query_retrieve: {text}")


def _unknown_in_examples(data: dict[str, Any], nodes: dict[str, Any]) -> Iterator[Complaint]:
    routes = {route["name"] for _, route in _mappings(data.get("routes")) if _named(route)}
    for index, example in _mappings(data.get("examples")):
        given, expect = example.get("given"), example.get("expect")
        if isinstance(given, dict) and isinstance(given.get("from"), str):
            yield from _unknown_nodes(given["from"], ("examples", index, "given", "from"), nodes)
        for route, sent in expect.items() if isinstance(expect, dict) else ():
            path: Path = ("examples", index, "expect", route)
            if route not in routes:
                text = f"{shown(route)} is no route{allowed(sorted(routes), route)}"
                yield Complaint(path, text, at_key=True)
            for name in sent if isinstance(sent, dict) else ():
                if name not in nodes:
                    yield Complaint((*path, name), _no_node(name, nodes, ""), at_key=True)
            yield from _unknown_nodes(sent, path, nodes)


def _named(route: dict[str, Any]) -> bool:
    return isinstance(route.get("name"), str)


def _mappings(value: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    for index, entry in enumerate(value if isinstance(value, list) else []):
        if isinstance(entry, dict):
            yield index, entry


def _unknown_nodes(value: Any, path: Path, nodes: dict[str, Any]) -> Iterator[Complaint]:
    for where, name in _entries(value, path):
        if name not in nodes and not (path[-1] == "from" and ":" in name):
            yield Complaint(where, _no_node(name, nodes, str(path[-1])))


def _unable(value: Any, path: Path, nodes: dict[str, Any], how: str) -> Iterator[Complaint]:
    """Nodes that are to be spoken with in a way that they do not have: dimse or dicomweb."""
    for where, name in _entries(value, path):
        if name not in nodes:
            yield Complaint(where, _no_node(name, nodes, ""))
        elif not _has(nodes[name], how):
            able = [each for each in nodes if _has(nodes[each], how)]
            what = f"{how}.url" if how in nodes[name] else how
            text = f"node {shown(name)} has no {what} to be asked by"
            yield Complaint(where, text + allowed(able))


def _has(node: Any, how: str) -> bool:
    """A node can be asked in a way; what has another shape is left to the models."""
    if not isinstance(node, dict):
        return True
    section = node.get(how)
    wado_uri_only = isinstance(section, dict) and "url" not in section and "wado_uri" in section
    return how in node and not wado_uri_only


def _takes_nothing(node: Any) -> bool:
    if not isinstance(node, dict) or "dicomweb" not in node or _has(node, "dicomweb"):
        return False
    return "dimse" not in node or node.get("send_by") == "dicomweb"


def _entries(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """The texts of a value or of a list of values, with their paths."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            if isinstance(entry, str):
                yield (*path, index), entry


def _no_node(value: str, nodes: dict[str, Any], key: str) -> str:
    text = f"{shown(value)} is no node; nodes: {', '.join(nodes) or 'none'}"
    owner = next((n for n in nodes if _ae_title(nodes[n]) == value.strip()), "")
    near = owner or closest(value, nodes)
    if near:
        return f"{text}; did you mean {near}?"
    return f"{text}; an AE title is written calling_ae:{value}" if key == "from" else text


def _ae_title(node: Any) -> str:
    dimse = node.get("dimse") if isinstance(node, dict) else None
    title = dimse.get("ae_title") if isinstance(dimse, dict) else None
    return title.strip() if isinstance(title, str) else ""


def _repeated_names(entries: Any, key: str, what: str) -> Iterator[Complaint]:
    seen: set[str] = set()
    for index, entry in _mappings(entries):
        name = entry.get("name")
        if not isinstance(name, str):
            continue
        if name in seen:
            text = f"the name {shown(name)} is taken by another {what}; names must differ"
            yield Complaint((key, index, "name"), text)
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
