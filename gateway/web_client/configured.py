"""A node's ``dicomweb:`` of the configuration as the settings of an origin server."""

from pathlib import Path

from gateway.config import DicomWeb, OriginAuth
from gateway.config import Secret as Written
from gateway.web_client.settings import (
    Basic,
    Bearer,
    ClientCredentials,
    Credentials,
    Limits,
    Patience,
    Secret,
    ServerSettings,
    Tls,
)


def server_settings(name: str, node: DicomWeb, *, max_instance: int) -> ServerSettings:
    """The settings for the node of that name; ``max_instance`` is the longest file taken."""
    return ServerSettings(
        name=name,
        url=node.url or "",
        wado_uri=node.wado_uri or "",
        credentials=_credentials(node.auth),
        tls=Tls(
            ca=node.tls.ca,
            certificate=node.tls.certificate,
            key=node.tls.key,
            verify=node.tls.verify,
        ),
        limits=Limits(
            parallel=node.max_connections,
            requests=node.requests_per_second,
            bytes=None if node.mbit_per_s is None else node.mbit_per_s * 1e6 / 8,
            max_instance=max_instance,
        ),
        patience=Patience(
            connect=node.connect_timeout,
            first_byte=node.response_timeout,
            between_bytes=node.response_timeout,
        ),
    )


def _credentials(auth: OriginAuth | None) -> Credentials:
    if auth is None:
        return None
    if auth.basic is not None:
        return Basic(auth.basic.user, _secret(auth.basic.password, auth.basic.password_file))
    if auth.oauth2 is not None:
        oauth2 = auth.oauth2
        return ClientCredentials(
            token_url=oauth2.token_url,
            client_id=oauth2.client_id,
            secret=_secret(oauth2.client_secret, oauth2.client_secret_file),
            scope=oauth2.scope or "",
            audience=oauth2.audience or "",
        )
    return Bearer(_secret(auth.bearer, auth.bearer_file))


def _secret(written: Written | None, file: Path | None) -> Secret:
    return Secret(file=file) if written is None else Secret(written.value)
