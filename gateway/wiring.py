"""The configuration as the settings of each stage, and its words for a port that is taken."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta, tzinfo
from zoneinfo import ZoneInfo

from gateway.config import Access, Config, Dimse, Listen, Node, Route
from gateway.config.tags import Tags
from gateway.deliver.backoff import SPREAD
from gateway.deliver.hours import LONGEST_CLOSED
from gateway.deliver.policy import Destination, RoutePolicy
from gateway.deliver.session import Sender
from gateway.deliver.store_scu import StoreScu, Target
from gateway.deliver.stow_client import StowClient
from gateway.failures import PermanentFailure, TemporaryFailure
from gateway.model import AS_RECEIVED, UID
from gateway.receive.fetch_rules import FetchRule
from gateway.receive.store_scp import ScpSettings
from gateway.rehearsal import reader_of
from gateway.serve.auth import AuthSettings, Gate
from gateway.serve.identity_provider import OidcSettings
from gateway.serve.serving import ServeSettings
from gateway.tags import Change, Secret
from gateway.tags.configured import configured
from gateway.transfer_syntax import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE
from gateway.web_client import OriginServer, ServerSettings, server_settings


def destinations(config: Config, servers: Mapping[str, OriginServer]) -> list[Destination]:
    """The nodes that instances can be sent to, by DIMSE or to one of ``servers`` by STOW-RS."""
    found = [
        _dimse_destination(name, node, node.dimse, config)
        if node.dimse is not None and node.send_by == "dimse"
        else _web_destination(name, node, servers[name])
        for name, node in config.nodes.items()
        if node.send_by == "dimse" or servers[name].settings.url
    ]
    return [replace(each, order=order_of(each.name, config)) for each in found]


def origin_servers(config: Config) -> dict[str, ServerSettings]:
    """The nodes that speak DICOMweb."""
    most = config.gateway.dicom.max_instance
    return {
        name: server_settings(name, node.dicomweb, max_instance=most)
        for name, node in config.nodes.items()
        if node.dicomweb is not None
    }


def zone(config: Config) -> tzinfo | None:
    """What "today" and time windows mean, None the machine's own time."""
    name = config.gateway.time_zone
    return None if name is None else ZoneInfo(name)


def fetch_rules(config: Config) -> list[FetchRule]:
    """What is fetched on a schedule."""
    return [
        FetchRule(
            name=rule.name,
            node=rule.from_,
            every=timedelta(seconds=rule.every),
            filter=rule.filter,
            by_series=rule.level == "series",
            during=rule.during,
        )
        for rule in config.fetch
    ]


def policies(config: Config) -> dict[str, RoutePolicy]:
    """How each route delivers."""
    place = zone(config)
    return {route.name: _policy(route, place) for route in config.routes}


def serve_settings(config: Config) -> ServeSettings:
    """How DICOMweb is served."""
    web = config.gateway.web
    return ServeSettings(
        root_url=web.root_url or "",
        max_body=web.max_body,
        max_expansion=web.max_expansion,
        max_instance=config.gateway.dicom.max_instance,
    )


def auth_settings(config: Config) -> AuthSettings:
    """Who may do what over HTTP."""
    web = config.gateway.web
    return AuthSettings(
        read=_gate(web.access("read")),
        store=_gate(web.access("store")),
        admin=_gate(web.access("admin")),
        health=_gate(web.access("health")),
    )


def _gate(access: Access) -> Gate:
    oidc = access.oidc
    return Gate(
        tokens_file=access.tokens_file,
        users_file=access.users_file,
        oidc=None
        if oidc is None
        else OidcSettings(
            issuer=oidc.issuer,
            audience=oidc.audience,
            jwks_url=oidc.jwks_url or "",
            scopes=tuple(oidc.scopes),
        ),
        certificate=access.client_certificate,
    )


