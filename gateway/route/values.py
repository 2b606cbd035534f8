"""What one instance shows to the rules, comparable: header, origin, size and the time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any, Final, NamedTuple, TypeAlias

from gateway.config.conditions import PADDING, decimal, ordinal
from gateway.config.subjects import (
    ADDRESS,
    CALLED_AE,
    CALLING_AE,
    DAY,
    NAME,
    NUMBER,
    SIZE,
    Subject,
)
from gateway.model import Arrival, Origin

Address: TypeAlias = tuple[int, int]
"""The version of IP, and the address as a number."""


class Network(NamedTuple):
    """A network of addresses: those that have ``base`` under ``mask``."""

    version: int
    mask: int
    base: int

    def has(self, address: Address | None) -> bool:
        """The address lies in the network."""
        if address is None or address[0] != self.version:
            return False
        return address[1] & self.mask == self.base


def network_of(text: str) -> Network:
    """The network that a text such as 10.1.0.0/16 names."""
    network = ip_network(text)
    return Network(network.version, int(network.netmask), int(network.network_address))


_NAME_GROUPS: Final = 3


@dataclass(frozen=True, slots=True)
class Met:
    """What one instance shows to the rules, in comparable form.

    ``node`` is the origin server that the instance was fetched from. ``facts`` are the titles, the
    address and the size by the names that rules have for them. ``values`` maps a subject's key to
    the whole value and, where there are several, to each of them; ``header`` holds the texts as
    they came. ``now`` is in the gateway's time zone, as ``today`` is. None: the size or the time
    is not known, and nothing that asks for it holds.
    """

    calling: str
    called: str
    address: Address | None
    node: str
    facts: Mapping[str, str]
    values: Mapping[str, frozenset[str]]
    header: Mapping[str, str]
    origin: Origin
    size: int | None = None
    now: datetime | None = None
    today: date | None = None


def meet(
    subjects: Iterable[Subject],
    header: Mapping[str, str],
    origin: Origin,
    *,
    size: int | None,
    now: datetime | None,
    zone: tzinfo | None,
) -> Met:
    """Header and origin in the form in which they are compared with the rules."""
    name, called = origin.calling.strip(PADDING), origin.called.strip(PADDING)
    fetched = origin.arrival in (Arrival.WADO_RS, Arrival.UPSTREAM)
    calling, node = ("", name) if fetched else (name, "")
    local = None if now is None else now.astimezone(zone)
    facts = {
        CALLING_AE: calling,
        CALLED_AE: called,
        ADDRESS: origin.address,
        SIZE: "" if size is None else str(size),
    }
    values = {}
    for subject in subjects:
        key = subject.key
        if fact := facts.get(key):
            values[key] = frozenset((fact,))
        elif text := header.get(subject.source):
            values[key] = comparable(subject, text)
    return Met(
        calling=calling,
        called=called,
        address=_address(origin.address),
        node=node,
        facts=facts,
        values=values,
        header=header,
        origin=origin,
        size=size,
        now=local,
        today=None if local is None else local.date(),
    )


def comparable(subject: Subject, text: str) -> frozenset[str]:
    """A header's text as the values that it is compared by; empty where there are none.

    White space and NUL padding around each value is taken off; numbers get one spelling.
    """
    if not subject.multi_valued:
        return frozenset((text.strip(PADDING),)) - {""}
    values = [value.strip(PADDING) for value in text.split("\\")]
    if subject.kind == NUMBER:
        values = [decimal(value) or value for value in values]
    elif subject.kind == NAME:
        return _names(values, subject.component)
    elif subject.kind == DAY:
        values = [value.replace(".", "") for value in values]
    return frozenset(("\\".join(values), *values)) - {""}


def _names(values: Iterable[str], component: int) -> frozenset[str]:
    """Person names whole and by component group (PS3.5 §6.2.1), or one component of each."""
    found: set[str] = set()
    for value in values:
        groups = value.split("=")[:_NAME_GROUPS]
        if component < 0:
            found.update((value, *(group.rstrip("^ ") for group in groups)))
        else:
            found.update(_component(group, component) for group in groups)
    return frozenset(found - {""})


def _component(group: str, component: int) -> str:
    parts = group.split("^")
    return parts[component].strip(PADDING) if component < len(parts) else ""


@lru_cache(maxsize=1024)
def folded(values: frozenset[str]) -> tuple[str, ...]:
    """Values without their case."""
    return tuple(value.casefold() for value in values)


@lru_cache(maxsize=1024)
def places(kind: str, values: frozenset[str]) -> tuple[Any, ...]:
    """What values of a kind are ordered by, in this order, without those that have no place."""
    found = (ordinal(kind, value) for value in values)
    return tuple(sorted(place for place in found if place is not None))


@lru_cache(maxsize=1024)
def _address(text: str) -> Address | None:
    """The peer's address; IPv4 where it came as IPv6-mapped IPv4, None where it is none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    address = getattr(address, "ipv4_mapped", None) or address
    return address.version, int(address)
