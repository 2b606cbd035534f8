"""The configuration: one YAML 1.2 file, read and checked as a whole."""

from gateway.config.dicomweb import Basic, ClientTls, DicomWeb, OAuth2, OriginAuth
from gateway.config.effective import effective
from gateway.config.fetching import Fetch
from gateway.config.loader import load, load_text
from gateway.config.models import (
    CanRead,
    Config,
    DeliverySettings,
    Dicom,
    Dimse,
    GatewaySettings,
    Group,
    Node,
    Pixels,
    Route,
    SpoolSettings,
    TranscodeSettings,
    default_config,
)
from gateway.config.problems import ConfigError, Problem
from gateway.config.secrets import Secret
from gateway.config.units import Retry
from gateway.config.values import Listen
from gateway.config.web import Access, Cors, Oidc, Serve, ServerTls, Web, WebAuth

__all__ = [
    "Access",
    "Basic",
    "CanRead",
    "ClientTls",
    "Config",
    "ConfigError",
    "Cors",
    "DeliverySettings",
    "Dicom",
    "DicomWeb",
    "Dimse",
    "Fetch",
    "GatewaySettings",
    "Group",
    "Listen",
    "Node",
    "OAuth2",
    "Oidc",
    "OriginAuth",
    "Pixels",
    "Problem",
    "Retry",
    "Route",
    "Secret",
    "Serve",
    "ServerTls",
    "SpoolSettings",
    "TranscodeSettings",
    "Web",
    "WebAuth",
    "default_config",
    "effective",
    "load",
    "load_text",
]
