"""The Authorization header for an origin server, made from its configured credentials.

Secrets in files are read again whenever the file changed. A token got by client credentials is
kept until shortly before it expires, and dropped when a server refuses it.
"""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol
from urllib.parse import quote

from gateway.failures import TemporaryFailure
from gateway.secret_file import SecretFile, UnreadableSecret
from gateway.web_client.settings import Basic, Bearer, ClientCredentials, Credentials, Secret

_EARLY: Final = 30.0
"""Seconds before its expiry from which a token is not used any more."""
_LIFE: Final = 300.0
"""Seconds for which a token is believed that names no expiry."""

Form = dict[str, str]
PostForm = Callable[[str, Form, dict[str, str]], Awaitable[bytes]]
"""Posts a form to a URL with headers and returns the body of a 200 answer."""


class Authorization(Protocol):
    """Where the Authorization header comes from."""

    async def header(self) -> str:
        """The header's value, "" for none. Raises TemporaryFailure."""
        ...

    def refused(self, header: str) -> bool:
        """The server answered 401 to this value; whether another one can be had at once."""
        ...


def authorization(name: str, credentials: Credentials, post: PostForm) -> Authorization:
    """The source of the header for a node's credentials."""
    match credentials:
        case Basic(user, password):
            return _FromFile(name, password, lambda text: _basic(user, text))
        case Bearer(token):
            return _FromFile(name, token, lambda text: f"Bearer {text}")
        case ClientCredentials():
            return _Token(name, credentials, post)
        case None:
            return _FromFile(name, Secret(), lambda _: "")


class _Known:
    """A node's secret as it is now."""

    def __init__(self, name: str, secret: Secret) -> None:
        self._name, self._fixed = name, secret.text
        self._file = SecretFile(secret.file) if secret.file else None

    def text(self) -> str:
        """Raises TemporaryFailure."""
        if self._file is None:
            return self._fixed
        try:
            return self._file.text()
        except UnreadableSecret as error:
            raise TemporaryFailure(
                f"{self._name}: the secret in {self._file.file} cannot be read: {error}"
            ) from None


class _FromFile:
    """Basic, Bearer and no credentials: the header follows from the secret alone."""

    def __init__(self, name: str, secret: Secret, written: Callable[[str], str]) -> None:
        self._secret = _Known(name, secret)
        self._written = written

    async def header(self) -> str:
        return self._written(self._secret.text())

    def refused(self, header: str) -> bool:
        return self._written(self._secret.text()) != header


class _Token:
    """A token from the token endpoint, shared by all requests to one server."""

    def __init__(self, name: str, credentials: ClientCredentials, post: PostForm) -> None:
        self._name = name
        self._credentials = credentials
        self._secret = _Known(name, credentials.secret)
        self._post = post
        self._value = ""
        self._until = 0.0
        self._asking = asyncio.Lock()

    async def header(self) -> str:
        async with self._asking:
            now = asyncio.get_running_loop().time()
            if not self._value or now >= self._until:
                self._value, life = self._read(await self._ask())
                self._until = now + max(life - _EARLY, life / 2)
            return self._value

    def refused(self, header: str) -> bool:
        if header == self._value:
            self._value = ""
        return True

    async def _ask(self) -> bytes:
        asked, secret = self._credentials, self._secret.text()
        form = {"grant_type": "client_credentials"}
        form |= {
            name: value
            for name, value in (("scope", asked.scope), ("audience", asked.audience))
            if value
        }
        headers = {"Accept": "application/json"}
        if asked.in_form:
            form |= {"client_id": asked.client_id, "client_secret": secret}
        else:
            headers["Authorization"] = _basic(quote(asked.client_id, ""), quote(secret, ""))
        return await self._post(asked.token_url, form, headers)

    def _read(self, body: bytes) -> tuple[str, float]:
        """The header's value and its life in seconds (RFC 6749 §5.1)."""
        try:
            answer: dict[str, Any] = json.loads(body)
            token = answer["access_token"]
            life = float(answer.get("expires_in") or _LIFE)
        except (ValueError, KeyError, TypeError, AttributeError):
            token, life = None, 0.0
        if not isinstance(token, str) or not token or not token.isascii() or "\n" in token:
            raise TemporaryFailure(f"{self._name}: the token endpoint's answer holds no token")
        return f"Bearer {token}", life


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
