import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import httpx2

from wg_orchestrator.adapters.admission.signing_keys import BadKeySet, SigningKey, read_key_set
from wg_orchestrator.domain.errors import BadCredentials, NotCheckable
from wg_orchestrator.settings.values import as_provider_url
from wg_orchestrator.telemetry.telemetry import Telemetry
from wg_orchestrator.wire import strict_json

ALGORITHMS = frozenset({"RS256", "PS256", "ES256", "EdDSA"})
_MOST_WAITING = 1000
"""Clients that may wait for a fetch at the same time."""
_LARGEST_ANSWER = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Pace:
    """When the provider is asked. Times in seconds."""

    interval: float = 2.0
    """From one fetch to the next, whoever asks for keys that are not known."""
    refresh: float = 300.0
    """After which the keys are fetched anew, whether or not anybody asks: some may have been withdrawn."""
    timeout: float = 4.0
    """For a fetch."""
    patience: float = 8.0
    """That a client may be kept waiting."""


USUAL = Pace()


class _Unusable(Exception):
    """What the provider answers can't be used. Says why, without the answer."""


class ProviderKeys:
    """The keys that an OpenID provider signs with, as it publishes them (OpenID Connect Discovery 1.0, section 4).

    They are fetched when somebody shows a token by a key that is not known, but at most every two seconds, and now and
    then without that. While the provider is away, or answers nonsense, those that are known go on.
    """

    def __init__(self, issuer: str, telemetry: Telemetry, changed: Callable[[], None], pace: Pace = USUAL) -> None:
        """`changed` is called when the keys are not what they were."""
        self._issuer = issuer
        self._telemetry = telemetry
        self._changed = changed
        self._pace = pace
        self._keys: dict[str, SigningKey] = {}
        # Of the fetch that is under way, and of the next one: whether it has brought the keys.
        self._present: asyncio.Future[bool] | None = None
        self._next: asyncio.Future[bool] | None = None
        self._is_wanted = asyncio.Event()
        self._waiting = 0
        self._complaint = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Fetch keys meanwhile."""
        async with httpx2.AsyncClient(timeout=self._pace.timeout, follow_redirects=False) as client:
            task = asyncio.create_task(self._keep(client))
            try:
                yield
            finally:
                task.cancel()
                await asyncio.wait([task])

    async def key(self, key_id: str) -> SigningKey:
        """Raises BadCredentials if the provider has no such key, and NotCheckable if it can't be asked now.

        It has none only if a fetch that began after this call says so: a key may have been made just now.
        """
        known = self._keys.get(key_id)
        if known is not None:
            return known
        if self._waiting >= _MOST_WAITING:
            raise NotCheckable("too many tokens by keys that are not known", 2)
        self._waiting += 1
        was_answered = False
        try:
            with anyio.move_on_after(self._pace.patience):
                if self._present is not None and await asyncio.shield(self._present) and key_id in self._keys:
                    return self._keys[key_id]
                was_answered = await asyncio.shield(self._wanted())
        finally:
            self._waiting -= 1
        known = self._keys.get(key_id)
        if known is not None:
            return known
        if not was_answered:
            raise NotCheckable("the identity provider can't be asked now, and the token's key is not known", 2)
        raise BadCredentials("the token's key is not known")

    def _wanted(self) -> asyncio.Future[bool]:
        """The next fetch."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
            self._is_wanted.set()
        return self._next

    async def _keep(self, client: httpx2.AsyncClient) -> None:
        while True:
            present, self._next = self._wanted(), None
            self._is_wanted.clear()
            self._present = present
            present.set_result(await self._fetch(client))
            self._present = None
            await asyncio.sleep(self._pace.interval)
            with anyio.move_on_after(self._pace.refresh):
                await self._is_wanted.wait()

    async def _fetch(self, client: httpx2.AsyncClient) -> bool:
        try:
            with anyio.fail_after(self._pace.timeout):
                keys = await self._read(client)
        except (httpx2.HTTPError, httpx2.InvalidURL, _Unusable, BadKeySet, TimeoutError, OSError) as error:
            # Never the answer, nor the URL that it has named.
            why = str(error) if isinstance(error, _Unusable | BadKeySet) else type(error).__name__
            if why != self._complaint:
                self._complaint = why
                self._telemetry.warning("identity provider not usable", "its keys are kept", error=why)
            return False
        except Exception:
            self._telemetry.failed("fetch of keys failed")
            return False
        if keys != self._keys or self._complaint:
            self._telemetry.info("keys of the identity provider read", keys=len(keys))
        self._complaint = ""
        if keys != self._keys:
            self._keys = keys
            self._changed()
        return True

    async def _read(self, client: httpx2.AsyncClient) -> dict[str, SigningKey]:
        text = await self._get(client, f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        try:
            found = strict_json.decode(text)
        except ValueError as error:
            raise _Unusable("its configuration is not JSON") from error
        if not isinstance(found, dict) or found.get("issuer") != self._issuer:
            raise _Unusable("its configuration is not of this issuer")
        url = found.get("jwks_uri")
        try:
            safe_url = as_provider_url(url if isinstance(url, str) else "")
        except ValueError as error:
            raise _Unusable("its configuration names no keys at an https URL") from error
        keys = read_key_set(await self._get(client, safe_url), ALGORITHMS, is_strict=False)
        if not keys:
            raise _Unusable("it has no keys that can be used")
        return keys

    async def _get(self, client: httpx2.AsyncClient, url: str) -> str:
        content = bytearray()
        async with client.stream("GET", url, headers={"accept": "application/json"}) as response:
            if response.status_code != httpx2.codes.OK:
                raise _Unusable(f"it answers with HTTP {response.status_code}")
            async for part in response.aiter_bytes():
                content += part
                if len(content) > _LARGEST_ANSWER:
                    raise _Unusable("its answer is too long")
        return content.decode(errors="replace")
