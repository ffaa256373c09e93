import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from wg_orchestrator.adapters.admission.signing_keys import BadKeySet, SigningKey, read_key_set
from wg_orchestrator.adapters.admission.tokens import (
    SKEW,
    Remembered,
    read_header,
    text,
    verified_claims,
    whole,
)
from wg_orchestrator.domain.admission import Grant
from wg_orchestrator.domain.errors import (
    BadCredentials,
    InvalidDisplayName,
    InvalidInvitationId,
    InvalidTenantId,
    NoCredentials,
    NotCheckable,
    NotForThisTenant,
    Unavailable,
)
from wg_orchestrator.domain.peer import DisplayName, parse_display_name
from wg_orchestrator.domain.ports import AdmissionRecords
from wg_orchestrator.domain.stay import InvitationId, parse_invitation_id
from wg_orchestrator.domain.tenant_id import TenantId, parse_tenant_id
from wg_orchestrator.settings.unusable import Unusable
from wg_orchestrator.telemetry.telemetry import Telemetry
from wg_orchestrator.wire.invitation import ALGORITHM, AUDIENCE, MAX_STAY, MAX_USES, TYPE

_INTERVAL = 2.0
"""Seconds from one look at the file with the keys to the next."""
_LARGEST_FILE = 1024 * 1024


class InvitationAdmission:
    """An Admission that lets in whoever has an invitation: a token that was signed with one of a few keys."""

    def __init__(
        self,
        keys: Path,
        records: AdmissionRecords,
        telemetry: Telemetry,
        interval: float = _INTERVAL,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`keys` is a file with a JWK Set, read anew within two `interval` of seconds after a change. `clock` gives
        seconds since 1970.

        Raises Unusable if there are no keys in the file.
        """
        self._file = keys
        self._records = records
        self._telemetry = telemetry
        self._interval = interval
        self._clock = clock
        self._remembered = Remembered()
        try:
            self._text = _read(keys)
            self._keys = _parse(self._text)
        except (OSError, BadKeySet) as error:
            raise Unusable(f"can't use the invitation keys in {keys}: {_why(error)}") from error

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look after the file meanwhile."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch)
            yield
            tasks.cancel_scope.cancel()

    def remembers(self, token: str) -> bool:
        return self._remembered.get(token) is not None

    async def admit(self, tenant_id: TenantId, token: str | None) -> Grant:
        if not token:
            raise NoCredentials("an invitation is needed")
        claims = self._remembered.get(token)
        if claims is None:
            claims = self._verified(token)
        try:
            return await self._grant(tenant_id, claims)
        except (BadCredentials, NotForThisTenant, NotCheckable) as refusal:
            refusal.invitation = claims["jti"]
            raise

    def _verified(self, token: str) -> dict[str, Any]:
        """The claims of a token that was signed with one of the keys. Raises BadCredentials."""
        header = read_header(token)
        if header.get("typ") != TYPE:
            raise BadCredentials("the token is no invitation")
        key = self._keys.get(header["kid"])
        if key is None:
            raise BadCredentials("the token's key is not known")
        claims = verified_claims(token, header, key)
        _check(claims)
        self._remembered.put(token, claims)
        return claims

    async def _grant(self, tenant_id: TenantId, claims: dict[str, Any]) -> Grant:
        """Raises BadCredentials, NotForThisTenant or NotCheckable."""
        now = self._clock()
        if max(claims["iat"], claims.get("nbf", 0)) > now + SKEW:
            raise BadCredentials("the invitation is not valid yet")
        if claims["tenant"] != tenant_id:
            raise NotForThisTenant("the invitation is for another tenant")
        name, uses = claims.get("name"), claims.get("uses")
        if uses is not None and not self._records.are_lasting:
            raise BadCredentials("uses can't be counted: the service needs --state FILE, or NATS")
        invitation, expires = InvitationId(claims["jti"]), claims["exp"] + SKEW
        if now >= expires and not await self._has_admitted(invitation):
            raise BadCredentials("the invitation has expired")
        return Grant(invitation, None if name is None else DisplayName(name), uses, claims.get("stay"), expires)

    async def _has_admitted(self, invitation: InvitationId) -> bool:
        """Whether there is anybody who may come back by it: which key that is, is asked when it is known who comes."""
        try:
            return await self._records.has_admitted(invitation)
        except Unavailable as error:
            raise NotCheckable("it is not known who has come by the invitation", 2) from error

    async def _watch(self) -> None:
        complaint = ""
        while True:
            await anyio.sleep(self._interval)
            try:
                found = await anyio.to_thread.run_sync(_read, self._file)
                if found == self._text:
                    complaint = ""
                    continue
                self._keys, self._text = _parse(found), found
                self._remembered.clear()
                complaint = ""
                self._telemetry.info("invitation keys read", keys=sorted(self._keys))
            except (OSError, BadKeySet) as error:
                if str(error) != complaint:
                    complaint = str(error)
                    self._telemetry.warning("invitation keys kept", "the file can't be used", error=_why(error))


def _check(claims: dict[str, Any]) -> None:
    """Raises BadCredentials if a claim is missing, or not of its type or range."""
    try:
        parse_tenant_id(text(claims, "tenant"))
        parse_invitation_id(text(claims, "jti"))
        if "name" in claims and parse_display_name(text(claims, "name")) != claims["name"]:
            raise BadCredentials("the token's name is not in its normal form")
    except (InvalidTenantId, InvalidInvitationId, InvalidDisplayName) as error:
        raise BadCredentials(f"the token has a claim that can't be: {error}") from error
    if text(claims, "aud") != AUDIENCE:
        raise BadCredentials("the token is for another service")
    for name in ("iat", "exp", *(["nbf"] if "nbf" in claims else [])):
        whole(claims, name)
    if claims["exp"] <= claims["iat"]:
        raise BadCredentials("the token ends before it begins")
    for name, most in (("uses", MAX_USES), ("stay", MAX_STAY)):
        if name in claims:
            whole(claims, name, 1, most)


def _read(file: Path) -> str:
    """Raises OSError or BadKeySet."""
    with file.open("rb") as opened:
        content = opened.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        raise BadKeySet("the file is too large")
    return content.decode(errors="replace")


def _parse(content: str) -> dict[str, SigningKey]:
    return read_key_set(content, frozenset({ALGORITHM}), is_strict=True)


def _why(error: OSError | BadKeySet) -> str:
    return str(error.strerror if isinstance(error, OSError) else error)
