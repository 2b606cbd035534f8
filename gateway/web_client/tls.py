"""The TLS context for requests to an origin server."""

import ssl
from typing import Literal

from gateway.failures import TemporaryFailure
from gateway.web_client.settings import Tls


def context(name: str, tls: Tls) -> ssl.SSLContext | Literal[True]:
    """TLS 1.2 or later with the node's trust and certificate, True for the system's trust alone.

    For that aiohttp has one at hand; reading all the system's certificates once more would keep
    the first request waiting. Raises TemporaryFailure, since it says nothing of any instance and
    the files are read again with the next try; blocks.
    """
    if tls == Tls():
        return True
    try:
        made = ssl.create_default_context(cafile=tls.ca)
        if tls.certificate is not None:
            made.load_cert_chain(tls.certificate, tls.key, password=_none)
    except (OSError, ValueError) as error:  # SSLError is an OSError
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise TemporaryFailure(
            f"{name}: its TLS files cannot be used ({tls.ca or tls.certificate}): {reason}"
        ) from None
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if not tls.verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def _none() -> bytes:
    """Never ask at the terminal for a key's password."""
    return b""
