"""JSON Web Tokens of an OpenID Connect provider, checked by its published keys (RFC 7519)."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

import aiohttp
import jwt

from gateway import telemetry
from gateway.failures import TemporaryFailure

ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "EdDSA",
)
"""Signatures by a private key only: with a shared secret a published key would be one."""
_LEEWAY: Final = 60
_KEYS_FOR: Final = 3600.0
_NOT_BEFORE: Final = 30.0
_LAST_RESORT: Final = 86_400.0
_LONGEST: Final = 1 << 20
_UNREACHABLE: Final = (
    "the identity provider's keys cannot be had: nobody with its tokens can be let in"
)
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """``issuer`` signs for ``audience``; ``jwks_url`` "": as the issuer's discovery says.

    A token needs all of ``scopes``.
    """

    issuer: str
    audience: str
    jwks_url: str = ""
    scopes: tuple[str, ...] = ()


class IdentityProvider:
    """Keys of one provider, fetched when needed, an hour old at most, never in a hurry."""

    def __init__(self, settings: OidcSettings, clock: Callable[[], float] = monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = self._failed_at = float("-inf")
        self._fetching = asyncio.Lock()

    async def accepts(self, token: str) -> bool:
        """Whether the token is signed by the provider, for us, and in time.

        Raises TemporaryFailure where the provider's keys cannot be had.
        """
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            return False
        key = await self._key(str(header.get("kid", "")))
        if key is None or header.get("alg") not in ALGORITHMS:
            return False
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=_LEEWAY,
                options={"require": ["exp", "iss", "aud"]},
            )
        except (jwt.InvalidTokenError, jwt.PyJWKError):
            return False
        return set(self._settings.scopes) <= _scopes(claims)

    async def _key(self, name: str) -> jwt.PyJWK | None:
        """The key of that name, or the only one; an unknown name asks the provider once more."""
        async with self._fetching:
            age = self._clock() - self._fetched_at
            if age > _KEYS_FOR or (name not in self._keys and age > _NOT_BEFORE):
                await self._renewed(name)
        if not name and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(name)

    async def _renewed(self, name: str) -> None:
        """Fetch the keys; where that fails, one that is known is good for a day."""
        failure = TemporaryFailure(_UNREACHABLE)
        if self._clock() - self._failed_at >= _NOT_BEFORE:
            try:
                await self._fetch()
            except TemporaryFailure as met:
                failure = met
            else:
                return
        if name not in self._keys or self._clock() - self._fetched_at > _LAST_RESORT:
            raise failure

    async def _fetch(self) -> None:
        issuer = self._settings.issuer.rstrip("/")
        try:
            async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
                url = self._settings.jwks_url
                if not url:
                    found = await _json(session, f"{issuer}/.well-known/openid-configuration")
                    url = str(found["jwks_uri"])
                keys = jwt.PyJWKSet.from_dict(await _json(session, url)).keys
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, jwt.PyJWTError) as error:
            self._failed_at = self._clock()
            telemetry.alarm(
                "keys cannot be fetched", provider=issuer, reason=str(error) or repr(error)
            )
            raise TemporaryFailure(_UNREACHABLE) from error
        self._keys = {key.key_id or "": key for key in keys}
        self._fetched_at = self._clock()


async def _json(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with session.get(url, allow_redirects=False) as response:
        response.raise_for_status()
        if response.status != 200:
            raise ValueError(f"{url} answers {response.status}")
        body = await response.content.read(_LONGEST)
        found = json.loads(body)
        return dict(found)


def _scopes(claims: dict[str, Any]) -> set[str]:
    scope = claims.get("scope", claims.get("scp", ""))
    return set(scope.split()) if isinstance(scope, str) else set(map(str, scope))
