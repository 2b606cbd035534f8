"""By what name the gateway is called: on the loopback by none of another's (DNS rebinding).

A web page may have its own domain name resolve to 127.0.0.1, and then reads in its visitor's
browser what a gateway on that machine shows to everybody: for the browser it is the page's own
server. So where nobody is asked who they are, a request that came in over the loopback is
answered only if its Host is an address, ``localhost``, this machine's name, or that of the
configured root URL (a proxy that hands the public name on). Ports make no difference, and who
sends no Host is no browser.
"""

import socket
from collections.abc import Callable, Collection
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway import telemetry
from gateway.serve.auth import Keepers, group_of
from gateway.serve.problems import Problem

_LOCAL: Final = "localhost"


class Misdirected(Problem):
    """The request is for a server of another name (RFC 9110 15.5.20)."""

    status = 421


def by_own_name(keepers: Keepers, root_url: Callable[[], str]) -> Middleware:
    """The middleware that refuses what is asked of another name."""
    machine = socket.gethostname().lower()

    @lru_cache(8)
    def names(root: str) -> frozenset[str]:
        return frozenset((machine, (urlsplit(root).hostname or machine).lower()))

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        name = name_in(request.headers.get("Host", ""))
        if not is_own(name, names(root_url())):
            local = request.transport.get_extra_info("sockname") if request.transport else None
            if local and keepers[group_of(request)].open and is_loopback(str(local[0])):
                telemetry.note("request for another name refused", address=request.remote or "")
                raise Misdirected(
                    f"the Host {name[:80]!r} is no name of this gateway: gateway.web.root_url is "
                    "how a proxy's clients see it"
                )
        return await handler(request)

    return check


@lru_cache(64)
def is_loopback(address: str) -> bool:
    """Whether only this machine can have called that address."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.is_loopback


def name_in(host: str) -> str:
    """The name or address that a Host field holds, without its port and in lower case."""
    text = host.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].removesuffix(".")


def is_own(name: str, own: Collection[str]) -> bool:
    """Whether a name cannot be one that a stranger has had resolved to here."""
    own_or_local = name in own or name == _LOCAL or name.endswith(f".{_LOCAL}")
    return not name or own_or_local or _is_address(name)


@lru_cache(64)
def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
