"""The configuration: one YAML 1.2 file, read and checked as a whole."""

from gateway.config.effective import effective
from gateway.config.loader import load, load_text
from gateway.config.models import (
    CanRead,
    Config,
    DeliverySettings,
    Dicom,
    Dimse,
    GatewaySettings,
    Node,
    Pixels,
    Route,
    SpoolSettings,
    TranscodeSettings,
    Web,
    default_config,
)
from gateway.config.problems import ConfigError, Problem
from gateway.config.units import Retry
from gateway.config.values import Listen

__all__ = [
    "CanRead",
    "Config",
    "ConfigError",
    "DeliverySettings",
    "Dicom",
    "Dimse",
    "GatewaySettings",
    "Listen",
    "Node",
    "Pixels",
    "Problem",
    "Retry",
    "Route",
    "SpoolSettings",
    "TranscodeSettings",
    "Web",
    "default_config",
    "effective",
    "load",
    "load_text",
]
