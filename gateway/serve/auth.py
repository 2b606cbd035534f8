"""Who may do what over HTTP: bearer tokens, JWT of an identity provider, passwords, certificates.

There are four groups of resources, each behind a gate of its own: reading instances, storing
them, administration, and health with metrics. Any one of a gate's methods lets a request pass;
a gate without methods is open, and what such a request says in Authorization is not looked at.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway import telemetry
from gateway.serve.identity_provider import IdentityProvider, OidcSettings
from gateway.serve.secret_files import SecretLines

USER: Final = web.RequestKey("user", str)
"""The key of a request under which ``user_of`` stands, "" where nobody was asked."""
_SCRYPT: Final = {"n": 1 << 14, "r": 8, "p": 1}
_REALM: Final = "dicom-gateway"
_REMEMBERED: Final = 1000
_HASHED_AT_ONCE: Final = 2
"""Passwords that are checked at once: each takes 16 MiB and a thread that files are read in."""


class Group(Enum):
    """What a resource lets do."""

    READ = "read"
    STORE = "store"
    ADMIN = "admin"
    HEALTH = "health"


@dataclass(frozen=True, slots=True)
class Gate:
    """The methods of one group, any of which is enough; without any it is open.

    ``tokens_file`` holds one bearer token a line, ``users_file`` lines of ``password_line``;
    ``certificate`` asks for a client certificate of the listener's own authority.
    """

    tokens_file: Path | None = None
    users_file: Path | None = None
    oidc: OidcSettings | None = None
    certificate: bool = False

    @property
    def open(self) -> bool:
        """Whether anybody may pass."""
        return not (self.tokens_file or self.users_file or self.oidc or self.certificate)


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """The gate of each group."""

    read: Gate = field(default_factory=Gate)
    store: Gate = field(default_factory=Gate)
    admin: Gate = field(default_factory=Gate)
    health: Gate = field(default_factory=Gate)


_OF_METHOD: Final = {"GET": Group.READ, "HEAD": Group.READ, "POST": Group.STORE}


class Keeper:
    """Minds one gate."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._tokens = SecretLines(gate.tokens_file) if gate.tokens_file else None
        self._users = SecretLines(gate.users_file) if gate.users_file else None
        self._provider = IdentityProvider(gate.oidc) if gate.oidc else None
        self._salt = secrets.token_bytes(16)
        self._known: set[bytes] = set()
        self._hashing = asyncio.Semaphore(_HASHED_AT_ONCE)

    async def lets_pass(self, request: web.Request) -> bool:
        """Whether the request carries what the gate asks for. Raises TemporaryFailure."""
        if self._gate.open:
            return True
        if self._gate.certificate and _has_certificate(request):
            return True
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        given = given.strip()
        if not given.isascii():
            return False  # RFC 9110 11.2
        if scheme.lower() == "bearer":
            return await self._bearer(given)
        return scheme.lower() == "basic" and await self._basic(given)

    @property
    def open(self) -> bool:
        """Whether nobody is asked who they are."""
        return self._gate.open

    @property
    def challenges(self) -> list[str]:
        """What WWW-Authenticate says (RFC 9110 §11.6.1)."""
        found = []
        if self._tokens or self._provider:
            found.append(f'Bearer realm="{_REALM}"')
        if self._users:
            found.append(f'Basic realm="{_REALM}", charset="UTF-8"')
        return found

    async def _bearer(self, token: str) -> bool:
        if self._tokens:
            known = await self._tokens.read()
            hits = [hmac.compare_digest(token.encode(), each.encode()) for each in known]
            if any(hits):
                return True
        return self._provider is not None and await self._provider.accepts(token)

    async def _basic(self, encoded: str) -> bool:
        if self._users is None:
            return False
        try:
            text = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, ValueError):
            return False
        user, colon, password = text.partition(":")
        lines = await self._users.read()
        line = next((each for each in lines if each.partition(":")[0] == user), "")
        return bool(colon) and await self._matches(password, line.partition(":")[2])

    async def _matches(self, password: str, hashed: str) -> bool:
        """A password that was right is remembered as a keyed digest: scrypt takes its time."""
        digest = hmac.digest(self._salt, f"{hashed}\0{password}".encode(), "sha256")
        if digest in self._known:
            return True
        async with self._hashing:
            right = await asyncio.to_thread(password_matches, password, hashed)
        if right:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known.add(digest)
        return right


def password_line(user: str, password: str) -> str:
    """A line of a users file: the name, and scrypt of the password with a salt of its own."""
    salt = secrets.token_bytes(16)
    return f"{user}:scrypt:{salt.hex()}:{_scrypt(password, salt).hex()}"


def password_matches(password: str, hashed: str) -> bool:
    """Whether a password is the one that ``password_line`` wrote; takes some 50 ms either way."""
    kind, _, rest = hashed.partition(":")
    salt, _, expected = rest.partition(":")
    try:
        found = _scrypt(password, bytes.fromhex(salt))
        return kind == "scrypt" and hmac.compare_digest(found, bytes.fromhex(expected))
    except ValueError:
        return False


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, **_SCRYPT)


def _has_certificate(request: web.Request) -> bool:
    transport = request.transport
    return transport is not None and bool(transport.get_extra_info("peercert"))


def user_of(request: web.Request) -> str:
    """A name for whose credentials a request carries, the same for all of their requests.

    A token is not shown.
    """
    found = request.transport.get_extra_info("peercert") if request.transport else None
    if found:
        return f"certificate {found.get('subject', '')}"
    return hashlib.sha256(request.headers.get("Authorization", "").encode()).hexdigest()


def group_of(request: web.Request) -> Group:
    """What a request would do: all that changes something outside STOW-RS is administration."""
    if request.path in ("/healthz", "/readyz", "/metrics"):
        return Group.HEALTH
    if request.path.startswith(("/wado", "/dicom-web/")):
        return _OF_METHOD.get(request.method, Group.ADMIN)
    return Group.ADMIN


class Keepers:
    """Minds the gates of all groups; ``replace`` puts others in their place."""

    def __init__(self, settings: AuthSettings) -> None:
        self._settings = settings
        self._keepers = {group: Keeper(getattr(settings, group.value)) for group in Group}

    def __getitem__(self, group: Group) -> Keeper:
        return self._keepers[group]

    def replace(self, settings: AuthSettings) -> None:
        """Ask the next request for these; a gate that stays as it is remembers whom it knows."""
        for group in Group:
            gate = getattr(settings, group.value)
            if gate != getattr(self._settings, group.value):
                self._keepers[group] = Keeper(gate)
        self._settings = settings


def gatekeeping(keepers: Keepers) -> Middleware:
    """The middleware that lets requests pass or answers 401."""

    @web.middleware
    async def keep(request: web.Request, handler: Handler) -> web.StreamResponse:
        keeper = keepers[group_of(request)]
        if request.method == "OPTIONS" or await keeper.lets_pass(request):
            request[USER] = "" if keeper.open else user_of(request)
            return await handler(request)
        telemetry.note("request without credentials refused", address=request.remote or "")
        response = web.json_response(
            {"error": "credentials are missing, wrong or expired"}, status=401
        )
        for challenge in keeper.challenges:
            response.headers.add("WWW-Authenticate", challenge)
        return response

    return keep
