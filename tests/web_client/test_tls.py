"""HTTPS towards origin servers: whom we trust, whom they trust."""

import ssl
from dataclasses import replace

import pytest
from aiohttp import web

from gateway.failures import TemporaryFailure
from gateway.web_client import OriginServer, Tls, Unanswered
from gateway.web_client.tls import context
from tests.serve.test_tls import certificate
from tests.web_client.origin import QUICK, FakeOrigin, study


class Secure:
    """An origin behind HTTPS; with ``trusted`` only who shows that certificate may ask."""

    def __init__(self, tmp_path, trusted=None):
        self.origin = FakeOrigin(study(2))
        self.file = certificate(tmp_path, "server")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.file)
        if trusted is not None:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(trusted)

    async def __aenter__(self):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.origin._answer)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0, ssl_context=self.context).start()
        self.url = f"https://localhost:{self.runner.addresses[0][1]}/dicom-web"
        return self

    async def __aexit__(self, *_):
        await self.runner.cleanup()

    async def list(self, tls):
        patience = replace(QUICK, attempts=1)
        settings = self.origin.settings(url=self.url, tls=tls, patience=patience)
        async with OriginServer(settings) as server:
            return await server.listed("1.2.3")


async def test_a_server_that_our_authority_vouches_for_is_asked(tmp_path):
    async with Secure(tmp_path) as server:
        assert len(await server.list(Tls(ca=server.file))) == 2


async def test_a_stranger_is_not_asked_and_the_reason_said(tmp_path):
    async with Secure(tmp_path) as server:
        with pytest.raises(Unanswered, match=r"certificate.*see tls"):
            await server.list(Tls())
    assert server.origin.requests == []


async def test_a_stranger_is_asked_where_nobody_wants_to_know(tmp_path):
    async with Secure(tmp_path) as server:
        assert len(await server.list(Tls(verify=False))) == 2


async def test_our_certificate_is_shown(tmp_path):
    ours = certificate(tmp_path, "client")
    async with Secure(tmp_path, trusted=ours) as server:
        assert len(await server.list(Tls(ca=server.file, certificate=ours))) == 2
        with pytest.raises(Unanswered):
            await server.list(Tls(ca=server.file))


async def test_files_that_cannot_be_used_are_named_and_read_again_with_the_next_try(tmp_path):
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    async with Secure(tmp_path) as server:
        with pytest.raises(TemporaryFailure, match=r"broken\.pem"):
            await server.list(Tls(ca=broken))
        with pytest.raises(TemporaryFailure, match=r"absent\.pem"):
            await server.list(Tls(ca=tmp_path / "absent.pem"))
        broken.write_bytes(server.file.read_bytes())
        assert len(await server.list(Tls(ca=broken))) == 2


def test_the_systems_trust_is_not_read_for_each_server():
    """It takes longer than many a server takes to its first byte."""
    assert context("origin", Tls()) is True
    assert isinstance(context("origin", Tls(verify=False)), ssl.SSLContext)
