import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from wg_orchestrator.adapters.admission.provider_keys import USUAL, Pace, ProviderKeys
from wg_orchestrator.adapters.admission.tokens import SKEW, Remembered, number, read_header, text, verified_claims
from wg_orchestrator.domain.admission import Grant
from wg_orchestrator.domain.errors import BadCredentials, NoCredentials, NotForThisTenant
from wg_orchestrator.domain.tenant_id import TenantId
from wg_orchestrator.telemetry.telemetry import Telemetry

_TYPES = frozenset({"jwt", "at+jwt"})
"""Of ID tokens, and of access tokens (RFC 9068, section 2.1)."""
_GRANTED = Grant()


@dataclass(frozen=True, slots=True)
class Provider:
    """Whose tokens are taken, and what they have to say."""

    issuer: str
    audience: str
    tenants: str
    """The claim that names the tenants: a text, or a list of texts."""


class OidcAdmission:
    """An Admission that lets in whoever has a token of an OpenID provider that names the tenant."""

    def __init__(
        self,
        provider: Provider,
        telemetry: Telemetry,
        pace: Pace = USUAL,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` gives seconds since 1970."""
        self._provider = provider
        self._clock = clock
        self._remembered = Remembered()
        self._keys = ProviderKeys(provider.issuer, telemetry, self._remembered.clear, pace)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look after the provider's keys meanwhile."""
        async with self._keys.running():
            yield

    def remembers(self, token: str) -> bool:
        return self._remembered.get(token) is not None

    async def admit(self, tenant_id: TenantId, token: str | None) -> Grant:
        if not token:
            raise NoCredentials("a token of the identity provider is needed")
        claims = self._remembered.get(token)
        if claims is None:
            claims = await self._verified(token)
        now = self._clock()
        if number(claims, "exp") <= now - SKEW:
            raise BadCredentials("the token has expired")
        if any(name in claims and number(claims, name) > now + SKEW for name in ("iat", "nbf")):
            raise BadCredentials("the token is not valid yet")
        if tenant_id not in self._tenants(claims):
            raise NotForThisTenant("the token does not name this tenant")
        return _GRANTED

    async def _verified(self, token: str) -> dict[str, Any]:
        """The claims of a token that was signed by the provider, for this service. Raises BadCredentials."""
        header = read_header(token)
        kind = header.get("typ", "JWT")
        if not isinstance(kind, str) or kind.lower() not in _TYPES:
            raise BadCredentials("the token is of another type")
        claims = verified_claims(token, header, await self._keys.key(header["kid"]))
        if text(claims, "iss") != self._provider.issuer:
            raise BadCredentials("the token is of another issuer")
        if self._provider.audience not in _texts(claims, "aud"):
            raise BadCredentials("the token is for another service")
        self._tenants(claims)
        number(claims, "exp")
        self._remembered.put(token, claims)
        return claims

    def _tenants(self, claims: dict[str, Any]) -> list[str]:
        return _texts(claims, self._provider.tenants) if self._provider.tenants in claims else []


def _texts(claims: dict[str, Any], name: str) -> list[str]:
    """A claim that is a text or a list of texts, as one list. Never split: a text is one text, whatever is in it."""
    value = claims.get(name)
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise BadCredentials(f"the token's {name} is neither a text nor a list of texts")
    return value
