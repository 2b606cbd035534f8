"""``nodes.NAME.dicomweb``: a peer that speaks DICOMweb (PS3.18), and how to ask it."""

from pydantic import model_validator

from gateway.config.problems import Complaint, WrongValue
from gateway.config.readers import (
    Boolean,
    Count,
    File,
    RateOrUnlimited,
    Seconds,
    SecretText,
    Text,
    Url,
)
from gateway.config.section import Section


def given(section: Section, *names: str) -> list[str]:
    """Those of some keys that a section has a value for."""
    return [name for name in names if getattr(section, name) is not None]


def _one_of(section: Section, *names: str) -> None:
    """Exactly one of some keys; raises WrongValue at the second, or at the section."""
    found = given(section, *names)
    if len(found) > 1:
        text = f"{found[0]} and {found[1]} say the same twice; allowed: one of them"
        raise WrongValue([Complaint((found[1],), text, at_key=True)])
    if not found:
        raise ValueError(f"lacks one of the keys {', '.join(names)}")


def both_or_none(section: Section, *names: str) -> None:
    """All of some keys or none of them; raises WrongValue at the one that stands alone."""
    found = given(section, *names)
    lacking = [name for name in names if name not in found]
    if found and lacking:
        text = f"{found[0]} needs {lacking[0]} beside it"
        raise WrongValue([Complaint((found[0],), text, at_key=True)])


class Basic(Section):
    """User and password (RFC 7617)."""

    user: Text
    password: SecretText = None
    password_file: File = None

    @model_validator(mode="after")
    def _checked(self) -> "Basic":
        _one_of(self, "password", "password_file")
        return self


class OAuth2(Section):
    """Tokens from an authorization server, by client credentials (RFC 6749 §4.4)."""

    token_url: Url
    client_id: Text
    client_secret: SecretText = None
    client_secret_file: File = None
    scope: Text | None = None
    audience: Text | None = None

    @model_validator(mode="after")
    def _checked(self) -> "OAuth2":
        _one_of(self, "client_secret", "client_secret_file")
        return self


class OriginAuth(Section):
    """How the gateway proves to a peer who it is: one of these."""

    bearer: SecretText = None
    bearer_file: File = None
    basic: Basic | None = None
    oauth2: OAuth2 | None = None

    @model_validator(mode="after")
    def _checked(self) -> "OriginAuth":
        _one_of(self, "bearer", "bearer_file", "basic", "oauth2")
        return self


class ClientTls(Section):
    """TLS towards a peer: whom to trust beside the system's authorities, and our certificate."""

    ca: File = None
    certificate: File = None
    key: File = None
    verify: Boolean = True

    @model_validator(mode="after")
    def _checked(self) -> "ClientTls":
        both_or_none(self, "certificate", "key")
        return self


class DicomWeb(Section):
    """A node that speaks DICOMweb: QIDO-RS, WADO-RS and STOW-RS under ``url``.

    ``wado_uri`` stands in its place for a server that has WADO-URI only (PS3.18 §9): it gives
    single instances to who names them. ``max_connections`` are open at once;
    ``requests_per_second`` None: as many as it takes; ``mbit_per_s`` are the million bits a second
    that come and go at most. ``connect_timeout`` covers the connection with TLS,
    ``response_timeout`` each wait for bytes.
    """

    url: Url | None = None
    wado_uri: Url | None = None
    auth: OriginAuth | None = None
    tls: ClientTls = ClientTls()
    max_connections: Count = 4
    requests_per_second: RateOrUnlimited = None
    mbit_per_s: RateOrUnlimited = None
    connect_timeout: Seconds = 10.0
    response_timeout: Seconds = 120.0

    @model_validator(mode="after")
    def _checked(self) -> "DicomWeb":
        if self.url is None and self.wado_uri is None:
            raise ValueError("lacks the key url, or wado_uri for a server that has no other")
        if self.url is not None and self.wado_uri is not None:
            text = "wado_uri is for a server without url: where there is one, WADO-RS is asked"
            raise WrongValue([Complaint(("wado_uri",), text, at_key=True)])
        return self
