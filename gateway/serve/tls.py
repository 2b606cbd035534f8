"""HTTPS for the web listener, with client certificates where they are asked for (RFC 8446)."""

import ssl
from pathlib import Path

from gateway.failures import PermanentFailure


def listener_context(
    certificate: Path, key: Path | None, client_ca: Path | None = None
) -> ssl.SSLContext:
    """TLS 1.2 or later by the chain in ``certificate``; ``key`` None: it is in the same file.

    With ``client_ca`` a client may show a certificate of that authority; whether it must is the
    gates' matter. Raises PermanentFailure that names the file.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise PermanentFailure(
            f"the certificate {certificate} with the key {key or certificate} cannot be used: "
            f"{_reason(error)}"
        ) from error
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except (OSError, ssl.SSLError) as error:
            text = f"the authority {client_ca} cannot be used: {_reason(error)}"
            raise PermanentFailure(text) from error
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _reason(error: OSError) -> str:
    return str(getattr(error, "reason", None) or error.strerror or error)
