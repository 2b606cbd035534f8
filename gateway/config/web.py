"""``gateway.web`` and ``serve``: the HTTP listener, who may ask it what, and what it serves."""

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator

from gateway.config.problems import Complaint, WrongValue, shown
from gateway.config.readers import (
    Boolean,
    Bytes,
    File,
    Folder,
    Nodes,
    Origins,
    Place,
    Seconds,
    Text,
    Texts,
    Url,
    whole,
)
from gateway.config.section import Section
from gateway.config.values import Listen

KIB: Final = 1 << 10
GIB: Final = 1 << 30
NONE: Final = "none"

Group: TypeAlias = Literal["read", "store", "admin", "health"]
"""``read``: QIDO-RS, WADO-RS, WADO-URI. ``store``: STOW-RS. ``admin``: the status page, ``/api``
and DELETE. ``health``: health checks and metrics."""


class Oidc(Section):
    """Tokens of an identity provider (OpenID Connect): who issued them, and for whom.

    ``jwks_url`` None: the keys are where the issuer's discovery document says. ``scopes`` are
    those that a token has to carry.
    """

    issuer: Url
    jwks_url: Url | None = None
    audience: Text
    scopes: Texts = ()


class Access(Section):
    """Who may use a group of routes; one way of several is enough, and without any all may.

    ``tokens_file`` holds bearer tokens, one a line; ``users_file`` users with their passwords'
    hashes. ``client_certificate``: one that ``gateway.web.tls.client_ca`` has signed.
    """

    tokens_file: File = None
    users_file: File = None
    oidc: Oidc | None = None
    client_certificate: Boolean = False

    @property
    def open(self) -> bool:
        """Nobody is asked who they are."""
        ways = (self.tokens_file, self.users_file, self.oidc)
        return all(way is None for way in ways) and not self.client_certificate

    @model_validator(mode="before")
    @classmethod
    def _word(cls, value: Any) -> Any:
        if value == NONE:
            return {}
        if (isinstance(value, dict) and value) or isinstance(value, Access):
            return value
        ways = ", ".join(cls.model_fields)
        raise ValueError(f"{shown(value or None)} does not say who may; allowed: none, or {ways}")

    @model_serializer(mode="wrap")
    def _write(self, handler: SerializerFunctionWrapHandler) -> Any:
        return NONE if self.open else handler(self)


OPEN: Final = Access.model_construct()


class WebAuth(Section):
    """Who may use which routes; ``default`` stands for ``read``, ``store`` and ``admin``.

    Health checks and metrics are open unless ``health`` says otherwise.
    """

    default: Access
    read: Access | None = None
    store: Access | None = None
    admin: Access | None = None
    health: Access = OPEN


class ServerTls(Section):
    """HTTPS: certificate chain and key in PEM; ``client_ca`` signs the clients' certificates.

    ``key`` None: it stands in the certificate's file.
    """

    certificate: Folder
    key: File = None
    client_ca: File = None


class Cors(Section):
    """Which web pages may use the service from a browser; ``*`` all of them, () none."""

    origins: Origins = ()


class Web(Section):
    """The HTTP listener and its limits.

    ``root_url`` is how clients see the gateway (behind a proxy); without it answers hold relative
    references. ``max_body`` bounds a request's body, ``max_header`` its first line and each of
    its header fields, in bytes.
    ``max_expansion`` is how many times its size a compressed body may come to. ``idle_timeout``
    ends a connection without requests, sooner where ``max_connections`` are open;
    ``header_timeout`` one whose request's header is not there in time.
    """

    listen: Place = Listen("127.0.0.1", 8080)
    root_url: Url | None = None
    tls: ServerTls | None = None
    auth: WebAuth | None = None
    cors: Cors = Cors()
    max_body: Bytes = 8 * GIB
    max_header: Annotated[int, whole(4 * KIB, 1024 * KIB)] = 16 * KIB
    max_connections: Annotated[int, whole(8, 10_000)] = 256
    max_expansion: Annotated[int, whole(1, 100_000)] = 100
    idle_timeout: Seconds = 75.0
    header_timeout: Seconds = 10.0

    def access(self, group: Group) -> Access:
        """Who may use a group of routes."""
        if self.auth is None:
            return OPEN
        named: Access | None = getattr(self.auth, group)
        return self.auth.default if named is None else named

    @model_validator(mode="after")
    def _checked(self) -> "Web":
        if self.auth is None or (self.tls is not None and self.tls.client_ca is not None):
            return self
        for name in WebAuth.model_fields:
            access: Access | None = getattr(self.auth, name)
            if access is not None and access.client_certificate:
                text = "client_certificate needs gateway.web.tls.client_ca, which signs them"
                path = ("auth", name, "client_certificate")
                raise WrongValue([Complaint(path, text, at_key=True)])
        return self


class Serve(Section):
    """What is served over DICOMweb.

    ``upstream`` are nodes whose instances are served as if they were here, ``allow_delete``
    has DELETE remove instances from the spool.
    """

    enabled: Boolean = True
    upstream: Nodes = ()
    allow_delete: Boolean = False
