"""How an origin server is reached: address, credentials, TLS, limits and patience."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret, given as text or as a file whose content may be replaced at any time."""

    text: str = field(default="", repr=False)
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Basic:
    """A user's name and password (RFC 7617)."""

    user: str
    password: Secret


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token that is sent as it is (RFC 6750)."""

    token: Secret


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """OAuth 2.0 client credentials (RFC 6749 §4.4), exchanged for a token at ``token_url``.

    The secret goes into the Authorization header, or into the form where ``in_form`` says so.
    ``scope`` and ``audience`` are sent where they are not "".
    """

    token_url: str
    client_id: str
    secret: Secret
    scope: str = ""
    audience: str = ""
    in_form: bool = False


Credentials: TypeAlias = Basic | Bearer | ClientCredentials | None


@dataclass(frozen=True, slots=True)
class Tls:
    """Whom to trust, and the certificate to show, as PEM files.

    ``ca`` None trusts whom the system trusts. ``verify`` False trusts anybody.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    verify: bool = True


@dataclass(frozen=True, slots=True)
class Limits:
    """What is asked of a server at most. Rates are per second, None without limit.

    ``max_instance`` is the longest Part 10 file taken from it, in bytes.
    """

    parallel: int = 4
    requests: float | None = None
    bytes: float | None = None
    max_instance: int = 8 << 30


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds, and how often to try.

    ``first_byte`` bounds the wait for an answer once all was sent, ``between_bytes`` each stretch
    without progress in either direction. ``attempts`` counts all tries; between two of them are
    ``first_wait`` and up to ``longest_wait``, or what Retry-After says up to ``retry_after``.
    """

    connect: float = 10.0
    first_byte: float = 60.0
    between_bytes: float = 60.0
    attempts: int = 5
    first_wait: float = 0.5
    longest_wait: float = 30.0
    retry_after: float = 120.0


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """One origin server (PS3.18 §6.1).

    ``url`` is the DICOMweb root, under which ``/studies`` lies; "" where the server has none.
    ``wado_uri`` is the address of its URI service, "" where it has none. ``page`` is how many
    matches a search asks for at once.
    """

    name: str
    url: str = ""
    wado_uri: str = ""
    credentials: Credentials = None
    tls: Tls = field(default_factory=Tls)
    limits: Limits = field(default_factory=Limits)
    patience: Patience = field(default_factory=Patience)
    page: int = 200

    @property
    def host(self) -> str:
        """The host's name or address."""
        return urlsplit(self.url or self.wado_uri).hostname or ""
