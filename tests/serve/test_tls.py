"""HTTPS over real sockets: certificates that serve, and those that are refused with their name."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.failures import PermanentFailure
from gateway.serve.auth import AuthSettings, Gate, Keepers, gatekeeping
from gateway.serve.tls import listener_context


def certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate for "localhost" with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{name}.pem"
    pem = serialization.Encoding.PEM
    file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(pem)
    )
    return file


async def _come_in(_: web.Request) -> web.Response:
    return web.Response(text="come in")


async def test_only_who_shows_a_certificate_of_the_authority_passes_its_gate(
    tmp_path: Path,
) -> None:
    server, client = certificate(tmp_path, "server"), certificate(tmp_path, "client")
    gates = AuthSettings(read=Gate(certificate=True))
    application = web.Application(middlewares=[gatekeeping(Keepers(gates))])
    application.router.add_get("/{path:.*}", _come_in)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    context = listener_context(server, None, client)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    url = f"https://localhost:{runner.addresses[0][1]}"
    stranger = ssl.create_default_context(cafile=str(server))
    known = ssl.create_default_context(cafile=str(server))
    known.load_cert_chain(client)
    found = []
    async with aiohttp.ClientSession() as session:
        for path, who in (
            ("/dicom-web/studies", stranger),
            ("/dicom-web/studies", known),
            ("/healthz", stranger),
        ):
            async with session.get(url + path, ssl=who) as response:
                found.append(response.status)
    await runner.cleanup()
    assert found == [401, 200, 200]


def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("hello")
    with pytest.raises(PermanentFailure, match=r"broken\.pem .* cannot be used"):
        listener_context(broken, None)
    with pytest.raises(PermanentFailure, match=r"missing\.pem .* No such file"):
        listener_context(tmp_path / "missing.pem", None)
    with pytest.raises(PermanentFailure, match=r"authority .*broken\.pem"):
        listener_context(certificate(tmp_path, "server"), None, broken)
