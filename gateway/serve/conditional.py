"""Conditional requests: what a client has already is not sent again (RFC 9110 §13)."""

import hashlib
from collections.abc import Iterable
from typing import Final

from aiohttp import web
from aiohttp.helpers import ETAG_ANY

from gateway import __version__
from gateway.model import Instance
from gateway.transcode.decoders import versions

_VARY: Final = "Accept, Authorization"


def tag_of(instances: Iterable[Instance], *variant: str) -> str:
    """An entity tag that changes with any of the instances, with the form they are sent in, and
    with the versions of what makes that form: the gateway and its decoders.
    """
    digest = hashlib.sha256("\0".join((__version__, *versions(), *variant)).encode())
    for instance in instances:
        digest.update(b"%d %d\n" % (instance.spool_id, instance.received_at.timestamp() * 1e6))
    return digest.hexdigest()[:32]


def headers_of(tag: str) -> dict[str, str]:
    """What goes with an answer so that it can be asked for conditionally."""
    return {"ETag": f'"{tag}"', "Cache-Control": "private, no-cache", "Vary": _VARY}


def check_unchanged(request: web.Request, tag: str) -> None:
    """Raise HTTPNotModified where the client says that it has this very form of it."""
    known = request.if_none_match or ()
    if any(each.value in (tag, ETAG_ANY) for each in known):
        raise web.HTTPNotModified(headers=headers_of(tag))
