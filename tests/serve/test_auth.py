"""Gates over real HTTP: who passes, who does not, and what is said."""

import asyncio
import base64
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from structlog.testing import capture_logs

from gateway.failures import TemporaryFailure
from gateway.serve import auth
from gateway.serve.auth import (
    AuthSettings,
    Gate,
    Keepers,
    gatekeeping,
    password_line,
    password_matches,
)
from gateway.serve.identity_provider import IdentityProvider, OidcSettings
from gateway.serve.problems import problems

STUDIES = "/dicom-web/studies"


async def _said(_: web.Request) -> web.Response:
    return web.Response(text="come in")


@asynccontextmanager
async def running(application: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(application, access_log=None, lingering_time=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def guarded(settings: AuthSettings) -> AsyncIterator["Visitor"]:
    application = web.Application(middlewares=[problems, gatekeeping(Keepers(settings))])
    application.router.add_route("*", "/{path:.*}", _said)
    async with running(application) as url, aiohttp.ClientSession() as session:
        yield Visitor(url, session)


class Visitor:
    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    async def status(self, method: str, path: str, authorization: str = "") -> int:
        headers = {"Authorization": authorization} if authorization else {}
        async with self.session.request(method, self.url + path, headers=headers) as response:
            return response.status


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def test_where_no_gate_is_set_what_is_said_in_authorization_is_not_looked_at() -> None:
    async with guarded(AuthSettings()) as visitor:
        for said in ("", "Bearer None", "Basic !!!", "Nonsense"):
            assert await visitor.status("GET", STUDIES, said) == 200


async def test_each_group_of_resources_has_its_own_gate(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("read", "store", "admin", "health")}
    for name, file in files.items():
        file.write_text(f"# the token of {name}\n\n{name}-token\n")
    gates = {name: Gate(tokens_file=file) for name, file in files.items()}
    asked = {
        "read": [("GET", STUDIES), ("HEAD", STUDIES), ("GET", "/wado")],
        "store": [("POST", STUDIES), ("POST", f"{STUDIES}/1.2.3")],
        "admin": [("DELETE", f"{STUDIES}/1.2.3"), ("POST", "/api/fetch"), ("GET", "/")],
        "health": [("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics")],
    }
    async with guarded(AuthSettings(**gates)) as visitor:
        for name, requests in asked.items():
            for method, path in requests:
                for token in files:
                    status = await visitor.status(method, path, f"Bearer {token}-token")
                    assert (status == 200) == (token == name), (method, path, token)


async def test_a_path_that_only_looks_like_health_is_administration(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("secret")
    async with guarded(AuthSettings(admin=Gate(tokens_file=tokens))) as visitor:
        for path in ("/healthz/", "/metrics/../api", "/dicom-web", "/HEALTHZ"):
            assert await visitor.status("GET", path) == 401, path


async def test_a_refusal_names_the_methods_and_no_secret(tmp_path: Path) -> None:
    tokens, users = tmp_path / "tokens", tmp_path / "users"
    tokens.write_text("secret-token")
    users.write_text(password_line("ann", "secret-word"))
    gate = Gate(tokens_file=tokens, users_file=users)
    async with (
        guarded(AuthSettings(read=gate)) as visitor,
        visitor.session.get(visitor.url + STUDIES) as response,
    ):
        body = await response.text()
        assert response.status == 401
        challenges = response.headers.getall("WWW-Authenticate")
    assert [each.split(" ")[0] for each in challenges] == ["Bearer", "Basic"]
    assert "secret" not in body


async def test_passwords_pass_and_wrong_ones_do_not(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(f"{password_line('ann', 'käse:1')}\n{password_line('bob', 'x')}\n")
    async with guarded(AuthSettings(read=Gate(users_file=users))) as visitor:
        for user, word, passes in (
            ("ann", "käse:1", True),
            ("ann", "käse:1", True),
            ("ann", "x", False),
            ("bob", "x", True),
            ("eve", "x", False),
            ("", "", False),
        ):
            status = await visitor.status("GET", STUDIES, basic(user, word))
            assert (status == 200) == passes, (user, word)
        assert await visitor.status("GET", STUDIES, "Basic ann:x") == 401


def test_a_password_line_holds_no_password() -> None:
    line = password_line("ann", "secret-word")
    assert "secret" not in line
    assert password_matches("secret-word", line.partition(":")[2])
    assert not password_matches("secret-word", "")
    assert not password_matches("secret-word", "plain:73616c74:secret-word")


async def test_a_changed_file_counts_at_once_and_a_missing_one_lets_nobody_in(
    tmp_path: Path,
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("old-token")
    async with guarded(AuthSettings(read=Gate(tokens_file=tokens))) as visitor:
        assert await visitor.status("GET", STUDIES, "Bearer old-token") == 200
        tokens.write_text("new-token-now")
        assert await visitor.status("GET", STUDIES, "Bearer old-token") == 401
        assert await visitor.status("GET", STUDIES, "Bearer new-token-now") == 200
        tokens.unlink()
        assert await visitor.status("GET", STUDIES, "Bearer new-token-now") == 503


async def test_the_name_of_a_file_of_secrets_is_for_the_log_alone(tmp_path: Path) -> None:
    gate = Gate(tokens_file=tmp_path / "tokens")
    async with guarded(AuthSettings(read=gate)) as visitor:
        headers = {"Authorization": "Bearer x"}
        with capture_logs() as logs:
            async with visitor.session.get(visitor.url + STUDIES, headers=headers) as response:
                text = await response.text()
    assert response.status == 503
    assert str(tmp_path) not in text
    assert any(log.get("file") == str(tmp_path / "tokens") for log in logs)


@pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
async def test_credentials_that_are_no_ascii_are_wrong_ones(tmp_path: Path, scheme: str) -> None:
    (tmp_path / "tokens").write_text("token\n")
    (tmp_path / "users").write_text(password_line("ann", "secret"))
    oidc = OidcSettings(issuer="http://127.0.0.1:9", audience="gateway")
    gate = Gate(tokens_file=tmp_path / "tokens", users_file=tmp_path / "users", oidc=oidc)
    async with guarded(AuthSettings(read=gate)) as visitor:
        host, port = visitor.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"GET {STUDIES} HTTP/1.1\r\nHost: x\r\nAuthorization: {scheme} "
        writer.write(head.encode() + b"\xff\xfe\r\n\r\n")
        assert b" 401 " in await reader.readline()
        writer.close()


@pytest.mark.parametrize("path", ["/wado", "/wado/", "/wado?requestType=WADO"])
async def test_wado_uri_is_reading_however_its_path_is_written(tmp_path: Path, path: str) -> None:
    (tmp_path / "tokens").write_text("reader\n")
    reading = AuthSettings(read=Gate(tokens_file=tmp_path / "tokens"))
    async with guarded(reading) as visitor:
        assert await visitor.status("GET", path) == 401
        assert await visitor.status("GET", path, "Bearer reader") == 200


async def test_a_flood_of_wrong_passwords_does_not_take_all_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "users").write_text(password_line("ann", "secret"))
    at_once, most = 0, 0
    guard = threading.Lock()

    def slow(password: str, hashed: str) -> bool:
        nonlocal at_once, most
        with guard:
            at_once += 1
            most = max(most, at_once)
        found = password_matches(password, hashed)
        with guard:
            at_once -= 1
        return found

    monkeypatch.setattr(auth, "password_matches", slow)
    async with guarded(AuthSettings(read=Gate(users_file=tmp_path / "users"))) as visitor:
        wrong = [visitor.status("GET", STUDIES, basic("ann", str(n))) for n in range(12)]
        assert set(await asyncio.gather(*wrong)) == {401}
    assert most == 2


class Provider:
    """An identity provider: discovery, keys, and tokens as a test wants them."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.name = "key-1"
        self.asked = 0
        self.url = ""

    @property
    def application(self) -> web.Application:
        application = web.Application()
        application.add_routes(
            [
                web.get("/.well-known/openid-configuration", self._discovery),
                web.get("/keys", self._keys),
            ]
        )
        return application

    async def _discovery(self, _: web.Request) -> web.Response:
        return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})

    async def _keys(self, _: web.Request) -> web.Response:
        self.asked += 1
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return web.json_response({"keys": [{**public, "kid": self.name, "use": "sig"}]})

    def token(self, **changes: object) -> str:
        claims = {"iss": self.url, "aud": "gateway", "exp": time.time() + 600, "scope": "read x"}
        claims |= {name: value for name, value in changes.items() if value is not None}
        for name, value in changes.items():
            if value is None:
                claims.pop(name)
        return jwt.encode(claims, self.key, "RS256", headers={"kid": self.name})


def _claims(provider: Provider) -> dict[str, object]:
    return {"iss": provider.url, "aud": "gateway", "exp": time.time() + 600, "scope": "read"}


def _by_another_key(provider: Provider) -> str:
    stranger = ec.generate_private_key(ec.SECP256R1())
    return jwt.encode(_claims(provider), stranger, "ES256", headers={"kid": provider.name})


def _unsigned(provider: Provider) -> str:
    return jwt.encode(_claims(provider), "", "none", headers={"kid": provider.name})


def _by_the_public_key_as_a_secret(provider: Provider) -> str:
    public = jwt.algorithms.RSAAlgorithm.to_jwk(provider.key.public_key())
    secret = base64.b64encode(public.encode()).decode()
    return jwt.encode(_claims(provider), secret, "HS256", headers={"kid": provider.name})


@pytest.mark.parametrize(
    ("passes", "make"),
    [
        (True, lambda provider: provider.token()),
        (True, lambda provider: provider.token(aud=["other", "gateway"])),
        (False, lambda provider: provider.token(aud="other")),
        (False, lambda provider: provider.token(iss="http://elsewhere")),
        (False, lambda provider: provider.token(exp=time.time() - 3600)),
        (False, lambda provider: provider.token(exp=None)),
        (False, lambda provider: provider.token(scope="write")),
        (False, lambda provider: provider.token()[:-8]),
        (False, lambda _: "None"),
        (False, _by_another_key),
        (False, _unsigned),
        (False, _by_the_public_key_as_a_secret),
    ],
)
async def test_a_token_of_the_provider_passes_only_as_it_was_signed_for_us(
    passes: bool, make: Callable[[Provider], str]
) -> None:
    provider = Provider()
    async with running(provider.application) as provider.url:
        oidc = OidcSettings(issuer=provider.url, audience="gateway", scopes=("read",))
        async with guarded(AuthSettings(read=Gate(oidc=oidc))) as visitor:
            status = await visitor.status("GET", STUDIES, f"Bearer {make(provider)}")
    assert status == (200 if passes else 401)


async def test_keys_are_asked_for_once_and_again_when_the_provider_changes_them() -> None:
    provider = Provider()
    async with running(provider.application) as provider.url:
        oidc = OidcSettings(issuer=provider.url, audience="gateway")
        async with guarded(AuthSettings(read=Gate(oidc=oidc))) as visitor:
            for _ in range(3):
                assert await visitor.status("GET", STUDIES, f"Bearer {provider.token()}") == 200
            assert provider.asked == 1
            unknown = jwt.encode(
                _claims(provider), provider.key, "RS256", headers={"kid": "unheard-of"}
            )
            for _ in range(3):
                assert await visitor.status("GET", STUDIES, f"Bearer {unknown}") == 401
            assert provider.asked == 1, "a stranger's tokens must not make us ask in a hurry"


async def test_known_keys_outlive_a_provider_that_is_away_and_it_is_not_pestered() -> None:
    provider, now = Provider(), 0.0
    async with running(provider.application) as provider.url:
        settings = OidcSettings(issuer=provider.url, audience="gateway")
        asking = IdentityProvider(settings, lambda: now)
        assert await asking.accepts(provider.token())
    now = 4000.0
    with capture_logs() as logs:
        for _ in range(3):
            assert await asking.accepts(provider.token())
        stranger = jwt.encode({}, provider.key, "RS256", headers={"kid": "unheard-of"})
        for _ in range(3):
            with pytest.raises(TemporaryFailure):
                await asking.accepts(stranger)
        assert len(logs) == 1
        now += 31
        assert await asking.accepts(provider.token())
        assert len(logs) == 2
    now = 90_000.0
    with pytest.raises(TemporaryFailure):
        await asking.accepts(provider.token())


async def test_a_provider_that_cannot_be_asked_is_our_trouble_not_the_visitors() -> None:
    oidc = OidcSettings(issuer="http://127.0.0.1:9", audience="gateway")
    async with guarded(AuthSettings(read=Gate(oidc=oidc))) as visitor:
        token = jwt.encode({"iss": "x"}, "secret" * 8, "HS256")
        assert await visitor.status("GET", STUDIES, f"Bearer {token}") == 503