def longest_retry(config: Config) -> timedelta:
    """No delivery is put off for longer, whichever route, known or not, it comes by."""
    waits = [RoutePolicy().retry_longest * (1 + SPREAD)]
    for route in config.routes:
        waits.append(timedelta(seconds=route.delivery.retry.longest) * (1 + SPREAD))
        waits.append(timedelta(days=LONGEST_CLOSED if route.delivery.during else 0))
        waits.append(timedelta(seconds=route.group.deadline if route.group else 0))
    return max(waits)


def _dimse_destination(name: str, node: Node, dimse: Dimse, config: Config) -> Destination:
    natives: tuple[UID, ...] = (EXPLICIT_LE, IMPLICIT_LE)
    if EXPLICIT_BE in (node.can_read.syntaxes or ()):
        natives += (EXPLICIT_BE,)
    target = Target(
        called_ae=dimse.ae_title,
        host=dimse.host,
        port=dimse.port,
        calling_ae=dimse.calling_ae or config.gateway.ae_title,
        natives=natives,
        connect_seconds=dimse.connect_timeout,
        associate_seconds=dimse.associate_timeout,
        response_seconds=dimse.response_timeout,
        max_pdu_length=config.gateway.dicom.max_pdu,
    )
    return _destination(name, node, StoreScu(target), dimse.max_associations)


def _web_destination(name: str, node: Node, server: OriginServer) -> Destination:
    return _destination(name, node, StowClient(server), server.settings.limits.parallel)


def _destination(name: str, node: Node, sender: Sender, at_once: int) -> Destination:
    return Destination(reader_of(name, node), sender, at_once)


def order_of(name: str, config: Config) -> str:
    """The one order that routes to a node ask for; what is switched off asks for none."""
    active = (route for route in config.routes if route.enabled and name in route.send_to)
    orders = (route.delivery.order for route in active)
    return next((order for order in orders if order != AS_RECEIVED), AS_RECEIVED)


def _policy(route: Route, place: tzinfo | None) -> RoutePolicy:
    delivery = route.delivery
    give_up_after = delivery.give_up_after
    return RoutePolicy(
        change=route.pixels.change,
        if_undecodable=route.pixels.if_undecodable,
        verify=route.pixels.verify,
        retry_first=timedelta(seconds=delivery.retry.first),
        retry_longest=timedelta(seconds=delivery.retry.longest),
        give_up_after=None if give_up_after is None else timedelta(seconds=give_up_after),
        during=delivery.during,
        zone=place,
        objects_per_s=delivery.objects_per_s,
        mbit_per_s=delivery.mbit_per_s,
        tags=_tags(route),
    )


def _tags(route: Route) -> tuple[Change, ...]:
    """What the route changes in attributes. Raises PermanentFailure that names the route."""
    if route.tags is None:
        return ()
    try:
        return configured(route.tags, _secret(route.tags))
    except ValueError as error:
        raise PermanentFailure(f"route {route.name}, tags: {error}") from error


def _secret(tags: Tags) -> Secret:
    if tags.key is not None:
        return Secret(tags.key.value.encode())
    if tags.key_file is None:
        return Secret()
    try:
        return Secret(tags.key_file.read_bytes().strip())
    except OSError as error:
        raise PermanentFailure(f"cannot read {tags.key_file}: {error.strerror}") from error


def scp_settings(config: Config) -> ScpSettings:
    dicom = config.gateway.dicom
    return ScpSettings(
        ae_title=config.gateway.ae_title,
        check_called_ae=dicom.check_called_ae,
        accept_from=dicom.accept_from or (),
        max_pdu_length=dicom.max_pdu,
        max_associations=dicom.max_associations,
        max_associations_per_peer=dicom.max_associations_per_peer,
        artim_seconds=dicom.artim_timeout,
        idle_seconds=dicom.idle_timeout,
        message_seconds=dicom.message_timeout,
        max_object=dicom.max_instance,
    )


@contextmanager
def named_port(setting: str, listen: Listen) -> Iterator[None]:
    """Say which port cannot be had, and why."""
    try:
        yield
    except OSError as error:
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else error.strerror or str(error)
        raise TemporaryFailure(
            f"cannot listen on {listen} ({setting}): {reason}. End what uses it, or change "
            "it in the configuration"
        ) from error
