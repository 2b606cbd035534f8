"""The rules, compiled once; header and origin to the deliveries that are owed.

Every route that takes an instance fires; their order decides nothing but which of two routes to
one destination is named in the ledger: the first in the file, whose ``pixels`` and ``delivery``
then hold. A missing or empty attribute meets no value.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from types import MappingProxyType
from typing import Final, TypeAlias

from gateway.config.dicom_names import TRANSFER_SYNTAX_UID, Attribute, find_attribute
from gateway.config.models import Config, Route
from gateway.config.predicates import ADDRESS, CALLED_AE, CALLING_AE, Match, Sender, comparable
from gateway.model import Arrival, Origin, Owed

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_NOTHING: Final[frozenset[str]] = frozenset()
_PADDING: Final = " \0"


@dataclass(frozen=True, slots=True)
class Decision:
    """To whom an instance is owed: one entry per destination, in the order of the routes.

    ``reasons`` says in short sentences what ``owed`` alone does not: that no route took the
    instance, or that a second route named a destination that already has it.
    """

    owed: tuple[Owed, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Met:
    """What one instance shows to the rules, in comparable form.

    ``node`` is the origin server that the instance was fetched from. ``values`` maps a keyword
    to the whole value and, where there are several, to each of them.
    """

    calling: str
    called: str
    address: Address | None
    node: str
    values: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class SenderRule:
    """One entry of ``from``: the AE title that has to be equal, or the network of the peer.

    For a ``node`` the title is its own, or, where the instance was fetched, the node's name that
    the fetch notes as the calling side.
    """

    sender: Sender
    calling: str = ""
    called: str = ""
    network: Network | None = None
    node: str = ""

    def holds(self, met: Met) -> bool:
        """The instance came from this sender."""
        if self.network is not None:
            return met.address is not None and met.address in self.network
        if self.called:
            return self.called == met.called
        return met.node == self.node if met.node else met.calling == self.calling != ""


@dataclass(frozen=True, slots=True)
class ValueRule:
    """One attribute of ``match`` or ``unless``, and the values of which one must be met."""

    keyword: str
    wanted: frozenset[str]

    def holds(self, met: Met) -> bool:
        """The attribute has one of the values."""
        return not self.wanted.isdisjoint(met.values.get(self.keyword, _NOTHING))


@dataclass(frozen=True, slots=True)
class RouteRule:
    """One route, compiled."""

    route: Route
    senders: tuple[SenderRule, ...]
    match: tuple[ValueRule, ...]
    unless: tuple[ValueRule, ...]
    owed: tuple[Owed, ...]
    calling: frozenset[str]
    called: frozenset[str]
    networks: tuple[Network, ...]
    nodes: frozenset[str]

    def takes(self, met: Met) -> bool:
        """One sender holds, all of ``match`` hold, and not all of ``unless``."""
        values = met.values
        for rule in self.match:
            if rule.wanted.isdisjoint(values.get(rule.keyword, _NOTHING)):
                return False
        if not self.comes_from(met):
            return False
        for rule in self.unless:
            if rule.wanted.isdisjoint(values.get(rule.keyword, _NOTHING)):
                return True
        return not self.unless

    def comes_from(self, met: Met) -> bool:
        """There is no ``from``, or one of its senders holds."""
        if not self.senders or met.called in self.called:
            return True
        if met.node in self.nodes if met.node else met.calling in self.calling:
            return True
        address = met.address
        return address is not None and any(address in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class Rules:
    """All routes, compiled. ``tags`` maps the tags that the rules read to their keywords.

    Transfer Syntax UID is not among ``tags``, for it is not part of the data set: the header
    given to ``route`` holds it under ``TransferSyntaxUID`` all the same.
    """

    routes: tuple[RouteRule, ...]
    tags: Mapping[int, str]
    attributes: tuple[Attribute, ...] = field(default=(), repr=False)

    def route(self, header: Mapping[str, str], origin: Origin) -> Decision:
        """The deliveries that an instance with this header (keyword -> text) is owed."""
        met = self.meet(header, origin)
        owed: dict[str, Owed] = {}
        reasons: list[str] = []
        for rule in self.routes:
            if not rule.takes(met):
                continue
            for each in rule.owed:
                first = owed.setdefault(each.destination, each)
                if first is not each:
                    reasons.append(_second(first, each))
        if not owed:
            reasons.append("no route takes it")
        return Decision(tuple(owed.values()), tuple(reasons))

    def meet(self, header: Mapping[str, str], origin: Origin) -> Met:
        """Header and origin in the form in which they are compared with the rules."""
        values = {}
        for attribute in self.attributes:
            text = header.get(attribute.keyword, "")
            if text:
                values[attribute.keyword] = _values(attribute, text)
        name = origin.calling.strip(_PADDING)
        fetched = origin.arrival is Arrival.WADO_RS
        return Met(
            calling="" if fetched else name,
            called=origin.called.strip(_PADDING),
            address=_address(origin.address),
            node=name if fetched else "",
            values=values,
        )


def compile_rules(config: Config) -> Rules:
    """The rules of a configuration; raises KeyError for a node that it does not have."""
    keywords = sorted({key for route in config.routes for key in (*route.match, *route.unless)})
    attributes = tuple(map(find_attribute, keywords))
    tags = {each.tag: each.keyword for each in attributes if each.keyword != TRANSFER_SYNTAX_UID}
    routes = tuple(_compile(route, config) for route in config.routes)
    return Rules(routes, MappingProxyType(dict(sorted(tags.items()))), attributes)


def _compile(route: Route, config: Config) -> RouteRule:
    for destination in route.send_to:
        _ = config.nodes[destination]
    senders = tuple(_sender(sender, config) for sender in route.from_)
    return RouteRule(
        route,
        senders,
        _value_rules(route.match),
        _value_rules(route.unless),
        owed=tuple(Owed(destination, route.name) for destination in route.send_to),
        calling=frozenset(each.calling for each in senders if each.calling),
        called=frozenset(each.called for each in senders if each.called),
        networks=tuple(each.network for each in senders if each.network is not None),
        nodes=frozenset(each.node for each in senders if each.node),
    )


def _sender(sender: Sender, config: Config) -> SenderRule:
    match sender.kind:
        case kind if kind == CALLING_AE:
            return SenderRule(sender, calling=sender.value)
        case kind if kind == CALLED_AE:
            return SenderRule(sender, called=sender.value)
        case kind if kind == ADDRESS:
            return SenderRule(sender, network=ip_network(sender.value))
        case _:
            dimse = config.nodes[sender.value].dimse
            title = "" if dimse is None else dimse.ae_title
            return SenderRule(sender, calling=title, node=sender.value)


def _value_rules(match: Match) -> tuple[ValueRule, ...]:
    return tuple(ValueRule(keyword, frozenset(values)) for keyword, values in match.items())


def _values(attribute: Attribute, text: str) -> frozenset[str]:
    whole = comparable(attribute, text)
    parts: Iterable[str] = whole.split("\\") if attribute.multi_valued else ()
    return frozenset((whole, *parts)) - {""}


def _address(text: str) -> Address | None:
    """The peer's address; IPv4 where it came as IPv6-mapped IPv4, None where it is none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _second(first: Owed, second: Owed) -> str:
    return f"{second.destination} is owed by route {first.route}; {second.route} adds nothing"
