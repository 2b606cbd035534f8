"""``from``: who sent an instance, asked of one sender and of all senders at once."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gateway.config.models import Config
from gateway.config.senders import Sender
from gateway.config.subjects import ADDRESS, CALLED_AE, CALLING_AE
from gateway.model import Arrival, Origin
from gateway.route.predicates import title_shape
from gateway.route.values import Met, Network, network_of


@dataclass(frozen=True, slots=True)
class SenderRule:
    """One entry of ``from``: the AE title that has to be equal, or the network of the peer.

    For a ``node`` the title is its own, or, where the instance was fetched, the node's name that
    the fetch notes as the calling side. ``shape`` stands in for a title with wildcards.
    """

    sender: Sender
    calling: str = ""
    called: str = ""
    network: Network | None = None
    node: str = ""
    shape: Callable[[str], bool] | None = None

    def holds(self, met: Met) -> bool:
        """The instance came from this sender."""
        if self.network is not None:
            return self.network.has(met.address)
        if self.shape is not None:
            return self.shape(met.called if self.called else met.calling)
        if self.called:
            return self.called == met.called
        return met.node == self.node if met.node else met.calling == self.calling != ""


def sender_rule(sender: Sender, config: Config) -> SenderRule:
    """One entry of ``from``, compiled."""
    value = sender.value
    if sender.kind == ADDRESS:
        return SenderRule(sender, network=network_of(value))
    if sender.kind not in (CALLING_AE, CALLED_AE):
        dimse = config.nodes[value].dimse
        return SenderRule(sender, calling="" if dimse is None else dimse.ae_title, node=value)
    shape = title_shape(value) if {"*", "?"} & set(value) else None
    if sender.kind == CALLED_AE:
        return SenderRule(sender, called=value, shape=shape)
    return SenderRule(sender, calling="" if shape else value, shape=shape)


def origin_of(config: Config, node: str, calling: str, called: str, address: str) -> Origin:
    """Where an instance comes from that nobody has sent, as a person says it, "" for not.

    What a ``node`` without an AE title has is fetched from it.
    """
    called = called or config.gateway.ae_title
    named = config.nodes.get(node)
    if named is not None and named.dimse is None:
        return Origin(Arrival.WADO_RS, node, called, address)
    title = "" if named is None or named.dimse is None else named.dimse.ae_title
    return Origin(Arrival.C_STORE, calling or title, called, address)


@dataclass(frozen=True, slots=True)
class Senders:
    """The routes, as bits, that take what each sender sends; ``anyone`` those without ``from``.

    Titles, nodes and the networks of one mask are looked up; ``shapes`` are tried.
    """

    anyone: int
    calling: Mapping[str, int]
    called: Mapping[str, int]
    nodes: Mapping[str, int]
    networks: Mapping[tuple[int, int], Mapping[int, int]]
    shapes: Sequence[tuple[SenderRule, int]]

    def routes(self, met: Met) -> int:
        """The routes of which one sender holds."""
        found = self.anyone | self.called.get(met.called, 0)
        found |= self.nodes.get(met.node, 0) if met.node else self.calling.get(met.calling, 0)
        if met.address is not None:
            of_peer, address = met.address
            for (version, mask), bases in self.networks.items():
                if version == of_peer:
                    found |= bases.get(address & mask, 0)
        for rule, asking in self.shapes:
            if asking & ~found and rule.holds(met):
                found |= asking
        return found


def index_senders(routes: Iterable[tuple[int, Sequence[SenderRule]]]) -> Senders:
    """The senders of all routes, given as (the route's bit, its senders)."""
    anyone = 0
    calling, called, nodes = (
        defaultdict[str, int](int),
        defaultdict[str, int](int),
        defaultdict[str, int](int),
    )
    networks: dict[tuple[int, int], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    shapes: dict[Sender, tuple[SenderRule, int]] = {}
    for bit, rules in routes:
        anyone |= 0 if rules else bit
        for rule in rules:
            if rule.network is not None:
                version, mask, base = rule.network
                networks[version, mask][base] |= bit
            elif rule.shape is not None:
                shapes[rule.sender] = rule, shapes.get(rule.sender, (rule, 0))[1] | bit
            elif rule.called:
                called[rule.called] |= bit
            else:
                nodes[rule.node] |= bit
                calling[rule.calling] |= bit
    calling.pop("", None)
    return Senders(anyone, calling, called, nodes, networks, tuple(shapes.values()))
