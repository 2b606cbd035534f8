"""Credentials: what is sent, when it is read again, and that it is shown nowhere."""

import base64
from collections import deque
from urllib.parse import parse_qs

import pytest
from aiohttp import web

from gateway.failures import TemporaryFailure
from gateway.web_client import (
    Basic,
    Bearer,
    ClientCredentials,
    OriginServer,
    Refused,
    Secret,
)
from tests.web_client.origin import STUDY, status, study


async def ask(server):
    return await server.listed(STUDY)


def sent(origin):
    return [each.headers.get("Authorization", "") for each in origin.requests]


async def test_without_credentials_none_are_sent(origin):
    async with OriginServer(origin.settings()) as server:
        await ask(server)
    assert set(sent(origin)) == {""}


async def test_basic_credentials(origin):
    credentials = Basic("gw", Secret("s:e€cret"))
    async with OriginServer(origin.settings(credentials=credentials)) as server:
        await ask(server)
    assert base64.b64decode(sent(origin)[0].removeprefix("Basic ")) == "gw:s:e€cret".encode()


async def test_a_token_file_is_read_again_when_it_changes(origin, tmp_path):
    file = tmp_path / "token"
    file.write_text("first\n")
    async with OriginServer(
        origin.settings(credentials=Bearer(Secret(file=file)))
    ) as server:  # fmt: skip
        await ask(server)
        other = tmp_path / "new"
        other.write_text("second\n")
        other.replace(file)
        await ask(server)
    assert list(dict.fromkeys(sent(origin))) == ["Bearer first", "Bearer second"]


async def test_a_missing_token_file_is_said_and_no_request_is_made(origin, tmp_path):
    credentials = Bearer(Secret(file=tmp_path / "nothing"))
    async with OriginServer(origin.settings(credentials=credentials)) as server:
        with pytest.raises(TemporaryFailure, match="cannot be read"):
            await ask(server)
    assert origin.requests == []


def test_secrets_are_not_shown():
    assert "hidden" not in repr(Bearer(Secret("hidden")))
    assert "hidden" not in repr(ClientCredentials("http://x", "me", Secret("hidden")))


class Issuer:
    """A token endpoint beside an origin server; ``life`` is in seconds."""

    def __init__(self, origin, life=3600):
        self.origin, self.life, self.given = origin, life, 0
        self.forms = []
        self.answers = deque()
        self.valid = set()
        usual = origin.search

        async def guarded(request):
            if request.headers.get("Authorization") not in self.valid:
                return web.Response(status=401)
            return await usual(request)

        async def issue(request):
            self.forms.append((await request.text(), request.headers.get("Authorization", "")))
            if self.answers:
                return await self.answers.popleft()(request)
            self.given += 1
            self.valid = {f"Bearer token{self.given}"}
            answer = {"access_token": f"token{self.given}", "expires_in": self.life}
            return web.json_response(answer)

        origin.search, origin.store = guarded, issue

    def credentials(self, **facts):
        given = {"client_id": "gw", "secret": Secret("hid&den"), "scope": "dicom"}
        return ClientCredentials(f"http://127.0.0.1:{self.origin.port}/token", **(given | facts))


async def test_a_token_is_got_once_and_used_until_it_expires(origin):
    issuer = Issuer(origin)
    origin.instances = study(2)
    async with OriginServer(origin.settings(credentials=issuer.credentials())) as server:
        await ask(server)
        await ask(server)
    assert issuer.given == 1
    form, basic = issuer.forms[0]
    assert parse_qs(form) == {"grant_type": ["client_credentials"], "scope": ["dicom"]}
    assert base64.b64decode(basic.removeprefix("Basic ")) == b"gw:hid%26den"


async def test_the_secret_goes_into_the_form_where_that_is_wanted(origin):
    issuer = Issuer(origin)
    credentials = issuer.credentials(in_form=True, audience="https://pacs")
    async with OriginServer(origin.settings(credentials=credentials)) as server:
        await ask(server)
    form, basic = issuer.forms[0]
    assert parse_qs(form)["client_secret"] == ["hid&den"]
    assert parse_qs(form)["audience"] == ["https://pacs"]
    assert basic == ""


async def test_a_token_that_the_server_takes_no_more_is_renewed_once(origin):
    issuer = Issuer(origin)
    async with OriginServer(origin.settings(credentials=issuer.credentials())) as server:
        await ask(server)
        issuer.valid = {"Bearer token2"}
        await ask(server)
        assert issuer.given == 2
        origin.search = status(401)
        with pytest.raises(Refused, match="credentials"):
            await ask(server)
    assert issuer.given == 3


async def test_a_short_life_is_used_for_half_of_it_at_least(origin):
    issuer = Issuer(origin, life=20)
    async with OriginServer(origin.settings(credentials=issuer.credentials())) as server:
        await ask(server)
        await ask(server)
    assert issuer.given == 1


async def test_an_expired_token_is_replaced(origin):
    issuer = Issuer(origin, life=1e-9)
    async with OriginServer(origin.settings(credentials=issuer.credentials())) as server:
        await ask(server)
        await ask(server)
    assert issuer.given >= 2


async def test_a_refusing_token_endpoint_is_named_without_the_secret(origin):
    issuer = Issuer(origin)
    issuer.answers.append(status(400))
    async with OriginServer(origin.settings(credentials=issuer.credentials())) as server:
        with pytest.raises(Refused, match="token endpoint answered 400") as raised:
            await ask(server)
    assert "hid" not in str(raised.value)
