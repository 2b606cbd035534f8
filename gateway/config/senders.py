"""``from``: whom a route takes instances from."""

from typing import Final, NamedTuple

from gateway.config.conditions import parse_network
from gateway.config.problems import allowed, shown, unexpected
from gateway.config.subjects import ADDRESS, CALLED_AE, CALLING_AE
from gateway.config.values import parse_ae_title, parse_node_name

NODE: Final = "node"
_PATTERNS: Final = (CALLING_AE, CALLED_AE, ADDRESS)
_FORMS: Final = "a node's name, calling_ae:TITLE, called_ae:TITLE, address:NETWORK"


class Sender(NamedTuple):
    """One entry of ``from``. ``kind`` is node, calling_ae, called_ae or address.

    A node stands for its AE title alone: what calls itself so, from any address. Where the
    address matters, ``address:`` says so. In titles ``*`` and ``?`` are wildcards.
    """

    kind: str
    value: str

    def __str__(self) -> str:
        return self.value if self.kind == NODE else f"{self.kind}:{self.value}"


def parse_sender(value: object) -> Sender:
    """A node's name or one of the patterns; raises ValueError."""
    if isinstance(value, Sender):
        return value
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _PATTERNS:
        name = next(iter(value))
        raise ValueError(f"'{name}: ...' is read as a mapping; write {name}:VALUE without a space")
    if not isinstance(value, str):
        raise unexpected("a sender", value, f"; allowed: {_FORMS}")
    kind, colon, what = value.partition(":")
    if not colon:
        return Sender(NODE, parse_node_name(value))
    if kind not in _PATTERNS:
        raise ValueError(f"{shown(kind)} is no kind of sender{allowed(_PATTERNS, kind)}")
    return Sender(kind, parse_network(what) if kind == ADDRESS else parse_ae_title(what))
